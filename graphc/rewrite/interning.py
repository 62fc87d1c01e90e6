"""One node for equal applications: the table behind common-subexpression elimination."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any

import numpy as np

from graphc.ir.graph import Graph, Node, held_graphs


class Interner:
    """Gives for each node the first equal one it has seen: same primitive, operands, attributes and types.

    Literal arrays are equal if their bits are. Effects and parameters are equal only to themselves. Nested graphs are
    compared by identity.
    """

    def __init__(self) -> None:
        self._nodes: dict[Hashable, Node] = {}

    def intern(self, node: Node) -> Node:
        """The representative of ``node``, which is ``node`` itself if none was seen before."""
        if node.op.name == "parameter" or has_effect(node):
            return node
        attributes = node.attributes
        frozen = tuple([freeze(value) for value in attributes.values()]) if attributes else ()
        return self._nodes.setdefault((node.op.name, node.inputs, node.types, frozen), node)


def has_effect(node: Node) -> bool:
    """Whether ``node`` is an effect, or holds a graph that has effects, at any depth."""
    if node.op.effect:
        return True
    if not node.attributes:
        return False
    stack = held_graphs(node.attributes)
    while stack:
        graph = stack.pop()
        if graph.effects:
            return True
        for inner in graph.nodes():
            stack.extend(held_graphs(inner.attributes))
    return False


def freeze(value: Any) -> Hashable:
    """A hashable key that tells attribute values apart: -0.0 from 0.0, True from 1, NaNs by their bits."""
    if isinstance(value, tuple):
        return tuple([freeze(v) for v in value])
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.name, value.shape, value.tobytes())
    if isinstance(value, float):
        return ("float", struct.pack("d", value))
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Graph):
        return ("graph", value)
    key: Hashable = value
    return key
