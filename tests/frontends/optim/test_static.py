"""minimize() in a static graph makes the same updates as step()."""

from typing import Any

import numpy as np
import pytest

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.errors import ArgumentError, GradientError
from graphc.frontends import optim, static
from graphc.frontends.array.creation import asarray
from graphc.frontends.array.elementwise import clip
from tests.frontends.optim.test_rules import ALL, IDS

START = np.array([1.0, -2.0, 0.5], np.float32)
TARGETS = np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)


def squared_error() -> tuple[static.Graph, Any, Any, Any]:
    graph = static.Graph()
    with graph:
        target = static.placeholder("f32[3]", name="target")
        weight = static.Variable(START, name="w")
        loss = ((weight - target) ** 2).sum()
    return graph, target, weight, loss


@pytest.mark.parametrize(("make", "formula", "options"), ALL, ids=IDS)
def test_minimize_equals_step(make: Any, formula: Any, options: dict[str, Any]) -> None:
    graph, target, weight, loss = squared_error()
    with graph:
        train = make(**options).minimize(loss)
        initialize = static.global_variables_initializer()
    p = asarray(START.copy()).requires_grad_()
    optimizer = make([p], **options)
    with static.Session(graph) as session:
        session.run(initialize)
        for row in TARGETS:
            optimizer.zero_grad()
            expected = ((p - asarray(row)) ** 2).sum()
            optimizer.minimize(expected)
            _, value = session.run([train, loss], {target: row})
            np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
        np.testing.assert_allclose(session.run(weight), p.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_learning_rate_can_change_between_runs() -> None:
    graph, target, weight, loss = squared_error()
    optimizer = optim.SGD(lr=0.5)
    with graph:
        train = optimizer.minimize(loss)
        initialize = static.global_variables_initializer()
    with static.Session(graph) as session:
        session.run(initialize)
        optimizer.lr = 0.0
        session.run(train, {target: TARGETS[0]})
        np.testing.assert_array_equal(session.run(weight), START)
        optimizer.lr = 0.5
        session.run(train, {target: TARGETS[0]})
        np.testing.assert_allclose(session.run(weight), TARGETS[0], rtol=1e-6)


def test_the_learning_rate_can_be_fed() -> None:
    graph, target, weight, loss = squared_error()
    with graph:
        rate = static.placeholder("f32[]")
        train = optim.SGD(lr=rate).minimize(loss)
        initialize = static.global_variables_initializer()
    with static.Session(graph) as session:
        session.run(initialize)
        session.run(train, {target: TARGETS[0], rate: 0.5})
        np.testing.assert_allclose(session.run(weight), TARGETS[0], rtol=1e-6)


def test_gradients_can_be_changed_before_they_are_applied_and_steps_counted() -> None:
    graph, target, weight, loss = squared_error()
    optimizer = optim.SGD(lr=1.0)
    with graph:
        steps = static.Variable(0, trainable=False, name="steps")
        pairs = [(clip(g, -0.1, 0.1), v) for g, v in optimizer.compute_gradients(loss)]
        train = optimizer.apply_gradients(pairs, global_step=steps)
        initialize = static.global_variables_initializer()
    assert pairs[0][1] is weight
    with static.Session(graph) as session:
        session.run(initialize)
        session.run(train, {target: START + 5})
        np.testing.assert_allclose(session.run(weight), START + np.float32(0.1), rtol=1e-6)
        assert session.run(steps) == 1


def test_only_the_listed_variables_change() -> None:
    graph = static.Graph()
    with graph:
        a, b = static.Variable(1.0, name="a"), static.Variable(2.0, name="b")
        train = optim.SGD(lr=0.5).minimize(a * b, [b])
        initialize = static.global_variables_initializer()
    with static.Session(graph) as session:
        session.run(initialize)
        session.run(train)
        assert session.run([a, b]) == [1.0, 1.5]


def test_errors_name_what_is_missing() -> None:
    graph, _, weight, loss = squared_error()
    with graph:
        constant = static.placeholder("f32[]")
        with pytest.raises(GradientError, match="no Variable has a gradient"):
            optim.SGD().minimize(constant)
        with pytest.raises(GradientError, match=r"only a scalar can be minimized, and the loss has shape \(3,\)"):
            optim.SGD().minimize(weight * 2)
        with pytest.raises(ArgumentError, match="var_list holds Variables"):
            optim.SGD().minimize(loss, [constant])
    empty = static.Graph()
    with empty:
        x = static.placeholder("f32[]")
        with pytest.raises(ArgumentError, match="no trainable Variables"):
            optim.SGD().minimize(x)
    with pytest.raises(ArgumentError, match="made without parameters"):
        optim.SGD().minimize(asarray(START).requires_grad_().sum())
