"""Ops that some targets have no kernel of their own for, as ordinary ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value
from graphc.ops.attention import attention_graph, gradient_graph
from graphc.ops.window import scattered_positions
from graphc.passes.base import Pass
from graphc.passes.inline import Inline
from graphc.rewrite.driver import Record, RuleSet, rewrite
from graphc.rewrite.pattern import RuleList, Var, op

RULES: Final = RuleList("ops as ordinary ops")


@RULES.rule(op("attention", Var("q"), Var("k"), Var("v")))
def attention_of_products(b: Builder, root: Node, q: Value, k: Value, v: Value) -> tuple[Value, ...]:
    """attention(q, k, v) → the products, the softmax between them, and its sums"""
    return b.emit("call", q, k, v, graph=attention_graph((q.type, k.type, v.type), root.attributes["causal"]))


@RULES.rule(op("attention_gradient", *[Var(name) for name in ("q", "k", "v", "cotangent", "lse", "delta")]))
def attention_gradient_of_products(b: Builder, root: Node) -> tuple[Value, ...]:
    """attention_gradient(…) → the products and maps that it stands for"""
    return b.emit("call", *root.inputs, graph=gradient_graph([x.type for x in root.inputs], root.attributes["causal"]))


@RULES.rule(op("select_and_scatter", Var("x"), Var("source")))
def select_and_scatter_by_positions(b: Builder, root: Node, x: Value, source: Value) -> Value:
    """select_and_scatter(x, source) → scatter_add at the positions of each window's extreme"""
    return scattered_positions(b, root, x, source)


_RULES: Final = RuleSet(RULES)


@dataclass(frozen=True)
class Decompose(Pass):
    """Replaces ``attention``, ``attention_gradient`` and ``select_and_scatter`` by ordinary ops.

    Results may differ by rounding: sums are done in another order.
    """

    name: ClassVar[str] = "decompose"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        return Inline().transform(rewrite(graph, _RULES, record), None)
