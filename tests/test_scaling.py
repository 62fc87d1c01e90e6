"""Long chains: every stage does work in proportion to the graph, and none recurses along it.

Printing, parsing, the rewriting driver and the pipeline have tests at 100,000 nodes beside their own tests; here are the
stages between: recording, tracing, differentiating, backward. `benchmarks/bench_graph_scaling.py` prints all of them.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.printer import print_graph
from graphc.ir.structure import structurally_equal
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from graphc.passes.pipeline import pipeline
from tests.call_count import counted

SHORT, LONG = 10_000, 100_000
BOUND = 12  # for ten times the nodes; a quadratic walk makes a hundred times the calls
X = np.array([0.1, 0.5, 0.9], np.float32)
W = np.full(3, 0.5, np.float32)


def chain(x: Any, w: Any, length: int) -> Any:
    y = x
    for step in range(length):
        y = gc.sin(y) if step % 3 == 0 else y * w if step % 3 == 1 else y + x
    return y


def record(length: int) -> Graph:
    x, w = gc.tensor(X), gc.tensor(W)
    with gc.record() as recorder:
        y = chain(x, w, length)
    return recorder.graph(outputs=[y], inputs=[x, w])


def trace(length: int) -> Graph:
    return gc.jit(lambda x, w: chain(x, w, length)).graph(X, W)


def compare(stage: Callable[[Any], Any], argument: Callable[[int], Any] = int) -> Any:
    """What `stage` makes of `argument(LONG)`, having taken ten times the calls for ten times the nodes."""
    assert sys.getrecursionlimit() < SHORT
    small, large = argument(SHORT // 10), argument(SHORT)
    few, many = counted(lambda: stage(small)), counted(lambda: stage(large))
    assert many <= BOUND * few, f"{few} calls for {SHORT // 10} nodes, {many} for {SHORT}"
    return stage(argument(LONG))


def test_recording() -> None:
    graph = compare(record)
    assert len(graph.nodes()) == LONG + 2


def test_tracing() -> None:
    assert len(compare(trace).nodes()) == LONG + 2


def test_differentiating() -> None:
    gradient = compare(lambda graph: differentiate(graph, (0, 1)), trace)
    assert len(gradient.nodes()) > 2 * LONG
    verify(gradient)


@pytest.mark.slow
def test_the_pipeline_on_a_gradient() -> None:
    optimized = compare(pipeline("cpu").run, lambda length: differentiate(trace(length), (0, 1)))
    # Three steps of the chain leave nine nodes: themselves, a cosine, three products and two sums.
    assert LONG < len(optimized.nodes()) <= 3 * LONG + 3


def test_backward() -> None:
    def backward(length: int) -> Any:
        x = gc.tensor(X, requires_grad=True)
        y = x
        for _ in range(length):
            y = -y
        y.sum().backward()
        return x.grad.numpy()

    np.testing.assert_array_equal(compare(backward), np.ones(3, np.float32))


@pytest.mark.parametrize("length", [1_000, SHORT])
def test_all_stages_agree_on_the_values(length: int) -> None:
    graph = trace(length)
    assert structurally_equal(graph, record(length))
    again = parse(print_graph(graph))
    verify(again)
    assert structurally_equal(graph, again)
    (want,) = evaluate_graph(graph, [X, W])
    np.testing.assert_array_equal(chain(gc.tensor(X), gc.tensor(W), length).numpy(), want)
    (optimized,) = evaluate_graph(pipeline("cpu").run(again), [X, W])
    np.testing.assert_array_equal(optimized, want)
    seed = np.ones(3, np.float32)
    gradient = differentiate(graph, (0, 1))
    want_flows = evaluate_graph(gradient, [X, W, seed])
    for got, flow in zip(evaluate_graph(pipeline("cpu").run(gradient), [X, W, seed]), want_flows, strict=True):
        assert np.isfinite(flow).all() and (flow != 0).all()
        np.testing.assert_allclose(got, flow, rtol=1e-5)
