"""NVIDIA's driver: what it is asked for, what it refuses, and that the real bindings have all of it."""

import ctypes
import inspect
import re
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cuda import driver as module
from graphc.backends.numba_cuda.adapter import IS_SIMULATOR
from graphc.backends.numba_cuda.arguments import Arguments, Launch, Move, Place
from graphc.backends.numba_cuda.driver import DeviceCopy, Driver, NvidiaDriver, OutOfDeviceMemory
from graphc.backends.numba_cuda.geometry import DEVICE
from graphc.backends.numba_cuda.kernels import DeviceKernel
from graphc.backends.numba_cuda.occupancy import ARCHITECTURES
from graphc.backends.numba_cuda.simulator import SimulatedDriver
from graphc.backends.numba_cuda.source import DeviceText
from graphc.dtypes import float32
from graphc.errors import DeviceError

from .fake_driver import OUT_OF_MEMORY, Error, FakeApi, FakeDriver


def kernel(name: str = "double") -> DeviceKernel:
    text = DeviceText(name, DEVICE)
    text.buffer("x", 0, float32)
    text.buffer("result", 1, float32)
    return DeviceKernel(text.finish(1), ARCHITECTURES["sm_90"])


@pytest.mark.parametrize(("capability", "name"), [((9, 0), "sm_90"), ((8, 8), "sm_87"), ((8, 9), "sm_89"), ((7, 5), "sm_75")])
def test_a_device_takes_code_of_its_own_generation(capability: tuple[int, int], name: str) -> None:
    driver = FakeDriver(FakeApi(capability=capability))
    assert driver.architecture is ARCHITECTURES[name]
    assert (driver.name, driver.stream) == ("a GPU made for tests", 77)


def test_devices_that_cannot_be_used() -> None:
    with pytest.raises(DeviceError, match="there is an NVIDIA driver, but no GPU"):
        FakeDriver(FakeApi(devices=0))
    with pytest.raises(DeviceError, match=r"the GPU has compute capability 6.1, for which graphc has no code"):
        FakeDriver(FakeApi(capability=(6, 1)))


def test_what_the_driver_refuses_is_an_error_with_its_name() -> None:
    api = FakeApi()
    api.failing["cuInit"] = Error("CUDA_ERROR_NO_DEVICE", 100)
    with pytest.raises(DeviceError, match="the NVIDIA driver says CUDA_ERROR_NO_DEVICE to cuInit"):
        FakeDriver(api)


def test_an_error_of_an_earlier_kernel_says_how_to_find_it() -> None:
    driver = FakeDriver()
    driver.fake.failing["cuStreamSynchronize"] = Error("CUDA_ERROR_ILLEGAL_ADDRESS", 700)
    with pytest.raises(DeviceError, match="CUDA_ERROR_ILLEGAL_ADDRESS to cuStreamSynchronize, about a kernel") as caught:
        driver.synchronize()
    assert "GRAPHC_CUDA_BLOCKING=1" in str(caught.value.hint)


def test_a_function_that_the_driver_lacks() -> None:
    def lacks(*arguments: Any) -> Any:
        raise RuntimeError("function cuGraphCreate is not found")

    driver = FakeDriver()
    driver.fake._GraphCreate = lacks  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="the NVIDIA driver has no cuGraphCreate"):
        driver.make_graph([])


def test_no_room_is_told_apart() -> None:
    driver = FakeDriver(FakeApi(total=1 << 20))
    with pytest.raises(OutOfDeviceMemory):
        driver.allocate(2 << 20)
    driver.fake.failing["cuMemHostAlloc"] = OUT_OF_MEMORY
    with pytest.raises(OutOfDeviceMemory):
        driver.pin(4096)
    address = driver.allocate(1 << 19)
    assert driver.memory() == (driver.fake.total - driver.fake.used, 1 << 20)
    driver.free(address)
    assert not driver.fake.memory


def test_events_are_done_in_the_order_of_the_stream() -> None:
    driver = FakeDriver()
    address = driver.allocate(256)
    driver.clear(address, 8)
    first = driver.record()
    driver.copy(DeviceCopy(address + 8, address, 8))
    second = driver.record()
    assert not driver.is_done(first) and not driver.is_done(second)
    driver.wait(first)
    assert driver.is_done(first) and not driver.is_done(second)
    driver.synchronize()
    assert driver.is_done(second)
    driver.fake.failing["cuEventQuery"] = Error("CUDA_ERROR_LAUNCH_FAILED", 719)
    with pytest.raises(DeviceError, match="CUDA_ERROR_LAUNCH_FAILED"):
        driver.is_done(second)


def test_one_module_serves_all_launches_of_a_kernel() -> None:
    from graphc.backends.numba_cuda.adapter import Usage
    from graphc.backends.numba_cuda.kernels import Code

    made = kernel()
    made.__dict__["code"] = Code("", b"cubin", Usage(8, 0, 0, 0))
    api = FakeApi()
    api._ModuleLoadData = lambda cubin: f"module of {cubin.decode()}"  # type: ignore[attr-defined]
    api._ModuleGetFunction = lambda module, name: f"{name.decode()} in {module}"  # type: ignore[attr-defined]
    driver = NvidiaDriver(api)
    assert [driver.load(made) for _ in range(3)] == ["double in module of cubin"] * 3
    assert api.log.count("cuModuleLoadData") == 1


