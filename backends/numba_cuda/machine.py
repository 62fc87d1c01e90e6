"""What runs kernels: a device through NVIDIA's driver, or the simulator in the interpreter."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Protocol

import numpy as np

from graphc.errors import DeviceError
from graphc.locations import UNKNOWN

from .adapter import IS_SIMULATOR, simulate
from .geometry import DEVICE, SIMULATOR, Geometry
from .kernels import DeviceKernel
from .occupancy import ARCHITECTURES, Architecture
from .source import Parameter

#: Buffers begin at multiples of this, and have room for it.
ALIGNMENT: Final = 256


class Machine(Protocol):
    """Memory and launches. All work is in order; :meth:`download` waits for what came before."""

    geometry: Geometry
    architecture: Architecture | None

    def allocate(self, nbytes: int) -> Any:
        """A buffer, which is given back when nobody refers to it any more."""

    def upload(self, array: np.ndarray) -> Any:
        """A buffer with the contents of ``array``."""

    def download(self, buffer: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A new array with the contents of ``buffer``."""

    def synchronize(self) -> None:
        """Wait until everything is done."""

    def wait_for(self, stream: int) -> None:
        """Wait for another library's stream."""

    def launch(self, kernel: DeviceKernel, buffers: Sequence[Any], numbers: Sequence[int], status: Any) -> None:
        """Run ``kernel``: ``numbers`` are its sizes, its extent and, where it checks, the number of its instruction."""


