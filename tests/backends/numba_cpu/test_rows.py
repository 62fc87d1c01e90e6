"""Row kernels: their text, and that they agree with the reference for every kind of row and split."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.backends.numba_cpu.backend import native_kernel
from graphc.backends.numba_cpu.emit import emit
from graphc.compile import compile_graph
from graphc.dtypes import bfloat16, float16, float32, float64, int64
from graphc.ir.builder import Builder
from graphc.ir.dims import evaluate_dim, symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.plan import KernelStep, make_plan

N, M = symbol("n"), symbol("m")
SHAPES = [(5, 7), (1, 1), (3, 1), (0, 4), (33, 1100), (2, 5000), (1, 70_001)]


def build(function: Callable[..., Any], *types: TensorType) -> Graph:
    b = Builder("g", location=Location("model.py", 12))
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return b.finish(outputs if isinstance(outputs, list) else [outputs])


def rows(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(0,))


def softmax(b: Builder, x: Value) -> Value:
    e = b.exp(b.sub(x, rows(b, b.reduce_max(x, axes=(1,)), x)))
    return b.div(e, rows(b, b.reduce_sum(e, axes=(1,)), e))


def normalized(b: Builder, x: Value) -> list[Value]:
    """Layer norm, with its mean and variance."""
    count = b.reduce_sum(b.full_like(x, 1.0), axes=(1,))
    mean = b.div(b.reduce_sum(x, axes=(1,)), count)
    centered = b.sub(x, rows(b, mean, x))
    variance = b.div(b.reduce_sum(b.mul(centered, centered), axes=(1,)), count)
    scale = b.rsqrt(b.add(variance, b.full_like(variance, 1e-3)))
    return [b.mul(centered, rows(b, scale, x)), mean, variance]


def softmax_backward(b: Builder, x: Value, g: Value) -> Value:
    y = softmax(b, x)
    return b.mul(y, b.sub(g, rows(b, b.reduce_sum(b.mul(y, g), axes=(1,)), g)))


def masked(b: Builder, x: Value, g: Value) -> Value:
    """Softmax where ``g`` allows it, which reads the row backwards too."""
    low = b.full_like(x, -np.inf)
    y = softmax(b, b.select(b.gt(g, b.full_like(x, -1.0)), x, low))
    return b.add(y, b.reverse(y, axes=(1,)))


def counted(b: Builder, x: Value) -> list[Value]:
    """Booleans and integers for each row, and a row of them."""
    largest = b.reduce_max(x, axes=(1,))
    is_largest = b.eq(x, rows(b, largest, x))
    count = b.reduce_sum(b.convert_element_type(is_largest, dtype=int64), axes=(1,))
    is_one = b.reduce_any(b.eq(rows(b, count, x), b.iota(dtype=int64, shape=x.shape, axis=1)), axes=(1,))
    return [b.bitwise_and(is_largest, rows(b, is_one, x)), count]


CASES: dict[str, tuple[Callable[..., Any], int]] = {
    "softmax": (softmax, 1),
    "normalized": (normalized, 1),
    "softmax_backward": (softmax_backward, 2),
    "masked": (masked, 2),
    "counted": (counted, 1),
}


def graph_of(name: str, dtype: Any = float32) -> Graph:
    function, count = CASES[name]
    return build(function, *[TensorType(dtype, (N, M))] * count)


@pytest.mark.parametrize("name", CASES)
def test_they_are_one_kernel(name: str) -> None:
    assert len(make_plan(graph_of(name)).steps) == 1


@pytest.mark.parametrize("name", ["softmax", "masked"])
def test_source_is_as_written(name: str, golden: Callable[[str | Path, str], None]) -> None:
    (kernel,) = make_plan(graph_of(name)).kernels
    (source,) = emit(kernel, annotate=True)
    golden(f"golden/rows_{name}.txt", source.source)


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_they_agree_with_the_reference(name: str, dtype: Any) -> None:
    graph = graph_of(name, dtype)
    cpu, reference = compile_graph(graph), compile_graph(graph, "reference")
    rng = np.random.default_rng(0)
    tolerance = {"float32": 5e-6, "float64": 1e-12, "float16": 4e-3, "bfloat16": 4e-2}[dtype.name]
    for shape in SHAPES:
        if dtype.bits == 16 and shape[1] > 2000:
            continue  # the reference's own sums of 16-bit floats are what errs there
        arrays = [rng.normal(size=shape).astype(dtype.numpy) for _ in graph.parameters]
        for got, want in zip(cpu(*arrays), reference(*arrays), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            if want.dtype.kind in "bi":
                np.testing.assert_array_equal(got, want)
            else:
                got, want = got.astype(np.float64), want.astype(np.float64)
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["softmax", "normalized", "softmax_backward", "counted"])
def test_nan_and_infinities_stay_in_their_row(name: str) -> None:
    graph = graph_of(name)
    x = np.random.default_rng(1).normal(size=(6, 40)).astype(np.float32)
    x[0, 3] = np.nan
    x[1, [0, 39]] = np.inf
    x[2, 5] = -np.inf
    x[3] = -np.inf
    x[4, 11] = -np.nan
    arrays = [x, *[np.ones_like(x)] * (len(graph.parameters) - 1)]
    with np.errstate(invalid="ignore"):
        wants = compile_graph(graph, "reference")(*arrays)
    for got, want in zip(compile_graph(graph)(*arrays), wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_any_split_in_any_order_gives_the_same_bits(name: str) -> None:
    graph = graph_of(name)
    (step,) = make_plan(graph).steps
    assert isinstance(step, KernelStep)
    (source,) = emit(step.kernel)
    kernel = native_kernel(source)
    sizes_of = {"n": 37, "m": 1500}
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=(37, 1500)).astype(np.float32) for _ in step.operands]

    def run(edges: list[int]) -> list[np.ndarray]:
        shapes = [[evaluate_dim(d, sizes_of) for d in v.shape] for v in step.results]
        results = [np.zeros(s, v.type.dtype.numpy) for s, v in zip(shapes, step.results, strict=True)]
        scratch = [np.zeros(evaluate_dim(t.shape[0], sizes_of), t.dtype.numpy) for t in source.scratch]
        buffers = np.array([a.ctypes.data for a in (*arrays, *results, *scratch)], np.int64)
        sizes = np.array([evaluate_dim(s, sizes_of) for s in source.sizes], np.int64)
        status = np.zeros(4, np.int64)
        for lo, hi in reversed(list(pairwise(edges))):
            kernel.call(buffers.ctypes.data, sizes.ctypes.data, lo, hi, status.ctypes.data)
        return results

    for got, want in zip(run([0, 1, 2, 5, 5, 20, 37]), run([0, 37]), strict=True):
        np.testing.assert_array_equal(got, want)


def where_allowed(b: Builder, x: Value, g: Value) -> list[Value]:
    largest = b.reduce_max(b.select(b.gt(g, b.full_like(x, 0.0)), x, b.full_like(x, -np.inf)), axes=(1,))
    smallest = b.reduce_min(b.select(b.gt(g, b.full_like(x, 0.0)), x, b.full_like(x, np.inf)), axes=(1,))
    return [largest, smallest]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_extremes_of_chosen_elements_are_vectors(dtype: Any) -> None:
    """Where the others are infinite, LLVM would move the choice to the accumulator, and do one element at a time."""
    (kernel,) = compile_graph(build(where_allowed, *[TensorType(dtype, (N, M))] * 2)).kernels()
    assert f"x i{dtype.bits}> @llvm.smax" in kernel.text("llvm")
    assert f"x i{dtype.bits}> @llvm.smin" in kernel.text("llvm")


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
@pytest.mark.parametrize("op", ["reduce_max", "reduce_min"])
def test_extremes_of_zeros_infinities_and_nan(op: str, dtype: Any) -> None:
    values = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1.5, -1.5, 6e-8, -6e-8]
    pairs = np.array([(x, y) for x in values for y in values]).astype(dtype.numpy)
    for data in (pairs, np.tile(pairs, (1, 20)), pairs.T.copy(), np.zeros((0, 3), dtype.numpy)):
        graph = build(lambda b, x: b.emit_one(op, x, axes=(1,)), TensorType(dtype, (N, M)))
        (got,) = compile_graph(graph)(data)
        with np.errstate(invalid="ignore"):
            (want,) = compile_graph(graph, "reference")(data)
        np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))
        # NumPy's reductions take either zero; ours -0 < 0.
        has_zero_that_wins = ((data == 0) & (np.signbit(data) == (op == "reduce_min"))).any(axis=1)
        is_zero = got == 0
        is_negative = has_zero_that_wins if op == "reduce_min" else ~has_zero_that_wins
        np.testing.assert_array_equal(np.signbit(got)[is_zero], is_negative[is_zero])


def test_inner_loops_are_vectors() -> None:
    (kernel,) = compile_graph(graph_of("masked")).kernels()
    llvm = kernel.text("llvm")
    assert "x i32> @llvm.smax" in llvm
    assert re.search(r"fadd reassoc contract <\d+ x float>", llvm)
    assert re.search(r"fdiv contract <\d+ x float>", llvm)
