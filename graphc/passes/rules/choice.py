"""Choosing between values: select, minimum and maximum, clamp; and conversions of dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.dtypes import DType
from graphc.passes.rules.literals import is_highest, is_lowest
from graphc.rewrite.pattern import Const, RuleList, Var, bools, constant_of, integers, integral, op, splat_of

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

CHOICE = RuleList("choice")
rule = CHOICE.rule

x, y, z = Var("x"), Var("y"), Var("z")
p, q, i = Var("p", bools), Var("q", bools), Var("i", integral)
n = Var("n", integers)
c, d, low, high = Const("c"), Const("d"), Const("low"), Const("high")
EXTREMES = ("maximum", "minimum")


# --- select ---------------------------------------------------------------------------------------------------------


@rule(op("select", True, x, y))
def select_true(x: Value) -> Value:
    """select(true, x, y) → x"""
    return x


@rule(op("select", False, x, y))
def select_false(y: Value) -> Value:
    """select(false, x, y) → y"""
    return y


@rule(op("select", p, x, x))
def select_same(x: Value) -> Value:
    """select(p, x, x) → x"""
    return x


@rule(op("select", ~p, x, y))
def select_not(b: Builder, p: Value, x: Value, y: Value) -> Value:
    """select(~p, x, y) → select(p, y, x)"""
    return b.emit_one("select", p, y, x)


@rule(op("select", p, True, False))
def select_predicate(p: Value) -> Value:
    """select(p, true, false) → p"""
    return p


@rule(op("select", p, False, True))
def select_negated_predicate(b: Builder, p: Value) -> Value:
    """select(p, false, true) → ~p"""
    return b.emit_one("bitwise_not", p)


@rule(op("select", p, q, False))
def select_and(b: Builder, p: Value, q: Value) -> Value:
    """select(p, q, false) → p & q, for bools"""
    return b.emit_one("bitwise_and", p, q)


@rule(op("select", p, True, q))
def select_or(b: Builder, p: Value, q: Value) -> Value:
    """select(p, true, q) → p | q, for bools"""
    return b.emit_one("bitwise_or", p, q)


@rule(op("select", p, op("select", p, x, y), z))
def select_within_true(b: Builder, p: Value, x: Value, z: Value) -> Value:
    """select(p, select(p, x, y), z) → select(p, x, z)"""
    return b.emit_one("select", p, x, z)


@rule(op("select", p, x, op("select", p, y, z)))
def select_within_false(b: Builder, p: Value, x: Value, z: Value) -> Value:
    """select(p, x, select(p, y, z)) → select(p, x, z)"""
    return b.emit_one("select", p, x, z)


@rule(op("select", p, op("select", q, x, y).once(), y))
def select_both(b: Builder, p: Value, q: Value, x: Value, y: Value) -> Value:
    """select(p, select(q, x, y), y) → select(p & q, x, y)"""
    return b.emit_one("select", b.emit_one("bitwise_and", p, q), x, y)


@rule(op("select", p, x, op("select", q, x, y).once()))
def select_either(b: Builder, p: Value, q: Value, x: Value, y: Value) -> Value:
    """select(p, x, select(q, x, y)) → select(p | q, x, y)"""
    return b.emit_one("select", b.emit_one("bitwise_or", p, q), x, y)


@rule(op("select", op(("gt", "ge"), i, y), i, y))
def select_larger(b: Builder, i: Value, y: Value) -> Value:
    """select(i > j, i, j) → maximum(i, j), for integers"""
    return b.emit_one("maximum", i, y)


@rule(op("select", op(("lt", "le"), i, y), i, y))
def select_smaller(b: Builder, i: Value, y: Value) -> Value:
    """select(i < j, i, j) → minimum(i, j), for integers"""
    return b.emit_one("minimum", i, y)


# --- minimum, maximum, clamp ----------------------------------------------------------------------------------------


@rule(op(EXTREMES, x, x))
def extreme_of_itself(x: Value) -> Value:
    """maximum(x, x) → x and minimum(x, x) → x"""
    return x


@rule(op("maximum", x, c), when=is_lowest)
def maximum_with_lowest(x: Value) -> Value:
    """maximum(x, lowest) → x, -inf being the lowest float"""
    return x


@rule(op("minimum", x, c), when=is_highest)
def minimum_with_highest(x: Value) -> Value:
    """minimum(x, highest) → x, inf being the highest float"""
    return x


@rule(op("maximum", n, c), when=is_highest)
def maximum_with_highest(c: Value) -> Value:
    """maximum(n, highest) → highest, for integers"""
    return c


@rule(op("minimum", n, c), when=is_lowest)
def minimum_with_lowest(c: Value) -> Value:
    """minimum(n, lowest) → lowest, for integers"""
    return c


@rule(op(EXTREMES, x, op(EXTREMES, x, y).as_("inner")))
def extreme_again(root: Node, inner: Value, x: Value) -> Value | None:
    """maximum(x, maximum(x, y)) → maximum(x, y); maximum(n, minimum(n, m)) → n for integers"""
    if inner.node.op is root.op:
        return inner
    return x if integers(x.type) else None


@rule(op(EXTREMES, op(EXTREMES, x, c).as_("inner"), d))
def extreme_literals(b: Builder, root: Node, inner: Value, x: Value, c: Value, d: Value) -> Value | None:
    """maximum(maximum(x, c), d) → maximum(x, maximum(c, d)), and so for minimum"""
    if inner.node.op is not root.op:
        return None
    return b.emit_one(root.op, x, b.emit_one(root.op, c, d))


@rule(op("clamp", low, x, high), when=lambda low, high: is_lowest(low) and is_highest(high))
def clamp_by_everything(x: Value) -> Value:
    """clamp(lowest, x, highest) → x"""
    return x


@rule(op("clamp", low, x, high), when=lambda low, high: is_highest(high))
def clamp_from_below(b: Builder, low: Value, x: Value) -> Value:
    """clamp(low, x, highest) → maximum(x, low)"""
    return b.emit_one("maximum", x, low)


@rule(op("clamp", low, x, high), when=lambda low, high: is_lowest(low))
def clamp_from_above(b: Builder, x: Value, high: Value) -> Value:
    """clamp(lowest, x, high) → minimum(x, high)"""
    return b.emit_one("minimum", x, high)


@rule(op("clamp", y, op("clamp", y, x, z).as_("inner"), z))
def clamp_again(inner: Value) -> Value:
    """clamp(a, clamp(a, x, b), b) → clamp(a, x, b)"""
    return inner


# --- conversions ----------------------------------------------------------------------------------------------------


@rule(op("convert_element_type", x))
def convert_to_own_dtype(root: Node, x: Value) -> Value | None:
    """convert(x){dtype of x} → x"""
    return x if root.attributes["dtype"] is x.dtype else None


@rule(op("convert_element_type", op("convert_element_type", x).as_("inner")))
def convert_through_wider(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """convert(convert(x){wider}){t} → convert(x){t}, where nothing is lost on the way"""
    source, middle, target = x.dtype, inner.dtype, root.attributes["dtype"]
    if not holds_all(middle, source):
        return None
    # From a float an integer saturates, from an integer it wraps.
    if source.is_integer and middle.is_floating and target.is_integer and not holds_all(target, source):
        return None
    return b.emit_one("convert_element_type", x, dtype=target)


@rule(op("ne", op("convert_element_type", p), 0))
def converted_bool_is_not_zero(p: Value) -> Value:
    """convert(p) != 0 → p, for a bool p"""
    return p


@rule(op("eq", op("convert_element_type", p), 0))
def converted_bool_is_zero(b: Builder, p: Value) -> Value:
    """convert(p) == 0 → ~p, for a bool p"""
    return b.emit_one("bitwise_not", p)


@rule(op("mul", x, op("convert_element_type", p)), exact=integers)
def mul_by_bool(b: Builder, x: Value, p: Value) -> Value | None:
    """x · convert(p) → select(p, x, 0)"""
    if constant_of(x) is not None and splat_of(x) is None:
        return None
    return b.emit_one("select", p, x, b.zeros_like(x))


_FLOAT_SHAPE = {"f16": (11, 5), "bf16": (8, 8), "f32": (24, 8), "f64": (53, 11)}  # bits of significand and of exponent


def holds_all(wide: DType, narrow: DType) -> bool:
    """Whether ``wide`` represents every value of ``narrow`` exactly (of bools, 0 and 1)."""
    if narrow is wide or narrow.is_bool:
        return True
    if wide.is_bool:
        return False
    if wide.is_floating:
        significand, exponent = _FLOAT_SHAPE[wide.short]
        if narrow.is_floating:
            inner = _FLOAT_SHAPE[narrow.short]
            return significand >= inner[0] and exponent >= inner[1]
        digits = narrow.bits - (narrow.kind == "int")
        return significand >= digits and (1 << (exponent - 1)) > narrow.bits
    if narrow.is_floating:
        return False
    if wide.kind == narrow.kind:
        return wide.bits >= narrow.bits
    return wide.kind == "int" and wide.bits > narrow.bits
