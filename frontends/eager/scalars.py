"""Which Python numbers become an array's elements without a thought: neither rounding to infinity nor out of range."""

from __future__ import annotations

from typing import Any, Final

from graphc.dtypes import float32, float64, int32, int64

SAFE: Final = 3e38  # floats below it convert to float32 and float64 without overflow
SMALL: Final = 1 << 31  # ints below it are in range for each dtype of INTS
INTS: Final = (float32, float64, int32, int64)  # of tensors that an int yields to
FLOATS: Final = (float32, float64)  # of tensors that a float yields to

_OF_FLOAT: Final = frozenset(d.numpy for d in FLOATS)
_OF_INT: Final = frozenset(d.numpy for d in INTS)


def holds(dtype: Any, value: Any) -> bool:
    """Whether ``value`` is such a number for the NumPy ``dtype``."""
    kind = type(value)
    if kind is float:
        return dtype in _OF_FLOAT and -SAFE < value < SAFE
    return kind is int and dtype in _OF_INT and -SMALL < value < SMALL
