"""Constant folding: computing at compile time what depends on literals only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphc.errors import GraphcError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, held_graphs
from graphc.ir.types import TensorType
from graphc.passes.base import Pass
from graphc.rewrite.driver import Record, RuleSet, rewrite
from graphc.rewrite.pattern import CONSTANT_OPS, Const, RuleList, op, splat_of

MAX_ELEMENTS = 4096

FOLDING = RuleList("folding")


def _may_fold(root: Node) -> bool:
    """Whether ``root`` is an op without effects; a broadcast of a literal is a literal already."""
    if not root.inputs or root.op.name in CONSTANT_OPS or root.op.effect or not root.types:
        return False
    return not held_graphs(root.attributes)


@FOLDING.rule(op(None, ...).of(Const("literal")), when=_may_fold)
def fold_literals(b: Builder, root: Node) -> Sequence[Value] | None:
    """f(c, d) → the literal that ``evaluate`` gives; the op that raises is left for run time"""
    if root.op.elementwise and len(root.types) == 1 and root.types[0].shape != ():
        splats = [splat_of(v) for v in root.inputs]
        if all(s is not None for s in splats):
            results = _evaluate(root, [np.asarray(s) for s in splats])
            if results is None:
                return None
            return (b.full(root.types[0].shape, results[0][()], root.types[0].dtype),)
    if not all(_is_small(t) for t in root.types) or not all(_is_small(v.type) for v in root.inputs):
        return None
    results = _evaluate(root, [_array(v) for v in root.inputs])
    return None if results is None else tuple(b.constant(result) for result in results)


def _is_small(type_: TensorType) -> bool:
    size = type_.size
    return isinstance(size, int) and size <= MAX_ELEMENTS and type_.is_concrete


def _array(value: Value) -> Any:
    node = value.node
    if node.op.name == "constant":
        return node.attributes["value"]
    return node.op.evaluate(node.inputs[0].node.attributes["value"], **node.attributes)


def _evaluate(node: Node, arrays: Sequence[Any]) -> tuple[Any, ...] | None:
    try:
        with np.errstate(all="ignore"):
            results = node.op.evaluate(*arrays, **node.attributes)
    except GraphcError:
        return None
    return results if isinstance(results, tuple) else (results,)


@dataclass(frozen=True)
class Fold(Pass):
    """Replaces ops on literals by the literal that their ``evaluate`` rule gives, where result and operands are small.

    Effects stay, and so does an op that raises: it raises at run time, if it runs at all. ``broadcast_in_dim`` of a
    literal is a literal already and is not spelled out.
    """

    name: ClassVar[str] = "fold"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        return rewrite(graph, _RULES, record)


_RULES = RuleSet(FOLDING)
