"""A compiled graph on a device: what it was compiled for, and its frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from graphc.errors import DeviceError, DTypeError
from graphc.ir.graph import Graph
from graphc.ir.types import Bindings
from graphc.locations import Location
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.executable import Executable, Stages
from graphc.runtime.frame import AnyFrame
from graphc.runtime.program import AnyKernel, Permissions, Program

from .frame import CudaFrame
from .kernels import DeviceKernel
from .machine import Memory, present_machine
from .occupancy import Architecture
from .regions import kernels_of


class CudaExecutable(Executable):
    """See :class:`Executable`. Inputs may be NumPy arrays or buffers of the device; outputs are buffers where an input is one,
    else NumPy arrays. What lies between stays on the device.

    Compiled for another architecture than the present GPU's, it has stages to look at and raises DeviceError when called.
    """

    def __init__(self, graph: Graph, program: Program, architecture: Architecture | None, check: DeviceKernel) -> None:
        super().__init__(graph, program)
        self.architecture = architecture
        self._check_kernel = check
        self._literals: dict[int, Memory] = {}  # by the identity of the array, which the program keeps

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

    def on_device(self, *arrays: Any, location: Location | None = None) -> list[DeviceBuffer]:
        """A call whose outputs stay on the device, whatever the inputs are.

        What fails in it is raised by whatever waits for it, with ``location``, by default the line that the graph has.
        """
        inputs = self._check(arrays)
        frame = self._frame(inputs, tuple([array.shape for array in inputs]))
        assert isinstance(frame, CudaFrame)
        return frame.run(inputs, stays=True, location=location)

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
        return CudaFrame(
            self.program, self._storage, bindings, machine, self._check_kernel, self._literal, self.graph.name
        )

    def _literal(self, array: np.ndarray) -> Memory:
        """A constant of the program on the device, to which it is copied once."""
        memory = self._literals.get(id(array))
        if memory is None:
            memory = self._literals[id(array)] = present_machine().upload(array)
        return memory

    def kernels(self) -> list[AnyKernel]:
        """The kernels, those of branches and loops included."""
        return kernels_of(self.program)

    @property
    def without_graph(self) -> str | None:
        """Why the launches of the latest call's sizes are not kept as one CUDA graph; None where they are."""
        if not isinstance(self._latest, CudaFrame):
            return "it has not run yet"
        return self._latest.reason

    def seconds(self, *arrays: Any, repeats: int = 20) -> list[float]:
        """How long the launches of one run take on ``arrays``, ``repeats`` times after a first one, with inputs in place on the
        device: for benchmarks."""
        inputs = self._check(arrays)
        frame = self._frame(inputs, tuple([array.shape for array in inputs]))
        assert isinstance(frame, CudaFrame)
        return frame.seconds(inputs, repeats)
