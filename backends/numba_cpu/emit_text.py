"""Lines of a kernel's functions, and each instruction in the outermost loop that knows the indices it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.dims import Dim
from graphc.ir.types import TensorType
from graphc.loops.affine import Affine
from graphc.loops.body import Instruction
from graphc.loops.kernel import Kernel, Store, unrounded, used_instructions
from graphc.loops.source import IndentedText, KernelSource

from .emit_scalar import expression, literal, load, store


class Text(IndentedText):
    """Lines of one inner function and what the outer one must pass to it."""

    def __init__(self, kernel: Kernel, name: str, annotate: bool, scratch: Sequence[TensorType] = ()) -> None:
        super().__init__()
        self.kernel, self.name, self.annotate, self.scratch = kernel, name, annotate, tuple(scratch)
        over = dict(kernel.overwrites)
        operands = [f"inout{i}" if i in over.values() else f"in{i}" for i in range(len(kernel.operands))]
        results = [operands[over[i]] if i in over else f"out{i}" for i in range(len(kernel.results))]
        self.parameters = list(dict.fromkeys(operands + results))
        self.types = [*kernel.operands, *(type_ for i, type_ in enumerate(kernel.results) if i not in over), *self.scratch]
        self.buffers = [*operands, *results, *(f"row{i}" for i in range(len(kernel.rows)))]

    def finish(self, extent: Dim) -> KernelSource:
        names = [*self.parameters, *(f"tmp{i}" for i in range(len(self.scratch)))]
        sizes = [name for name, _ in self.kernel.sizes]
        pointers = [f"pointer_{t.dtype.short}(buffers[{i}])" for i, t in enumerate(self.types)]
        arguments = [*pointers, *(f"sizes[{i}]" for i in range(len(sizes))), "lo", "hi"]
        source = "\n".join(
            [
                "@noalias",
                f"def {self.name}_loop({', '.join([*names, *sizes, 'lo', 'hi'])}):",
                *(self.lines or ["    pass"]),
                "",
                "",
                f"def {self.name}(buffers, sizes, lo, hi, status):",
                f"    {self.name}_loop(",
                *(f"        {argument}," for argument in arguments),
                "    )",
                "",
            ]
        )
        return KernelSource(self.name, source, tuple(size for _, size in self.kernel.sizes), extent, self.scratch)


class Region:
    """Body or epilogue, each instruction placed in the outermost loop that knows all the indices it needs.

    ``depths``: loop → how deep it is nested; instructions of depth 0 come before all loops. ``rows``: names of what
    earlier stages made for the row; ``row_bases``: positions of the row, which the stages share.
    """

    def __init__(
        self,
        text: Text,
        prefix: str,
        instructions: Sequence[Instruction],
        stores: Sequence[Store],
        depths: dict[int, int],
        reduced: Sequence[str] = (),
        reduced_depth: int = 0,
        needed: Sequence[int] = (),
        rows: Mapping[tuple[int, int], str] | None = None,
        row_bases: dict[Affine, str] | None = None,
    ) -> None:
        self.text, self.prefix, self.instructions, self.depths = text, prefix, instructions, depths
        self.innermost = max([*depths.values(), reduced_depth], default=0)
        self.at: list[list[str]] = [[] for _ in range(self.innermost + 1)]
        self.bases: dict[Affine, str] = {}
        self.row_bases = row_bases
        self.names: list[str] = []
        self.levels: list[int] = []
        self.reduced, self.reduced_depth, self.rows = reduced, reduced_depth, rows or {}
        stored = [unrounded(instructions, s) for s in stores]
        used = used_instructions(instructions, [*stored, *needed])
        for number, instruction in enumerate(instructions):
            self._place(number, instruction, number in used)
        for s, value in zip(stores, stored, strict=True):
            name = self.text.buffers[s.buffer]
            line = store(name, self.position(s.position), self.names[value], s.dtype)
            self.at[self.innermost].append(line)

    def _place(self, number: int, instruction: Instruction, is_used: bool) -> None:
        operands = [self.names[i] for i in instruction.operands]
        level = max((self.levels[i] for i in instruction.operands), default=0)
        name = f"{self.prefix}{number}"
        if instruction.kind == "constant":
            name, right = literal(instruction.detail, instruction.dtype), None
        elif instruction.kind == "reduced":
            name, right, level = self.reduced[instruction.detail], None, self.reduced_depth
        elif instruction.kind == "row":
            name, right, level = self.rows[instruction.detail], None, 1
        elif instruction.kind == "size":
            name, right = str(instruction.detail), None
        elif instruction.kind == "index":
            level = self._level(instruction.detail)
            right = self.position(instruction.detail)
        elif instruction.kind == "load":
            buffer, position, dtype = instruction.detail
            level = self._level(position)
            right = load(self.text.buffers[buffer], self.position(position), dtype)
        else:
            right = expression(instruction, operands, [self.instructions[i].dtype for i in instruction.operands])
        self.names.append(name)
        self.levels.append(level)
        if right is not None and is_used:
            where = instruction.location
            note = f"  # {where.filename.rpartition('/')[2]}:{where.line}" if self.text.annotate and where.line else ""
            self.at[level].append(f"{name} = {right}{note}")

    def _level(self, function: Affine) -> int:
        return max((self.depths[loop] for loop in function.loops), default=0)

    def position(self, function: Affine) -> str:
        """The text of ``function``; what is the same for the whole innermost loop is computed before it."""
        outer = Affine(function.offset, tuple(t for t in function.terms if self.depths[t[0]] < self.innermost))
        inner = Affine(0, tuple(t for t in function.terms if self.depths[t[0]] == self.innermost))
        if not inner.terms or not self.innermost:
            return affine_text(function)
        if len(outer.terms) + (outer.offset != 0) == 0:
            return affine_text(inner)
        level = self._level(outer)
        bases, name = self.bases, f"{'p' if self.prefix[0] == 'v' else 'q'}{self.prefix[1:]}{len(self.bases)}"
        if self.row_bases is not None and level <= 1:
            bases, name = self.row_bases, f"p{len(self.row_bases)}"
        base = bases.get(outer)
        if base is None:
            base = affine_text(outer)
            if not base.isidentifier():
                self.at[level].append(f"{name} = {base}")
                base = name
            bases[outer] = base
        return f"{base} + {affine_text(inner)}".replace("+ -", "- ")

    def write(self, depth: int) -> None:
        for line in self.at[depth]:
            self.text.line(line)

    def value(self, number: int) -> str:
        return self.names[number]


def unravel(text: Text, loops: Sequence[int], flat: str) -> None:
    """Set the index of each of ``loops`` from the row-major position ``flat``."""
    if len(loops) == 1:
        text.line(f"i{loops[0]} = {flat}")
    extents = [text.kernel.loops[i].extent for i in loops]
    rest = flat
    for number in range(len(loops) - 1, 0, -1):
        text.line(f"i{loops[number]} = {rest} % {extents[number]}")
        name = f"i{loops[0]}" if number == 1 else f"{flat}{number}"
        text.line(f"{name} = {rest} // {extents[number]}")
        rest = name


def affine_text(function: Affine) -> str:
    parts: list[str] = []
    for loop, coefficient in function.terms:
        if coefficient in (1, -1):
            parts.append(f"i{loop}" if coefficient == 1 else f"-i{loop}")
        else:
            parts.append(f"{coefficient}*i{loop}")
    if function.offset != 0 or not parts:
        parts.append(str(function.offset))
    return " + ".join(parts).replace("+ -", "- ")
