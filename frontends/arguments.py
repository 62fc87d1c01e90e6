"""Checks of arguments that are no arrays: what is given is used as it is, or an error says what is needed.

Symbolic sizes pass: whoever needs their value asks for it, and that has errors of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from graphc.errors import ArgumentError, ArgumentTypeError
from graphc.frontends.dispatch import Array
from graphc.ir.dims import DimExpr

#: The greatest size.
MOST: Final = 2**63 - 1


def as_int(value: Any, what: str, least: int | None = None) -> Any:
    """``value``, an integer of at least ``least``."""
    if type(value) is not int:
        if isinstance(value, DimExpr) or hasattr(value, "sizes"):
            return value
        try:
            value = operator.index(value)
        except TypeError:
            _wrong(value, what, "an int")
    if not -MOST <= value <= MOST:
        raise ArgumentError(f"{what} is {value}, more than 64 bits hold", cause=ArgumentError.RANGE)
    if least is not None and value < least:
        raise ArgumentError(f"{what} must be at least {least}, not {value}", cause=ArgumentError.RANGE)
    return value


def as_number(value: Any, what: str) -> Any:
    """``value``, a number: of Python, of NumPy, or an array."""
    kind = type(value)
    if kind is float or kind is int or isinstance(value, (Array, DimExpr)) or hasattr(value, "sizes"):
        return value
    try:
        return value if kind is bool else value if isinstance(value, (int, float)) else float(value.__float__())
    except (AttributeError, TypeError, ValueError):
        _wrong(value, what, "a number")


def as_list(value: Any, what: str, of: str = "arrays") -> list[Any]:
    """What ``value`` holds."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict)) or getattr(value, "ndim", 1) == 0:
        _wrong(value, what, f"a list or tuple of {of}")
    return list(value)


def as_ints(value: Any, what: str, *, places: str = "ints") -> list[Any]:
    """One int, or several, as a list."""
    if type(value) is int or (hasattr(value, "__index__") and not getattr(value, "shape", ())):
        return [value]
    return [as_int(item, what) for item in as_list(value, what, places)]


def check_function(value: Any, what: str) -> None:
    """Raise unless ``value`` can be called."""
    if not callable(value):
        raise ArgumentTypeError(f"{what} must be a function, not {_short(value)}", cause=ArgumentError.FUNCTION)


def check_text(value: Any, what: str) -> None:
    """Raise unless ``value`` is a string."""
    if not isinstance(value, str):
        _wrong(value, what, "a string")


def _wrong(value: Any, what: str, needed: str) -> NoReturn:
    raise ArgumentTypeError(f"{what} must be {needed}, not {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
