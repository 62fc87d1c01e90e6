"""A driver for tests: the functions of ``cuda.bindings.driver`` over this process's memory.

It does what a GPU may do at worst: nothing that is asked for *later* happens until somebody waits for it. So an array, pinned
memory or a buffer that is used again too early shows as wrong contents. Kernels are run by ``run``, if that is given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from graphc.backends.numba_cuda.driver import Call, NvidiaDriver
from graphc.backends.numba_cuda.kernels import DeviceKernel

Words = list[int]


@dataclass(frozen=True)
class Error:
    """A result code."""

    name: str
    number: int

    def __int__(self) -> int:
        return self.number


OK = Error("CUDA_SUCCESS", 0)
NOT_READY = Error("CUDA_ERROR_NOT_READY", 600)
OUT_OF_MEMORY = Error("CUDA_ERROR_OUT_OF_MEMORY", 2)


@dataclass
class Launched:
    """A kernel with copies of its arguments."""

    kernel: DeviceKernel
    blocks: int
    threads: int
    words: Words


@dataclass
class Copied:
    target: int
    source: int
    nbytes: int


@dataclass
class FakeGraph:
    nodes: list[Launched | Copied] = field(default_factory=list)
    is_destroyed: bool = False


class FakeApi:
    """See the module. ``log``: the names of the functions called, in order; ``launched``: kernels, as they are done."""

    def __init__(
        self,
        devices: int = 1,
        capability: tuple[int, int] = (9, 0),
        total: int = 1 << 28,
        run: Callable[[Launched], None] | None = None,
    ) -> None:
        self.devices, self.capability, self.total, self.run = devices, capability, total, run
        self.memory: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.done = 0  # of the queue, ever
        self.asked = 0
        self.log: list[str] = []
        self.launched: list[Launched] = []
        self.graphs: list[FakeGraph] = []
        self.failing: dict[str, Error] = {}
        self.CUdevice_attribute = SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
        )
        self.CUevent_flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING=2)
        self.CUmemorytype = SimpleNamespace(CU_MEMORYTYPE_DEVICE="device")
        self.CUDA_KERNEL_NODE_PARAMS = SimpleNamespace
        self.CUDA_MEMCPY3D = SimpleNamespace

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        does = getattr(self, f"_{name[2:]}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.log.append(name)
            if name in self.failing:
                return (self.failing[name], None)
            result = does(*arguments)
            return result if isinstance(result, tuple) else (OK,) if result is None else (OK, result)

        return call

    def later(self, what: Callable[[], None]) -> None:
        self.queue.append(what)
        self.asked += 1

    def go_on(self, until: int | None = None) -> None:
        """Do what was asked for, up to the part number ``until``."""
        while self.queue and (until is None or self.done < until):
            self.queue.pop(0)()
            self.done += 1

    @property
    def used(self) -> int:
        return sum(len(block) for block in self.memory.values())

    # Devices

    def _Init(self, flags: int) -> None: ...

    def _DeviceGetCount(self) -> int:
        return self.devices

    def _DeviceGet(self, ordinal: int) -> int:
        return ordinal

    def _DeviceGetName(self, length: int, device: int) -> bytes:
        return b"a GPU made for tests\0\0"

    def _DeviceGetAttribute(self, attribute: str, device: int) -> int:
        return self.capability[attribute == "minor"]

    def _DevicePrimaryCtxRetain(self, device: int) -> str:
        return "context"

    def _CtxSetCurrent(self, context: str) -> None: ...

    def _StreamCreate(self, flags: int) -> int:
        return 77

    def _StreamSynchronize(self, stream: int) -> None:
        self.go_on()

    # Memory

    def _MemGetInfo(self) -> tuple[Error, int, int]:
        return OK, self.total - self.used, self.total

    def _MemAlloc(self, nbytes: int) -> Any:
        if self.used + nbytes > self.total:
            return (OUT_OF_MEMORY, None)
        block = np.full(nbytes + 256, 0x7B, np.uint8)  # nobody may rely on zeros
        address = int(block.ctypes.data) + -int(block.ctypes.data) % 256
        self.memory[address] = block
        return address

    def _MemFree(self, address: int) -> None:
        self.go_on()
        del self.memory[address]

    def _MemHostAlloc(self, nbytes: int, flags: int) -> int:
        block = ctypes.create_string_buffer(nbytes)
        self.pinned[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _MemFreeHost(self, address: int) -> None:
        del self.pinned[address]

    def _MemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        assert any(at <= source and source + nbytes <= at + len(block) for at, block in self.pinned.items()), "not pinned"
        self.later(lambda: ctypes.memmove(target, source, nbytes))

    def _MemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        assert any(at <= target and target + nbytes <= at + len(block) for at, block in self.pinned.items()), "not pinned"
        self.later(lambda: ctypes.memmove(target, source, nbytes))

    def _MemcpyDtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self.later(lambda: ctypes.memmove(target, source, nbytes))

    def _MemsetD8Async(self, address: int, value: int, nbytes: int, stream: int) -> None:
        self.later(lambda: ctypes.memset(address, value, nbytes))

    # Events

    def _EventCreate(self, flags: int) -> SimpleNamespace:
        return SimpleNamespace(at=None)

    def _EventRecord(self, event: SimpleNamespace, stream: int) -> None:
        event.at = self.asked

    def _EventQuery(self, event: SimpleNamespace) -> tuple[Error]:
        return (OK,) if self.done >= event.at else (NOT_READY,)

    def _EventSynchronize(self, event: SimpleNamespace) -> None:
        self.go_on(event.at)

    # Kernels

    def _LaunchKernel(self, kernel: DeviceKernel, blocks: int, *rest: Any) -> None:
        threads, parameters = rest[2], rest[7]
        launched = Launched(kernel, blocks, threads, words_of(kernel, parameters))
        self.later(lambda: self.execute(launched))

    def execute(self, launched: Launched) -> None:
        self.launched.append(launched)
        if self.run is not None:
            self.run(launched)

    # Graphs

    def _GraphCreate(self, flags: int) -> FakeGraph:
        self.graphs.append(FakeGraph())
        return self.graphs[-1]

    def _GraphAddKernelNode(self, graph: FakeGraph, before: list[int], count: int, node: Any) -> int:
        return self._add(graph, before, count, self._launched(node))

    def _GraphAddMemcpyNode(self, graph: FakeGraph, before: list[int], count: int, node: Any, context: str) -> int:
        return self._add(graph, before, count, Copied(node.dstDevice, node.srcDevice, node.WidthInBytes))

    def _add(self, graph: FakeGraph, before: list[int], count: int, part: Launched | Copied) -> int:
        number = len(graph.nodes)
        assert (before, count) == (([number - 1], 1) if number else ([], 0)), "each part comes after the one before"
        graph.nodes.append(part)
        return number

    def _launched(self, node: Any) -> Launched:
        assert (node.gridDimY, node.gridDimZ, node.blockDimY, node.blockDimZ, node.extra) == (1, 1, 1, 1, 0)
        return Launched(node.func, node.gridDimX, node.blockDimX, words_of(node.func, node.kernelParams))

    def _GraphInstantiate(self, graph: FakeGraph, flags: int) -> FakeGraph:
        return graph

    def _GraphExecKernelNodeSetParams(self, graph: FakeGraph, node: int, new: Any) -> None:
        graph.nodes[node] = self._launched(new)

    def _GraphExecMemcpyNodeSetParams(self, graph: FakeGraph, node: int, new: Any, context: str) -> None:
        graph.nodes[node] = Copied(new.dstDevice, new.srcDevice, new.WidthInBytes)

    def _GraphLaunch(self, graph: FakeGraph, stream: int) -> None:
        assert not graph.is_destroyed
        for part in list(graph.nodes):  # as they are now: later updates are for later launches
            if isinstance(part, Launched):
                self.later(lambda part=part: self.execute(part))  # type: ignore[misc]
            else:
                self._MemcpyDtoDAsync(part.target, part.source, part.nbytes, 77)

    def _GraphExecDestroy(self, graph: FakeGraph) -> None:
        graph.is_destroyed = True

    def _GraphDestroy(self, graph: FakeGraph) -> None: ...


def words_of(kernel: DeviceKernel, parameters: int) -> Words:
    """The arguments that a table of addresses points to."""
    source = kernel.source
    count = sum(7 if p.is_array else 1 for p in source.parameters) + len(source.sizes) + 1 + (8 if source.checks else 0)
    table = (ctypes.c_void_p * count).from_address(parameters)
    return [ctypes.c_int64.from_address(int(address or 0)).value for address in table]


class FakeDriver(NvidiaDriver):
    """NVIDIA's driver over a :class:`FakeApi`; a kernel stands for itself, so nothing is compiled."""

    def __init__(self, api: FakeApi | None = None) -> None:
        self.fake = FakeApi() if api is None else api
        super().__init__(self.fake)

    def load(self, kernel: DeviceKernel) -> Any:
        return kernel


def call_of(launched: Launched) -> Call:
    """A launch as the simulator's driver takes it."""
    source = launched.kernel.source
    starts: list[int] = []
    word = 0
    for parameter in source.parameters:
        starts.append(word)
        word += 7 if parameter.is_array else 1
    words = np.array(launched.words, np.int64)
    sizes = tuple([1 << 20] * len(starts))
    return Call(launched.kernel, launched.kernel.function, launched.blocks, words, 0, tuple(starts), sizes, word)
