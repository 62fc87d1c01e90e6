"""Control flow that need not be any: a branch that is known, a loop of no step or one, a choice between cheap values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value
from graphc.passes.base import RegionPass
from graphc.passes.shrink_regions import rebuilt
from graphc.rewrite.driver import Firing, Record
from graphc.rewrite.interning import has_effect
from graphc.rewrite.pattern import splat_of

#: Both sides of a choice are computed, and one is selected, if they have at most so many ops …
MOST_SELECTED = 12
#: … each of which is cheap, and cannot fail.
_CHEAP = frozenset((
    "add", "sub", "mul", "div", "neg", "abs", "sign", "maximum", "minimum", "sqrt", "floor", "ceil", "round", "trunc", "select",
    "clamp", "convert_element_type", "eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_not", "is_finite", "is_nan", "broadcast_in_dim", "reshape", "transpose", "constant", "iota", "dimension",
    "parameter",
))  # fmt: skip


@dataclass(frozen=True)
class SimplifyRegions(RegionPass):
    """A ``cond`` whose selector is a literal becomes the branch; a ``scan`` of no step its operands, of one step the body; a
    ``while_loop`` of no step its operands; a ``cond`` between a few cheap ops that cannot fail becomes a ``select``.
    """

    name: ClassVar[str] = "simplify-regions"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        if not any(node.op.regions for node in graph.nodes()):
            return graph
        return _Simplifier(graph, record).run()


class _Simplifier:
    def __init__(self, graph: Graph, record: Record | None) -> None:
        self.graph, self.record = graph, record
        self.b = Builder("simplify")
        self.effects: list[Node] = []
        self.is_effect = set(graph.effects)

    def run(self) -> Graph:
        values: dict[Value, Value] = {p: p for p in self.graph.parameters}
        made: dict[Node, Sequence[Node]] = {}
        for node in self.graph.nodes():
            if node.op.name == "parameter":
                continue
            operands = tuple([values[v] for v in node.inputs])
            self.effects = []
            with self.b.at(node.location):
                results = self._simpler(node, operands) if node.op.regions else None
            if results is None:
                new = node if operands == node.inputs else node.with_inputs(operands)
                results, self.effects = new.results, [new]
            elif self.record is not None:
                self.record(Firing("simplify_region", node.op.name, node.location))
            made[node] = self.effects
            values.update(zip(node.results, results, strict=True))
        return self.graph.replace(
            outputs=[values[o] for o in self.graph.outputs],
            effects=[new for effect in self.graph.effects for new in made[effect]],
        )

    def _simpler(self, node: Node, operands: Sequence[Value]) -> Sequence[Value] | None:
        if node.op.name == "cond":
            selector, *given = operands
            branches: tuple[Graph, ...] = node.attributes["branches"]
            known = splat_of(selector)
            if known is not None:
                return self._apply(branches[min(max(int(known), 0), len(branches) - 1)], given)
            if all(_is_cheap(branch) for branch in branches) and selector.dtype.is_bool and not has_effect(node):
                on_false, on_true = (self._apply(branch, given) for branch in branches)
                return [self._select(selector, a, z) for a, z in zip(on_true, on_false, strict=True)]
        elif node.op.name == "scan":
            return self._scan(node, operands)
        elif node.op.name == "while_loop":
            goes_on = splat_of(node.attributes["cond"].outputs[0])
            if node.attributes["max_steps"] == 0 or (goes_on is not None and not goes_on):
                return operands[node.attributes["constants"] :]
        return None

    def _apply(self, region: Graph, operands: Sequence[Value]) -> Sequence[Value]:
        """The nodes of ``region`` among those of the graph."""
        applied = rebuilt(region, (), region.outputs, dict(zip(region.parameters, operands, strict=True)))
        self.effects += applied.effects
        return applied.outputs

    def _select(self, selector: Value, on_true: Value, on_false: Value) -> Value:
        if on_true == on_false:
            return on_true
        if on_true.shape:
            selector = self.b.emit_one("broadcast_in_dim", selector, shape=on_true.shape, dims=())
        return self.b.emit_one("select", selector, on_true, on_false)

    def _scan(self, node: Node, operands: Sequence[Value]) -> Sequence[Value] | None:
        constants, carries, length = (node.attributes[name] for name in ("constants", "carries", "length"))
        first_x = constants + carries
        if length == 0:
            stacks = [self.b.full(t.shape, 0, t.dtype) for t in node.types[carries:]]
            return [*operands[constants:first_x], *stacks]
        if length != 1:
            return None
        slices = [self.b.emit_one("reshape", x, shape=x.shape[1:]) for x in operands[first_x:]]
        results = self._apply(node.attributes["body"], [*operands[:first_x], *slices])
        stacks = [
            self.b.emit_one("reshape", y, shape=t.shape) for y, t in zip(results[carries:], node.types[carries:], strict=True)
        ]
        return [*results[:carries], *stacks]


def _is_cheap(branch: Graph) -> bool:
    nodes = branch.nodes()
    return len(nodes) - len(branch.parameters) <= MOST_SELECTED and all(node.op.name in _CHEAP for node in nodes)
