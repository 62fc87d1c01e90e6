"""Inlining: a call becomes the nodes of the graph it calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.dims import substitute
from graphc.ir.graph import Graph, Guard, Node, Value
from graphc.ops.core import bind_symbols, concrete_attributes
from graphc.passes.base import Pass
from graphc.rewrite.driver import Firing, Record

_INLINED = ("call", "checkpoint", "custom_vjp")


@dataclass(frozen=True)
class Inline(Pass):
    """Replaces every ``call``, ``checkpoint`` and ``custom_vjp`` by a copy of its callee's nodes, at any depth.

    The copies keep the callee's locations. Symbolic sizes of the callee are replaced by what the operands' shapes
    say. The callee's effects take the call's place in the order of effects, and its guards join the caller's.
    """

    name: ClassVar[str] = "inline"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        # Called innermost first: the callees hold no calls any more.
        if not any(node.op.name in _INLINED for node in graph.nodes()):
            return graph
        splicer = _Splicer(graph, record)
        return splicer.run()


class _Splicer:
    def __init__(self, graph: Graph, record: Record | None) -> None:
        self.graph = graph
        self.record = record
        self.values: dict[Value, Value] = {p: p for p in graph.parameters}
        self.effects: list[Node] = []
        self.guards: list[Guard] = list(graph.guards)

    def run(self) -> Graph:
        effects = set(self.graph.effects)
        for node in self.graph.nodes():
            if node.op.name == "parameter":
                continue
            operands = tuple([self.values[v] for v in node.inputs])
            if node.op.name in _INLINED:
                results = self._splice(node, operands)
            else:
                new = node if operands == node.inputs else node.with_inputs(operands)
                if node in effects:
                    self.effects.append(new)
                results = new.results
            self.values.update(zip(node.results, results, strict=True))
        return self.graph.replace(
            outputs=[self.values[o] for o in self.graph.outputs], effects=self.effects, guards=self.guards
        )

    def _splice(self, call: Node, operands: Sequence[Value]) -> tuple[Value, ...]:
        callee: Graph = call.attributes["graph"]
        if self.record is not None:
            self.record(Firing("inline_call", callee.name, call.location))
        # A region shares the sizes of the graph around it.
        is_region = bool(call.op.regions)
        bindings = {} if is_region else bind_symbols(callee.parameter_types, [v.type for v in operands], f"call {callee.name}")
        for guard in callee.guards:
            self._add_guard(
                Guard(guard.relation, substitute(guard.lhs, bindings), substitute(guard.rhs, bindings), guard.location)
            )
        inner: dict[Value, Value] = dict(zip(callee.parameters, operands, strict=True))
        effects = set(callee.effects)
        for node in callee.nodes():
            if node.op.name == "parameter":
                continue
            new = Node(
                node.op,
                tuple([inner[v] for v in node.inputs]),
                concrete_attributes(node.op, node.attributes, bindings) if bindings else node.attributes,
                tuple([t.substitute(bindings) for t in node.types]) if bindings else node.types,
                node.location,
                node.name,
            )
            if node in effects:
                self.effects.append(new)
            inner.update(zip(node.results, new.results, strict=True))
        return tuple([inner[o] for o in callee.outputs])

    def _add_guard(self, guard: Guard) -> None:
        holds_always = guard.relation in ("==", "<=") and guard.lhs == guard.rhs
        if not holds_always and guard[:3] not in {g[:3] for g in self.guards}:
            self.guards.append(guard)
