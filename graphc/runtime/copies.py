"""Where a program copies an array that the user's code updates in place, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from graphc.locations import UNKNOWN, Location
from graphc.runtime.compile_log import Copied
from graphc.runtime.program import BeginLoop, Copy, Instruction, Program, RunCheck, RunKernels
from graphc.runtime.storage import Memory, may_fail, reads, replaceable

CONSTANT = "what is updated is a constant"
OTHER = "its new contents are those of another array"
KEPT = "it starts as the argument {name}, which the function does not change"
READ_LATER = "its old contents are needed afterwards"
RETURNED = "its old contents are a result too"
BESIDE = "its old contents are read elsewhere than where the new ones are written (as in a stencil), so those are made apart"
TWICE = "the op reads the same memory as another operand"
MAY_FAIL = "a step from there on may fail (an index, a check), and a call that fails must have changed nothing"
LOOP = "the steps of a loop, or a branch, work on memory of their own: it is copied once, not at each step"
APART = "its new contents are the result of a loop's step, or of a branch, which is made apart"
SHAPE = "its new contents are made in another shape or dtype"
STEP = "a step on the way to its new contents cannot write over what it reads"
ELSEWHERE = "its new contents are made while the old ones are still read"


def find_copies(program: Program, memory: Memory, lines: Sequence[Location]) -> list[Copied]:
    """The updates of parts of arrays that copy the rest, and the parameters whose new contents are made elsewhere and have to
    be copied back. ``program`` is an outline: it says all that could be overwritten, and ``memory`` what is. ``lines``: the
    user's, of the outputs."""
    finder = _Finder(program, memory, lines)
    return [*finder.updates(), *finder.parameters()]


class _Finder:
    def __init__(self, program: Program, memory: Memory, lines: Sequence[Location]) -> None:
        self.lines, self.makers = lines, memory.makers
        self.program, self.root = program, memory.root
        self.names = dict(zip(program.parameters, program.names, strict=True))
        self.reported: set[int] = set()  # parameters
        self.lifetimes = memory.lifetimes()

    def updates(self) -> Iterator[Copied]:
        for number, step in enumerate(self.program.instructions):
            position = _updated(step)
            if position is None or not isinstance(step, RunKernels):
                continue
            memory = self.root[step.operands[position]]
            if self.root[step.results[0]] != memory:
                why, cause = self._why(number, step, memory)
                self.reported.add(memory)
                yield Copied(self.names.get(memory, "an array"), why, step.location or UNKNOWN, cause)

    def _why(self, number: int, step: RunKernels, memory: int) -> tuple[str, Location]:
        program = self.program
        if memory in program.literals:
            return CONSTANT, UNKNOWN
        if step.results[0] in program.fixed:
            return (LOOP if memory in self.names else APART), UNKNOWN
        if step.region_of is not None and not any(pair.operand == step.region_of for pair in step.overwrites):
            return BESIDE, UNKNOWN
        later = self._reader(memory, range(number + 1, len(program.instructions)))
        if later is not None:
            return READ_LATER, later
        if [self.root[slot] for slot in step.operands].count(memory) > 1:
            return TWICE, UNKNOWN
        if memory in self._outputs():
            return RETURNED, UNKNOWN
        if memory in self.names:
            if memory not in self._written():
                return KEPT.format(name=self.names[memory]), UNKNOWN
            failing = self._failing(number)
            return (STEP, self._obstacle(memory)) if failing is None else (MAY_FAIL, failing)
        return ELSEWHERE, UNKNOWN

    def _obstacle(self, parameter: int) -> Location:
        """The last of the steps to the new contents of ``parameter`` whose result cannot be in the memory of an operand."""
        program = self.program
        slot = next(program.outputs[k] for k, place in program.aliases.items() if program.parameters[place] == parameter)
        while slot in self.makers:
            step = program.instructions[self.makers[slot]]
            operands = replaceable(step, slot)
            if not operands:
                return _location(step) or UNKNOWN
            slot = operands[0]
        return UNKNOWN

    def parameters(self) -> Iterator[Copied]:
        program = self.program
        first, _ = self.lifetimes
        for output, place in program.aliases.items():
            slot, parameter = program.outputs[output], program.parameters[place]
            root = self.root[slot]
            if root == parameter or parameter in self.reported:
                continue
            why, cause = OTHER, UNKNOWN
            if root in first:
                why, cause = self._why_elsewhere(first[root], root, parameter)
            yield Copied(self.names[parameter], why, self.lines[output], cause)

    def _why_elsewhere(self, begun: int, root: int, parameter: int) -> tuple[str, Location]:
        program = self.program
        step = program.instructions[begun]
        if isinstance(step, (BeginLoop, Copy)) or root in self._roots(program.fixed):
            return LOOP, UNKNOWN
        if parameter in self._outputs():
            return RETURNED, UNKNOWN
        later = self._reader(parameter, range(begun + 1, len(program.instructions)))
        if later is not None:
            return READ_LATER, later
        failing = self._failing(begun)
        if failing is not None:
            return MAY_FAIL, failing
        if program.slots[parameter] != program.slots[root]:
            return SHAPE, UNKNOWN
        return (BESIDE if parameter in self._roots(reads(step)) else ELSEWHERE), UNKNOWN

    def _reader(self, memory: int, numbers: range) -> Location | None:
        """Where the first of these instructions that reads ``memory`` is from."""
        for number in numbers:
            step = self.program.instructions[number]
            if memory in self._roots(reads(step)):
                return _location(step) or UNKNOWN
        return None

    def _failing(self, number: int) -> Location | None:
        steps = self.program.instructions[number:]
        return next((_location(step) or UNKNOWN for step in steps if may_fail(step)), None)

    def _written(self) -> set[int]:
        return {self.program.parameters[place] for place in self.program.aliases.values()}

    def _outputs(self) -> set[int]:
        """The memory of outputs, but not as the new contents of itself."""
        aliases = self.program.aliases
        return {
            self.root[slot]
            for output, slot in enumerate(self.program.outputs)
            if output not in aliases or self.program.parameters[aliases[output]] != self.root[slot]
        }

    def _roots(self, slots: Collection[int]) -> set[int]:
        return {self.root[slot] for slot in slots}


def _updated(step: Instruction) -> int | None:
    """The operand of which ``step`` makes a version with a part replaced, by position."""
    if not isinstance(step, RunKernels):
        return None
    return 0 if step.updates else step.region_of


def _location(step: Instruction) -> Location | None:
    return step.location if isinstance(step, (RunKernels, RunCheck)) else None
