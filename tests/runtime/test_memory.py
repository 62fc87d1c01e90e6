"""What a call needs of memory: as planned, and as measured beside the eager mode."""

import gc as collector
import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.runtime.program import Permissions
from graphc.runtime.result_pool import RESULTS

SPEC = gc.spec("f32[1000, 10]")
NBYTES = 40_000


def chain(x):
    for _ in range(5):
        x = gc.exp(gc.cumsum(x, axis=0))
    return x


def test_a_plan_counts_each_part() -> None:
    plan = compile_graph(gc.jit(chain).graph(SPEC)).memory()
    assert (plan.parameters, plan.results, plan.literals) == (NBYTES, NBYTES, 0)
    assert 0 < plan.temporaries <= 2 * NBYTES + 128
    assert plan.separate >= plan.temporaries - 128
    assert plan.peak == plan.parameters + plan.results + plan.temporaries


def test_results_in_the_memory_of_parameters_count_once() -> None:
    def update(x, y):
        x += y

    compiled = compile_graph(gc.jit(update).graph(SPEC, SPEC))
    assert compiled.memory().peak == 3 * NBYTES
    assert compiled.permitted(Permissions(in_place=True)).memory().peak == 2 * NBYTES


def test_copies_of_inputs_are_results_too() -> None:
    assert compile_graph(gc.jit(lambda x: (x, x * 2)).graph(SPEC)).memory().results == 2 * NBYTES


def test_sizes_come_from_the_caller_or_the_latest_call() -> None:
    compiled = compile_graph(gc.jit(lambda x: x * 2).graph(gc.spec("f32[n]")))
    assert compiled.memory({"n": 100}).peak == 800
    compiled(np.zeros(7, np.float32))
    assert compiled.memory().peak == 56


def test_the_plan_as_text() -> None:
    text = compile_graph(gc.jit(chain).graph(SPEC)).stages()["plan"]
    lines = text.splitlines()
    assert lines[0] == "   0  cumulative_sum(parameter 0) -> t0: f32[1000, 10]"
    assert lines[9] == "   9  map_exp(result 0) -> result 0: f32[1000, 10]"
    assert "peak" in lines[-1]
    symbolic = compile_graph(gc.jit(lambda x: x * 2).graph(gc.spec("f32[n]"))).stages()["plan"]
    assert symbolic == "   0  map_mul(parameter 0) -> result 0: f32[n]\n"


def network(optimizer: Callable[[Any], Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    widths = (200, 300, 300, 10)
    w = [gc.tensor((rng.random(s) - 0.5).astype(np.float32) * 0.1, requires_grad=True)
         for s in itertools.pairwise(widths)]  # fmt: skip
    update = optimizer(w)

    def step(x, y):
        update.zero_grad()
        h = x
        for weights in w[:-1]:
            h = gc.gelu(h @ weights)
        loss = gc.cross_entropy(h @ w[-1], y)
        loss.backward()
        update.step()
        return loss

    return step, (gc.tensor(rng.random((256, 200), np.float32)), gc.tensor(rng.integers(0, 10, 256)))


def peak_of(step: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    """The most bytes allocated during a step, besides what was there before."""
    for _ in range(3):
        step(*arguments)
    RESULTS.clear()
    collector.collect()
    tracemalloc.start()
    try:
        step(*arguments)
        step(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


OPTIMIZERS = {"sgd": lambda w: gc.optim.SGD(w, lr=0.1), "adam": lambda w: gc.optim.Adam(w, lr=1e-3)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_jitted_training_step_needs_no_more_than_an_eager_one(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    step, arguments = network(optimizer)
    eager = peak_of(step, arguments)
    step, arguments = network(optimizer)
    jitted = peak_of(gc.jit(step), arguments)
    assert jitted <= eager
