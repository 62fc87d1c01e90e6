"""Sums, products, quotients, powers.

``exact=integers`` means: always for integers, for floats under fast_math alone, because a NaN, an infinity, the sign
of a zero or the rounding may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphc.passes.rules.literals import every, has_exact_reciprocal, map_literal, power_of_two_exponent
from graphc.rewrite.pattern import (
    COMMUTATIVE,
    Const,
    Literal,
    RuleList,
    Var,
    constant_of,
    floats,
    integers,
    integral,
    never,
    op,
)

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

ARITHMETIC = RuleList("arithmetic")
rule = ARITHMETIC.rule

x, y, z = Var("x"), Var("y"), Var("z")
i, f = Var("i", integral), Var("f", floats)
c, d = Const("c"), Const("d")


# --- literals to the right ------------------------------------------------------------------------------------------


@rule(op(tuple(sorted(COMMUTATIVE)), c, x).ordered(), when=lambda x: constant_of(x) is None)
def literal_to_the_right(b: Builder, root: Node, c: Value, x: Value) -> Value:
    """c ∘ x → x ∘ c, for a commutative ∘"""
    return b.emit_one(root.op, x, c)


# --- add, sub, neg --------------------------------------------------------------------------------------------------


@rule(x + 0, exact=integers)
def add_zero(x: Value) -> Value:
    """x + 0 → x"""
    return x


@rule(f + Literal(-0.0))
def add_negative_zero(f: Value) -> Value:
    """x + -0.0 → x"""
    return f


@rule(x - x, exact=integers)
def sub_itself(b: Builder, x: Value) -> Value:
    """x - x → 0"""
    return b.zeros_like(x)


@rule(x - c)
def sub_literal(b: Builder, x: Value, c: Value) -> Value:
    """x - c → x + -c"""
    return b.emit_one("add", x, map_literal(b, c, np.negative))


@rule(0 - x, exact=integers)
def sub_from_zero(b: Builder, x: Value) -> Value:
    """0 - x → -x"""
    return b.emit_one("neg", x)


@rule(Literal(-0.0) - f)
def sub_from_negative_zero(b: Builder, f: Value) -> Value:
    """-0.0 - x → -x"""
    return b.emit_one("neg", f)


@rule(x + -y)
def add_negative(b: Builder, x: Value, y: Value) -> Value:
    """x + -y → x - y"""
    return b.emit_one("sub", x, y)


@rule(x - -y)
def sub_negative(b: Builder, x: Value, y: Value) -> Value:
    """x - -y → x + y"""
    return b.emit_one("add", x, y)


@rule(op("neg", -x))
def neg_neg(x: Value) -> Value:
    """-(-x) → x"""
    return x


@rule(-((x - y).once()), exact=integers)
def neg_sub(b: Builder, x: Value, y: Value) -> Value:
    """-(x - y) → y - x"""
    return b.emit_one("sub", y, x)


@rule((x - y) + y, exact=integers)
def add_back(x: Value) -> Value:
    """(x - y) + y → x"""
    return x


@rule((x + y) - y, exact=integers)
def sub_back_right(x: Value) -> Value:
    """(x + y) - y → x"""
    return x


@rule((x + y) - x, exact=integers)
def sub_back_left(y: Value) -> Value:
    """(x + y) - x → y"""
    return y


@rule((x + c) + d, exact=integers)
def add_literals(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """(x + c) + d → x + (c + d)"""
    return b.emit_one("add", x, b.emit_one("add", c, d))


@rule(c - (x + d), exact=integers)
def sub_sum_with_literal(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """c - (x + d) → (c - d) - x"""
    return b.emit_one("sub", b.emit_one("sub", c, d), x)


@rule((x + c).once() + (y + d).once(), exact=integers)
def add_sums_with_literals(b: Builder, x: Value, y: Value, c: Value, d: Value) -> Value:
    """(x + c) + (y + d) → (x + y) + (c + d)"""
    return b.emit_one("add", b.emit_one("add", x, y), b.emit_one("add", c, d))


# --- mul ------------------------------------------------------------------------------------------------------------


@rule(x * 1)
def mul_one(x: Value) -> Value:
    """x · 1 → x"""
    return x


@rule(x * -1)
def mul_minus_one(b: Builder, x: Value) -> Value:
    """x · -1 → -x"""
    return b.emit_one("neg", x)


@rule(x * 0, exact=integers)
def mul_zero(b: Builder, x: Value) -> Value:
    """x · 0 → 0"""
    return b.zeros_like(x)


@rule((-x) * (-y))
def mul_negatives(b: Builder, x: Value, y: Value) -> Value:
    """-x · -y → x · y"""
    return b.emit_one("mul", x, y)


@rule((-x).once() * c)
def mul_negative_literal(b: Builder, x: Value, c: Value) -> Value:
    """-x · c → x · -c"""
    return b.emit_one("mul", x, map_literal(b, c, np.negative))


@rule(-((x * c).once()))
def neg_mul_literal(b: Builder, x: Value, c: Value) -> Value:
    """-(x · c) → x · -c"""
    return b.emit_one("mul", x, map_literal(b, c, np.negative))


@rule((-x).once() * y)
def mul_negative(b: Builder, x: Value, y: Value) -> Value:
    """-x · y → -(x · y)"""
    return b.emit_one("neg", b.emit_one("mul", x, y))


@rule((x * c) * d, exact=integers)
def mul_literals(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """(x · c) · d → x · (c · d)"""
    return b.emit_one("mul", x, b.emit_one("mul", c, d))


@rule((x * y).once() + (x * z).once(), exact=integers)
def factor_sum(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """x·y + x·z → x·(y + z)"""
    return b.emit_one("mul", x, b.emit_one("add", y, z))


@rule((x * y).once() - (x * z).once(), exact=integers)
def factor_difference(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """x·y - x·z → x·(y - z)"""
    return b.emit_one("mul", x, b.emit_one("sub", y, z))


# --- div ------------------------------------------------------------------------------------------------------------


@rule(x / 1)
def div_one(x: Value) -> Value:
    """x / 1 → x"""
    return x


@rule(x / -1)
def div_minus_one(b: Builder, x: Value) -> Value:
    """x / -1 → -x"""
    return b.emit_one("neg", x)


@rule((-x) / (-y))
def div_negatives(b: Builder, x: Value, y: Value) -> Value:
    """-x / -y → x / y"""
    return b.emit_one("div", x, y)


@rule((-x).once() / y)
def div_negative(b: Builder, x: Value, y: Value) -> Value:
    """-x / y → -(x / y)"""
    return b.emit_one("neg", b.emit_one("div", x, y))


@rule(x / (-y).once())
def div_by_negative(b: Builder, x: Value, y: Value) -> Value:
    """x / -y → -(x / y)"""
    return b.emit_one("neg", b.emit_one("div", x, y))


@rule(x / c, when=has_exact_reciprocal)
def div_power_of_two(b: Builder, x: Value, c: Value) -> Value:
    """x / 2^k → x · 2^-k, where both are normal numbers"""
    return b.emit_one("mul", x, map_literal(b, c, lambda a: 1 / a))


@rule(x / c, exact=never, when=lambda c: every(c, lambda a: np.isfinite(a) & np.isfinite(1 / a)))
def div_literal(b: Builder, x: Value, c: Value) -> Value:
    """x / c → x · (1 / c)"""
    return b.emit_one("mul", x, map_literal(b, c, lambda a: 1 / a))


@rule(x / x, exact=never)
def div_itself(b: Builder, x: Value) -> Value:
    """x / x → 1"""
    return b.full_like(x, 1)


@rule(0 / x, exact=never)
def div_zero_by(b: Builder, x: Value) -> Value:
    """0 / x → 0"""
    return b.zeros_like(x)


@rule((x * y) / y, exact=never)
def div_back(x: Value) -> Value:
    """(x · y) / y → x"""
    return x


@rule((x / y) / z, exact=never)
def div_twice(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """(x / y) / z → x / (y · z)"""
    return b.emit_one("div", x, b.emit_one("mul", y, z))


@rule(x / (y / z), exact=never)
def div_by_quotient(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """x / (y / z) → (x · z) / y"""
    return b.emit_one("div", b.emit_one("mul", x, z), y)


@rule(x * (1 / y), exact=never)
def mul_reciprocal(b: Builder, x: Value, y: Value) -> Value:
    """x · (1 / y) → x / y"""
    return b.emit_one("div", x, y)


# --- integer division -----------------------------------------------------------------------------------------------


@rule(i // 1)
def floor_divide_by_one(i: Value) -> Value:
    """i // 1 → i"""
    return i


