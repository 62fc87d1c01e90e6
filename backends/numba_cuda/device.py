"""The GPU as a device that holds arrays, over the machine that runs kernels; in the simulator, the host's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import DeviceError
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.layout import Layout

from .machine import Machine, present_machine
from .strided_copy import copy_kernel, copy_numbers


class MemoryPart:
    """Memory within other memory, or somebody else's; ``owner`` is what keeps it."""

    __slots__ = ("address", "nbytes", "owner")

    def __init__(self, owner: Any, address: int, nbytes: int) -> None:
        self.owner, self.address, self.nbytes = owner, address, nbytes


class CudaDevice:
    """See :class:`graphc.runtime.devices.Device`."""

    target = "cuda"

    def __init__(self, index: int, machine: Machine) -> None:
        self.name = f"cuda:{index}"
        self.machine = machine

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceBuffer:
        layout, dtype = Layout.contiguous(shape), np.dtype(dtype)
        return DeviceBuffer(self, self.machine.allocate(layout.size * dtype.itemsize), dtype, layout)

    def upload(self, array: np.ndarray) -> DeviceBuffer:
        array = np.require(array, requirements=["C", "A"])
        return DeviceBuffer(self, self.machine.upload(array), array.dtype, Layout.contiguous(array.shape))

    def download(self, buffer: DeviceBuffer) -> np.ndarray:
        return self.machine.download(self.contents(buffer), buffer.shape, buffer.dtype)

    def copy(self, source: DeviceBuffer, target: DeviceBuffer) -> None:
        if not source.size:
            return
        ndim, numbers = copy_numbers(source.layout, target.layout)
        kernel = copy_kernel(source.dtype.itemsize, ndim, self.machine.geometry, self.machine.architecture)
        self.machine.launch(kernel, [source.memory, target.memory], numbers, None)

    def contents(self, buffer: DeviceBuffer) -> Any:
        """The machine's handle for the elements of a contiguous ``buffer``, which is on this device."""
        begin, nbytes = buffer.layout.offset * buffer.dtype.itemsize, buffer.nbytes
        memory = buffer.memory
        if begin == 0 and memory.nbytes >= nbytes:
            return memory
        return MemoryPart(memory, memory.address + begin, nbytes)

    def wrap(self, address: int, nbytes: int, owner: Any) -> Any:
        return MemoryPart(owner, address, nbytes)

    def address(self, memory: Any) -> int:
        return int(memory.address)

    @property
    def stream(self) -> int:
        return self.machine.stream

    def wait_for(self, stream: int) -> None:
        self.machine.wait_for(stream)

    def synchronize(self) -> None:
        self.machine.synchronize()

    @property
    def hardware(self) -> str:
        return self.machine.hardware

    @property
    def capability(self) -> tuple[int, int]:
        architecture = self.machine.architecture
        return (0, 0) if architecture is None else architecture.capability

    def memory_stats(self) -> dict[str, int]:
        found = vars(self.machine.statistics())
        in_bytes = ("allocated", "reserved", "peak_allocated", "peak_reserved")
        return {f"{name}_bytes" if name in in_bytes else name: value for name, value in found.items()}

    def reset_peak_memory_stats(self) -> None:
        self.machine.reset_peaks()

    def empty_cache(self) -> None:
        self.machine.empty_cache()


_devices: dict[int, CudaDevice] = {}


def device(index: int) -> CudaDevice:
    """The GPU ``index``, always the same object. Raises DeviceError where there is none: kernels run on the first."""
    found = _devices.get(index)
    if found is None:
        machine = present_machine()
        if index:
            raise DeviceError(f"graphc uses the first GPU only, not cuda:{index}", hint="choose it by CUDA_VISIBLE_DEVICES")
        found = _devices.setdefault(index, CudaDevice(index, machine))
    return found


def device_count() -> int:
    """1 where kernels can be run, else 0."""
    try:
        present_machine()
    except DeviceError:
        return 0
    return 1


