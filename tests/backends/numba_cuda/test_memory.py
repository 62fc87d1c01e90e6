"""The caching allocator, on a driver that has addresses but no memory."""

import gc
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from graphc.backends.numba_cuda.driver import OutOfDeviceMemory
from graphc.backends.numba_cuda.memory import (
    ALIGNMENT,
    MIDDLE,
    MIDDLE_SEGMENT,
    SMALL,
    SMALL_SEGMENT,
    Block,
    CachingAllocator,
    rounded,
    segment_size,
)
from graphc.errors import DeviceError, OutOfMemoryError

MIB = 1 << 20


class Event:
    def __init__(self) -> None:
        self.is_done = False
        self.is_discarded = False


class AddressDriver:
    """A device of ``total`` bytes: addresses are given out once each, and what it is asked is written down."""

    name = "the fake GPU"

    def __init__(self, total: int = 256 * MIB) -> None:
        self.total = total
        self.segments: dict[int, int] = {}
        self.next = 1 << 32
        self.calls: list[str] = []

    @property
    def used(self) -> int:
        return sum(self.segments.values())

    def memory(self) -> tuple[int, int]:
        return self.total - self.used, self.total

    def allocate(self, nbytes: int) -> int:
        self.calls.append("allocate")
        if self.used + nbytes > self.total:
            raise OutOfDeviceMemory
        address, self.next = self.next, self.next + nbytes
        self.segments[address] = nbytes
        return address

    def free(self, address: int) -> None:
        self.calls.append("free")
        del self.segments[address]

    def is_done(self, event: Event) -> bool:
        assert not event.is_discarded
        return event.is_done

    def wait(self, event: Event) -> None:
        self.calls.append("wait")
        event.is_done = True

    def discard(self, event: Event) -> None:
        assert event.is_done and not event.is_discarded
        event.is_discarded = True

    def synchronize(self) -> None:
        self.calls.append("synchronize")


