"""Arguments of launches, prepared once: what changes from run to run is where buffers lie, and that is written in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphc.locations import UNKNOWN, Location

from .driver import Call, DeviceCopy, Driver
from .geometry import Geometry
from .kernels import DeviceKernel

_WORD: Final = 8
#: What numba-cuda passes for an array of one dimension: two handles, the count, the itemsize, the address, size and stride.
_ARRAY_WORDS: Final = 7
_ARRAY_ADDRESS: Final = 4
#: What ``status`` has: which instruction failed (counted from 1), the index, its axis, the size of that.
STATUS_WORDS: Final = 4


@dataclass(frozen=True)
class Place:
    """Where something lies: ``offset`` bytes after the base number ``base``, whose address each run knows."""

    base: int
    offset: int = 0


@dataclass(frozen=True)
class Launch:
    """A kernel with its buffers, their bytes, its sizes and extent, and the number that it reports what fails with.

    ``location``: the user's line that it is from.
    """

    kernel: DeviceKernel
    places: tuple[Place, ...]
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]
    number: int = 0
    location: Location = UNKNOWN


@dataclass(frozen=True)
class Move:
    """Bytes that are copied on the device."""

    target: Place
    source: Place
    nbytes: int


Work = Launch | Move


class Arguments:
    """The arguments of ``work``, in order; ``status`` is the base of the words that kernels report failures in.

    Kernels are compiled and loaded here. One run at a time may :meth:`place` and launch; as a launch copies its arguments,
    the next one need not wait for it.
    """

    def __init__(self, driver: Driver, geometry: Geometry, work: Sequence[Work], status: int) -> None:
        self.work = tuple(work)
        self.uses: list[frozenset[int]] = []  # for each part, its bases
        self._starts: list[int] = []
        self._addresses: tuple[int, ...] | None = None
        words: list[int] = []
        found: list[tuple[int, int, int]] = []  # word, base, offset
        layouts: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []
        for part in self.work:
            self._starts.append(len(words))
            if isinstance(part, Move):
                self.uses.append(frozenset([part.target.base, part.source.base]))
                layouts.append(((), (), 0))
                continue
            bases: set[int] = set()
            layouts.append(self._append(part, status, words, found, bases))
            self.uses.append(frozenset(bases))
        self._words = np.array(words or [0], np.int64)
        self._table = self._words.ctypes.data + _WORD * np.arange(len(self._words), dtype=np.int64)
        self._where = np.array([word for word, _, _ in found], np.intp)
        self._bases = np.array([base for _, base, _ in found], np.intp)
        self._offsets = np.array([offset for _, _, offset in found], np.int64)
        self._calls: list[Call | None] = [
            self._call(driver, geometry, place, *layout) if isinstance(part, Launch) else None
            for place, (part, layout) in enumerate(zip(self.work, layouts, strict=True))
        ]

    def _append(
        self, part: Launch, status: int, words: list[int], found: list[tuple[int, int, int]], bases: set[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """The words of one launch; gives where its buffers are in them, their bytes, and where its numbers begin."""
        begin, source = len(words), part.kernel.source
        starts: list[int] = []
        sizes: list[int] = []

        def buffer(place: Place, nbytes: int, itemsize: int, is_array: bool) -> None:
            starts.append(len(words) - begin)
            sizes.append(nbytes)
            bases.add(place.base)
            found.append((len(words) + (_ARRAY_ADDRESS if is_array else 0), place.base, place.offset))
            count = nbytes // itemsize
            words.extend([0, 0, count, itemsize, 0, count, itemsize] if is_array else [0])

        for parameter in source.parameters:
            itemsize = int(parameter.short[1:]) // 8
            buffer(part.places[parameter.slot], part.sizes[parameter.slot], itemsize, parameter.is_array)
        scalars = len(words) - begin
        words += part.numbers
        if source.checks:
            buffer(Place(status), STATUS_WORDS * _WORD, _WORD, True)
            words.append(part.number)
        count = len(source.parameters)
        return tuple(starts[:count]), tuple(sizes[:count]), scalars

    def _call(
        self, driver: Driver, geometry: Geometry, place: int, starts: tuple[int, ...], sizes: tuple[int, ...], scalars: int
    ) -> Call:
        part = self.work[place]
        assert isinstance(part, Launch)
        begin = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self.work) else len(self._words)
        parameters = int(self._table.ctypes.data) + _WORD * begin
        blocks = blocks_for(part.kernel, part.numbers[-1], geometry)
        return Call(part.kernel, driver.load(part.kernel), blocks, self._words[begin:end], parameters, starts, sizes, scalars)

    def place(self, addresses: tuple[int, ...]) -> None:
        """Let the bases have these addresses."""
        if addresses != self._addresses:
            known = np.array(addresses, np.int64)
            self._words[self._where] = known[self._bases] + self._offsets
            self._addresses = addresses

    def part(self, place: int) -> Call | DeviceCopy:
        """The part number ``place`` with what it was placed at."""
        call = self._calls[place]
        if call is not None:
            return call
        move = self.work[place]
        assert isinstance(move, Move) and self._addresses is not None
        target, source = (self._addresses[at.base] + at.offset for at in (move.target, move.source))
        return DeviceCopy(target, source, move.nbytes)


def blocks_for(kernel: DeviceKernel, extent: int, geometry: Geometry) -> int:
    """How many blocks to launch for ``extent`` points."""
    return max(1, min(geometry.blocks, -(-extent // kernel.source.per_block)))
