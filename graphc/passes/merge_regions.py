"""One op for several of control flow that do the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.ir.graph import Graph, Node, Value, rebuild
from graphc.ir.structure import structural_hash
from graphc.passes.base import RegionPass
from graphc.passes.cse import Cse
from graphc.passes.shrink_regions import rebuilt, shrink_regions
from graphc.rewrite.driver import Firing, Record


@dataclass(frozen=True)
class MergeRegions(RegionPass):
    """Makes one ``cond`` of those with the same selector and operands, one ``scan`` of those that carry the same, one
    ``while_loop`` of equal ones.

    The gradient of a loop runs the loop again to keep what it needs: after this it is the loop that keeps it. Ops that both
    have effects are left alone. Results that nobody reads are dropped.
    """

    name: ClassVar[str] = "merge-regions"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        if not any(node.op.regions for node in graph.nodes()):
            return graph
        return shrink_regions(_merged(graph, record), record)


def _merged(graph: Graph, record: Record | None) -> Graph:
    while True:
        groups: dict[Hashable, list[Node]] = {}
        effects = set(graph.effects)
        for node in graph.nodes():
            if node.op.regions:
                group = groups.setdefault(_key(node), [])
                if node not in effects or not any(other in effects for other in group):
                    group.append(node)
        merging = {node: group for group in groups.values() if len(group) > 1 for node in group}
        if not merging:
            return graph
        graph = _merge(graph, merging, record)


def _key(node: Node) -> Hashable:
    attributes = node.attributes
    if node.op.name == "cond":
        return ("cond", node.inputs)
    if node.op.name == "while_loop":
        hashes = (structural_hash(attributes["cond"]), structural_hash(attributes["body"]))
        return ("while_loop", node.inputs, attributes["constants"], attributes["max_steps"], hashes)
    if node.op.name != "scan":
        return node
    carries = attributes["carries"]
    body: Graph = attributes["body"]
    # Loops within may have been merged with others already: what only their other results need does not count.
    carried = structural_hash(shrink_regions(body.replace(outputs=body.outputs[:carries], effects=()), None))
    return ("scan", node.inputs, attributes["constants"], carries, attributes["length"], attributes["reverse"], carried)


def _merge(graph: Graph, merging: Mapping[Node, Sequence[Node]], record: Record | None) -> Graph:
    made: dict[Node, Node] = {}  # by the first of each group

    def replace(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
        group = merging.get(node)
        if group is None:
            return None
        if group[0] not in made:
            made[group[0]] = _joined(group, operands, record)
            if record is not None:
                record(Firing("merge_regions", node.op.name, node.location))
        new, fixed = made[group[0]], _shared_results(node)
        before = sum(len(other.types) - fixed for other in group[: group.index(node)])
        return [Value(new, i) for i in (*range(fixed), *range(fixed + before, before + len(node.types)))]

    return rebuild(graph, replace)


def _shared_results(node: Node) -> int:
    """How many results, at the beginning, are the same for all ops of a group."""
    if node.op.name == "while_loop":
        return len(node.types)
    return int(node.attributes.get("carries", 0))


def _joined(group: Sequence[Node], operands: tuple[Value, ...], record: Record | None) -> Node:
    first, fixed = group[0], _shared_results(group[0])
    attributes: dict[str, Any] = dict(first.attributes)
    if first.op.name == "cond":
        branches = zip(*[node.attributes["branches"] for node in group], strict=True)
        attributes["branches"] = tuple([_joined_graph(same, fixed, record) for same in branches])
    elif first.op.name == "scan":
        attributes["body"] = _joined_graph([node.attributes["body"] for node in group], fixed, record)
    elif not first.attributes["body"].effects:
        attributes["body"] = next((n.attributes["body"] for n in group if n.attributes["body"].effects), attributes["body"])
    types = first.types[:fixed] + tuple([t for node in group for t in node.types[fixed:]])
    return Node(first.op, operands, attributes, types, first.location, first.name)


def _joined_graph(graphs: Sequence[Graph], fixed: int, record: Record | None) -> Graph:
    first = graphs[0]
    outputs, effects = list(first.outputs), list(first.effects)
    for other in graphs[1:]:
        same = dict(zip(other.parameters, first.parameters, strict=True))
        own = rebuilt(other, first.parameters, other.outputs[fixed:], same)
        outputs += own.outputs
        effects += own.effects
    joined = first.replace(outputs=outputs, effects=effects)
    return _merged(Cse().transform(joined, None), record)
