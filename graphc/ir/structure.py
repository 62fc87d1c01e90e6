"""Equality of graphs by structure: names and locations do not count, nor how symbolic sizes are called.

The graph is written as a list of canonical records, one a parameter, node and so on, in which values are numbered in
the order of :meth:`Graph.nodes` and sizes in order of first appearance. The hash is taken of the records. It does not
depend on the process or the machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import ArgumentError
from graphc.ir.dims import Dim, DimExpr, substitute, symbol
from graphc.ir.graph import Graph, Guard, Node
from graphc.ir.literals import array_bytes
from graphc.ir.printer import node_lines, ordered_attributes, value_names
from graphc.ir.types import TensorType


def structural_hash(graph: Graph) -> str:
    """The SHA-256 of the graph's structure, in hexadecimal.

    Two graphs have the same hash if and only if they are structurally equal: the same ops, attributes, types and
    wiring, the same parameters and outputs in the same order, the same effects, aliases and guards. Raises
    ArgumentError for an attribute that is no number, string, dtype, size, array, graph or tuple of them.
    """
    return _digest(graph).sha256


def structurally_equal(a: Graph, b: Graph) -> bool:
    """Whether ``a`` and ``b`` are the same but for names, locations and the naming of symbolic sizes."""
    return a is b or structural_hash(a) == structural_hash(b)


def first_difference(a: Graph, b: Graph) -> str | None:
    """Where ``a`` and ``b`` first differ in structure, with both lines; None if they are structurally equal."""
    if structurally_equal(a, b):
        return None
    records_a, records_b = list(_Records(a).records()), list(_Records(b).records())
    for one, other in zip(records_a, records_b, strict=False):
        if one.text != other.text:
            return _explain(a, b, one, other)
    longer, which = (records_a, "first") if len(records_a) > len(records_b) else (records_b, "second")
    extra = longer[min(len(records_a), len(records_b))]
    return f"only the {which} graph has {_show(a if which == 'first' else b, extra)}"


class _Digest(NamedTuple):
    sha256: str
    symbols: tuple[str, ...]  # the graph's sizes, in the order in which the records number them


class _Record(NamedTuple):
    kind: str
    text: str
    node: Node | None = None
    guard: Guard | None = None
    alias: tuple[int, int] | None = None


_digests: WeakKeyDictionary[Graph, _Digest] = WeakKeyDictionary()


def _digest(graph: Graph) -> _Digest:
    known = _digests.get(graph)
    if known is None:
        records = _Records(graph)
        text = "\n".join([f"{record.kind} {record.text}" for record in records.records()])
        sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        known = _digests[graph] = _Digest(sha256, tuple(records.renamed))
    return known


class _Records:
    """Writes the records of one graph; ``renamed`` maps sizes to canonical names, in order of first appearance."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.renamed: dict[str, str] = {}
        self.dims: dict[DimExpr, str] = {}
        self.types: dict[TensorType, str] = {}

    def records(self) -> Iterator[_Record]:
        graph = self.graph
        # Bare names first: the order of the terms in a longer expression depends on how its sizes are called.
        for type_ in graph.parameter_types:
            for dim in type_.shape:
                if isinstance(dim, DimExpr) and str(dim) == next(dim.symbols()):
                    self.dim(dim)
        number: dict[Node, int] = {}
        for parameter in graph.parameters:
            number.setdefault(parameter.node, len(number))
            yield _Record("parameter", f"{number[parameter.node]}: {self.type(parameter.type)}", parameter.node)
        for guard in graph.guards:
            text = f"{self.dim(guard.lhs)} {guard.relation} {self.dim(guard.rhs)}"
            yield _Record("guard", text, guard=guard)
        declared = set(number)
        for node in graph.nodes():
            if node in declared:
                continue
            number[node] = len(number)
            operands = ", ".join([f"{number[v.node]}.{v.index}" for v in node.inputs])
            attributes = ", ".join([f"{name} = {self.attribute(node, v)}" for name, v in ordered_attributes(node)])
            types = ", ".join([self.type(t) for t in node.types])
            yield _Record("node", f"{node.op.name}({operands}) {{{attributes}}}: {types}", node)
        for node in graph.effects:
            yield _Record("effect", str(number[node]), node)
        for output in graph.outputs:
            yield _Record("output", f"{number[output.node]}.{output.index}", output.node)
        for index, target in sorted(graph.aliases.items()):
            yield _Record("alias", f"{index} -> {target}", alias=(index, target))

    def type(self, type_: TensorType) -> str:
        text = self.types.get(type_)
        if text is None:
            text = f"{type_.dtype.short}[{', '.join(map(self.dim, type_.shape))}]"
            self.types[type_] = text
        return text

    def dim(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        text = self.dims.get(dim)
        if text is None:
            names = {name: symbol(self.rename(name)) for name in dim.symbols()}
            text = self.dims[dim] = str(substitute(dim, names))
        return text

    def rename(self, name: str) -> str:
        return self.renamed.setdefault(name, f"s{len(self.renamed)}")

    def attribute(self, node: Node, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "none"
        if isinstance(value, (int, DimExpr)):
            return self.dim(value)
        if isinstance(value, float):
            return "float nan" if math.isnan(value) else f"float {value.hex()}"
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, DType):
            return f"dtype {value.short}"
        if isinstance(value, tuple):
            return f"({', '.join([self.attribute(node, item) for item in value])})"
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(array_bytes(value)).hexdigest()
            return f"dense {TensorType(as_dtype(value.dtype), value.shape)} {digest}"
        if isinstance(value, Graph):
            # Its own sizes are numbered from 0 in its digest, which is kept; which of ours they are is said beside it.
            inner = _digest(value)
            return f"graph {inner.sha256}({', '.join([self.rename(name) for name in inner.symbols])})"
        raise ArgumentError(
            f"{node.op.name} has an attribute of type {type(value).__name__}, which cannot be compared by structure",
            location=node.location,
        )


def _explain(a: Graph, b: Graph, one: _Record, other: _Record) -> str:
    if one.kind == other.kind == "node" and one.node is not None and other.node is not None:
        for name, value in one.node.attributes.items():
            against = other.node.attributes.get(name)
            if isinstance(value, Graph) and isinstance(against, Graph):
                inner = first_difference(value, against)
                if inner is not None:
                    return f"in the graph {name!r} of {one.node.op.name}: {inner}"
    return f"the first graph has {_show(a, one)}\nthe second graph has {_show(b, other)}"


def _show(graph: Graph, record: _Record) -> str:
    """A record as a reader of the graph's text knows it."""
    if record.alias is not None:
        output, parameter = record.alias
        return f"alias {output} -> {value_names(graph)[graph.parameters[parameter]]}"
    if record.node is not None:
        return f"{record.kind} {node_lines(graph)[record.node]}"
    return f"guard {record.guard}"
