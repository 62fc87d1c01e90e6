"""The run time on a GPU that is here: what other tests show on drivers made for them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cuda.adapter import IS_SIMULATOR
from graphc.backends.numba_cuda.machine import Machine, NvidiaDriver, usable_driver
from graphc.compile import compile_graph
from graphc.errors import OutOfBoundsError, OutOfMemoryError
from graphc.runtime.devices import find_device

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(IS_SIMULATOR, reason="needs a GPU")]


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(NvidiaDriver(usable_driver()))
    yield made
    made.empty_cache()


def compiled(function: Any, *specs: str) -> Any:
    return compile_graph(gc.jit(function, name="f").graph(*(gc.spec(s) for s in specs)), "cuda")


def chain(x: Any) -> Any:
    for _ in range(4):
        x = gc.softmax(x @ x, axis=-1)
    return x


def test_memory_is_given_again_and_given_back(machine: Machine) -> None:
    before, _ = machine.driver.memory()
    blocks = [machine.allocate(nbytes) for nbytes in (100, 5 << 20, 100 << 20)]
    addresses = {block.address for block in blocks}
    del blocks
    assert {machine.allocate(nbytes).address for nbytes in (100, 5 << 20, 100 << 20)} == addresses
    assert machine.statistics().driver_allocations == 3
    assert machine.empty_cache() > 100 << 20
    assert machine.statistics().reserved == 0
    after, _ = machine.driver.memory()
    assert after > before - (64 << 20), "others may use the GPU, too"


def test_a_full_gpu_says_what_is_in_use(machine: Machine) -> None:
    _, total = machine.driver.memory()
    with pytest.raises(OutOfMemoryError, match="has no room for") as caught:
        machine.allocate(2 * total, " for a test")
    assert f"{total:,}" in str(caught.value)
    assert machine.allocate(1 << 20).nbytes == 1 << 20


@pytest.mark.parametrize("nbytes", [1, 5000, 9 << 20, 200 << 20])
def test_arrays_come_back_as_they_went(machine: Machine, nbytes: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, nbytes, np.uint8)
    memory, want = machine.upload(array), array.copy()
    array[:] = 0
    np.testing.assert_array_equal(machine.download(memory, (nbytes,), np.uint8), want)


def test_a_graph_gives_what_launches_give() -> None:
    program, device = compiled(chain, "f32[n, n]"), find_device("cuda")
    arrays = [np.random.default_rng(seed).random((200, 200), np.float32) for seed in range(4)]
    for array in [*arrays, *arrays]:
        (want,) = compile_graph(program.graph, "cpu")(array)
        np.testing.assert_allclose(program(array)[0], want, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(program(device.upload(array))[0].numpy(), want, rtol=1e-4, atol=1e-6)
    assert program.without_graph is None


def test_nothing_is_allocated_by_a_program_that_runs_again() -> None:
    program, device = compiled(chain, "f32[n, n]"), find_device("cuda")
    x = device.upload(np.random.default_rng(0).random((300, 300), np.float32))
    for number in range(20):
        (x,) = program(x)
        if number == 5:
            before = device.memory_stats()["driver_allocations"]
    device.synchronize()
    assert device.memory_stats()["driver_allocations"] == before


def test_failures_are_raised_when_something_waits() -> None:
    program, device = compiled(lambda x, i: x[i] * 2.0, "f32[n]", "i64[m]"), find_device("cuda")
    x = device.upload(np.arange(5, dtype="float32"))
    program(x, device.upload(np.array([1, 8])))
    with pytest.raises(OutOfBoundsError, match="index 8"):
        device.synchronize()
    np.testing.assert_array_equal(program(x, device.upload(np.array([4])))[0].numpy(), [8])


def test_blocking_runs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_device("cuda").machine, "is_blocking", True)  # type: ignore[attr-defined]
    program = compiled(chain, "f32[n, n]")
    x = np.random.default_rng(0).random((50, 50), np.float32)
    for _ in range(3):
        np.testing.assert_allclose(program(x)[0], compile_graph(program.graph, "cpu")(x)[0], rtol=1e-4, atol=1e-6)
    assert "GRAPHC_CUDA_BLOCKING" in program.without_graph


def test_control_flow() -> None:
    x = np.random.default_rng(0).random(1000, np.float32)
    cases = (
        lambda x: gc.fori_loop(0, 5, lambda i, c: gc.sin(c) + x, x),
        lambda x: gc.while_loop(lambda c: gc.sum(c) < 1e5, lambda c: c * 2.0, x),
        lambda x: gc.cond(gc.sum(x) > 3.0, gc.exp, lambda v: v * 2.0, x),
        lambda x: gc.scan(lambda c, v: (c * 0.5 + v, c - v), gc.sum(x), x)[1],
    )
    for case in cases:
        program = compiled(case, "f32[1000]")
        for _ in range(3):
            np.testing.assert_allclose(program(x)[0], compile_graph(program.graph, "cpu")(x)[0], rtol=1e-4, atol=1e-5)
