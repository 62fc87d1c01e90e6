"""Draws inside of differentiated functions: the value and its gradient see the same numbers, and the stream goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

X = np.array([1.0, 2.0, 3.0], np.float32)
Draw = Callable[[Any], Any]  # a generator, to a gradient by X


def loss(generator: Any) -> Callable[[Any], Any]:
    return lambda x: (x * generator.normal((3,)) + generator.uniform((3,))).sum()


def recorded(g: Any) -> Any:
    with gc.record():
        return gc.grad(loss(g))(gc.tensor(X))


def backward(g: Any) -> Any:
    x = gc.tensor(X, requires_grad=True)
    loss(g)(x).backward()
    return x.grad


GRADIENTS: dict[str, Draw] = {
    "grad": lambda g: gc.grad(loss(g))(gc.tensor(X)),
    "value_and_grad": lambda g: gc.value_and_grad(loss(g))(gc.tensor(X))[1],
    "jit of grad": lambda g: gc.jit(gc.grad(loss(g)))(gc.tensor(X)),
    "grad of jit": lambda g: gc.grad(gc.jit(loss(g)))(gc.tensor(X)),
    "jit of value_and_grad": lambda g: gc.jit(gc.value_and_grad(loss(g)))(gc.tensor(X))[1],
    "vjp": lambda g: gc.vjp(loss(g), gc.tensor(X))[1](gc.tensor(1.0))[0],
    "vjp inside jit": lambda g: gc.jit(lambda x: gc.vjp(loss(g), x)[1](gc.ones(()))[0])(gc.tensor(X)),
    "recorded grad": recorded,
    "backward": backward,
    "backward inside jit": lambda g: gc.jit(lambda: backward(g))(),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_stream_goes_on_from_gradient_to_gradient(name: str) -> None:
    plain, generator = gc.random.Generator(3), gc.random.Generator(3)
    for _ in range(3):
        want = plain.normal((3,)).numpy()
        plain.uniform((3,))
        np.testing.assert_allclose(GRADIENTS[name](generator).numpy(), want, rtol=1e-6)
    np.testing.assert_array_equal(generator.get_state().numpy(), plain.get_state().numpy())
    assert not generator.get_state().requires_grad


def test_a_traced_gradient_draws_anew_at_each_call() -> None:
    generator, plain = gc.random.Generator(3), gc.random.Generator(3)
    step = gc.jit(gc.value_and_grad(loss(generator)))
    for _ in range(3):
        value, gradient = step(gc.tensor(X))
        noise, offset = plain.normal((3,)).numpy(), plain.uniform((3,)).numpy()
        np.testing.assert_allclose(gradient.numpy(), noise, rtol=1e-6)
        assert value.item() == pytest.approx((X * noise + offset).sum(), rel=1e-5)
    assert step.trace_count == 1


@pytest.mark.parametrize("wrap", [lambda f: f, gc.jit], ids=["eager", "jit"])
def test_value_and_gradient_see_one_dropout_mask(wrap: Any) -> None:
    generator = gc.random.Generator(1)
    value, gradient = wrap(gc.value_and_grad(lambda x: generator.dropout(x, 0.5).sum()))(gc.ones(1000))
    assert value.item() == gradient.sum().item()
    assert 800 < value.item() < 1200
    assert set(gradient.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("wrap", [lambda f: f, gc.jit], ids=["eager", "jit"])
def test_second_order(wrap: Any) -> None:
    plain, generator = gc.random.Generator(4), gc.random.Generator(4)

    def inner(x: Any) -> Any:
        return gc.grad(lambda y: (y**3 * generator.normal((3,))).sum())(x).sum()

    got = wrap(gc.grad(inner))(gc.tensor(X))
    np.testing.assert_allclose(got.numpy(), 6 * X * plain.normal((3,)).numpy(), rtol=1e-5)


def test_the_default_generator_in_a_traced_step() -> None:
    def masked(x: Any) -> Any:
        return (gc.random.dropout(x, 0.5) * gc.random.normal((3,))).sum()

    def step(x: Any) -> Any:
        return *gc.value_and_grad(masked)(x), gc.random.uniform((2,))

    results = []
    for run in (step, gc.jit(step)):
        gc.random.manual_seed(5)
        results.append([np.concatenate([r.numpy().ravel() for r in run(gc.tensor(X))]) for _ in range(2)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_a_gradient_in_a_static_graph_draws_what_it_needs() -> None:
    generator, plain = gc.random.Generator(3), gc.random.Generator(3)
    graph = gc.Graph()
    with graph:
        x = gc.placeholder(gc.float32, (3,))
        value = loss(generator)(x)
        (gradient,) = gc.gradients(value, [x])
    with gc.Session(graph) as session:
        both = session.run([value, gradient], {x: X})
        noise, offset = plain.normal((3,)).numpy(), plain.uniform((3,)).numpy()
        np.testing.assert_allclose(both[1], noise, rtol=1e-6)
        assert both[0] == pytest.approx((X * noise + offset).sum(), rel=1e-5)
        np.testing.assert_allclose(session.run(gradient, {x: X}), plain.normal((3,)).numpy(), rtol=1e-6)
