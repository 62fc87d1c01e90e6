"""What becomes one kernel and what does not, by the text of the plan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import float32, int32
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location
from graphc.loops.fusion import MAX_OPS
from graphc.loops.plan import KernelStep, OpStep, Plan, ViewStep, make_plan

N, M = symbol("n"), symbol("m")
MATRIX, VECTOR = TensorType(float32, (N, M)), TensorType(float32, (N,))


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


def softmax(b: Builder, x: Value) -> Value:
    e = b.exp(b.sub(x, rows(b, b.reduce_max(x, axes=(1,)), x)))
    return b.div(e, rows(b, b.reduce_sum(e, axes=(1,)), e))


def test_softmax(golden: Callable[[str | Path, str], None]) -> None:
    golden("golden/softmax.txt", plan_of(softmax, MATRIX).describe())


def test_a_chain_is_one_flat_kernel() -> None:
    plan = plan_of(lambda b, x: b.tanh(b.exp(b.neg(x))), MATRIX)
    (kernel,) = plan.kernels
    assert len(kernel.loops) == 1
    assert [str(value) for _, value in kernel.sizes] == ["m*n"]


def test_cheap_values_are_computed_again_and_others_stored() -> None:
    def twice(op: str) -> Callable[..., Any]:
        def function(b: Builder, x: Value) -> list[Value]:
            y = b.emit_one(op, x)
            return [b.reduce_sum(y, axes=(0,)), b.transpose(y, permutation=(1, 0))]

        return function

    cheap, costly = plan_of(twice("neg"), MATRIX), plan_of(twice("exp"), MATRIX)
    assert sum(len(k.results) for k in cheap.kernels) == 2
    assert any("computes neg (line 3) again" in reason for k in cheap.kernels for reason in k.why)
    assert sum(len(k.results) for k in costly.kernels) == 3
    assert any("stores exp (line 3): 2 kernels read it" in reason for k in costly.kernels for reason in k.why)


def test_siblings_share_a_pass_over_memory() -> None:
    assert len(plan_of(lambda b, x: [b.exp(x), b.log(x)], MATRIX).steps) == 1
    assert len(plan_of(lambda b, x, y: [b.exp(x), b.log(y)], MATRIX, MATRIX).steps) == 2
    both = plan_of(lambda b, x: [b.reduce_sum(x, axes=(1,)), b.reduce_max(x, axes=(1,))], MATRIX)
    assert [len(k.reductions) for k in both.kernels] == [2]


def test_a_reduction_takes_its_readers_as_epilogue() -> None:
    plan = plan_of(lambda b, x, s: b.sqrt(b.mul(b.reduce_sum(b.mul(x, x), axes=(1,)), s)), MATRIX, VECTOR)
    (kernel,) = plan.kernels
    assert kernel.reductions and kernel.only.epilogue
    assert kernel.describe().count("is the epilogue of reduce_sum") == 1


def test_no_cycle_where_a_sibling_depends_on_the_other() -> None:
    """Both outputs read x over the same points, but one through a reduction of the other."""

    def function(b: Builder, x: Value) -> list[Value]:
        first = b.exp(x)
        total = b.reduce_sum(first, axes=(0, 1))
        second = b.mul(b.exp(x), b.broadcast_in_dim(total, shape=x.shape, dims=()))
        return [first, second]

    graph = graph_of(function, MATRIX)
    x = np.ones((2, 3), np.float32)
    for got, want in zip(compile_graph(graph, optimize=False)(x), compile_graph(graph, "reference")(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_reshapes() -> None:
    split = plan_of(lambda b, x: b.exp(b.reshape(x, shape=(N, 2, 3))), TensorType(float32, (N, 6)))
    assert names(split) == ["map_exp"]
    merge = plan_of(lambda b, x: b.exp(b.reshape(x, shape=(N * M,))), MATRIX)
    assert [type(s) for s in merge.steps] == [ViewStep, KernelStep]
    output = plan_of(lambda b, x: b.reshape(b.exp(x), shape=(N * M,)), MATRIX)
    assert [type(s) for s in output.steps] == [KernelStep, ViewStep]


def test_operands_of_other_ops_are_stored() -> None:
    plan = plan_of(lambda b, x: b.exp(b.sort(b.exp(x), axis=0, descending=False)), VECTOR)
    assert [type(s) for s in plan.steps] == [KernelStep, OpStep, KernelStep]
    assert "sort (line 3) reads it" in plan.describe()


def test_scalars_are_computed_before_the_loops() -> None:
    def scaled(b: Builder, x: Value, s: Value) -> Value:
        return b.mul(x, b.broadcast_in_dim(b.exp(b.neg(s)), shape=x.shape, dims=()))

    assert names(plan_of(scaled, MATRIX, TensorType(float32, ()))) == ["map_neg_exp_mul"]


@pytest.mark.parametrize("depth", [20_000])
def test_long_chains_give_bounded_kernels(depth: int) -> None:
    b = Builder("chain", location=UNKNOWN)
    x = b.parameter(TensorType(int32, (N,)), "x")
    one, value = b.full_like(x, 1), x
    for _ in range(depth):
        value = b.add(value, one)
    graph = b.finish([value])
    plan = make_plan(graph)
    assert len(plan.steps) == depth // MAX_OPS
    assert max(len(k.only.body) for k in plan.kernels) <= MAX_OPS + 2
    executable = compile_graph(graph, optimize=False)
    np.testing.assert_array_equal(executable(np.arange(3, dtype=np.int32))[0], np.arange(3) + depth)
