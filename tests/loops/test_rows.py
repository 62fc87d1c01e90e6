"""Which reductions and maps share a row kernel, and which must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import float32
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.plan import KernelStep, Plan, make_plan

N, M = symbol("n"), symbol("m")
MATRIX, ROWS, COLUMNS = TensorType(float32, (N, M)), TensorType(float32, (N,)), TensorType(float32, (M,))


def graph_of(function: Callable[..., Any], *types: TensorType) -> Graph:
    b = Builder("g", location=Location("model.py", 3))
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return b.finish(outputs if isinstance(outputs, list) else [outputs])


def plan_of(function: Callable[..., Any], *types: TensorType) -> Plan:
    return make_plan(graph_of(function, *types))


def names(plan: Plan) -> list[str]:
    return [step.kernel.name if isinstance(step, KernelStep) else step.node.op.name for step in plan.steps]


def rows(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(0,))


def columns(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(1,))


def exp_and_total(b: Builder, x: Value) -> tuple[Value, Value]:
    e = b.exp(b.sub(x, rows(b, b.reduce_max(x, axes=(1,)), x)))
    return e, b.reduce_sum(e, axes=(1,))


def softmax(b: Builder, x: Value) -> Value:
    e, total = exp_and_total(b, x)
    return b.div(e, rows(b, total, e))


def layer_norm(b: Builder, x: Value, scale: Value, shift: Value) -> Value:
    def mean(v: Value) -> Value:
        total = b.reduce_sum(v, axes=(1,))
        return b.mul(total, b.full_like(total, 1 / 64))

    centered = b.sub(x, rows(b, mean(x), x))
    variance = mean(b.mul(centered, centered))
    inverse = b.rsqrt(b.add(variance, b.full_like(variance, 1e-5)))
    return b.add(b.mul(b.mul(centered, rows(b, inverse, x)), columns(b, scale, x)), columns(b, shift, x))


def test_layer_norm(golden: Callable[[str | Path, str], None]) -> None:
    golden("golden/layer_norm.txt", plan_of(layer_norm, MATRIX, COLUMNS, COLUMNS).describe())


def test_softmax_keeps_its_row_out_of_memory() -> None:
    (kernel,) = plan_of(softmax, MATRIX).kernels
    assert len(kernel.stages) == 3
    assert (len(kernel.operands), len(kernel.results), len(kernel.rows)) == (1, 1, 1)


def test_what_others_read_is_stored() -> None:
    def function(b: Builder, x: Value) -> list[Value]:
        e, total = exp_and_total(b, x)
        return [b.div(e, rows(b, total, e)), e, total]

    (kernel,) = plan_of(function, MATRIX).kernels
    assert len(kernel.stages) == 3
    assert len(kernel.results) == 3
    assert not kernel.rows


def test_reductions_that_do_not_depend_on_each_other_share_a_stage() -> None:
    def function(b: Builder, x: Value) -> list[Value]:
        return [b.reduce_max(x, axes=(1,)), b.reduce_sum(b.mul(x, x), axes=(1,))]

    (kernel,) = plan_of(function, MATRIX).kernels
    assert [len(stage.reductions) for stage in kernel.stages] == [2]
    assert "runs row by row beside" in kernel.describe()


def test_axes_before_the_last_stay_as_they_are() -> None:
    def down(b: Builder, x: Value) -> Value:
        e = b.exp(b.sub(x, columns(b, b.reduce_max(x, axes=(0,)), x)))
        return b.div(e, columns(b, b.reduce_sum(e, axes=(0,)), e))

    assert len(plan_of(down, MATRIX).kernels) == 3
    assert len(plan_of(lambda b, x: softmax(b, b.transpose(x, permutation=(1, 0))), MATRIX).kernels) > 1


def test_a_whole_reduction_has_no_rows() -> None:
    def whole(b: Builder, x: Value) -> Value:
        total = b.reduce_sum(x, axes=(0,))
        return b.div(x, b.broadcast_in_dim(total, shape=x.shape, dims=()))

    assert names(plan_of(whole, COLUMNS)) == ["reduce_sum", "map_div"]


def test_other_rows_are_read_from_memory() -> None:
    def function(b: Builder, x: Value) -> Value:
        return b.mul(x, rows(b, b.reverse(b.reduce_sum(x, axes=(1,)), axes=(0,)), x))

    plan = plan_of(function, MATRIX)
    assert len(plan.kernels) == 2
    assert "is apart from reduce_sum (line 3): it reads other rows of reduce_sum (line 3)" in plan.describe()


def test_what_lies_between_keeps_stages_apart() -> None:
    """The second reduction needs all of the first, by way of an op that no kernel holds."""

    def function(b: Builder, x: Value) -> Value:
        e, total = exp_and_total(b, x)
        order = b.sort(total, axis=0, descending=False)
        return b.reduce_sum(b.mul(e, rows(b, order, e)), axes=(1,))

    plan = plan_of(function, MATRIX)
    assert names(plan) == ["rows_max_sub_exp_sum", "sort", "reduce_mul_sum"]
    assert "what lies between them is not part of it" in plan.describe()


def test_two_softmaxes_of_one_operand_are_one_kernel() -> None:
    def function(b: Builder, x: Value, s: Value) -> list[Value]:
        return [softmax(b, x), softmax(b, b.mul(x, rows(b, s, x)))]

    (kernel,) = plan_of(function, MATRIX, ROWS).kernels
    assert len(kernel.stages) == 3


def test_a_long_chain_gives_kernels_of_bounded_size() -> None:
    def function(b: Builder, x: Value) -> Value:
        for _ in range(8):
            x = softmax(b, x)
        return x

    plan = plan_of(function, MATRIX)
    assert len(plan.kernels) == 2
    assert "more than 16 stages" in plan.describe()
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    graph = graph_of(function, MATRIX)
    np.testing.assert_allclose(compile_graph(graph)(x)[0], compile_graph(graph, "reference")(x)[0], rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, N, M), (1, N, 1, M), (N, 1, M, 1)], ids=str)
def test_axes_of_size_one_and_several_kept_axes(shape: tuple[Any, ...]) -> None:
    last = max(axis for axis, size in enumerate(shape) if size is M)
    kept = tuple(axis for axis in range(len(shape)) if axis != last)

    def function(b: Builder, x: Value) -> Value:
        largest = b.broadcast_in_dim(b.reduce_max(x, axes=(last,)), shape=x.shape, dims=kept)
        e = b.exp(b.sub(x, largest))
        return b.div(e, b.broadcast_in_dim(b.reduce_sum(e, axes=(last,)), shape=x.shape, dims=kept))

    graph = graph_of(function, TensorType(float32, shape))
    assert len(make_plan(graph).kernels) == 1
    sizes = tuple({N: 4, M: 33}.get(size, size) for size in shape)
    x = np.random.default_rng(0).normal(size=sizes).astype(np.float32)
    np.testing.assert_allclose(compile_graph(graph)(x)[0], compile_graph(graph, "reference")(x)[0], rtol=1e-6)
