"""A compiled graph on a device: memory for every slot, kernels launched in order, and what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from graphc.errors import CheckError, DeviceError, DTypeError, ShapeError
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Graph
from graphc.ir.operands import operands_of_node
from graphc.ir.types import Bindings, TensorType
from graphc.locations import UNKNOWN
from graphc.ops.indexing import out_of_bounds
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.executable import Executable, Stages
from graphc.runtime.frame import AnyFrame, Run
from graphc.runtime.layout import Layout
from graphc.runtime.program import Permissions, Program, RunCheck, RunKernels, RunLibrary, View
from graphc.runtime.storage import Storage

from .device import device
from .kernels import DeviceKernel
from .machine import Machine, present_machine
from .occupancy import Architecture

#: What ``status`` has: which instruction failed (counted from 1), the index, its axis, the size of that.
STATUS_WORDS = 4


class CudaExecutable(Executable):
    """See :class:`Executable`. Inputs may be NumPy arrays or buffers of the device; outputs are buffers where an input is one,
    else NumPy arrays. What lies between stays on the device.

    Compiled for another architecture than the present GPU's, it has stages to look at and raises DeviceError when called.
    """

    def __init__(self, graph: Graph, program: Program, architecture: Architecture | None, check: DeviceKernel) -> None:
        super().__init__(graph, program)
        self.architecture = architecture
        self._check_kernel = check

    def stages(self) -> Mapping[str, str]:
        """Stage → text: "kernels" (the kernel IR), "source", "ptx", "sass" and "resources"; each is made when it is looked at.
        The simulator has the first two."""
        makers = dict(self.program.texts)
        for stage in ("source",) if self.architecture is None else ("source", "ptx", "sass", "resources"):
            makers.setdefault(stage, partial(self._kernel_texts, stage))
        return Stages(makers)

    def permitted(self, permissions: Permissions) -> Executable:
        """This executable: the device's memory is its own, so nothing of a caller's is written to."""
        return self

    def on_device(self, *arrays: Any) -> list[DeviceBuffer]:
        """A call whose outputs stay on the device, whatever the inputs are."""
        inputs = self._check(arrays)
        frame = self._frame(inputs, tuple([array.shape for array in inputs]))
        assert isinstance(frame, CudaFrame)
        return frame.run(inputs, stays=True)

    def _checked(self, position: int, given: Any) -> Any:
        if type(given) is not DeviceBuffer:
            return super()._checked(position, given)
        if given.dtype != self._types[position].dtype.numpy:
            raise DTypeError(f"{self._names[position]} has dtype {given.dtype}, but {self._types[position]} was declared")
        return given.contiguous()

    def _make_frame(self, bindings: Bindings) -> AnyFrame:
        machine = present_machine()
        if machine.architecture is not self.architecture:
            made = "the simulator" if self.architecture is None else self.architecture.name
            here = "the simulator" if machine.architecture is None else machine.architecture.name
            raise DeviceError(
                f"{self.graph.name} was compiled for {made}, and this is {here}", hint="compile it for the target cuda"
            )
        return CudaFrame(self.program, self._storage, bindings, machine, self._check_kernel)

    def seconds(self, *arrays: Any, repeats: int = 20) -> list[float]:
        """How long the launches of one run take on ``arrays``, ``repeats`` times after a first one, with inputs in place on the
        device: for benchmarks."""
        inputs = self._check(arrays)
        frame = self._frame(inputs, tuple([array.shape for array in inputs]))
        assert isinstance(frame, CudaFrame)
        return frame.seconds(inputs, repeats)


@dataclass(frozen=True)
class Launch:
    """A kernel with the places of its buffers and its numbers: sizes, extent, which instruction it is."""

    kernel: DeviceKernel
    places: tuple[int, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class HostCall:
    """A function on arrays in the host's memory."""

    library: RunLibrary


