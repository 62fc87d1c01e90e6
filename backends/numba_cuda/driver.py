"""What the run time asks of a device, as few calls: the protocol, and NVIDIA's driver behind it.

Addresses are integers. All work is in the order of one stream; calls marked *later* return before they are done. A driver
raises :class:`OutOfDeviceMemory` where there is no memory left, and DeviceError for all else that the device refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from graphc.errors import DeviceError
from graphc.locations import UNKNOWN

from .kernels import DeviceKernel
from .occupancy import ARCHITECTURES, Architecture

BLOCKING = "GRAPHC_CUDA_BLOCKING"


class OutOfDeviceMemory(Exception):
    """The driver has no room for an allocation."""


@dataclass(frozen=True, eq=False)
class Call:
    """A launch with its arguments in place. ``words``: the arguments, of 64 bits each; ``parameters``: the address of a table
    with the address of each argument; ``starts``: for each buffer of the kernel its word; ``sizes``: its bytes; ``scalars``:
    the word at which numbers begin."""

    kernel: DeviceKernel
    function: Any
    blocks: int
    words: np.ndarray
    parameters: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    scalars: int


@dataclass(frozen=True)
class DeviceCopy:
    """Bytes from one place of the device to another."""

    target: int
    source: int
    nbytes: int


class Driver(Protocol):
    """One device, in one process."""

    name: str
    #: None for the simulator.
    architecture: Architecture | None
    #: What work is in the order of, as other libraries name it.
    stream: int
    #: Why work cannot be kept as a graph; None where it can.
    without_graphs: str | None

    def enter(self) -> None:
        """Make the device that of this thread."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all bytes of the device."""

    def allocate(self, nbytes: int) -> int:
        """The address of new memory."""

    def free(self, address: int) -> None:
        """Give memory back, after all work that was asked for."""

    def pin(self, nbytes: int) -> int:
        """The address of new memory of the host that the device reads and writes by itself."""

    def unpin(self, address: int) -> None:
        """Give memory of the host back."""

    def copy_in(self, target: int, source: int, nbytes: int) -> None:
        """From pinned memory to the device, later."""

    def copy_out(self, target: int, source: int, nbytes: int) -> None:
        """From the device to pinned memory, later."""

    def copy(self, copied: DeviceCopy) -> None:
        """From the device to the device, later."""

    def clear(self, address: int, nbytes: int) -> None:
        """Set bytes of the device to 0, later."""

    def record(self) -> Any:
        """An event that is done when all that was asked for so far is."""

    def is_done(self, event: Any) -> bool: ...

    def wait(self, event: Any) -> None:
        """Wait until ``event`` is done."""

    def discard(self, event: Any) -> None:
        """Give an event back that is done."""

    def synchronize(self) -> None:
        """Wait until everything is done."""

    def wait_for(self, stream: int) -> None:
        """Wait until all work on another stream of the process is done."""

    def load(self, kernel: DeviceKernel) -> Any:
        """What is launched for ``kernel``; the same for the same code."""

    def launch(self, call: Call) -> None:
        """Run a kernel, later."""

    def make_graph(self, work: Sequence[Call | DeviceCopy]) -> Any:
        """``work`` as one graph, each part after the one before."""

    def update_graph(self, graph: Any, place: int, part: Call | DeviceCopy) -> None:
        """Let the part number ``place`` of a graph have the arguments of ``part`` from the next launch on."""

    def launch_graph(self, graph: Any) -> None:
        """Run a graph, later."""

    def discard_graph(self, graph: Any) -> None:
        """Give a graph back."""


@dataclass(frozen=True)
class _Graph:
    executable: Any
    nodes: tuple[Any, ...]
    definition: Any


