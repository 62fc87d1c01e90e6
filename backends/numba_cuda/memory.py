"""Memory of a device, kept for the next request: asking the driver for some takes longer than most kernels.

The driver gives *segments*, of which requests get *blocks*: the smallest free one that is large enough, divided where much of
it would be left over. A block that comes back is joined with its free neighbours. All work is in the order of one stream, so a
block may be given out again while the work before still uses it: what comes after waits. Where another stream uses a block
too, it comes back only after an event of that stream.
"""

from __future__ import annotations

import gc
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from graphc.errors import OutOfMemoryError

from .driver import OutOfDeviceMemory

#: Blocks begin at multiples of this, and have room for it.
ALIGNMENT: Final = 256
#: Requests of less than this come out of segments for small ones, so that they do not cut large blocks into pieces.
SMALL: Final = 1 << 20
SMALL_SEGMENT: Final = 2 << 20
#: Requests of less than this share segments.
MIDDLE: Final = 10 << 20
MIDDLE_SEGMENT: Final = 20 << 20


class MemoryDriver(Protocol):
    """The calls of a :class:`graphc.backends.numba_cuda.driver.Driver` that are for memory."""

    name: str

    def memory(self) -> tuple[int, int]: ...

    def allocate(self, nbytes: int) -> int: ...

    def free(self, address: int) -> None: ...

    def is_done(self, event: Any) -> bool: ...

    def wait(self, event: Any) -> None: ...

    def discard(self, event: Any) -> None: ...

    def synchronize(self) -> None: ...


class Block:
    """Part of a segment: ``size`` bytes at ``address``, of which ``requested`` were asked for."""

    __slots__ = ("address", "after", "before", "is_free", "is_small", "requested", "size")

    def __init__(self, address: int, size: int, is_small: bool) -> None:
        self.address, self.size, self.is_small = address, size, is_small
        self.requested = 0
        self.is_free = True
        self.before: Block | None = None  # its neighbours in the segment
        self.after: Block | None = None


@dataclass(frozen=True)
class MemoryStatistics:
    """Bytes and counts of one device.

    ``allocated``: in blocks that are in use; ``reserved``: in segments that the driver gave; the peaks are the most of each
    since the last :meth:`CachingAllocator.reset_peaks`. ``allocations``, ``frees``: of blocks, ever; ``driver_allocations``,
    ``driver_frees``: of segments, ever; ``blocks``, ``segments``: there are now; ``retries``: how often the driver had no
    memory until the cache was emptied; ``out_of_memory``: how often that did not help.
    """

    allocated: int
    reserved: int
    peak_allocated: int
    peak_reserved: int
    allocations: int
    frees: int
    driver_allocations: int
    driver_frees: int
    blocks: int
    segments: int
    retries: int
    out_of_memory: int


@dataclass
class _Counts:
    allocated: int = 0
    reserved: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    allocations: int = 0
    frees: int = 0
    driver_allocations: int = 0
    driver_frees: int = 0
    retries: int = 0
    out_of_memory: int = 0


