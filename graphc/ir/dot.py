"""A graph as a drawing: the DOT language of Graphviz (``dot -Tsvg graph.dot``)."""

from __future__ import annotations

from collections.abc import Iterator

from graphc.ir.graph import Graph, Node
from graphc.ir.printer import format_attribute, ordered_attributes, value_names

_LONGEST = 40


def to_dot(graph: Graph) -> str:
    """The text of a DOT file: one box a node with its op, attributes and types, parameters on top, outputs below.

    Graphs in attributes become boxes around their nodes, joined to their user by a dashed line. Edges carry the
    operand's number where an op has several. Equal graphs give equal text.
    """
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  rankdir=TB;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="monospace", fontsize=10];',
        '  edge [fontname="monospace", fontsize=8];',
        *_body(graph, "n", "  "),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _body(graph: Graph, prefix: str, indent: str) -> Iterator[str]:
    names = value_names(graph)
    declared = {p.node for p in graph.parameters}
    effects = set(graph.effects)
    identity = {node: f"{prefix}{index}" for index, node in enumerate(graph.nodes())}
    for node, id_ in identity.items():
        types = ", ".join(f"{names[v]}: {v.type}" for v in node.results)
        if node in declared:
            yield f"{indent}{id_} [label={_quoted(types)}, shape=ellipse, fillcolor=lightblue];"
            continue
        colour = "lightsalmon" if node in effects else "lightgrey" if node.op.name == "constant" else "white"
        label = "\n".join(line for line in (node.op.name, _attributes(node), types) if line)
        yield f"{indent}{id_} [label={_quoted(label)}, fillcolor={colour}];"
        for index, value in enumerate(node.inputs):
            number = f' [label="{index}"]' if len(node.inputs) > 1 else ""
            yield f"{indent}{identity[value.node]} -> {id_}{number};"
        for name, inner in node.attributes.items():
            for position, nested in enumerate(inner if isinstance(inner, tuple) else (inner,)):
                if isinstance(nested, Graph):
                    yield from _cluster(nested, id_, f"{name}{position}", indent)
    for index, output in enumerate(graph.outputs):
        id_ = f"{prefix}out{index}"
        alias = graph.aliases.get(index)
        suffix = "" if alias is None else f"\ntakes over {names[graph.parameters[alias]]}"
        label = _quoted(f"output {index}: {output.type}{suffix}")
        yield f"{indent}{id_} [label={label}, shape=ellipse, fillcolor=lightgreen];"
        yield f"{indent}{identity[output.node]} -> {id_};"


def _cluster(graph: Graph, owner: str, name: str, indent: str) -> Iterator[str]:
    prefix = f"{owner}_{name}_"
    yield f"{indent}subgraph cluster_{prefix} {{"
    yield f"{indent}  label={_quoted('@' + graph.name)};"
    yield from _body(graph, prefix, indent + "  ")
    yield f"{indent}}}"
    if graph.nodes():
        yield f"{indent}{owner} -> {prefix}0 [style=dashed, arrowhead=none];"


def _attributes(node: Node) -> str:
    parts: list[str] = []
    for name, value in ordered_attributes(node):
        nested = isinstance(value, Graph) or (isinstance(value, tuple) and any(isinstance(v, Graph) for v in value))
        if not nested:
            text = f"{name} = {format_attribute(value)}"
            parts.append(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
