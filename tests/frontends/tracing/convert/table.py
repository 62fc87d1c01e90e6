"""A table of functions and what they are called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A function, its arguments, and whether its graph has gradients (a loop of any length has none)."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    grad: bool


class Table:
    """Collects functions by a decorator."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def case(self, *arguments: Any, grad: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add the decorated function."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.cases.append(Case(function, arguments, grad))
            return function

        return add
