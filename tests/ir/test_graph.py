"""Nodes, graphs, walks and the builder."""

import numpy as np
import pytest

import graphc.ops  # noqa: F401  (fills the registry)
from graphc.dtypes import float32, int64
from graphc.errors import ArgumentError, DTypeError
from graphc.ir import Builder, Graph, TensorType, Value, parse, parse_type, symbol
from graphc.ir.builder import complete_attributes
from graphc.ir.graph import rebuild, topological_order, uses
from graphc.ir.primitive import Primitive, get_primitive, primitives, register
from graphc.locations import UNKNOWN, Location
from tests.ir import texts


def chain(length: int) -> Graph:
    b = Builder(location=UNKNOWN)
    y = b.parameter(parse_type("f32[3]"), "x")
    for _ in range(length):
        y = b.neg(y)
    return b.finish([y])


def test_nodes_and_graphs_are_immutable() -> None:
    graph = parse(texts.LOSS)
    with pytest.raises(AttributeError, match="Graph is immutable: cannot set 'name'"):
        graph.name = "other"
    node = graph.outputs[0].node
    with pytest.raises(AttributeError, match="Node is immutable: cannot set 'op'"):
        node.op = node.op
    with pytest.raises(TypeError):
        node.attributes["contract"] = ()  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.aliases[0] = 1  # type: ignore[index]


def test_nodes_come_operands_first() -> None:
    for text in texts.ALL.values():
        seen = set()
        for node in parse(text).nodes():
            assert all(value.node in seen for value in node.inputs)
            seen.add(node)


def test_a_deep_graph_is_walked_without_recursion() -> None:
    graph = chain(50_000)
    assert len(graph.nodes()) == 50_001
    assert len(topological_order([graph.outputs[0].node])) == 50_001
    assert len(rebuild(graph, lambda node, operands: None).nodes()) == 50_001


def test_a_value_that_is_shared_is_visited_once() -> None:
    b = Builder()
    y = b.parameter(parse_type("f32[]"), "x")
    for _ in range(200):  # 2**200 paths
        y = b.add(y, y)
    graph = b.finish([y])
    assert len(graph.nodes()) == 201
    assert uses(graph)[graph.parameters[0]] == 2
    assert uses(graph)[y] == 1


def test_unreachable_nodes_are_not_in_the_graph() -> None:
    b = Builder()
    x = b.parameter(parse_type("f32[]"))
    b.exp(x)
    assert [node.op.name for node in b.finish([b.neg(x)]).nodes()] == ["parameter", "neg"]


def test_rebuild_replaces_nodes_and_keeps_the_rest() -> None:
    graph = parse("graph @g(%x: f32[]) -> (f32[], f32[]) { %0: f32[] = neg(%x) %1: f32[] = exp(%0) return %0, %1 }")
    b = Builder()
    new = rebuild(graph, lambda node, operands: [b.abs(*operands)] if node.op.name == "neg" else None)
    assert [node.op.name for node in new.nodes()] == ["parameter", "abs", "exp"]
    assert new.outputs[0] == new.outputs[1].node.inputs[0]
    assert new.parameters == graph.parameters
    assert [node.op.name for node in graph.nodes()] == ["parameter", "neg", "exp"]
    same = rebuild(graph, lambda node, operands: None)
    assert same.outputs == graph.outputs


def test_rebuild_keeps_effects_on_the_new_operands() -> None:
    text = 'graph @g(%p: bool[]) -> () { %0: bool[] = bitwise_not(%p) effect check(%0) {message = "m"} return }'
    graph = parse(text)
    new = rebuild(graph, lambda node, operands: list(operands) if node.op.name == "bitwise_not" else None)
    (effect,) = new.effects
    assert effect.inputs == new.parameters
    assert effect.attributes["message"] == "m"


def test_replace_changes_only_what_it_is_given() -> None:
    graph = parse(texts.LOSS)
    other = graph.replace(name="other", aliases={})
    assert (other.name, dict(other.aliases)) == ("other", {})
    assert (other.parameters, other.outputs, other.effects, other.guards) == (
        graph.parameters, graph.outputs, graph.effects, graph.guards,
    )  # fmt: skip


