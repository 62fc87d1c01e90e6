"""Vectorization of a graph: the same computation for a whole batch of examples.

Each node that depends on a mapped value is replaced by what its primitive's ``batch`` rule builds; all others stay and are
computed once. The axis of examples comes first everywhere inside. ``gc.vmap`` ends here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, fresh_symbol
from graphc.ir.graph import Graph, Node, Value, held_graphs
from graphc.ir.types import TensorType, symbols_in
from graphc.passes.base import Pass
from graphc.passes.differentiate import differentiate
from graphc.rewrite.driver import Record


def vectorize(graph: Graph, mapped: Sequence[bool], size: Dim) -> Graph:
    """``graph`` for ``size`` examples: the parameters that are ``mapped`` get an axis of that size in front.

    So do the outputs that differ between examples: those that depend on a mapped parameter or draw random numbers. The
    others keep their type, and are computed once. Raises ArgumentError for a flag too many or too few.
    """
    if len(mapped) != len(graph.parameters):
        count = len(graph.parameters)
        raise ArgumentError(
            f"vectorize: {graph.name} has {count} parameters, and {len(mapped)} flags are given", cause=ArgumentError.COUNT
        )
    b = Builder(graph.name, differentiate=differentiate, vectorize=vectorize)
    values: dict[Value, Value] = {}
    for parameter, is_mapped in zip(graph.parameters, mapped, strict=True):
        if is_mapped:
            values[parameter] = b.parameter(_repeated(parameter.type, size), parameter.node.name, parameter.node.location)
        else:
            values[parameter] = parameter
            b.parameters.append(parameter)
    varying: dict[Graph, bool] = {}
    effects: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        operands = tuple([values[v] for v in node.inputs])
        differs = any(v.ndim > own.ndim for v, own in zip(operands, node.inputs, strict=True))
        first = len(b.effects)
        if not differs and not _varies(node, varying):
            new = node if operands == node.inputs else node.with_inputs(operands)
            values.update(zip(node.results, new.results, strict=True))
            effects[node] = [new]
            continue
        with b.at(node.location):
            results = node.op.batch(b, node, operands, size)
        for own, result in zip(node.results, results, strict=True):
            if result.type not in (own.type, _repeated(own.type, size)):
                raise ShapeError(
                    f"the batch rule of {node.op.name} gave {result.type} for {size} results of type {own.type}",
                    location=node.location,
                )
            values[own] = result
        effects[node] = b.effects[first:]
    outputs = [values[o] for o in graph.outputs]
    parameters = b.parameters
    aliases = {o: p for o, p in graph.aliases.items() if outputs[o].type == parameters[p].type}
    listed = [effect for node in graph.effects for effect in effects[node]]
    return Graph(parameters, outputs, effects=listed, aliases=aliases, guards=graph.guards, name=graph.name)


def _repeated(type_: TensorType, size: Dim) -> TensorType:
    return type_.with_shape((size, *type_.shape))


def _varies(node: Node, known: dict[Graph, bool]) -> bool:
    """Whether ``node``, or a node of a graph that it holds, has results of its own for each example."""
    if node.op.varies:
        return True
    for graph in held_graphs(node.attributes):
        if graph not in known:
            known[graph] = any(_varies(inner, known) for inner in graph.nodes())
    return any(known[graph] for graph in held_graphs(node.attributes))


@dataclass(frozen=True)
class Vectorize(Pass):
    """Makes the graph work on a batch: every parameter, and every output that depends on one, gets an axis in front.

    Contract: parameters and outputs change their types so; ``size`` is that of the axis, a symbolic one called ``batch``
    where it is 0. Aliases stay where output and parameter still have one type.
    """

    name: ClassVar[str] = "vectorize"
    size: int = 0

    def run(self, graph: Graph, record: Record | None = None) -> Graph:
        return self.transform(graph, record)

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        size = self.size or fresh_symbol("batch", symbols_in(graph.parameter_types))
        return vectorize(graph, [True] * len(graph.parameters), size)
