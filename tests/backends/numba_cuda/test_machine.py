"""Who runs kernels: the launches that a driver is asked for, and what is said where there is none that fits."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cuda import machine as machines
from graphc.backends.numba_cuda.adapter import Usage
from graphc.backends.numba_cuda.geometry import DEVICE, SIMULATOR
from graphc.backends.numba_cuda.kernels import Code, DeviceKernel
from graphc.backends.numba_cuda.machine import Device, Simulator, blocks_for, check_driver
from graphc.backends.numba_cuda.occupancy import ARCHITECTURES
from graphc.backends.numba_cuda.source import DeviceText
from graphc.compile import compile_graph
from graphc.dtypes import float32, int64
from graphc.errors import BackendError, DeviceError
from graphc.ir.parser import parse

GRAPH = "graph @double(%x: f32[n]) -> (f32[n]) {\n  %0: f32[n] = add(%x, %x)\n  return %0\n}"


class FakeDriver:
    """The driver's API over memory of this process; it keeps what it was asked to launch."""

    def __init__(self, devices: int = 1, capability: tuple[int, int] = (9, 0)) -> None:
        self.devices, self.capability = devices, capability
        self.memory: dict[int, Any] = {}
        self.launches: list[tuple[Any, ...]] = []
        self.freed: list[int] = []
        self.CUdevice_attribute = SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
        )

    def cuInit(self, flags: int) -> tuple[int]:
        return (0,)

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return 0, self.devices

    def cuDeviceGet(self, ordinal: int) -> tuple[int, int]:
        return 0, ordinal

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[int, int]:
        return 0, self.capability[attribute == "minor"]

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, str]:
        return 0, "context"

    def cuCtxSetCurrent(self, context: str) -> tuple[int]:
        return (0,)

    def cuStreamCreate(self, flags: int) -> tuple[int, str]:
        return 0, "stream"

    def cuMemAllocAsync(self, nbytes: int, stream: str) -> tuple[int, int]:
        block = ctypes.create_string_buffer(nbytes)
        self.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cuMemFreeAsync(self, address: int, stream: str) -> tuple[int]:
        self.freed.append(address)
        return (0,)

    def cuMemcpyHtoDAsync(self, to: int, source: int, nbytes: int, stream: str) -> tuple[int]:
        ctypes.memmove(to, source, nbytes)
        return (0,)

    cuMemcpyDtoHAsync = cuMemcpyHtoDAsync

    def cuStreamSynchronize(self, stream: str) -> tuple[int]:
        return (0,)

    def cuModuleLoadData(self, cubin: bytes) -> tuple[int, str]:
        return 0, f"module of {cubin[:5].decode(errors='replace')}"

    def cuModuleGetFunction(self, module: str, name: bytes) -> tuple[int, str]:
        return 0, f"{name.decode()} in {module}"

    def cuLaunchKernel(self, *arguments: Any) -> tuple[int]:
        self.launches.append(arguments)
        return (0,)


def kernel(*, is_array: bool = False) -> DeviceKernel:
    text = DeviceText("double", DEVICE)
    text.buffer("x", 0, float32)
    text.buffer("result", 1, int64, is_array=is_array)
    text.size("s0", 7)
    made = DeviceKernel(text.finish(1), ARCHITECTURES["sm_90"])
    made.__dict__["code"] = Code("", b"cubin", Usage(8, 0, 0, 0))
    return made


def test_memory_goes_to_the_device_and_back_and_is_freed() -> None:
    driver = FakeDriver()
    device = Device(driver)
    array = np.arange(6, dtype="float32").reshape(2, 3)
    memory = device.upload(array)
    np.testing.assert_array_equal(device.download(memory, (2, 3), np.dtype("float32")), array)
    address = memory.address
    del memory
    assert driver.freed == [address]
    assert device.download(device.upload(np.zeros((0, 3))), (0, 3), np.dtype("float64")).shape == (0, 3)


