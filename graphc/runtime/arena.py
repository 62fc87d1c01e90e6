"""Memory for temporaries: where each lies within one block, and the blocks themselves, which calls check out."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

ALIGNMENT: Final = 64  # bytes: a cache line, and the widest vector
MAX_FREE: Final = 8  # blocks kept for the next call: as many as calls commonly run at once


class Lifetime(NamedTuple):
    """A buffer of ``size`` bytes that is in use from instruction ``first`` to ``last``, both included."""

    size: int
    first: int
    last: int


class ArenaPlan(NamedTuple):
    """For each buffer its offset, a multiple of :data:`ALIGNMENT`; and the size of the whole."""

    offsets: tuple[int, ...]
    size: int


def plan_arena(lifetimes: Sequence[Lifetime]) -> ArenaPlan:
    """Offsets such that buffers in use at the same instruction do not overlap. An empty buffer overlaps nothing.

    Buffers are placed in the order of their first use, each in the tightest gap that others left, which takes time in
    proportion to the number of buffers and gaps.

    >>> plan_arena([Lifetime(64, 0, 1), Lifetime(64, 1, 2), Lifetime(64, 2, 3)])
    ArenaPlan(offsets=(0, 64, 0), size=128)
    """
    offsets = [0] * len(lifetimes)
    order = sorted(range(len(lifetimes)), key=lambda i: lifetimes[i].first)
    ending = sorted(range(len(lifetimes)), key=lambda i: lifetimes[i].last)
    gaps: list[tuple[int, int]] = []  # (offset, size), by offset; never adjacent
    end = total = done = 0
    for index in order:
        buffer = lifetimes[index]
        while done < len(ending) and lifetimes[ending[done]].last < buffer.first:
            freed = ending[done]
            end = _release(gaps, offsets[freed], _rounded(lifetimes[freed].size), end)
            done += 1
        size = _rounded(buffer.size)
        if size == 0:
            continue
        fitting = [(gap[1], place) for place, gap in enumerate(gaps) if gap[1] >= size]
        if fitting:
            _, place = min(fitting)
            offset, room = gaps[place]
            if room == size:
                del gaps[place]
            else:
                gaps[place] = (offset + size, room - size)
        else:
            offset, end = end, end + size
            total = max(total, end)
        offsets[index] = offset
    return ArenaPlan(tuple(offsets), total)


def _release(gaps: list[tuple[int, int]], offset: int, size: int, end: int) -> int:
    """Add a gap, joined with its neighbours; gives the end of what is in use, which a gap at the end lowers."""
    if size == 0:
        return end
    insort(gaps, (offset, size))
    place = gaps.index((offset, size))
    if place + 1 < len(gaps) and offset + size == gaps[place + 1][0]:
        size += gaps.pop(place + 1)[1]
        gaps[place] = (offset, size)
    if place > 0 and sum(gaps[place - 1]) == offset:
        offset, size = gaps[place - 1][0], gaps[place - 1][1] + size
        gaps[place - 1 : place + 1] = [(offset, size)]
        place -= 1
    if offset + size == end:
        del gaps[place]
        end = offset
    return end


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class Arena:
    """One aligned block of memory."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self.memory = raw[start : start + size]
        self.address = raw.ctypes.data + start
        self.size = size


class ArenaPool:
    """Blocks for calls that run now: each is used by one call at a time, and the last one that came back goes first.

    A block that is too small is replaced by a larger one, so that a process which runs one call at a time keeps one
    block, of the size of its most demanding call. Threads may check out at once (the operations of a list are atomic).
    """

    def __init__(self) -> None:
        self._free: list[Arena] = []

    def check_out(self, size: int) -> Arena:
        """A block of at least ``size`` bytes, its contents unspecified."""
        try:
            arena = self._free.pop()
        except IndexError:
            return Arena(size)
        return arena if arena.size >= size else Arena(size)

    def check_in(self, arena: Arena) -> None:
        """Give a block back, after its call."""
        if len(self._free) < MAX_FREE:
            self._free.append(arena)

    @property
    def idle_bytes(self) -> int:
        """What is kept for the next calls."""
        return sum(arena.size for arena in self._free)


ARENAS: Final = ArenaPool()
