"""One device: memory, copies and launches, what is said about kernels that fail, and what where there is no device."""

import threading
from typing import Any, NoReturn

import numpy as np
import pytest

from graphc.backends.numba_cuda import machine as machines
from graphc.backends.numba_cuda.geometry import DEVICE, SIMULATOR
from graphc.backends.numba_cuda.kernels import DeviceKernel
from graphc.backends.numba_cuda.machine import Machine, Wanted, check_driver, switch
from graphc.backends.numba_cuda.occupancy import ARCHITECTURES
from graphc.backends.numba_cuda.simulator import SimulatedDriver
from graphc.backends.numba_cuda.source import DeviceText
from graphc.compile import compile_graph
from graphc.dtypes import float32, int64
from graphc.errors import ArgumentError, BackendError, CheckError, DeviceError, OutOfMemoryError
from graphc.ir.parser import parse

from .fake_driver import Error, FakeApi, FakeDriver, Launched

GRAPH = "graph @double(%x: f32[n]) -> (f32[n]) {\n  %0: f32[n] = add(%x, %x)\n  return %0\n}"


def kernel(*, is_array: bool = False) -> DeviceKernel:
    text = DeviceText("double", DEVICE)
    text.buffer("x", 0, float32)
    text.buffer("result", 1, int64, is_array=is_array)
    text.size("s0", 7)
    return DeviceKernel(text.finish(1), ARCHITECTURES["sm_90"])


def machine(api: FakeApi | None = None) -> tuple[Machine, FakeApi]:
    driver = FakeDriver(api)
    return Machine(driver), driver.fake


def test_memory_goes_to_the_device_and_back_and_is_used_again() -> None:
    device, api = machine()
    array = np.arange(6, dtype="float32").reshape(2, 3)
    memory = device.upload(array)
    array_then, array[:] = array.copy(), 0
    np.testing.assert_array_equal(device.download(memory, (2, 3), np.dtype("float32")), array_then)
    address = memory.address
    del memory
    assert device.allocate(24).address == address
    assert device.download(device.upload(np.zeros((0, 3))), (0, 3), np.dtype("float64")).shape == (0, 3)
    assert api.log.count("cuMemAlloc") == 1
    found = device.statistics()
    assert (found.allocated, found.segments) == (0, 1)
    assert device.empty_cache() == found.reserved and not api.memory and not api.pinned


def test_a_launch_passes_addresses_and_numbers() -> None:
    device, api = machine()
    x, result = device.allocate(4000), device.allocate(8000)
    device.launch(kernel(), [x, result], [7, 1000, 1], None)
    device.synchronize()
    (launched,) = api.launched
    assert (launched.kernel.name, launched.blocks, launched.threads) == ("double", 4, 256)
    assert launched.words == [x.address, result.address, 7, 1000]


