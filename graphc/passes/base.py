"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.ir.graph import Graph, Node, held_graphs
from graphc.rewrite.driver import Record


@dataclass(frozen=True)
class Pass(ABC):
    """A graph in, a graph out. The fields are the options, in the order they print; the docstring of a pass is its
    contract.

    A pass keeps parameters, output types, aliases, effects and their order, and results bit for bit unless it says
    otherwise.
    """

    name: ClassVar[str]

    def applies(self, graph: Graph) -> bool:
        """Whether there may be something to do; a pipeline leaves the pass out where not."""
        return True

    def run(self, graph: Graph, record: Record | None = None) -> Graph:
        """``graph`` transformed, with the graphs that its nodes hold; ``record`` is told of each rewrite."""
        return transform_nested(graph, lambda g: self.transform(g, record))

    @abstractmethod
    def transform(self, graph: Graph, record: Record | None) -> Graph:
        """``graph`` transformed; the graphs that its nodes hold are done already."""


@dataclass(frozen=True)
class RegionPass(Pass):
    """A pass for control flow, which a pipeline leaves out for graphs that have none."""

    def applies(self, graph: Graph) -> bool:
        return has_regions(graph)


def has_regions(graph: Graph) -> bool:
    """Whether ``graph``, or a graph that it holds, has ops with regions."""
    stack, seen = [graph], {graph}
    while stack:
        for node in stack.pop().nodes():
            if node.op.regions:
                return True
            for held in held_graphs(node.attributes):
                if held not in seen:
                    seen.add(held)
                    stack.append(held)
    return False


def transform_nested(graph: Graph, transform: Callable[[Graph], Graph]) -> Graph:
    """``transform`` of ``graph`` and of every graph held by its nodes, the innermost first; a shared graph is
    done once.
    """
    done: dict[Graph, Graph] = {}
    stack = [graph]
    while stack:
        current = stack[-1]
        if current in done:
            stack.pop()
            continue
        missing = [g for node in current.nodes() for g in held_graphs(node.attributes) if g not in done]
        if missing:
            stack.extend(missing)
            continue
        done[current] = transform(_with_held(current, done))
        stack.pop()
    return done[graph]


def _with_held(graph: Graph, done: dict[Graph, Graph]) -> Graph:
    nodes = graph.nodes()
    if not any(done[g] is not g for node in nodes for g in held_graphs(node.attributes)):
        return graph
    return map_nodes(graph, lambda node: _hold(node, done))


def _hold(node: Node, done: dict[Graph, Graph]) -> Node:
    if not held_graphs(node.attributes):
        return node
    attributes = {name: _exchange(value, done) for name, value in node.attributes.items()}
    return Node(node.op, node.inputs, attributes, node.types, node.location, node.name)


def _exchange(value: Any, done: dict[Graph, Graph]) -> Any:
    if isinstance(value, tuple):
        return tuple(_exchange(item, done) for item in value)
    return done[value] if isinstance(value, Graph) else value


def map_nodes(graph: Graph, change: Callable[[Node], Node]) -> Graph:
    """``graph`` with ``change`` applied to each node once its operands are new; the result types must stay.

    Effects too.
    """
    new: dict[Node, Node] = {p.node: p.node for p in graph.parameters}
    for node in graph.nodes():
        if node in new:
            continue
        operands = tuple([new[v.node].results[v.index] for v in node.inputs])
        new[node] = change(node if operands == node.inputs else node.with_inputs(operands))
    return graph.replace(
        outputs=[new[o.node].results[o.index] for o in graph.outputs],
        effects=[new[e] for e in graph.effects],
    )
