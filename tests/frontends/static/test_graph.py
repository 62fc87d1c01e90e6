"""Graphs: which one is built, names, what cannot be added, and the graph as IR."""

import threading

import numpy as np
import pytest

import graphc as gc
from graphc.errors import (
    ArgumentError,
    ConcretizationError,
    FeedError,
    FinalizedGraphError,
    InPlaceError,
    StaticGraphError,
    WrongGraphError,
)
from graphc.frontends.array.creation import zeros
from graphc.frontends.static import Operation, identity
from graphc.ir.printer import print_graph
from graphc.ir.verifier import verify


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


def test_without_a_block_the_default_graph_of_the_thread_is_used() -> None:
    x = gc.placeholder("f32[]", name="x")
    assert x.graph is gc.get_default_graph()
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(gc.get_default_graph()))
    thread.start()
    thread.join()
    assert seen[0] is not x.graph


def test_blocks_nest_and_choose_the_graph() -> None:
    outer, inner = gc.Graph("outer"), gc.Graph("inner")
    with outer:
        with inner.as_default() as chosen:
            assert chosen is inner
            assert gc.placeholder("f32[]").graph is inner
        assert gc.placeholder("f32[]").graph is outer
        with outer:
            assert gc.get_default_graph() is outer
        assert gc.get_default_graph() is outer
    assert gc.get_default_graph() not in (outer, inner)


def test_one_graph_may_be_entered_by_several_threads() -> None:
    graph = gc.Graph()
    inside, leave = threading.Barrier(2), threading.Barrier(2)
    seen: list[bool] = []

    def enter() -> None:
        with graph:
            inside.wait(10)
            seen.append(gc.get_default_graph() is graph)
            leave.wait(10)
        seen.append(gc.get_default_graph() is not graph)

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4


def test_reset_begins_anew_but_not_within_a_block() -> None:
    before = gc.get_default_graph()
    gc.reset_default_graph()
    assert gc.get_default_graph() is not before
    with gc.Graph(), pytest.raises(StaticGraphError, match="within a `with graph:`"):
        gc.reset_default_graph()
    with gc.Session(), pytest.raises(StaticGraphError, match="leave the block first"):
        gc.reset_default_graph()


def test_creation_is_symbolic_within_a_block_and_eager_outside() -> None:
    graph = gc.Graph()
    with graph:
        inside = zeros((2, 2))
    assert inside.context is graph
    assert isinstance(zeros((2, 2)), gc.Tensor)


def test_functions_of_symbolic_sizes_find_their_graph_outside_of_a_block() -> None:
    graph = gc.Graph()
    with graph:
        x = gc.placeholder("f32[n, 3]", name="x")
    mean = x.mean()
    filled = zeros((x.shape[0], 1)) + 1.0
    assert mean.context is filled.context is graph
    with gc.Session(graph, target="reference") as session:
        value, ones = session.run([mean, filled], {x: [[1, 2, 3], [4, 5, 6]]})
    assert value == 3.5
    assert ones.tolist() == [[1.0], [1.0]]


def test_names_are_unique_and_scoped() -> None:
    x = gc.placeholder("f32[]", name="x")
    assert [gc.placeholder("f32[]", name="x").name for _ in range(2)] == ["x_1", "x_2"]
    assert ((x + 1.0).name, (x + 2.0).name) == ("add", "add_1")
    with gc.name_scope("layer1") as scope:
        assert scope == "layer1"
        w = gc.Variable(0.0, name="w")
        with gc.name_scope("inner"):
            assert (x * w).name == "layer1/inner/mul"
    with gc.name_scope("layer1") as scope:
        assert scope == "layer1_1"
        assert gc.Variable(0.0, name="w").name == "layer1_1/w"
        with gc.name_scope(""):
            assert gc.placeholder("f32[]", name="top").name == "top"
    assert w.name == "layer1/w"
    assert w.initializer.name == "layer1/w/initializer"


@pytest.mark.parametrize("name", ["", "two words", "-x", 3, "é"])
def test_bad_names(name: object) -> None:
    with pytest.raises(ArgumentError, match="cannot be a name in a graph"):
        gc.placeholder("f32[]", name=name)


def test_elements_are_found_by_name() -> None:
    graph = gc.get_default_graph()
    x = gc.placeholder("f32[]", name="x")
    w = gc.Variable(1.0, name="w")
    y = identity(x * w, name="y")
    step = gc.group(gc.assign_add(w, 1.0), name="step")
    assert graph.get_tensor_by_name("x:0") is x
    assert graph.get_tensor_by_name("w") is w
    assert graph.get_tensor_by_name("y").value == y.value
    assert graph.get_operation_by_name("step") is step
    assert {"x", "w", "mul", "y", "AssignAdd", "step"} <= set(graph.names_of_elements())


def test_names_of_what_is_not_there() -> None:
    graph = gc.get_default_graph()
    x = gc.placeholder("f32[]", name="images")
    gc.group(x, name="step")
    with pytest.raises(StaticGraphError, match=r"no element called 'imagse'\n.*\n.*\n.*\n  fix: there is 'images'"):
        graph.get_tensor_by_name("imagse")
    for name in ("images:1", "images:x", "", ":0"):
        with pytest.raises(StaticGraphError, match="has no element called"):
            graph.get_tensor_by_name(name)
    with pytest.raises(StaticGraphError, match="'step' is an operation, which has no value"):
        graph.get_tensor_by_name("step")
    with pytest.raises(StaticGraphError, match="'images' is a tensor"):
        graph.get_operation_by_name("images")


def test_literals_get_a_name_when_they_are_asked() -> None:
    graph = gc.get_default_graph()
    with graph:
        one = zeros(())
    assert graph.get_tensor_by_name(one.name).value == one.value


