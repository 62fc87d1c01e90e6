"""Comparisons. Those that assume a total order are for integers: every comparison with a NaN but ``!=`` is false."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphc.dtypes import bool_
from graphc.passes.rules.literals import is_highest, is_lowest, map_literal
from graphc.rewrite.pattern import Const, RuleList, Var, bools, constant_of, integers, integral, op

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

COMPARISON = RuleList("comparison")
rule = COMPARISON.rule

x, y = Var("x"), Var("y")
i, j, p = Var("i", integral), Var("j", integral), Var("p", bools)
n = Var("n", integers)
c, d = Const("c"), Const("d")

ORDER = ("lt", "le", "gt", "ge")
SWAPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
NEGATED = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


def _truth(b: Builder, like: Value, value: bool) -> Value:
    return b.full(like.shape, value, bool_)


@rule(op(ORDER, c, x), when=lambda x: constant_of(x) is None)
def order_literal_to_the_right(b: Builder, root: Node, c: Value, x: Value) -> Value:
    """c < x → x > c, and so for <=, > and >="""
    return b.emit_one(SWAPPED[root.op.name], x, c)


@rule(op(("lt", "gt"), x, x))
def less_than_itself(b: Builder, x: Value) -> Value:
    """x < x → false and x > x → false"""
    return _truth(b, x, False)


@rule(op(("eq", "le", "ge"), n, n))
def equal_to_itself(b: Builder, n: Value) -> Value:
    """n == n, n <= n, n >= n → true, for integers and bools"""
    return _truth(b, n, True)


@rule(op("ne", n, n))
def unequal_to_itself(b: Builder, n: Value) -> Value:
    """n != n → false, for integers and bools"""
    return _truth(b, n, False)


@rule(op("ne", x, x), when=lambda x: x.dtype.is_floating)
def float_unequal_to_itself(b: Builder, x: Value) -> Value:
    """x != x → is_nan(x), for floats"""
    return b.emit_one("is_nan", x)


@rule(op("eq", x, x), when=lambda x: x.dtype.is_floating)
def float_equal_to_itself(b: Builder, x: Value) -> Value:
    """x == x → ~is_nan(x), for floats"""
    return b.emit_one("bitwise_not", b.emit_one("is_nan", x))


@rule(~(op("eq", x, y).once()))
def not_equal(b: Builder, x: Value, y: Value) -> Value:
    """~(x == y) → x != y"""
    return b.emit_one("ne", x, y)


@rule(~(op("ne", x, y).once()))
def not_unequal(b: Builder, x: Value, y: Value) -> Value:
    """~(x != y) → x == y"""
    return b.emit_one("eq", x, y)


@rule(~(op(ORDER, n, y).as_("compared").once()))
def not_ordered(b: Builder, compared: Value, n: Value, y: Value) -> Value:
    """~(n < m) → n >= m, and so for <=, > and >=, for integers"""
    return b.emit_one(NEGATED[compared.node.op.name], n, y)


@rule(op("eq", p, True))
def equal_to_true(p: Value) -> Value:
    """p == true → p"""
    return p


@rule(op("eq", p, False))
def equal_to_false(b: Builder, p: Value) -> Value:
    """p == false → ~p"""
    return b.emit_one("bitwise_not", p)


@rule(op("ne", p, False))
def unequal_to_false(p: Value) -> Value:
    """p != false → p"""
    return p


@rule(op("ne", p, True))
def unequal_to_true(b: Builder, p: Value) -> Value:
    """p != true → ~p"""
    return b.emit_one("bitwise_not", p)


@rule(op("ne", p, Var("q", bools)))
def unequal_bools(b: Builder, p: Value, q: Value) -> Value:
    """p != q → p ^ q, for bools"""
    return b.emit_one("bitwise_xor", p, q)


@rule(op("lt", n, c), when=is_lowest)
def less_than_lowest(b: Builder, n: Value) -> Value:
    """n < lowest → false (an unsigned n < 0), for integers"""
    return _truth(b, n, False)


@rule(op("ge", n, c), when=is_lowest)
def at_least_lowest(b: Builder, n: Value) -> Value:
    """n >= lowest → true (an unsigned n >= 0), for integers"""
    return _truth(b, n, True)


@rule(op("gt", n, c), when=is_highest)
def more_than_highest(b: Builder, n: Value) -> Value:
    """n > highest → false, for integers"""
    return _truth(b, n, False)


@rule(op("le", n, c), when=is_highest)
def at_most_highest(b: Builder, n: Value) -> Value:
    """n <= highest → true, for integers"""
    return _truth(b, n, True)


@rule(op(("eq", "ne"), i + c, d))
def equal_shifted_literal(b: Builder, root: Node, i: Value, c: Value, d: Value) -> Value:
    """i + c == d → i == d - c, and so for !=, for integers, which wrap"""
    return b.emit_one(root.op, i, b.emit_one("sub", d, c))


@rule(op(("eq", "ne"), i + y, j + y))
def equal_sums(b: Builder, root: Node, i: Value, j: Value) -> Value:
    """i + m == j + m → i == j, and so for !=, for integers, which wrap"""
    return b.emit_one(root.op, i, j)


@rule(op(("eq", "ne"), -x, -y))
def equal_negatives(b: Builder, root: Node, x: Value, y: Value) -> Value:
    """-x == -y → x == y, and so for !="""
    return b.emit_one(root.op, x, y)


@rule(op(("eq", "ne"), -x, c))
def equal_negative_literal(b: Builder, root: Node, x: Value, c: Value) -> Value:
    """-x == c → x == -c, and so for !="""
    return b.emit_one(root.op, x, map_literal(b, c, np.negative))


@rule(op(("eq", "ne"), i - j, 0))
def difference_is_zero(b: Builder, root: Node, i: Value, j: Value) -> Value:
    """i - j == 0 → i == j, and so for !=, for integers, which wrap"""
    return b.emit_one(root.op, i, j)
