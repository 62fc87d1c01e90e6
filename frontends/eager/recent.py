"""What was made for the keys that came last, for threads and for the child of a fork."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """At most ``most`` values; what was not asked for the longest goes first. One for a module: it stays for the life of the
    process."""

    def __init__(self, most: int = 256) -> None:
        super().__init__()
        self.most = most
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # the child of a fork needs one that nobody holds

    def recall(self, key: K) -> V | None:
        """What was kept for ``key``, if it still is."""
        with self._lock:
            value = self.get(key)
            if value is not None:
                self.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        """Let ``recall(key)`` give ``value`` from now on."""
        with self._lock:
            self[key] = value
            while len(self) > self.most:
                self.popitem(last=False)