def test_short_forms() -> None:
    graph = parse(texts.SORTED)
    assert repr(graph) == "<Graph largest(f32[4, 9]) -> (f32[4, 3], i64[4, 3])>"
    assert repr(graph.outputs[1]) == "<top_k:1 i64[4, 3]>"
    assert repr(graph.outputs[1].node) == "<Node top_k -> f32[4, 3], i64[4, 3]>"
    value = graph.outputs[1]
    assert (value.dtype, value.shape, value.ndim, value.type) == (int64, (4, 3), 2, parse_type("i64[4, 3]"))
    assert Value(value.node, 1) == value != graph.outputs[0]


def test_the_builder_infers_types_and_finds_the_users_line() -> None:
    b = Builder("f")
    x = b.parameter(TensorType(float32, (symbol("n"), 3)), "x")
    y = b.mul(x, b.full_like(x, 2.0))
    assert y.type == x.type
    assert y.node.location.filename == __file__
    assert y.node.location.source_line == "    y = b.mul(x, b.full_like(x, 2.0))"
    with b.at(Location("other.py", 3)):
        assert b.neg(x).node.location == Location("other.py", 3)
    assert b.neg(x).node.location.filename == __file__
    values, indices = b.top_k(x, k=2)
    assert (values.index, indices.index) == (0, 1)


def test_the_builder_refuses_what_the_op_refuses() -> None:
    b = Builder()
    x, p = b.parameter(parse_type("f32[3]")), b.parameter(parse_type("bool[3]"))
    with pytest.raises(DTypeError) as caught:
        b.add(x, p)
    assert caught.value.location.filename == __file__
    with pytest.raises(AttributeError, match="no primitive called 'frobnicate'"):
        b.frobnicate(x)
    with pytest.raises(ArgumentError, match="there is no primitive called 'frobnicate'"):
        b.emit("frobnicate", x)
    with pytest.raises(AttributeError):
        _ = b._hidden


def test_attributes_are_completed_frozen_and_checked() -> None:
    op = get_primitive("slice")
    given = {"strides": [np.int64(1)], "starts": (0,), "limits": (3,)}
    assert complete_attributes(op, given) == {"starts": (0,), "limits": (3,), "strides": (1,)}
    assert type(complete_attributes(op, given)["strides"][0]) is int
    with pytest.raises(ArgumentError, match="slice has no attribute 'start'"):
        complete_attributes(op, {"start": 0})
    with pytest.raises(ArgumentError, match="slice needs the attribute 'limits'"):
        complete_attributes(op, {"starts": (0,)})


def test_constants_are_copied_and_read_only() -> None:
    b = Builder()
    array = np.ones(3, np.float32)
    value = b.constant(array).node.attributes["value"]
    array[0] = 7
    assert value[0] == 1
    assert not value.flags.writeable


def test_an_array_given_as_an_attribute_is_copied_and_read_only() -> None:
    array = np.arange(3)
    b = Builder(location=UNKNOWN)
    node = b.emit_one("constant", value=array).node
    array[0] = 7
    assert node.attributes["value"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        node.attributes["value"][0] = 1


def test_guards_are_recorded_once() -> None:
    b = Builder()
    n, m = symbol("n"), symbol("m")
    b.guard("==", n, m)
    b.guard("==", n, m)
    b.guard("==", n, n)
    assert [str(g) for g in b.guards] == ["n == m"]


def test_effects_are_recorded_in_order() -> None:
    b = Builder()
    p = b.parameter(parse_type("bool[]"))
    b.check(p, message="one")
    b.check(p, message="two")
    assert [e.attributes["message"] for e in b.finish([]).effects] == ["one", "two"]


def test_a_primitive_without_its_rules_is_refused() -> None:
    class Lacking(Primitive):
        """Has no rules."""

        name = "lacking_for_tests"

    with pytest.raises(TypeError, match=r"primitive Lacking lacks infer, evaluate, vjp, batch; docs/add_a_primitive.md says"):
        register(Lacking)

    class Again(type(get_primitive("neg"))):  # type: ignore[misc]
        """Takes a name that is taken."""

    with pytest.raises(TypeError, match="two primitives are named 'neg'"):
        register(Again)
    assert "lacking_for_tests" not in primitives()
