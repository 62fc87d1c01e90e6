"""What a tiled product does with its sums: it stores them, or runs the map that reads them and stores what that makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.body import ScalarBody
from graphc.backends.numba_cuda.source import DeviceText
from graphc.loops.kernel import Kernel


class Ending(Protocol):
    """What is done with each element of the result."""

    #: Whether the text of an element is long, and should not be there once for each element that a thread has.
    is_long: bool

    def write(self, text: DeviceText, total: str) -> None:
        """Do it for the element (``batch``, ``row``, ``column``), whose sum is in the variable ``total``."""


@dataclass(frozen=True)
class Storing:
    """Store the sum in ``result`` at ``place``, a text."""

    element: Element
    place: str
    is_long = False

    def write(self, text: DeviceText, total: str) -> None:
        text.line(self.element.store("result", self.place, total))


class Mapped:
    """Run the map ``kernel``, an epilogue, whose first buffer are the sums, and store these too where that is wanted.

    ``coordinates``: the texts of an element's matrix, row and column in the grid of the epilogue.
    """

    is_long = True

    def __init__(
        self,
        kernel: Kernel,
        buffers: Sequence[str],
        annotate: bool,
        element: Element,
        coordinates: tuple[str, str, str],
        stored: Storing | None,
    ) -> None:
        self.kernel, self.buffers, self.annotate = kernel, buffers, annotate
        self.element, self.coordinates, self.stored = element, coordinates, stored

    def write(self, text: DeviceText, total: str) -> None:
        if self.stored is not None:
            self.stored.write(text, total)
        kernel = self.kernel
        assert kernel.grid is not None
        matrices, rows, _ = kernel.grid
        loops = list(range(len(kernel.loops)))
        kinds = (loops[:matrices], loops[matrices : matrices + rows], loops[matrices + rows :])
        for flat, mine in zip(self.coordinates, kinds, strict=True):
            _unravel(text, kernel, mine, flat)
        stage = kernel.only
        sums = {n: self._read(total) for n, i in enumerate(stage.body) if i.kind == "load" and i.detail[0] == 0}
        body = ScalarBody(stage.body, stage.body_stores, "v", self.buffers, self.annotate, given=sums)
        text.line(*body.lines, *body.stores)

    def _read(self, total: str) -> str:
        """The sum as it is in memory, where it is rounded to a narrow dtype."""
        dtype = self.element.dtype
        if self.element.is_half:
            return f"{dtype.short}_to_f32(f32_to_{dtype.short}({total}))"
        return f"({total} != 0)" if dtype.is_bool else total


def _unravel(text: DeviceText, kernel: Kernel, loops: Sequence[int], flat: str) -> None:
    extents = [str(kernel.loops[i].extent) for i in loops]
    text.unravel(flat if len(loops) < 2 else f"({flat})", extents, [f"i{i}" for i in loops])
