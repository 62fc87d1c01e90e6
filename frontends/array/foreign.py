"""The other side of an operator: what arrays work with, and what they leave to the other's own methods."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.frontends.array.core import numbers
from graphc.frontends.dispatch import Array

_OPERANDS = (Array, np.ndarray, np.generic, bool, int, float)


def is_operand(other: Any) -> bool:
    """Whether ``other`` is, or becomes, an array."""
    return isinstance(other, _OPERANDS) or hasattr(other, "__index__") or isinstance(other, (list, tuple))


def refused(other: Any, reflected: str = "") -> Any:
    """NotImplemented where the type of ``other`` has the method ``reflected``, and may know arrays; else raises DTypeError."""
    kind = type(other)
    theirs = getattr(kind, reflected, None)
    if theirs is not None and kind.__module__ != "builtins" and theirs is not getattr(object, reflected, None):
        return NotImplemented
    numbers(other)
    return NotImplemented
