"""Common-subexpression elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.graph import Graph, Node, Value, rebuild
from graphc.passes.base import Pass
from graphc.rewrite.driver import Firing, Record
from graphc.rewrite.interning import Interner


@dataclass(frozen=True)
class Cse(Pass):
    """Makes one node of equal ones: same primitive, operands, attributes. Literals are equal if their bits are.

    The first one's location stays. Effects, and calls of graphs with effects, are never merged.
    """

    name: ClassVar[str] = "cse"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        interner = Interner()
        effects = set(graph.effects)

        def merge(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            if node in effects or not node.types:
                return None
            current = node if operands == node.inputs else node.with_inputs(operands)
            first = interner.intern(current)
            if first is not current and record is not None:
                record(Firing("merge_equal", node.op.name, node.location))
            return first.results

        return rebuild(graph, merge)
