"""Who holds the memory of a tensor, and tensors that have given theirs away."""

from __future__ import annotations

import sys
import weakref
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import numpy as np

from graphc.errors import DonatedError
from graphc.locations import Location
from graphc.runtime.result_pool import COUNTS_ARE_EXACT, RESULTS, SMALLEST


def _references(tensor: Any) -> int:
    return sys.getrefcount(tensor._array)


_ONE: Final = _references(SimpleNamespace(_array=np.empty(0)))  # what is counted where only the tensor holds the array


def owns_memory_alone(tensor: Any, least: int = SMALLEST) -> bool:
    """Whether memory of ``least`` bytes or more is seen by ``tensor`` alone, so that it makes no difference where it lies.

    Whatever else sees it (views, arrays that NumPy made of it, buffers, recorded residuals) holds a reference to the array
    that owns it. Small memory is not worth the question.
    """
    storage = tensor._storage
    if tensor._array.nbytes < least or tensor._way or not COUNTS_ARE_EXACT or type(tensor._array) is not np.ndarray:
        return False
    known = _ONE + RESULTS.keeps(tensor._array) + (storage is not None and storage.base_array is tensor._array)
    return tensor._array.base is None and _references(tensor) == known and not weakref.getweakrefcount(tensor._array)


class Donated:
    """In place of the array of a tensor whose memory was given away: whatever is asked of it is an error."""

    __slots__ = ("function", "location")

    def __init__(self, function: str, location: Location) -> None:
        self.function = function
        self.location = location

    def __repr__(self) -> str:
        return f"donated to {self.function} ({self.location.filename}:{self.location.line})"

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise DonatedError."""
        raise DonatedError(
            f"this tensor was {self!r}, so its memory may hold something else now",
            hint="use what the function returned, or pass it a copy()",
        )

    __array__ = __array_ufunc__ = __array_function__ = __getitem__ = __len__ = __getattr__ = refuse


def give_up_memory(tensor: Any, function: str, location: Location) -> None:
    """``tensor`` has no value any more: it was donated to ``function`` at ``location``."""
    tensor._array = Donated(function, location)
    tensor._storage = tensor._reference = tensor._type = None
    tensor._way = ()
