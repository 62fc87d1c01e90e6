"""The kernel IR: loops, reductions and scalar bodies, free of assumptions about the machine.

A kernel runs ``body`` at each point of all its ``loops`` and combines values over the *reduced* ones; then it runs
``epilogue`` at each point of the others. A kernel without reduced loops is a map: a body alone. Several *stages*
share the kept loops: each is done for one row before the next begins, so that the row stays in the nearest cache.

    kernel subtract_exp_sum: loops i0 < s0 = m, i1 < s1 = n (reduced)
      reads  b0: f32[m, n] %x, b1: f32[m] %max
      writes b2: f32[m, n] %e, b3: f32[m] %sum
      body
        %0 = load b0[s1*i0 + i1]      train.py:12
        ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.dtypes import DType
from graphc.ir.dims import Dim
from graphc.ir.types import TensorType
from graphc.loops.affine import Affine
from graphc.loops.body import Instruction


@dataclass(frozen=True)
class Loop:
    """A loop over ``[0, extent)``, a kernel size. ``reduced``: values are combined over it."""

    extent: Dim
    reduced: bool = False


@dataclass(frozen=True)
class Store:
    """Write instruction ``value`` to ``buffer`` at ``position``, at each point of the body or of the epilogue."""

    buffer: int
    position: Affine
    value: int
    dtype: DType


def unrounded(instructions: Sequence[Instruction], s: Store) -> int:
    """The instruction whose value ``s`` stores: the store rounds to its dtype itself."""
    made = instructions[s.value]
    return made.operands[0] if made.kind == "round" and made.detail is s.dtype else s.value


def used_instructions(instructions: Sequence[Instruction], roots: Sequence[int]) -> set[int]:
    """The instructions that ``roots`` need, themselves included."""
    used = set(roots)
    for number in range(len(instructions) - 1, -1, -1):
        if number in used:
            used.update(instructions[number].operands)
    return used


@dataclass(frozen=True)
class Reduction:
    """``op`` (sum prod max min any all argmax argmin) of the body's instruction ``value`` over the reduced loops.

    ``dtype`` is the dtype it accumulates in; ``position`` is, for argmax and argmin, the index that is sought.
    """

    op: str
    value: int
    dtype: DType
    position: Affine | None = None


@dataclass(frozen=True)
class Stage:
    """One part of a kernel's work at a point of the kept loops; later stages read what earlier ones made there.

    ``body`` runs over the reduced loops too, ``epilogue`` once, after it. Without body, a stage is its epilogue.
    """

    body: tuple[Instruction, ...]
    reductions: tuple[Reduction, ...] = ()
    epilogue: tuple[Instruction, ...] = ()
    body_stores: tuple[Store, ...] = ()
    epilogue_stores: tuple[Store, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """See the module. ``sizes``: (name, value for the graph at hand) in the order of the kernel's size arguments.

    Buffers are numbered: operands first, then results, then ``rows``: temporaries for one point of the kept loops
    each, which stages of that point share. ``why`` says for each fusion decision what was decided and the reason.
    ``overwrites``: (result, operand), by position, of those that are one buffer.

    ``grid``, of the epilogue of a product of matrices: how many loops are over the matrices, their rows, their columns (at
    most one). Buffer 0 is the product's result then.
    """

    name: str
    loops: tuple[Loop, ...]
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    stages: tuple[Stage, ...]
    sizes: tuple[tuple[str, Dim], ...] = ()
    why: tuple[str, ...] = ()
    rows: tuple[DType, ...] = ()
    overwrites: tuple[tuple[int, int], ...] = ()
    grid: tuple[int, int, int] | None = None

    @property
    def only(self) -> Stage:
        """The stage of a kernel that has one."""
        (stage,) = self.stages
        return stage

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """The reductions of all stages; instructions of kind ``reduced`` count in their own stage only."""
        return tuple(reduction for stage in self.stages for reduction in stage.reductions)

    @property
    def kept(self) -> tuple[int, ...]:
        """The loops that are not reduced."""
        return tuple(i for i, loop in enumerate(self.loops) if not loop.reduced)

    def describe(self) -> str:
        """The kernel as text, for people."""
        values = dict(self.sizes)
        loops = [
            f"i{i} < {loop.extent} = {values.get(str(loop.extent), loop.extent)}{' (reduced)' if loop.reduced else ''}"
            for i, loop in enumerate(self.loops)
        ]
        lines = [f"kernel {self.name}: " + (f"loops {', '.join(loops)}" if loops else "one point")]
        named = {str(loop.extent) for loop in self.loops}
        if extra := [f"{name} = {value}" for name, value in self.sizes if name not in named]:
            lines.append(f"  sizes  {', '.join(extra)}")
        buffers = [f"b{i}: {type_}" for i, type_ in enumerate(self.operands + self.results)]
        lines.append(f"  reads  {', '.join(buffers[: len(self.operands)]) or 'nothing'}")
        overwritten = dict(self.overwrites)
        written = [
            f"{buffer} over b{overwritten[number]}" if number in overwritten else buffer
            for number, buffer in enumerate(buffers[len(self.operands) :])
        ]
        lines.append(f"  writes {', '.join(written)}")
        for number, dtype in enumerate(self.rows, len(buffers)):
            lines.append(f"  keeps  b{number}: {dtype.short}, one row")
        for number, stage in enumerate(self.stages):
            if len(self.stages) > 1:
                lines.append(f"  stage {number}")
            lines += _describe_stage(stage)
        lines += [f"  why {reason}" for reason in self.why]
        return "\n".join(lines)


def _describe_stage(stage: Stage) -> list[str]:
    lines: list[str] = []
    if stage.body or stage.body_stores:
        lines.append("  body")
        lines += _listing(stage.body, stage.body_stores)
    for number, reduction in enumerate(stage.reductions):
        where = f" at {reduction.position}" if reduction.position is not None else ""
        lines.append(f"  reduce {number}: {reduction.op} of %{reduction.value} in {reduction.dtype.short}{where}")
    if stage.epilogue:
        lines.append("  epilogue")
        lines += _listing(stage.epilogue, stage.epilogue_stores)
    return lines


def _listing(instructions: tuple[Instruction, ...], stores: tuple[Store, ...]) -> list[str]:
    lines = [
        f"    %{i}: {instruction.dtype.short} = {instruction}"
        + (f"  # {instruction.location.filename}:{instruction.location.line}" if instruction.location.line else "")
        for i, instruction in enumerate(instructions)
    ]
    return lines + [f"    store b{store.buffer}[{store.position}] = %{store.value}" for store in stores]