def test_launches_like_one_before_have_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "MOST_PREPARED", 2)
    device, api = machine()
    one, buffers = kernel(), [device.allocate(4000) for _ in range(3)]
    for number in range(6):
        x, result = buffers[number % 3], buffers[(number + 1) % 3]
        device.launch(one, [x, result], [7, 1000 + number // 2, 1], None)
    device.synchronize()
    addresses = [buffer.address for buffer in buffers]
    assert [each.words for each in api.launched] == [
        [addresses[n % 3], addresses[(n + 1) % 3], 7, 1000 + n // 2] for n in range(6)
    ]
    assert len(device._prepared) == 2


def test_an_array_is_passed_as_numba_passes_it() -> None:
    device, api = machine()
    x, result = device.allocate(4), device.allocate(80)
    device.launch(kernel(is_array=True), [x, result], [7, 1, 1], None)
    device.synchronize()
    assert api.launched[0].words == [x.address, 0, 0, 10, 8, result.address, 10, 8, 7, 1]


def test_copies_on_the_device_are_in_order() -> None:
    device, api = machine()
    one, other = device.upload(np.arange(4)), device.upload(np.zeros(4, int))
    device.copy(other.address, one.address, 32)
    device.copy(one.address, other.address, 0)
    assert api.log.count("cuMemcpyDtoDAsync") == 1
    np.testing.assert_array_equal(device.download(other, (4,), int), np.arange(4))


# What fails in kernels


def reporting(words: tuple[int, ...]) -> Any:
    """A kernel that reports ``words``."""
    import ctypes

    def run(launched: Launched) -> None:
        ctypes.memmove(launched.words[0], np.array(words).ctypes.data, 32)

    return run


def fail(number: int, index: int, axis: int, size: int) -> NoReturn:
    raise CheckError(f"{number}: {index} in {axis} of {size}")


def test_what_failed_is_raised_by_whatever_waits_next_and_once() -> None:
    for wait in (lambda d, m: d.synchronize(), lambda d, m: d.download(m, (2,), int)):
        device, _ = machine(FakeApi(run=reporting((3, 9, 0, 5))))
        other = device.upload(np.arange(2))
        flag = device.flag(fail)
        device.launch(kernel(), [flag.memory, other], [7, 1, 1], None)
        device.watch(flag)
        assert device.is_watched(flag)
        with pytest.raises(CheckError, match="3: 9 in 0 of 5"):
            wait(device, other)
        assert not device.is_watched(flag)
        device.synchronize()
        np.testing.assert_array_equal(device.download(other, (2,), int), [0, 1])


def test_many_runs_that_nobody_waits_for_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "MOST_FLAGS", 3)
    device, api = machine()
    flags = [device.flag(fail) for _ in range(4)]
    for flag in flags:
        device.watch(flag)
    assert [device.is_watched(flag) for flag in flags] == [False, False, False, True]
    assert "cuEventSynchronize" in api.log


def test_words_for_failures_begin_as_zeros() -> None:
    device, _ = machine()
    device.watch(device.flag(fail))
    device.synchronize()


def test_a_run_that_waits_itself_sees_its_own_failure() -> None:
    device, _ = machine(FakeApi(run=reporting((1, 2, 3, 4))))
    mine, other = device.flag(fail), device.upload(np.arange(2))
    device.launch(kernel(), [mine.memory, other], [7, 1, 1], None)
    with pytest.raises(CheckError, match="1: 2 in 3 of 4"):
        device.download_all([Wanted(other.address, (2,), np.dtype(int))], [mine])


def test_blocking_names_the_kernel_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CUDA_BLOCKING", "1")
    device, api = machine()
    buffers = [device.allocate(4), device.allocate(8)]
    device.launch(kernel(), buffers, [7, 1, 1], None)
    assert len(api.launched) == 1, "it was waited for"
    api.failing["cuStreamSynchronize"] = Error("CUDA_ERROR_ILLEGAL_ADDRESS", 700)
    with pytest.raises(DeviceError, match="the kernel double failed: the NVIDIA driver says CUDA_ERROR_ILLEGAL_ADDRESS"):
        device.launch(kernel(), buffers, [7, 1, 1], None)


def test_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHC_CUDA_GRAPHS", raising=False)
    assert switch("GRAPHC_CUDA_GRAPHS", default=True) and not switch("GRAPHC_CUDA_GRAPHS")
    monkeypatch.setenv("GRAPHC_CUDA_GRAPHS", "yes")
    with pytest.raises(ArgumentError, match="GRAPHC_CUDA_GRAPHS is 'yes'"):
        switch("GRAPHC_CUDA_GRAPHS")


def test_no_room_says_what_it_was_for() -> None:
    device, _ = machine(FakeApi(total=1 << 21))
    with pytest.raises(OutOfMemoryError, match="a GPU made for tests has no room for 4,194,304 bytes for f"):
        device.allocate(4 << 20, " for f")


@pytest.mark.parametrize("nbytes", [1 << 55, 1 << 63])
def test_the_simulator_runs_out_of_memory_too(nbytes: int) -> None:
    with pytest.raises(OutOfMemoryError, match="numba-cuda's simulator has no room for"):
        Machine(SimulatedDriver(), SIMULATOR).allocate(nbytes)


def test_threads_use_one_machine() -> None:
    device = Machine(SimulatedDriver(), SIMULATOR)
    wrong: list[int] = []

    def work(number: int) -> None:
        for step in range(50):
            array = np.full(1000, 100 * number + step)
            if (device.download(device.upload(array), (1000,), int) != array).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert device.statistics().allocated == 0


def test_the_simulator_keeps_bytes() -> None:
    simulator = Machine(SimulatedDriver(), SIMULATOR)
    array = np.array([[True, False]])
    np.testing.assert_array_equal(simulator.download(simulator.upload(array), (1, 2), np.dtype(bool)), array)
    assert simulator.download(simulator.allocate(0), (0,), np.dtype("int8")).shape == (0,)


# Where there is no device that fits


def test_no_driver_and_an_old_one() -> None:
    with pytest.raises(DeviceError, match="there is no NVIDIA driver here, so kernels can be compiled but not run") as caught:
        check_driver(0, 13)
    assert "cuda:sm_90" in str(caught.value.hint) and "NUMBA_ENABLE_CUDASIM=1" in str(caught.value.hint)
    with pytest.raises(DeviceError, match=r"the NVIDIA driver is for CUDA 12.8, and the installed toolkit") as caught:
        check_driver(12080, 13)
    assert caught.value.hint == "update the driver, or pip install 'numba-cuda[cu12]'"
    check_driver(13000, 13)


@pytest.mark.ptx
def test_code_for_another_machine_does_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_graph(parse(GRAPH), "cuda:sm_80")
    monkeypatch.setattr("graphc.backends.numba_cuda.executable.present_machine", lambda: machine()[0])
    with pytest.raises(DeviceError, match="double was compiled for sm_80, and this is sm_90"):
        compiled(np.ones(3, "float32"))


@pytest.mark.ptx
def test_a_program_on_a_device_is_launches_between_two_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    device, api = machine()
    monkeypatch.setattr("graphc.backends.numba_cuda.executable.present_machine", lambda: device)
    compiled = compile_graph(parse(GRAPH), "cuda:sm_90")
    (result,) = compiled(np.ones(4000, "float32"))
    assert result.shape == (4000,)
    work = [name for name in api.log if "memcpy" in name.lower() or "Launch" in name]
    assert work == ["cuMemcpyHtoDAsync", "cuLaunchKernel", "cuMemcpyDtoHAsync"]
    assert [launched.blocks for launched in api.launched] == [4]
    assert device.statistics().allocated == 0


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
