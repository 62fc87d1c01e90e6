"""Programs on a device that does nothing before it is waited for: memory, failures, graphs, what waits and what does not.

Kernels run in the simulator, when the fake driver comes to them.
"""

import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cuda.machine import Machine
from graphc.backends.numba_cuda.simulator import SimulatedDriver
from graphc.compile import compile_graph
from graphc.errors import CheckError, DeviceError, OutOfBoundsError, OutOfMemoryError
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.runtime.devices import find_device

from .fake_driver import Error, FakeApi
from .late_device import use

pytestmark = pytest.mark.simulator

@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    return use(monkeypatch, FakeApi())


def traced(function: Any, *specs: str) -> Graph:
    graph: Graph = gc.jit(function, name="f").graph(*(gc.spec(s) for s in specs))
    return graph


def chain(x: Any) -> Any:
    """Several kernels with temporaries between them."""
    for _ in range(3):
        x = gc.softmax(x @ x, axis=-1)
    return x


def compiled(function: Any, *specs: str) -> Any:
    return compile_graph(traced(function, *specs), "cuda")


def reference(function: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    specs = [f"{a.dtype.kind}{8 * a.dtype.itemsize}[{', '.join(map(str, a.shape))}]" for a in arrays]
    return compile_graph(traced(function, *specs), "reference")(*arrays)


def machine() -> Machine:
    found: Any = find_device("cuda")
    return found.machine  # type: ignore[no-any-return]


X = np.random.default_rng(0).random((4, 4), np.float32)


def test_temporaries_are_one_allocation_and_come_back(api: FakeApi) -> None:
    program = compiled(chain, "f32[n, n]")
    program(X)
    before = machine().statistics()
    for _ in range(3):
        np.testing.assert_allclose(program(X)[0], reference(chain, X)[0], rtol=1e-5)
    after = machine().statistics()
    assert after.allocated == 0
    assert after.driver_allocations == before.driver_allocations
    assert after.allocations - before.allocations == 3 * 3, "the input, the result and the temporaries"


def test_nothing_waits_where_outputs_stay_on_the_device(api: FakeApi) -> None:
    program = compiled(chain, "f32[n, n]")
    x = X
    outputs: Any = find_device("cuda").upload(x)
    for _ in range(4):
        (outputs,) = program(outputs)
        (x,) = reference(chain, x)
    waits = {"cuStreamSynchronize", "cuEventSynchronize"}
    assert not waits & set(api.log) and not api.launched
    np.testing.assert_allclose(outputs.numpy(), x, rtol=1e-5)


def test_an_input_may_be_changed_after_a_run_that_stays_on_the_device(api: FakeApi) -> None:
    program = compiled(lambda x: (x + 1.0, x), "f32[n]")
    x = np.arange(5, dtype="float32")
    first, second = program.on_device(x)
    x[:] = -7
    np.testing.assert_array_equal(first.numpy(), np.arange(5) + 1)
    np.testing.assert_array_equal(second.numpy(), np.arange(5))


def test_literals_are_uploaded_once_for_all_sizes(api: FakeApi) -> None:
    text = """graph @f(%x: f32[n, 2]) -> (f32[n, 2]) {
      %0: f32[2, 2] = constant() {value = dense<f32[2, 2]: [[1.0, 2.0], [3.0, 4.0]]>}
      %1: f32[n, 2] = dot_general(%x, %0) {contract = ((1), (0)), batch = ((), ())}
      return %1
    }"""
    program = compile_graph(parse(text), "cuda")
    for n in (1, 2, 3, 2):
        np.testing.assert_allclose(program(np.ones((n, 2), "float32"))[0], [[4, 6]] * n)
    assert api.log.count("cuMemcpyHtoDAsync") == 1 + 4


def lookup(x: Any, i: Any) -> Any:
    return x[i] * 2.0


def test_an_index_out_of_range_is_raised_when_something_waits(api: FakeApi) -> None:
    program = compiled(lookup, "f32[n]", "i64[m]")
    device, x = find_device("cuda"), np.arange(5, dtype="float32")
    on_device = device.upload(x)
    (good,) = program(on_device, device.upload(np.array([1, 4])))
    (bad,) = program(on_device, device.upload(np.array([1, 8])))
    (later,) = program(on_device, device.upload(np.array([0, 0])))
    with pytest.raises(OutOfBoundsError, match="index 8 is out of range for axis 0, which has size 5") as caught:
        device.synchronize()
    assert "test_frame.py" in str(caught.value) and "x[i] * 2.0" in str(caught.value)
    device.synchronize()
    np.testing.assert_array_equal(good.numpy(), [2, 8])
    np.testing.assert_array_equal(later.numpy(), [0, 0])
    assert bad.shape == (2,)
    program(on_device, device.upload(np.array([9])))
    with pytest.raises(OutOfBoundsError, match="index 9"):
        good.numpy()
    with pytest.raises(OutOfBoundsError, match="index 7"):
        program(x, np.array([7]))
    np.testing.assert_array_equal(program(x, np.array([3]))[0], [6])


def test_a_check_is_raised_when_something_waits(api: FakeApi) -> None:
    text = """graph @c(%x: f32[3]) -> (f32[3]) {
      %0: f32[] = reduce_max(%x) {axes = (0)}
      %1: f32[] = constant() {value = dense<f32[]: 2.0>}
      %2: bool[] = lt(%0, %1)
      effect check(%2) {message = "too large"}
      return %x
    }"""
    program, device = compile_graph(parse(text), "cuda"), find_device("cuda")
    program(device.upload(np.array([1, 2, 3], "float32")))
    with pytest.raises(CheckError, match="too large"):
        device.synchronize()
    x = np.array([1, 1, 1], "float32")
    np.testing.assert_array_equal(program(x)[0], x)


def test_one_set_of_words_serves_all_runs_that_nobody_waited_for(api: FakeApi) -> None:
    program, device = compiled(lookup, "f32[n]", "i64[m]"), find_device("cuda")
    x, i = device.upload(np.ones(3, "float32")), device.upload(np.array([0]))
    for _ in range(5):
        program(x, i)
    assert api.log.count("cuMemsetD8Async") == 1
    device.synchronize()
    program(x, i)
    assert api.log.count("cuMemsetD8Async") == 2


def test_a_program_that_runs_again_is_one_graph(api: FakeApi) -> None:
    program = compiled(chain, "f32[n, n]")
    assert program.without_graph == "it has not run yet"
    want = reference(chain, X)[0]
    for number in range(4):
        np.testing.assert_allclose(program(X)[0], want, rtol=1e-5)
        launches = api.log.count("cuLaunchKernel")
        assert api.log.count("cuGraphLaunch") == number, "from the second run on"
    assert program.without_graph is None
    assert launches == len(api.graphs[0].nodes) > 2 and len(api.graphs) == 1


def test_a_graph_follows_inputs_that_lie_elsewhere(api: FakeApi) -> None:
    program, device = compiled(chain, "f32[n, n]"), find_device("cuda")
    arrays = [np.random.default_rng(seed).random((4, 4), np.float32) for seed in range(5)]
    inputs = [device.upload(array) for array in arrays]
    for buffer, array in [*zip(inputs, arrays, strict=True)] * 2:
        (output,) = program(buffer)
        np.testing.assert_allclose(output.numpy(), reference(chain, array)[0], rtol=1e-5)
        del output
    assert len(api.graphs) == 2, "then they are updated"
    assert api.log.count("cuGraphLaunch") == 9
    assert 0 < api.log.count("cuGraphExecKernelNodeSetParams") < 9 * len(api.graphs[0].nodes) // 2


def test_a_graph_goes_with_its_program(api: FakeApi) -> None:
    program = compiled(chain, "f32[n, n]")
    program(X)
    program(X)
    assert not api.graphs[0].is_destroyed
    del program
    import gc as collector

    collector.collect()
    assert api.graphs[0].is_destroyed


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [("GRAPHC_CUDA_GRAPHS", "0", "GRAPHC_CUDA_GRAPHS=0"), ("GRAPHC_CUDA_BLOCKING", "1", "waits for each kernel")],
)
def test_graphs_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str) -> None:
    monkeypatch.setenv(variable, value)
    api = use(monkeypatch, FakeApi())
    program = compiled(chain, "f32[n, n]")
    for _ in range(3):
        program(X)
    assert not api.graphs and reason in program.without_graph