def test_a_launch_passes_addresses_and_numbers() -> None:
    driver = FakeDriver()
    device = Device(driver)
    x, result = device.allocate(4000), device.allocate(8000)
    device.launch(kernel(), [x, result], [7, 1000, 1], None)
    function, *shape, arguments, extra = driver.launches[0]
    assert function == "double in module of cubin"
    assert shape == [4, 1, 1, 256, 1, 1, 0, "stream"]
    values, kinds = arguments
    assert values == (x.address, result.address, 7, 1000)
    assert kinds == (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    assert extra == 0


def test_an_array_is_passed_as_numba_passes_it() -> None:
    driver = FakeDriver()
    device = Device(driver)
    x, result = device.allocate(4), device.allocate(80)
    device.launch(kernel(is_array=True), [x, result], [7, 1, 1], None)
    values, _ = driver.launches[0][-2]
    assert values == (x.address, 0, 0, 10, 8, result.address, 10, 8, 7, 1)


def test_one_module_serves_all_launches_of_a_kernel() -> None:
    driver = FakeDriver()
    device, made = Device(driver), kernel()
    buffers = [device.allocate(4), device.allocate(8)]
    for _ in range(3):
        device.launch(made, buffers, [7, 1, 1], None)
    assert len(driver.launches) == 3
    assert len(device._functions) == 1


@pytest.mark.parametrize(("capability", "name"), [((9, 0), "sm_90"), ((8, 8), "sm_87"), ((8, 9), "sm_89"), ((7, 5), "sm_75")])
def test_a_device_takes_code_of_its_own_generation(capability: tuple[int, int], name: str) -> None:
    device = Device(FakeDriver(capability=capability))
    assert device.architecture is ARCHITECTURES[name]


def test_devices_that_cannot_be_used() -> None:
    with pytest.raises(DeviceError, match="there is an NVIDIA driver, but no GPU"):
        Device(FakeDriver(devices=0))
    with pytest.raises(DeviceError, match=r"the GPU has compute capability 6.1, for which graphc has no code"):
        Device(FakeDriver(capability=(6, 1)))


def test_what_the_driver_refuses_is_an_error_with_its_name() -> None:
    driver = FakeDriver()
    driver.cuInit = lambda flags: (SimpleError(),)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(DeviceError, match="the NVIDIA driver says CUDA_ERROR_NO_DEVICE to cuInit"):
        Device(driver)


class SimpleError:
    name = "CUDA_ERROR_NO_DEVICE"

    def __int__(self) -> int:
        return 100


def test_no_driver_and_an_old_one() -> None:
    with pytest.raises(DeviceError, match="there is no NVIDIA driver here, so kernels can be compiled but not run") as caught:
        check_driver(0, 13)
    assert "cuda:sm_90" in str(caught.value.hint) and "NUMBA_ENABLE_CUDASIM=1" in str(caught.value.hint)
    with pytest.raises(DeviceError, match=r"the NVIDIA driver is for CUDA 12.8, and the installed toolkit") as caught:
        check_driver(12080, 13)
    assert caught.value.hint == "update the driver, or pip install 'numba-cuda[cu12]'"
    check_driver(13000, 13)


def test_the_simulator_keeps_bytes() -> None:
    simulator = Simulator()
    array = np.array([[True, False]])
    np.testing.assert_array_equal(simulator.download(simulator.upload(array), (1, 2), np.dtype(bool)), array)
    assert simulator.download(simulator.allocate(0), (0,), np.dtype("int8")).shape == (0,)


def test_blocks() -> None:
    made = kernel()
    assert [blocks_for(made, extent, DEVICE) for extent in (1, 256, 257, 10**9)] == [1, 1, 2, DEVICE.blocks]
    assert blocks_for(made, 10**9, SIMULATOR) == SIMULATOR.blocks


@pytest.mark.ptx
def test_code_for_another_machine_does_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_graph(parse(GRAPH), "cuda:sm_80")
    monkeypatch.setattr("graphc.backends.numba_cuda.executable.present_machine", lambda: Device(FakeDriver()))
    with pytest.raises(DeviceError, match="double was compiled for sm_80, and this is sm_90"):
        compiled(np.ones(3, "float32"))


@pytest.mark.ptx
def test_a_program_on_a_device_is_launches_between_two_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    device = Device(driver)
    monkeypatch.setattr("graphc.backends.numba_cuda.executable.present_machine", lambda: device)
    compiled = compile_graph(parse(GRAPH), "cuda:sm_90")
    (result,) = compiled(np.ones(1000, "float32"))
    assert result.shape == (1000,)
    assert [launch[1] for launch in driver.launches] == [4]
    del compiled
    assert len(driver.freed) == 2


@pytest.mark.ptx
@pytest.mark.skipif(machines.IS_SIMULATOR, reason="the simulator needs no driver")
def test_without_a_driver_the_target_says_so_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        check_driver(0, 13)

    monkeypatch.setattr(machines, "usable_driver", none)
    machines.present_machine.cache_clear()
    with pytest.raises(DeviceError, match="there is no NVIDIA driver"):
        compile_graph(parse(GRAPH), "cuda")
    machines.present_machine.cache_clear()


def test_an_architecture_without_code() -> None:
    with pytest.raises(BackendError, match="there is no CUDA architecture 'sm_61' that graphc compiles for"):
        compile_graph(parse(GRAPH), "cuda:sm_61")


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_reference() -> None:
    x = np.linspace(-1, 1, 10_000, dtype="float32")
    np.testing.assert_array_equal(compile_graph(parse(GRAPH), "cuda")(x)[0], x + x)
