"""Scans whose examples do not meet: the same loop over some of the rows, which another thread can run at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, same_size
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.types import TensorType

_REDUCTIONS: Final = frozenset((
    "reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all", "argmax", "argmin",
))  # fmt: skip


class _Meet(Exception):
    """A step computes one row from others."""


def divided_values(body: Graph, constants: int, carries: int) -> frozenset[Value] | None:
    """The values of a scan's ``body`` that have a row for each example, along their first axis; the rest is the same for all.

    None where there are no such rows, where a step computes one of them from others, or where a carry or what is stacked has
    none. What has rows is found from what is carried and stacked backwards, so that an operand may be either.
    """
    if not carries or not body.outputs[0].ndim or body.effects:
        return None
    rows = body.outputs[0].shape[0]
    divided: dict[Value, bool] = dict.fromkeys(body.parameters[constants : constants + carries], True)

    def mark(value: Value, is_divided: bool) -> None:
        if value.node.op.name == "constant" and value.ndim and is_divided:
            raise _Meet
        if divided.setdefault(value, is_divided) != is_divided:
            raise _Meet
        if is_divided and not (value.ndim and same_size(value.shape[0], rows)):
            raise _Meet

    try:
        for value in (*body.outputs, *body.parameters[constants : constants + carries]):
            mark(value, True)
        for node in reversed(list(body.nodes())):
            kinds = {divided[v] for v in node.results if v in divided}
            if node.op.regions or len(kinds) > 1:
                raise _Meet
            operands = _operands(node) if kinds == {True} else [False] * len(node.inputs)
            for value, kind in zip(node.inputs, operands, strict=True):
                mark(value, kind)
    except _Meet:
        return None
    return frozenset(value for value, kind in divided.items() if kind)


def _operands(node: Node) -> Sequence[bool]:
    """Which operands have rows, where the results have."""
    attributes, name = node.attributes, node.op.name
    if node.op.elementwise or name in ("stop_gradient", "optimization_barrier", "parameter"):
        return [True] * len(node.inputs)
    if name == "broadcast_in_dim":
        dims = attributes["dims"]
        if 0 not in dims:
            return [False]
        return _if(dims[0] == 0 and same_size(node.inputs[0].shape[0], node.types[0].shape[0]) is True, 1)
    if name == "dot_general":
        left, right = attributes["batch"]
        if left:
            return _if(left[0] == 0 and right[0] == 0, 2)
        return [*_if(0 not in attributes["contract"][0] and node.inputs[0].ndim > 0, 1), False]
    if name == "transpose":
        return _if(attributes["permutation"][0] == 0, 1)
    if name == "reshape":
        x = node.inputs[0]
        return _if(x.ndim > 0 and same_size(x.shape[0], node.types[0].shape[0]) is True, 1)
    if name == "slice":
        is_whole = attributes["starts"][0] == 0 and attributes["strides"][0] == 1
        return _if(is_whole and attributes["limits"][0] == node.inputs[0].shape[0], 1)
    if name == "concatenate":
        return _if(attributes["axis"] != 0, len(node.inputs))
    if name == "pad":
        return [*_if(attributes["low"][0] == 0 and attributes["high"][0] == 0 and attributes["interior"][0] == 0, 1), False]
    if name in _REDUCTIONS or name == "reverse":
        axes = attributes["axes"] if "axes" in attributes else (attributes["axis"],)
        return _if(0 not in axes, len(node.inputs))
    raise _Meet


def _if(holds: bool, count: int) -> Sequence[bool]:
    if not holds:
        raise _Meet
    return [True] * count


def with_rows(body: Graph, divided: frozenset[Value], rows: Dim) -> Graph:
    """``body`` for examples as many as ``rows``; ``divided``: what :func:`divided_values` gave."""
    b = Builder(body.name)
    known: dict[Value, Value] = {}
    for parameter in body.parameters:
        type_ = part_of(parameter.type, rows) if parameter in divided else parameter.type
        known[parameter] = b.parameter(type_, parameter.node.name, parameter.node.location)
    for node in body.nodes():
        if node.op.name == "parameter":
            continue
        with b.at(node.location):
            attributes = dict(node.attributes)
            if node.results and node.results[0] in divided:
                attributes |= dict(_resized(node, rows))
            made = b.emit(node.op, *[known[v] for v in node.inputs], **attributes)
        known.update(zip(node.results, made, strict=True))
    return b.finish([known[v] for v in body.outputs])


def _resized(node: Node, rows: Dim) -> Iterator[tuple[str, tuple[Dim, ...]]]:
    """The attributes of ``node`` that hold how many rows there are."""
    name = {"broadcast_in_dim": "shape", "reshape": "shape", "slice": "limits"}.get(node.op.name)
    if name is not None:
        yield name, (rows, *node.attributes[name][1:])


def part_of(type_: TensorType, rows: Dim) -> TensorType:
    """The type of so many rows of an array."""
    return type_.with_shape((rows, *type_.shape[1:]))
