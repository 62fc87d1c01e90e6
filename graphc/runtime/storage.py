"""Where each buffer of a program lives, as far as that is known before the sizes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from graphc.ir.types import TensorType
from graphc.runtime.program import Instruction, Program, RunCheck, RunKernels, View


class Temporary(NamedTuple):
    """A buffer that one call uses from instruction ``first`` to ``last``: ``place`` in the table of addresses."""

    place: int
    type: TensorType
    first: int
    last: int


@dataclass(frozen=True)
class Storage:
    """``root``: for each slot the slot whose memory it has, another one where it is a view.

    ``results``: the slots that are written straight into an output; ``outputs``: for each output its place in
    ``results``, or None where it is a copy (of an input, a constant or another output). ``scratch``: for each
    instruction the places of its scratch buffers, which follow the slots.
    """

    root: tuple[int, ...]
    results: tuple[int, ...]
    outputs: tuple[int | None, ...]
    temporaries: tuple[Temporary, ...]
    scratch: tuple[tuple[int, ...], ...]
    places: int


def reads(instruction: Instruction) -> tuple[int, ...]:
    return (instruction.operand,) if isinstance(instruction, (View, RunCheck)) else instruction.operands


def writes(instruction: Instruction) -> tuple[int, ...]:
    return () if isinstance(instruction, (View, RunCheck)) else instruction.results


def assign_storage(program: Program) -> Storage:
    """Find out what is a view, what is an output, and how long the rest is needed."""
    root = list(range(len(program.slots)))
    for instruction in program.instructions:
        if isinstance(instruction, View):
            root[instruction.result] = root[instruction.operand]
    results: list[int] = []
    outputs: list[int | None] = []
    given = {root[slot] for slot in (*program.parameters, *program.literals)}
    for slot in program.outputs:
        if root[slot] in given or root[slot] in results:
            outputs.append(None)
        else:
            outputs.append(len(results))
            results.append(root[slot])
    first, last = _lifetimes(program, root)
    kept = given.union(results)
    temporaries = [Temporary(slot, program.slots[slot], first[slot], last[slot]) for slot in first if slot not in kept]
    places = len(program.slots)
    scratch: list[tuple[int, ...]] = []
    for number, instruction in enumerate(program.instructions):
        types = instruction.scratch if isinstance(instruction, RunKernels) else ()
        scratch.append(tuple(range(places, places + len(types))))
        temporaries += [Temporary(places + i, type_, number, number) for i, type_ in enumerate(types)]
        places += len(types)
    return Storage(tuple(root), tuple(results), tuple(outputs), tuple(temporaries), tuple(scratch), places)


def _lifetimes(program: Program, root: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """For each slot that an instruction writes, the first and the last instruction that uses its memory."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, instruction in enumerate(program.instructions):
        for slot in writes(instruction):
            first.setdefault(root[slot], number)
            last[root[slot]] = number
        for slot in reads(instruction):
            last[root[slot]] = number
    return first, last
