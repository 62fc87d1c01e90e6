"""The intermediate representation: types, graphs, text form and verifier. Names are loaded on first use (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_MODULES: Final = {
    "graphc.ir.builder": ("Builder",),
    "graphc.ir.dims": ("Dim", "DimExpr", "symbol"),
    "graphc.ir.dot": ("to_dot",),
    "graphc.ir.graph": ("Graph", "Guard", "Node", "Value"),
    "graphc.ir.json_form": ("to_json",),
    "graphc.ir.parser": ("parse", "parse_file"),
    "graphc.ir.primitive": ("Primitive", "get_primitive", "primitives", "register"),
    "graphc.ir.printer": ("print_graph",),
    "graphc.ir.spec": ("parse_dim", "parse_type"),
    "graphc.ir.structure": ("first_difference", "structural_hash", "structurally_equal"),
    "graphc.ir.types": ("TensorType",),
    "graphc.ir.verifier": ("verify",),
}
_EXPORTS: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
