"""`grad`, `value_and_grad` and `vjp`: orders, structures, composition with each other and with jit."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError

WRAPS = {
    "eager": lambda f: f,
    "jit outside": gc.jit,
}


def f64(*values: float) -> Any:
    return gc.tensor(values if len(values) > 1 else values[0], dtype=gc.float64)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_derivatives_of_every_order(wrap: Any) -> None:
    x, f = f64(0.7), gc.sin
    for want in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        f = gc.grad(f)
        assert wrap(f)(x).item() == pytest.approx(want, rel=1e-12)


def test_jit_between_orders() -> None:
    def f(x: Any) -> Any:
        return x**4

    for derivative in (
        gc.jit(gc.grad(gc.jit(gc.grad(gc.jit(f))))), gc.grad(gc.jit(gc.grad(f))), gc.grad(gc.grad(gc.jit(f))),
        gc.jit(gc.grad(gc.grad(f))),
    ):  # fmt: skip
        for at in (2.0, 3.0):
            assert derivative(f64(at)).item() == pytest.approx(12 * at**2)


def test_python_numbers_and_weak_types() -> None:
    assert gc.grad(lambda x: x**3)(2.0).item() == 12.0
    assert gc.grad(gc.grad(lambda x: x**3))(2).item() == 12.0


def test_value_and_grad() -> None:
    value, gradient = gc.value_and_grad(lambda x: (x * x).sum())(f64(1.0, 2.0))
    assert value.item() == 5.0 and gradient.tolist() == [2.0, 4.0]
    assert not value.requires_grad and not gradient.requires_grad


def test_aux() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        return y.sum(), {"y": y, "name": "doubled"}

    for wrap in (lambda g: g, lambda g: gc.jit(lambda x: g(x)[0])):
        gradient = wrap(gc.grad(f, has_aux=True))(f64(1.0, 2.0))
        gradient = gradient[0] if isinstance(gradient, tuple) else gradient
        assert gradient.tolist() == [2.0, 2.0]
    (value, aux), _ = gc.value_and_grad(f, has_aux=True)(f64(1.0, 2.0))
    assert value.item() == 6.0 and aux["y"].tolist() == [2.0, 4.0] and aux["name"] == "doubled"
    assert not aux["y"].requires_grad
    with pytest.raises(GradientError, match="pair"):
        gc.grad(lambda x: x.sum(), has_aux=True)(f64(1.0))


def test_argnums() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return a * b * b + c

    at = (f64(2.0), f64(3.0), f64(5.0))
    assert gc.grad(f)(*at).item() == 9.0
    assert gc.grad(f, 1)(*at).item() == 12.0
    assert gc.grad(f, -1)(*at).item() == 1.0
    assert [g.item() for g in gc.grad(f, (0, 2))(*at)] == [9.0, 1.0]
    with pytest.raises(ArgumentError, match="argnums 3 is out of range for 3"):
        gc.grad(f, 3)(*at)


class Layer(NamedTuple):
    w: Any
    b: Any


def test_structures() -> None:
    def loss(params: Any, x: Any) -> Any:
        for layer in params["layers"]:
            x = gc.tanh(x @ layer.w + layer.b)
        return x.sum() * params["scale"]

    rng = np.random.default_rng(0)
    params = {"layers": [Layer(gc.tensor(rng.normal(size=(3, 3))), gc.tensor(rng.normal(size=3))) for _ in range(2)],
              "scale": f64(2.0)}  # fmt: skip
    x = gc.tensor(rng.normal(size=(4, 3)))
    eager = gc.grad(loss)(params, x)
    traced = gc.jit(gc.grad(loss))(params, x)
    assert isinstance(eager["layers"][0], Layer)
    gc.tree_map(lambda a, b: np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9), eager, traced)
    step = 1e-6
    moved = dict(params, scale=params["scale"] + step)
    difference = (loss(moved, x) - loss(params, x)).item() / step
    assert eager["scale"].item() == pytest.approx(difference, rel=1e-6)
    assert not eager["scale"].requires_grad and params["scale"].grad is None


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_nested_derivatives_are_not_confused(wrap: Any) -> None:
    """d/dx (x · d/dy (x + y)) = 1, not 2: each derivative is of its own variable."""
    f = gc.grad(lambda x: x * gc.grad(lambda y: x + y)(f64(1.0)))
    assert wrap(f)(f64(5.0)).item() == 1.0
    g = gc.grad(lambda x: gc.grad(lambda y: x * y * y)(x))
    assert wrap(g)(f64(3.0)).item() == 12.0


def test_gradients_of_what_is_closed_over_flow_on() -> None:
    w = gc.tensor([2.0, 3.0], dtype=gc.float64, requires_grad=True)
    x = f64(1.0, 4.0)
    (gc.grad(lambda x: (w * x * x).sum())(x)).sum().backward()
    assert w.grad.tolist() == [2.0, 8.0]


def test_arguments_that_require_gradients_get_second_order() -> None:
    x = gc.tensor(2.0, dtype=gc.float64, requires_grad=True)
    gc.grad(lambda x: x**3)(x).backward()
    assert x.grad.item() == 12.0


def test_python_control_flow_on_values() -> None:
    def f(x: Any) -> Any:
        while x < 10:
            x = x * x
        return x

    assert gc.grad(f)(f64(2.0)).item() == 32.0
    assert gc.grad(f)(f64(4.0)).item() == 8.0
    with pytest.raises(GradientError, match="any number of steps"):  # traced, it would have to keep any number of steps
        gc.jit(gc.grad(f))(f64(2.0))
    assert gc.jit(f)(f64(2.0)).item() == 16.0
    assert gc.grad(f)(f64(2.0)).item() == 32.0


def test_writes_to_the_argument_stay_inside() -> None:
    def f(x: Any) -> Any:
        x[0] = x[1] * x[1]
        return x.sum()

    x = f64(1.0, 3.0)
    for g in (gc.grad(f), gc.jit(gc.grad(f))):
        assert g(x).tolist() == [0.0, 7.0]
        assert x.tolist() == [1.0, 3.0]


def test_nothing_flows_gives_zeros() -> None:
    for g in (gc.grad(lambda x, y: (y * 2).sum()), gc.jit(gc.grad(lambda x, y: (y * 2).sum()))):
        assert g(f64(1.0, 2.0), f64(1.0, 1.0)).tolist() == [0.0, 0.0]
    assert gc.grad(lambda x: x.detach().sum())(f64(1.0, 2.0)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("function", "argument", "match"),
    [
        (lambda x: x * 2, f64(1.0, 2.0), r"must return a floating scalar, not f64\[2\]"),
        (lambda x: x.astype(gc.int64), f64(1.0), r"must return a floating scalar, not i64\[\]"),
        (lambda x: "text", f64(1.0), "returned str"),
        (lambda x: x.sum(), gc.tensor([1, 2]), r"an argument of type i64\[2\] has no gradient"),
    ],
)
def test_errors(function: Any, argument: Any, match: str) -> None:
    for g in (gc.grad(function), gc.jit(gc.grad(function))):
        with pytest.raises(GradientError, match=match) as caught:
            g(argument)
        assert "test_gradient.py" in str(caught.value)


def test_grad_under_no_grad_still_differentiates() -> None:
    with gc.no_grad():
        assert gc.grad(lambda x: x * x)(f64(3.0)).item() == 6.0
        assert not gc.is_grad_enabled()


def test_vjp_pulls_back_as_often_as_wanted() -> None:
    def f(x: Any, y: Any) -> Any:
        return {"product": x * y, "sum": x + 2 * y}

    result, pullback = gc.vjp(f, f64(2.0, 3.0), f64(5.0, 7.0))
    assert result["product"].tolist() == [10.0, 21.0]
    for scale in (1.0, 10.0):
        gx, gy = pullback({"product": f64(1.0, 0.0) * scale, "sum": f64(0.0, 1.0) * scale})
        assert gx.tolist() == [5.0 * scale, 1.0 * scale]
        assert gy.tolist() == [2.0 * scale, 2.0 * scale]
    with pytest.raises(GradientError, match="structure"):
        pullback([f64(1.0, 0.0)])


def test_vjp_inside_jit_and_of_integers() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        (y, _), pullback = gc.vjp(lambda x: (x * x, (x > 1).astype(gc.int64)), x)
        return y, pullback((gc.ones_like(x), None))[0]

    y, gradient = f(f64(1.0, 2.0))
    assert y.tolist() == [1.0, 4.0] and gradient.tolist() == [2.0, 4.0]


def test_a_recording_holds_the_gradient() -> None:
    x = f64(1.0, 2.0)
    with gc.record() as recorder:
        gradient = gc.grad(lambda x: (x * x).sum())(x)
    graph = recorder.graph(gradient, x)
    (got,) = gc.compile_graph(graph, "reference")(np.array([3.0, 4.0]))
    assert got.tolist() == [6.0, 8.0]


def test_a_recording_does_not_change_what_wants_gradients() -> None:
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    for x, wants in ((gc.tensor([3.0, 4.0]), False), (w, True)):
        with gc.record():
            value, gradient = gc.value_and_grad(lambda a: (a**3).sum())(x)
        assert value.requires_grad is wants
        assert gradient.requires_grad is wants
    gradient.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [6.0, 12.0]
