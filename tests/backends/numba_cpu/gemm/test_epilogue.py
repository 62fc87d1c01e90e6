"""Epilogues of every kind of product kernel against the reference, and the same bits however the range is divided."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.backends.numba_cpu.gemm.blocked import block_sizes
from graphc.compile import compile_graph
from graphc.dtypes import DType, bfloat16, bool_, float16, float32, float64, int32, uint8
from graphc.ir.builder import Builder
from graphc.ir.dims import evaluate_dim, symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.runtime.executable import Executable
from graphc.runtime.program import RunKernels

DEEP = 2 * block_sizes(float32).depth + 3
FLOATS = [float32, float64, float16, bfloat16]
TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def spread(b: Builder, x: Value, like: Value, dims: tuple[int, ...]) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=dims)


def product(b: Builder, x: Value, y: Value) -> Value:
    axes = tuple(range(x.ndim - 2))
    return b.dot_general(x, y, contract=((x.ndim - 1,), (y.ndim - 2,)), batch=(axes, axes))


def dense(dtype: DType, m: int, n: int, k: int, batch: tuple[int, ...] = (), symbolic: bool = False) -> Graph:
    """Bias and activation, with the sum before it as a second output and a mask as a third."""
    size = {number: symbol(f"n{number}") if symbolic else number for number in (m, n, k)}
    b = Builder("dense")
    shapes = ((*batch, size[m], size[k]), (*batch, size[k], size[n]), (size[n],), (*batch, size[m], size[n]))
    x, y, bias, residual = (b.parameter(TensorType(dtype, shape)) for shape in shapes)
    sums = product(b, x, y)
    total = b.add(sums, spread(b, bias, sums, (sums.ndim - 1,)))
    zero = spread(b, b.constant(np.zeros((), dtype.numpy)), sums, ())
    return b.finish([b.add(b.maximum(total, zero), residual), total, b.gt(total, zero)])


def inputs(graph: Graph, bindings: dict[str, int] | None = None) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = []
    for type_ in graph.parameter_types:
        shape = tuple(evaluate_dim(size, bindings or {}) for size in type_.shape)
        values = rng.standard_normal(shape) if type_.dtype.is_floating else rng.integers(0, 100, shape)
        arrays.append(values.astype(type_.dtype.numpy))
    return arrays


def judge(graph: Graph, arrays: list[np.ndarray], scale: float = 1.0) -> list[np.ndarray]:
    """The results, which must agree with the reference; where a comparison was close, either of its results is right."""
    got, want = compile_graph(graph, optimize=False)(*arrays), compile_graph(graph, "reference")(*arrays)
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        if mine.dtype == np.bool_:
            assert np.count_nonzero(mine != theirs) <= 0.02 * mine.size + 1
        elif mine.dtype.kind in "iu":
            np.testing.assert_array_equal(mine, theirs)
        else:
            tolerance = TOLERANCE[str(theirs.dtype)] * scale
            np.testing.assert_allclose(mine.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance)
    return got


def has_epilogue(graph: Graph) -> bool:
    executable = compile_graph(graph, optimize=False)
    assert isinstance(executable, Executable)
    return any(isinstance(i, RunKernels) and i.called for i in executable.program.instructions)


SIZES = [(37, 45, 29), (32, 64, 16), (14, 32, DEEP), (300, 150, 70), (3, 5, 0), (1, 45, 29), (45, 1, 29), (6, 7, 1), (1, 1, 9)]


@pytest.mark.parametrize("m, n, k", SIZES)
@pytest.mark.parametrize("dtype", [*FLOATS, int32, uint8], ids=str)
def test_every_kernel(dtype: DType, m: int, n: int, k: int) -> None:
    graph = dense(dtype, m, n, k)
    assert has_epilogue(graph)
    judge(graph, inputs(graph), scale=max(k, 1) ** 0.5)


@pytest.mark.parametrize("m, n, k", [(37, 45, 29), (1, 45, 29), (45, 1, 29), (6, 7, 1)])
def test_batches(m: int, n: int, k: int) -> None:
    graph = dense(float32, m, n, k, batch=(2, 3))
    assert has_epilogue(graph)
    judge(graph, inputs(graph))


@pytest.mark.parametrize("m, n, k", [(37, 45, 29), (2, 300, 3), (0, 5, 3), (4, 5, 0)])
def test_sizes_of_the_call(m: int, n: int, k: int) -> None:
    graph = dense(float32, 1001, 1002, 1003, symbolic=True)
    judge(graph, inputs(graph, {"n1001": m, "n1002": n, "n1003": k}))


def in_pieces(graph: Graph, arrays: list[np.ndarray], pieces: int) -> list[np.ndarray]:
    """The outputs of a graph that is one product, with each kernel's range cut into ``pieces``, the last first."""
    executable = compile_graph(graph, optimize=False)
    assert isinstance(executable, Executable)
    program = executable.program
    (step,) = program.instructions
    assert isinstance(step, RunKernels) and step.called
    made = {slot: np.empty(program.slots[slot].shape, program.slots[slot].dtype.numpy) for slot in step.results}
    places = dict(zip(program.parameters, arrays, strict=True)) | made
    scratch = [np.empty(t.shape, t.dtype.numpy) for t in step.scratch]
    buffers = np.array([a.ctypes.data for a in (*(places[s] for s in (*step.operands, *step.results)), *scratch)], np.int64)
    status = (ctypes.c_int64 * 8)()
    for kernel in step.kernels:
        sizes = np.array(kernel.sizes, np.int64)
        extent = kernel.extent
        assert isinstance(extent, int)
        for piece in reversed(range(pieces)):
            lo, hi = extent * piece // pieces, extent * (piece + 1) // pieces
            if lo < hi:
                kernel.call(buffers.ctypes.data, sizes.ctypes.data, lo, hi, ctypes.addressof(status))
    return [made[slot] for slot in program.outputs]


