"""From instructions to the words of a tape, for one set of sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from graphc.ir.dims import Dim, evaluate_dim
from graphc.ir.types import Bindings
from graphc.runtime.program import (
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    Fork,
    GoTo,
    NativeKernel,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
)
from graphc.runtime.storage import Storage
from graphc.runtime.tape import MOST_PIECES, SEGMENT_BYTES, Field, Operation

#: What a piece of a parallel range reads and writes at least: some times what it costs to hand it to a thread.
PIECE_BYTES: Final = 1 << 17
#: Ranges of at least twice as many steps for each piece are divided at multiples of it: at whole vectors and cache lines.
ALIGNED_STEPS: Final = 64
#: What calling a kernel counts for, in bytes.
KERNEL_BYTES: Final = 1 << 8
#: The branches of a fork pass so many bytes and operations at least, and have so many rows: it takes 5 µs to begin them.
FORK_WORK: Final = 1 << 21
FORK_ROWS: Final = 8
#: And so many at most: about a fifth of a second, for which Ctrl-C waits.
FORK_MOST: Final = 8 * SEGMENT_BYTES
_WORD: Final = 8
_UNKNOWN_STEPS: Final = 1 << 40  # a loop of as many steps as there may be


class Segment(NamedTuple):
    """What runs natively from ``begin`` to ``end`` (bytes of the tape), and the library call that follows."""

    begin: int
    end: int
    library: RunLibrary | None


@dataclass
class Tape:
    """The words; the segments; the most buffers of an instruction; how many bytes pass in all, kernels counting for some; the
    arrays that the words point to; for each fork an array for the addresses of its branches, with where these begin and end in
    bytes of the tape; and the most branches of a fork."""

    words: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    most_operands: int = 1
    work: int = 0
    kept: list[Any] = field(default_factory=list)
    forks: list[tuple[Any, list[int]]] = field(default_factory=list)
    most_branches: int = 0


def make_tape(program: Program, storage: Storage, sizes: Sequence[int], bindings: Bindings) -> Tape:
    """The tape of ``program``. ``sizes``: the bytes of each slot.

    A straight program is divided where a library is called, or where many bytes have passed. One with jumps is one segment, in
    which the native loop stops for these.
    """
    return _TapeMaker(program, storage, sizes, bindings).run()


class _TapeMaker:
    def __init__(self, program: Program, storage: Storage, sizes: Sequence[int], bindings: Bindings) -> None:
        self.program, self.root, self.scratch = program, storage.root, storage.scratch
        self.sizes, self.bindings = sizes, bindings
        self.tape = Tape()
        self.words = self.tape.words
        self.has_jumps = any(isinstance(step, (Choose, GoTo, BeginLoop, EndLoop)) for step in program.instructions)
        self.starts: list[int] = []  # of each instruction, in words
        self.patches: list[tuple[int, int, int]] = []  # word, the end of its instruction, instruction
        self.passed = 0  # bytes and operations, since the last segment began
        self.operations = 0  # of products, which take longer than reading and writing
        self.begin = 0
        self.marks: list[int] = []  # the work and operations before each instruction
        self.forks: list[tuple[int, Fork]] = []  # where their words begin
        self.loops: list[tuple[int, int, int]] = []  # of those around: the work and operations before each, and its steps

    def run(self) -> Tape:
        for number, step in enumerate(self.program.instructions):
            self.starts.append(len(self.words))
            self.marks.append(self.tape.work + self.operations)
            match step:
                case RunLibrary():
                    self._library(number, step)
                case RunCheck():
                    self._operation(Operation.CHECK, number, [self.root[step.operand]])
                case RunKernels():
                    self._kernels(number, step)
                case Copy() if self.root[step.operand] != self.root[step.result]:
                    size = self.sizes[step.result]
                    self.tape.work += 2 * size
                    places = [self.root[step.operand], self.root[step.result]]
                    self._operation(Operation.COPY, number, places, {Field.SIZES: size})
                case Choose():
                    self._choose(number, step)
                case GoTo():
                    self._operation(Operation.GOTO, number, [])
                    self._patch(len(self.words) - Field.COUNT + Field.EXTENT, step.target)
                case Fork():
                    self._fork(number, step)
                case BeginLoop():
                    self._begin_loop(number, step)
                case EndLoop():
                    self._end_loop(number, step)
                case _:
                    pass
        self.starts.append(len(self.words))
        self.marks.append(self.tape.work + self.operations)
        self.tape.forks = [(array, [_WORD * self.starts[edge] for edge in edges]) for array, edges in self.tape.forks]
        for place, end, target in self.patches:
            self.words[place] = _WORD * (self.starts[target] - end)
        for place, fork in self.forks:
            self._settle(place, fork)
        segments = self.tape.segments
        if not segments or self.begin < _WORD * len(self.words):
            segments.append(Segment(self.begin, _WORD * len(self.words), None))
        return self.tape

    def _operation(self, kind: int, number: int, rest: Sequence[int], fields: Mapping[Field, int] | None = None) -> None:
        head = {**dict.fromkeys(Field, 0), Field.KERNEL: kind, Field.NUMBER: number, Field.BUFFERS: len(rest), **(fields or {})}
        self.words += [*[head[f] for f in Field if f is not Field.COUNT], *rest]

    def _patch(self, place: int, target: int) -> None:
        self.patches.append((place, len(self.words), target))

    def _end_segment(self, library: RunLibrary | None) -> None:
        self.tape.segments.append(Segment(self.begin, _WORD * len(self.words), library))
        self.begin, self.passed = _WORD * len(self.words), 0

    def _library(self, number: int, step: RunLibrary) -> None:
        if self.has_jumps:
            self._operation(Operation.STOP, number, [])
        else:
            self._end_segment(step)

    def _kernels(self, number: int, step: RunKernels) -> None:
        over = {pair.result for pair in step.overwrites}
        slots = [self.root[slot] for slot in step.operands]
        slots += [self.root[slot] for place, slot in enumerate(step.results) if place not in over]
        work = sum(self.sizes[slot] for slot in slots)
        slots += self.scratch[number]
        self.tape.most_operands = max(self.tape.most_operands, len(slots))
        kernels = (step.rival.kernels(self.bindings) if step.rival is not None else None) or step.kernels
        for kernel in kernels:
            assert isinstance(kernel, NativeKernel), "a tape holds native kernels only"
            self._kernel(kernel, work, number, slots)
        operations = evaluate_dim(step.operations, self.bindings)
        self.passed += work * len(kernels) + operations
        self.operations += operations
        self.tape.work += (work + KERNEL_BYTES) * len(kernels)
        if self.passed > SEGMENT_BYTES and not self.has_jumps:
            self._end_segment(None)

    def _kernel(self, kernel: NativeKernel, work: int, number: int, slots: Sequence[int]) -> None:
        extent = evaluate_dim(kernel.extent, self.bindings)
        if extent <= 0:
            return
        sizes = [evaluate_dim(size, self.bindings) for size in kernel.sizes]
        array = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
        self.tape.kept.append(array)
        pieces = max(1, min(MOST_PIECES, extent, work // PIECE_BYTES))
        align = ALIGNED_STEPS if extent >= 2 * ALIGNED_STEPS * pieces else 1
        fields = {
            Field.SIZES: ctypes.addressof(array), Field.EXTENT: extent, Field.PIECES: pieces, Field.ALIGN: align
        }  # fmt: skip
        self._operation(kernel.address, number, slots, fields)

    def _choose(self, number: int, step: Choose) -> None:
        dtype = self.program.slots[step.selector].dtype
        fields = {Field.SIZES: dtype.numpy.itemsize, Field.PIECES: int(dtype.kind == "int")}
        self._operation(Operation.CHOOSE, number, [self.root[step.selector], *[0] * len(step.targets)], fields)
        first = len(self.words) - len(step.targets)
        for place, target in enumerate(step.targets):
            self._patch(first + place, target)

    def _fork(self, number: int, step: Fork) -> None:
        """Jump to what one thread does, where there is one; else the call of what runs the branches, and a jump behind them."""
        slot = self.program.forks
        assert slot is not None, "a program with forks has a slot for their blocks"
        self.forks.append((len(self.words), step))
        self._operation(Operation.ALONE, number, [])
        self._patch(len(self.words) - Field.COUNT + Field.EXTENT, step.alone)
        count = len(step.branches)
        self.tape.most_branches = max(self.tape.most_branches, count)
        addresses = (ctypes.c_int64 * (1 + 2 * count))()
        fields = {Field.SIZES: ctypes.addressof(addresses), Field.EXTENT: count, Field.PIECES: count, Field.ALIGN: 1}
        self._operation(step.runner, number, [slot], fields)
        self._operation(Operation.GOTO, number, [])
        self._patch(len(self.words) - Field.COUNT + Field.EXTENT, step.done)
        self.tape.forks.append((addresses, [edge for branch in step.branches for edge in branch]))

    def _settle(self, place: int, fork: Fork) -> None:
        """Make the jump to what one thread does one that is always done, where the branches are not worth it."""
        work = self.marks[fork.branches[-1][1]] - self.marks[fork.branches[0][0]]
        is_worth_it = FORK_WORK <= work <= FORK_MOST and evaluate_dim(fork.rows, self.bindings) >= FORK_ROWS
        if not is_worth_it:
            self.words[place + Field.KERNEL] = Operation.GOTO

    def _steps(self, length: Dim | None) -> int:
        return -1 if length is None else evaluate_dim(length, self.bindings)

    def _begin_loop(self, number: int, step: BeginLoop) -> None:
        steps = self._steps(step.length)
        rest = [step.counter]
        for register, base, offset in step.pointers:
            rest += [register, self.root[base], evaluate_dim(offset, self.bindings)]
        for register, base, from_end, offset, size in step.slices:
            first = evaluate_dim(size, self.bindings) * (steps - 1) if from_end else 0
            rest += [register, self.root[base], first + evaluate_dim(offset, self.bindings)]
        fields = {Field.SIZES: len(step.pointers) + len(step.slices), Field.EXTENT: steps}
        self._operation(Operation.BEGIN, number, rest, fields)
        self._patch(len(self.words) - len(rest) - Field.COUNT + Field.ALIGN, step.exit)
        self.loops.append((self.tape.work, self.operations, steps))

    def _end_loop(self, number: int, step: EndLoop) -> None:
        work, operations, steps = self.loops.pop()
        most_steps = steps if steps >= 0 else _UNKNOWN_STEPS
        work_of_step = self.tape.work - work + KERNEL_BYTES
        operations_of_step = self.operations - operations
        self.tape.work = work + work_of_step * most_steps
        self.operations = operations + operations_of_step * most_steps
        rest = [step.counter, work_of_step + operations_of_step, len(step.advances)]
        rest += [word for pair in (*step.swaps, *step.moves) for word in pair]
        for register, size in step.advances:
            rest += [register, evaluate_dim(size, self.bindings)]
        fields = {Field.SIZES: len(step.swaps), Field.PIECES: len(step.moves), Field.EXTENT: self._steps(step.length)}
        self._operation(Operation.END, number, rest, fields)
        self._patch(len(self.words) - len(rest) - Field.COUNT + Field.ALIGN, step.start)
