"""Who holds the memory of a tensor."""

from __future__ import annotations

import sys
import weakref
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from graphc.runtime.result_pool import COUNTS_ARE_EXACT, RESULTS, SMALLEST


def _references(tensor: Any) -> int:
    return sys.getrefcount(tensor._array)


_ONE: Final = _references(SimpleNamespace(_array=np.empty(0)))  # what is counted where only the tensor holds the array


def owns_memory_alone(tensor: Any) -> bool:
    """Whether large memory is seen by ``tensor`` alone, so that it makes no difference where it lies.

    Whatever else sees it (views, arrays that NumPy made of it, buffers, recorded residuals) holds a reference to the array
    that owns it. Small memory is not worth the question.
    """
    storage = tensor._storage
    if tensor._array.nbytes < SMALLEST or tensor._chain or not COUNTS_ARE_EXACT or type(tensor._array) is not np.ndarray:
        return False
    known = _ONE + RESULTS.keeps(tensor._array) + (storage is not None and storage.base_array is tensor._array)
    return tensor._array.base is None and _references(tensor) == known and not weakref.getweakrefcount(tensor._array)
