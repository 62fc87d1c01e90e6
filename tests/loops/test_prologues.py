"""Which maps are computed while a matrix product packs its operand, by the kinds of steps and the reasons in the plan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphc.dtypes import DType, bfloat16, float32, float64, int8, uint8
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.plan import KernelStep, OpStep, ProductStep, make_plan

M, N, K = symbol("m"), symbol("n"), symbol("k")
A, B = TensorType(float32, (M, K)), TensorType(int8, (K, N))
SCALE = TensorType(float32, (N,))
Function = Callable[..., Any]


def graph_of(function: Function, *types: TensorType) -> Graph:
    b = Builder("g", location=Location("model.py", 3))
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return b.finish(outputs if isinstance(outputs, list) else [outputs])


def described(function: Function, *types: TensorType) -> str:
    return make_plan(graph_of(function, *types), epilogues=True, prologues=True).describe()


def steps(function: Function, *types: TensorType) -> list[type]:
    return [type(step) for step in make_plan(graph_of(function, *types), epilogues=True, prologues=True).steps]


def product(b: Builder, x: Value, y: Value, contract: tuple[int, int] = (1, 0)) -> Value:
    return b.dot_general(x, y, contract=tuple((axis,) for axis in contract), batch=((), ()))


def dequantized(b: Builder, w: Value, scale: Value) -> Value:
    wide = b.convert_element_type(w, dtype=float32)
    return b.mul(wide, b.broadcast_in_dim(scale, shape=wide.shape, dims=(1,)))


def dense(b: Builder, x: Value, w: Value, scale: Value) -> Value:
    return b.tanh(product(b, x, dequantized(b, w, scale)))


def test_a_dense_layer_of_integers(golden: Callable[[str | Path, str], None]) -> None:
    golden("golden/dequantized.txt", described(dense, A, B, SCALE))


def test_a_cast_alone_and_no_epilogue() -> None:
    def function(b: Builder, x: Value, w: Value) -> Value:
        return product(b, x, b.convert_element_type(w, dtype=float32))

    graph = graph_of(function, A, TensorType(bfloat16, (K, N)))
    (step,) = make_plan(graph, epilogues=True, prologues=True).steps
    assert isinstance(step, ProductStep) and step.epilogue is None
    assert [v.dtype for v in step.operands] == [float32, bfloat16] and step.results == graph.outputs
    text = make_plan(graph, epilogues=True, prologues=True).describe()
    assert "is computed while dot_general (line 3) packs it, and never stored" in text
    assert "has no epilogue" in text


def test_both_operands() -> None:
    def function(b: Builder, x: Value, w: Value) -> Value:
        return product(b, b.convert_element_type(x, dtype=float32), b.convert_element_type(w, dtype=float32))

    (step,) = make_plan(graph_of(function, TensorType(uint8, (M, K)), B), epilogues=True, prologues=True).steps
    assert isinstance(step, ProductStep) and [prologue.side for prologue in step.prologues] == [0, 1]


def test_only_where_a_backend_asks_for_it() -> None:
    plan = make_plan(graph_of(dense, A, B, SCALE))
    assert not any(isinstance(step, ProductStep) for step in plan.steps)


def test_maps_of_elements_as_wide_are_no_candidates() -> None:
    def function(b: Builder, x: Value, w: Value) -> Value:
        return product(b, x, b.mul(w, w))

    wide = TensorType(float32, (K, N))
    assert steps(function, A, wide) == [KernelStep, OpStep]
    assert "before it" not in described(function, A, wide)


def _exp(b: Builder, x: Value, w: Value) -> Value:
    return product(b, x, b.exp(b.convert_element_type(w, dtype=float32)))


def _div(b: Builder, x: Value, w: Value) -> Value:
    wide = b.convert_element_type(w, dtype=float32)
    return product(b, x, b.div(wide, b.add(wide, wide)))


def _many(b: Builder, x: Value, w: Value) -> Value:
    wide = b.convert_element_type(w, dtype=float32)
    for _ in range(7):
        wide = b.mul(b.add(wide, wide), wide)
    return product(b, x, wide)


def _twice(b: Builder, x: Value, w: Value) -> list[Value]:
    wide = b.convert_element_type(w, dtype=float32)
    return [product(b, x, wide), wide]


def _two(b: Builder, x: Value, w: Value) -> Value:
    wide = b.convert_element_type(w, dtype=float32)
    turned = b.transpose(w, permutation=(1, 0))
    return product(b, x, b.add(wide, b.convert_element_type(turned, dtype=float32)))


SQUARE = TensorType(int8, (K, K))


@pytest.mark.parametrize(
    ("function", "types", "reason"),
    [
        (_exp, (A, B), "exp is too much to compute again each time that it is packed"),
        (_div, (A, B), "/ is too much to compute again"),
        (_many, (A, B), "it is too much to compute again"),
        (_twice, (A, B), "others read it, too"),
        (_two, (A, SQUARE), "it reads 2 matrices, not one"),
    ],
)
def test_why_not(function: Function, types: tuple[TensorType, ...], reason: str) -> None:
    assert not any(step is ProductStep for step in steps(function, *types))
    text = described(function, *types)
    assert "before it: " in text and reason in text


@pytest.mark.parametrize(
    ("left", "right", "dtype", "contract", "batch", "reason"),
    [
        ((M, K), (K, N), float64, (1, 0), 0, "only float32 is computed while packing, not float64"),
        ((3, M, K), (3, K, N), float32, (2, 1), 1, "only products of two matrices convert while they pack"),
        ((1, K), (N, K), float32, (1, 1), 0, "a product with a vector reads it row by row, without packing"),
        ((M, K), (K, 1), float32, (1, 0), 0, "it is a vector"),
    ],
)
def test_which_products(
    left: tuple[Any, ...], right: tuple[Any, ...], dtype: DType, contract: tuple[int, int], batch: int, reason: str
) -> None:
    def function(b: Builder, x: Value, w: Value) -> Value:
        wide = b.convert_element_type(w, dtype=dtype)
        axes = tuple(range(batch))
        return b.dot_general(x, wide, contract=tuple((axis,) for axis in contract), batch=(axes, axes))

    assert f"before it: {reason}" in described(function, TensorType(dtype, left), TensorType(int8, right))


def test_one_row_where_columns_are_neighbours() -> None:
    def function(b: Builder, x: Value, w: Value) -> Value:
        return product(b, x, b.convert_element_type(w, dtype=float32))

    assert steps(function, TensorType(float32, (1, K)), B) == [ProductStep]