class CudaFrame:
    """``program`` with every size known: a list of launches, and the memory that they need."""

    def __init__(self, program: Program, storage: Storage, bindings: Bindings, machine: Machine, check: DeviceKernel) -> None:
        self.program, self.storage, self.machine, self.check = program, storage, machine, check
        self.shapes = [_concrete(type_, bindings) for type_ in program.slots]
        self.dtypes: list[np.dtype[Any]] = [type_.dtype.numpy for type_ in program.slots]
        self.bytes = [math.prod(s) * d.itemsize for s, d in zip(self.shapes, self.dtypes, strict=True)]
        for step in program.instructions:
            if isinstance(step, View) and math.prod(self.shapes[step.operand]) != math.prod(self.shapes[step.result]):
                raise ShapeError(
                    f"reshape: {self.shapes[step.operand]} has another number of elements than {self.shapes[step.result]}",
                    location=step.location or UNKNOWN,
                operands=operands_of_node(step.node),
                    cause=ShapeError.RESHAPE,
                )
        self.first = [
            (place.place, math.prod(_concrete(place.type, bindings)) * place.type.dtype.numpy.itemsize, place.first)
            for place in storage.temporaries
        ]
        self.literals: dict[int, Any] = {}
        self._may_fail = any(isinstance(s, RunCheck) or (isinstance(s, RunKernels) and s.checks) for s in program.instructions)
        self.tape = self._make_tape(bindings)

    def _make_tape(self, bindings: Bindings) -> list[list[Launch | HostCall]]:
        """What each instruction does."""
        tape: list[list[Launch | HostCall]] = []
        for number, step in enumerate(self.program.instructions):
            done: list[Launch | HostCall] = []
            if isinstance(step, RunLibrary):
                done.append(HostCall(step))
            elif isinstance(step, RunCheck):
                done.append(Launch(self.check, (self.storage.root[step.operand],), (1, number + 1)))
            elif isinstance(step, RunKernels):
                places = [self.storage.root[slot] for slot in (*step.operands, *step.results)]
                places += self.storage.scratch[number]
                for kernel in step.kernels:
                    assert isinstance(kernel, DeviceKernel)
                    extent = evaluate_dim(kernel.extent, bindings)
                    if extent > 0:
                        sizes = [evaluate_dim(size, bindings) for size in kernel.sizes]
                        done.append(Launch(kernel, tuple(places), (*sizes, extent, number + 1)))
            tape.append(done)
        return tape

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

    def run(self, inputs: Sequence[Any], *, stays: bool) -> list[Any]:
        """The outputs for inputs that fit: NumPy arrays, or buffers where they are to stay on the device."""
        storage, machine = self.storage, self.machine
        memory = self._given(inputs)
        status = machine.upload(np.zeros(STATUS_WORDS, np.int64)) if self._may_fail else None
        for number, done in enumerate(self.tape):
            for place, nbytes, first in self.first:
                if first == number:
                    memory[place] = machine.allocate(nbytes)
            for each in done:
                if isinstance(each, Launch):
                    machine.launch(each.kernel, [memory[place] for place in each.places], each.numbers, status)
                else:
                    self._call(each.library, memory)
            for temporary in storage.temporaries:
                if temporary.last == number:
                    del memory[temporary.place]
        if status is not None:
            words = machine.download(status, (STATUS_WORDS,), np.int64)
            if words[0]:
                self._raise(*(int(word) for word in words))
        return self._left(inputs, memory) if stays else self._outputs(inputs, memory)

    def _given(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """The memory of literals, inputs and results."""
        machine, program = self.machine, self.program
        if not self.literals:
            self.literals = {slot: machine.upload(array) for slot, array in program.literals.items()}
        memory: dict[int, Any] = dict(self.literals)
        memory |= {slot: self._input(array) for slot, array in zip(program.parameters, inputs, strict=True)}
        return memory | {slot: machine.allocate(self.bytes[slot]) for slot in self.storage.results}

    def _input(self, array: Any) -> Any:
        return device(0).contents(array) if type(array) is DeviceBuffer else self.machine.upload(array)

    def seconds(self, inputs: Sequence[Any], repeats: int) -> list[float]:
        """See :meth:`CudaExecutable.seconds`."""
        memory = self._given(inputs)
        memory |= {place: self.machine.allocate(nbytes) for place, nbytes, _ in self.first}
        status = self.machine.upload(np.zeros(STATUS_WORDS, np.int64))
        launches = [each for done in self.tape for each in done if isinstance(each, Launch)]
        times: list[float] = []
        for _ in range(repeats + 1):
            self.machine.synchronize()
            start = perf_counter()
            for each in launches:
                self.machine.launch(each.kernel, [memory[place] for place in each.places], each.numbers, status)
            self.machine.synchronize()
            times.append(perf_counter() - start)
        return times[1:]

    def _array(self, slot: int, memory: Mapping[int, Any]) -> np.ndarray:
        return self.machine.download(memory[self.storage.root[slot]], self.shapes[slot], self.dtypes[slot])

    def _call(self, library: RunLibrary, memory: dict[int, Any]) -> None:
        results = [np.empty(self.shapes[slot], self.dtypes[slot]) for slot in library.results]
        library.function([self._array(slot, memory) for slot in library.operands], results)
        for slot, array in zip(library.results, results, strict=True):
            memory[self.storage.root[slot]] = self.machine.upload(array)

    def _outputs(self, inputs: Sequence[Any], memory: Mapping[int, Any]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = []
        for slot in self.program.outputs:
            root = self.storage.root[slot]
            if root in self.program.parameters:
                outputs.append(inputs[self.program.parameters.index(root)].copy().reshape(self.shapes[slot]))
            elif root in self.program.literals:
                outputs.append(self.program.literals[root].copy().reshape(self.shapes[slot]))
            else:
                outputs.append(self._array(slot, memory))
        return outputs

    def _left(self, inputs: Sequence[Any], memory: Mapping[int, Any]) -> list[DeviceBuffer]:
        """The outputs on the device. What is an input's or a literal's memory, or that of another output, is copied."""
        outputs: list[DeviceBuffer] = []
        given: set[int] = {*self.program.parameters, *self.program.literals}
        for slot in self.program.outputs:
            root = self.storage.root[slot]
            made = DeviceBuffer(device(0), memory[root], self.dtypes[slot], Layout.contiguous(self.shapes[slot]))
            outputs.append(made.copy() if root in given else made)
            given.add(root)
        return outputs

    def _raise(self, number: int, index: int, axis: int, size: int) -> NoReturn:
        step = self.program.instructions[number - 1]
        if isinstance(step, RunCheck):
            raise CheckError(step.message, location=step.location or UNKNOWN, operands=operands_of_node(step.node))
        assert isinstance(step, RunKernels)
        raise out_of_bounds(step.op, index, axis, size, step.location or UNKNOWN, operands_of_node(step.node))


def _concrete(type_: TensorType, bindings: Bindings) -> tuple[int, ...]:
    shape = tuple([evaluate_dim(size, bindings) for size in type_.shape])
    if any(size < 0 for size in shape):
        raise ShapeError(f"{type_} has a negative size: {shape}", cause=ShapeError.SIZE)
    return shape