class NvidiaDriver:
    """The first GPU, through the driver's API (``cuda.bindings.driver``, or what has its functions) and one stream.

    Raises DeviceError where there is none.
    """

    without_graphs: str | None = None

    def __init__(self, api: Any) -> None:
        self.api = api
        self._ask("cuInit", 0)
        (count,) = self._ask("cuDeviceGetCount")
        if count == 0:
            raise DeviceError("there is an NVIDIA driver, but no GPU", hint="see graphc doctor", location=UNKNOWN)
        (self.handle,) = self._ask("cuDeviceGet", 0)
        (name,) = self._ask("cuDeviceGetName", 256, self.handle)
        self.name = name.rstrip(b"\0").decode(errors="replace")
        attribute = api.CUdevice_attribute
        (major,) = self._ask("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self.handle)
        (minor,) = self._ask("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self.handle)
        self.architecture: Architecture | None = _nearest(major, minor)
        (self.context,) = self._ask("cuDevicePrimaryCtxRetain", self.handle)
        self.enter()
        (self._stream,) = self._ask("cuStreamCreate", 0)
        self.stream = int(self._stream)
        self._event_flags = int(api.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self._events: list[Any] = []  # that are recorded again
        self._functions: dict[int, Any] = {}
        self._kept: list[Any] = []  # modules, and the code whose functions are kept by their identity

    def _ask(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        try:
            error, *results = getattr(self.api, name)(*arguments)
        except RuntimeError as missing:  # what the bindings say of a function that an old driver lacks
            raise DeviceError(f"the NVIDIA driver has no {name}", hint="update the driver", location=UNKNOWN) from missing
        if int(error) != 0:
            self._refuse(name, error)
        return tuple(results)

    def _refuse(self, name: str, error: Any) -> NoReturn:
        if error.name == "CUDA_ERROR_OUT_OF_MEMORY":
            raise OutOfDeviceMemory
        message, hint = f"the NVIDIA driver says {error.name} to {name}", "see graphc doctor"
        if error.name in _FROM_KERNELS:
            message += ", about a kernel that was launched before"
            hint = f"run it again with {BLOCKING}=1, which waits for each kernel and names the one that fails"
        raise DeviceError(message, hint=hint, location=UNKNOWN)

    def enter(self) -> None:
        self._ask("cuCtxSetCurrent", self.context)

    def memory(self) -> tuple[int, int]:
        self.enter()
        free, total = self._ask("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, nbytes: int) -> int:
        self.enter()
        (address,) = self._ask("cuMemAlloc", nbytes)
        return int(address)

    def free(self, address: int) -> None:
        self.enter()
        self._ask("cuMemFree", address)  # which waits for the work that may use it

    def pin(self, nbytes: int) -> int:
        self.enter()
        (address,) = self._ask("cuMemHostAlloc", nbytes, 0)
        return int(address)

    def unpin(self, address: int) -> None:
        self.enter()
        self._ask("cuMemFreeHost", address)

    def copy_in(self, target: int, source: int, nbytes: int) -> None:
        self._ask("cuMemcpyHtoDAsync", target, source, nbytes, self._stream)

    def copy_out(self, target: int, source: int, nbytes: int) -> None:
        self._ask("cuMemcpyDtoHAsync", target, source, nbytes, self._stream)

    def copy(self, copied: DeviceCopy) -> None:
        self._ask("cuMemcpyDtoDAsync", copied.target, copied.source, copied.nbytes, self._stream)

    def clear(self, address: int, nbytes: int) -> None:
        self._ask("cuMemsetD8Async", address, 0, nbytes, self._stream)

    def record(self) -> Any:
        try:
            event = self._events.pop()
        except IndexError:
            (event,) = self._ask("cuEventCreate", self._event_flags)
        self._ask("cuEventRecord", event, self._stream)
        return event

    def is_done(self, event: Any) -> bool:
        error, *_ = self.api.cuEventQuery(event)
        if int(error) != 0 and error.name != "CUDA_ERROR_NOT_READY":
            self._refuse("cuEventQuery", error)
        return int(error) == 0

    def wait(self, event: Any) -> None:
        self._ask("cuEventSynchronize", event)

    def discard(self, event: Any) -> None:
        self._events.append(event)

    def synchronize(self) -> None:
        self.enter()
        self._ask("cuStreamSynchronize", self._stream)

    def wait_for(self, stream: int) -> None:
        self.enter()
        self._ask("cuStreamSynchronize", stream)

    def load(self, kernel: DeviceKernel) -> Any:
        key = id(kernel.code)
        if key not in self._functions:
            (module,) = self._ask("cuModuleLoadData", kernel.code.cubin)
            (self._functions[key],) = self._ask("cuModuleGetFunction", module, kernel.name.encode())
            self._kept += [module, kernel.code]
        return self._functions[key]

    def launch(self, call: Call) -> None:
        threads = call.kernel.source.threads
        self._ask("cuLaunchKernel", call.function, call.blocks, 1, 1, threads, 1, 1, 0, self._stream, call.parameters, 0)

    # Graphs. They are built from the list of launches and not recorded from the stream: so each launch has its node, and no
    # other thread's calls can spoil a recording.

    def make_graph(self, work: Sequence[Call | DeviceCopy]) -> Any:
        (definition,) = self._ask("cuGraphCreate", 0)
        nodes: list[Any] = []
        for part in work:
            before = nodes[-1:]
            if isinstance(part, Call):
                (node,) = self._ask("cuGraphAddKernelNode", definition, before, len(before), self._kernel_node(part))
            else:
                arguments = (definition, before, len(before), self._copy_node(part), self.context)
                (node,) = self._ask("cuGraphAddMemcpyNode", *arguments)
            nodes.append(node)
        (executable,) = self._ask("cuGraphInstantiate", definition, 0)
        return _Graph(executable, tuple(nodes), definition)

    def update_graph(self, graph: Any, place: int, part: Call | DeviceCopy) -> None:
        if isinstance(part, Call):
            self._ask("cuGraphExecKernelNodeSetParams", graph.executable, graph.nodes[place], self._kernel_node(part))
        else:
            arguments = (graph.executable, graph.nodes[place], self._copy_node(part), self.context)
            self._ask("cuGraphExecMemcpyNodeSetParams", *arguments)

    def launch_graph(self, graph: Any) -> None:
        self._ask("cuGraphLaunch", graph.executable, self._stream)

    def discard_graph(self, graph: Any) -> None:
        self.enter()
        self._ask("cuGraphExecDestroy", graph.executable)
        self._ask("cuGraphDestroy", graph.definition)

    def _kernel_node(self, call: Call) -> Any:
        node = self.api.CUDA_KERNEL_NODE_PARAMS()
        node.func = call.function
        node.gridDimX, node.gridDimY, node.gridDimZ = call.blocks, 1, 1
        node.blockDimX, node.blockDimY, node.blockDimZ = call.kernel.source.threads, 1, 1
        node.sharedMemBytes = 0
        node.kernelParams = call.parameters
        node.extra = 0
        return node

    def _copy_node(self, copied: DeviceCopy) -> Any:
        node, kind = self.api.CUDA_MEMCPY3D(), self.api.CUmemorytype.CU_MEMORYTYPE_DEVICE
        node.srcMemoryType = node.dstMemoryType = kind
        node.srcDevice, node.dstDevice = copied.source, copied.target
        node.WidthInBytes, node.Height, node.Depth = copied.nbytes, 1, 1
        return node


#: What the driver says of work that it was given before, and says to whichever call comes next.
_FROM_KERNELS = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        "ILLEGAL_ADDRESS", "MISALIGNED_ADDRESS", "ILLEGAL_INSTRUCTION", "INVALID_ADDRESS_SPACE", "INVALID_PC", "ASSERT",
        "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR", "ECC_UNCORRECTABLE",
    )
)  # fmt: skip


def _nearest(major: int, minor: int) -> Architecture:
    """The newest known architecture whose code a device of the capability runs: of its own generation, not after it."""
    fitting = [each for each in ARCHITECTURES.values() if each.capability[0] == major and each.capability[1] <= minor]
    if not fitting:
        raise DeviceError(
            f"the GPU has compute capability {major}.{minor}, for which graphc has no code",
            hint=f"known: {', '.join(ARCHITECTURES)}",
            location=UNKNOWN,
        )
    return max(fitting, key=lambda each: each.capability)