class Allocation(RuleBasedStateMachine):
    """Blocks never overlap, lie within segments, and all that came back can be given out whole again."""

    blocks = Bundle("blocks")
    sizes = st.one_of(
        st.integers(0, 4 * ALIGNMENT), st.integers(0, 2 * SMALL), st.integers(SMALL, 2 * MIDDLE),
        st.sampled_from([0, 1, ALIGNMENT, SMALL - 1, SMALL, MIDDLE, MIDDLE_SEGMENT, 60 * MIB]),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.driver = AddressDriver(128 * MIB)
        self.allocator = CachingAllocator(self.driver)
        self.held: dict[int, Block] = {}
        self.events: list[Event] = []
        self.waiting: list[tuple[Block, Event]] = []
        self.peak = 0

    def in_use(self) -> list[Block]:
        return [*self.held.values(), *(block for block, event in self.waiting if not event.is_done)]

    @rule(target=blocks, nbytes=sizes)
    def allocate(self, nbytes: int) -> Block | None:
        before = sum(block.size for block in self.in_use())
        try:
            block = self.allocator.allocate(nbytes)
        except OutOfMemoryError:
            for _, event in self.waiting:  # it was waited for
                assert event.is_done
            assert before + rounded(nbytes) > self.driver.total // 4, "there was room"
            return None
        assert block.size >= max(nbytes, 1) and block.address % ALIGNMENT == 0
        self.held[block.address] = block
        self.peak = max(self.peak, sum(each.size for each in self.in_use()))
        return block

    @rule(block=consumes(blocks))
    def free(self, block: Block | None) -> None:
        if block is not None:
            del self.held[block.address]
            self.allocator.free(block)

    @rule(block=consumes(blocks))
    def free_while_another_stream_uses_it(self, block: Block | None) -> None:
        if block is not None:
            event = Event()
            del self.held[block.address]
            self.waiting.append((block, event))
            self.allocator.free(block, [event])

    @rule()
    def other_streams_go_on(self) -> None:
        for _, event in self.waiting:
            event.is_done = True

    @rule()
    def empty(self) -> None:
        before = self.driver.used
        assert before - self.allocator.empty_cache() == self.driver.used

    @invariant()
    def nothing_overlaps(self) -> None:
        places = sorted((block.address, block.address + block.size) for block in self.in_use())
        for (_, end), (start, _) in pairwise(places):
            assert end <= start
        for start, end in places:
            assert any(at <= start and end <= at + size for at, size in self.driver.segments.items())

    @invariant()
    def statistics_are_of_what_there_is(self) -> None:
        found = self.allocator.statistics()
        assert found.allocated == sum(block.size for block in self.in_use())
        assert found.blocks == len(self.in_use()) == found.allocations - found.frees
        assert (found.reserved, found.segments) == (self.driver.used, len(self.driver.segments))
        assert found.driver_allocations - found.driver_frees == found.segments
        assert found.peak_allocated >= self.peak and found.peak_reserved >= found.reserved

    @invariant()
    def blocks_tile_their_segments(self) -> None:
        blocks = self.allocator._blocks
        for address, size in self.driver.segments.items():
            block: Block | None = blocks[address]
            end, was_free = address, False
            while block is not None:
                assert block.address == end and not (was_free and block.is_free), "free neighbours are one block"
                end, was_free, block = end + block.size, block.is_free, block.after
            assert end == address + size
        free = sorted((block.size, block.address) for block in blocks.values() if block.is_free)
        assert free == sorted(self.allocator._free[True] + self.allocator._free[False])

    def teardown(self) -> None:
        self.other_streams_go_on()
        for block in self.held.values():
            self.allocator.free(block)
        self.allocator.empty_cache()
        assert not self.driver.segments and not self.allocator._blocks
        assert self.allocator._free == {True: [], False: []}


TestAllocation = Allocation.TestCase
TestAllocation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_driver_is_asked_once_for_what_comes_again() -> None:
    driver = AddressDriver()
    allocator = CachingAllocator(driver)
    for _ in range(10):
        blocks = [allocator.allocate(nbytes) for nbytes in (100, 5000, 3 * MIB, 30 * MIB)]
        for block in blocks:
            allocator.free(block)
    assert driver.calls == ["allocate"] * 3, "small, middle and large ones"
    found = allocator.statistics()
    assert (found.allocations, found.frees, found.allocated) == (40, 40, 0)
    assert found.reserved == SMALL_SEGMENT + MIDDLE_SEGMENT + 30 * MIB
    assert found.peak_allocated == 256 + 5120 + 33 * MIB


def test_the_smallest_block_that_fits_is_taken() -> None:
    allocator = CachingAllocator(AddressDriver())
    large, small, guard = (allocator.allocate(nbytes) for nbytes in (64 * 1024, 4096, 256))
    rest = allocator.allocate(256)
    allocator.free(large)
    allocator.free(guard)
    allocator.free(small)  # between two free ones: all three are one
    assert allocator.allocate(64 * 1024 + 4096 + 256).address == large.address
    assert rest.address == large.address + 64 * 1024 + 4096 + 256


def test_small_requests_do_not_cut_large_blocks() -> None:
    driver = AddressDriver()
    allocator = CachingAllocator(driver)
    allocator.free(allocator.allocate(40 * MIB))
    small = allocator.allocate(1000)
    assert driver.segments[small.address] == SMALL_SEGMENT
    assert allocator.empty_cache() == 40 * MIB
    assert allocator.statistics().reserved == SMALL_SEGMENT == segment_size(1000)


def test_a_full_device_is_asked_again_once_the_cache_is_empty() -> None:
    driver = AddressDriver(64 * MIB)
    allocator = CachingAllocator(driver)
    allocator.free(allocator.allocate(40 * MIB))
    driver.calls.clear()
    assert allocator.allocate(50 * MIB).size == 50 * MIB
    assert driver.calls == ["allocate", "synchronize", "free", "allocate"]
    assert allocator.statistics().retries == 1


def test_a_full_device_waits_for_other_streams_and_for_the_garbage_collector() -> None:
    driver = AddressDriver(64 * MIB)
    allocator = CachingAllocator(driver)
    event = Event()
    allocator.free(allocator.allocate(40 * MIB), [event])
    allocator.allocate(50 * MIB)
    assert event.is_discarded
    allocator.empty_cache()

    class Owner:
        def __init__(self) -> None:
            self.block = allocator.allocate(10 * MIB)
            self.itself = self

        def __del__(self) -> None:
            allocator.free(self.block)

    gc.disable()
    try:
        Owner()
        assert allocator.allocate(12 * MIB).size == 12 * MIB
    finally:
        gc.enable()


def test_a_request_that_does_not_fit_says_how_much_there_is() -> None:
    driver = AddressDriver(64 * MIB)
    allocator = CachingAllocator(driver)
    kept = allocator.allocate(20 * MIB)
    with pytest.raises(OutOfMemoryError, match="the fake GPU has no room for 52,428,800 bytes for temporaries of f") as caught:
        allocator.allocate(50 * MIB, " for temporaries of f")
    assert "of its 67,108,864 bytes 46,137,344 are free, 20,971,520 are in tensors and temporaries" in str(caught.value)
    assert caught.value.code == "GC711" and isinstance(caught.value, (DeviceError, MemoryError))
    assert allocator.statistics().out_of_memory == 1
    allocator.free(kept)
    assert allocator.allocate(50 * MIB).size == 50 * MIB


def test_the_last_try_asks_for_no_more_than_is_needed() -> None:
    driver = AddressDriver(4 * MIB)
    block = CachingAllocator(driver).allocate(3 * MIB)
    assert driver.segments[block.address] == 3 * MIB < segment_size(3 * MIB)


def test_peaks_begin_anew() -> None:
    allocator = CachingAllocator(AddressDriver())
    kept = allocator.allocate(MIB)
    allocator.free(allocator.allocate(40 * MIB))
    allocator.empty_cache()
    assert allocator.statistics().peak_allocated == 41 * MIB
    allocator.reset_peaks()
    assert (allocator.statistics().peak_allocated, allocator.statistics().peak_reserved) == (kept.size, MIDDLE_SEGMENT)


def test_a_block_may_come_back_while_the_allocator_is_at_work() -> None:
    """As when a finalizer runs within it, in the same thread."""
    driver = AddressDriver()
    allocator = CachingAllocator(driver)
    block = allocator.allocate(MIB)
    real: Callable[[int], int] = driver.allocate

    def allocate(nbytes: int) -> int:
        allocator.free(block)
        return real(nbytes)

    driver.allocate = allocate  # type: ignore[method-assign]
    allocator.allocate(40 * MIB)
    assert allocator.statistics().frees == 1


def test_threads_share_it() -> None:
    allocator = CachingAllocator(AddressDriver(1 << 40))
    failures: list[Any] = []

    def work(seed: int) -> None:
        held: list[Block] = []
        for step in range(300):
            held.append(allocator.allocate((seed * 7919 + step * 104729) % (3 * MIB)))
            if step % 3:
                allocator.free(held.pop(step % len(held)))
        places = [(block.address, block.size) for block in held]
        failures.append(places)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places = sorted(place for held in failures for place in held)
    assert len(places) == 400
    assert all(at + size <= following for (at, size), (following, _) in pairwise(places))
    assert allocator.statistics().blocks == 400
