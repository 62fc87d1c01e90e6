"""Kernels in numba-cuda's simulator: fused graphs, training steps, errors, symbolic sizes."""

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.backends.numba_cuda import adapter
from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.errors import CheckError, OutOfBoundsError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.types import TensorType
from graphc.testing import assert_equivalent
from tests.backends.numba_cpu.random_graphs import RandomGraph

pytestmark = pytest.mark.simulator

cuda = adapter.cuda  # the simulator exchanges what a kernel's module knows under this name
TARGETS = ("reference", "cuda")
TOLERANCE = {2: 2e-2, 4: 1e-4, 8: 1e-4}  # by itemsize: rounding adds up over a dozen ops


def check(graph: Graph, *shapes: tuple[int, ...], dtype: str = "float32", rtol: float | None = None) -> None:
    rng = np.random.default_rng(zlib.crc32(graph.name.encode()))
    inputs = [rng.uniform(0.1, 1.5, shape).astype(dtype) for shape in shapes]
    assert_equivalent(graph, inputs, targets=TARGETS, rtol=rtol, atol=1e-6)


def traced(function: Any, *specs: str) -> Graph:
    graph: Graph = gc.jit(function, name=getattr(function, "__name__", "f")).graph(*(gc.spec(s) for s in specs))
    return graph


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([7, 2, 0, 1]))
def test_random_graphs_agree_with_the_reference(seed: int, n: int) -> None:
    random = RandomGraph(seed, size=14)
    arrays = random.inputs(n)
    for got, want in zip(
        compile_graph(random.graph, "cuda")(*arrays), compile_graph(random.graph, "reference")(*arrays), strict=True
    ):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if want.dtype.kind in "biu":
            np.testing.assert_array_equal(got, want)
        else:
            allowed = TOLERANCE[want.dtype.itemsize]
            np.testing.assert_allclose(got.astype("f8"), want.astype("f8"), rtol=allowed, atol=allowed)


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("columns", [1, 3, 21])
def test_softmax_in_stages(rows: int, columns: int) -> None:
    check(traced(lambda x: gc.softmax(x) * x, "f32[n, m]"), (rows, columns))


def test_layer_norm_and_its_gradients() -> None:
    def norm(x: Any, w: Any, b: Any) -> Any:
        return gc.grad(lambda *a: (gc.layer_norm(a[0], (5,), a[1], a[2]) ** 2).sum(), argnums=(0, 1, 2))(x, w, b)

    check(traced(norm, "f32[n, 5]", "f32[5]", "f32[5]"), (7, 5), (5,), (5,), rtol=1e-4)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("op", ["sum", "max", "prod", "argmax"])
def test_reductions_over_every_axis(op: str, axes: tuple[int, ...]) -> None:
    if op == "argmax" and len(axes) > 1:
        function = lambda x: gc.argmax(x + 1.0)  # noqa: E731
    else:
        axis: Any = axes[0] if op == "argmax" else axes
        function = lambda x: getattr(gc, op)(x * 2.0, axis=axis)  # noqa: E731
    check(traced(function, "f32[a, b, c]"), (3, 5, 4))


def test_ties_and_nan_in_a_search() -> None:
    graph = traced(lambda x: (gc.argmax(x, axis=1), gc.argmin(x, axis=1), gc.max(x, axis=1)), "f32[3, 11]")
    x = np.zeros((3, 11), np.float32)
    x[0, 3] = x[0, 9] = 2
    x[1, 7] = x[1, 2] = np.nan
    x[2] = -np.inf
    assert_equivalent(graph, [x], targets=TARGETS)


def mlp(x: Any, y: Any, w: Any, v: Any) -> Any:
    def loss(w: Any, v: Any) -> Any:
        return gc.cross_entropy(gc.relu(x @ w) @ v, y)

    gradients = gc.grad(loss, argnums=(0, 1))(w, v)
    return loss(w, v), w - 0.1 * gradients[0], v - 0.1 * gradients[1]


def cnn(x: Any, y: Any, k: Any, w: Any) -> Any:
    def loss(k: Any, w: Any) -> Any:
        features = gc.max_pool2d(gc.relu(gc.conv2d(x, k, padding=1)), 2)
        return gc.cross_entropy(features.reshape(3, -1) @ w, y)

    gradients = gc.grad(loss, argnums=(0, 1))(k, w)
    return loss(k, w), k - 0.1 * gradients[0], w - 0.1 * gradients[1]


