"""custom_vjp: gradients that the user writes, in every mode."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from tests.frontends.control.modes import agree

X = np.array([0.5, 2.0, 3.0])


def clipped() -> Any:
    @gc.custom_vjp
    def identity(x: Any) -> Any:
        return x * 1

    identity.defvjp(lambda x: (x * 1, None), lambda _, g: (gc.clip(g, -1.0, 1.0),))
    return identity


def test_the_gradient_is_what_backward_says() -> None:
    f = clipped()
    value, gradient = agree(gc.value_and_grad(lambda x: (f(x) * x * 10).sum()), X)
    assert value == 10 * (X**2).sum()
    np.testing.assert_allclose(gradient, np.clip(10 * X, -1, 1) + 10 * X)


def test_structures_residuals_and_arguments_without_a_gradient() -> None:
    @gc.custom_vjp
    def f(p: Any, n: Any, scale: float) -> Any:
        return {"y": p[0] * p[1] * scale, "n": n + 1}

    def forward(p: Any, n: Any, scale: float) -> Any:
        return f.function(p, n, scale), (p, scale, "static")

    def backward(residuals: Any, cotangent: Any) -> Any:
        (a, b), scale, static = residuals
        assert static == "static" and cotangent["n"] is None
        return (cotangent["y"] * b * scale, 7 * cotangent["y"] * a), None, None

    f.defvjp(forward, backward)
    first, second = agree(gc.grad(lambda x, y: f((x, y), gc.tensor(3), 2.0)["y"].sum(), (0, 1)), X, X + 1)
    np.testing.assert_allclose(first, 2 * (X + 1))
    np.testing.assert_allclose(second, 7 * X)


def test_the_gradient_can_be_differentiated() -> None:
    @gc.custom_vjp
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (5 * x * x * g,))
    (second,) = agree(gc.grad(lambda x: gc.grad(lambda v: cube(v).sum())(x).sum()), X)
    np.testing.assert_allclose(second, 10 * X)


def test_inside_loops_and_branches() -> None:
    f = clipped()

    def loss(x: Any) -> Any:
        total = gc.fori_loop(0, 3, lambda i, c: gc.cond(i > 0, lambda: f(c) * x, lambda: c), x)
        return total.sum()

    agree(gc.grad(loss), X)


def test_arrays_around_have_no_gradient() -> None:
    w = gc.tensor([2.0, 2.0, 2.0], dtype=gc.float64, requires_grad=True)

    @gc.custom_vjp
    def f(x: Any) -> Any:
        return x * w

    f.defvjp(lambda x: (x * w, None), lambda _, g: (g * w,))
    for run in (lambda g: g, gc.jit):
        x = gc.tensor(X, requires_grad=True)
        run(lambda v: f(v).sum())(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), [2, 2, 2])
        assert w.grad is None or not w.grad.numpy().any()


def test_without_gradients_the_function_simply_runs() -> None:
    f = clipped()
    np.testing.assert_array_equal(f(gc.tensor(X)).numpy(), X)
    with gc.no_grad():
        np.testing.assert_array_equal(f(gc.tensor(X, requires_grad=True)).numpy(), X)


def broken(forward: Any, backward: Any) -> Any:
    @gc.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(forward, backward)
    return gc.grad(lambda x: f(x, x).sum())(gc.tensor(X))


@pytest.mark.parametrize(
    ("forward", "backward", "error", "message"),
    [
        (lambda x, y: x * y, lambda r, g: (g, g), ArgumentError, r"forward must return a pair"),
        (lambda x, y: ((x, y), None), lambda r, g: (g, g), ArgumentError, "the structures differ"),
        (lambda x, y: (x * y, None), lambda r, g: g, GradientError, "a tuple with a cotangent for each of 2 arguments"),
        (lambda x, y: (x * y, None), lambda r, g: (g, g.sum()), GradientError, r"backward gives f64\[\] for args\[1\]"),
        (lambda x, y: (x * y, None), lambda r, g: (g, (g,)), ArgumentError, "the argument has"),
    ],
)
def test_errors(forward: Any, backward: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        broken(forward, backward)


def test_a_function_without_gradient_yet_is_an_error() -> None:
    @gc.custom_vjp
    def f(x: Any) -> Any:
        return x

    with pytest.raises(ArgumentError, match="f has no gradient yet"):
        f(gc.tensor(X))


@pytest.mark.parametrize("jitted", [False, True])
def test_forward_may_call_the_function_itself_also_in_batches(jitted):
    @gc.custom_vjp
    def product(w, x):
        return (w * x).sum()

    product.defvjp(lambda w, x: (product(w, x), (w, x)), lambda kept, g: (g * kept[1] * 2, g * kept[0] * 3))
    w, xs = gc.tensor([1.0, 2.0]), gc.tensor([[3.0, 4.0], [5.0, 6.0]])
    run = gc.jit if jitted else (lambda f: f)
    assert run(gc.grad(product))(w, xs[0]).tolist() == [6.0, 8.0]
    assert run(gc.vmap(gc.grad(product), in_axes=(None, 0)))(w, xs).tolist() == [[6.0, 8.0], [10.0, 12.0]]
    total = gc.grad(lambda w, xs: gc.vmap(product, in_axes=(None, 0))(w, xs).sum())
    assert run(total)(w, xs).tolist() == [16.0, 20.0]
