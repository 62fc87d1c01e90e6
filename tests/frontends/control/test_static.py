"""Control flow in static graphs: Variables, checks, random draws and gradients in a Session."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckError
from graphc.frontends.dispatch import bind_all

X = np.array([1.0, -2.0, 3.0], np.float32)


def test_a_training_loop_in_one_run() -> None:
    graph = gc.Graph()
    with graph:
        target = gc.placeholder("f32[3]", name="target")
        weights = gc.Variable(np.zeros(3, np.float32), name="w")

        def descend(i: Any, w: Any) -> Any:
            return w - 0.25 * gc.grad(lambda v: ((v - target) ** 2).sum())(w)

        train = gc.assign(weights, gc.fori_loop(0, 20, descend, weights))
        init = gc.global_variables_initializer()
    with gc.Session(graph) as session:
        session.run(init)
        session.run(train, {target: X})
        np.testing.assert_allclose(session.run(weights), X, atol=1e-5)


def test_gradients_through_a_loop() -> None:
    graph = gc.Graph()
    with graph:
        x = gc.placeholder("f32[n]", name="x")
        y = gc.scan(lambda c, v: (c * 0.5 + v * v, c), 0.0, x)[1].sum()
        (slope,) = gc.gradients(y, [x])
    with gc.Session(graph) as session:
        got = session.run(slope, {x: X})
    want = gc.grad(lambda x: gc.scan(lambda c, v: (c * 0.5 + v * v, c), 0.0, x)[1].sum())(gc.tensor(X))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-6)


def test_a_check_in_a_branch_runs_once_and_only_if_taken() -> None:
    graph = gc.Graph()
    with graph:
        x = gc.placeholder("f32[3]", name="x")

        def checked() -> Any:
            bind_all("check", x[1] < 0, message="x[1] must be negative")
            return x * 2

        y = gc.cond(x[0] > 0, checked, lambda: x)
    lowered = graph.to_ir([y])
    assert [node.op.name for node in lowered.nodes()].count("cond") == 1 and len(lowered.effects) == 1
    with gc.Session(graph) as session:
        np.testing.assert_array_equal(session.run(y, {x: X}), X * 2)
        np.testing.assert_array_equal(session.run(y, {x: np.array([-1, 5, 1], np.float32)}), [-1, 5, 1])
        with pytest.raises(CheckError, match=r"x\[1\] must be negative"):
            session.run(y, {x: np.abs(X)})


def test_random_draws_in_a_loop_advance_from_run_to_run() -> None:
    graph = gc.Graph()
    with graph:
        walk = gc.fori_loop(0, 4, lambda i, c: c + gc.random.normal((2,)), gc.zeros((2,)))
    with gc.Session(graph) as session:
        assert not np.array_equal(session.run(walk), session.run(walk))
