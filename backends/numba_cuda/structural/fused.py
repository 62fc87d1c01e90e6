"""What the kernel of a product does besides: maps that make its operands, and the map that reads its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.body import SHORT, ScalarBody
from graphc.backends.numba_cuda.source import DeviceText
from graphc.backends.numba_cuda.structural.ending import Ending, Mapped, Storing
from graphc.loops.kernel import Kernel


class Reader(Protocol):
    """How the elements of an operand are got."""

    def read(self, text: DeviceText, into: str, at: str) -> None:
        """Set ``into`` to the element at the row-major position ``at``."""


@dataclass(frozen=True)
class InMemory:
    """Elements that are in the buffer ``name``."""

    name: str
    element: Element

    def read(self, text: DeviceText, into: str, at: str) -> None:
        text.line(f"{into} = {self.element.load(self.name, at)}")


@dataclass(frozen=True)
class Computed:
    """Elements that ``kernel``, a map of one loop, makes of what is in ``buffers``."""

    name: str
    kernel: Kernel
    buffers: Sequence[str]
    annotate: bool

    def read(self, text: DeviceText, into: str, at: str) -> None:
        stage = self.kernel.only
        (stored,) = stage.body_stores
        body = ScalarBody(stage.body, (), f"{self.name}_v", self.buffers, self.annotate, needed=[stored.value])
        text.line(f"i0 = {at}", *body.lines)
        value = body.names[stored.value]
        text.line(f"{into} = u8({value})" if stored.dtype.is_bool else f"{into} = {value}")


@dataclass(frozen=True)
class Fused:
    """``prologues``: for each operand, the map of one loop that makes it, if it is not in memory. ``epilogue``: the map after
    the product; ``keeps``: its result is stored, too.

    Buffers are, of each operand, itself or what its map reads; what else the epilogue reads; what it writes; the product's
    result, unless only the epilogue reads it.
    """

    prologues: tuple[Kernel | None, ...] = (None, None)
    epilogue: Kernel | None = None
    keeps: bool = True
    annotate: bool = False

    def name(self, op: str) -> str:
        """What the kernel of the product ``op`` is called."""
        return op if self.epilogue is None else self.epilogue.name.replace("epilogue", op, 1)

    @property
    def inputs(self) -> int:
        """How many buffers the operands have together."""
        return sum(1 if made is None else len(made.operands) for made in self.prologues)

    @property
    def buffers(self) -> int:
        """How many buffers operands and results have."""
        kernel = self.epilogue
        return self.inputs + (0 if kernel is None else len(kernel.operands) - 1 + len(kernel.results)) + self.keeps

    @property
    def is_full(self) -> bool:
        """Whether the epilogue has a polynomial, which needs the registers that are left."""
        instructions = () if self.epilogue is None else self.epilogue.only.body
        return any(i.kind == "math" and i.detail not in SHORT for i in instructions)

    def readers(self, text: DeviceText, names: Sequence[str], element: Element) -> list[Reader]:
        """Take the buffers of the operands, which are called ``names`` where they are in memory."""
        readers: list[Reader] = []
        slot = 0
        for name, kernel in zip(names, self.prologues, strict=True):
            if kernel is None:
                readers.append(InMemory(text.buffer(name, slot, element.dtype), element))
                slot += 1
                continue
            buffers = [text.buffer(f"{name}_in{i}", slot + i, type_.dtype) for i, type_ in enumerate(kernel.operands)]
            readers.append(Computed(name, kernel, buffers, self.annotate))
            slot += len(buffers)
        return readers

    def ending(self, text: DeviceText, element: Element, coordinates: tuple[str, str, str], place: str) -> Ending:
        """Take the other buffers; what is done with the sums. See `Mapped` for ``coordinates``, `Storing` for ``place``."""
        kernel, slot = self.epilogue, self.inputs
        names: list[str] = []
        if kernel is not None:
            names = [f"given{i}" for i in range(len(kernel.operands))] + [f"made{i}" for i in range(len(kernel.results))]
            for name, type_ in zip(names[1:], (*kernel.operands, *kernel.results)[1:], strict=True):
                text.buffer(name, slot, type_.dtype)
                slot += 1
            for size, dim in kernel.sizes:
                text.size(size, dim)
        stored: Storing | None = None
        if self.keeps:
            text.buffer("result", slot, element.dtype)
            stored = Storing(element, place)
        if kernel is None:
            assert stored is not None, "somebody reads the result"
            return stored
        return Mapped(kernel, names, self.annotate, element, coordinates, stored)


ALONE: Final = Fused()
"""A product that does nothing besides."""
