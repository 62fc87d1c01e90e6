"""Dead-code elimination. Unreachable nodes are no part of a graph, so what is left are checks, guards and calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.dims import DimExpr, symbols_of
from graphc.ir.graph import Graph, Guard, Node, Value, uses
from graphc.ir.types import symbols_in
from graphc.ops.core import RELATIONS
from graphc.passes.base import Pass
from graphc.passes.shrink_regions import shrink_regions
from graphc.rewrite.driver import Firing, Record
from graphc.rewrite.interning import has_effect
from graphc.rewrite.pattern import splat_of


@dataclass(frozen=True)
class Dce(Pass):
    """Drops checks of a literal true, guards that hold for every size or are said twice, results of calls that nobody
    reads, and the operands that only those need.

    The graph's own parameters and outputs stay, as do all other effects, in their order. A callee that has effects
    keeps its operands and results.
    """

    name: ClassVar[str] = "dce"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        effects = [e for e in graph.effects if not _is_true_check(e, record)]
        guards = _needed_guards(graph.guards, record)
        if len(effects) < len(graph.effects) or len(guards) < len(graph.guards):
            graph = graph.replace(effects=effects, guards=guards)
        if any(node.op.name == "call" for node in graph.nodes()):
            graph = _shrink_calls(graph, record)
        return shrink_regions(graph, record)


def _is_true_check(node: Node, record: Record | None) -> bool:
    if node.op.name != "check":
        return False
    known = splat_of(node.inputs[0])
    if known is None or not known:
        return False
    if record is not None:
        record(Firing("drop_true_check", "check", node.location))
    return True


def _needed_guards(guards: Sequence[Guard], record: Record | None) -> list[Guard]:
    kept: dict[tuple[object, ...], Guard] = {}
    for guard in guards:
        holds = guard.lhs == guard.rhs and guard.relation in ("==", "<=")
        if isinstance(guard.lhs, int) and isinstance(guard.rhs, int):
            holds = RELATIONS[guard.relation](guard.lhs, guard.rhs)
        if not holds and guard[:3] not in kept:
            kept[guard[:3]] = guard
        elif record is not None:
            record(Firing("drop_guard", str(guard), guard.location))
    return list(kept.values())


def _shrink_calls(graph: Graph, record: Record | None) -> Graph:
    """One walk from the outputs back decides which results are read, and one forward makes the smaller calls."""
    read = _read_values(graph)
    values: dict[Value, Value] = {p: p for p in graph.parameters}
    nodes: dict[Node, Node] = {}
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        kept = [i for i in range(len(node.types)) if Value(node, i) in read]
        if node.op.name == "call" and len(kept) < len(node.types) and not has_effect(node):
            if not kept:
                continue
            callee, positions = _with_outputs(node.attributes["graph"], kept)
            if record is not None:
                record(Firing("shrink_call", callee.name, node.location))
            operands = tuple([values[node.inputs[i]] for i in positions])
            types = tuple([node.types[i] for i in kept])
            new = Node(node.op, operands, {"graph": callee}, types, node.location, node.name)
            values.update(zip([Value(node, i) for i in kept], new.results, strict=True))
            continue
        if any(v not in values for v in node.inputs):
            continue  # only a dropped result of a call needs this node
        operands = tuple([values[v] for v in node.inputs])
        new = node if operands == node.inputs else node.with_inputs(operands)
        nodes[node] = new
        values.update(zip(node.results, new.results, strict=True))
    return graph.replace(outputs=[values[o] for o in graph.outputs], effects=[nodes.get(e, e) for e in graph.effects])


def _read_values(graph: Graph) -> set[Value]:
    """The values that outputs or effects need, where a call of a graph without effects needs only what its
    results need.
    """
    read = set(graph.outputs)
    effects = set(graph.effects)
    for node in reversed(graph.nodes()):
        if node.op.name == "call" and node not in effects and not has_effect(node):
            kept = [i for i in range(len(node.types)) if Value(node, i) in read]
            if kept:
                _, positions = _with_outputs(node.attributes["graph"], kept)
                read.update(node.inputs[i] for i in positions)
        elif node in effects or has_effect(node) or any(v in read for v in node.results):
            read.update(node.inputs)
    return read


def _with_outputs(callee: Graph, kept: Sequence[int]) -> tuple[Graph, list[int]]:
    """``callee`` with the outputs ``kept`` only, and the positions of the parameters it still needs."""
    outputs = [callee.outputs[i] for i in kept]
    trial = callee.replace(outputs=outputs, aliases={})
    positions = _needed_parameters(trial)
    aliases = {
        kept.index(output): positions.index(parameter)
        for output, parameter in callee.aliases.items()
        if output in kept and parameter in positions
    }
    parameters = [callee.parameters[i] for i in positions]
    return Graph(
        parameters, outputs, effects=callee.effects, aliases=aliases, guards=callee.guards, name=callee.name
    ), positions


def _needed_parameters(graph: Graph) -> list[int]:
    """The positions of the parameters that are read, or that bind a symbolic size which something else mentions."""
    count = uses(graph)
    needed = {i for i, p in enumerate(graph.parameters) if count.get(p)}
    sizes: set[str] = set()
    for node in graph.nodes():
        if node.op.name != "parameter":
            sizes.update(symbols_in(node.types))
            sizes.update(_symbols_in_attributes(node.attributes.values()))
    for i in needed:
        sizes.update(symbols_in([graph.parameters[i].type]))
    for guard in graph.guards:
        sizes.update(symbols_of((guard.lhs, guard.rhs)))
    for i in (*sorted(needed), *range(len(graph.parameters))):
        bound = {str(d) for d in graph.parameters[i].shape} & sizes
        if i in needed or bound:
            needed.add(i)
            sizes -= bound
    return sorted(needed)


def _symbols_in_attributes(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, DimExpr):
            yield from value.symbols()
        elif isinstance(value, tuple):
            yield from _symbols_in_attributes(value)