def test_a_graph_is_its_parts_one_after_the_other() -> None:
    driver = FakeDriver()
    work = [
        Launch(kernel("first"), (Place(0), Place(1)), (40, 40), (10,)),
        Move(Place(2), Place(1, 8), 32),
        Launch(kernel("second"), (Place(2), Place(0)), (40, 40), (10,)),
    ]
    arguments = Arguments(driver, DEVICE, work, 3)
    memory = driver.allocate(1 << 12)
    arguments.place((memory, memory + 256, memory + 512, 0))
    graph = driver.make_graph([arguments.part(number) for number in range(3)])
    driver.launch_graph(graph)
    arguments.place((memory, memory + 256, memory + 1024, 0))
    for number in (1, 2):
        driver.update_graph(graph, number, arguments.part(number))
    driver.launch_graph(graph)
    driver.synchronize()
    assert [(each.kernel.name, each.words) for each in driver.fake.launched] == [
        ("first", [memory, memory + 256, 10]), ("second", [memory + 512, memory, 10]),
        ("first", [memory, memory + 256, 10]), ("second", [memory + 1024, memory, 10]),
    ]  # fmt: skip
    driver.discard_graph(graph)
    assert driver.fake.graphs[0].is_destroyed


@pytest.mark.parametrize("made", [NvidiaDriver, SimulatedDriver])
def test_drivers_have_all_of_the_protocol(made: type) -> None:
    for name, wanted in vars(Driver).items():
        if inspect.isfunction(wanted) and not name.startswith("_"):
            parameters = list(inspect.signature(getattr(made, name)).parameters)
            assert len(parameters) == len(inspect.signature(wanted).parameters), name


# The real bindings, as far as they go without a driver.


@pytest.mark.skipif(IS_SIMULATOR, reason="once is enough")
def test_the_bindings_have_what_is_called() -> None:
    from cuda.bindings import driver as bindings

    text = inspect.getsource(module)
    names = {*re.findall(r'"(cu[A-Z]\w+)"', text), *re.findall(r"api\.(\w+)", text), *re.findall(r"\.(CU_\w+)", text)}
    assert {"cuGraphAddKernelNode", "cuLaunchKernel", "CUDA_MEMCPY3D", "CU_MEMORYTYPE_DEVICE"} <= names
    spaces = [bindings, bindings.CUdevice_attribute, bindings.CUevent_flags, bindings.CUmemorytype]
    for name in names:
        assert any(hasattr(space, name) for space in spaces), f"{name} is in no version of the bindings that was tested"


@pytest.mark.skipif(IS_SIMULATOR, reason="once is enough")
def test_the_bindings_take_the_nodes_of_a_graph() -> None:
    from cuda.bindings import driver as bindings

    made = kernel()
    driver = object.__new__(NvidiaDriver)
    driver.api = bindings
    arguments = Arguments(FakeDriver(), DEVICE, [Launch(made, (Place(0), Place(1)), (40, 40), (1000,))], 0)
    call: Any = arguments.part(0)
    object.__setattr__(call, "function", bindings.CUfunction(5))
    node = driver._kernel_node(call)
    assert (int(node.func), node.gridDimX, node.blockDimX, int(node.kernelParams)) == (5, 4, 256, call.parameters)
    copy = driver._copy_node(DeviceCopy(4096, 8192, 100))
    assert (int(copy.dstDevice), int(copy.srcDevice), copy.WidthInBytes, copy.Height, copy.Depth) == (4096, 8192, 100, 1, 1)


@pytest.mark.gpu
@pytest.mark.skipif(IS_SIMULATOR, reason="needs a GPU")
def test_copies_events_and_graphs_on_a_gpu() -> None:
    from graphc.backends.numba_cuda.machine import usable_driver

    driver = NvidiaDriver(usable_driver())
    device, host = driver.allocate(1 << 20), driver.pin(1 << 20)
    memory: Any = (ctypes.c_uint8 * (1 << 20)).from_address(host)
    array = np.ndarray(1 << 20, np.uint8, memory)
    array[:] = np.arange(1 << 20) % 251
    driver.copy_in(device, host, 1 << 19)
    graph = driver.make_graph([DeviceCopy(device + (1 << 19), device, 1 << 18), DeviceCopy(device, device + (1 << 19), 4)])
    driver.launch_graph(graph)
    driver.clear(device, 4)
    driver.copy_out(host + (1 << 19), device, 1 << 19)
    event = driver.record()
    driver.wait(event)
    assert driver.is_done(event)
    assert not array[1 << 19 : (1 << 19) + 4].any()
    np.testing.assert_array_equal(array[(1 << 19) + 4 :], array[4 : 1 << 19])
    driver.discard(event)
    driver.discard_graph(graph)
    driver.free(device)
    driver.unpin(host)
