"""Products of few tiles and a long depth, such as gradients of weights: several blocks for each tile, each for a piece of the
depth. A second kernel adds up what they come to, always in the same order.

How many pieces there are follows from the sizes, by arithmetic of the run time, so the text is the same for all: where there is
one, the second kernel is not launched, and there is no scratch.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.geometry import Geometry, Tile
from graphc.backends.numba_cuda.source import DeviceSource, DeviceText, stored
from graphc.backends.numba_cuda.structural.ending import Ending
from graphc.ir.dims import Dim, dim_floordiv, dim_max, dim_min
from graphc.ir.types import TensorType

PARTIALS = "partials"
"""What the kernels call their scratch."""


@dataclass(frozen=True)
class Pieces:
    """``count`` pieces of ``depth`` steps each, of which the last ones may be shorter or empty, of a product that has
    ``elements``. Their sums are at ``slot`` of the buffers."""

    count: Dim
    depth: Dim
    elements: Dim
    element: Element
    slot: int

    @property
    def is_one(self) -> bool:
        """Whether it is known that there is one piece."""
        return self.count == 1

    @property
    def if_several(self) -> Dim:
        """1 where there are several pieces, else 0."""
        return dim_min(self.count - 1, 1)

    @property
    def scratch(self) -> tuple[TensorType, ...]:
        """The sums of all pieces, each in the order of matrix, row, column."""
        if self.is_one:
            return ()
        return (TensorType(self.element.held, (self.if_several * self.count * self.elements,)),)

    def declare(self, text: DeviceText) -> None:
        """Take ``pieces``, their ``piece_depth``, and where their sums are."""
        if not self.is_one:
            text.buffer(PARTIALS, self.slot, stored(self.element.held))
            text.size("pieces", self.count)
            text.size("piece_depth", self.depth)
            text.size("elements", self.elements)

    def write_partial(self, text: DeviceText, total: str) -> None:
        """Store the sum of the piece for the element (``batch``, ``row``, ``column``)."""
        text.line(f"{PARTIALS}[piece * elements + (batch * rows + row) * columns + column] = {total}")

    def total_kernel(self, text: DeviceText, ending: Ending) -> DeviceSource:
        """The second kernel. ``text`` has taken what ``ending`` needs, ``rows`` and ``columns``."""
        self.declare(text)
        with text.points("p"):
            text.line("column = p % columns", "line = p // columns", "row = line % rows", "batch = line // rows")
            text.line(f"total = {PARTIALS}[p]")
            with text.block("for piece in range(1, pieces):"):
                text.line(f"total = {self.element.cast(f'total + {PARTIALS}[piece * elements + p]')}")
            ending.write(text, "total")
        return text.finish(self.if_several * self.elements, scratch=self.scratch)


def pieces_of(
    geometry: Geometry, tile: Tile, element: Element, tiles: Dim, depth: Dim, elements: Dim, slot: int, is_full: bool = False
) -> Pieces:
    """How a product of so many ``tiles`` and ``elements`` is divided along its ``depth``.

    One with ``is_full``, whose kernel has no registers left, is not.
    """
    if is_full:
        return Pieces(1, depth, elements, element, slot)
    wanted = dim_floordiv(geometry.fill, dim_max(tiles, 1))
    count = dim_max(1, dim_min(depth // geometry.piece, wanted))
    step = count * tile.depth
    return Pieces(count, dim_floordiv(depth + (step - 1), step) * tile.depth, elements, element, slot)

