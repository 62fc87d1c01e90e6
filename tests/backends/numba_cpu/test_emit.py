"""The text of kernels, kept in golden files, and what Numba makes of it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu.backend import native_kernel
from graphc.backends.numba_cpu.emit import emit
from graphc.compile import compile_graph
from graphc.dtypes import bool_, float16, float32, int8, int32
from graphc.ir.builder import Builder
from graphc.ir.dims import evaluate_dim, symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.plan import KernelStep, make_plan
from graphc.runtime.executable import Executable

N, M = symbol("n"), symbol("m")
Golden = Callable[[str | Path, str], None]


def build(function: Callable[..., Any], *types: TensorType) -> Graph:
    b = Builder("g", location=Location("model.py", 12))
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return b.finish(outputs if isinstance(outputs, list) else [outputs])


def rows(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(0,))


def gelu(b: Builder, x: Value) -> Value:
    cube = b.mul(x, b.mul(x, x))
    inner = b.mul(b.full_like(x, 0.7978845608), b.add(x, b.mul(b.full_like(x, 0.044715), cube)))
    return b.mul(b.mul(b.full_like(x, 0.5), x), b.add(b.full_like(x, 1.0), b.tanh(inner)))


def exp_and_sum(b: Builder, x: Value, m: Value) -> list[Value]:
    e = b.exp(b.sub(x, rows(b, m, x)))
    return [e, b.reduce_sum(e, axes=(1,))]


def rescaled_column_max(b: Builder, x: Value, s: Value) -> Value:
    return b.mul(b.reduce_max(b.abs(x), axes=(0,)), s)


def root_mean_square(b: Builder, x: Value) -> Value:
    return b.sqrt(b.reduce_sum(b.mul(x, x), axes=(0, 1)))


def moved(b: Builder, x: Value) -> Value:
    inner = b.slice(x, starts=(1, 0), limits=(N, M), strides=(2, 1))
    return b.add(b.reverse(inner, axes=(1,)), b.iota(dtype=int8, shape=inner.shape, axis=1))


def halves(b: Builder, x: Value) -> Value:
    return b.select(b.gt(x, b.full_like(x, 0.0)), b.mul(x, x), b.exp(x))


def where_largest(b: Builder, x: Value) -> Value:
    return b.argmax(x, axis=1)


def transposed(b: Builder, x: Value) -> Value:
    return b.exp(b.transpose(x, permutation=(1, 0)))


CASES: dict[str, tuple[Callable[..., Any], tuple[TensorType, ...]]] = {
    "gelu": (gelu, (TensorType(float32, (N, M)),)),
    "exp_and_sum": (exp_and_sum, (TensorType(float32, (N, M)), TensorType(float32, (N,)))),
    "column_max": (rescaled_column_max, (TensorType(float32, (N, M)), TensorType(float32, (M,)))),
    "root_mean_square": (root_mean_square, (TensorType(float32, (N, M)),)),
    "moved": (moved, (TensorType(int8, (N, M)),)),
    "halves": (halves, (TensorType(float16, (N,)),)),
    "where_largest": (where_largest, (TensorType(float32, (N, M)),)),
    "transposed": (transposed, (TensorType(float32, (N, M)),)),
}


@pytest.mark.parametrize("name", CASES)
def test_source_is_as_written(name: str, golden: Golden) -> None:
    function, types = CASES[name]
    plan = make_plan(build(function, *types))
    sources = [s.source for kernel in plan.kernels for s in emit(kernel, annotate=True)]
    golden(f"golden/{name}.txt", "\n\n".join(sources))


@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_with_the_reference(name: str) -> None:
    function, types = CASES[name]
    graph = build(function, *types)
    rng = np.random.default_rng(0)
    for n, m in ((5, 3), (1, 1), (0, 4), (33, 1100)):
        if n == 0 and name == "moved":  # 1:0 is not a slice
            continue
        shapes = [tuple({N: n, M: m}[d] for d in t.shape) for t in types]
        arrays = [np.asarray(rng.normal(size=s) * 3).astype(t.dtype.numpy) for s, t in zip(shapes, types, strict=True)]
        got = compile_graph(graph, "cpu")(*arrays)
        want = compile_graph(graph, "reference")(*arrays)
        for g, w in zip(got, want, strict=True):
            assert (g.dtype, g.shape) == (w.dtype, w.shape)
            allowed = 2e-3 if name == "halves" else 3e-6
            np.testing.assert_allclose(g.astype(np.float64), w.astype(np.float64), rtol=allowed, atol=allowed)


@pytest.mark.parametrize("name", ["gelu", "exp_and_sum", "column_max", "root_mean_square"])
def test_inner_loops_are_vectors(name: str) -> None:
    function, types = CASES[name]
    executable = compile_graph(build(function, *types))
    assert isinstance(executable, Executable)
    assert "x float>" in executable.kernels()[0].text("llvm")


def test_the_same_computation_of_other_sizes_has_the_same_source() -> None:
    def sources(*shape: int) -> list[str]:
        plan = make_plan(build(root_mean_square, TensorType(float32, shape)))
        plan_rows = make_plan(build(exp_and_sum, TensorType(float32, shape), TensorType(float32, shape[:1])))
        return [s.source for p in (plan, plan_rows) for kernel in p.kernels for s in emit(kernel)]

    assert sources(64, 64) == sources(3, 1000)


def test_user_lines_are_shown_but_not_compiled() -> None:
    (kernel,) = make_plan(build(gelu, TensorType(float32, (N,)))).kernels
    (compiled,), (shown,) = emit(kernel), emit(kernel, annotate=True)
    assert "model.py" not in compiled.source
    assert "# model.py:12" in shown.source


@pytest.mark.parametrize("function", [gelu, transposed, root_mean_square], ids=["map", "tiled map", "reduction"])
def test_a_split_range_gives_the_same_bits(function: Callable[..., Any]) -> None:
    graph = build(function, TensorType(float32, (N, M)))
    (step,) = make_plan(graph).steps
    assert isinstance(step, KernelStep)
    x = np.random.default_rng(1).normal(size=(300, 401)).astype(np.float32)

    def run(pieces: int) -> np.ndarray:
        out = np.empty(1 if function is root_mean_square else 300 * 401, np.float32)
        tmp = np.empty(1000, np.float64)
        buffers = np.array([x.ctypes.data, out.ctypes.data, tmp.ctypes.data], np.int64)
        for source in emit(step.kernel):
            kernel = native_kernel(source)
            sizes = np.array([_value(s, 300, 401) for s in source.sizes], np.int64)
            extent = _value(source.extent, 300, 401)
            edges = np.linspace(0, extent, min(pieces, extent) + 1).astype(int)
            status = np.zeros(4, np.int64)
            for lo, hi in pairwise(edges):
                kernel.call(buffers.ctypes.data, sizes.ctypes.data, int(lo), int(hi), status.ctypes.data)
        return out

    np.testing.assert_array_equal(run(1), run(7))


def _value(dim: Any, n: int, m: int) -> int:
    return evaluate_dim(dim, {"n": n, "m": m})


def test_full_sums_are_as_accurate_as_pairwise_ones() -> None:
    x = np.random.default_rng(2).random(3_000_001).astype(np.float32)
    graph = build(lambda b, v: b.reduce_sum(v, axes=(0,)), TensorType(float32, (N,)))
    exact = float(x.astype(np.float64).sum())
    (got,) = compile_graph(graph)(x)
    assert abs(float(got) - exact) / exact <= 2 * abs(float(x.sum()) - exact) / exact + np.finfo(np.float32).eps


@pytest.mark.parametrize("dtype", [int32, int8, bool_], ids=str)
def test_columns_of_a_wide_matrix(dtype: Any) -> None:
    """More columns than one block, with kept axes before and after the reduced one."""
    op = "reduce_all" if dtype is bool_ else "reduce_sum"
    graph = build(lambda b, v: b.emit_one(op, v, axes=(1,)), TensorType(dtype, (N, 3, M)))
    x = np.random.default_rng(3).integers(0, 2, (4, 3, 1300)).astype(dtype.numpy)
    np.testing.assert_array_equal(compile_graph(graph)(x)[0], compile_graph(graph, "reference")(x)[0])


def test_argmax_takes_the_first_and_prefers_nan() -> None:
    x = np.array([[1, 3, 3, 2], [np.nan, 5, np.nan, 9], [-np.inf, -np.inf, -np.inf, -np.inf]], np.float32)
    graph = build(lambda b, v: [b.argmax(v, axis=1), b.argmin(v, axis=1)], TensorType(float32, (N, M)))
    largest, smallest = compile_graph(graph)(x)
    assert largest.tolist() == [1, 0, 0]
    assert smallest.tolist() == [0, 0, 0]
    down = build(lambda b, v: b.argmax(v, axis=0), TensorType(float32, (N, M)))
    assert compile_graph(down)(x)[0].tolist() == [1, 1, 1, 1]
    flat = build(lambda b, v: b.argmax(v, axis=0), TensorType(float32, (N,)))
    wide = np.zeros(50_000, np.float32)
    wide[[40_000, 45_000]] = 1
    assert compile_graph(flat)(wide)[0] == 40_000


@pytest.mark.parametrize("dtype", [float32, float16, int8, bool_], ids=str)
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_argmax_of_every_kind_and_length(op: str, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    graph = build(lambda b, v: b.emit_one(op, v, axis=1), TensorType(dtype, (N, M)))
    flat = build(lambda b, v: b.emit_one(op, v, axis=0), TensorType(dtype, (N,)))
    for n, m in ((3, 1), (5, 67), (2, 1025), (0, 4)):
        x = rng.integers(-3, 4, (n, m)).astype(dtype.numpy)
        if dtype.is_floating and m > 1:
            x[:1, m // 2] = np.nan
            x[1:2] = -np.inf if op == "argmax" else np.inf
        np.testing.assert_array_equal(compile_graph(graph)(x)[0], compile_graph(graph, "reference")(x)[0])
    wide = rng.integers(-3, 4, 40_001).astype(dtype.numpy)
    np.testing.assert_array_equal(compile_graph(flat)(wide)[0], compile_graph(flat, "reference")(wide)[0])


def test_argmax_of_computed_floats_finds_its_value() -> None:
    """A product may be contracted in one loop and not in another: such bodies keep value and place together."""
    graph = build(lambda b, x, y: b.argmax(b.add(b.mul(x, x), y), axis=1), *[TensorType(float32, (N, M))] * 2)
    x, y = np.random.default_rng(5).normal(size=(2, 9, 333)).astype(np.float32)
    np.testing.assert_array_equal(compile_graph(graph)(x, y)[0], compile_graph(graph, "reference")(x, y)[0])


@pytest.mark.parametrize("permutation", [(2, 0, 1), (1, 2, 0), (2, 1, 0), (0, 2, 1)])
def test_transposes_of_odd_sizes(permutation: tuple[int, ...]) -> None:
    graph = build(
        lambda b, v: b.reverse(b.transpose(v, permutation=permutation), axes=(1,)), TensorType(int8, (N, M, 35))
    )
    for n, m in ((1, 1), (33, 17), (0, 3), (3, 70)):
        x = np.arange(n * m * 35, dtype=np.int64).reshape(n, m, 35).astype(np.int8)
        np.testing.assert_array_equal(compile_graph(graph)(x)[0], np.flip(x.transpose(permutation), 1))
