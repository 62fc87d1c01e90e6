"""Compiled control flow: what its instructions do with memory, and what stops a loop."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import CheckError, OutOfBoundsError
from graphc.frontends.dispatch import bind
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.runtime.executable import Executable
from graphc.runtime.program import BeginLoop, Copy, EndLoop, RunKernels

X = np.array([1.0, -2.0, 3.0])


def compiled(function: Callable[..., Any], *arrays: Any) -> tuple[Executable, list[np.ndarray]]:
    """The executable, and its results after a check against the reference and a second run."""
    graph = gc.jit(function).graph(*[gc.tensor(a) for a in arrays])
    verify(graph)
    run = compile_graph(graph)
    assert isinstance(run, Executable)
    first = [a.copy() for a in run(*arrays)]
    for got, again, want in zip(first, run(*arrays), evaluate_graph(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
        np.testing.assert_array_equal(got, again)
    return run, first


def instructions(run: Executable, kind: type) -> list[Any]:
    return [i for i in run.program.instructions if isinstance(i, kind)]


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_buffers_take_turns(steps: int) -> None:
    run, (got,) = compiled(lambda x: gc.fori_loop(0, steps, lambda i, c: c * 2 + x, x), X)
    np.testing.assert_array_equal(got, X * (2 ** (steps + 1) - 1))
    (end,) = instructions(run, EndLoop)
    assert len(end.swaps) == 1 and not end.moves


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_carries_that_change_places(steps: int) -> None:
    _, (a, b, c) = compiled(lambda x: gc.fori_loop(0, steps, lambda i, s: (s[1], s[2], s[0]), (x, x + 1, x + 2)), X)
    want = [X, X + 1, X + 2]
    for got, place in zip((a, b, c), range(3), strict=True):
        np.testing.assert_array_equal(got, want[(place + steps) % 3])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_carry_that_is_stacked_is_not_copied(reverse: bool) -> None:
    def run(x: Any, xs: Any) -> Any:
        def step(h: Any, v: Any) -> Any:
            h = gc.tanh(h + v)
            return h, (h, h * v)

        return gc.scan(step, x, xs, reverse=reverse)

    executable, results = compiled(run, X, np.arange(12.0).reshape(4, 3) / 10)
    (end,) = instructions(executable, EndLoop)
    assert len(end.moves) == 1 and not end.swaps
    np.testing.assert_array_equal(results[0], results[1][0 if reverse else -1])


def test_parts_of_a_carry_are_updated_where_it_lies() -> None:
    def run(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            c[i] = c[i] * 2 + i
            return c

        return gc.fori_loop(0, 3, body, x)

    executable, (got,) = compiled(run, X)
    np.testing.assert_array_equal(got, X * 2 + np.arange(3))
    (end,) = instructions(executable, EndLoop)
    assert not end.swaps
    (update,) = [i for i in instructions(executable, RunKernels) if i.updates]
    root = executable._storage.root
    assert root[update.results[0]] == root[update.operands[0]]


def test_an_update_of_what_is_still_needed_is_a_copy() -> None:
    def run(x: Any, xs: Any) -> Any:
        def step(c: Any, v: Any) -> Any:
            old = c.copy()
            c[0] = v.sum()
            v = v.copy()
            v[1] = c[0]
            return c, (old, v)

        carry, ys = gc.scan(step, x, xs)
        return carry, ys, x * 1, xs * 1

    xs = np.arange(12.0).reshape(4, 3)
    _, (carry, old, changed, x, again) = compiled(run, X, xs)
    sums = xs.sum(axis=1)
    np.testing.assert_array_equal(carry, [sums[-1], -2, 3])
    np.testing.assert_array_equal(old[:, 0], [1, *sums[:-1]])
    np.testing.assert_array_equal(changed[:, 1], sums)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(again, xs)


def test_results_that_are_operands_literals_or_views() -> None:
    def run(x: Any, p: Any) -> Any:
        literal = gc.full((2,), 5.0, dtype=gc.float64)
        return gc.cond(p, lambda: (x, x.reshape(3, 1), literal, x), lambda: (x * 2, (x + 1).reshape(3, 1), x[:2], x))

    for flag in (True, False):
        _, results = compiled(run, X, np.asarray(flag))
        assert not any(np.shares_memory(a, b) for i, a in enumerate(results) for b in (*results[:i], X))


def test_what_a_branch_computes_goes_straight_to_the_result() -> None:
    executable, _ = compiled(lambda x, p: gc.cond(p, lambda: x * 2, lambda: (x + 1).reshape(3)), X, np.asarray(True))
    assert not instructions(executable, Copy)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "uint64"])
def test_selectors_of_every_width(dtype: str) -> None:
    def run(x: Any, i: Any) -> Any:
        if dtype == "bool":
            return gc.cond(i, lambda: x * 2, lambda: x)
        return gc.switch(i, [lambda: x, lambda: x * 2, lambda: x * 3])

    f = gc.jit(run)
    values = [0, 1] if dtype == "bool" else [0, 1, 2, np.iinfo(dtype).max, np.iinfo(dtype).min]
    for value in values:
        want = X * (1 + min(max(int(value), 0), 2))
        np.testing.assert_array_equal(f(gc.tensor(X), gc.tensor(np.asarray(value, dtype))).numpy(), want)


def test_library_functions_in_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", "blas")
    w = np.array([[0.0, 1.0, 0.5], [0.2, 0.0, 1.0], [1.0, 0.1, 0.0]])

    def run(w: Any, x: Any, xs: Any) -> Any:
        def step(c: Any, v: Any) -> Any:
            c = gc.cond(c[0] > 0, lambda: w @ c, lambda: -c) + bind("polygamma", gc.abs(v) + 1, n=1)
            return c, w @ v

        return gc.scan(step, x, xs)

    executable, _ = compiled(run, w, X, np.arange(12.0).reshape(4, 3))
    assert sum(type(i).__name__ == "RunLibrary" for i in executable.program.instructions) >= 3


def test_loops_in_loops_have_buffers_of_their_own() -> None:
    def run(x: Any) -> Any:
        def outer(i: Any, c: Any) -> Any:
            inner, ys = gc.scan(lambda d, _: (d * 0.5 + c, d.sum()), c + i, length=3)
            return gc.while_loop(lambda d: d.sum() > 10, lambda d: d * 0.5, inner) + ys.sum()

        return gc.fori_loop(0, 4, outer, x)

    executable, _ = compiled(run, X)
    assert len(instructions(executable, BeginLoop)) == 3


def test_errors_in_loops_name_the_users_line() -> None:
    def run(x: Any, i: Any) -> Any:
        def body(k: Any, c: Any) -> Any:
            return c + x[i + k]

        return gc.fori_loop(0, 2, body, 0.0)

    f = gc.jit(run)
    np.testing.assert_array_equal(f(gc.tensor(X), gc.tensor(1)).numpy(), 1.0)
    with pytest.raises(OutOfBoundsError, match="index 3") as caught:
        f(gc.tensor(X), gc.tensor(2))
    assert caught.value.location.line == run.__code__.co_firstlineno + 2
    np.testing.assert_array_equal(f(gc.tensor(X), gc.tensor(0)).numpy(), -1.0)


def test_a_check_fails_in_the_step_that_it_fails_in() -> None:
    def run(x: Any) -> Any:
        def body(c: Any) -> Any:
            gc.frontends.dispatch.bind_all("check", c[0] < 5, message="c has grown")
            return c * 2

        return gc.while_loop(lambda c: c[1] > -100, body, x)

    with pytest.raises(CheckError, match="c has grown"):
        gc.jit(run)(gc.tensor(X))


def test_a_long_loop_pauses_and_goes_on() -> None:
    steps = 6_000_000  # many more bytes than pass between two pauses
    f = gc.jit(lambda x, n: gc.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + x), (0, x * 0)))
    n, total = f(gc.tensor(np.ones(3)), gc.tensor(steps))
    assert n.item() == steps
    np.testing.assert_array_equal(total.numpy(), np.full(3, steps))


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_an_endless_loop_can_be_interrupted() -> None:
    f = gc.jit(lambda x: gc.while_loop(lambda c: c[0] > -1, lambda c: c * 0.5 + 1, x))
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        with pytest.raises(KeyboardInterrupt):
            f(gc.tensor(X))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_many_threads_run_one_loop() -> None:
    f = gc.jit(lambda x: gc.fori_loop(0, 1000, lambda i, c: c * 0.5 + x, x))
    want = f(gc.tensor(X)).numpy()
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(f(gc.tensor(X)).numpy())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for got in found:
        np.testing.assert_array_equal(got, want)
