"""Loops whose rows several threads do at the same time: when there are such, and the same bits as without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.compile import compile_graph
from graphc.ops.core import evaluate_graph
from graphc.runtime.executable import Executable
from graphc.runtime.program import Fork
from graphc.runtime.tape_words import FORK_ROWS

ROWS, WIDTH, STEPS = 40, 24, 600
RNG = np.random.default_rng(0)


@pytest.fixture(params=[2, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = gc.get_num_threads()
    gc.set_num_threads(request.param)
    yield request.param
    gc.set_num_threads(before)


def arrays(rows: int = ROWS, steps: int = STEPS) -> tuple[np.ndarray, ...]:
    shapes = ((steps, rows, WIDTH), (rows, WIDTH), (WIDTH, WIDTH), (WIDTH,))
    return tuple([(RNG.normal(size=shape) * 0.2).astype(np.float32) for shape in shapes])


def recurrent(x: Any, a: Any, w: Any, bias: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        y = gc.tanh(x + bias + h @ w)
        return y, (y, h.sum(1))

    return gc.scan(step, a, x)


def swapped(x: Any, a: Any, w: Any, bias: Any) -> Any:
    """Two carries, of which none is stacked, backwards, with a constant that has rows."""
    return gc.scan(lambda c, x: ((c[1] * 0.5 + x, gc.sin(c[0] @ w) * a), None), (a, a * 2), x, reverse=True)


def unchanged(x: Any, a: Any, w: Any, bias: Any) -> Any:
    return gc.scan(lambda c, x: ((c[0], c[1] * 0.9 + c[0] * x), c[0] + x), (a, a), x)


def gradient(x: Any, a: Any, w: Any, bias: Any) -> Any:
    return gc.grad(lambda a, w, bias: (gc.scan(lambda h, x: (gc.tanh(x + bias + h @ w), None), a, x)[0] ** 2).sum(), (0, 1, 2))(
        a, w, bias
    )


def in_a_loop(x: Any, a: Any, w: Any, bias: Any) -> Any:
    return gc.fori_loop(0, 3, lambda i, h: gc.scan(lambda h, x: (gc.tanh(x + bias + h @ w), None), h, x)[0] * 0.5, a)


FUNCTIONS: list[Callable[..., Any]] = [recurrent, swapped, unchanged, gradient, in_a_loop]


def forks(run: Executable) -> int:
    return sum(isinstance(step, Fork) for step in run.program.instructions)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rows_at_the_same_time(function: Callable[..., Any], threads: int) -> None:
    given_arrays = arrays()
    graph = gc.jit(function).graph(*map(gc.tensor, given_arrays))
    run = compile_graph(graph)
    assert forks(run) == (2 if function is gradient else 1)
    assert "at the same time" in run.stages()["plan"]
    results = [r.copy() for r in run(*given_arrays)]
    gc.set_num_threads(1)
    alone = run(*given_arrays)
    for got, one, want in zip(results, alone, evaluate_graph(graph, given_arrays), strict=True):
        np.testing.assert_array_equal(got, one)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)
    assert forks(compile_graph(graph)) == 0  # compiled for one thread


def test_any_number_of_rows(threads: int) -> None:
    """One program for all batch sizes: few rows are done by one thread."""
    step = gc.jit(recurrent)
    for rows in (7, 40, 41, 3, 1, 0, 8 * threads, 64):
        given_arrays = arrays(rows)
        got = step(*map(gc.tensor, given_arrays))
        want = evaluate_graph(gc.jit(recurrent, static_shapes=True).graph(*map(gc.tensor, given_arrays)), given_arrays)
        for x, y in zip((got[0], *got[1]), want, strict=True):
            np.testing.assert_allclose(np.asarray(x), y, rtol=2e-4, atol=2e-4)
    assert len(step.explain().traces) <= 4


@pytest.mark.parametrize("rows, steps", [(FORK_ROWS, STEPS), (ROWS, 10)], ids=["few rows", "few steps"])
def test_what_is_not_worth_it(rows: int, steps: int) -> None:
    assert forks(compile_graph(gc.jit(recurrent).graph(*map(gc.tensor, arrays(rows, steps))))) == 0


@given(st.lists(st.sampled_from(["mul", "matmul", "tanh", "row", "slice", "sum"]), min_size=1, max_size=4), st.booleans(),
       st.booleans())  # fmt: skip
@settings(max_examples=12)
def test_random_steps(ops: list[str], reverse: bool, stacks: bool) -> None:
    """Random steps and their gradients, with two threads and with one, and as the reference has them."""

    def step(h: Any, x: Any, w: Any, bias: Any) -> Any:
        y = h
        for op in ops:
            if op == "mul":
                y = y * x * 0.7
            elif op == "matmul":
                y = y @ w + bias
            elif op == "tanh":
                y = gc.tanh(y + x)
            elif op == "row":
                y = y - y.mean(1, keepdims=True)
            elif op == "slice":
                y = gc.concatenate([y[:, 3:], x[:, :3]], 1)
            else:
                y = y + 0.01 * y.sum(0)  # rows meet: no fork
        return y, y * h if stacks else None

    def loss(a: Any, w: Any, bias: Any, x: Any) -> Any:
        h, ys = gc.scan(lambda h, x: step(h, x, w, bias), a, x, reverse=reverse)
        return (h * h).sum() + (ys.sum() if stacks else 0.0)

    x, a, w, bias = arrays(24, 130)
    given_arrays = (a, w, bias, x)
    graph = gc.jit(gc.value_and_grad(loss, (0, 1, 2))).graph(*map(gc.tensor, given_arrays))
    run = compile_graph(graph)
    gc.set_num_threads(2)
    results = [r.copy() for r in run(*given_arrays)]
    gc.set_num_threads(1)
    alone = run(*given_arrays)
    gc.set_num_threads(2)
    for got, one, want in zip(results, alone, evaluate_graph(graph, given_arrays), strict=True):
        np.testing.assert_array_equal(got, one)
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3 * np.abs(want).max() + 1e-5)
