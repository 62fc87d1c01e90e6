"""A program for one set of sizes: its tape, the plan of its memory, and the run of one call."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, Protocol

import numpy as np

from graphc.errors import BackendError, CheckError, ShapeError
from graphc.ir.dims import evaluate_dim
from graphc.ir.operands import operands_of_node
from graphc.ir.types import Bindings, TensorType
from graphc.locations import UNKNOWN
from graphc.ops.indexing import out_of_bounds
from graphc.runtime.arena import ALIGNMENT, ARENAS, Arena, plan_arena
from graphc.runtime.memory import lifetimes_of
from graphc.runtime.program import Program, RunCheck, RunKernels, RunLibrary, View, program_settings
from graphc.runtime.result_pool import RESULTS, SMALLEST
from graphc.runtime.storage import Storage
from graphc.runtime.tape import (
    INTERRUPTS,
    MOST_PIECES,
    ONE_THREAD,
    PROCESS,
    SEGMENT_BYTES,
    STATUS_WORDS,
    Failure,
    Shared,
    Word,
    guard_words,
)
from graphc.runtime.tape_words import make_tape

#: Temporaries of at most so many bytes belong to the workspace; more of them are borrowed from the arenas for each call.
OWN_BYTES: Final = 4096
#: A run through which at most so many bytes pass, a kernel counting for some, keeps the GIL: it takes microseconds.
BRIEF_BYTES: Final = 1 << 12
_MOST_IDLE: Final = 4  # workspaces kept for the next calls
_WORD: Final = 8

Run = Callable[[Sequence[Any]], "list[np.ndarray] | None"]


class AnyFrame(Protocol):
    """A program with every size known, of whatever run time."""

    def runner(self) -> Run:
        """A function from inputs to outputs; it gives None, and nothing has run, where they are not arrays for this frame."""


class _Workspace:
    """What one call at a time works with: its block, status, table of addresses and room for operands, in one array."""

    __slots__ = ("address", "base", "memory", "status", "table", "words")

    def __init__(self, frame: Frame) -> None:
        sizes = (
            Word.COUNT, MOST_PIECES * STATUS_WORDS, len(frame.table), frame.most_operands, frame.branches * frame.branch_words
        )  # fmt: skip
        own = 0 if frame.borrows else frame.arena_bytes
        self.words = np.zeros(sum(sizes) + (own + ALIGNMENT) // _WORD, np.int64)
        start = self.words.ctypes.data
        offsets = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        self.address = start
        self.status = offsets[1]
        self.table = self.words[offsets[2] : offsets[3]]
        self.table[:] = frame.table
        block = self.words
        block[Word.STATUS] = start + _WORD * offsets[1]
        block[Word.TABLE] = start + _WORD * offsets[2]
        block[Word.OPERANDS] = start + _WORD * offsets[3]
        block[Word.GUARD] = ctypes.addressof(frame.guard)
        block[Word.INPUTS] = frame.inputs
        block[Word.RESULTS] = len(frame.results)
        block[Word.PROCESS] = ctypes.addressof(PROCESS)
        block[Word.BRIEF] = frame.is_brief
        block[Word.BUDGET] = SEGMENT_BYTES
        block[Word.SETTINGS] = frame.settings
        for branch in range(frame.branches):
            at = offsets[4] + branch * frame.branch_words
            self._fill_branch(at, frame.branch_words)
        if frame.program.forks is not None:
            self.table[frame.program.forks] = start + _WORD * offsets[4]
        self.memory = self.words.data
        self.base = 0
        if not frame.borrows:
            end = start + _WORD * offsets[5]
            self.place(frame, end + -end % ALIGNMENT)

    def _fill_branch(self, at: int, size: int) -> None:
        """The block of a branch, its status and its room for operands; it shares the table."""
        block, start = self.words[at : at + size], self.address + _WORD * at
        block[Word.TABLE] = self.words[Word.TABLE]
        block[Word.STATUS] = start + _WORD * Word.COUNT
        block[Word.OPERANDS] = start + _WORD * (Word.COUNT + STATUS_WORDS)
        block[Word.PROCESS] = ctypes.addressof(ONE_THREAD)

    def place(self, frame: Frame, base: int) -> None:
        """Let the temporaries begin at the address ``base``."""
        self.table[frame.temporaries] = frame.offsets + base
        self.base = base


class Frame:
    """``program`` with every size known. Several calls may run at once, each in a workspace of its own.

    Raises ShapeError where the sizes do not fit: for a negative one, or a reshape to another number of elements.
    """

    def __init__(self, program: Program, storage: Storage, bindings: Bindings) -> None:
        self.program = program
        self.storage = storage
        self.bindings = dict(bindings)
        self.shapes = [_concrete(type_, bindings) for type_ in program.slots]
        self.dtypes: list[np.dtype[Any]] = [type_.dtype.numpy for type_ in program.slots]
        _check_views(program, self.shapes)
        self._bytes = [_bytes(s, d) for s, d in zip(self.shapes, self.dtypes, strict=True)]
        self._plan_memory(bindings)
        self._results = [
            (self.shapes[slot], self.dtypes[slot], self._bytes[root])
            for slot, place, root in zip(
                program.outputs, storage.outputs, [storage.root[s] for s in program.outputs], strict=True
            )
            if place is not None
        ]
        self.results = storage.results
        self.inputs = len(program.parameters)
        self._places = {slot: place for place, slot in reversed([*enumerate((*program.parameters, *storage.results))])}
        words = guard_words(
            program.parameters,
            [self.shapes[slot] for slot in program.parameters],
            [self.dtypes[slot] for slot in program.parameters],
        )
        words += storage.results
        self.guard = (ctypes.c_int64 * max(1, len(words)))(*words)
        while True:  # until nobody changes the settings meanwhile, which what is chosen depends on
            changes, self.settings = PROCESS[Shared.CHANGES], program_settings(program)
            self._make_tape(bindings)
            if changes == PROCESS[Shared.CHANGES]:
                break
        assert program.walk is not None, "a tape needs what walks it"
        self._walk = program.walk
        self._idle: list[_Workspace] = []
        calls = any(isinstance(step, RunLibrary) for step in program.instructions)  # where there are jumps, within a segment
        is_one = len(self._segments) == 1 and not calls and not program.registers
        self._is_simple = is_one and None not in storage.outputs and not self.borrows

    def runner(self) -> Run:
        """A function from inputs to outputs; it gives None, and nothing has run, where they are not arrays for this frame.

        A program that is one walk into the arrays that it returns gets one without a detour, as for a small program that
        is most of its time. The frame does not keep it: it would keep the frame alive.
        """
        return self._simple_runner() if self._is_simple else self._run

    def _simple_runner(self) -> Run:
        walk, idle, begin, end = self._walk, self._idle, self._begin, self._end
        wanted = tuple(self._results)
        (only,) = [(shape, dtype) for shape, dtype, _ in wanted] if len(wanted) == 1 and wanted[0][2] < SMALLEST else [None]
        empty = np.empty

        def run(inputs: Sequence[Any]) -> list[np.ndarray] | None:
            results = [empty(*only)] if only is not None else _make_results(wanted)
            try:
                workspace = idle.pop()
            except IndexError:
                workspace = _Workspace(self)
            failed = walk(workspace.address, begin, end, (*inputs, *results))
            if failed and self._is_mismatch(workspace, failed):
                return None
            if len(idle) < _MOST_IDLE:
                idle.append(workspace)
            return results

        return run

    def _run(self, inputs: Sequence[Any]) -> list[np.ndarray] | None:
        results = _make_results(self._results)
        try:
            workspace = self._idle.pop()
        except IndexError:
            workspace = _Workspace(self)
        failed = self._run_segments(workspace, (*inputs, *results))
        if failed and self._is_mismatch(workspace, failed):
            return None
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(workspace)
        return self._outputs(inputs, results)

    def _is_mismatch(self, workspace: _Workspace, failed: int) -> bool:
        """Whether a call that ``failed`` was for other arrays, and ran nothing; raises what else went wrong."""
        if failed != Failure.MISMATCH:
            self._raise(workspace)  # which is not used again
        workspace.memory[workspace.status] = 0
        self._idle.append(workspace)
        return True

    def _run_segments(self, workspace: _Workspace, arrays: tuple[Any, ...]) -> int:
        arena = ARENAS.check_out(self.arena_bytes) if self.borrows else None
        try:
            if arena is not None and arena.address != workspace.base:
                workspace.place(self, arena.address)
            entered: tuple[Any, ...] | None = arrays
            for begin, end, library in self._segments:
                at = self._tape_address + begin
                while failed := self._walk(workspace.address, at, self._tape_address + end, entered):
                    if failed not in (Failure.PAUSE, Failure.LIBRARY):
                        return failed
                    entered = None
                    workspace.memory[workspace.status] = 0
                    at = workspace.memory[Word.RESUME]
                    if failed == Failure.LIBRARY:
                        self._call(self.program.instructions[workspace.memory[Word.FAILED]], arrays, workspace, arena)
                entered = None
                if library is not None:
                    self._call(library, arrays, workspace, arena)
            return 0
        finally:
            if arena is not None:
                ARENAS.check_in(arena)

    def _call(self, library: Any, arrays: tuple[Any, ...], workspace: _Workspace, arena: Arena | None) -> None:
        assert isinstance(library, RunLibrary)
        library.function(
            [self._array(slot, arrays, workspace, arena) for slot in library.operands],
            [self._array(slot, arrays, workspace, arena) for slot in library.results],
        )

    def _array(self, slot: int, arrays: tuple[Any, ...], workspace: _Workspace, arena: Arena | None) -> np.ndarray:
        """The buffer of ``slot`` as an array, for a library function. ``arrays``: inputs, then results."""
        root, shape = self.storage.root[slot], self.shapes[slot]
        place = self._places.get(root)
        if root in self.program.registers:
            return _array_at(int(workspace.table[root]), shape, self.dtypes[slot])
        if place is not None:
            array: np.ndarray = arrays[place]
        elif root in self.program.literals:
            array = self.program.literals[root]
        else:
            memory = workspace.words.view(np.uint8) if arena is None else arena.memory
            start = workspace.address if arena is None else arena.address
            return np.ndarray(shape, self.dtypes[slot], memory.data, int(workspace.table[root]) - start)
        return array if array.shape == shape else array.reshape(shape)

    def _outputs(self, inputs: Sequence[Any], results: list[np.ndarray]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = []
        for number, (slot, place) in enumerate(zip(self.program.outputs, self.storage.outputs, strict=True)):
            if place is not None:
                outputs.append(results[place])
                continue
            if number in self.storage.in_place:
                outputs.append(inputs[self.storage.in_place[number]])
                continue
            root = self.storage.root[slot]
            source: np.ndarray
            if root in self.storage.results:
                source = results[self.storage.results.index(root)]
            elif root in self.program.literals:
                source = self.program.literals[root]
            else:
                source = inputs[self.program.parameters.index(root)]
            outputs.append(source.copy().reshape(self.shapes[slot]))
        return outputs

    def _raise(self, workspace: _Workspace) -> NoReturn:
        if workspace.memory[workspace.status] == Failure.INTERRUPTED:
            raise INTERRUPTS.pop(workspace.address + _WORD * Word.TASK)
        kind, first, second, third = workspace.memory[workspace.status : workspace.status + STATUS_WORDS]
        step = self.program.instructions[workspace.memory[Word.FAILED]]
        if isinstance(step, RunCheck):
            raise CheckError(step.message, location=step.location or UNKNOWN, operands=operands_of_node(step.node))
        assert isinstance(step, RunKernels)
        if kind == Failure.INDEX:
            raise out_of_bounds(
                step.op, int(first), int(second), int(third), step.location or UNKNOWN, operands_of_node(step.node)
            )
        names = " or ".join(kernel.name for kernel in step.kernels)
        raise BackendError(f"the kernel {names} failed with status {first}", location=step.location or UNKNOWN)

    def _plan_memory(self, bindings: Bindings) -> None:
        """Offsets of temporaries, and the table of addresses with those of constants filled in."""
        plan = plan_arena(lifetimes_of(self.storage.temporaries, bindings))
        self.arena_bytes = plan.size
        self.borrows = plan.size > OWN_BYTES
        self.offsets = np.array(plan.offsets, np.int64)
        self.temporaries = np.array([t.place for t in self.storage.temporaries], np.intp)
        self.table = np.zeros(self.storage.places, np.int64)
        for slot, array in self.program.literals.items():
            self.table[slot] = array.ctypes.data

    def _make_tape(self, bindings: Bindings) -> None:
        tape = make_tape(self.program, self.storage, self._bytes, bindings)
        self.most_operands = tape.most_operands
        self.branches = tape.most_branches
        self.branch_words = Word.COUNT + STATUS_WORDS + tape.most_operands
        self.is_brief = tape.work <= BRIEF_BYTES
        self._segments = tuple(tape.segments)
        self._tape = (ctypes.c_int64 * max(1, len(tape.words)))(*tape.words)
        self._tape_address = ctypes.addressof(self._tape)
        for addresses, edges in tape.forks:
            addresses[:] = [_WORD * self.branch_words, *[self._tape_address + edge for edge in edges]]
        self._forks = [addresses for addresses, _ in tape.forks]
        self._begin = self._tape_address + tape.segments[0].begin
        self._end = self._tape_address + tape.segments[0].end
        self._kept = tape.kept  # the arrays of sizes that the tape points to


def _array_at(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The memory at ``address`` as an array, which does not own it."""
    size = _bytes(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address) if size else b""
    return np.ndarray(shape, dtype, memory)


def _make_results(wanted: Sequence[tuple[tuple[int, ...], np.dtype[Any], int]]) -> list[np.ndarray]:
    return [
        np.empty(shape, dtype) if nbytes < SMALLEST else RESULTS.take(shape, dtype, nbytes) for shape, dtype, nbytes in wanted
    ]


def _check_views(program: Program, shapes: Sequence[tuple[int, ...]]) -> None:
    for step in program.instructions:
        if isinstance(step, View) and math.prod(shapes[step.operand]) != math.prod(shapes[step.result]):
            raise ShapeError(
                f"reshape: shape {shapes[step.operand]} cannot become {shapes[step.result]}: the element counts differ",
                location=step.location or UNKNOWN,
                operands=operands_of_node(step.node),
                cause=ShapeError.RESHAPE,
            )


def _concrete(type_: TensorType, bindings: Bindings) -> tuple[int, ...]:
    shape = tuple(evaluate_dim(dim, bindings) for dim in type_.shape)
    if any(size < 0 for size in shape):
        raise ShapeError(f"the sizes {bindings} give {type_} the negative shape {shape}", cause=ShapeError.SIZE)
    return shape


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize
