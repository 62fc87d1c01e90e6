"""The operands of a node, for the message of an error that a run raises."""

from __future__ import annotations

from typing import Final

from graphc.ir.graph import Node, Value
from graphc.locations import Location
from graphc.operands import Operand, describe_type

_MOST: Final = 6
_MOST_NODES: Final = 64


def operands_of_node(node: Node | None) -> tuple[Operand, ...]:
    """What the line of ``node`` reads: names (or the ops that made them), types, and the lines that made them.

    A line is often several nodes, as negative indices are made positive before they are used; what they pass on to each other
    is nothing that the user knows.
    """
    if node is None:
        return ()
    found: dict[Value, None] = {}
    seen = {node}
    pending = list(node.inputs)
    while pending:
        value = pending.pop(0)
        maker = value.node
        inside = maker.inputs and node.location.line and _same_line(maker.location, node.location)
        if inside and len(seen) < _MOST_NODES:
            if maker not in seen:
                seen.add(maker)
                pending.extend(maker.inputs)
        elif maker.inputs or maker.name:  # no constant, which the line itself says
            found[value] = None
    return tuple([Operand(f"{_name(v)}: {describe_type(v.dtype, v.shape)}", v.node.location) for v in list(found)[:_MOST]])


def _same_line(one: Location, two: Location) -> bool:
    return (one.filename, one.line) == (two.filename, two.line)


def _name(value: Value) -> str:
    return value.node.name or f"{value.node.op.name}(…)"
