"""The text of a tiled product: what matrix products and convolutions share.

A block makes a tile of the result. It goes over the depth in slabs, which lie in shared memory twice: while the threads work on
one, the next is on its way from memory into registers, and is then put into the other. Each thread keeps its part of the tile
in registers; its rows and columns are as far apart as there are threads side by side, so neighbours read neighbouring banks of
shared memory and write neighbouring elements.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.geometry import Tile
from graphc.backends.numba_cuda.source import DeviceText, stored
from graphc.backends.numba_cuda.structural.ending import Ending
from graphc.backends.numba_cuda.structural.pieces import Pieces

PADDING = 4
"""Elements after each row of a slab in shared memory, so that columns do not meet in one bank."""


class Factor(Protocol):
    """One factor of a product: the element for an index of its own (row or column) and one of the depth."""

    #: Whether neighbours along the depth are neighbours in memory.
    runs_along_depth: bool

    def of_index(self, text: DeviceText, index: str, mark: str) -> None:
        """Work out, in variables that end in ``mark``, what depends on the own ``index`` only."""

    def of_depth(self, text: DeviceText, index: str, mark: str) -> None:
        """The same for the depth."""

    def read(self, text: DeviceText, into: str, mark: str, depth_mark: str) -> None:
        """Set ``into``, which is zero, to the element."""


class _Slab:
    """One factor's slab: which elements a thread brings, and where they go in shared memory."""

    def __init__(
        self, text: DeviceText, tile: Tile, name: str, extent: int, count: str, factor: Factor, element: Element
    ) -> None:
        self.text, self.name, self.extent, self.factor, self.element = text, name, extent, factor, element
        self.depth, self.count, self.pitch = tile.depth, count, extent + PADDING
        self.threads = tile.threads
        self.loads = -(-extent * tile.depth // tile.threads)
        self.is_uneven = extent * tile.depth % tile.threads != 0
        text.shared(f"slab_{name}", 2 * tile.depth * self.pitch, stored(element.held))
        # Neighbouring threads bring neighbours in memory: elements along the depth, or across it.
        self.along = factor.runs_along_depth
        self.fast, slow = (tile.depth, extent) if self.along else (extent, tile.depth)
        self.slow = slow
        self.apart = self.threads // self.fast  # of a thread's elements, in the other direction
        assert self.threads % self.fast == 0, "a thread keeps to one index in the direction that memory runs"

    def _own(self, load: int) -> str:
        """The index in the slab of the thread's element ``load``."""
        return f"({self.name}_slow + {load * self.apart})" if self.along else f"{self.name}_fast"

    def _depth(self, load: int) -> str:
        return f"{self.name}_fast" if self.along else f"({self.name}_slow + {load * self.apart})"

    def _mark(self, load: int) -> str:
        return f"{self.name}{load if self.along else 0}"

    def places(self) -> None:
        """Where in the slab this thread's elements are."""
        self.text.line(f"{self.name}_fast = t % {self.fast}", f"{self.name}_slow = t // {self.fast}")

    def begin(self, first: str) -> None:
        """What depends on the tile: ``first`` is its first index."""
        for load in range(self.loads if self.along else 1):
            self.factor.of_index(self.text, f"{first} + {self._own(load)}", self._mark(load))

    def fetch(self, first: str, depth_from: str) -> None:
        """Read this thread's elements of the slab that begins at ``depth_from`` into registers."""
        text, n = self.text, self.name
        for load in range(self.loads):
            text.line(f"{n}_{load} = {self.element.literal(0)}", f"at = {depth_from} + {self._depth(load)}")
            inside = f"{first} + {self._own(load)} < {self.count} and at < last"
            if self.is_uneven:
                inside += f" and {n}_slow + {load * self.apart} < {self.slow}"
            with text.block(f"if {inside}:"):
                self.factor.of_depth(text, "at", f"{n}d")
                self.factor.read(text, f"{n}_{load}", self._mark(load), f"{n}d")

    def put(self, half: str) -> None:
        """Put the registers into a half of the shared memory."""
        n = self.name
        for load in range(self.loads):
            place = f"{half} * {self.depth * self.pitch} + {self._depth(load)} * {self.pitch} + {self._own(load)}"
            condition = [f"if {n}_slow + {load * self.apart} < {self.slow}:"] if self.is_uneven else []
            with self.text.block(*condition):
                self.text.line(f"slab_{n}[{place}] = {n}_{load}")


def tiled_product(
    text: DeviceText, tile: Tile, element: Element, left: Factor, right: Factor, ending: Ending, pieces: Pieces
) -> None:
    """Write the kernel's body. Sizes ``rows``, ``columns``, ``depth`` are set; ``ending`` is done for each element (``batch``,
    ``row``, ``column``) of the result, unless that is in several ``pieces``. The extent is the number of tiles of all batches
    and pieces.
    """
    wide = tile.columns // tile.wide  # threads side by side
    high = tile.rows // tile.high
    a = _Slab(text, tile, "a", tile.rows, "rows", left, element)
    b = _Slab(text, tile, "b", tile.columns, "columns", right, element)
    text.line("t = cuda.threadIdx.x", f"tx = t % {wide}", f"ty = t // {wide}")
    text.line(f"across = (columns + {tile.columns - 1}) // {tile.columns}", f"down = (rows + {tile.rows - 1}) // {tile.rows}")
    first, slabs = "", f"slabs = (last + {tile.depth - 1}) // {tile.depth}"
    if pieces.is_one:
        text.line("last = depth", slabs)
    else:
        text.line("tiles = extent // pieces")
        first, slabs = "first + ", f"slabs = (last - first + {tile.depth - 1}) // {tile.depth}"
    a.places()
    b.places()
    with text.blocks("tile" if pieces.is_one else "block"):
        if not pieces.is_one:
            text.line("piece = block // tiles", "tile = block % tiles")
            text.line("first = piece * piece_depth", "last = min(first + piece_depth, depth)", slabs)
        text.line("batch = tile // (across * down)", "rest = tile % (across * down)")
        text.line(f"row0 = rest // across * {tile.rows}", f"column0 = rest % across * {tile.columns}")
        a.begin("row0")
        b.begin("column0")
        sums = [[f"sum{i}_{j}" for j in range(tile.wide)] for i in range(tile.high)]
        text.line(*(f"{name} = {element.literal(0)}" for line in sums for name in line))
        for slab, own in ((a, "row0"), (b, "column0")):
            slab.fetch(own, first + "0")
            slab.put("0")
        text.line("cuda.syncthreads()")
        with text.block("for step in range(slabs):"):
            text.line("half = step % 2", "is_last = step + 1 == slabs")
            with text.block("if not is_last:"):
                a.fetch("row0", f"{first}(step + 1) * {tile.depth}")
                b.fetch("column0", f"{first}(step + 1) * {tile.depth}")
            with text.block("else:"):  # names must have a value on every path
                text.line(*(f"{s.name}_{load} = {element.literal(0)}" for s in (a, b) for load in range(s.loads)))
            with text.block(f"for d in range({tile.depth}):"):
                for slab, count, own, apart in ((a, tile.high, "ty", high), (b, tile.wide, "tx", wide)):
                    text.line(f"at = (half * {tile.depth} + d) * {slab.pitch} + {own}")
                    text.line(*(f"{slab.name}{i} = slab_{slab.name}[at + {i * apart}]" for i in range(count)))
                for i, line in enumerate(sums):
                    text.line(*(f"{name} = {element.cast(f'{name} + a{i} * b{j}')}" for j, name in enumerate(line)))
            with text.block("if not is_last:"):
                a.put("(1 - half)")
                b.put("(1 - half)")
            text.line("cuda.syncthreads()")
        if pieces.is_one:
            _end(text, tile, sums, ending)
            return
        with text.block("if pieces > 1:"):
            _end(text, tile, sums, _Partial(pieces))
        with text.block("else:"):
            _end(text, tile, sums, ending)


class _Partial:
    """Store the sums of a piece."""

    is_long = False

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces

    def write(self, text: DeviceText, total: str) -> None:
        self.pieces.write_partial(text, total)


def _end(text: DeviceText, tile: Tile, sums: list[list[str]], ending: Ending) -> None:
    """Do ``ending`` for each of the sums: all of them in the text, or in rounds, a row of the thread's sums each."""
    wide, high = tile.columns // tile.wide, tile.rows // tile.high
    if not ending.is_long:
        for i, line in enumerate(sums):
            text.line(f"row = row0 + ty + {i * high}")
            _end_row(text, wide, line, ending)
        return
    with text.block(f"for down_by in range({tile.high}):"):
        text.line(f"row = row0 + ty + down_by * {high}")
        _end_row(text, wide, sums[0], ending)
        for line, following in pairwise(sums):  # registers have no index, so they move up
            text.line(*(f"{name} = {other}" for name, other in zip(line, following, strict=True)))


def _end_row(text: DeviceText, wide: int, line: list[str], ending: Ending) -> None:
    for j, name in enumerate(line):
        text.line(f"column = column0 + tx + {j * wide}")
        with text.block("if row < rows and column < columns:"):
            ending.write(text, name)
