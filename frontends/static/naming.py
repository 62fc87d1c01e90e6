"""Names of a graph's elements: unique, nested in scopes, as in TensorFlow 1.x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphc.errors import ArgumentError

_VALID = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/-]*")


class Names:
    """Hands out unique names: ``add``, ``add_1``, and in the scope ``layer1``: ``layer1/add``."""

    def __init__(self) -> None:
        self.scope = ""
        self._counts: dict[str, int] = {}

    def unique(self, name: Any) -> str:
        """``name`` within the present scope, with a number appended where it is taken. Raises ArgumentError for a bad name."""
        if not isinstance(name, str) or not _VALID.fullmatch(name):
            raise ArgumentError(
                f"{name!r} cannot be a name in a graph",
                hint="use letters, digits, _ . - and /; start with a letter or a digit",
                cause=ArgumentError.NAME,
            )
        full = f"{self.scope}/{name}" if self.scope else name
        count = self._counts.get(full)
        if count is None:
            self._counts[full] = 1
            return full
        while True:
            candidate = f"{full}_{count}"
            count += 1
            if candidate not in self._counts:
                self._counts[full] = count
                self._counts[candidate] = 1
                return candidate

    @contextmanager
    def nested(self, name: str) -> Iterator[str]:
        """Within the block, names are prefixed by ``name``, made unique; an empty name leaves all scopes."""
        saved = self.scope
        self.scope = self.unique(name) if name else ""
        try:
            yield self.scope
        finally:
            self.scope = saved

    @contextmanager
    def within(self, scope: str) -> Iterator[None]:
        """Within the block, names are prefixed by exactly ``scope``."""
        saved, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = saved
