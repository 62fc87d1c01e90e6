"""scan: values, gradients, structures and errors, in every mode."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.graph import held_graphs
from tests.frontends.control.modes import agree

X = np.arange(12, dtype=np.float64).reshape(4, 3) / 10


@pytest.mark.parametrize("reverse", [False, True])
def test_carry_and_stacks(reverse: bool) -> None:
    def run(xs: Any, n: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            return {"t": carry["t"] + x["a"], "k": carry["k"] + x["n"]}, (carry["t"] * 2, {"s": x["a"].sum(), "none": None})

        return gc.scan(step, {"t": xs[0], "k": 0}, {"a": xs, "n": n}, reverse=reverse)

    n = np.array([1, 10, 100, 1000])
    t, k, doubles, sums, nothing = agree(run, X, n)
    order = X[::-1] if reverse else X
    totals = X[0] + np.cumsum(order, axis=0)
    before = np.concatenate([X[:1], totals[:-1]])
    np.testing.assert_allclose(t, totals[-1])
    assert k == 1111 and nothing is None
    np.testing.assert_allclose(doubles, 2 * (before[::-1] if reverse else before))
    np.testing.assert_allclose(sums, X.sum(axis=1))


def test_length_instead_of_arrays() -> None:
    carry, ys = agree(lambda x: gc.scan(lambda c, _: (c * 2, c.sum()), x[0], length=3), X)
    np.testing.assert_allclose(carry, X[0] * 8)
    np.testing.assert_allclose(ys, X[0].sum() * np.array([1, 2, 4]))


def test_no_steps() -> None:
    carry, ys = agree(lambda x: gc.scan(lambda c, v: (c + v.sum(), v * c), 0.0, x[:0]), X)
    assert carry == 0 and carry.dtype == np.float64
    assert ys.shape == (0, 3) and ys.dtype == np.float64


def loss(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = gc.tanh(w @ h + x)
        return h, h * x

    h, ys = gc.scan(step, xs[0], xs)
    return (ys * ys).sum() + h.sum()


def unrolled(w: Any, xs: Any) -> Any:
    h, total = xs[0], 0.0
    for i in range(4):
        h = gc.tanh(w @ h + xs[i])
        total = total + ((h * xs[i]) ** 2).sum()
    return total + h.sum()


W = np.array([[0.5, -0.2, 0.1], [0.3, 0.2, -0.4], [-0.1, 0.6, 0.2]])


def test_gradients_are_those_of_the_unrolled_loop() -> None:
    got = agree(gc.value_and_grad(loss, (0, 1)), W, X, tolerance=1e-10)
    want = agree(gc.value_and_grad(unrolled, (0, 1)), W, X, tolerance=1e-10)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_second_derivatives() -> None:
    def second(f: Any) -> Any:
        return gc.grad(lambda w, xs: (gc.grad(f)(w, xs) ** 2).sum(), (0, 1))

    got, want = (agree(second(f), W, X, tolerance=1e-9) for f in (loss, unrolled))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)


def test_gradient_inside_a_step() -> None:
    def descend(x: Any) -> Any:
        def step(v: Any, _: Any) -> Any:
            value, slope = gc.value_and_grad(lambda u: ((u - x) ** 2).sum())(v)
            return v - 0.25 * slope, value

        return gc.scan(step, x * 0, length=30)

    v, values = agree(descend, X)
    np.testing.assert_allclose(v, X, atol=1e-6)
    assert np.all(np.diff(values) <= 0)


def test_backward_through_a_jitted_scan() -> None:
    w = gc.tensor(W, requires_grad=True)
    gc.jit(loss)(w, gc.tensor(X)).backward()
    np.testing.assert_allclose(w.grad.numpy(), gc.grad(unrolled)(gc.tensor(W), gc.tensor(X)).numpy(), rtol=1e-10)


def test_the_graph_does_not_grow_with_the_number_of_steps() -> None:
    sizes = []
    for length in (2, 200):
        graph = gc.jit(gc.grad(loss)).graph(W, np.zeros((length, 3)))
        sizes.append(len(graph.nodes()))
    assert sizes[0] == sizes[1]


def test_a_symbolic_number_of_steps() -> None:
    graph = gc.jit(gc.grad(loss)).graph(gc.spec("f64[3, 3]"), gc.spec("f64[n, 3]"))
    run = gc.compile_graph(graph)
    for length in (1, 4):
        want = gc.grad(loss)(gc.tensor(W), gc.tensor(X[:length])).numpy()
        np.testing.assert_allclose(run(W, X[:length])[0], want, rtol=1e-10)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: gc.scan(lambda c, v: c + v, 0.0, x), ArgumentError, r"must return a pair \(carry, y\)"),
        (lambda x: gc.scan(lambda c, v: (c, v), 0.0), ArgumentError, "nothing to go along, and no length"),
        (lambda x: gc.scan(lambda c, v: (c, v), 0.0, x[0, 0]), ShapeError, "has no first axis"),
        (lambda x: gc.scan(lambda c, v: (c, v), 0.0, [x, x[:2]]), ShapeError, r"xs\[1\] has 2 slices .* and 4 steps"),
        (lambda x: gc.scan(lambda c, v: (c + v, v), 0.0, x), ShapeError, r"carry has type f64\[\] before"),
    ],
)
def test_errors_name_the_leaf_the_types_and_the_line(function: Any, error: type[Exception], message: str) -> None:
    for run in (function, gc.jit(function)):
        with pytest.raises(error, match=message) as caught:
            run(gc.tensor(X))
        assert caught.value.location.filename == __file__  # type: ignore[attr-defined]
        assert caught.value.location.line == function.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_what_is_compiled_does_not_grow_with_the_number_of_steps() -> None:
    """As many nodes, kernels and instructions for a training step through 3 steps as through 3000."""

    def loss(w: Any, x: Any) -> Any:
        return (gc.scan(lambda h, x: (gc.tanh(x + h @ w), h), gc.zeros((2, 4)), x)[1] ** 2).sum()

    counts = set()
    for steps in (3, 30, 3000):
        graph = gc.jit(gc.grad(loss)).graph(gc.ones((4, 4)), gc.ones((steps, 2, 4)))
        bodies = [body for node in graph.nodes() for body in held_graphs(node.attributes)]
        nodes = sum(len(list(g.nodes())) for g in (graph, *bodies))
        counts.add((nodes, len(compile_graph(graph).kernels())))
    assert len(counts) == 1


def test_one_trace_for_sizes_that_a_carry_and_an_array_share() -> None:
    """Two sizes that meet in a carry are equal in each call, as if they had met in an addition."""
    recurrent = gc.jit(lambda h, x: gc.scan(lambda h, x: (gc.tanh(h + x), None), h, x)[0])
    doubled = gc.jit(lambda x, y: gc.fori_loop(0, 3, lambda i, c: y + c, x))
    chosen = gc.jit(lambda x, y: gc.cond(x.sum() > 0, lambda: x * 2, lambda: y))
    paired = gc.jit(lambda x, y: gc.scan(lambda c, v: (c * 0.5 + v[0] * v[1], c), 0.0, (x, y))[1])
    for n in (7, 40, 3, 1, 0, 8):
        x, y = (np.random.default_rng(n).normal(size=n) for _ in range(2))
        np.testing.assert_allclose(recurrent(gc.tensor(x), gc.tensor([y, x])), np.tanh(np.tanh(x + y) + x), rtol=1e-12)
        np.testing.assert_allclose(doubled(gc.tensor(x), gc.tensor(y)), x + 3 * y, rtol=1e-12)
        np.testing.assert_allclose(chosen(gc.tensor(x), gc.tensor(y)), x * 2 if x.sum() > 0 else y, rtol=1e-12)
        assert paired(gc.tensor(x), gc.tensor(y)).shape == (n,)
    for function in (recurrent, doubled, chosen, paired):
        assert len(function.explain().traces) == 2
    with pytest.raises(ShapeError):
        doubled(gc.ones(3), gc.ones(4))