def test_why_there_is_no_graph(api: FakeApi) -> None:
    def run(function: Any, *arrays: np.ndarray) -> str:
        specs = [f"{a.dtype.kind}{8 * a.dtype.itemsize}[{', '.join(map(str, a.shape))}]" for a in arrays]
        program = compiled(function, *specs)
        for _ in range(2):
            program(*arrays)
        return str(program.without_graph)

    assert run(lambda x: x + 1.0, X) == "there are fewer than two launches"
    text = """graph @f(%x: f32[n]) -> (f32[n]) {
      %0: f32[n] = polygamma(%x) {n = 1}
      return %0
    }"""
    on_host = compile_graph(parse(text), "cuda")
    np.testing.assert_allclose(on_host(np.ones(3, "float32"))[0], [np.pi**2 / 6] * 3, rtol=1e-6)
    assert on_host.without_graph == "polygamma runs on the host"
    api.failing["cuGraphInstantiate"] = Error("CUDA_ERROR_NOT_SUPPORTED", 801)
    assert "CUDA_ERROR_NOT_SUPPORTED" in run(chain, X)


def test_a_device_that_is_full_says_what_the_program_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeApi(total=4 << 20))
    program = compiled(lambda x: (x @ x) + 1.0, "f32[n, n]")
    with pytest.raises(OutOfMemoryError, match=r"has no room for 4,194,304 bytes for f, which plans for [\d,]+: ") as caught:
        program(np.zeros((1024, 1024), "float32"))
    assert "4,194,304 of parameters" in str(caught.value) and "program(np.zeros((1024, 1024)" in str(caught.value)


