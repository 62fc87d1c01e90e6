"""Moving out of loops what need not be done in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, cut, rebuild
from graphc.ir.primitive import get_primitive
from graphc.passes.base import RegionPass
from graphc.passes.shrink_regions import rebuilt, shrink_regions
from graphc.passes.step_sums import sum_after
from graphc.rewrite.driver import Firing, Record
from graphc.rewrite.interning import has_effect

#: Ops that cost a loop nothing: they stay, and what they are applied to is moved.
_FREE = frozenset(("broadcast_in_dim", "reshape", "transpose", "slice", "reverse", "iota", "constant", "dimension"))
#: Ops that can fail: they must not run where the loop would not have run them.
_CAN_FAIL = frozenset((
    "gather", "scatter_set", "scatter_add", "scatter_max", "scatter_min", "dynamic_slice", "dynamic_update_slice", "top_k",
))  # fmt: skip


@dataclass(frozen=True)
class Hoist(RegionPass):
    """Computes before a loop what is the same in all of its steps, and for all steps at once what a matrix product does.

    * What depends on a loop's constants only is computed once, before it.
    * A product of a scan's slice and a constant is one product of the whole array.
    * A sum over a scan's steps of products, or of sums, is one product, or sum, over stacks, after the loop. The order of its
      additions changes, as that of any sum may.
    * A product with a constant that is only stacked is applied to the stack, after the loop.

    Checks, ops that can fail, and control flow stay where they are.
    """

    name: ClassVar[str] = "hoist"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        if not any(node.op.name in ("scan", "while_loop") for node in graph.nodes()):
            return graph
        b = Builder("hoist")

        def replace(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if node.op.name not in ("scan", "while_loop"):
                return None
            with b.at(node.location):
                loop = _Loop(b, node if operands == node.inputs else node.with_inputs(operands), record)
                loop.hoist_invariant()
                if node.op.name == "scan":
                    loop.hoist_products()
                    return sum_after(b, loop.node, record)
                return loop.node.results

        return shrink_regions(rebuild(shrink_regions(graph, record), replace), record)


class _Loop:
    def __init__(self, b: Builder, node: Node, record: Record | None) -> None:
        self.b, self.node, self.record = b, node, record

    @property
    def graphs(self) -> tuple[str, ...]:
        return ("cond", "body") if self.node.op.name == "while_loop" else ("body",)

    def hoist_invariant(self) -> None:
        for name in self.graphs:
            graph: Graph = self.node.attributes[name]
            constants = self.node.attributes["constants"]
            outside = dict(zip(graph.parameters[:constants], self.node.inputs[:constants], strict=True))
            found = _invariant(graph, set(outside))
            if not found:
                continue
            made = cut(found, outside)
            self._log("hoist_invariant", found)
            inside = [_parameter(v) for v in found]
            graphs = {n: self.node.attributes[n] for n in self.graphs}
            for n, other in graphs.items():
                # A region that does not use it gets a parameter of its own all the same.
                parameters = inside if n == name else [_parameter(v) for v in found]
                all_parameters = [*other.parameters[:constants], *parameters, *other.parameters[constants:]]
                replaced = dict(zip(found, inside, strict=True)) if n == name else {}
                graphs[n] = rebuilt(other, all_parameters, other.outputs, replaced)
            inputs = (*self.node.inputs[:constants], *made, *self.node.inputs[constants:])
            self._exchange(inputs, {**graphs, "constants": constants + len(found)})

    def hoist_products(self) -> None:
        """Products of a slice and a constant, for all slices at once."""
        body: Graph = self.node.attributes["body"]
        constants, carries = self.node.attributes["constants"], self.node.attributes["carries"]
        outside = dict(zip(body.parameters, self.node.inputs, strict=True))
        fixed, slices = set(body.parameters[:constants]), set(body.parameters[constants + carries :])
        found: list[Value] = []
        for node in body.nodes():
            if node.op.name == "dot_general" and node.attributes["batch"] == ((), ()):
                kinds = ["slice" if v in slices else "fixed" if v in fixed else "" for v in node.inputs]
                if sorted(kinds) == ["fixed", "slice"]:
                    found.append(Value(node, 0))
        if not found:
            return
        made = [
            product_of_stack(self.b, v.node, [outside[o] for o in v.node.inputs], v.node.inputs[0] in slices) for v in found
        ]
        self._log("hoist_product", found)
        inside = [_parameter(v) for v in found]
        replaced = dict(zip(found, inside, strict=True))
        graph = rebuilt(body, [*body.parameters, *inside], body.outputs, replaced)
        self._exchange((*self.node.inputs, *made), {"body": graph})

    def _exchange(self, inputs: tuple[Value, ...], attributes: dict[str, object]) -> None:
        node = self.node
        self.node = Node(node.op, inputs, {**node.attributes, **attributes}, node.types, node.location, node.name)

    def _log(self, rule: str, found: Sequence[Value]) -> None:
        if self.record is not None:
            for value in found:
                self.record(Firing(rule, value.node.op.name, value.node.location))


def product_of_stack(b: Builder, node: Node, operands: Sequence[Value], is_left: bool) -> Value:
    """``dot_general`` of a slice and a constant, for all slices: one operand is an array of all slices, the left or the right.

    The result is an array of all results.
    """
    contract = [list(axes) for axes in node.attributes["contract"]]
    side = 0 if is_left else 1
    contract[side] = [axis + 1 for axis in contract[side]]
    result = b.emit_one("dot_general", *operands, contract=tuple(map(tuple, contract)), batch=((), ()))
    if is_left:
        return result
    steps = operands[0].ndim - len(contract[0])  # the axis of the result that goes along the slices
    order = (steps, *[axis for axis in range(result.ndim) if axis != steps])
    return b.emit_one("transpose", result, permutation=order)


def _parameter(like: Value) -> Value:
    return Value(Node(get_primitive("parameter"), (), {}, (like.type,), like.node.location), 0)


def _invariant(graph: Graph, constants: set[Value]) -> list[Value]:
    """The values of ``graph`` that depend on ``constants`` only, cost something, and are read by what depends on more."""
    invariant: set[Value] = set(constants)
    for node in graph.nodes():
        if node.op.name == "parameter" or node.op.regions or node.op.name in _CAN_FAIL or has_effect(node):
            continue
        if all(v in invariant for v in node.inputs) and node.types:
            invariant.update(node.results)
    found: dict[Value, None] = {}
    varying = [node for node in graph.nodes() if not node.types or not all(r in invariant for r in node.results)]
    stack = [v for node in varying for v in node.inputs] + list(graph.outputs)
    seen: set[Value] = set()
    while stack:
        value = stack.pop()
        if value in seen or value not in invariant or value in constants:
            continue
        seen.add(value)
        if value.node.op.name in _FREE:
            stack.extend(value.node.inputs)
        else:
            found[value] = None
    return [value for node in graph.nodes() for value in node.results if value in found]