def transformer(tokens: Any, table: Any, q: Any, w: Any) -> Any:
    def loss(table: Any, q: Any, w: Any) -> Any:
        x = table[tokens]
        scores = (x @ q) @ gc.swapaxes(x, -1, -2) / 2.0
        mixed = gc.softmax(gc.where(gc.tril(gc.ones((4, 4))) > 0, scores, -1e9), axis=-1) @ x
        logits = gc.layer_norm(mixed + x, (6,)) @ w
        return gc.cross_entropy(logits.reshape(-1, 8), tokens.reshape(-1))

    gradients = gc.grad(loss, argnums=(0, 1, 2))(table, q, w)
    return loss(table, q, w), *gradients


@pytest.mark.parametrize(
    ("x", "y", "contract", "batch"),
    [
        ("3, 4, 2", "4, 5", ((1,), (0,)), ((), ())),  # the free axes of x are apart
        ("2, 3, 4, 5", "5, 2, 6, 3", ((1, 3), (3, 0)), ((), ())),  # two contracted axes, in another order
        ("2, 6, 3, 5", "3, 5, 4, 2", ((3,), (1,)), ((0, 2), (3, 0))),  # batches in the middle and at the end
        ("7", "7", ((0,), (0,)), ((), ())),
        ("3, 0", "0, 2", ((1,), (0,)), ((), ())),  # sums of nothing
        ("4", "3", ((), ()), ((), ())),
    ],
)
def test_products_of_any_layout(x: str, y: str, contract: Any, batch: Any) -> None:
    b = Builder("product")
    operands = [b.parameter(TensorType(float32, tuple(int(size) for size in shape.split(",")))) for shape in (x, y)]
    graph = b.finish(b.emit("dot_general", *operands, contract=contract, batch=batch))
    check(graph, *(tuple(int(size) for size in shape.split(",")) for shape in (x, y)))


def labels(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4, shape)


def test_a_training_step_of_an_mlp() -> None:
    rng = np.random.default_rng(0)
    graph = traced(mlp, "f32[n, 9]", "i64[n]", "f32[9, 6]", "f32[6, 4]")
    arrays = [rng.normal(size=s).astype("float32") for s in ((5, 9), (9, 6), (6, 4))]
    assert_equivalent(graph, [arrays[0], labels(5), *arrays[1:]], targets=TARGETS, rtol=1e-4, atol=1e-6)


def test_a_training_step_of_a_convolutional_network() -> None:
    rng = np.random.default_rng(0)
    graph = traced(cnn, "f32[3, 2, 6, 6]", "i64[3]", "f32[4, 2, 3, 3]", "f32[36, 4]")
    arrays = [rng.normal(size=s).astype("float32") for s in ((3, 2, 6, 6), (4, 2, 3, 3), (36, 4))]
    assert_equivalent(graph, [arrays[0], labels(3), *arrays[1:]], targets=TARGETS, rtol=1e-4, atol=1e-5)


