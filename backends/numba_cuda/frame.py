"""A program on a device with every size known: one allocation for its temporaries, launches with their arguments in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from graphc.errors import CheckError, GraphcError, OutOfBoundsError
from graphc.ir.types import Bindings
from graphc.locations import UNKNOWN, Location
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.frame import Run
from graphc.runtime.layout import Layout
from graphc.runtime.memory import plan_memory
from graphc.runtime.program import Program, RunCheck
from graphc.runtime.storage import Storage

from .arguments import Arguments, Launch, Move, Place
from .device import device
from .kernels import DeviceKernel
from .machine import Flag, Machine, Memory, Wanted
from .parts import Choice, HostCall
from .replay import Replay
from .schedule import GIVEN, STATUS, Schedule

#: A constant → where it is on the device.
Literals = Callable[[np.ndarray], Memory]


class CudaFrame:
    """See the module. ``literals`` says where constants are on the device, which all frames of a program share.

    Runs may overlap: temporaries are given back as soon as a run was asked for, and the next run, which comes after it in the
    stream, may have the same ones.
    """

    def __init__(
        self,
        program: Program,
        storage: Storage,
        bindings: Bindings,
        machine: Machine,
        check: DeviceKernel,
        literals: Literals,
        name: str,
    ) -> None:
        self.program, self.storage, self.machine, self._literals = program, storage, machine, literals
        self.schedule = Schedule(program, storage, bindings, check)
        self.shapes, self.dtypes, self.bytes = self.schedule.shapes, self.schedule.dtypes, self.schedule.bytes
        plan = plan_memory(program, storage, bindings)
        self._planned = (
            f" for {name}, which plans for {plan.peak:,}: {plan.parameters:,} of parameters, {plan.literals:,} of constants, "
            f"{plan.temporaries:,} of temporaries and {plan.results:,} of results"
        )
        flat = self.schedule.flat()
        self._replay: Replay | None = None
        self._why_not = ""
        if isinstance(flat, str):
            self._why_not = flat
        else:
            machine.driver.enter()
            self._replay = Replay(machine, Arguments(machine.driver, machine.geometry, flat, STATUS))
        self._prepared: dict[tuple[DeviceKernel, int], Arguments] = {}
        self._flag: Flag | None = None

    @property
    def reason(self) -> str | None:
        """Why the launches are not kept as a graph; None where they are."""
        return self._why_not if self._replay is None else self._replay.reason

    def runner(self) -> Run:
        return self._run

    def _run(self, inputs: Sequence[Any]) -> list[Any] | None:
        if not all(map(self._fits, self.program.parameters, inputs)):
            return None
        return self.run(inputs, stays=any(type(array) is DeviceBuffer for array in inputs))

    def _fits(self, slot: int, array: Any) -> bool:
        """Whether ``array`` can be the input at ``slot`` as it is."""
        if not isinstance(array, (np.ndarray, DeviceBuffer)) or array.dtype != self.dtypes[slot]:
            return False
        if array.shape != self.shapes[slot]:
            return False
        if isinstance(array, DeviceBuffer):
            return array.is_contiguous
        return array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative

    def run(self, inputs: Sequence[Any], *, stays: bool, location: Location | None = None) -> list[Any]:
        """The outputs for inputs that fit: NumPy arrays, or buffers where they are to stay on the device.

        What fails in kernels is raised here only where outputs are copied to the host, else by the next thing that waits;
        with ``location``, where that is given, instead of the graph's.
        """
        memory, arena = self._given(inputs), self._arena()
        flag = self._flag_of_run(stays, location) if self.schedule.may_fail else None
        self._launch(self._addresses(memory, arena, flag), flag)
        if flag is not None and stays:
            self.machine.watch(flag)
            if self.machine.is_blocking:
                self.machine.synchronize()
        del arena
        return self._left(memory) if stays else self._outputs(inputs, memory, flag)

    def _flag_of_run(self, stays: bool, location: Location | None) -> Flag:
        """A flag for this run; where nobody waits for that, the one of the runs before that nobody has waited for either."""
        if location is not None:
            return self.machine.flag(partial(self._fail_at, location))
        if not stays:
            return self.machine.flag(self._fail)
        if self._flag is None or not self.machine.is_watched(self._flag):
            self._flag = self.machine.flag(self._fail)
        return self._flag

    def _arena(self) -> Memory | None:
        return self.machine.allocate(self.schedule.end, self._planned) if self.schedule.end else None

    def _given(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """The memory of inputs and results."""
        machine, program = self.machine, self.program
        memory: dict[int, Any] = {}
        for slot, array in zip(program.parameters, inputs, strict=True):
            memory[slot] = device(0).contents(array) if type(array) is DeviceBuffer else machine.upload(array, self._planned)
        for slot in self.storage.results:
            memory[slot] = machine.allocate(self.bytes[slot], self._planned)
        return memory

    def _addresses(self, memory: Mapping[int, Any], arena: Memory | None, flag: Flag | None) -> tuple[int, ...]:
        """Of each base of places."""
        first = (0 if arena is None else arena.address, 0 if flag is None else flag.memory.address)
        assert len(first) == GIVEN
        constants = [self._literals(array).address for array in self.schedule.shared.literals]
        return (*first, *[memory[slot].address for slot in self.schedule.bases], *constants)

    def _launch(self, addresses: tuple[int, ...], flag: Flag | None) -> None:
        self.machine.driver.enter()
        if self._replay is not None:
            with self.machine.lock:
                self._replay.run(addresses)
            return
        walk = self.schedule.walk(self.schedule.own_places())
        answer: int | None = None
        while True:
            try:
                part = walk.send(answer)
            except StopIteration:
                return
            answer = None
            match part:
                case Launch():
                    self._launch_one(part, addresses)
                case Move():
                    self.machine.copy(_at(part.target, addresses), _at(part.source, addresses), part.nbytes)
                case HostCall():
                    self._call(part, addresses, flag)
                case Choice():
                    wanted = Wanted(_at(part.selector, addresses), (), part.dtype)
                    (value,) = self.machine.download_all([wanted], [] if flag is None else [flag])
                    answer = int(value)

    def _launch_one(self, part: Launch, addresses: tuple[int, ...]) -> None:
        key = (part.kernel, part.number)
        with self.machine.lock:
            prepared = self._prepared.get(key) or self._prepare(key, part)
            prepared.place((addresses[STATUS], *[_at(place, addresses) for place in part.places]))
            self.machine.run(prepared.part(0), part)

    def _prepare(self, key: tuple[DeviceKernel, int], part: Launch) -> Arguments:
        """The arguments of one launch, with a base for each buffer."""
        places = tuple([Place(base) for base in range(1, len(part.places) + 1)])
        launch = Launch(part.kernel, places, part.sizes, part.numbers, part.number, part.location)
        prepared = self._prepared[key] = Arguments(self.machine.driver, self.machine.geometry, [launch], 0)
        return prepared

    def _call(self, call: HostCall, addresses: tuple[int, ...], flag: Flag | None) -> None:
        library = call.library
        wanted = [Wanted(_at(each.place, addresses), each.shape, each.dtype) for each in call.operands]
        operands = self.machine.download_all(wanted, [] if flag is None else [flag])
        results = [np.empty(each.shape, each.dtype) for each in call.results]
        library.function(operands, results)  # with no lock held: it may be the user's, who may use the device
        self.machine.driver.enter()
        for each, array in zip(call.results, results, strict=True):
            self.machine.staging.upload(_at(each.place, addresses), array)

    def seconds(self, inputs: Sequence[Any], repeats: int) -> list[float]:
        """See :meth:`CudaExecutable.seconds`."""
        memory, arena, flag = self._given(inputs), self._arena(), self.machine.flag(self._fail)
        addresses = self._addresses(memory, arena, flag)
        times: list[float] = []
        for _ in range(repeats + 2):  # the first two compile, and make a graph
            self.machine.synchronize()
            start = perf_counter()
            self._launch(addresses, flag)
            self.machine.synchronize()
            times.append(perf_counter() - start)
        return times[2:]

    def _outputs(self, inputs: Sequence[Any], memory: Mapping[int, Any], flag: Flag | None) -> list[np.ndarray]:
        made: dict[int, int] = {}  # output → which of those that are copied from the device
        wanted: list[Wanted] = []
        for output, slot in enumerate(self.program.outputs):
            root = self.storage.root[slot]
            if root not in self.program.parameters and root not in self.program.literals:
                made[output] = len(wanted)
                wanted.append(Wanted(memory[root].address, self.shapes[slot], self.dtypes[slot]))
        arrays = self.machine.download_all(wanted, [] if flag is None else [flag])
        outputs: list[np.ndarray] = []
        for output, slot in enumerate(self.program.outputs):
            root = self.storage.root[slot]
            if output in made:
                outputs.append(arrays[made[output]])
            elif root in self.program.literals:
                outputs.append(self.program.literals[root].copy().reshape(self.shapes[slot]))
            else:
                outputs.append(inputs[self.program.parameters.index(root)].copy().reshape(self.shapes[slot]))
        return outputs

    def _left(self, memory: Mapping[int, Any]) -> list[DeviceBuffer]:
        """The outputs on the device. What is an input's or a literal's memory, or that of another output, is copied."""
        outputs: list[DeviceBuffer] = []
        given: set[int] = {*self.program.parameters, *self.program.literals}
        for slot in self.program.outputs:
            root = self.storage.root[slot]
            held = memory[root] if root in memory else self._literals(self.program.literals[root])
            if root in given:
                source, held = held, self.machine.allocate(self.bytes[slot], self._planned)
                self.machine.copy(held.address, source.address, self.bytes[slot])
            outputs.append(DeviceBuffer(device(0), held, self.dtypes[slot], Layout.contiguous(self.shapes[slot])))
            given.add(root)
        return outputs

    def _fail_at(self, location: Location, number: int, index: int, axis: int, size: int) -> NoReturn:
        try:
            self._fail(number, index, axis, size)
        except GraphcError as error:
            error.location = location
            raise

    def _fail(self, number: int, index: int, axis: int, size: int) -> NoReturn:
        step = self.schedule.shared.failing[number - 1]
        if isinstance(step, RunCheck):
            raise CheckError(step.message, location=step.location or UNKNOWN)
        raise OutOfBoundsError(
            f"{step.op}: index {index} is out of range for axis {axis}, which has size {size}",
            location=step.location or UNKNOWN,
        )


def _at(place: Place, addresses: tuple[int, ...]) -> int:
    return addresses[place.base] + place.offset