@pytest.mark.parametrize("dtype", [float32, bfloat16, int32], ids=str)
@pytest.mark.parametrize("m, n, k", [(300, 401, 500), (1, 5000, 20), (600, 1, 20), (600, 300, 1)])
def test_bits_do_not_depend_on_the_division(dtype: DType, m: int, n: int, k: int) -> None:
    def function(b: Builder) -> Graph:
        x, y, bias = (b.parameter(TensorType(dtype, shape)) for shape in ((m, k), (k, n), (n,)))
        sums = product(b, x, y)
        total = b.mul(b.add(sums, spread(b, bias, sums, (1,))), sums)
        return b.finish([b.tanh(total) if dtype.is_floating else total])

    graph = function(Builder("g"))
    arrays = inputs(graph)
    whole = in_pieces(graph, arrays, 1)[0]
    for pieces in (2, 3, 7):
        np.testing.assert_array_equal(in_pieces(graph, arrays, pieces)[0].view(np.uint8), whole.view(np.uint8))


def convolved(b: Builder, x: Value, w: Value, groups: int = 1) -> Value:
    spatial = x.ndim - 2
    return b.conv_general(
        x, w, strides=(1,) * spatial, padding=((1, 1),) * spatial, lhs_dilation=(1,) * spatial,
        rhs_dilation=(1,) * spatial, groups=groups,
    )  # fmt: skip


def activated(dtype: DType, x: tuple[int, ...], w: tuple[int, ...], groups: int) -> Graph:
    """A convolution, bias and activation, times a number an image, with the sums as a second output."""
    b = Builder("g")
    image, weights, bias = (b.parameter(TensorType(dtype, shape)) for shape in (x, w, (w[0],)))
    sums = convolved(b, image, weights, groups)
    scale = b.parameter(TensorType(dtype, sums.shape))
    total = b.add(sums, spread(b, bias, sums, (1,)))
    zero = spread(b, b.constant(np.zeros((), dtype.numpy)), sums, ())
    return b.finish([b.mul(b.maximum(total, zero), scale), total])


