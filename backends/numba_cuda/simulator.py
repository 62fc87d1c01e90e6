"""numba-cuda's simulator as a device: its memory is that of this process, and everything is done at once."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import DeviceError
from graphc.locations import UNKNOWN

from .adapter import simulate
from .driver import Call, DeviceCopy, OutOfDeviceMemory
from .kernels import DeviceKernel
from .memory import ALIGNMENT
from .occupancy import Architecture
from .source import Parameter


class SimulatedDriver:
    """See :class:`graphc.backends.numba_cuda.driver.Driver`. New memory has any contents, as on a GPU."""

    name = "numba-cuda's simulator"
    architecture: Architecture | None = None
    stream = 1  # the legacy default stream, in the words of __cuda_array_interface__
    without_graphs: str | None = "the simulator has no graphs"

    def __init__(self) -> None:
        self._memory: dict[int, np.ndarray] = {}

    def enter(self) -> None:
        pass

    def memory(self) -> tuple[int, int]:
        used = sum(array.nbytes for array in self._memory.values())
        return 0, used

    def allocate(self, nbytes: int) -> int:
        try:
            array = np.empty(nbytes + ALIGNMENT, np.uint8)
        except (MemoryError, ValueError) as error:  # the latter for more than there could be
            raise OutOfDeviceMemory from error
        address = int(array.ctypes.data) + -int(array.ctypes.data) % ALIGNMENT
        self._memory[address] = array
        return address

    def free(self, address: int) -> None:
        del self._memory[address]

    pin, unpin = allocate, free

    def copy_in(self, target: int, source: int, nbytes: int) -> None:
        ctypes.memmove(target, source, nbytes)

    copy_out = copy_in

    def copy(self, copied: DeviceCopy) -> None:
        ctypes.memmove(copied.target, copied.source, copied.nbytes)

    def clear(self, address: int, nbytes: int) -> None:
        ctypes.memset(address, 0, nbytes)

    def record(self) -> None:
        return None

    def is_done(self, event: None) -> bool:
        return True

    def wait(self, event: None) -> None:
        pass

    def discard(self, event: None) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def wait_for(self, stream: int) -> None:
        pass

    def load(self, kernel: DeviceKernel) -> Any:
        return kernel.function

    def launch(self, call: Call) -> None:
        source = call.kernel.source
        arguments: list[Any] = []
        for parameter, start, size in zip(source.parameters, call.starts, call.sizes, strict=True):
            address = int(call.words[start + (4 if parameter.is_array else 0)])
            arguments.append(_typed(address, size, parameter))
        scalars = call.words[call.scalars : call.scalars + len(source.sizes) + 1]
        arguments += [int(word) for word in scalars]
        if source.checks:
            status = call.scalars + len(scalars)
            arguments += [_array(int(call.words[status + 4]), 4 * 8, "int64"), int(call.words[-1])]
        simulate(call.function, call.blocks, source.threads, arguments)

    def make_graph(self, work: Sequence[Call | DeviceCopy]) -> Any:
        raise DeviceError(str(self.without_graphs), location=UNKNOWN)

    def update_graph(self, graph: Any, place: int, part: Call | DeviceCopy) -> None:
        raise DeviceError(str(self.without_graphs), location=UNKNOWN)

    launch_graph = discard_graph = make_graph


def _typed(address: int, nbytes: int, parameter: Parameter) -> np.ndarray:
    kind = {"i": "int", "u": "uint", "f": "float"}[parameter.short[0]]
    return _array(address, nbytes, f"{kind}{parameter.short[1:]}")


def _array(address: int, nbytes: int, dtype: str) -> np.ndarray:
    memory: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    return np.ndarray(nbytes // np.dtype(dtype).itemsize, dtype, memory)
