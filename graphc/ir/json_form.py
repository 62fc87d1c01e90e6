"""A graph as plain data, for other tools to read. Nothing is left out but locations, unless they are asked for."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.ir.dims import DimExpr
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.literals import MAX_ELEMENTS, array_bytes, is_graphc_array
from graphc.ir.printer import ordered_attributes, value_names

FORMAT = "graphc-graph"
VERSION = 1


def to_json(graph: Graph, *, locations: bool = False) -> dict[str, Any]:
    """``graph`` as dicts, lists, strings, numbers, booleans and None that ``json.dumps`` takes as they are.

    Values are called as in the text form. Equal graphs give equal data, with keys in the same order. Where JSON has
    no such thing, an attribute is a dict with one key that says what it is: ``dim``, ``dtype``, ``float`` (inf, nan),
    ``array``, ``graph`` or ``opaque``. ``locations`` adds the file, line and column of each node.
    """
    return {"format": FORMAT, "version": VERSION, **_graph(graph, locations)}


def _graph(graph: Graph, locations: bool) -> dict[str, Any]:
    names = value_names(graph)
    declared = {p.node for p in graph.parameters}
    effects = set(graph.effects)
    return {
        "name": graph.name,
        "parameters": [{**_value(p, names), **_location(p.node, locations)} for p in graph.parameters],
        "guards": [str(guard) for guard in graph.guards],
        "aliases": [
            {"output": output, "parameter": names[graph.parameters[parameter]]}
            for output, parameter in sorted(graph.aliases.items())
        ],
        "nodes": [
            {
                "op": node.op.name,
                "operands": [names[v] for v in node.inputs],
                "attributes": {name: _attribute(v, locations) for name, v in ordered_attributes(node)},
                "results": [_value(v, names) for v in node.results],
                "effect": node in effects,
                **_location(node, locations),
            }
            for node in graph.nodes()
            if node not in declared
        ],
        "outputs": [names[o] for o in graph.outputs],
    }


def _value(value: Value, names: dict[Value, str]) -> dict[str, Any]:
    return {"name": names[value], "dtype": value.type.dtype.short, "shape": [_size(d) for d in value.type.shape]}


def _size(dim: int | DimExpr) -> int | str:
    return dim if isinstance(dim, int) else str(dim)


def _location(node: Node, locations: bool) -> dict[str, Any]:
    if not locations or not node.location.line:
        return {}
    place = node.location
    return {"location": {"file": place.filename, "line": place.line, "column": place.column}}


def _attribute(value: Any, locations: bool) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, DimExpr):
        return {"dim": str(value)}
    if isinstance(value, DType):
        return {"dtype": value.short}
    if isinstance(value, tuple):
        return [_attribute(item, locations) for item in value]
    if isinstance(value, np.ndarray) and is_graphc_array(value):
        return {"array": _array(value)}
    if isinstance(value, Graph):
        return {"graph": _graph(value, locations)}
    return {"opaque": repr(value)}


def _array(array: np.ndarray) -> dict[str, Any]:
    data: dict[str, Any] = {"dtype": as_dtype(array.dtype).short, "shape": list(array.shape)}
    if array.size <= MAX_ELEMENTS and bool(np.all(np.isfinite(array))):
        data["values"] = array.astype(np.float64).tolist() if array.dtype.kind == "V" else array.tolist()
    else:
        data["base64"] = base64.b64encode(array_bytes(array)).decode("ascii")
    return data
