"""Runs a drawing function eagerly, as a graph on the reference interpreter, and as a compiled graph."""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.compile import compile_graph
from graphc.frontends.dispatch import tracing
from graphc.frontends.random import Generator
from graphc.frontends.symbolic import GraphContext
from graphc.ir.graph import Graph

Draw = Callable[[Generator], Any]


def drawing_graph(draw: Draw, generator: Generator) -> tuple[Graph, GraphContext]:
    """The graph of ``draw``: captured arrays -> (what it drew, the counter afterwards)."""
    context = GraphContext("draw")
    with tracing(context):
        drawn = draw(generator)
        counter = context.lift(generator._counter)
        graph = context.builder.finish([drawn.value, counter.value])
    return graph, context


def run_graph(graph: Graph, context: GraphContext, target: str) -> list[np.ndarray]:
    executable = compile_graph(graph, target)
    return list(executable(*(np.asarray(captured.source) for captured in context.captured)))


def in_every_mode(draw: Draw, seed: int = 5) -> dict[str, tuple[np.ndarray, int]]:
    """Mode -> (what ``draw`` gave, the counter afterwards)."""
    results: dict[str, tuple[np.ndarray, int]] = {}
    eager = Generator(seed)
    drawn = draw(eager).numpy()
    results["eager"] = (drawn, eager.get_state()[1].item())
    for target in ("reference", "cpu"):
        generator = Generator(seed)
        values, counter = run_graph(*drawing_graph(draw, generator), target)
        assert generator.get_state()[1].item() == 0, "tracing must not draw"
        results[target] = (values, int(counter))
    return results