def test_a_finalized_graph_takes_nothing_more() -> None:
    graph = gc.get_default_graph()
    x = gc.placeholder("f32[]", name="x")
    y = x + 1.0
    graph.finalize()
    for add in (lambda: x * 2.0, lambda: gc.placeholder("f32[]"), lambda: gc.Variable(0.0), lambda: gc.group(x), lambda: x + y):
        with pytest.raises(FinalizedGraphError, match="default is finalized: nothing can be added to it") as caught:
            add()
        assert "outside of the training loop" in str(caught.value)
    with gc.Session(target="reference") as session:
        assert session.run(y, {x: 1.0}) == 2.0


def test_tensors_of_two_graphs_do_not_mix() -> None:
    first, second = gc.Graph("first"), gc.Graph("second")
    with first:
        a = gc.placeholder("f32[]", name="a")
        step = gc.group(a, name="step")
    with second:
        b = gc.placeholder("f32[]", name="b")
        with pytest.raises(
            WrongGraphError, match="the tensor 'a' \\(f32\\[\\]\\) belongs to the graph first, and was used with second"
        ):
            _ = a + 1.0
    with pytest.raises(WrongGraphError, match="the tensor 'b'"):
        _ = a + b
    with pytest.raises(WrongGraphError, match="the operation 'step' belongs to the graph first"):
        second.element_of(step)
    with gc.Graph("first"), pytest.raises(WrongGraphError, match=r"the tensor 'a' .* belongs to another graph"):
        gc.gradients(gc.placeholder("f32[]"), [a])


def test_a_static_tensor_has_no_value_while_the_graph_is_built() -> None:
    x = gc.placeholder("f32[n]", name="x")
    condition = x.sum() > 0.0
    for need in (bool, lambda t: t.numpy(), lambda t: t.item(), np.asarray):
        with pytest.raises(ConcretizationError, match="needs the value of the static tensor 'gt' \\(bool\\[\\]\\)") as caught:
            need(condition)
        assert "session.run(tensor, feed_dict)" in str(caught.value)


def test_a_variable_is_not_written_in_place() -> None:
    w = gc.Variable([1.0, 2.0], name="w")
    for write in (lambda: w.add_(1.0), lambda: w[0].fill_(0.0), lambda: w.__setitem__(0, 3.0)):
        with pytest.raises(InPlaceError, match="the Variable 'w' is changed in place") as caught:
            write()
        assert "use gc.assign(w, value)" in str(caught.value)


def test_other_tensors_are_written_in_place_as_in_the_other_modes() -> None:
    x = gc.placeholder("f32[3]", name="x")
    y = x * 2.0
    view = y[1:]
    y[0] = 7.0
    view.add_(1.0)
    with gc.Session(target="reference") as session:
        assert session.run(y, {x: [1, 2, 3]}).tolist() == [7.0, 5.0, 7.0]


def test_repr() -> None:
    x = gc.placeholder("f32[n]", name="x")
    w = gc.Variable(1.0, name="w")
    assert repr(x) == "<Placeholder 'x' f32[n]>"
    assert repr(w) == "<Variable 'w' f32[]>"
    assert repr(x * w) == "<StaticTensor 'mul' f32[n]>"
    assert repr(gc.group(w, name="all")) == "<Operation 'all'>"
    assert repr(gc.get_default_graph()).startswith("<Graph 'default': 1 placeholders, 1 Variables, ")


# The graph as IR.


def test_to_ir_orders_feeds_variables_fetches_and_updates() -> None:
    x = gc.placeholder("f32[n]", name="x")
    y = gc.placeholder("f32[n]", name="y")
    w = gc.Variable(1.0, name="w")
    v = gc.Variable(2.0, name="v")
    gc.Variable(3.0, name="unused")
    loss = identity(x * v - y * w, name="loss")
    step = gc.group(gc.assign(v, 0.5), gc.assign_sub(w, 0.25))
    ir = gc.get_default_graph().to_ir([loss, step])
    verify(ir)
    assert [p.node.name for p in ir.parameters] == ["x", "y", "w", "v"]
    assert [o.node.name for o in ir.outputs] == ["loss", "AssignSub", "Assign"]
    assert dict(ir.aliases) == {1: 2, 2: 3}
    chosen = gc.get_default_graph().to_ir([step], feeds=["y", x], variables=[v, w])
    assert [p.node.name for p in chosen.parameters] == ["y", "x", "v", "w"]
    assert [o.node.name for o in chosen.outputs] == ["Assign", "AssignSub"]
    assert dict(chosen.aliases) == {0: 2, 1: 3}


def test_to_ir_has_only_what_the_fetches_need() -> None:
    x = gc.placeholder("f32[n]", name="x")
    gc.placeholder("f32[n]", name="unused")
    y = x + 1.0
    _ = y * 3.0
    text = print_graph(gc.get_default_graph().to_ir([y]))
    assert text.startswith("graph @default(%x: f32[n]) -> (f32[n]) {")
    assert "mul" not in text


def test_an_update_of_a_variable_that_is_not_read_has_no_parameter() -> None:
    w = gc.Variable(1.0, name="w")
    ir = gc.get_default_graph().to_ir([gc.assign(w, 5.0)])
    assert (len(ir.parameters), len(ir.outputs), dict(ir.aliases)) == (0, 2, {})


def test_to_ir_says_which_feed_is_missing() -> None:
    x = gc.placeholder("f32[]", name="x")
    with pytest.raises(FeedError, match="the fetch 'add' needs the placeholder 'x'"):
        gc.get_default_graph().to_ir([x + 1.0], feeds=[])


def test_operations_keep_where_they_were_made() -> None:
    operation = gc.group(gc.Variable(1.0))
    assert isinstance(operation, Operation)
    assert operation.location.filename == __file__