@pytest.mark.parametrize(
    ("x", "w", "groups"),
    [
        ((3, 4, 9, 11), (6, 4, 3, 3), 1),
        ((2, 4, 40), (12, 2, 3), 2),
        ((2, 6, 40), (6, 1, 3), 6),
        ((1, 1, 1, 1), (1, 1, 1, 1), 1),
        ((0, 3, 5, 5), (4, 3, 3, 3), 1),
        ((2, 16, 21, 17), (16, 16, 3, 3), 1),
        ((3, 64, 40), (64, 32, 5), 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [float32, bfloat16, int32], ids=str)
def test_convolutions(dtype: DType, x: tuple[int, ...], w: tuple[int, ...], groups: int) -> None:
    graph = activated(dtype, x, w, groups)
    assert has_epilogue(graph)
    judge(graph, inputs(graph), scale=3)


@pytest.mark.parametrize(
    ("x", "groups"), [((3, 4, 19, 21), 1), ((70, 4, 40, 40), 1), ((3, 8, 19, 21), 2), ((3, 16, 40, 33), 1)], ids=str
)
def test_bits_of_convolutions_do_not_depend_on_the_division(x: tuple[int, ...], groups: int) -> None:
    b = Builder("g")
    image, weights, bias = (b.parameter(TensorType(float32, shape)) for shape in (x, (16, x[1] // groups, 3, 3), (16,)))
    sums = convolved(b, image, weights, groups)
    graph = b.finish([b.tanh(b.mul(b.add(sums, spread(b, bias, sums, (1,))), sums))])
    arrays = inputs(graph)
    whole = in_pieces(graph, arrays, 1)[0]
    for pieces in (2, 3, 7):
        np.testing.assert_array_equal(in_pieces(graph, arrays, pieces)[0], whole)


def test_an_operand_that_the_map_reads_too() -> None:
    def function(b: Builder) -> Graph:
        x, y = (b.parameter(TensorType(float32, (40, 40))) for _ in range(2))
        return b.finish([b.add(b.add(product(b, x, y), x), b.transpose(b.tanh(y), permutation=(1, 0)))])

    graph = function(Builder("g"))
    judge(graph, inputs(graph))


UNARY = ("neg", "tanh", "abs", "exp", "logistic", "sign", "floor")
BINARY = ("add", "sub", "mul", "maximum", "minimum")


@st.composite
def programs(draw: Any) -> tuple[Graph, list[np.ndarray]]:
    """A product, a random map of up to eight ops on it and on operands of all kinds, and some of its values as outputs."""
    dtype = draw(st.sampled_from([float32, float64, float16]))
    batch = draw(st.sampled_from([(), (3,), (2, 2)]))
    m, n, k = (draw(st.sampled_from([1, 2, 5, 16, 33, 70])) for _ in range(3))
    b = Builder("g")
    x, y = b.parameter(TensorType(dtype, (*batch, m, k))), b.parameter(TensorType(dtype, (*batch, k, n)))
    sums = product(b, x, b.neg(y) if draw(st.booleans()) else y)
    sums = b.mul(sums, spread(b, b.constant(np.asarray(0.1, dtype.numpy)), sums, ()))
    values, axes = [sums], range(sums.ndim)
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["unary", "binary", "operand", "select", "cast"]))
        value = draw(st.sampled_from(values))
        if kind == "unary":
            one = spread(b, b.constant(np.ones((), dtype.numpy)), value, ())
            made = b.emit_one(draw(st.sampled_from(UNARY)), b.minimum(value, one))
        elif kind == "binary":
            made = b.emit_one(draw(st.sampled_from(BINARY)), value, draw(st.sampled_from(values)))
        elif kind == "operand":
            kept = draw(st.sets(st.sampled_from(list(axes))))
            operand = b.parameter(TensorType(dtype, tuple(sums.shape[a] for a in sorted(kept))))
            made = b.emit_one(draw(st.sampled_from(BINARY)), value, spread(b, operand, sums, tuple(sorted(kept))))
        elif kind == "select":
            other = draw(st.sampled_from(values))
            made = b.select(b.lt(value, spread(b, b.constant(np.zeros((), dtype.numpy)), value, ())), value, other)
        else:
            made = b.convert_element_type(b.convert_element_type(value, dtype=float32), dtype=dtype)
        values.append(made)
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
    if values[-1] not in outputs:
        outputs.append(values[-1])
    graph = b.finish(outputs)
    return graph, inputs(graph)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(program=programs())
def test_random_maps(program: tuple[Graph, list[np.ndarray]]) -> None:
    graph, arrays = program
    with np.errstate(all="ignore"):
        got = compile_graph(graph, optimize=False)(*arrays)
        want = compile_graph(graph, "reference")(*[a.astype(np.float64).astype(a.dtype) for a in arrays])
    for mine, theirs in zip(got, want, strict=True):
        tolerance = 50 * TOLERANCE[str(theirs.dtype)]
        close = np.isclose(mine.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True)
        # floor, sign and select may fall to the other side where a value is at the edge.
        assert np.count_nonzero(~close) <= 0.05 * close.size + 1


def test_a_mask_alone_needs_room_for_the_sums() -> None:
    b = Builder("g")
    x, y = b.parameter(TensorType(float32, (20, 30))), b.parameter(TensorType(float32, (30, 40)))
    sums = product(b, x, y)
    graph = b.finish([b.gt(sums, spread(b, b.constant(np.zeros((), np.float32)), sums, ()))])
    assert graph.outputs[0].dtype is bool_
    executable = compile_graph(graph, optimize=False)
    assert isinstance(executable, Executable)
    (step,) = executable.program.instructions
    assert isinstance(step, RunKernels) and step.scratch == (sums.type,)
    judge(graph, inputs(graph))


def test_products_share_one_kernel_whatever_follows_them() -> None:
    """The address of the epilogue is an argument: the product's text, which takes long to compile, is the same."""

    def texts(after: str) -> set[str]:
        b = Builder("g")
        x, y = b.parameter(TensorType(float32, (20, 30))), b.parameter(TensorType(float32, (30, 40)))
        executable = compile_graph(b.finish([b.emit_one(after, product(b, x, y))]), optimize=False)
        assert isinstance(executable, Executable)
        return {k.text("source") for k in executable.kernels() if k.name.startswith("product")}

    assert len(texts("neg") | texts("abs")) == 1