def test_a_training_step_of_a_transformer() -> None:
    rng = np.random.default_rng(0)
    graph = traced(transformer, "i64[2, 4]", "f32[8, 6]", "f32[6, 6]", "f32[6, 8]")
    arrays = [rng.normal(size=s).astype("float32") for s in ((8, 6), (6, 6), (6, 8))]
    assert_equivalent(graph, [labels(2, 4), *arrays], targets=TARGETS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_and_its_gradients(is_causal: bool) -> None:
    """There is no kernel of its own: its parts are products, with what masks and scales in them, and softmax by rows."""

    def step(q: Any, k: Any, v: Any) -> Any:
        def loss(q: Any, k: Any, v: Any) -> Any:
            return gc.sum(gc.scaled_dot_product_attention(q, k, v, is_causal=is_causal) ** 2)

        return loss(q, k, v), gc.grad(loss, argnums=(0, 1, 2))(q, k, v)

    check(traced(step, *["f32[b, h, t, 4]"] * 3), *[(2, 2, 5, 4)] * 3, rtol=1e-4)


def test_sums_of_floats_in_order() -> None:
    text = """graph @add(%x: f32[5, 3], %u: f32[7, 3], %i: i64[7]) -> (f32[5, 3]) {
      %0: f32[5, 3] = scatter_add(%x, %u, %i) {axes = (0)}
      return %0
    }"""
    with gc.deterministic():
        compiled: Any = compile_graph(parse(text), "cuda")
    assert "atomic.add" not in compiled.stages()["source"]
    x, u = np.ones((5, 3), "float32"), np.arange(21, dtype="float32").reshape(7, 3)
    i = np.array([0, 4, 4, 1, 0, 0, 3])
    (want,) = compile_graph(parse(text), "reference")(x, u, i)
    np.testing.assert_array_equal(compiled(x, u, i)[0], want)


def test_new_sizes_need_no_new_program() -> None:
    compiled = compile_graph(traced(lambda x: gc.softmax(x, axis=-1), "f32[n, m]"), "cuda")
    for shape in ((2, 3), (5, 1), (1, 9)):
        (got,) = compiled(np.zeros(shape, "float32"))
        np.testing.assert_allclose(got, np.full(shape, 1 / shape[1]), rtol=1e-6)


def test_empty_arrays() -> None:
    compiled = compile_graph(traced(lambda x: (x + 1.0, gc.sum(x), gc.sum(x, axis=1)), "f32[n, m]"), "cuda")
    same, total, rows = compiled(np.zeros((0, 3), "float32"))
    assert (same.shape, float(total), rows.shape) == ((0, 3), 0.0, (0,))


def test_an_index_out_of_range_is_raised_at_the_users_line() -> None:
    def lookup(table: Any, ids: Any) -> Any:
        return table[ids] * 2.0

    compiled = compile_graph(traced(lookup, "f32[4, 2]", "i64[n]"), "cuda")
    table = np.ones((4, 2), "float32")
    compiled(table, np.array([0, 3]))
    with pytest.raises((OutOfBoundsError, CheckError)) as caught:
        compiled(table, np.array([0, 7]))
    assert caught.value.location.filename == __file__


def test_gather_reports_index_axis_and_size() -> None:
    text = """graph @g(%x: f32[4, 2], %i: i64[n]) -> (f32[n, 2]) {
      %0: f32[n, 2] = gather(%x, %i) {axes = (0)}
      return %0
    }"""
    with pytest.raises(OutOfBoundsError, match="gather: index -3 is out of range for axis 0, which has size 4"):
        compile_graph(parse(text), "cuda")(np.ones((4, 2), "float32"), np.array([1, -3]))


def test_a_check_that_fails() -> None:
    text = """graph @c(%x: f32[3]) -> (f32[3]) {
      %0: f32[] = reduce_max(%x) {axes = (0)}
      %1: f32[] = constant() {value = dense<f32[]: 2.0>}
      %2: bool[] = lt(%0, %1)
      effect check(%2) {message = "too large"}
      return %x
    }"""
    compiled = compile_graph(parse(text), "cuda")
    compiled(np.ones(3, "float32"))
    with pytest.raises(CheckError, match="too large"):
        compiled(np.full(3, 5.0, "float32"))


def test_a_reshape_to_another_number_of_elements() -> None:
    compiled = compile_graph(traced(lambda x: gc.reshape(x, (2, -1)) + 1.0, "f32[n]"), "cuda")
    with pytest.raises(ShapeError):
        compiled(np.ones(3, "float32"))


def test_outputs_are_new_memory() -> None:
    compiled = compile_graph(traced(lambda x: (x, x.reshape(-1), x + 1.0), "f32[2, 2]"), "cuda")
    x = np.ones((2, 2), "float32")
    outputs = compiled(x)
    for output in outputs:
        assert not np.shares_memory(output, x)
        output[...] = 9
    np.testing.assert_array_equal(x, 1)


def test_inputs_of_any_layout() -> None:
    compiled = compile_graph(traced(lambda x: x * 2.0, "f32[3, 2]"), "cuda")
    x = np.arange(12, dtype="float32").reshape(4, 3)[::2].T
    np.testing.assert_array_equal(compiled(x)[0], x * 2)
    np.testing.assert_array_equal(compiled(np.ascontiguousarray(x))[0], x * 2)


def test_a_session_runs_on_it() -> None:
    graph = gc.Graph()
    with graph.as_default():
        x = gc.placeholder("float32", [None])
        y = gc.exp(x)
    with gc.Session(graph, target="cuda") as session:
        np.testing.assert_allclose(session.run(y, {x: np.zeros(3, "float32")}), np.ones(3))


def test_launches_are_timed_apart_from_copies() -> None:
    compiled: Any = compile_graph(traced(lambda x: gc.softmax(x, axis=-1), "f32[n, m]"), "cuda")
    times = compiled.seconds(np.ones((2, 3), "float32"), repeats=3)
    assert len(times) == 3 and all(seconds > 0 for seconds in times)


def test_the_simulator_makes_no_code() -> None:
    compiled: Any = compile_graph(traced(lambda x: x + 1.0, "f32[n]"), "cuda")
    assert set(compiled.stages()) == {"kernels", "source"}


def add_up(result: Any) -> None:
    shared = cuda.shared.array(16, adapter.types.int64)
    t = cuda.threadIdx.x
    shared[t] = t
    cuda.syncthreads()
    total = 0
    for i in range(16):
        total += shared[i]
    result[cuda.blockIdx.x, t] = total


def test_threads_of_a_block_have_one_shared_array() -> None:
    """Each thread writes its own place of a shared array and reads all others', in many blocks."""

    result = np.zeros((60, 16), np.int64)
    adapter.simulate(add_up, 60, 16, [result])
    assert (result == 120).all()
