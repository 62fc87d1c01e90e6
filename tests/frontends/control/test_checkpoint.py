"""checkpoint: the same values and gradients, computed again instead of kept."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.passes.pipeline import pipeline
from tests.frontends.control.modes import agree

X = np.array([0.3, -0.8, 1.1])
W = np.array([[0.5, -0.2, 0.1], [0.3, 0.2, -0.4], [-0.1, 0.6, 0.2]])


def chain(x: Any, w: Any) -> Any:
    return gc.sin(gc.exp(gc.sin(x @ w)))


def count(graph: Graph, op: str) -> int:
    return sum(node.op.name == op for node in pipeline("cpu").run(graph).nodes())


@pytest.mark.parametrize("policy", ["nothing", "products", "everything", ("sin",)])
def test_values_and_gradients_are_those_of_the_function(policy: Any) -> None:
    f = gc.checkpoint(chain, policy=policy)
    for order in (lambda h: gc.value_and_grad(lambda x, w: h(x, w).sum(), (0, 1)),
                  lambda h: gc.grad(lambda x, w: (gc.grad(lambda x: h(x, w).sum())(x) ** 2).sum(), (0, 1))):  # fmt: skip
        got, want = agree(order(f), X, W, tolerance=1e-9), agree(order(chain), X, W, tolerance=1e-9)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(
    ("policy", "products", "exps"),
    [("nothing", 3, 2), ("products", 2, 2), ("everything", 2, 1), (("exp", "dot_general"), 2, 1)],
)
def test_what_is_not_kept_is_computed_again(policy: Any, products: int, exps: int) -> None:
    loss = lambda x: gc.checkpoint(lambda v: chain(v, W), policy=policy)(x).sum()  # noqa: E731
    graph = gc.jit(gc.value_and_grad(loss)).graph(X)
    assert (count(graph, "dot_general"), count(graph, "exp")) == (products, exps)


def test_a_scan_of_checkpointed_steps_keeps_the_carries_only() -> None:
    def loss(x: Any, w: Any, wrap: Any) -> Any:
        return gc.scan(wrap(lambda h, v: (chain(h, w) + v, None)), x[0], x)[0].sum()

    x = np.random.default_rng(0).normal(size=(5, 3))
    results = {}
    for name, wrap in (("plain", lambda f: f), ("checkpointed", gc.checkpoint)):
        gradient = gc.grad(lambda x, w, wrap=wrap: loss(x, w, wrap), (0, 1))
        results[name] = agree(gradient, x, W, tolerance=1e-9)
        graph = pipeline("cpu").run(gc.jit(gradient).graph(x, W))
        forward = next(node for node in graph.nodes() if node.op.name == "scan")
        assert (len(forward.types) == 2) == (name == "checkpointed"), "the carry, and a stack of it"
    for one, other in zip(*results.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_backward_of_a_checkpointed_layer() -> None:
    layer = gc.checkpoint(chain)
    w = gc.tensor(W, requires_grad=True)
    for run in (lambda f: f, gc.jit):
        w.grad = None
        run(lambda x: layer(x, w).sum())(gc.tensor(X)).backward()
        np.testing.assert_allclose(w.grad.numpy(), gc.grad(lambda w: chain(gc.tensor(X), w).sum())(gc.tensor(W)).numpy())


def test_dropout_in_a_checkpoint_drops_the_same_again() -> None:
    def loss(x: Any) -> Any:
        return (gc.random.uniform((3,), dtype=gc.float64) * gc.sin(x)).sum()

    for run in (lambda f: f, gc.jit):
        gc.random.seed(1)
        want = run(gc.grad(loss))(gc.tensor(X)).numpy()
        gc.random.seed(1)
        np.testing.assert_allclose(run(gc.grad(gc.checkpoint(loss)))(gc.tensor(X)).numpy(), want)


def test_structures_and_what_is_no_array() -> None:
    @gc.checkpoint
    def f(p: Any, *, scale: float, name: str) -> Any:
        return {"y": p["a"] * scale, "name": name, "none": None}

    got = gc.jit(gc.grad(lambda a: f({"a": a}, scale=2.0, name="n")["y"].sum()))(gc.tensor(X))
    np.testing.assert_array_equal(got.numpy(), [2, 2, 2])
    assert f({"a": gc.tensor(X)}, scale=1.0, name="n")["name"] == "n"


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="there is no policy 'some'"):
        gc.checkpoint(chain, policy="some")
    with pytest.raises(ArgumentError, match="'sine' is no primitive"):
        gc.checkpoint(chain, policy=["sine"])
    with pytest.raises(ArgumentError, match="checkpoint needs a function"):
        gc.checkpoint(3)  # type: ignore[call-overload]


@pytest.mark.parametrize("jitted", [False, True])
def test_in_batches(jitted):
    f = gc.checkpoint(lambda w, x: gc.tanh(w * x).sum())
    w, xs = gc.tensor([0.5, -1.0]), gc.tensor([[3.0, 0.25], [1.0, 0.5]])
    run = gc.jit if jitted else (lambda f: f)
    each = np.stack([gc.grad(f)(w, x).numpy() for x in xs])
    np.testing.assert_allclose(run(gc.vmap(gc.grad(f), in_axes=(None, 0)))(w, xs).numpy(), each, rtol=1e-6)
    total = gc.grad(lambda w, xs: gc.vmap(f, in_axes=(None, 0))(w, xs).sum())
    np.testing.assert_allclose(run(total)(w, xs).numpy(), each.sum(0), rtol=1e-6)
