"""cond and switch: values, gradients, writes and errors, in every mode."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, CheckError, DTypeError, GradientError, ShapeError
from graphc.frontends.dispatch import bind_all
from tests.frontends.control.modes import agree

X = np.array([1.0, -2.0, 3.0], np.float32)


@pytest.mark.parametrize("flag", [True, False])
def test_one_side_is_taken(flag: bool) -> None:
    def choose(x: Any, p: Any) -> Any:
        return gc.cond(p, lambda a: {"r": a + 1, "s": (a.sum(), None)}, lambda a: {"r": a * 2, "s": (a.max(), None)}, x)

    r, s, nothing = agree(choose, X, np.asarray(flag))
    np.testing.assert_array_equal(r, X + 1 if flag else X * 2)
    assert s == (X.sum() if flag else X.max()) and nothing is None


def test_a_number_is_true_unless_0() -> None:
    for value in (0.0, 2.5):
        (got,) = agree(lambda x, n: gc.cond(n, lambda: x, lambda: -x), X, np.float32(value))
        np.testing.assert_array_equal(got, X if value else -X)


@pytest.mark.parametrize(("index", "taken"), [(0, 0), (1, 1), (2, 2), (-3, 0), (99, 2)])
def test_switch_clamps_its_index(index: int, taken: int) -> None:
    functions = [lambda x: x, lambda x: x * 2, lambda x: x * x]
    (got,) = agree(lambda x, i: gc.switch(i, functions, x), X, np.asarray(index))
    np.testing.assert_array_equal(got, functions[taken](X))
    assert gc.switch(index, functions, 3) == functions[taken](3)


def test_what_is_known_while_tracing_leaves_no_op() -> None:
    graph = gc.jit(lambda x: gc.cond(True, lambda: x, lambda: x + 1)).graph(X)
    assert [n.op.name for n in graph.nodes()] == ["parameter"]


def test_a_python_scalar_takes_the_dtype_of_the_other_side() -> None:
    for flag in (True, False):
        (got,) = agree(lambda x, p: gc.cond(p, lambda: 1, lambda: x[0].astype(gc.float64)), X, np.asarray(flag))
        assert got.dtype == np.float64
        (got,) = agree(lambda x, p: gc.cond(p, lambda: 1, lambda: 2.5), X, np.asarray(flag))
        assert got.dtype == np.float32


@pytest.mark.parametrize("flag", [True, False])
def test_gradients_flow_through_the_side_that_was_taken(flag: bool) -> None:
    def loss(x: Any, w: Any) -> Any:
        return gc.cond(x[0] > 0 if flag else x[0] < 0, lambda: gc.sum(x**3 * w), lambda: gc.sum(x * x))

    first, second = agree(gc.grad(loss, (0, 1)), X, X + 1)
    np.testing.assert_allclose(first, 3 * X**2 * (X + 1) if flag else 2 * X, rtol=1e-6)
    np.testing.assert_allclose(second, X**3 if flag else 0 * X, rtol=1e-6)
    (twice,) = agree(gc.grad(lambda x, w: gc.grad(loss)(x, w).sum()), X, X + 1)
    np.testing.assert_allclose(twice, 6 * X * (X + 1) if flag else [2, 2, 2], rtol=1e-6)


def test_backward_goes_through() -> None:
    for run in (lambda f: f, gc.jit):
        x = gc.tensor(X, requires_grad=True)
        run(lambda v: gc.cond(v.sum() > 0, lambda: v * v, lambda: v))(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * X)


def test_no_gradient_flows_through_what_was_detached_in_a_branch() -> None:
    def loss(x: Any) -> Any:
        return gc.cond(x[0] > 0, lambda: gc.sum(x.detach() * x), x.sum)

    (got,) = agree(gc.grad(loss), X)
    np.testing.assert_allclose(got, X)


def test_branches_write_to_memory_around_them() -> None:
    def update(x: Any, p: Any) -> Any:
        y = x * 1
        tail = y[1:]

        def on_true() -> Any:
            tail[0] = 50.0
            return y.sum()

        total = gc.cond(p, on_true, lambda: y[0])
        return y, tail, total

    y, tail, total = agree(update, X, np.asarray(True))
    np.testing.assert_array_equal(y, [1, 50, 3])
    np.testing.assert_array_equal(tail, [50, 3])
    assert total == 54
    y, *_ = agree(update, X, np.asarray(False))
    np.testing.assert_array_equal(y, X)


def test_an_argument_that_a_branch_writes_is_written() -> None:
    @gc.jit
    def clear(x: Any, p: Any) -> Any:
        def on_true() -> None:
            x[...] = 0.0

        return gc.cond(p, on_true, lambda: None)

    for flag in (False, True):
        x = gc.tensor(X.copy())
        assert clear(x, gc.tensor(flag)) is None
        np.testing.assert_array_equal(x.numpy(), 0 * X if flag else X)


def test_a_check_in_a_branch_counts_if_the_branch_is_taken() -> None:
    def checked(x: Any) -> Any:
        def positive() -> Any:
            bind_all("check", (x < 10).all(), message="x must be below 10")
            return x

        return gc.cond(x[0] > 0, positive, lambda: -x)

    for run in (checked, gc.jit(checked)):
        np.testing.assert_array_equal(run(gc.tensor([-20.0, 30.0])).numpy(), [20, -30])
        with pytest.raises(CheckError, match="x must be below 10"):
            run(gc.tensor([1.0, 30.0]))


def test_branches_in_branches() -> None:
    def nested(x: Any) -> Any:
        return gc.cond(
            x[0] > 0,
            lambda: gc.cond(x[1] > 0, x.sum, lambda: gc.switch(x.argmax(), [lambda: x[0], lambda: x[1], lambda: x[2]])),
            x.min,
        )

    assert agree(nested, X) == [3.0]
    agree(gc.grad(nested), X)


def test_eager_tensors_in_closures_are_read_at_each_call() -> None:
    weight = gc.tensor([1.0, 1.0, 1.0])
    f = gc.jit(lambda x: gc.cond(x[0] > 0, lambda: x * weight, lambda: x))
    x = gc.tensor(X)
    np.testing.assert_array_equal(f(x).numpy(), X)
    weight[...] = 3.0
    np.testing.assert_array_equal(f(x).numpy(), 3 * X)
    assert f.trace_count == 1


def test_arguments_of_python_do_not_retrace() -> None:
    f = gc.jit(lambda x, n: gc.cond(n > 3, lambda: x, lambda: -x))
    for n in range(6):
        np.testing.assert_array_equal(f(gc.tensor(X), n).numpy(), X if n > 3 else -X)
    assert f.trace_count == 1


def refuse(function: Any) -> Any:
    return gc.jit(function)(gc.tensor(X))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: gc.cond(x[0] > 0, lambda: x, lambda: x[0]), ShapeError, r"result has type f32\[\] if it is false, and f32"),
        (lambda x: gc.cond(x[0] > 0, lambda: [x], lambda: [x.astype(gc.int32)]), DTypeError, r"result\[0\] has type i32\[3\]"),
        (lambda x: gc.cond(x[0] > 0, lambda: x[0].astype(gc.int32), lambda: 2.5), DTypeError, "result has type"),
        (lambda x: gc.cond(x[0] > 0, lambda: (x, x), lambda: x), ArgumentError, r"is false has \*, if the predicate"),
        (lambda x: gc.cond(x[0] > 0, lambda: None, lambda: x), ArgumentError, "the result is"),
        (lambda x: gc.cond(x > 0, lambda: x, lambda: x), ShapeError, r"must be a scalar, not bool\[3\]"),
        (lambda x: gc.switch(x[0], [lambda: x]), DTypeError, "the index must be an integer"),
        (lambda x: gc.switch(1, []), ArgumentError, "there are no branches"),
    ],
)
def test_errors_name_the_leaf_the_types_and_the_line(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        refuse(function)
    assert caught.value.location.filename == __file__  # type: ignore[attr-defined]
    assert caught.value.location.line == function.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_backward_inside_says_what_to_do() -> None:
    w = gc.tensor(X, requires_grad=True)
    with pytest.raises(GradientError, match="within a branch or the body of a loop"):
        refuse(lambda x: gc.cond(x[0] > 0, lambda: (x * w).sum().backward(), lambda: None))
