"""What the texts of all kernels of the IR begin with, and the lines of a body or an epilogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from graphc.backends.numba_cpu.emit_scalar import expression, literal, load, store
from graphc.backends.numba_cpu.emit_text import affine_text
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.affine import Affine
from graphc.loops.body import Instruction
from graphc.loops.kernel import Kernel, Store, unrounded, used_instructions

from .geometry import Geometry
from .source import DeviceText

SHORT: Final = frozenset(["floor", "ceil", "trunc", "round", "sqrt", "abs", "maximum", "minimum", "is_nan", "is_finite"])
"""The scalar functions that are an instruction or a few; all others are polynomials, or loops."""


def extent_of(kernel: Kernel, loops: Sequence[int]) -> Dim:
    values = dict(kernel.sizes)
    return product(values[str(kernel.loops[i].extent)] for i in loops)


def extent_text(kernel: Kernel, loops: Sequence[int]) -> str:
    return " * ".join(str(kernel.loops[i].extent) for i in loops) or "1"


def new_text(
    kernel: Kernel, name: str, geometry: Geometry, scratch: Sequence[TensorType] = ()
) -> tuple[DeviceText, list[str]]:
    """A text with the kernel's buffers and sizes, and the names of the buffers."""
    text = DeviceText(name, geometry)
    names = [f"in{i}" for i in range(len(kernel.operands))] + [f"out{i}" for i in range(len(kernel.results))]
    for slot, (buffer, type_) in enumerate(zip(names, (*kernel.operands, *kernel.results), strict=True)):
        text.buffer(buffer, slot, type_.dtype)
    for number, type_ in enumerate(scratch):
        text.buffer(f"tmp{number}", len(names) + number, type_.dtype)
    for size, dim in kernel.sizes:
        text.size(size, dim)
    return text, names


def unravel(text: DeviceText, kernel: Kernel, loops: Sequence[int], flat: str) -> None:
    text.unravel(flat, [str(kernel.loops[i].extent) for i in loops], [f"i{i}" for i in loops])


class ScalarBody:
    """The lines of a body or an epilogue, in order, and the names of what its instructions make.

    ``given``: what instructions are called that were made before. ``lane``: (loop, steps, mark): the lines are for the point
    so many steps further on in the loop, and their names end in the mark.
    """

    def __init__(
        self,
        instructions: Sequence[Instruction],
        stores: Sequence[Store],
        prefix: str,
        buffers: Sequence[str],
        annotate: bool,
        needed: Sequence[int] = (),
        reduced: Sequence[str] = (),
        rows: Mapping[tuple[int, int], str] | None = None,
        given: Mapping[int, str] | None = None,
        lane: tuple[int, int, str] = (0, 0, ""),
    ) -> None:
        self.names: list[str] = []
        self.lines: list[str] = []
        self.stores: list[str] = []
        self.lane = lane
        values = [unrounded(instructions, s) for s in stores]
        used = used_instructions(instructions, [*values, *needed])
        for number, instruction in enumerate(instructions):
            name = f"{prefix}{number}{lane[2]}"
            operands = [self.names[i] for i in instruction.operands]
            right: str | None = None
            if given is not None and number in given:
                name = given[number]
            elif instruction.kind == "constant":
                name = literal(instruction.detail, instruction.dtype)
            elif instruction.kind == "reduced":
                name = reduced[instruction.detail]
            elif instruction.kind == "row":
                name = (rows or {})[instruction.detail]
            elif instruction.kind == "size":
                right = f"i64({instruction.detail})"
            elif instruction.kind == "index":
                right = f"i64({affine_text(self._moved(instruction.detail))})"
            elif instruction.kind == "load":
                buffer, position, dtype = instruction.detail
                right = load(buffers[buffer], self._at(buffers[buffer], position), dtype)
            else:
                right = expression(instruction, operands, [instructions[i].dtype for i in instruction.operands])
            self.names.append(name)
            if right is not None and number in used:
                where = instruction.location
                note = f"  # {where.filename.rpartition('/')[2]}:{where.line}" if annotate and where.line else ""
                self.lines.append(f"{name} = {right}{note}")
        for s, value in zip(stores, values, strict=True):
            buffer = buffers[s.buffer]
            self.stores.append(store(buffer, self._at(buffer, s.position), self.names[value], s.dtype))

    def _moved(self, position: Affine) -> Affine:
        loop, steps, _ = self.lane
        return position + Affine(position.coefficient(loop) * steps) if steps else position

    def _at(self, buffer: str, position: Affine) -> str:
        """The text of ``position`` in ``buffer``: in a temporary, from the beginning of the row's part of it."""
        text = affine_text(self._moved(position))
        return f"row + {text}".replace("+ -", "- ") if buffer.startswith("tmp") else text
