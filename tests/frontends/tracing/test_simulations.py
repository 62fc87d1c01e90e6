"""Simulations written as for NumPy, with in-place updates in a loop over time: one loop op in a graph, the same values and
gradients in all modes, and what can be updated in place is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ControlFlowError
from graphc.runtime import copies


def heat(u: Any, steps: Any) -> Any:
    for _ in range(steps):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return (u * u).sum()


def wave(start: Any, steps: Any) -> Any:
    old, now, new = start.copy(), start.copy(), start.copy()
    for _ in range(steps):
        new[1:-1] = 2 * now[1:-1] - old[1:-1] + 0.2 * (now[2:] - 2 * now[1:-1] + now[:-2])
        old, now, new = now, new, old
    return (now * now).sum()


def life(board: Any, steps: Any) -> Any:
    rows, columns = board.shape
    for _ in range(steps):
        neighbours = 0 * board
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                if x or y:
                    neighbours[1:-1, 1:-1] += board[1 + x : rows - 1 + x, 1 + y : columns - 1 + y]
        born = (board == 0) & (neighbours == 3)
        dying = (board == 1) & ((neighbours < 2) | (neighbours > 3))
        board[born] = 1
        board[dying] = 0
    return board.sum()


def bodies(x: Any, v: Any, steps: Any) -> Any:
    for _ in range(steps):
        apart = x[None, :] - x[:, None]
        distance = (apart * apart).sum(axis=-1, keepdims=True) + 0.1
        v += 0.01 * (apart / distance**1.5).sum(axis=1)
        x += 0.01 * v
    return (v * v).sum()


def gauss_seidel(u: Any, f: Any, steps: Any) -> Any:
    for _ in range(steps):
        u[1:-1:2] = 0.5 * (u[:-2:2] + u[2::2] - f[1:-1:2])
        u[2:-1:2] = 0.5 * (u[1:-2:2] + u[3::2] - f[2:-1:2])
    return (u * u).sum()


RANDOM = np.random.default_rng(3)
SIMULATIONS: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
    (heat, (RANDOM.normal(size=(7, 8)),)),
    (wave, (RANDOM.normal(size=11),)),
    (life, (RANDOM.integers(0, 2, (9, 10)),)),
    (bodies, (RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 3)))),
    (gauss_seidel, (RANDOM.normal(size=11), RANDOM.normal(size=11))),
]
simulations = pytest.mark.parametrize(("simulate", "start"), SIMULATIONS, ids=[f.__name__ for f, _ in SIMULATIONS])
STEPS = 40


@simulations
def test_numpy_eager_and_traced_runs_agree(simulate: Any, start: tuple[np.ndarray, ...]) -> None:
    plain = [a.copy() for a in start]
    want = simulate(*plain, STEPS)
    static, traced = gc.jit(simulate, static_argnames="steps"), gc.jit(simulate)
    for run, steps in ((simulate, STEPS), (static, STEPS), (traced, gc.tensor(STEPS))):
        arrays = [gc.tensor(a) for a in start]
        np.testing.assert_allclose(np.asarray(run(*arrays, steps)), want, rtol=1e-9)
        for got, expected in zip(arrays, plain, strict=True):  # what is passed is changed in the same way
            np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-9, atol=1e-12)
    if start[0].dtype.kind == "i":
        arrays = [a.copy() for a in start]
        assert int(traced(*arrays, gc.tensor(STEPS))) == want
        np.testing.assert_array_equal(arrays[0], plain[0])


@simulations
def test_gradients_agree(simulate: Any, start: tuple[np.ndarray, ...]) -> None:
    if start[0].dtype.kind == "i":
        pytest.skip("integers have no gradients")

    def loss(first: Any) -> Any:
        return simulate(first.copy(), *[gc.tensor(a) for a in start[1:]], STEPS)

    first = gc.tensor(start[0])
    eager = np.asarray(gc.grad(loss)(first))
    np.testing.assert_allclose(np.asarray(gc.jit(gc.grad(loss))(first)), eager, rtol=1e-7, atol=1e-10)
    direction = RANDOM.normal(size=start[0].shape)
    step = 1e-6
    there, back = (float(loss(gc.tensor(start[0] + sign * step * direction))) for sign in (1, -1))
    np.testing.assert_allclose((eager * direction).sum(), (there - back) / (2 * step), rtol=1e-4)


@simulations
def test_the_loop_over_time_is_one_op(simulate: Any, start: tuple[np.ndarray, ...]) -> None:
    jitted = gc.jit(simulate, static_argnames="steps")
    few, many = (jitted.graph(*map(gc.tensor, start), steps) for steps in (STEPS, 100 * STEPS))
    assert len(few.nodes()) == len(many.nodes())
    assert [node.op.name for node in few.nodes()].count("scan") == 1


@pytest.mark.parametrize(
    ("simulate", "start", "why"),
    [
        (heat, SIMULATIONS[0][1], {copies.LOOP}),
        (bodies, SIMULATIONS[3][1], {copies.LOOP}),
        (gauss_seidel, SIMULATIONS[4][1], {copies.LOOP}),
        (wave, SIMULATIONS[1][1], set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_steps_update_in_place(simulate: Any, start: tuple[np.ndarray, ...], why: set[str]) -> None:
    jitted = gc.jit(simulate)
    jitted(*map(gc.tensor, start), gc.tensor(STEPS))
    assert {copied.why for copied in jitted.explain().traces[0].log.copies} == why


def turning(start: Any, steps: Any) -> Any:
    a, b, c, d = start.copy(), start * 2, start * 3, start * 4
    for _ in range(steps):
        before = b.copy()
        c[1:-1] = a[2:] - b[:-2]  # written over what is read no more
        a, b, c = b, c, a
        c[0] += before[1]
        d = 0.5 * d + a
    return a, b, c, d


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 40, 41, 42])
def test_arrays_that_change_places(steps: int) -> None:
    start = RANDOM.normal(size=6)
    want = turning(start, steps)
    runs = [gc.jit(turning)(gc.tensor(start), gc.tensor(steps))]
    runs.append(gc.jit(turning, static_argnames="steps")(gc.tensor(start), steps))
    for got in runs:
        for array, expected in zip(got, want, strict=True):
            np.testing.assert_allclose(np.asarray(array), expected, rtol=1e-10)


def rotating(old: Any, now: Any, steps: Any) -> Any:
    new = now.copy()
    for _ in range(steps):
        new[1:-1] = now[2:] + now[:-2] - old[1:-1]
        old, now, new = now, new, old
    return now


@pytest.mark.parametrize("steps", [3, 50, 5000])
def test_arguments_that_take_turns_in_a_loop_would_be_written_by_some_steps(steps: int) -> None:
    """`old` is an argument, and what a step writes to where its memory is called `new`: the caller sees that in eager mode."""
    static = gc.jit(rotating, static_argnames="steps")
    old, now = gc.tensor([1.0, 2.0, 3.0, 4.0]), gc.tensor([1.0, 3.0, 2.0, 0.0])
    if steps == 3:  # unrolled
        eager = old.copy(), now.copy()
        rotating(*eager, steps)
        static(old, now, steps)
        assert (old.tolist(), now.tolist()) == (eager[0].tolist(), eager[1].tolist())
        return
    for run, count in ((static, steps), (gc.jit(rotating), gc.tensor(steps))):
        with pytest.raises(ControlFlowError, match="`old` takes turns in a loop with `new`, whose memory is written") as caught:
            run(old, now, count)
        assert caught.value.hint == "begin with memory of its own: old = old.copy()"
