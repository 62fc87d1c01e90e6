"""The intermediate representation: types, graphs, text form and verifier."""

from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, DimExpr, symbol
from graphc.ir.graph import Graph, Guard, Node, Value
from graphc.ir.parser import parse, parse_file
from graphc.ir.primitive import Primitive, get_primitive, primitives, register
from graphc.ir.printer import print_graph
from graphc.ir.spec import parse_dim, parse_type
from graphc.ir.types import TensorType

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
    "get_primitive",
    "parse",
    "parse_dim",
    "parse_file",
    "parse_type",
    "primitives",
    "print_graph",
    "register",
    "symbol",
]
