"""From a program and its sizes to launches: in the order in which they run, with what decides which come next."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.dims import Dim, evaluate_dim
from graphc.ir.types import Bindings, TensorType
from graphc.locations import UNKNOWN
from graphc.runtime.arena import plan_arena
from graphc.runtime.memory import lifetimes_of
from graphc.runtime.program import (
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    GoTo,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
)
from graphc.runtime.storage import Storage

from .arguments import Launch, Move, Place
from .kernels import DeviceKernel

ARENA: Final = 0
STATUS: Final = 1
GIVEN: Final = 2
"""The bases of places: temporaries, the words for failures, and from here on parameters, results and literals, in order."""

#: A program of more parts than this, with the steps of its loops counted, is not kept as one list.
MOST_PARTS: Final = 4096


@dataclass(frozen=True)
class HostCall:
    """A function on arrays in the host's memory, which waits for its operands."""

    library: RunLibrary
    operands: tuple[Place, ...]
    results: tuple[Place, ...]


@dataclass(frozen=True)
class Choice:
    """A scalar that decides what comes next, and that has to be waited for."""

    selector: Place
    dtype: np.dtype[Any]


Part = Launch | Move | HostCall | Choice


class Schedule:
    """``program`` with every size known. ``check``: the kernel that looks at a condition.

    Raises ShapeError where the sizes do not fit: for a negative one, or a reshape to another number of elements.
    """

    def __init__(self, program: Program, storage: Storage, bindings: Bindings, check: DeviceKernel) -> None:
        self.program, self.storage, self.check = program, storage, check
        self.shapes = [_concrete(type_, bindings) for type_ in program.slots]
        self.dtypes: list[np.dtype[Any]] = [type_.dtype.numpy for type_ in program.slots]
        self.bytes = [math.prod(s) * d.itemsize for s, d in zip(self.shapes, self.dtypes, strict=True)]
        self._check_views()
        self.bindings = dict(bindings)
        plan = plan_arena(lifetimes_of(storage.temporaries, bindings))
        self.arena_bytes = plan.size
        given = dict.fromkeys((*program.parameters, *storage.results, *program.literals))
        self.bases = {slot: GIVEN + number for number, slot in enumerate(given)}
        self._places = {slot: Place(base) for slot, base in self.bases.items()}
        self._sizes: dict[int, int] = dict(enumerate(self.bytes))
        for temporary, offset in zip(storage.temporaries, plan.offsets, strict=True):
            self._places[temporary.place] = Place(ARENA, offset)
            self._sizes[temporary.place] = math.prod(_concrete(temporary.type, bindings)) * temporary.type.dtype.numpy.itemsize
        self.may_fail = any(isinstance(s, RunCheck) or (isinstance(s, RunKernels) and s.checks) for s in program.instructions)
        self._numbers: dict[DeviceKernel, tuple[int, ...]] = {}

    def _check_views(self) -> None:
        for step in self.program.instructions:
            if isinstance(step, View) and math.prod(self.shapes[step.operand]) != math.prod(self.shapes[step.result]):
                raise ShapeError(
                    f"reshape: {self.shapes[step.operand]} has another number of elements than {self.shapes[step.result]}",
                    location=step.location or UNKNOWN,
                )

    def flat(self) -> list[Launch | Move] | str:
        """All of it as one list, loops with their steps one after the other; or why that cannot be."""
        parts: list[Launch | Move] = []
        for part in self.walk():
            if isinstance(part, HostCall):
                return f"{part.library.name} runs on the host"
            if isinstance(part, Choice):
                return "what runs depends on values: a branch, or a loop with a condition"
            if len(parts) == MOST_PARTS:
                return f"it has more than {MOST_PARTS} launches, steps of loops included"
            parts.append(part)
        return parts

    def walk(self) -> Generator[Part, int | None, None]:
        """What runs, in order. Whoever asks for more after a :class:`Choice` sends its value."""
        steps = self.program.instructions
        registers: dict[int, Place] = {}
        counters: dict[int, int] = {}
        at = 0
        while at < len(steps):
            number, step = at, steps[at]
            at += 1
            match step:
                case RunKernels():
                    yield from self._kernels(number, step, registers)
                case RunCheck():
                    yield self._check_launch(number, step, registers)
                case RunLibrary():
                    operands, results = (
                        tuple([self._place(s, registers) for s in slots]) for slots in (step.operands, step.results)
                    )
                    yield HostCall(step, operands, results)
                case Copy():
                    move = Move(
                        self._place(step.result, registers), self._place(step.operand, registers), self.bytes[step.result]
                    )
                    if move.target != move.source:
                        yield move
                case Choose():
                    chosen = yield Choice(self._place(step.selector, registers), self.dtypes[step.selector])
                    assert chosen is not None, "whoever walks decides"
                    at = step.targets[min(max(int(chosen), 0), len(step.targets) - 1)]
                case GoTo():
                    at = step.target
                case BeginLoop():
                    at = self._begin(step, at, registers, counters)
                case EndLoop():
                    at = self._end(step, at, registers, counters)
                case _:
                    pass

    def place(self, slot: int) -> Place:
        """Where a slot lies that is no register's."""
        return self._places[self.storage.root[slot]]

    def _place(self, slot: int, registers: Mapping[int, Place]) -> Place:
        root = self.storage.root[slot]
        return registers[root] if root in registers else self._places[root]

    def _kernels(self, number: int, step: RunKernels, registers: Mapping[int, Place]) -> Generator[Launch, None, None]:
        slots = (*step.operands, *step.results)
        scratch = self.storage.scratch[number]
        places = tuple([self._place(slot, registers) for slot in slots] + [self._places[place] for place in scratch])
        sizes = tuple([self.bytes[slot] for slot in slots] + [self._sizes[place] for place in scratch])
        for kernel in step.kernels:
            assert isinstance(kernel, DeviceKernel)
            numbers = self._numbers.get(kernel)
            if numbers is None:
                dims: Sequence[Dim] = (*kernel.sizes, kernel.extent)
                numbers = self._numbers[kernel] = tuple([evaluate_dim(dim, self.bindings) for dim in dims])
            if numbers[-1] > 0:
                yield Launch(kernel, places, sizes, numbers, number + 1, step.location or UNKNOWN)

    def _check_launch(self, number: int, step: RunCheck, registers: Mapping[int, Place]) -> Launch:
        size = self.bytes[step.operand]
        place = self._place(step.operand, registers)
        return Launch(self.check, (place,), (size,), (1,), number + 1, step.location or UNKNOWN)

    def _begin(self, step: BeginLoop, at: int, registers: dict[int, Place], counters: dict[int, int]) -> int:
        steps = None if step.length is None else evaluate_dim(step.length, self.bindings)
        counters[step.counter] = 0
        for register, slot in step.pointers:
            registers[register] = self._place(slot, registers)
        for register, slot, from_end in step.slices:
            whole = self._place(slot, registers)
            last = self.bytes[register] * ((steps or 1) - 1)
            registers[register] = Place(whole.base, whole.offset + (last if from_end else 0))
        return step.exit if steps == 0 else at

    def _end(self, step: EndLoop, at: int, registers: dict[int, Place], counters: dict[int, int]) -> int:
        counters[step.counter] += 1
        for target, source in step.moves:
            registers[target] = registers[source]
        for one, other in step.swaps:
            registers[one], registers[other] = registers[other], registers[one]
        for register, backwards in step.advances:
            place, nbytes = registers[register], self.bytes[register]
            registers[register] = Place(place.base, place.offset + (-nbytes if backwards else nbytes))
        is_done = step.length is not None and counters[step.counter] == evaluate_dim(step.length, self.bindings)
        return at if is_done else step.start


def _concrete(type_: TensorType, bindings: Bindings) -> tuple[int, ...]:
    shape = tuple([evaluate_dim(size, bindings) for size in type_.shape])
    if any(size < 0 for size in shape):
        raise ShapeError(f"{type_} has a negative size: {shape}")
    return shape
