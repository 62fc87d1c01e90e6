"""Where each buffer of a program lives, as far as that is known before the sizes are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from graphc.ir.types import TensorType
from graphc.loops.overwrite import Overwrite
from graphc.runtime.program import (
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    Fork,
    GoTo,
    Instruction,
    Permissions,
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
    """``root``: for each slot the slot whose memory it has, another one where it is a view or in the memory of an operand.

    ``results``: the slots that are written straight into an output; ``outputs``: for each output its place in
    ``results``, or None where it is a copy (of an input, a constant or another output). ``in_place``: output → parameter, of
    those that are in the parameter's memory. ``written``: the positions of parameters whose memory is written.
    ``scratch``: for each instruction the places of its scratch buffers, which follow the slots.
    """

    root: tuple[int, ...]
    results: tuple[int, ...]
    outputs: tuple[int | None, ...]
    in_place: dict[int, int]
    written: tuple[int, ...]
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
            return tuple([p[1] for p in instruction.pointers] + [s[1] for s in instruction.slices])
        case EndLoop():
            return instruction.reads
        case GoTo() | Fork():
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


def choose_overwrites(program: Program) -> list[tuple[Overwrite, ...]]:
    """For each instruction, which of the results that could be in the memory of an operand are."""
    return _Memory(program, program.permissions).overwrites


def assign_storage(program: Program) -> Storage:
    """Find out what is a view, what is updated in place, what is an output, and how long the rest is needed.

    All that could be overwritten must be, as chosen by :func:`choose_overwrites`.
    """
    permissions = program.permissions
    memory = _Memory(program, permissions)
    root = memory.root
    made = [step.overwrites if isinstance(step, RunKernels) else () for step in program.instructions]
    assert memory.overwrites == made, "kernels were made for another storage"
    results: list[int] = []
    outputs: list[int | None] = []
    given = {root[slot] for slot in (*program.parameters, *program.literals)}
    for slot in program.outputs:
        if root[slot] in given or root[slot] in results:
            outputs.append(None)
        else:
            outputs.append(len(results))
            results.append(root[slot])
    written_roots = {root[slot] for step in program.instructions for slot in writes(step)}
    written = tuple([place for place, slot in enumerate(program.parameters) if slot in written_roots])
    given_up = permissions.donated - set(program.aliases.values())
    in_place: dict[int, int] = {}
    for output, slot in enumerate(program.outputs):
        for place in written:
            is_meant = program.aliases[output] == place if output in program.aliases else place in given_up
            if root[slot] == program.parameters[place] and is_meant and place not in in_place.values():
                in_place[output] = place
    first, last = memory.lifetimes()
    forks = [(number, step.done - 1) for number, step in enumerate(program.instructions) if isinstance(step, Fork)]
    kept = given.union(results, program.registers)
    temporaries = [Temporary(slot, program.slots[slot], first[slot], last[slot]) for slot in first if slot not in kept]
    places = len(program.slots)
    scratch: list[tuple[int, ...]] = []
    for number, instruction in enumerate(program.instructions):
        types = instruction.scratch if isinstance(instruction, RunKernels) else ()
        scratch.append(tuple(range(places, places + len(types))))
        span = next(((begin, end) for begin, end in forks if begin <= number <= end), (number, number))
        temporaries += [Temporary(places + i, type_, *span) for i, type_ in enumerate(types)]
        places += len(types)
    return Storage(tuple(root), tuple(results), tuple(outputs), in_place, written, tuple(temporaries), tuple(scratch), places)


class _Memory:
    """For each slot the slot whose memory it has (``root``), and the chosen ``overwrites`` of each instruction.

    A result takes the memory of an operand that it may replace if nobody reads that any more. A parameter's memory is taken
    only if it was donated, or by what leads to its new contents, and if no instruction from there on can fail.
    """

    def __init__(self, program: Program, permissions: Permissions) -> None:
        self.program = program
        self.root = list(range(len(program.slots)))
        self.overwrites: list[tuple[Overwrite, ...]] = []
        self.donated = {program.parameters[place] for place in permissions.donated}
        self.kept = {*program.parameters, *program.literals} - self.donated
        self.last: dict[int, float] = {}  # by root, the last instruction that reads its memory
        for number, instruction in enumerate(program.instructions):
            self.last.update(dict.fromkeys(reads(instruction), number))
        self.last.update(dict.fromkeys(program.outputs, math.inf))
        self.makers = {slot: number for number, step in enumerate(program.instructions) for slot in writes(step)}
        self.makers |= {step.result: number for number, step in enumerate(program.instructions) if isinstance(step, View)}
        aliases = program.aliases if permissions.in_place else {}
        self.permitted = {program.parameters[parameter]: self._steps_to(output) for output, parameter in aliases.items()}
        self.safe_from = max((number + 1 for number, step in enumerate(program.instructions) if _may_fail(step)), default=0)
        for number, instruction in enumerate(program.instructions):
            chosen: tuple[Overwrite, ...] = ()
            if isinstance(instruction, View):
                memory = self.root[instruction.operand]
                self.root[instruction.result] = memory
                self.last[memory] = max(self.last.get(memory, -1), self.last.get(instruction.result, -1))
            elif isinstance(instruction, RunKernels):
                chosen = self._place(number, instruction)
            self.overwrites.append(chosen)
        self._place_outputs(aliases)

    def _place(self, number: int, instruction: RunKernels) -> tuple[Overwrite, ...]:
        """Results into the memory of operands."""
        if instruction.updates:
            memory = self.root[instruction.operands[0]]
            if self._is_free(memory, number, instruction, 0):
                self._take(memory, number, instruction.results[0])
            return ()
        chosen: list[Overwrite] = []
        taken: set[int] = set()
        candidates = [(pair, self.root[instruction.operands[pair.operand]]) for pair in instruction.overwrites]
        # What a register points to is not known here: it may be a slice of an input.
        candidates = [c for c in candidates if c[1] not in self.program.registers]
        # A parameter's memory is for its new contents; other results find another place.
        candidates.sort(key=lambda c: (number, instruction.results[c[0].result]) not in self.permitted.get(c[1], ()))
        for pair, memory in candidates:
            is_placed = any(pair.result == other.result for other in chosen)
            if not is_placed and memory not in taken and self._is_free(memory, number, instruction, pair.result):
                chosen.append(pair)
                taken.add(memory)
        for pair in chosen:
            self._take(self.root[instruction.operands[pair.operand]], number, instruction.results[pair.result])
        return tuple(sorted(chosen))

    def _is_free(self, memory: int, number: int, instruction: RunKernels, result: int) -> bool:
        """Whether ``result`` of the instruction may be written into ``memory``, which is that of an operand."""
        slot = instruction.results[result]
        if self.root[slot] != slot or slot in self.program.fixed:  # what a region gives has its memory already
            return False
        is_permitted = memory not in self.kept or (
            (number, slot) in self.permitted.get(memory, ()) and number >= self.safe_from
        )
        is_read_once = [self.root[slot] for slot in instruction.operands].count(memory) == 1
        return is_permitted and is_read_once and self.last[memory] <= number

    def _take(self, memory: int, number: int, slot: int) -> None:
        self.root[slot] = memory
        self.last[memory] = self.last.get(slot, number)

    def _steps_to(self, output: int) -> frozenset[tuple[int, int]]:
        """The instructions, each with a result, by which the parameter whose new contents the output is becomes it, each
        in the memory of the one before; empty where there is no such way."""
        program, makers = self.program, self.makers
        parameter = program.parameters[program.aliases[output]]
        readers: dict[int, int] = {}  # operand → the slot that it was reached from
        pending = [program.outputs[output]]
        while pending and parameter not in readers:
            slot = pending.pop()
            step = program.instructions[makers[slot]] if slot in makers else None
            for operand in _replaceable(step, slot):
                if operand not in readers:
                    readers[operand] = slot
                    pending.append(operand)
        found: list[tuple[int, int]] = []
        slot = parameter
        while slot in readers:
            slot = readers[slot]
            found.append((makers[slot], slot))
            if slot == program.outputs[output]:
                break
        return frozenset(found)

    def _place_outputs(self, aliases: Mapping[int, int]) -> None:
        """Outputs into the memory of parameters that is not needed any more when they are begun: of the one whose new
        contents they are, or of a donated one."""
        program = self.program
        first, last = self.lifetimes()
        busy = {self.root[slot] for slot in program.outputs}
        for output, slot in enumerate(program.outputs):
            root = self.root[slot]
            if root not in first or root in program.parameters:
                continue
            wanted = [program.parameters[aliases[output]]] if output in aliases else []
            wanted += [memory for memory in program.parameters if memory in self.donated]
            for memory in wanted:
                is_idle = memory not in busy and last.get(memory, -1) < first[root]
                is_safe = memory in self.donated or first[root] >= self.safe_from
                if is_idle and is_safe and program.slots[memory] == program.slots[root]:
                    self.root = [memory if place == root else place for place in self.root]
                    busy.add(memory)
                    break

    def lifetimes(self) -> tuple[dict[int, int], dict[int, int]]:
        """For each slot that an instruction writes, the first and the last instruction that uses its memory; for what is
        only read, the last."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, instruction in enumerate(self.program.instructions):
            for slot in writes(instruction):
                first.setdefault(self.root[slot], number)
                last[self.root[slot]] = number
            for slot in reads(instruction):
                last[self.root[slot]] = number
        # What one branch uses is not another's: all of it lasts as long as the fork.
        for number, fork in enumerate(self.program.instructions):
            if isinstance(fork, Fork):
                within = range(number, fork.done)
                first.update({slot: number for slot, place in first.items() if place in within})
                last.update({slot: fork.done - 1 for slot, place in last.items() if place in within})
        return first, last


def _replaceable(step: Instruction | None, slot: int) -> list[int]:
    """The operands of ``step`` in whose memory its result ``slot`` could be."""
    if isinstance(step, View):
        return [step.operand]
    if isinstance(step, RunKernels):
        if step.updates:
            return [step.operands[0]]
        return [step.operands[pair.operand] for pair in step.overwrites if step.results[pair.result] == slot]
    return []


def _may_fail(instruction: Instruction) -> bool:
    return isinstance(instruction, (RunCheck, RunLibrary)) or (isinstance(instruction, RunKernels) and instruction.checks)


def describe_storage(program: Program, storage: Storage) -> list[str]:
    """A line for each instruction: what it runs, and the memory that it reads and writes."""
    names = {slot: f"parameter {place}" for place, slot in enumerate(program.parameters)}
    names |= dict.fromkeys(program.literals, "constant")
    names |= {slot: f"result {place}" for place, slot in enumerate(storage.results)}
    names |= {t.place: f"t{number}" for number, t in enumerate(storage.temporaries)}
    names |= {slot: f"r{number}" for number, slot in enumerate(sorted(program.registers))}
    lines: list[str] = []
    for number, step in enumerate(program.instructions):
        read = ", ".join(dict.fromkeys(names[storage.root[slot]] for slot in reads(step)))
        made = ", ".join(f"{names[storage.root[slot]]}: {program.slots[slot]}" for slot in writes(step))
        if isinstance(step, RunKernels):
            what = " + ".join(kernel.name for kernel in step.kernels)
            rooms = zip(storage.scratch[number], step.scratch, strict=True)
            made += "".join(f" (scratch {names[place]}: {type_})" for place, type_ in rooms)
        elif isinstance(step, RunLibrary):
            what = step.name
        elif isinstance(step, View):
            what, made = "view", str(program.slots[step.result])
        else:
            what = _describe_control(step)
        lines.append(f"{number:>4}  {what}({read})" + (f" -> {made}" if made else ""))
    return lines


def _describe_control(step: Instruction) -> str:
    match step:
        case Copy():
            return "copy"
        case Choose():
            return f"go to {' or '.join(map(str, step.targets))} by "
        case GoTo():
            return f"go to {step.target} "
        case BeginLoop():
            steps = "some" if step.length is None else step.length
            return f"loop of {steps} steps, then go to {step.exit}: "
        case Fork():
            branches = ", ".join(f"{begin} to {end - 1}" for begin, end in step.branches)
            return f"at the same time {branches}, then go to {step.done}; or go to {step.alone} "
        case EndLoop():
            return f"next step from {step.start}: "
        case _:
            return "check"
