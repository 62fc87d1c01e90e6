"""Where each buffer of a program lives, as far as that is known before the sizes are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from graphc.ir.types import TensorType
from graphc.runtime.program import (
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    GoTo,
    Instruction,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
)


class Temporary(NamedTuple):
    """A buffer that one call uses from instruction ``first`` to ``last``: ``place`` in the table of addresses."""

    place: int
    type: TensorType
    first: int
    last: int


@dataclass(frozen=True)
class Storage:
    """``root``: for each slot the slot whose memory it has, another one where it is a view or an update in place.

    ``results``: the slots that are written straight into an output; ``outputs``: for each output its place in
    ``results``, or None where it is a copy (of an input, a constant or another output). ``in_place``: output → parameter, of
    those that are written into the parameter's memory. ``scratch``: for each instruction the places of its scratch buffers,
    which follow the slots.
    """

    root: tuple[int, ...]
    results: tuple[int, ...]
    outputs: tuple[int | None, ...]
    in_place: dict[int, int]
    temporaries: tuple[Temporary, ...]
    scratch: tuple[tuple[int, ...], ...]
    places: int


def reads(instruction: Instruction) -> tuple[int, ...]:
    """The slots that an instruction reads, or that have to last until then."""
    match instruction:
        case View() | RunCheck():
            return (instruction.operand,)
        case Copy():
            return (instruction.operand, *instruction.behind)
        case RunKernels() | RunLibrary():
            return instruction.operands
        case Choose():
            return (instruction.selector,)
        case BeginLoop():
            return tuple([base for _, base in instruction.pointers] + [base for _, base, _ in instruction.slices])
        case EndLoop():
            return instruction.reads
        case GoTo():
            return ()


def writes(instruction: Instruction) -> tuple[int, ...]:
    """The slots that an instruction writes, or whose memory is needed from then on."""
    match instruction:
        case RunKernels() | RunLibrary():
            return instruction.results
        case Copy():
            return (instruction.result,)
        case BeginLoop():
            return instruction.writes
        case _:
            return ()


def assign_storage(program: Program, *, in_place: bool = False) -> Storage:
    """Find out what is a view, what is updated in place, what is an output, and how long the rest is needed.

    ``in_place``: outputs may be written into the memory of the parameters whose new contents they are, where nothing that
    is still needed is lost and nothing can fail once that has begun.
    """
    chains = _update_chains(program) if in_place else {}
    root = _roots(program, chains)
    results: list[int] = []
    outputs: list[int | None] = []
    given = {root[slot] for slot in (*program.parameters, *program.literals)}
    for slot in program.outputs:
        if root[slot] in given or root[slot] in results:
            outputs.append(None)
        else:
            outputs.append(len(results))
            results.append(root[slot])
    replaced = {
        output: parameter
        for output, parameter in program.aliases.items()
        if output in chains and root[program.outputs[output]] == program.parameters[parameter]
    }
    first, last = _lifetimes(program, root)
    kept = given.union(results, program.registers)
    temporaries = [Temporary(slot, program.slots[slot], first[slot], last[slot]) for slot in first if slot not in kept]
    places = len(program.slots)
    scratch: list[tuple[int, ...]] = []
    for number, instruction in enumerate(program.instructions):
        types = instruction.scratch if isinstance(instruction, RunKernels) else ()
        scratch.append(tuple(range(places, places + len(types))))
        temporaries += [Temporary(places + i, type_, number, number) for i, type_ in enumerate(types)]
        places += len(types)
    return Storage(tuple(root), tuple(results), tuple(outputs), replaced, tuple(temporaries), tuple(scratch), places)


def _roots(program: Program, chains: Mapping[int, frozenset[int]]) -> list[int]:
    """For each slot the slot whose memory it has.

    An update takes the memory of what it updates if nobody reads that any more. A parameter's memory is taken by the updates
    in ``chains`` only (by output), and if no instruction from there on can fail.
    """
    root = list(range(len(program.slots)))
    last: dict[int, float] = {}  # by root, the last instruction that reads its memory
    for number, instruction in enumerate(program.instructions):
        last.update(dict.fromkeys(reads(instruction), number))
    last.update(dict.fromkeys(program.outputs, math.inf))
    permitted = {
        program.parameters[program.aliases[output]]: updates for output, updates in chains.items()
    }
    safe_from = max((number + 1 for number, step in enumerate(program.instructions) if _may_fail(step)), default=0)
    kept = {*program.parameters, *program.literals}
    for number, instruction in enumerate(program.instructions):
        if isinstance(instruction, View):
            root[instruction.result] = memory = root[instruction.operand]
            last[memory] = max(last.get(memory, -1), last.get(instruction.result, -1))
        elif isinstance(instruction, RunKernels) and instruction.updates:
            memory = root[instruction.operands[0]]
            is_permitted = memory not in kept or (number in permitted.get(memory, ()) and number >= safe_from)
            is_read_once = [root[slot] for slot in instruction.operands].count(memory) == 1
            result = instruction.results[0]
            is_free = root[result] == result and result not in program.fixed  # a region's result has its memory already
            if is_permitted and is_read_once and is_free and last[memory] <= number:
                root[instruction.results[0]] = memory
                last[memory] = last.get(instruction.results[0], number)
    return root


def _may_fail(instruction: Instruction) -> bool:
    return isinstance(instruction, (RunCheck, RunLibrary)) or (isinstance(instruction, RunKernels) and instruction.checks)


def _update_chains(program: Program) -> dict[int, frozenset[int]]:
    """Output → the instructions that update, one after the other, the parameter whose new contents the output is. Outputs
    that are made in another way are left out."""
    makers = {slot: number for number, step in enumerate(program.instructions) for slot in writes(step)}
    makers |= {step.result: number for number, step in enumerate(program.instructions) if isinstance(step, View)}
    chains: dict[int, frozenset[int]] = {}
    for output, parameter in program.aliases.items():
        slot = program.outputs[output]
        updates: list[int] = []
        while slot != program.parameters[parameter]:
            step = program.instructions[makers[slot]] if slot in makers else None
            if isinstance(step, View):
                slot = step.operand
            elif isinstance(step, RunKernels) and step.updates:
                updates.append(makers[slot])
                slot = step.operands[0]
            else:
                break
        else:
            chains[output] = frozenset(updates)
    return chains


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
