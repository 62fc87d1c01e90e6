"""gc.jvp and gc.linearize: values, structures, modes, nesting, and what they refuse."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from tests.frontends.transforms.modes import MODES, Function, array, close


@pytest.fixture(params=MODES)
def run(request: pytest.FixtureRequest) -> Iterator[Function]:
    yield MODES[request.param]


def network(w: Any, x: Any) -> Any:
    hidden = gc.tanh(w @ x)
    return hidden / (1 + hidden**2).sum(), hidden.sum() * x[0]


def test_tangents_match_differences(run: Function) -> None:
    w, x, dw, dx = (array(*shape, seed=i, dtype=np.float64) for i, shape in enumerate([(3, 4), (4,), (3, 4), (4,)]))
    outputs, tangents = run(lambda *a: gc.jvp(network, a[:2], a[2:]), w, x, dw, dx)
    step = 1e-6
    above, below = (network(gc.tensor(w + s * dw), gc.tensor(x + s * dx)) for s in (step, -step))
    for value, tangent, high, low in zip(outputs, tangents, above, below, strict=True):
        close(value, (high + low) / 2, 1e-9)
        close(tangent, (high - low) / (2 * step), 1e-7)


def test_tangents_and_cotangents_agree(run: Function) -> None:
    w, x, dw, dx, weights = (
        array(*shape, seed=i, dtype=np.float64) for i, shape in enumerate([(3, 4), (4,), (3, 4), (4,), (3,)])
    )

    def both(w: Any, x: Any, dw: Any, dx: Any, weights: Any) -> Any:
        _, (tangent, _) = gc.jvp(network, (w, x), (dw, dx))
        _, pullback = gc.vjp(lambda *a: network(*a)[0], w, x)
        for_w, for_x = pullback(weights)
        return (weights * tangent).sum(), (for_w * dw).sum() + (for_x * dx).sum()

    left, right = run(both, w, x, dw, dx, weights)
    close(left, right, 1e-12)


def test_structures_and_integers() -> None:
    parameters = {"w": gc.tensor(array(3)), "b": [gc.tensor(array(2)), 1.5]}
    directions = {"w": gc.ones(3), "b": [gc.zeros(2), 2.0]}

    def function(p: Any) -> Any:
        return {"sum": p["w"].sum() * p["b"][1], "count": gc.argmax(p["w"])}

    value, tangent = gc.jvp(function, (parameters,), (directions,))
    close(value["sum"], array(3).sum() * 1.5)
    close(tangent["sum"], 3 * 1.5 + 2 * array(3).sum())
    assert tangent["count"] is None
    value, tangent, aux = gc.jvp(lambda x: (x * x, {"seen": x}), (3.0,), (1.0,), has_aux=True)
    assert (value.item(), tangent.item(), aux["seen"].item()) == (9.0, 6.0, 3.0)
    assert not aux["seen"].requires_grad and not tangent.requires_grad


def test_results_without_a_tangent_get_zeros(run: Function) -> None:
    value, tangent = run(lambda x: gc.jvp(lambda y: (x * 2, y.detach() * 3, y), (x,), (x,)), array(3))
    close(value[1], 3 * array(3))
    close(tangent[0], np.zeros(3))
    close(tangent[1], np.zeros(3))
    close(tangent[2], array(3))


def test_python_control_flow_on_values_in_eager_mode() -> None:
    def absolute(x: Any) -> Any:
        return x if x > 0 else -x

    assert [t.item() for t in gc.jvp(absolute, (-2.0,), (1.0,))] == [2.0, -1.0]


def test_linearize_reads_what_was_kept() -> None:
    calls = []

    def function(x: Any, y: Any) -> Any:
        calls.append(1)
        return gc.sin(x) * y

    x, y = array(3, dtype=np.float64), array(3, seed=1, dtype=np.float64)
    value, push = gc.linearize(function, gc.tensor(x), gc.tensor(y))
    close(value, np.sin(x) * y)
    for seed in (2, 3):
        dx, dy = array(3, seed=seed, dtype=np.float64), array(3, seed=seed + 5, dtype=np.float64)
        close(push(dx, gc.tensor(dy)), np.cos(x) * y * dx + np.sin(x) * dy, 1e-12)
    assert len(calls) == 1
    rows = gc.vmap(push, in_axes=(0, None))(gc.eye(3, dtype=gc.float64), gc.zeros(3, dtype=gc.float64))
    close(rows, np.diag(np.cos(x) * y), 1e-12)
    value, push, aux = gc.linearize(lambda x: (x**2, "aux"), 3.0, has_aux=True)
    assert (value.item(), push(1.0).item(), aux) == (9.0, 6.0, "aux")


ORDERS: dict[str, Callable[[Function], Function]] = {
    "forward": lambda f: lambda x: gc.jvp(f, (x,), (gc.ones_like(x),))[1],
    "reverse": gc.grad,
}


@pytest.mark.parametrize("first", ORDERS)
@pytest.mark.parametrize("second", ORDERS)
@pytest.mark.parametrize("third", ORDERS)
def test_third_derivatives_in_any_order(run: Function, first: str, second: str, third: str) -> None:
    derivative = ORDERS[third](ORDERS[second](ORDERS[first](lambda x: gc.sin(x) * x**2)))
    x = np.float64(0.7)
    want = -(x**2) * np.cos(x) - 6 * x * np.sin(x) + 6 * np.cos(x)
    close(run(derivative, np.asarray(x)), want, 1e-9)


def test_no_confusion_of_nested_perturbations() -> None:
    def outer(x: Any) -> Any:
        return x * gc.jvp(lambda y: x + y, (1.0,), (1.0,))[1]

    for wrap in (lambda f: f, gc.jit):
        assert wrap(lambda x: gc.jvp(outer, (x,), (gc.ones_like(x),))[1])(gc.tensor(2.0)).item() == 1.0


def test_through_jitted_functions_and_batches() -> None:
    inner = gc.jit(lambda x: gc.exp(x) * x)
    x = array(4, dtype=np.float64)
    want = np.exp(x) * (x + 1)
    close(gc.jvp(inner, (gc.tensor(x),), (gc.ones(4, dtype=gc.float64),))[1], want, 1e-12)
    each = gc.vmap(lambda v: gc.jvp(inner, (v,), (gc.ones_like(v),))[1])
    close(each(gc.tensor(x)), want, 1e-12)
    close(gc.jit(each)(x), want, 1e-12)
    close(gc.jvp(gc.vmap(inner), (gc.tensor(x),), (gc.ones(4, dtype=gc.float64),))[1], want, 1e-12)


def test_tangents_of_tensors_that_require_gradients() -> None:
    x = gc.tensor(array(3), requires_grad=True)
    direction = gc.tensor(array(3, seed=1), requires_grad=True)
    _, tangent = gc.jvp(lambda v: v**3, (x,), (direction,))
    tangent.sum().backward()
    close(x.grad, 6 * array(3) * array(3, seed=1))
    close(direction.grad, 3 * array(3) ** 2)


WRONG: list[tuple[Function, type[Exception], str]] = [
    (lambda: gc.jvp(gc.sin, 1.0, (1.0,)), ArgumentError, "primals must be a tuple of the arguments, not a float"),
    (lambda: gc.jvp(gc.sin, (1.0,), 1.0), ArgumentError, "tangents must be a tuple, one for each argument, not a float"),
    (lambda: gc.jvp(gc.sin, (1.0,), (1.0, 2.0)), GradientError, "the tangents must have the structure of the primals"),
    (lambda: gc.jvp(gc.sin, (1.0,), (None,)), GradientError, "the tangents must have the structure of the primals"),
    (lambda: gc.jvp(gc.sin, (gc.ones(3),), (gc.ones(2),)), GradientError,
     "jvp of sin: a tangent of type f32[2] was given for a value of type f32[3]"),
    (lambda: gc.jvp(gc.sin, (gc.arange(3),), (gc.arange(3),)), GradientError, "an argument of type i64[3] has no gradient"),
    (lambda: gc.jvp(gc.sin, (1.0,), (1.0,), has_aux=True), GradientError, "must return a pair (result, aux)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_errors(call: Function, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
