"""Products with epilogues within loops and branches: the buffers of a step lie elsewhere at each step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.ops.core import evaluate_graph
from graphc.runtime.executable import Executable
from graphc.runtime.program import Choose, EndLoop, RunKernels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4, 6))
W = RNG.standard_normal((6, 6)) / 3
BIAS = RNG.standard_normal(6)


def check(function: Callable[..., Any], arrays: tuple[Any, ...], fused: int, jumps: bool = True) -> list[RunKernels]:
    """Twice the results of the reference; gives the instructions that call epilogues, which must be ``fused``."""
    graph = gc.jit(function).graph(*[gc.tensor(a) for a in arrays])
    run = compile_graph(graph)
    assert isinstance(run, Executable)
    called = [i for i in run.program.instructions if isinstance(i, RunKernels) and i.called]
    assert len(called) == fused
    assert any(isinstance(i, Choose | EndLoop) for i in run.program.instructions) == jumps
    assert all(i.operations != 0 and not i.overwrites for i in called)
    before = [np.array(a) for a in arrays]
    want = evaluate_graph(graph, arrays)
    for got in ([a.copy() for a in run(*arrays)], run(*arrays)):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    return called


def dense(h: Any, w: Any, bias: Any) -> Any:
    return gc.tanh(h @ w + bias)


@pytest.mark.parametrize("steps", [2, 5])
def test_carries_that_take_turns(steps: int) -> None:
    def run(x: Any, w: Any, bias: Any) -> Any:
        return gc.scan(lambda h, _: (dense(h, w, bias), None), x, length=steps)[0]

    check(run, (X[0], W, BIAS), fused=1)


@pytest.mark.parametrize("reverse", [False, True])
def test_carries_that_are_stacked(reverse: bool) -> None:
    def run(xs: Any, w: Any, bias: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = dense(h, w, bias) * x
            return h, h

        return gc.scan(step, xs[0], xs, reverse=reverse)

    check(run, (X, W, BIAS), fused=1)


def test_sums_that_are_kept_and_a_carry_that_the_epilogue_reads() -> None:
    def run(xs: Any, w: Any, bias: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            sums = h @ w
            h = h * x + gc.tanh(sums + bias)
            return h, (sums, h > 0)

        return gc.scan(step, xs[0], xs)

    (step,) = check(run, (X, W, BIAS), fused=1)
    assert len(step.results) == 3 and not step.scratch


def test_sums_that_no_result_can_hold() -> None:
    def run(xs: Any, w: Any, bias: Any) -> Any:
        def step(total: Any, x: Any) -> Any:
            mask = (x + total) @ w + bias > 0
            return total + mask.astype(gc.float64).mean(), mask

        return gc.scan(step, 0.0, xs)

    (step,) = check(run, (X, W, BIAS), fused=1)
    assert len(step.scratch) == 1


def test_gradients_of_a_loop() -> None:
    def loss(w: Any, bias: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = dense(h, w, bias) + x
            return h, (h * h).sum()

        h, squares = gc.scan(step, xs[0], xs)
        return squares.sum() + h.sum()

    graph = gc.jit(gc.grad(loss, (0, 1))).graph(*[gc.tensor(a) for a in (W, BIAS, X)])
    for got, want in zip(compile_graph(graph)(W, BIAS, X), evaluate_graph(graph, (W, BIAS, X)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize("flag", [True, False])
def test_branches(flag: bool) -> None:
    def run(x: Any, w: Any, bias: Any, flag: Any) -> Any:
        return gc.cond(flag, lambda h: dense(h, w, bias), lambda h: gc.maximum(h @ w.T - bias, 0.0), x)

    check(run, (X[0], W, BIAS, np.asarray(flag)), fused=2)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_within_a_loop(flag: bool) -> None:
    def run(xs: Any, w: Any, bias: Any, flag: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = gc.cond(flag, lambda: dense(h, w, bias), lambda: h + x)
            return h, h

        return gc.scan(step, xs[0], xs)

    check(run, (X, W, BIAS, np.asarray(flag)), fused=1)


def test_a_convolution_in_a_loop() -> None:
    image, filters = RNG.standard_normal((1, 3, 8, 8)), RNG.standard_normal((3, 3, 3, 3)) / 5

    def run(x: Any, w: Any, bias: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return gc.tanh(gc.conv2d(h, w, padding="same") + bias.reshape(1, 3, 1, 1)), None

        return gc.scan(step, x, length=3)[0]

    check(run, (image, filters, BIAS[:3]), fused=1)


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_region_of_an_array_becomes(kept: bool) -> None:
    def run(a: Any, x: Any, w: Any, bias: Any) -> Any:
        part = dense(x, w, bias)
        a = a.copy()
        a[1:] = part
        return (a, part) if kept else a

    check(run, (RNG.standard_normal((5, 6)), X[1], W, BIAS), fused=1, jumps=False)
