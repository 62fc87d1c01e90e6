"""From a program and its sizes to launches: in the order in which they run, with what decides which come next."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from graphc.errors import BackendError, ShapeError
from graphc.ir.dims import Dim, evaluate_dim
from graphc.ir.types import Bindings, TensorType
from graphc.locations import UNKNOWN
from graphc.runtime.arena import plan_arena
from graphc.runtime.memory import lifetimes_of
from graphc.runtime.program import Program, RunCheck, RunKernels, RunLibrary, View
from graphc.runtime.storage import Storage

from .arguments import Launch, Move, Place
from .kernels import DeviceKernel
from .parts import Array, Choice, HostCall, Walk
from .regions import RegionCall, RegionSchedule, align

ARENA: Final = 0
STATUS: Final = 1
GIVEN: Final = 2
"""The bases of places: temporaries, the words for failures, and from here on parameters, results, and constants."""

#: A program of more parts than this, with the steps of its loops counted, is not kept as one list.
MOST_PARTS: Final = 4096


@dataclass
class Shared:
    """What a program shares with its regions: the steps that may fail, by number from 1, and constants with their bases."""

    first_base: int
    failing: list[RunCheck | RunKernels] = field(default_factory=list)
    literals: list[np.ndarray] = field(default_factory=list)

    def literal(self, array: np.ndarray) -> Place:
        self.literals.append(array)
        return Place(self.first_base + len(self.literals) - 1)


class Schedule:
    """``program`` with every size known. ``check``: the kernel that looks at a condition. A region's temporaries are from
    ``start`` on, and it has ``shared`` of the program that it is in.

    Raises ShapeError where the sizes do not fit: for a negative one, or a reshape to another number of elements.
    """

    def __init__(
        self,
        program: Program,
        storage: Storage,
        bindings: Bindings,
        check: DeviceKernel,
        start: int = 0,
        shared: Shared | None = None,
    ) -> None:
        self.program, self.storage, self.check = program, storage, check
        self.shapes = [_concrete(type_, bindings) for type_ in program.slots]
        self.dtypes: list[np.dtype[Any]] = [type_.dtype.numpy for type_ in program.slots]
        self.bytes = [math.prod(s) * d.itemsize for s, d in zip(self.shapes, self.dtypes, strict=True)]
        self._check_views()
        self.bindings = dict(bindings)
        given = dict.fromkeys((*program.parameters, *storage.results))
        #: The bases of parameters and results, where they are not given by what the program is in.
        self.bases = {slot: GIVEN + number for number, slot in enumerate(given)}
        self.shared = Shared(GIVEN + len(given)) if shared is None else shared
        self.may_fail = False
        self._numbers: dict[DeviceKernel, tuple[int, ...]] = {}
        self._failure: dict[int, int] = {}  # instruction → its number among the steps that may fail
        self._places = {slot: self.shared.literal(array) for slot, array in program.literals.items()}
        self._sizes: dict[int, int] = dict(enumerate(self.bytes))
        plan = plan_arena(lifetimes_of(storage.temporaries, bindings))
        for temporary, offset in zip(storage.temporaries, plan.offsets, strict=True):
            self._places[temporary.place] = Place(ARENA, start + offset)
            self._sizes[temporary.place] = math.prod(_concrete(temporary.type, bindings)) * temporary.type.dtype.numpy.itemsize
        #: Where the temporaries end, those of regions included, which take turns.
        self.end = start + plan.size
        self._regions: dict[int, RegionSchedule] = {}
        for number, step in enumerate(program.instructions):
            if isinstance(step, RunLibrary) and isinstance(step.function, RegionCall):
                self._regions[number] = self._region(step, step.function, start + plan.size)
            elif isinstance(step, RunCheck | RunKernels):
                self.shared.failing.append(step)
                self._failure[number] = len(self.shared.failing)
                self.may_fail |= isinstance(step, RunCheck) or step.checks

    def _region(self, step: RunLibrary, call: RegionCall, start: int) -> RegionSchedule:
        """The control flow of ``step``, whose temporaries are from ``start`` on."""

        def room(nbytes: int) -> Place:
            nonlocal start
            start, place = start + align(nbytes), Place(ARENA, start)
            return place

        sizes = [self.bytes[slot] for slot in step.results]
        schedules: dict[str, list[Schedule]] = {name: [] for name in call.regions}
        made = RegionSchedule(call, self.bindings, sizes, schedules, room)
        for name, regions in call.regions.items():
            for region in regions:
                inner = Schedule(region.program, region.storage, self.bindings, self.check, start, self.shared)
                schedules[name].append(inner)
                self.end = max(self.end, inner.end)
                self.may_fail |= inner.may_fail
        self.end = max(self.end, start)
        return made

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
        for part in self.walk(self.own_places()):
            if isinstance(part, HostCall):
                return f"{part.library.name} runs on the host"
            if isinstance(part, Choice):
                return "what runs depends on values: a branch, or a loop with a condition"
            if len(parts) == MOST_PARTS:
                return f"it has more than {MOST_PARTS} launches, steps of loops included"
            parts.append(part)
        return parts

    def own_places(self) -> dict[int, Place]:
        """Where parameters and results are, each having a base."""
        return {slot: Place(base) for slot, base in self.bases.items()}

    @property
    def input_bytes(self) -> list[int]:
        """The bytes of each parameter."""
        return [self.bytes[slot] for slot in self.program.parameters]

    def passes_on(self, output: int, parameter: int) -> bool:
        """Whether the output is the parameter as it was."""
        root = self.storage.root
        return root[self.program.outputs[output]] == root[self.program.parameters[parameter]]

    def walk(self, given: Mapping[int, Place]) -> Walk:
        """What runs, in order; ``given``: where parameters and results are. Whoever asks for more after a :class:`Choice`
        sends its value."""
        places = {**self._places, **given}

        def at(slot: int) -> Place:
            return places[self.storage.root[slot]]

        for number, step in enumerate(self.program.instructions):
            match step:
                case RunKernels():
                    slots, scratch = (*step.operands, *step.results), self.storage.scratch[number]
                    yield from self._kernels(number, step, [*map(at, slots), *[places[place] for place in scratch]])
                case RunCheck():
                    size, location = self.bytes[step.operand], step.location or UNKNOWN
                    yield Launch(self.check, (at(step.operand),), (size,), (1,), self._failure[number], location)
                case RunLibrary() if number in self._regions:
                    yield from self._regions[number].walk([*map(at, step.operands)], [*map(at, step.results)])
                case RunLibrary():
                    wanted = [Array(at(slot), self.shapes[slot], self.dtypes[slot]) for slot in step.operands]
                    made = [Array(at(slot), self.shapes[slot], self.dtypes[slot]) for slot in step.results]
                    yield HostCall(step, tuple(wanted), tuple(made))
                case View():
                    pass
                case _:
                    raise BackendError(f"the cuda backend has no {type(step).__name__}", location=UNKNOWN)

    def into(self, parameters: Sequence[Place], destinations: Sequence[Place]) -> Walk:
        """What runs where the program is a region: from ``parameters`` to outputs at ``destinations``."""
        program, storage = self.program, self.storage
        given = dict(zip(program.parameters, parameters, strict=True))
        for output, place in enumerate(storage.outputs):
            if place is not None:
                given[storage.results[place]] = destinations[output]
        yield from self.walk(given)
        places = {**self._places, **given}
        for output, slot in enumerate(program.outputs):
            source = places[storage.root[slot]]
            if source != destinations[output]:
                yield Move(destinations[output], source, self.bytes[slot])

    def _kernels(self, number: int, step: RunKernels, places: Sequence[Place]) -> Generator[Launch, None, None]:
        slots = (*step.operands, *step.results, *self.storage.scratch[number])
        sizes = tuple([self._sizes[slot] for slot in slots])
        for kernel in step.kernels:
            assert isinstance(kernel, DeviceKernel)
            numbers = self._numbers.get(kernel)
            if numbers is None:
                dims: Sequence[Dim] = (*kernel.sizes, kernel.extent)
                numbers = self._numbers[kernel] = tuple([evaluate_dim(dim, self.bindings) for dim in dims])
            if numbers[-1] > 0:
                yield Launch(kernel, tuple(places), sizes, numbers, self._failure[number], step.location or UNKNOWN)


def _concrete(type_: TensorType, bindings: Bindings) -> tuple[int, ...]:
    shape = tuple([evaluate_dim(size, bindings) for size in type_.shape])
    if any(size < 0 for size in shape):
        raise ShapeError(f"{type_} has a negative size: {shape}")
    return shape