class CachingAllocator:
    """See the module. Any thread may allocate and free; finalizers, too, whichever thread runs them and whenever."""

    def __init__(self, driver: MemoryDriver) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._returned: deque[tuple[Block, tuple[Any, ...]]] = deque()  # freed, but not seen to
        self._waiting: list[tuple[Block, tuple[Any, ...]]] = []  # until other streams are done with them
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # is small → (size, address), sorted
        self._blocks: dict[int, Block] = {}
        self._segments: dict[int, int] = {}
        self._counts = _Counts()

    def allocate(self, nbytes: int, planned: str = "") -> Block:
        """A block of at least ``nbytes`` bytes, its contents unspecified.

        Raises OutOfMemoryError where the device has no room for it, even with nothing kept for later; ``planned`` is added to
        that: what the memory is for.
        """
        size = rounded(nbytes)
        with self._lock:
            self._take_back()
            block = self._find(size)
        if block is None:
            block = self._find_or_reserve(size, nbytes, planned)
        block.requested = nbytes
        return block

    def free(self, block: Block, after: Sequence[Any] = ()) -> None:
        """Give ``block`` back. ``after``: events of other streams that use it."""
        self._returned.append((block, tuple(after)))
        # A finalizer may run in the middle of this very class, in the same thread: then whoever comes next sees to it.
        if self._lock.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self._lock.release()

    def empty_cache(self) -> int:
        """Give all segments of which nothing is in use back to the driver; how many bytes that were. Waits for all work."""
        self._driver.synchronize()
        with self._lock:
            self._take_back()
            return self._release()

    def statistics(self) -> MemoryStatistics:
        with self._lock:
            self._take_back()
            in_use = sum(not block.is_free for block in self._blocks.values())
            return MemoryStatistics(**vars(self._counts), blocks=in_use, segments=len(self._segments))

    def reset_peaks(self) -> None:
        """Let the peaks begin anew, with what is in use now."""
        with self._lock:
            self._take_back()
            self._counts.peak_allocated = self._counts.allocated
            self._counts.peak_reserved = self._counts.reserved

    # With the lock held

    def _find(self, size: int) -> Block | None:
        """A free block for ``size`` bytes, the smallest that is large enough, now in use."""
        is_small = size < SMALL
        free = self._free[is_small]
        place = bisect_left(free, (size, 0))
        if place == len(free):
            return None
        _, address = free.pop(place)
        block = self._blocks[address]
        left = block.size - size
        if left >= (ALIGNMENT if is_small else SMALL):
            rest = Block(address + size, left, is_small)
            rest.before, rest.after, block.after = block, block.after, rest
            if rest.after is not None:
                rest.after.before = rest
            block.size = size
            self._blocks[rest.address] = rest
            insort(free, (left, rest.address))
        block.is_free = False
        counts = self._counts
        counts.allocations += 1
        counts.allocated += block.size
        counts.peak_allocated = max(counts.peak_allocated, counts.allocated)
        return block

    def _reserve(self, size: int, wanted: int) -> None:
        """A new segment of ``wanted`` bytes, for blocks of ``size`` bytes and the like. Raises OutOfDeviceMemory."""
        address = self._driver.allocate(wanted)
        self._segments[address] = wanted
        self._blocks[address] = Block(address, wanted, size < SMALL)
        insort(self._free[size < SMALL], (wanted, address))
        counts = self._counts
        counts.driver_allocations += 1
        counts.reserved += wanted
        counts.peak_reserved = max(counts.peak_reserved, counts.reserved)

    def _take_back(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for block, events in waiting:
                self._take_one(block, tuple([event for event in events if not self._is_over(event)]))
        while self._returned:
            self._take_one(*self._returned.popleft())

    def _is_over(self, event: Any) -> bool:
        if not self._driver.is_done(event):
            return False
        self._driver.discard(event)
        return True

    def _take_one(self, block: Block, events: tuple[Any, ...]) -> None:
        if events:
            self._waiting.append((block, events))
            return
        assert not block.is_free, "a block came back twice"
        block.is_free, block.requested = True, 0
        self._counts.frees += 1
        self._counts.allocated -= block.size
        free = self._free[block.is_small]
        after, before = block.after, block.before
        if after is not None and after.is_free:
            free.remove((after.size, after.address))
            self._join(block, after)
        if before is not None and before.is_free:
            free.remove((before.size, before.address))
            self._join(before, block)
            block = before
        insort(free, (block.size, block.address))

    def _join(self, first: Block, second: Block) -> None:
        first.size += second.size
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        del self._blocks[second.address]

    def _release(self) -> int:
        given_back = 0
        for address, size in list(self._segments.items()):
            block = self._blocks[address]
            if block.is_free and block.size == size:
                self._free[block.is_small].remove((size, address))
                del self._blocks[address], self._segments[address]
                self._driver.free(address)
                self._counts.driver_frees += 1
                self._counts.reserved -= size
                given_back += size
        return given_back

    # With the lock taken in turns: collecting garbage frees blocks

    def _find_or_reserve(self, size: int, nbytes: int, planned: str) -> Block:
        for is_last in (False, True):
            with self._lock:
                self._take_back()
                block = self._find(size)
                if block is None:
                    try:
                        self._reserve(size, size if is_last else segment_size(size))
                    except OutOfDeviceMemory:
                        self._counts.retries += not is_last
                    else:
                        block = self._find(size)
                if block is not None:
                    return block
            if not is_last:
                self._make_room()
        with self._lock:
            self._counts.out_of_memory += 1
        raise self._out_of_memory(nbytes, planned)

    def _make_room(self) -> None:
        """Give back all that nobody uses: first what only waits for the garbage collector, and for other streams."""
        gc.collect()
        self._driver.synchronize()
        with self._lock:
            for _, events in self._waiting:
                for event in events:
                    self._driver.wait(event)
            self._take_back()
            self._release()

    def _out_of_memory(self, nbytes: int, planned: str) -> OutOfMemoryError:
        statistics = self.statistics()
        free, total = self._driver.memory()
        message = (
            f"{self._driver.name} has no room for {nbytes:,} bytes{planned}: of its {total:,} bytes {free:,} are free, "
            f"{statistics.allocated:,} are in tensors and temporaries, and {statistics.reserved - statistics.allocated:,} "
            "are kept between those"
        )
        hint = "smaller batches, fewer tensors kept, or gc.checkpoint around parts of the model"
        return OutOfMemoryError(message, hint=hint)


def rounded(nbytes: int) -> int:
    """The bytes of a block for ``nbytes``."""
    return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)


def segment_size(size: int) -> int:
    """How much the driver is asked for where a block of ``size`` bytes is wanted.

    >>> segment_size(1000), segment_size(3 << 20), segment_size((50 << 20) + 1)
    (2097152, 20971520, 54525952)
    """
    if size < SMALL:
        return SMALL_SEGMENT
    if size < MIDDLE:
        return MIDDLE_SEGMENT
    return -(-size // SMALL_SEGMENT) * SMALL_SEGMENT