def blocks_for(kernel: DeviceKernel, extent: int, geometry: Geometry) -> int:
    """How many blocks to launch for ``extent`` points."""
    return max(1, min(geometry.blocks, -(-extent // kernel.source.per_block)))


class Simulator:
    """numba-cuda's simulator: kernels run in the interpreter, on arrays in the host's memory."""

    geometry = SIMULATOR
    architecture: Architecture | None = None

    def allocate(self, nbytes: int) -> np.ndarray:
        return np.zeros(max(1, -(-nbytes // ALIGNMENT)) * ALIGNMENT, np.uint8)

    def upload(self, array: np.ndarray) -> np.ndarray:
        buffer = self.allocate(array.nbytes)
        buffer[: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return buffer

    def download(self, buffer: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        array: np.ndarray = buffer[:size].copy().view(dtype).reshape(shape)
        return array

    def synchronize(self) -> None:
        pass  # nothing runs beside the caller

    def wait_for(self, stream: int) -> None:
        pass

    def launch(self, kernel: DeviceKernel, buffers: Sequence[Any], numbers: Sequence[int], status: Any) -> None:
        source = kernel.source
        arguments: list[Any] = [self._typed(buffers[p.slot], p) for p in source.parameters]
        arguments += numbers[: len(source.sizes) + 1]
        if source.checks:
            arguments += [status.view(np.int64), numbers[-1]]
        blocks = blocks_for(kernel, numbers[len(source.sizes)], self.geometry)
        simulate(kernel.function, blocks, source.threads, arguments)

    def _typed(self, buffer: np.ndarray, parameter: Parameter) -> np.ndarray:
        kind = {"i": "int", "u": "uint", "f": "float"}[parameter.short[0]]
        return buffer.view(f"{kind}{parameter.short[1:]}")


class Memory:
    """Memory of a device, freed in the order of its stream when it is collected."""

    def __init__(self, device: Device, address: int, nbytes: int) -> None:
        self.device, self.address, self.nbytes = device, address, nbytes

    def __del__(self) -> None:
        self.device.free(self.address)


class Device:
    """The first GPU, through the driver's API and one stream. Raises DeviceError where there is none."""

    geometry = DEVICE

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._ask("cuInit", 0)
        (count,) = self._ask("cuDeviceGetCount")
        if count == 0:
            raise DeviceError("there is an NVIDIA driver, but no GPU", hint="see graphc doctor", location=UNKNOWN)
        (self.handle,) = self._ask("cuDeviceGet", 0)
        attribute = driver.CUdevice_attribute
        (major,) = self._ask("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self.handle)
        (minor,) = self._ask("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self.handle)
        self.architecture: Architecture | None = _nearest(major, minor)
        (self.context,) = self._ask("cuDevicePrimaryCtxRetain", self.handle)
        self._ask("cuCtxSetCurrent", self.context)
        (self.stream,) = self._ask("cuStreamCreate", 0)
        self._functions: dict[int, Any] = {}
        self._uploaded: list[np.ndarray] = []  # what copies in progress may still read
        self._kept: list[Any] = []  # modules, and the kernels whose functions are kept by their identity

    def _ask(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *results = getattr(self.driver, name)(*arguments)
        if int(error) != 0:
            raise DeviceError(f"the NVIDIA driver says {error.name} to {name}", hint="see graphc doctor", location=UNKNOWN)
        return tuple(results)

    def allocate(self, nbytes: int) -> Memory:
        self._ask("cuCtxSetCurrent", self.context)
        (address,) = self._ask("cuMemAllocAsync", max(nbytes, ALIGNMENT), self.stream)
        return Memory(self, int(address), nbytes)

    def free(self, address: int) -> None:
        self.driver.cuMemFreeAsync(address, self.stream)

    def upload(self, array: np.ndarray) -> Memory:
        memory = self.allocate(array.nbytes)
        if array.nbytes:
            self._ask("cuMemcpyHtoDAsync", memory.address, array.ctypes.data, array.nbytes, self.stream)
        self._uploaded.append(array)
        return memory

    def download(self, buffer: Memory, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = np.empty(shape, dtype)
        if array.nbytes:
            self._ask("cuMemcpyDtoHAsync", array.ctypes.data, buffer.address, array.nbytes, self.stream)
        self.synchronize()
        return array

    def wait_for(self, stream: int) -> None:
        self._ask("cuStreamSynchronize", stream)

    def synchronize(self) -> None:
        self._ask("cuStreamSynchronize", self.stream)
        self._uploaded.clear()

    def launch(self, kernel: DeviceKernel, buffers: Sequence[Any], numbers: Sequence[int], status: Any) -> None:
        source = kernel.source
        values: list[int] = []
        kinds: list[Any] = []
        for parameter in source.parameters:
            _append(values, kinds, buffers[parameter.slot], parameter.is_array, np.dtype(_numpy_name(parameter.short)).itemsize)
        for number in numbers[: len(source.sizes) + 1]:
            values.append(number)
            kinds.append(ctypes.c_int64)
        if source.checks:
            _append(values, kinds, status, True, 8)
            values.append(numbers[-1])
            kinds.append(ctypes.c_int64)
        blocks = blocks_for(kernel, numbers[len(source.sizes)], self.geometry)
        function = self._function(kernel)
        self._ask(
            "cuLaunchKernel", function, blocks, 1, 1, source.threads, 1, 1, 0, self.stream, (tuple(values), tuple(kinds)), 0
        )

    def _function(self, kernel: DeviceKernel) -> Any:
        key = id(kernel.code)
        if key not in self._functions:
            (module,) = self._ask("cuModuleLoadData", kernel.code.cubin)
            (self._functions[key],) = self._ask("cuModuleGetFunction", module, kernel.name.encode())
            self._kept += [module, kernel.code]
        return self._functions[key]


def _append(values: list[int], kinds: list[Any], memory: Memory, is_array: bool, itemsize: int) -> None:
    """The arguments for a buffer: its address, or what numba-cuda has for an array of one dimension."""
    if not is_array:
        values.append(memory.address)
        kinds.append(ctypes.c_void_p)
        return
    count = memory.nbytes // itemsize
    values += [0, 0, count, itemsize, memory.address, count, itemsize]
    kinds += [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 2, ctypes.c_void_p, *[ctypes.c_int64] * 2]


def _numpy_name(short: str) -> str:
    return {"i": "int", "u": "uint", "f": "float"}[short[0]] + short[1:]


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


@cache
def present_machine() -> Machine:
    """The simulator where ``NUMBA_ENABLE_CUDASIM=1``, else the first GPU. Raises DeviceError where there is neither."""
    if IS_SIMULATOR:
        return Simulator()
    return Device(usable_driver())


def usable_driver() -> Any:
    """The driver's API. Raises DeviceError for no driver, and for one that is older than the machine code made here."""
    from cuda.bindings import driver, nvjitlink

    try:
        error, version = driver.cuDriverGetVersion()
    except RuntimeError:  # its library is not there
        error, version = 1, 0
    found = 0 if int(error) else version
    check_driver(found, nvjitlink.version()[0] if found else 0)
    return driver


def check_driver(version: int, toolkit: int) -> None:
    """Raise DeviceError unless a driver of ``version`` (12080 for CUDA 12.8, 0 for none) loads what ``toolkit`` (13) makes."""
    if version == 0:
        raise DeviceError(
            "there is no NVIDIA driver here, so kernels can be compiled but not run",
            hint="for code: the target cuda:sm_90; for results: set NUMBA_ENABLE_CUDASIM=1, or install a driver",
            location=UNKNOWN,
        )
    if version // 1000 < toolkit:
        raise DeviceError(
            f"the NVIDIA driver is for CUDA {version // 1000}.{version % 1000 // 10}, and the installed toolkit makes code for "
            f"CUDA {toolkit}",
            hint=f"update the driver, or pip install 'numba-cuda[cu{version // 1000}]'",
            location=UNKNOWN,
        )
