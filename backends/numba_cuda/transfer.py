"""Copies between the host's memory and the device's, through pinned memory: the device reads and writes that by itself, while
the host goes on.

A piece of pinned memory is used again once an event says that its copy is done. So an array may be changed as soon as
:meth:`Staging.upload` returns, and large arrays pass in pieces, one being copied by the host while another is by the device.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.errors import OutOfMemoryError

from .driver import Driver, OutOfDeviceMemory

#: The most bytes of one copy.
PIECE: Final = 4 << 20
#: Pinned pieces have a power of two of bytes, at least this.
SMALLEST: Final = 4 << 10
#: So much is pinned at most; pinned memory is lost to the rest of the system.
MOST_PINNED: Final = 64 << 20


@dataclass(frozen=True)
class Download:
    """Bytes at ``source`` on the device that are wanted in ``target``, a C-contiguous array of as many."""

    source: int
    target: np.ndarray


class Staging:
    """Pinned memory of one device. Any thread may use it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._free: dict[int, list[int]] = {}
        self._busy: deque[tuple[Any, int, int]] = deque()  # event, size, address, in the order of the stream
        self.pinned = 0

    def upload(self, target: int, array: np.ndarray) -> None:
        """Copy a C-contiguous ``array`` to the address ``target`` of the device, in the order of the stream."""
        for begin, nbytes in _pieces(array.nbytes):
            with self._lock:
                size, address = self._take(nbytes)
                try:
                    ctypes.memmove(address, array.ctypes.data + begin, nbytes)
                    self._driver.copy_in(target + begin, address, nbytes)
                finally:
                    self._busy.append((self._driver.record(), size, address))

    def download(self, wanted: Sequence[Download]) -> None:
        """Copy from the device, with all that was asked for before; returns when all is in place."""
        pending: deque[tuple[Any, int, int, int, int]] = deque()  # event, size, pinned address, host's address, bytes
        try:
            for each in wanted:
                for begin, nbytes in _pieces(each.target.nbytes):
                    if len(pending) * PIECE >= MOST_PINNED // 2:
                        self._finish(pending.popleft())
                    with self._lock:
                        size, address = self._take(nbytes)
                        self._driver.copy_out(address, each.source + begin, nbytes)
                        event = self._driver.record()
                    pending.append((event, size, address, each.target.ctypes.data + begin, nbytes))
            while pending:
                self._finish(pending.popleft())
        finally:
            with self._lock:  # where something failed
                self._busy.extend(each[:3] for each in pending)

    def release(self) -> None:
        """Give back all pinned memory that no copy uses."""
        with self._lock:
            self._collect()
            for size, addresses in self._free.items():
                for address in addresses:
                    self._driver.unpin(address)
                    self.pinned -= size
            self._free.clear()

    def _finish(self, copied: tuple[Any, int, int, int, int]) -> None:
        event, size, address, target, nbytes = copied
        self._driver.wait(event)  # without the lock: other threads go on
        ctypes.memmove(target, address, nbytes)
        self._driver.discard(event)
        with self._lock:
            self._free.setdefault(size, []).append(address)

    def _take(self, nbytes: int) -> tuple[int, int]:
        """Pinned memory for ``nbytes``: its size and address."""
        size = max(SMALLEST, 1 << (nbytes - 1).bit_length())
        self._collect()
        while not self._free.get(size):
            if self.pinned + size <= MOST_PINNED:
                try:
                    address = self._driver.pin(size)
                except OutOfDeviceMemory:
                    if not self._busy and not any(self._free.values()):
                        what = f"the host has no room for {size:,} bytes that {self._driver.name} copies to and from"
                        raise OutOfMemoryError(what) from None
                else:
                    self.pinned += size
                    return size, address
            self._give_way()
        return size, self._free[size].pop()

    def _give_way(self) -> None:
        """Unpin something that is free, else wait for the oldest copy."""
        for size, addresses in self._free.items():
            if addresses:
                self._driver.unpin(addresses.pop())
                self.pinned -= size
                return
        event, size, address = self._busy.popleft()
        self._driver.wait(event)
        self._driver.discard(event)
        self._free.setdefault(size, []).append(address)

    def _collect(self) -> None:
        while self._busy and self._driver.is_done(self._busy[0][0]):
            event, size, address = self._busy.popleft()
            self._driver.discard(event)
            self._free.setdefault(size, []).append(address)


def _pieces(nbytes: int) -> Iterator[tuple[int, int]]:
    """Where each piece begins, and its bytes."""
    for begin in range(0, nbytes, PIECE):
        yield begin, min(PIECE, nbytes - begin)
