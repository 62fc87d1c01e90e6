"""Arrays for results, used again once nobody else holds them.

Fresh memory is not free: the system clears each page as it is first touched, which for a large result costs more than
computing it. So the pool keeps a reference to each large array that it hands out, and hands it out again when its own
reference is the last. The array itself is handed out, never a view of it: whatever shares its memory (slices, buffers,
DLPack capsules) holds a reference to the array that owns the memory, and so is counted.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

SMALLEST: Final = 1 << 17  # bytes; the allocator gives smaller blocks back to us without clearing them
LARGEST_SHARE: Final = 8  # the pool tracks at most this fraction of the memory, and
MOST_BYTES: Final = 1 << 29  # at most this
MOST_LOOKS: Final = 8  # how many arrays in use it looks at before it makes a new one
MOST_KINDS: Final = 64  # of shapes and dtypes, of which it keeps arrays: those asked for last


def _references(arrays: Sequence[Any], index: int) -> int:
    return sys.getrefcount(arrays[index])


_ALONE: Final = _references([object()], 0)  # what is counted where only the list holds the object
COUNTS_ARE_EXACT: Final = getattr(sys, "_is_gil_enabled", lambda: True)()  # without the GIL, counts are not exact


def _default_limit() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return MOST_BYTES
    return min(MOST_BYTES, memory // LARGEST_SHARE)


class ResultPool:
    """Hands out arrays; ``limit`` bounds the bytes of all the arrays that it keeps a reference to."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = _default_limit() if limit is None else limit
        self.tracked_bytes = 0
        self._lock = threading.RLock()  # a collection of garbage may run code that comes back here
        self._arrays: OrderedDict[tuple[tuple[int, ...], np.dtype[Any]], deque[np.ndarray]] = OrderedDict()

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> np.ndarray:
        """A C-contiguous, writable array that owns its memory and that nobody else holds; contents unspecified."""
        if nbytes < SMALLEST or nbytes > self.limit or not COUNTS_ARE_EXACT:
            return np.empty(shape, dtype)
        key = (shape, dtype)
        with self._lock:
            arrays = self._arrays.setdefault(key, deque())
            self._arrays.move_to_end(key)
            for _ in range(min(len(arrays), MOST_LOOKS)):
                arrays.rotate(-1)  # what is looked at now is looked at last the next time
                if _references(arrays, -1) == _ALONE and not weakref.getweakrefcount(arrays[-1]):
                    array = arrays[-1]
                    if _is_as_made(array, shape, dtype):
                        return array
                    del arrays[-1]  # somebody changed its shape, say: it is not ours any more
                    self.tracked_bytes -= nbytes
                    break
            array = np.empty(shape, dtype)
            arrays.append(array)
            self.tracked_bytes += nbytes
            while self.tracked_bytes > self.limit or len(self._arrays) > MOST_KINDS:
                self._forget_one()
            return array

    def keeps(self, array: np.ndarray) -> bool:
        """Whether the pool holds a reference to ``array``."""
        with self._lock:
            return any(kept is array for kept in self._arrays.get((array.shape, array.dtype), ()))

    def clear(self) -> None:
        """Forget all arrays: memory that nobody else holds goes back to the system."""
        with self._lock:
            self._arrays.clear()
            self.tracked_bytes = 0

    def renew_lock(self) -> None:
        """In a forked child the thread that held the lock may be gone."""
        self._lock = threading.RLock()

    def _forget_one(self) -> None:
        key = next(iter(self._arrays))
        arrays = self._arrays[key]
        if arrays:
            shape, dtype = key
            del arrays[0]
            self.tracked_bytes -= dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        if not arrays:
            del self._arrays[key]


def _is_as_made(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    flags = array.flags
    return array.shape == shape and array.dtype is dtype and flags.c_contiguous and flags.writeable and flags.owndata


RESULTS: Final = ResultPool()
os.register_at_fork(after_in_child=RESULTS.renew_lock)
