"""What a call must be like for a program to run it at once: said by who traced the program, checked by who runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

#: What a repeated call gives for arguments of another kind than it is for.
NOT_ALIKE: Final = object()


class Number(NamedTuple):
    """An argument that is a Python number: of this class, passed as an array of this dtype; ``value``, unless None, is
    the only one that the program is for."""

    kind: type
    dtype: Any
    value: Any


class Constant(NamedTuple):
    """An argument that must be the object ``holder.value``."""

    holder: Any


class Captured(NamedTuple):
    """An array that the function reads from elsewhere: how to get at it, the one it has to be, and whether it requires
    gradients."""

    getter: Callable[[], Any]
    expected: Any
    requires_grad: bool


class CallPattern(NamedTuple):
    """``arguments``: what is expected of each, None for a plain array. ``build``: from the program's arrays to the
    function's result; None where that is the only array."""

    arguments: tuple[Number | Constant | None, ...]
    captured: tuple[Captured, ...]
    build: Callable[[list[Any]], Any] | None
