"""The intermediate representation: types, graphs, text form and verifier."""

from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, DimExpr, symbol
from graphc.ir.dot import to_dot
from graphc.ir.graph import Graph, Guard, Node, Value
from graphc.ir.json_form import to_json
from graphc.ir.parser import parse, parse_file
from graphc.ir.primitive import Primitive, get_primitive, primitives, register
from graphc.ir.printer import print_graph
from graphc.ir.spec import parse_dim, parse_type
from graphc.ir.structure import first_difference, structural_hash, structurally_equal
from graphc.ir.types import TensorType
from graphc.ir.verifier import verify

__all__ = [
    "Builder",
    "Dim",
    "DimExpr",
    "Graph",
    "Guard",
    "Node",
    "Primitive",
    "TensorType",
    "Value",
    "first_difference",
    "get_primitive",
    "parse",
    "parse_dim",
    "parse_file",
    "parse_type",
    "primitives",
    "print_graph",
    "register",
    "structural_hash",
    "structurally_equal",
    "symbol",
    "to_dot",
    "to_json",
    "verify",
]
