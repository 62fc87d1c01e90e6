"""Which arguments of a traced call share memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import InPlaceError


def memory_of(source: Any) -> int:
    """A number that arrays with the same memory, as views of one tensor have it, share."""
    storage = getattr(source, "_storage", None)
    return id(source if storage is None else storage)


def check_overlap(written: Sequence[Any], sources: Sequence[Any]) -> None:
    """Raise InPlaceError where memory that is written back is read as another array too, which no view chain tells.

    Tensors that are views of each other share a storage and were traced as such; this is about NumPy's views.
    """
    plain = [(s, s, _owner(s)) for s in sources if isinstance(s, np.ndarray)]
    if not plain:
        return
    tensors = [(s, s._array, _owner(s._array)) for s in sources if hasattr(s, "_array")]
    for target in written:
        array = target if isinstance(target, np.ndarray) else target._array
        owner = _owner(array)
        for source, other, its_owner in [*plain, *tensors] if array is target else plain:
            if its_owner is owner and source is not target and np.shares_memory(array, other):
                raise InPlaceError(
                    f"a traced function writes to an argument of shape {array.shape}, which shares memory with another "
                    f"one, of shape {other.shape}, that is not the same array or a view of the same tensor",
                    hint="pass a copy() of one, or tensors: x = gc.from_numpy(array), and its views x[...]",
                    cause=InPlaceError.SHARED,
                )


def _owner(array: Any) -> Any:
    """The object that holds the memory of ``array``."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array
