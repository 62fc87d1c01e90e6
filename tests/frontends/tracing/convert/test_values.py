"""Converted control flow has Python's meaning: each function is the same traced as eagerly, on each path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.tracing.convert.loops import MAX_UNROLLED
from graphc.ops.core import evaluate_graph

UP, DOWN = [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]


def traced(function: Callable[..., Any], *arguments: Any) -> Any:
    """The results of the graph of a call, run by the reference."""
    return evaluate_graph(*gc.jit(function).traced_call(*arguments))


def assert_same(function: Callable[..., Any], *arguments: Any) -> None:
    eager = function(*[a.copy() if isinstance(a, gc.Tensor) else a for a in arguments])
    eager = list(eager) if isinstance(eager, tuple) else [eager]
    got = traced(function, *arguments)
    want = [x for x in eager if len(got) == len(eager) or isinstance(x, gc.Tensor)]
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-6)


def elif_chain(x: Any) -> Any:
    if x.sum() > 5:
        y = x * 2
    elif x.sum() > 0:
        y = x
    elif x[0] < -5:
        y = x + 100
    else:
        y = -x
    return y


def early_return(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    x = x - 1
    if x[0] < -1.5:
        return x * 3
    return x


def partial_return(x: Any) -> Any:
    if x.sum() < 10:
        if x[0] > 1:
            return x * 5
        y = x + 1
    else:
        y = x - 1
    return y


def while_with_counter(x: Any) -> Any:
    n = 0
    while abs(x.sum()) < 100:
        x = x * 2
        n += 1
    return x, n


def while_else(x: Any) -> Any:
    while abs(x).sum() < 50:
        x = x * 2
        if x[0] > 4:
            break
    else:
        x = x + 1000
    return x


def nested_jumps(x: Any) -> Any:
    total = 0.0
    for i in range(6):
        if x[0] * i > 3:
            break
        for j in range(i):
            if (x.sum() + j) % 2 == 0:
                continue
            if x[1] * j > 4:
                return x, total
            total = total + j * x.sum()
    return x * 2, total


def boolean_operators(x: Any) -> Any:
    a = x.sum() > 0 and x[0] > 0.5
    b = x.sum() > 0 or x[5 if False else 1] > 3
    c = not a
    d = 0 < x[0] < 2 <= x[1]
    return a, b, c, d, x if a or not b else -x


def swap(x: Any) -> Any:
    a, b = x, x * 2
    while a.sum() < 30 and b.sum() > -30:
        a, b = b, a + b
    return a, b


def in_place_in_branch(x: Any) -> Any:
    y = x.copy()
    view = y[1:]
    if x.sum() > 0:
        y += 1
        y[0] = 7
    else:
        view *= 2
    return y, view


def shadowing(x: Any) -> Any:
    for x_ in x:
        if x_ > 2:
            x = x + x_
    return x, x_


def with_and_try(x: Any) -> Any:
    with scope():
        try:
            if x.sum() > 0:
                return x
            y = x * 2
        finally:
            z = x + 1
    return y + z


@contextmanager
def scope() -> Iterator[None]:
    yield


def comprehension(x: Any) -> Any:
    parts = [x * k if k % 2 else x + k for k in range(4)]
    return sum(parts, x) if x.sum() > 0 else parts[0]


def annotated(x: Any) -> Any:
    y: Any
    if x.sum() > 0:
        y: Any = x
    else:
        y = -x
    return y


def local_function(x: Any) -> Any:
    def sign(v: Any) -> Any:
        if v > 0:
            return 1.0
        return -1.0

    def bump() -> None:
        nonlocal count
        count += 1

    count = 0
    if x.sum() > 0:
        bump()
    return x * sign(x[0]), count


@pytest.mark.parametrize(
    "function",
    [
        elif_chain, early_return, partial_return, while_with_counter, while_else, nested_jumps, boolean_operators, swap,
        in_place_in_branch, shadowing, with_and_try, comprehension, annotated, local_function,
    ],
)  # fmt: skip
def test_each_path(function: Callable[..., Any]) -> None:
    for values in (UP, DOWN, [3.0, 0.5, 1.0], [-9.0, 1.0, 1.0]):
        assert_same(function, gc.tensor(values))


def test_ranges_with_bounds_that_a_run_knows() -> None:
    def count(n: Any, m: Any) -> Any:
        total, last = 0, -1
        for i in range(n):
            total = total + i * i
        for last in range(m, n, 2):
            total -= last
        for k in range(n, m, -3):
            if k < 2:
                break
            total = total + k
        return total, last

    for n, m in ((5, 0), (0, 7), (-3, 4), (3, 3)):
        assert_same(count, gc.tensor(n), gc.tensor(m))


def test_first_axis_of_a_long_array() -> None:
    def total(x: Any) -> Any:
        positive, last = x[0] * 0, x[0]
        for row in x:
            if row.sum() > 0:
                positive = positive + row
            last = row
        return positive, last

    x = gc.tensor(np.random.default_rng(0).normal(size=(MAX_UNROLLED + 3, 2)))
    assert_same(total, x)
    assert [n.op.name for n in gc.jit(total).graph(x).nodes()].count("scan") == 1


def heat(u: Any, steps: int) -> Any:
    t = 0.0
    for step in range(steps):
        u[1:-1] = u[1:-1] + 0.25 * (u[:-2] - 2 * u[1:-1] + u[2:])
        u[0] = 0.125 * step
        t += 0.5
    return u.sum() + t


def test_a_long_time_loop_is_one_op_whatever_its_length() -> None:
    u = gc.tensor(np.linspace(0, 1, 8), dtype=gc.float64)
    sizes = []
    for steps in (MAX_UNROLLED + 1, 500):
        graph = gc.jit(heat, static_argnames="steps").graph(u, steps)
        sizes.append(len(graph.nodes()))
        assert [n.op.name for n in graph.nodes()].count("scan") == 1
    assert sizes[0] == sizes[1]
    short = gc.jit(heat, static_argnames="steps").graph(u, 3)
    assert not [n for n in short.nodes() if n.op.name == "scan"]


def test_a_time_loop_writes_to_its_argument_and_has_gradients() -> None:
    eager, jitted = (gc.tensor(np.linspace(0, 1, 8), dtype=gc.float64) for _ in range(2))
    run = gc.jit(heat, static_argnames="steps")
    assert run(jitted, 40).item() == pytest.approx(heat(eager, 40).item())
    np.testing.assert_allclose(jitted.numpy(), eager.numpy(), rtol=1e-12)
    start = gc.tensor(np.linspace(0, 1, 8), dtype=gc.float64)
    gradient = functools.partial(gc.grad(heat), steps=40)
    np.testing.assert_allclose(gc.jit(gradient)(start).numpy(), gradient(start).numpy(), rtol=1e-12)


def test_a_long_loop_that_settles_in_its_first_step() -> None:
    def first_value(x: Any) -> Any:
        total = 0
        for i in range(MAX_UNROLLED + 8):
            total = total + x * i
            largest = total.max()
        return total, largest, i

    assert_same(first_value, gc.tensor(UP))
    graph = gc.jit(first_value).graph(gc.tensor(UP))
    assert [n.op.name for n in graph.nodes()].count("scan") == 1


def test_a_loop_whose_steps_differ_is_unrolled() -> None:
    weights = [float(k) for k in range(MAX_UNROLLED + 1)]

    def mixed(x: Any) -> Any:
        for i in range(len(weights)):
            x = x + weights[i]
        return x

    assert_same(mixed, gc.tensor(UP))
    assert not [n for n in gc.jit(mixed).graph(gc.tensor(UP)).nodes() if n.op.name == "scan"]


def test_loops_that_end_early_have_gradients_where_their_length_is_bounded() -> None:
    def newton(a: Any) -> Any:
        x = a
        for _ in range(50):
            if abs(x * x - a) < 1e-12:
                break
            x = 0.5 * (x + a / x)
        return x

    a = gc.tensor(2.0, dtype=gc.float64)
    assert_same(newton, a)
    assert traced(gc.grad(newton), a)[0] == pytest.approx(0.5 / np.sqrt(2))


def test_a_static_graph_converts_what_it_calls() -> None:
    @gc.jit
    def clipped(x: Any) -> Any:
        if x.sum() > 1:
            return x / x.sum()
        return x

    graph = gc.Graph()
    with graph.as_default():
        x = gc.placeholder("float32", (2,))
        y = clipped(x)
    with gc.Session(graph) as session:
        assert session.run(y, {x: [3.0, 1.0]}).tolist() == [0.75, 0.25]
        assert session.run(y, {x: [0.5, 0.25]}).tolist() == [0.5, 0.25]


def test_a_page_of_mixed_code_compiled() -> None:
    def simulate(position: Any, velocity: Any, limit: Any) -> Any:
        bounces, energy = 0, 0.0
        for step in range(60):
            velocity = velocity - 0.125
            position = position + 0.1 * velocity
            if (position < 0).any():
                velocity = gc.where(position < 0, -0.9 * velocity, velocity)
                position = abs(position)
                bounces += 1
                if bounces > limit:
                    break
            elif step % 7 == 3 and velocity.max() < 0:
                continue
            energy = energy + (velocity * velocity).sum()
        halved = position.detach()
        while halved.max() > 1:
            halved = halved * 0.5
        return position, velocity, energy if bounces else -energy, bounces, halved

    def energy(position: Any, velocity: Any, limit: Any) -> Any:
        return simulate(position, velocity, limit)[2]

    for limit in (2, 100):
        arguments = gc.tensor([1.0, 2.0], dtype=gc.float64), gc.tensor([0.0, 0.5], dtype=gc.float64), gc.tensor(limit)
        for got, want in zip(gc.jit(simulate)(*arguments), simulate(*arguments), strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-9)
        got = traced(gc.grad(energy, (0, 1)), *arguments)
        for x, y in zip(got, gc.grad(energy, (0, 1))(*arguments), strict=True):
            np.testing.assert_allclose(x, y.numpy(), rtol=1e-9)
