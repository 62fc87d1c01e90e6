"""Whether ops are recorded for gradients, in this thread: shared by all modes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    def __init__(self) -> None:
        self.enabled = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether ops on arrays that require gradients take part in differentiation."""
    return mode.enabled


class set_grad_enabled:
    """A context manager and decorator that switches gradients on or off, in this thread."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._saved: list[bool] = []

    def __enter__(self) -> None:
        self._saved.append(mode.enabled)
        mode.enabled = self.enabled

    def __exit__(self, *exception: object) -> None:
        mode.enabled = self._saved.pop()

    def __call__(self, function: F) -> F:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.enabled):
                return function(*args, **kwargs)

        return cast("F", wrapped)


class no_grad(set_grad_enabled):
    """``with gc.no_grad():`` or ``@gc.no_grad()``: nothing in it takes part in differentiation (updates, evaluation)."""

    def __init__(self, enabled: bool = False) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """``with gc.enable_grad():`` switches gradients on again within ``no_grad``."""

    def __init__(self, enabled: bool = True) -> None:
        super().__init__(True)
