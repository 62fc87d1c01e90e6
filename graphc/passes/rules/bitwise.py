"""Bitwise and logical ops (bools are their one-bit case) and shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.passes.rules.literals import every
from graphc.rewrite.pattern import Const, RuleList, Var, bools, op

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

BITWISE = RuleList("bitwise")
rule = BITWISE.rule

x, y, z = Var("x"), Var("y"), Var("z")
p = Var("p", bools)
c, d = Const("c"), Const("d")


def is_zero(c: Value) -> bool:
    """Whether no bit of the literal ``c`` is set."""
    return every(c, lambda a: a == 0)


def is_all_ones(c: Value) -> bool:
    """Whether every bit of the literal ``c`` is set: True, -1, or the greatest unsigned number."""
    return every(c, lambda a: ~a == 0)


def _ones(b: Builder, x: Value) -> Value:
    return b.emit_one("bitwise_not", b.zeros_like(x))


@rule(~(~x))
def not_not(x: Value) -> Value:
    """~~x → x"""
    return x


@rule(op(("bitwise_and", "bitwise_or"), x, x))
def and_or_itself(x: Value) -> Value:
    """x & x → x and x | x → x"""
    return x


@rule(x ^ x)
def xor_itself(b: Builder, x: Value) -> Value:
    """x ^ x → 0"""
    return b.zeros_like(x)


@rule(x & c, when=is_zero)
def and_zero(c: Value) -> Value:
    """x & 0 → 0"""
    return c


@rule(x & c, when=is_all_ones)
def and_ones(x: Value) -> Value:
    """x & ~0 → x"""
    return x


@rule(op(("bitwise_or", "bitwise_xor"), x, c), when=is_zero)
def or_xor_zero(x: Value) -> Value:
    """x | 0 → x and x ^ 0 → x"""
    return x


@rule(x | c, when=is_all_ones)
def or_ones(c: Value) -> Value:
    """x | ~0 → ~0"""
    return c


@rule(x ^ c, when=is_all_ones)
def xor_ones(b: Builder, x: Value) -> Value:
    """x ^ ~0 → ~x"""
    return b.emit_one("bitwise_not", x)


@rule(x & ~x)
def and_complement(b: Builder, x: Value) -> Value:
    """x & ~x → 0"""
    return b.zeros_like(x)


@rule(op(("bitwise_or", "bitwise_xor"), x, ~x))
def or_xor_complement(b: Builder, x: Value) -> Value:
    """x | ~x → ~0 and x ^ ~x → ~0"""
    return _ones(b, x)


@rule(x & (x | y))
def and_absorbs(x: Value) -> Value:
    """x & (x | y) → x"""
    return x


@rule(x | (x & y))
def or_absorbs(x: Value) -> Value:
    """x | (x & y) → x"""
    return x


@rule(x & (x & y).as_("inner"))
def and_again(inner: Value) -> Value:
    """x & (x & y) → x & y"""
    return inner


@rule(x | (x | y).as_("inner"))
def or_again(inner: Value) -> Value:
    """x | (x | y) → x | y"""
    return inner


@rule(x ^ (x ^ y))
def xor_back(y: Value) -> Value:
    """x ^ (x ^ y) → y"""
    return y


@rule((~x).once() & (~y).once())
def and_of_complements(b: Builder, x: Value, y: Value) -> Value:
    """~x & ~y → ~(x | y)"""
    return b.emit_one("bitwise_not", b.emit_one("bitwise_or", x, y))


@rule((~x).once() | (~y).once())
def or_of_complements(b: Builder, x: Value, y: Value) -> Value:
    """~x | ~y → ~(x & y)"""
    return b.emit_one("bitwise_not", b.emit_one("bitwise_and", x, y))


@rule((~x) ^ (~y))
def xor_of_complements(b: Builder, x: Value, y: Value) -> Value:
    """~x ^ ~y → x ^ y"""
    return b.emit_one("bitwise_xor", x, y)


@rule(op("bitwise_and", (x & c), d))
def and_literals(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """(x & c) & d → x & (c & d)"""
    return b.emit_one("bitwise_and", x, b.emit_one("bitwise_and", c, d))


@rule(op("bitwise_or", (x | c), d))
def or_literals(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """(x | c) | d → x | (c | d)"""
    return b.emit_one("bitwise_or", x, b.emit_one("bitwise_or", c, d))


@rule(op("bitwise_xor", (x ^ c), d))
def xor_literals(b: Builder, x: Value, c: Value, d: Value) -> Value:
    """(x ^ c) ^ d → x ^ (c ^ d)"""
    return b.emit_one("bitwise_xor", x, b.emit_one("bitwise_xor", c, d))


@rule(op(("shift_left", "shift_right"), x, 0))
def shift_by_zero(x: Value) -> Value:
    """x << 0 → x and x >> 0 → x"""
    return x


@rule(op(("shift_left", "shift_right"), 0, x))
def shift_zero(b: Builder, x: Value) -> Value:
    """0 << x → 0 and 0 >> x → 0"""
    return b.zeros_like(x)


@rule(op(("shift_left", "shift_right"), x, c), when=lambda x, c: every(c, lambda a: (a < 0) | (a >= x.dtype.bits)))
def shift_everything_out(b: Builder, x: Value) -> Value:
    """x << c → 0 and x >> c → 0, for c at least the width, or negative"""
    return b.zeros_like(x)


@rule(op(("shift_left", "shift_right"), op(("shift_left", "shift_right"), x, c).as_("inner"), d))
def shift_twice(b: Builder, root: Node, inner: Value, x: Value, c: Value, d: Value) -> Value | None:
    """(x << c) << d → x << (c + d) and (x >> c) >> d → x >> (c + d), while c + d is less than the width"""
    if inner.node.op is not root.op:
        return None
    width = x.dtype.bits
    if not (every(c, lambda a: (a >= 0) & (a < width // 2)) and every(d, lambda a: (a >= 0) & (a <= width // 2))):
        return None
    return b.emit_one(root.op, x, b.emit_one("add", c, d))
