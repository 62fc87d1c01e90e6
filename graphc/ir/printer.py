"""A graph as text (.gir). ``parse(print_graph(g))`` is structurally equal to ``g``. For example::

graph @scale(%x: f32[n, 3]) -> (f32[n, 3]) {
  %0: f32[n, 3] = mul(%x, %x)
  return %0
}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.dtypes import DType
from graphc.ir.dims import DimExpr
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.literals import format_array, format_float, format_string, is_graphc_array
from graphc.locations import Location

_INDENT = "  "
_PLAIN_NAME = re.compile(r"[\w.]+")
_NOT_IN_NAME = re.compile(r"[^\w.]+")
_NUMBER = re.compile(r"[0-9]+")


def print_graph(graph: Graph, *, locations: bool = False, color: bool = False, names: bool = True) -> str:
    """The text of ``graph``; equal graphs give equal text.

    ``locations`` adds the line that made each node, ``color`` ANSI colours for a terminal. Without ``names``, values
    are numbered and graphs called "main", so that graphs which differ in such names only print alike. Nothing is
    checked: a graph that breaks an invariant still prints, though the text may then not parse.
    """
    text = "\n".join(_GraphPrinter(graph, locations, names, "").lines())
    return _coloured(text) if color else text


def value_names(graph: Graph, *, names: bool = True) -> dict[Value, str]:
    """How the text calls each value, with the leading ``%``: by its node's name, made unique, or else by number."""
    result: dict[Value, str] = {}
    taken: set[str] = set()
    number = 0
    for node in [*(p.node for p in graph.parameters), *graph.nodes()]:
        if not node.types or Value(node, 0) in result:
            continue
        base = _NOT_IN_NAME.sub("_", node.name) if names else ""
        if _NUMBER.fullmatch(base):
            base = f"_{base}"
        for value in node.results:
            if not base:
                result[value] = f"%{number}"
                number += 1
                continue
            name, suffix = base, 0
            while name in taken:
                suffix += 1
                name = f"{base}_{suffix}"
            taken.add(name)
            result[value] = f"%{name}"
    return result


def format_attribute(value: Any, *, locations: bool = False, names: bool = True, indent: str = "") -> str:
    """An attribute's value as text. What has no text form shows as ``opaque<…>``, which does not parse."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, (int, DimExpr)):
        return str(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, str):
        return format_string(value)
    if isinstance(value, DType):
        return value.short
    if isinstance(value, tuple):
        return f"({', '.join(format_attribute(v, locations=locations, names=names, indent=indent) for v in value)})"
    if isinstance(value, np.ndarray) and is_graphc_array(value):
        return format_array(value)
    if isinstance(value, Graph):
        return "\n".join(_GraphPrinter(value, locations, names, indent).lines())
    return f"opaque<{format_string(repr(value))}>"


def format_location(location: Location) -> str:
    """``loc("train.py":12:5)``."""
    return f"loc({format_string(location.filename)}:{location.line}:{location.column})"


def ordered_attributes(node: Node) -> list[tuple[str, Any]]:
    """The attributes of ``node`` in the order of its primitive, unknown ones last."""
    known = [(name, node.attributes[name]) for name in node.op.attributes if name in node.attributes]
    return known + sorted((k, v) for k, v in node.attributes.items() if k not in node.op.attributes)


class _GraphPrinter:
    """The text of one graph; graphs in attributes get a printer of their own."""

    def __init__(self, graph: Graph, locations: bool, names: bool, indent: str) -> None:
        self.graph = graph
        self.locations = locations
        self.with_names = names
        self.indent = indent
        self.names = value_names(graph, names=names)

    def lines(self) -> Iterator[str]:
        graph, inner = self.graph, self.indent + _INDENT
        parameters = ", ".join(self.declaration(p) + self.location(p.node, " ") for p in graph.parameters)
        results = ", ".join(map(str, graph.output_types))
        yield f"graph {_graph_name(graph.name) if self.with_names else '@main'}({parameters}) -> ({results}) {{"
        for guard in graph.guards:
            suffix = f"   {format_location(guard.location)}" if self.locations and guard.location.line else ""
            yield f"{inner}guard {guard}{suffix}"
        for output, parameter in sorted(graph.aliases.items()):
            target = self.name(graph.parameters[parameter]) if parameter < len(graph.parameters) else parameter
            yield f"{inner}alias {output} -> {target}"
        declared = {p.node for p in graph.parameters}
        effects = set(graph.effects)
        for node in graph.nodes():
            if node not in declared:
                yield f"{inner}{'effect ' if node in effects else ''}{self.statement(node)}"
        yield f"{inner}return {', '.join(map(self.name, graph.outputs))}".rstrip()
        yield f"{self.indent}}}"

    def statement(self, node: Node) -> str:
        results = ", ".join([self.declaration(value) for value in node.results])
        operands = ", ".join([self.name(value) for value in node.inputs])
        text = f"{results} = {node.op.name}({operands})" if results else f"{node.op.name}({operands})"
        if node.attributes:
            text += f" {{{self.attributes(ordered_attributes(node))}}}"
        return text + self.location(node, "   ")

    def attributes(self, attributes: Sequence[tuple[str, Any]]) -> str:
        inner = self.indent + _INDENT
        return ", ".join(
            [
                f"{name} = " + format_attribute(value, locations=self.locations, names=self.with_names, indent=inner)
                for name, value in attributes
            ]
        )

    def declaration(self, value: Value) -> str:
        return f"{self.name(value)}: {value.type}"

    def name(self, value: Value) -> str:
        return self.names.get(value) or f"%<{value.node.op.name}:{value.index}>"  # a result that the node does not have

    def location(self, node: Node, before: str) -> str:
        return before + format_location(node.location) if self.locations and node.location.line else ""


def node_lines(graph: Graph, *, names: bool = True) -> Mapping[Node, str]:
    """The line of each node as :func:`print_graph` shows it; a parameter's is its declaration."""
    printer = _GraphPrinter(graph, False, names, "")
    declared = {p.node for p in graph.parameters}
    return {
        node: printer.declaration(Value(node, 0)) if node in declared else printer.statement(node)
        for node in graph.nodes()
    }


def _graph_name(name: str) -> str:
    return f"@{name}" if _PLAIN_NAME.fullmatch(name) else f"@{format_string(name)}"


_COLOURED = re.compile(
    r"""
      (?P<string> "[^"\\\n]*(?:\\.[^"\\\n]*)*" )
    | (?P<value> (?<![\w)])%[\w.]+ )
    | (?P<keyword> \b(?: graph | return | effect | guard | alias | loc | dense | base64 )\b(?=[ (<]) )
    | (?P<op> (?<==[ ])[^\W\d]\w*(?=\() | (?<=effect[ ])[^\W\d]\w*(?=\() )
    | (?P<type> \b(?: bool | bf16 | [uif](?:8|16|32|64) )\[[^\]\n]*\] )
    """,
    re.VERBOSE,
)
_ANSI = {"string": "32", "value": "36", "keyword": "1", "op": "1;34", "type": "33"}


def _coloured(text: str) -> str:
    return _COLOURED.sub(lambda m: f"\x1b[{_ANSI[m.lastgroup or 'string']}m{m.group()}\x1b[0m", text)


def _graph_text(graph: Graph) -> str:
    """The graph as :func:`print_graph` shows it."""
    return print_graph(graph)


Graph.__str__ = _graph_text  # type: ignore[method-assign, assignment]
