"""Side effects that a trace would do once and never again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def outside(block: Callable[..., Any]) -> Iterator[None]:
    """Within the ``with``, a branch or body is traced; what its variables hold now was made outside of it."""
    yield
