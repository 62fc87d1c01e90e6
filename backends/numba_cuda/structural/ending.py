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


@dataclass(frozen=True)
class Epilogue:
    """The map ``kernel``, the epilogue of a product that has ``inputs`` operands; ``keeps``: the sums are stored, too.

    Buffers are the product's operands, what else the map reads, what it writes, and the product's result if it is kept.
    """

    kernel: Kernel
    inputs: int
    keeps: bool
    annotate: bool = False

    @property
    def result_at(self) -> int:
        """The position of the product's result among the buffers, where it is kept."""
        return self.inputs + len(self.kernel.operands) - 1 + len(self.kernel.results)

    def kernel_name(self, op: str) -> str:
        """What the product ``op`` with this at its end is called."""
        return self.kernel.name.replace("epilogue", op, 1)

    def declare(self, text: DeviceText) -> list[str]:
        """Take the map's buffers and sizes; the names of the buffers, of which the first, the sums, is none."""
        kernel = self.kernel
        names = [f"given{i}" for i in range(len(kernel.operands))] + [f"made{i}" for i in range(len(kernel.results))]
        for number, type_ in enumerate((*kernel.operands, *kernel.results)):
            if number:
                text.buffer(names[number], self.inputs + number - 1, type_.dtype)
        for name, dim in kernel.sizes:
            text.size(name, dim)
        return names


class Mapped:
    """Run an epilogue: ``matrix``, ``row`` and ``column`` are the texts of the element's coordinates in its grid."""

    is_long = True

    def __init__(
        self, text: DeviceText, epilogue: Epilogue, element: Element, coordinates: tuple[str, str, str], place: str
    ) -> None:
        self.epilogue, self.element, self.coordinates = epilogue, element, coordinates
        self.buffers = epilogue.declare(text)
        self.stored = Storing(element, place) if epilogue.keeps else None

    def write(self, text: DeviceText, total: str) -> None:
        if self.stored is not None:
            self.stored.write(text, total)
        kernel = self.epilogue.kernel
        assert kernel.grid is not None
        matrices, rows, _ = kernel.grid
        loops = list(range(len(kernel.loops)))
        kinds = (loops[:matrices], loops[matrices : matrices + rows], loops[matrices + rows :])
        for flat, mine in zip(self.coordinates, kinds, strict=True):
            _unravel(text, kernel, mine, flat)
        stage = kernel.only
        sums = {n: self._read(total) for n, i in enumerate(stage.body) if i.kind == "load" and i.detail[0] == 0}
        body = ScalarBody(stage.body, stage.body_stores, "v", self.buffers, self.epilogue.annotate, given=sums)
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
