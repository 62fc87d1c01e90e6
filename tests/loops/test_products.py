"""Which maps become the epilogue of a matrix product, by the text of the plan and the kinds of its steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import bool_, float16, float32
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.loops.plan import KernelStep, OpStep, Plan, ProductStep, make_plan

M, N, K = symbol("m"), symbol("n"), symbol("k")
A, B, C = TensorType(float32, (M, K)), TensorType(float32, (K, N)), TensorType(float32, (M, N))
BIAS = TensorType(float32, (N,))


def graph_of(function: Callable[..., Any], *types: TensorType) -> Graph:
    b = Builder("g", location=Location("model.py", 3))
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return b.finish(outputs if isinstance(outputs, list) else [outputs])


def plan_of(function: Callable[..., Any], *types: TensorType) -> Plan:
    return make_plan(graph_of(function, *types), epilogues=True)


def product(b: Builder, x: Value, y: Value) -> Value:
    return b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))


def columns(b: Builder, x: Value, like: Value) -> Value:
    return b.broadcast_in_dim(x, shape=like.shape, dims=(1,))


def dense(b: Builder, x: Value, y: Value, bias: Value) -> Value:
    sums = product(b, x, y)
    return b.tanh(b.add(sums, columns(b, bias, sums)))


def agree(graph: Graph, *shapes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    got, want = compile_graph(graph, optimize=False)(*arrays), compile_graph(graph, "reference")(*arrays)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_dense_layer(golden: Callable[[str | Path, str], None]) -> None:
    golden("golden/dense.txt", plan_of(dense, A, B, BIAS).describe())


def test_a_product_alone_says_why(golden: Callable[[str | Path, str], None]) -> None:
    golden("golden/product_alone.txt", plan_of(product, A, B).describe())


def test_the_sums_are_kept_where_others_read_them() -> None:
    def function(b: Builder, x: Value, y: Value) -> list[Value]:
        sums = product(b, x, y)
        return [b.tanh(sums), sums, b.reduce_sum(sums, axes=(0,))]

    graph = graph_of(function, A, B)
    step = next(step for step in make_plan(graph, epilogues=True).steps if isinstance(step, OpStep | ProductStep))
    assert isinstance(step, ProductStep) and step.keeps
    assert [str(v.node.op.name) for v in step.results] == ["tanh", "dot_general"]
    agree(graph, (5, 3), (3, 7))


def test_what_leads_out_of_a_product_is_not_stored_by_a_reduction() -> None:
    """The sum with a residual, which a normalization reads more than once, is written where the product is made."""

    def function(b: Builder, x: Value, y: Value, residual: Value) -> list[Value]:
        total = b.add(product(b, x, y), residual)
        return [b.reduce_sum(b.mul(total, total), axes=(1,)), b.transpose(total, permutation=(1, 0)), total]

    graph = graph_of(function, A, B, C)
    step = make_plan(graph, epilogues=True).steps[0]
    assert isinstance(step, ProductStep) and not step.keeps
    assert [v.node.op.name for v in step.written] == ["add"]
    agree(graph, (5, 3), (3, 7), (5, 7))


def test_a_smaller_value_is_stored_in_place_of_the_sums() -> None:
    def function(b: Builder, x: Value, y: Value) -> Value:
        return b.transpose(b.convert_element_type(product(b, x, y), dtype=float16), permutation=(1, 0))

    step = plan_of(function, A, B).steps[0]
    assert isinstance(step, ProductStep)
    assert [v.dtype for v in step.written] == [float16]


def test_of_two_products_one_has_the_map_that_adds_them() -> None:
    def function(b: Builder, x: Value, y: Value) -> Value:
        return b.tanh(b.add(product(b, x, y), product(b, b.neg(x), y)))

    graph = graph_of(function, A, B)
    plan = make_plan(graph, epilogues=True)
    assert [type(s) for s in plan.steps] == [OpStep, KernelStep, ProductStep] or [type(s) for s in plan.steps] == [
        KernelStep, OpStep, ProductStep
    ]  # fmt: skip
    (alone,) = [step for step in plan.steps if isinstance(step, OpStep)]
    assert alone.why == ("has no epilogue: dot_general (line 3) has the map that reads its result",)
    agree(graph, (5, 3), (3, 7))


def test_no_reduction_takes_the_map_of_a_product() -> None:
    """Which would be the epilogue of both: found by random graphs, where the compiler failed."""

    def function(b: Builder, x: Value, y: Value, z: Value) -> list[Value]:
        total = b.reduce_sum(z, axes=(0,))
        return [b.le(total, b.dot_general(x, y, contract=((0,), (0,)), batch=((), ()))), total]

    graph = graph_of(function, BIAS, BIAS, BIAS)
    steps = make_plan(graph, epilogues=True).steps
    assert [type(step) for step in steps] == [KernelStep, ProductStep]
    agree(graph, (7,), (7,), (7,))


def test_no_cycle_where_the_map_depends_on_the_whole_result() -> None:
    def function(b: Builder, x: Value, y: Value) -> Value:
        sums = product(b, x, y)
        total = b.reduce_sum(sums, axes=(0, 1))
        return b.mul(sums, b.broadcast_in_dim(total, shape=sums.shape, dims=()))

    graph = graph_of(function, A, B)
    steps = make_plan(graph, epilogues=True).steps
    assert not any(isinstance(step, ProductStep) for step in steps)
    (alone,) = [step for step in steps if isinstance(step, OpStep)]
    reason = "the map that reads its result point by point reads reduce_sum (line 3) too, which is made after it"
    assert alone.why == (f"has no epilogue: {reason}",)
    agree(graph, (5, 3), (3, 7))


def test_no_epilogue_that_reads_across_rows() -> None:
    def function(b: Builder, x: Value, y: Value, z: Value) -> Value:
        return b.mul(product(b, x, y), b.transpose(z, permutation=(1, 0)))

    graph = graph_of(function, A, B, TensorType(float32, (N, M)))
    plan = make_plan(graph, epilogues=True)
    assert [type(s) for s in plan.steps] == [OpStep, KernelStep]
    assert "why has no epilogue: in the map after it b1 is read across its rows" in plan.describe()
    assert "why is apart from dot_general (line 3): b1 is read across its rows" in plan.describe()
    agree(graph, (5, 3), (3, 7), (7, 5))


def test_no_epilogue_whose_columns_are_several_loops() -> None:
    def function(b: Builder, x: Value, y: Value, bias: Value) -> Value:
        sums = b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
        return b.add(sums, b.broadcast_in_dim(bias, shape=sums.shape, dims=(2,)))

    graph = graph_of(function, A, TensorType(float32, (K, N, 4)), TensorType(float32, (4,)))
    text = make_plan(graph, epilogues=True).describe()
    assert "has no epilogue: in the map after it several loops run over the columns" in text
    agree(graph, (5, 3), (3, 7, 4), (4,))


def test_a_batch_with_rows_of_two_axes() -> None:
    def function(b: Builder, x: Value, y: Value, scale: Value) -> Value:
        sums = b.dot_general(x, y, contract=((3,), (1,)), batch=((0,), (0,)))
        return b.mul(sums, b.broadcast_in_dim(scale, shape=sums.shape, dims=(0, 2)))

    graph = graph_of(
        function,
        TensorType(float32, (symbol("p"), symbol("q"), M, K)),
        TensorType(float32, (symbol("p"), K, N)),
        TensorType(float32, (symbol("p"), M)),
    )
    (step,) = make_plan(graph, epilogues=True).steps
    assert isinstance(step, ProductStep) and step.epilogue.grid == (1, 2, 1)
    agree(graph, (2, 3, 5, 4), (2, 4, 7), (2, 5))


def test_products_that_the_backend_has_no_kernels_for_stay_apart() -> None:
    graph = graph_of(dense, A, B, BIAS)
    plan = make_plan(graph, frozenset(["dot_general"]), epilogues=True)
    assert [type(s) for s in plan.steps] == [OpStep, KernelStep]


@pytest.mark.parametrize("sizes", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1)], ids=str)
def test_nothing_to_sum_and_nothing_to_store(sizes: tuple[int, int, int]) -> None:
    m, k, n = sizes
    agree(graph_of(dense, A, B, BIAS), (m, k), (k, n), (n,))


def test_masks() -> None:
    def function(b: Builder, x: Value, y: Value) -> Value:
        sums = product(b, x, y)
        return b.gt(sums, b.broadcast_in_dim(b.constant(np.float32(0)), shape=sums.shape, dims=()))

    graph = graph_of(function, A, B)
    (step,) = make_plan(graph, epilogues=True).steps
    assert isinstance(step, ProductStep) and step.written[0].dtype is bool_
    agree(graph, (5, 3), (3, 7))


def test_a_mask_is_stored_for_a_later_reader_in_place_of_the_sums() -> None:
    """As the gradient of relu reads it: one byte an element instead of four, and the sums themselves are not kept."""

    def function(b: Builder, x: Value, y: Value, bias: Value, w: Value) -> list[Value]:
        sums = product(b, x, y)
        total = b.add(sums, columns(b, bias, sums))
        zero = b.broadcast_in_dim(b.constant(np.float32(0)), shape=sums.shape, dims=())
        mask = b.le(total, zero)
        after = product(b, b.select(mask, zero, total), w)
        back = b.dot_general(after, w, contract=((1,), (1,)), batch=((), ()))
        return [b.select(mask, zero, back)]

    graph = graph_of(function, A, B, BIAS, TensorType(float32, (N, 5)))
    first = make_plan(graph, epilogues=True).steps[0]
    assert isinstance(first, ProductStep) and not first.keeps
    assert [v.dtype for v in first.written] == [float32, bool_]
    assert "stores le (line 3): others read it, and it is smaller than what dot_general (line 3) gives" in first.epilogue.why
    agree(graph, (4, 3), (3, 7), (7,), (7, 5))


def test_only_who_asks_gets_epilogues() -> None:
    graph = graph_of(dense, A, B, BIAS)
    assert [type(step) for step in make_plan(graph).steps] == [OpStep, KernelStep]
    assert [type(step) for step in make_plan(graph, epilogues=True).steps] == [ProductStep]