def test_blocking_names_the_kernel_and_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CUDA_BLOCKING", "1")
    api = use(monkeypatch, FakeApi())
    program = compiled(lookup, "f32[n]", "i64[m]")
    api.failing["cuStreamSynchronize"] = Error("CUDA_ERROR_ILLEGAL_ADDRESS", 700)
    with pytest.raises(DeviceError, match=r"the kernel \w+ failed: the NVIDIA driver says CUDA_ERROR_ILLEGAL_ADD") as caught:
        program(np.ones(3, "float32"), np.array([1]))
    assert "x[i] * 2.0" in str(caught.value)


def test_threads_run_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_graph(traced(lambda x: gc.softmax(x * 2.0, axis=-1), "f32[n]"), "cuda")
    one_at_a_time = threading.Lock()  # the simulator's kernels; what this looks at is the memory between them
    simulate = SimulatedDriver.launch

    def launch(self: SimulatedDriver, call: Any) -> None:
        with one_at_a_time:
            simulate(self, call)

    monkeypatch.setattr(SimulatedDriver, "launch", launch)
    arrays = [np.random.default_rng(seed).random(3, np.float32) for seed in range(4)]
    wrong: list[int] = []

    def work(number: int) -> None:
        x = arrays[number]
        want = np.exp(2 * x) / np.exp(2 * x).sum()
        for _ in range(5):
            (got,) = program(x)
            if not np.allclose(got, want, rtol=1e-5):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_seconds_are_of_launches_alone(api: FakeApi) -> None:
    program = compiled(chain, "f32[n, n]")
    copies = api.log.count("cuMemcpyHtoDAsync")
    assert len(program.seconds(X, repeats=3)) == 3
    assert api.log.count("cuMemcpyHtoDAsync") == copies + 1
    assert api.log.count("cuGraphLaunch") == 4