@rule(i // -1)
def floor_divide_by_minus_one(b: Builder, i: Value) -> Value:
    """i // -1 → -i, which wraps as the division does"""
    return b.emit_one("neg", i)


@rule(op(("floor_divide", "remainder"), i, 0))
def divide_by_zero(b: Builder, i: Value) -> Value:
    """i // 0 → 0 and i % 0 → 0, for integers"""
    return b.zeros_like(i)


@rule(op(("floor_divide", "remainder"), 0, i))
def divide_zero(b: Builder, i: Value) -> Value:
    """0 // i → 0 and 0 % i → 0, for integers"""
    return b.zeros_like(i)


@rule(i % 1)
def remainder_by_one(b: Builder, i: Value) -> Value:
    """i % 1 → 0"""
    return b.zeros_like(i)


@rule(i % -1)
def remainder_by_minus_one(b: Builder, i: Value) -> Value:
    """i % -1 → 0"""
    return b.zeros_like(i)


@rule(i % i)
def remainder_by_itself(b: Builder, i: Value) -> Value:
    """i % i → 0"""
    return b.zeros_like(i)


@rule(i // c, when=lambda c: power_of_two_exponent(c) is not None)
def floor_divide_by_power_of_two(b: Builder, i: Value, c: Value) -> Value:
    """i // 2^k → i >> k, which rounds down too"""
    return b.emit_one("shift_right", i, b.full_like(i, power_of_two_exponent(c) or 0))


@rule(i % c, when=lambda c: power_of_two_exponent(c) is not None)
def remainder_by_power_of_two(b: Builder, i: Value, c: Value) -> Value:
    """i % 2^k → i & (2^k - 1)"""
    return b.emit_one("bitwise_and", i, map_literal(b, c, lambda a: a - np.ones_like(a)))


# --- powers ---------------------------------------------------------------------------------------------------------


@rule(x**0)
def pow_zero(b: Builder, x: Value) -> Value:
    """x ** 0 → 1, also for a NaN"""
    return b.full_like(x, 1)


@rule(x**1)
def pow_one(x: Value) -> Value:
    """x ** 1 → x"""
    return x


@rule(x**2)
def pow_two(b: Builder, x: Value) -> Value:
    """x ** 2 → x · x, the correctly rounded square"""
    return b.emit_one("mul", x, x)


@rule(f**-1)
def pow_minus_one(b: Builder, f: Value) -> Value:
    """x ** -1 → 1 / x, the correctly rounded reciprocal"""
    return b.emit_one("div", b.full_like(f, 1), f)


@rule(x**3, exact=integers)
def pow_three(b: Builder, x: Value) -> Value:
    """x ** 3 → x · x · x"""
    return b.emit_one("mul", b.emit_one("mul", x, x), x)


@rule(f ** Literal(0.5), exact=never)
def pow_half(b: Builder, f: Value) -> Value:
    """x ** 0.5 → √x"""
    return b.emit_one("sqrt", f)


@rule(f ** Literal(-0.5), exact=never)
def pow_minus_half(b: Builder, f: Value) -> Value:
    """x ** -0.5 → 1/√x"""
    return b.emit_one("rsqrt", f)


@rule(Literal(2) ** f, exact=never)
def pow_of_two(b: Builder, f: Value) -> Value:
    """2 ** x → exp2(x)"""
    return b.emit_one("exp2", f)
