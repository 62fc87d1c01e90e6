"""Placeholders, gradients, groups, control dependencies."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GradientError, ParseError, ShapeError, StaticGraphError
from graphc.frontends.array.elementwise import tanh
from graphc.frontends.static import control_dependencies, identity, no_op
from graphc.ir.types import TensorType


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.reset_default_graph()


def run(fetches: object, feeds: dict[object, object] | None = None) -> object:
    with gc.Session(target="reference") as session:
        if gc.global_variables():
            session.run(gc.global_variables_initializer())
        return session.run(fetches, feeds)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("f32[batch, 784]",), "f32[batch, 784]"),
        ((gc.float32, [2, 3]), "f32[2, 3]"),
        (("float64", []), "f64[]"),
        (("i64", ["batch", 4]), "i64[batch, 4]"),
        ((gc.float32, [None, 3, None]), "f32[x_0, 3, x_2]"),
        ((np.float16, 5), "f16[5]"),
        ((gc.float32, ["2*n", "n"]), "f32[2*n, n]"),
        ((gc.spec("u8[n]"),), "u8[n]"),
        ((TensorType(gc.float32, (1,)),), "f32[1]"),
    ],
)
def test_placeholders_are_declared_in_several_ways(arguments: tuple[object, ...], expected: str) -> None:
    x = gc.placeholder(*arguments, name="x")
    assert str(x.type) == expected


def test_unknown_sizes_are_never_the_same() -> None:
    gc.placeholder("f32[x_0]", name="taken")
    x = gc.placeholder(gc.float32, [None, None], name="x")
    with gc.name_scope("1st"):
        y = gc.placeholder(gc.float32, [None], name="y")
    assert str(x.type) == "f32[x_0_1, x_1]"
    assert str(y.type) == "f32[_1st_y_0]"


def test_placeholders_that_cannot_be() -> None:
    with pytest.raises(ShapeError, match="the placeholder 'x' has no shape") as caught:
        gc.placeholder(gc.float32, name="x")
    assert "give shape=[] for a scalar, and None for each size that is not known" in str(caught.value)
    with pytest.raises(ShapeError, match="has no shape"):
        gc.placeholder(gc.float32, None)
    with pytest.raises(ArgumentError, match="has a shape already"):
        gc.placeholder("f32[3]", [3])
    with pytest.raises(DTypeError):
        gc.placeholder("float33", [3])
    with pytest.raises(ParseError):
        gc.placeholder("f32[3")
    with pytest.raises(ShapeError, match="negative"):
        gc.placeholder(gc.float32, [-1])


# Gradients.


def test_gradients_of_several_ys_add_up() -> None:
    x = gc.placeholder("f32[n]", name="x")
    w = gc.Variable(3.0, name="w")
    y, z = x * w, x * x
    dx, dw = gc.gradients([y, z], [x, w])
    assert dx.name.startswith("gradients/")
    values = run([dx, dw], {x: [1.0, 2.0]})
    assert [v.tolist() for v in values] == [[5.0, 7.0], 3.0]  # type: ignore[attr-defined]


def test_grad_ys_scale_each_y() -> None:
    x = gc.placeholder("f32[2]", name="x")
    (dx,) = gc.gradients([x * 2.0, x * 5.0], x, grad_ys=[np.array([1.0, 10.0], np.float32), None])
    assert run(dx, {x: [0.0, 0.0]}).tolist() == [7.0, 25.0]  # type: ignore[attr-defined]


def test_gradients_of_gradients_and_of_intermediate_tensors() -> None:
    x = gc.placeholder("f32[]", name="x")
    square = x * x
    y = square * square
    (first,) = gc.gradients(y, [x])
    (second,) = gc.gradients(first, [x])
    (inner,) = gc.gradients(y, [square])
    assert run([first, second, inner], {x: 2.0}) == [32.0, 48.0, 8.0]


def test_what_no_gradient_reaches_gives_none() -> None:
    x = gc.placeholder("f32[]", name="x")
    other = gc.placeholder("f32[]", name="other")
    w = gc.Variable(1.0)
    assigned = gc.assign(w, x)
    assert gc.gradients(x * 2.0, [other]) == [None]
    assert gc.gradients(x.detach() * 2.0, [x]) == [None]
    assert gc.gradients(assigned * 2.0, [x]) == [None]
    assert gc.gradients([], []) == []


def test_gradients_that_do_not_exist() -> None:
    x = gc.placeholder("f32[n]", name="x")
    n = gc.placeholder("i64[n]", name="n")
    y = x * n
    with pytest.raises(
        GradientError, match="gradients: a derivative with respect to 'n' was asked for, but it is i64\\[n\\]"
    ) as caught:
        gc.gradients(y, [x, n])
    assert "convert it to float32 before it is used" in str(caught.value)
    with pytest.raises(GradientError, match="gradients: the derivative of 'gt' was asked for, but it is bool\\[n\\]"):
        gc.gradients(x > 0.0, [x])
    with pytest.raises(GradientError, match="the operation 'op' has no value"):
        gc.gradients(gc.group(x, name="op"), [x])
    with pytest.raises(GradientError, match="grad_ys has type f32\\[\\], and its y, 'mul', f32\\[n\\]"):
        gc.gradients(y, [x], grad_ys=1.0)
    with pytest.raises(ArgumentError, match="1 ys and 2 grad_ys"):
        gc.gradients(y, [x], grad_ys=[None, None])
    with pytest.raises(StaticGraphError, match="is not a tensor, Variable or operation"):
        gc.gradients(y, [gc.tensor(1.0)])


def test_backward_works_on_trainable_variables_as_in_the_other_modes() -> None:
    w, fixed = gc.Variable(3.0, name="w"), gc.Variable(3.0, trainable=False)
    (w * w * fixed).backward()
    assert fixed.grad is None
    assert run(w.grad) == 18.0


# Operations.


def test_groups_run_everything_and_give_nothing() -> None:
    a, b = gc.Variable(1.0), gc.Variable(2.0)
    inner = gc.group(gc.assign_add(a, 1.0), name="inner")
    outer = gc.group(inner, [gc.assign_add(b, 1.0)], None, a)
    with gc.Session(target="reference") as session:
        session.run(gc.global_variables_initializer())
        assert session.run([outer, a]) == [None, 1.0]
        assert session.run([a, b]) == [2.0, 3.0]


def test_control_dependencies_run_with_what_depends_on_them() -> None:
    count = gc.Variable(0, name="count", trainable=False)
    x = gc.placeholder("f32[]", name="x")
    step = gc.assign_add(count, 1)
    before = x * 2.0
    with control_dependencies([step]):
        inside = x * 3.0
        nothing = no_op()
        with control_dependencies(None):
            outside = x * 4.0
    after = inside + 1.0
    with gc.Session(target="reference") as session:
        session.run(gc.global_variables_initializer())
        assert session.run([before, outside], {x: 1.0}) == [2.0, 4.0]
        assert session.run(count) == 0
        assert session.run(after, {x: 1.0}) == 4.0
        assert session.run(count) == 1
        assert session.run([nothing, inside], {x: 1.0}) == [None, 3.0]
        assert session.run(count) == 2


def test_control_dependencies_of_nothing() -> None:
    with control_dependencies([]):
        assert run(identity(2.0)) == 2.0


def test_identity_names_a_value_of_any_kind() -> None:
    x = gc.placeholder("i32[n]", name="x")
    named = identity(x, name="named")
    assert named.name == "named"
    values = run(["named", identity(3.0), identity(gc.tensor([1, 2]))], {x: [5]})
    assert [v.tolist() for v in values] == [[5], 3.0, [1, 2]]  # type: ignore[attr-defined]


# The other ways to write functions and gradients, within a static graph.


def test_jitted_functions_and_transforms_add_to_the_graph_of_their_arguments() -> None:
    function = gc.jit(lambda w, x: tanh(w * x).sum())
    x = gc.placeholder("f32[n]", name="x")
    w = gc.Variable(2.0, name="w")
    y = function(w, x)
    (by_gradients,) = gc.gradients(y, [w])
    by_grad = gc.grad(function)(w, x)
    with gc.get_default_graph():
        inside = gc.grad(function)(w, x)
    assert by_grad.graph is inside.graph is x.graph
    value, *derivatives = run([y, by_gradients, by_grad, inside], {x: [1.0, 2.0]})  # type: ignore[misc]
    np.testing.assert_allclose(value, np.tanh([2.0, 4.0]).sum(), rtol=1e-6)
    expected = (np.array([1.0, 2.0]) / np.cosh([2.0, 4.0]) ** 2).sum()
    np.testing.assert_allclose(derivatives, [expected] * 3, rtol=1e-5)
