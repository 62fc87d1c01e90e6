"""Checks that a graph keeps the invariants of the IR. Passes and tests run it before and after each change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from graphc.errors import GraphcError, VerifyError
from graphc.ir.dims import DimExpr
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.lexer import counted
from graphc.ir.printer import node_lines, value_names
from graphc.ir.types import symbols_in
from graphc.locations import UNKNOWN, Location

_HINT = "if graphc itself made this graph, this is a bug in graphc: please report it with this message"
_RELATIONS = ("==", "!=", "<", "<=")


def verify(graph: Graph, *, when: str = "") -> None:
    """Raise VerifyError for the first broken invariant, with the node, its types and its line.

    Checked: parameters are distinct parameter nodes, and no other is used; operands and outputs are results that
    exist, made before they are used; each op has exactly its attributes; every type is what ``infer`` gives;
    constants are read-only; every size is in a parameter's type; all reachable effects are listed, once, in an order
    that their operands allow; aliases join an output with a parameter of its type, each parameter once; guards relate
    known sizes. The same holds in graphs that are attributes. ``when`` ("after fold") is said in the message.
    """
    _Verifier(graph, when, frozenset(), set()).run()


class _Verifier:
    """Checks one graph. ``outer_symbols``: sizes of an enclosing graph; ``verified``: nested graphs done already."""

    def __init__(self, graph: Graph, when: str, outer_symbols: frozenset[str], verified: set[Graph]) -> None:
        self.graph = graph
        self.when = when
        self.verified = verified
        self.declared: set[Value] = set()
        self.outer_symbols = outer_symbols
        self.symbols: frozenset[str] = outer_symbols
        self.checked_types: set[Any] = set()

    def run(self) -> None:
        graph = self.graph
        self.parameters()
        self.symbols = self.outer_symbols | set(symbols_in(graph.parameter_types))
        order = graph.nodes()
        position = {node: index for index, node in enumerate(order)}
        for node in order:
            self.operands(node, position)
        for node in order:
            if node.op.name == "parameter":
                if Value(node, 0) not in self.declared:
                    self.fail(f"the parameter {node.name or '(without a name)'} is used, but not declared", node)
                continue
            self.attributes(node)
            self.types(node)
        for index, output in enumerate(graph.outputs):
            if not 0 <= output.index < len(output.node.types):
                self.fail(
                    f"output {index} is result {output.index} of an op with {counted(len(output.node.types))}",
                    output.node,
                )
        self.effects(position)
        self.aliases()
        self.guards()

    def parameters(self) -> None:
        for index, value in enumerate(self.graph.parameters):
            node = value.node
            if node.op.name != "parameter":
                self.fail(f"parameter {index} is the result of {node.op.name}", node)
            if value.index != 0 or len(node.types) != 1 or node.inputs or node.attributes:
                self.fail(f"parameter {index} must have one type, no operand and no attribute")
            if value in self.declared:
                self.fail(f"parameter {index} is declared twice", node)
            self.declared.add(value)

    def operands(self, node: Node, position: dict[Node, int]) -> None:
        for index, value in enumerate(node.inputs):
            if not 0 <= value.index < len(value.node.types):
                made_by = f"{value.node.op.name}, which has {counted(len(value.node.types))}"
                self.fail(f"operand {index} is result {value.index} of {made_by}", node)
            if position[value.node] >= position[node]:
                self.fail(f"operand {index} needs the op's own result: there is a cycle", node)

    def attributes(self, node: Node) -> None:
        op = node.op
        missing = [name for name in op.attributes if name not in node.attributes]
        if missing:
            self.fail(f"{op.name} lacks the attribute {missing[0]!r}", node)
        unknown = [name for name in node.attributes if name not in op.attributes]
        if unknown:
            self.fail(f"{op.name} has no attribute {unknown[0]!r}", node)
        for name, value in node.attributes.items():
            self.attribute(node, name, value)

    def attribute(self, node: Node, name: str, value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                self.attribute(node, name, item)
        elif isinstance(value, DimExpr):
            self.bound(value.symbols(), f"the attribute {name!r}", node)
        elif isinstance(value, list):
            self.fail(f"the attribute {name!r} is a list; attributes are immutable, so a tuple is needed", node)
        elif isinstance(value, np.ndarray) and value.flags.writeable:
            self.fail(f"the array in the attribute {name!r} can be written to", node)
        elif isinstance(value, Graph) and value not in self.verified:
            self.verified.add(value)
            _Verifier(value, self.when, self.symbols, self.verified).run()

    def types(self, node: Node) -> None:
        op = node.op
        try:
            inferred = op.infer(tuple([v.type for v in node.inputs]), **node.attributes)
        except GraphcError as error:
            self.fail(f"{op.name} does not take its operands: {error.message}", node)
        except Exception as error:  # attributes of a kind that the rule did not foresee
            self.fail(f"{op.name} does not take its attributes: {type(error).__name__}: {error}", node)
        if inferred != node.types:
            have, want = ", ".join(map(str, node.types)), ", ".join(map(str, inferred))
            self.fail(f"{op.name} has the types ({have}), its operands give ({want})", node)
        for type_ in node.types:
            if type_ not in self.checked_types:
                self.bound(symbols_in([type_]), f"the type {type_}", node)
                self.checked_types.add(type_)

    def bound(self, symbols: Iterable[str], where: str, node: Node | None, location: Location = UNKNOWN) -> None:
        for name in symbols:
            if name not in self.symbols:
                self.fail(f"the size {name!r} in {where} is in no parameter's type", node, location)

    def effects(self, position: dict[Node, int]) -> None:
        listed: set[Node] = set()
        last: Node | None = None
        for node in self.graph.effects:
            if not node.op.effect and not any(True for _ in _effects_within(node)):
                self.fail(f"{node.op.name} is listed as an effect, but has none", node)
            if node in listed:
                self.fail(f"the effect {node.op.name} is listed twice", node)
            if last is not None and position[node] < position[last]:
                self.fail(f"the effect {node.op.name} is listed after {last.op.name}, which needs its result", node)
            listed.add(node)
            last = node
        for node in position:
            if node.op.effect and node not in listed:
                self.fail(f"the effect {node.op.name} is used, but not listed among the effects", node)

    def aliases(self) -> None:
        graph = self.graph
        taken: dict[int, int] = {}
        for output, parameter in graph.aliases.items():
            if not 0 <= output < len(graph.outputs):
                self.fail(f"alias {output} -> {parameter}: there is no output {output}")
            if not 0 <= parameter < len(graph.parameters):
                self.fail(f"alias {output} -> {parameter}: there is no parameter {parameter}")
            if parameter in taken:
                name = value_names(graph)[graph.parameters[parameter]]
                self.fail(f"outputs {taken[parameter]} and {output} both take over the parameter {name}")
            taken[parameter] = output
            have, want = graph.outputs[output].type, graph.parameters[parameter].type
            if have != want:
                name = value_names(graph)[graph.parameters[parameter]]
                self.fail(f"alias {output} -> {name}: the output has type {have}, the parameter {want}")

    def guards(self) -> None:
        for guard in self.graph.guards:
            if guard.relation not in _RELATIONS:
                message = f"guard {guard}: the relation must be one of {' '.join(_RELATIONS)}"
                self.fail(message, location=guard.location)
            for side in (guard.lhs, guard.rhs):
                if isinstance(side, DimExpr):
                    self.bound(side.symbols(), f"guard {guard}", None, guard.location)

    def fail(self, message: str, node: Node | None = None, location: Location = UNKNOWN) -> NoReturn:
        text = f"graph @{self.graph.name}{' ' + self.when if self.when else ''}: {message}"
        if node is not None:
            location = node.location
            line = node_lines(self.graph).get(node)
            if line is not None:
                text += f"\n    {line}"
        raise VerifyError(text, location=location, hint=_HINT)


def _effects_within(node: Node) -> Iterator[Node]:
    for value in node.attributes.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Graph):
                yield from item.effects
