"""Forward-mode differentiation of graphs: types, zeros, rules of an op's own, lines, and what it refuses."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.dtypes import float32, int64
from graphc.errors import ArgumentError, GradientError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.pipeline import pipeline
from graphc.passes.push_forward import differentiate_forward, push_forward

X = TensorType(float32, (3,))


def traced(function: object, *specs: str) -> Graph:
    return gc.jit(function).graph(*map(gc.spec, specs))


def test_parameters_tangents_and_outputs() -> None:
    graph = traced(lambda x, y, i: (x * y, gc.take(x, i, axis=0), gc.argmax(y)), "f32[3]", "f32[3]", "i64[2]")
    forward = differentiate_forward(graph, [1])
    verify(forward)
    assert [str(t) for t in forward.parameter_types] == ["f32[3]", "f32[3]", "i64[2]", "f32[3]"]
    assert [str(t) for t in forward.output_types] == ["f32[3]", "f32[2]"]
    x, y, t = (np.float32([1, 2, 3]) * k for k in (1, 2, 3))
    product, taken = evaluate_graph(forward, [x, y, np.array([0, 2]), t])
    np.testing.assert_array_equal(product, x * t)
    np.testing.assert_array_equal(taken, np.zeros(2))


def test_the_cotangents_are_gone_and_the_optimized_graph_is_small() -> None:
    forward = pipeline("cpu").run(differentiate_forward(traced(lambda x: gc.sin(x) * x, "f64[n]"), [0]), verify=True)
    ops = sorted(n.op.name for n in forward.nodes() if n.op.name != "parameter")
    assert ops == ["add", "cos", "mul", "mul", "mul", "sin"]
    product = pipeline("cpu").run(differentiate_forward(traced(lambda x, w: x @ w, "f32[n, k]", "f32[k, m]"), [0]))
    assert [n.op.name for n in product.nodes() if n.op.name != "parameter"] == ["dot_general"]


def test_nothing_flows_through_integers_and_stop_gradient() -> None:
    b = Builder()
    x, t = b.parameter(X, "x"), b.parameter(X, "t")
    wanted = [b.stop_gradient(x), b.argmax(x, axis=0), b.constant(np.ones(3, np.float32)), x]
    assert push_forward(b, [(x, t)], wanted) == [None, None, None, t]


def test_what_a_given_value_was_computed_from_does_not_matter() -> None:
    b = Builder()
    x, t = b.parameter(X, "x"), b.parameter(X, "t")
    middle = b.exp(x)
    (flow,) = push_forward(b, [(middle, t), (x, b.zeros_like(x))], [middle])
    assert flow == t


def test_a_call_is_a_call_in_forward_mode() -> None:
    callee = traced(lambda x, y: (gc.exp(x) * y, y), "f32[n]", "f32[n]")
    b = Builder("caller")
    x, y = b.parameter(X, "x"), b.parameter(X, "y")
    forward = differentiate_forward(b.finish(b.emit("call", x, y, graph=callee)), [0])
    verify(forward)
    calls = [n for n in forward.nodes() if n.op.name == "call"]
    assert [len(n.inputs) for n in calls] == [3]
    values = np.float32([1, 2, 3])
    flow, none = evaluate_graph(forward, [values, values, np.ones(3, np.float32)])
    np.testing.assert_allclose(flow, np.exp(values) * values, rtol=1e-6)
    np.testing.assert_array_equal(none, np.zeros(3))


def test_nodes_keep_the_line_of_what_they_differentiate() -> None:
    graph = traced(lambda x: gc.tanh(x) * x, "f32[3]")  # the line of the op
    forward = differentiate_forward(graph, [0])
    for node in forward.nodes():
        if node.op.name != "parameter":
            assert "the line of the op" in node.location.source_line


def test_a_rule_of_an_ops_own_is_taken_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    x, t = b.parameter(X, "x"), b.parameter(X, "t")
    y = b.exp(x)

    def doubled(self: object, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        return [b.add(tangents[0], tangents[0])]

    monkeypatch.setattr(type(get_primitive("exp")), "jvp", doubled)
    (flow,) = push_forward(b, [(x, t)], [y])
    assert flow is not None and flow.node.op.name == "add"
    monkeypatch.setattr(type(get_primitive("exp")), "jvp", lambda self, b, node, tangents: [b.full((), 0, float32)])
    with pytest.raises(GradientError, match=re.escape("the jvp rule of exp gave f32[] for a result of type f32[3]")):
        push_forward(b, [(x, t)], [y])


def test_errors() -> None:
    graph = traced(lambda x, i: (x, i), "f32[3]", "i64[2]")
    with pytest.raises(ArgumentError, match="<lambda> has no parameter 5"):
        differentiate_forward(graph, [5])
    with pytest.raises(GradientError, match=re.escape("parameter i of <lambda> has type i64[2], and only floating values")):
        differentiate_forward(graph, [1])
    with pytest.raises(GradientError, match="output i of <lambda>"):
        differentiate_forward(graph, [0], [1])
    b = Builder()
    x = b.parameter(X, "x")
    with pytest.raises(GradientError, match=re.escape("a tangent of type i64[3] was given for a value of type f32[3]")):
        push_forward(b, [(x, b.parameter(X.with_dtype(int64)))], [x])


def test_a_long_chain_takes_no_recursion_and_linear_time() -> None:
    b = Builder("chain")
    x = b.parameter(TensorType(float32, ()), "x")
    y = x
    for _ in range(2000):
        y = b.sin(y)
    forward = differentiate_forward(b.finish([y]), [0])
    assert len(forward.nodes()) < 10 * 2000
