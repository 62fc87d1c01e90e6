"""The vectorize pass: what is mapped, what stays, the graphs that it makes, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.dtypes import bool_, float32, uint32, uint64
from graphc.errors import ArgumentError, CheckError, GraphcError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, symbol
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.primitive import get_primitive
from graphc.ir.structure import first_difference
from graphc.ir.types import TensorType
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.pipeline import pipeline
from graphc.passes.vectorize import Vectorize, vectorize
from tests.passes.random_graphs import PARAMETERS, SYMBOLIC, Step, build, steps
from tests.passes.rule_example import random_array
from tests.passes.test_rules import assert_same_bits

MATVEC = """graph @f(%w: f32[n, k], %x: f32[k]) -> (f32[n]) {
  %0: f32[n] = dot_general(%w, %x) {contract = ((1), (0)), batch = ((), ())}
  return %0
}"""


def optimized(graph: Graph) -> Graph:
    return pipeline("cpu").run(graph, verify=True)


def assert_is(graph: Graph, text: str) -> None:
    difference = first_difference(graph, parse(text))
    assert difference is None, f"{difference}\n{graph}"


def test_what_no_mapped_value_reaches_is_computed_once() -> None:
    def function(x: gc.Tensor, w: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        shared = gc.exp(w)
        return x * shared.sum(), shared

    graph = gc.jit(function).graph(gc.spec("f32[3]"), gc.spec("f32[3]"))
    batched = vectorize(graph, [True, False], 4)
    verify(batched)
    assert [str(t) for t in batched.output_types] == ["f32[4, 3]", "f32[3]"]
    assert sum(node.op.name == "exp" for node in batched.nodes()) == 1
    assert batched.parameters[1] is graph.parameters[1]


def test_flags_must_be_one_for_each_parameter() -> None:
    graph = gc.jit(gc.exp).graph(gc.spec("f32[3]"))
    with pytest.raises(ArgumentError, match="exp has 1 parameters, and 2 flags are given"):
        vectorize(graph, [True, False], 4)


def test_a_batch_of_matrix_vector_products_is_one_product() -> None:
    batched = optimized(vectorize(parse(MATVEC), [False, True], symbol("b")))
    assert [node.op.name for node in batched.nodes()] == ["parameter", "parameter", "dot_general"]
    batched = optimized(vectorize(parse(MATVEC), [True, True], symbol("b")))
    assert [node.op.name for node in batched.nodes()] == ["parameter", "parameter", "dot_general"]


def test_a_check_fails_where_any_example_fails() -> None:
    b = Builder("positive")
    x = b.parameter(TensorType(float32, ()), "x")
    b.check(b.gt(x, b.zeros_like(x)), message="x must be positive")
    graph = b.finish([b.sqrt(x)])
    batched = vectorize(graph, [True], symbol("b"))
    verify(batched)
    assert len(batched.effects) == 1
    np.testing.assert_array_equal(evaluate_graph(batched, [np.float32([4, 9])])[0], np.float32([2, 3]))
    with pytest.raises(CheckError, match="x must be positive"):
        evaluate_graph(batched, [np.float32([4, -9])])
    evaluate_graph(batched, [np.zeros(0, np.float32)])


def test_effects_keep_their_order_and_those_of_no_example_stay_one() -> None:
    b = Builder("two")
    x, y = (b.parameter(TensorType(bool_, ()), name) for name in "xy")
    b.check(x, message="first")
    b.check(y, message="second")
    batched = vectorize(b.finish([]), [True, False], 3)
    verify(batched)
    assert [effect.attributes["message"] for effect in batched.effects] == ["first", "second"]
    with pytest.raises(CheckError, match="second"):
        evaluate_graph(batched, [np.array([True] * 3), np.array(False)])


def bits(dtype: gc.DType) -> Graph:
    b = Builder("bits")
    key, counter = (b.parameter(TensorType(uint64, ()), name) for name in ("key", "counter"))
    return b.finish([b.random_bits(key, counter, shape=(5,), dtype=dtype)])


@pytest.mark.parametrize("dtype", [uint32, uint64])
def test_random_bits_follow_each_other_where_the_key_is_shared(dtype: gc.DType) -> None:
    graph = bits(dtype)
    key, counter = np.uint64(3), np.uint64(11)
    (got,) = evaluate_graph(vectorize(graph, [False, False], 4), [np.asarray(key), np.asarray(counter)])
    whole = get_primitive("random_bits").evaluate(key, counter, shape=(20,), dtype=dtype)
    np.testing.assert_array_equal(got, whole.reshape(4, 5))


@pytest.mark.parametrize("dtype", [uint32, uint64])
@pytest.mark.parametrize("mapped", [(True, True), (True, False), (False, True)])
def test_random_bits_of_keys_and_counters_of_their_own(dtype: gc.DType, mapped: tuple[bool, bool]) -> None:
    graph = bits(dtype)
    keys = np.array([1, 2**64 - 1, 2**40 + 7], np.uint64)
    counters = np.array([0, 2**64 - 2, 2**33 + 1], np.uint64)
    arrays = [array if m else array[1] for array, m in zip((keys, counters), mapped, strict=True)]
    batched = vectorize(graph, mapped, symbol("b"))
    want = [
        evaluate_graph(graph, [a[i] if m else a for a, m in zip(arrays, mapped, strict=True)])[0] for i in range(3)
    ]
    np.testing.assert_array_equal(evaluate_graph(batched, arrays)[0], np.stack(want))
    np.testing.assert_array_equal(gc.compile_graph(batched)(*arrays)[0], np.stack(want))


@pytest.mark.parametrize("size", [4, symbol("b")])
def test_random_bits_within_a_call_differ_too(size: Dim) -> None:
    inner = bits(uint32)
    b = Builder("outer")
    key, x = b.parameter(TensorType(uint64, ()), "key"), b.parameter(TensorType(float32, ()), "x")
    (drawn,) = b.emit("call", key, key, graph=inner)
    b.stop_gradient(x)
    batched = vectorize(b.finish([drawn, x]), [False, True], size)
    verify(batched)
    got, _ = evaluate_graph(batched, [np.uint64(3), np.zeros(4, np.float32)])
    assert got.shape == (4, 5) and len({tuple(row) for row in got}) == 4


def test_a_call_stays_a_call_and_its_shared_results_stay_shared() -> None:
    b = Builder("callee")
    x, y = (b.parameter(TensorType(float32, (symbol("n"),)), name) for name in "xy")
    callee = b.finish([b.add(x, y), b.exp(y)])
    b = Builder("caller")
    x, y = (b.parameter(TensorType(float32, (symbol("examples"),)), name) for name in "xy")
    graph = b.finish(b.emit("call", x, y, graph=callee))
    batched = vectorize(graph, [True, False], symbol("m"))
    verify(batched)
    assert [str(t) for t in batched.output_types] == ["f32[m, examples]", "f32[examples]"]
    (call,) = [node for node in batched.nodes() if node.op.name == "call"]
    assert [str(t) for t in call.attributes["graph"].output_types] == ["f32[examples, n]", "f32[n]"]
    xs, ys = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(evaluate_graph(batched, [xs, ys])[0], xs + ys)


def test_aliases_stay_where_output_and_parameter_have_one_type() -> None:
    b = Builder("update")
    x, y = (b.parameter(TensorType(float32, (3,)), name) for name in "xy")
    graph = b.finish([b.add(x, y), b.neg(y)], aliases={0: 0, 1: 1})
    assert dict(vectorize(graph, [True, True], 2).aliases) == {0: 0, 1: 1}
    assert dict(vectorize(graph, [True, False], 2).aliases) == {0: 0, 1: 1}
    assert dict(vectorize(graph, [False, True], 2).aliases) == {1: 1}


def test_the_pass_maps_every_parameter() -> None:
    text = "graph @f(%x: f32[batch]) -> (f32[batch]) {\n  %0: f32[batch] = exp(%x)\n  return %0\n}"
    graph = parse(text)
    assert_is(Vectorize(size=7).run(graph), text.replace("[batch]", "[7, batch]"))
    assert str(Vectorize().run(graph).parameter_types[0]) == "f32[batch_1, batch]"


def test_nodes_keep_their_lines() -> None:
    graph = gc.jit(lambda x: gc.exp(x).sum()).graph(gc.spec("f32[3]"))
    lines = {node.op.name: node.location for node in graph.nodes()}
    for node in vectorize(graph, [True], 4).nodes():
        assert node.location == lines[node.op.name]


@pytest.mark.parametrize("parameters", [PARAMETERS, SYMBOLIC], ids=["concrete", "symbolic"])
@given(plan=steps, flags=st.tuples(*[st.booleans()] * len(PARAMETERS)), seed=st.integers(0, 2**32 - 1))
def test_random_graphs(parameters: tuple[TensorType, ...], plan: list[Step], flags: tuple[bool, ...], seed: int) -> None:
    graph = build(plan, parameters)
    batched = vectorize(graph, flags, symbol("examples"))
    verify(batched)
    rng = np.random.default_rng(seed)
    each = [[random_array(rng, t, {}, benign=False) for t in PARAMETERS] for _ in range(3)]
    each = [[x if mapped else first for x, first, mapped in zip(e, each[0], flags, strict=True)] for e in each]
    inputs = [np.stack(xs) if mapped else xs[0] for xs, mapped in zip(zip(*each, strict=True), flags, strict=True)]
    try:
        want = [evaluate_graph(graph, example) for example in each]
    except GraphcError as error:
        with pytest.raises(type(error)):
            evaluate_graph(batched, inputs)
        return
    for position, got in enumerate(evaluate_graph(batched, inputs)):
        for number, results in enumerate(want):
            own = got if got.ndim == results[position].ndim else got[number]
            assert_same_bits(np.asarray(own), np.asarray(results[position]))

