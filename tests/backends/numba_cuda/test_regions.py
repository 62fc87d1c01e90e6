"""Control flow on a device: results, and how often the host waits for them."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import OutOfBoundsError
from graphc.ir.graph import Graph
from graphc.runtime.devices import find_device
from graphc.testing import assert_equivalent

from .fake_driver import FakeApi
from .late_device import use

pytestmark = pytest.mark.simulator

WAITS = ("cuEventSynchronize", "cuStreamSynchronize")
X = np.arange(1, 5, dtype="float32")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    return use(monkeypatch, FakeApi())


def traced(function: Any, *arrays: np.ndarray) -> Graph:
    specs = [f"{a.dtype.kind}{8 * a.dtype.itemsize}[{', '.join(map(str, a.shape))}]" for a in arrays]
    graph: Graph = gc.jit(function, name="f").graph(*(gc.spec(s) for s in specs))
    return graph


def check(function: Any, *arrays: np.ndarray) -> Any:
    """The program for the GPU, whose results were compared with the reference's."""
    graph = traced(function, *arrays)
    assert_equivalent(graph, list(arrays), targets=("reference", "cuda"), rtol=1e-5, atol=1e-6)
    return compile_graph(graph, "cuda")


def waits(api: FakeApi, program: Any, *arrays: np.ndarray) -> int:
    """How often a run waits whose inputs and outputs are on the device."""
    device: Any = find_device("cuda")
    inputs = [device.upload(array) for array in arrays]
    program(*inputs)
    device.synchronize()
    before = len(api.log)
    program(*inputs)
    return sum(name in WAITS for name in api.log[before:])


def test_a_loop_of_known_length_waits_for_nothing_and_is_one_graph(api: FakeApi) -> None:
    program = check(lambda x: gc.fori_loop(0, 5, lambda i, c: gc.sin(c) + x, x), X)
    assert waits(api, program, X) == 0
    assert program.without_graph is None
    assert api.log.count("cuGraphLaunch") > 0


def test_a_long_loop_of_known_length_waits_for_nothing(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.backends.numba_cuda.schedule.MOST_PARTS", 3)
    program = check(lambda x: gc.fori_loop(0, 7, lambda i, c: gc.sin(c) + x, x), X)
    assert waits(api, program, X) == 0
    assert program.without_graph == "it has more than 3 launches, steps of loops included"


@pytest.mark.parametrize("length", [0, 1, 2, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(api: FakeApi, length: int, reverse: bool) -> None:
    def run(xs: Any, c: Any) -> Any:
        return gc.scan(lambda c, x: (c * 0.5 + x, c - x), c, xs, reverse=reverse)

    xs = np.arange(length * 3, dtype="float32").reshape(length, 3)
    program = check(run, xs, X[:3])
    assert waits(api, program, xs, X[:3]) == 0


def test_carries_that_stay_and_that_change_places(api: FakeApi) -> None:
    def swap(c: Any, x: Any) -> Any:
        a, b, kept, _ = c
        return (b, a + x, kept, b), (a, kept)

    def run(xs: Any, a: Any, b: Any) -> Any:
        return gc.scan(swap, (a, b, a, b), xs)

    for length in (1, 2, 3, 4):
        xs = np.arange(length, dtype="float32")
        check(run, xs, np.float32(3).reshape(()), np.float32(10).reshape(()))


def test_a_loop_with_a_condition_waits_once_a_step(api: FakeApi) -> None:
    def run(x: Any) -> Any:
        return gc.while_loop(lambda c: gc.sum(c) < 100.0, lambda c: c * 2.0, x)

    program = check(run, X)
    assert waits(api, program, X) == 5
    assert program.without_graph == "what runs depends on values: a branch, or a loop with a condition"
    check(run, X * 100)
    check(run, X * 15)


def test_a_branch_waits_once(api: FakeApi) -> None:
    def run(x: Any) -> Any:
        return gc.cond(gc.sum(x) > 3.0, lambda v: (gc.exp(v), v), lambda v: (v, v * 2.0), x)

    program = check(run, X)
    assert waits(api, program, X) == 1
    check(run, -X)


def test_control_flow_within_control_flow(api: FakeApi) -> None:
    def run(x: Any) -> Any:
        def outer(i: Any, c: Any) -> Any:
            inner = gc.fori_loop(0, 3, lambda j, d: gc.softmax(d) + c, c * 0.5)
            return gc.cond(gc.sum(inner) > 4.0, lambda v: gc.tanh(v @ v) * v, lambda v: v + 1.0, inner)

        return gc.fori_loop(0, 4, outer, x)

    check(run, X)


def test_gradients_of_a_loop(api: FakeApi) -> None:
    def loss(w: Any, xs: Any) -> Any:
        last, ys = gc.scan(lambda c, x: (gc.tanh(c @ w + x), c), xs[0], xs)
        return gc.sum(last) + gc.sum(ys)

    w, xs = np.random.default_rng(0).random((3, 3), np.float32), np.random.default_rng(1).random((4, 3), np.float32)
    program = check(gc.grad(loss, argnums=(0, 1)), w, xs)
    assert waits(api, program, w, xs) == 0


def test_sizes_are_bound_in_regions() -> None:
    graph = gc.jit(lambda x, c: gc.scan(lambda c, v: (c + v * 2.0, c), c, x), name="f").graph(
        gc.spec("f32[n, m]"), gc.spec("f32[m]")
    )
    for n, m in ((3, 2), (1, 5), (0, 4)):
        rng = np.random.default_rng(n)
        arrays = [rng.random((n, m), np.float32), rng.random(m, np.float32)]
        assert_equivalent(graph, arrays, targets=("reference", "cuda"))


def test_an_index_out_of_range_in_a_loop_names_its_line(api: FakeApi) -> None:
    def run(x: Any, i: Any) -> Any:
        return gc.scan(lambda c, k: (c + x[k], c), x[0], i)

    graph = traced(run, X, np.array([0, 1, 2]))
    program = compile_graph(graph, "cuda")
    with pytest.raises(OutOfBoundsError, match="index 9 is out of range") as caught:
        program(X, np.array([0, 9, 2]))
    assert "c + x[k]" in str(caught.value)


def test_an_optimization_barrier_is_a_copy(api: FakeApi) -> None:
    program = check(gc.grad(gc.checkpoint(lambda v: gc.sum(gc.sin(gc.sin(v))))), X)
    assert waits(api, program, X) == 0
    assert "host" not in str(program.without_graph)


def test_kernels_of_regions_are_shown() -> None:
    program = compile_graph(traced(lambda x: gc.fori_loop(0, 5, lambda i, c: gc.sin(c) + x, x), X), "cuda")
    assert any("sin" in kernel.name for kernel in program.kernels())  # type: ignore[attr-defined]
    assert "def " in program.stages()["source"]
