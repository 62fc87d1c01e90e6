"""Functions of one float: signs, rounding, exponentials, roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.rewrite.pattern import RuleList, Var, never, op, unsigned

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

FUNCTIONS = RuleList("functions")
rule = FUNCTIONS.rule

x, y = Var("x"), Var("y")
ROUNDINGS = ("floor", "ceil", "round", "trunc")
EVEN = ("cos", "cosh", "abs")


@rule(op("abs", op("abs", x).as_("inner")))
def abs_abs(inner: Value) -> Value:
    """||x|| → |x|"""
    return inner


@rule(op(EVEN, op(("neg", "abs"), x)), when=lambda root: root.op.name != "abs" or root.inputs[0].node.op.name == "neg")
def even_function(b: Builder, root: Node, x: Value) -> Value:
    """f(-x) → f(x) and f(|x|) → f(x), for the even f: cos, cosh, abs"""
    return b.emit_one(root.op, x)


@rule(op("abs", x) * op("abs", x))
def square_of_abs(b: Builder, x: Value) -> Value:
    """|x| · |x| → x · x"""
    return b.emit_one("mul", x, x)


@rule(op("abs", Var("n", unsigned)))
def abs_unsigned(n: Value) -> Value:
    """|n| → n, for unsigned n"""
    return n


@rule(op("sign", op("sign", x).as_("inner")))
def sign_sign(inner: Value) -> Value:
    """sign(sign(x)) → sign(x)"""
    return inner


@rule(op(ROUNDINGS, op(ROUNDINGS, x).as_("inner")))
def round_rounded(inner: Value) -> Value:
    """floor(ceil(x)) → ceil(x), and so for each two of floor, ceil, round, trunc"""
    return inner


@rule(op("exp", op("log", x)), exact=never)
def exp_log(x: Value) -> Value:
    """exp(log(x)) → x"""
    return x


@rule(op("log", op("exp", x)), exact=never)
def log_exp(x: Value) -> Value:
    """log(exp(x)) → x"""
    return x


@rule(op("exp2", op("log2", x)), exact=never)
def exp2_log2(x: Value) -> Value:
    """exp2(log2(x)) → x"""
    return x


@rule(op("log2", op("exp2", x)), exact=never)
def log2_exp2(x: Value) -> Value:
    """log2(exp2(x)) → x"""
    return x


@rule(op("exp", x).once() + -1, exact=never)
def exp_minus_one(b: Builder, x: Value) -> Value:
    """exp(x) - 1 → expm1(x)"""
    return b.emit_one("expm1", x)


@rule(op("log", (x + 1).once()), exact=never)
def log_one_plus(b: Builder, x: Value) -> Value:
    """log(x + 1) → log1p(x)"""
    return b.emit_one("log1p", x)


@rule(op("exp", x).once() * op("exp", y).once(), exact=never)
def mul_exponentials(b: Builder, x: Value, y: Value) -> Value:
    """exp(x) · exp(y) → exp(x + y)"""
    return b.emit_one("exp", b.emit_one("add", x, y))


@rule(op("exp", x).once() / op("exp", y).once(), exact=never)
def div_exponentials(b: Builder, x: Value, y: Value) -> Value:
    """exp(x) / exp(y) → exp(x - y)"""
    return b.emit_one("exp", b.emit_one("sub", x, y))


@rule(1 / (op("exp", -x) + 1), exact=never)
def logistic_written_out(b: Builder, x: Value) -> Value:
    """1 / (exp(-x) + 1) → logistic(x)"""
    return b.emit_one("logistic", x)


@rule(1 / op("exp", x).once(), exact=never)
def reciprocal_of_exp(b: Builder, x: Value) -> Value:
    """1 / exp(x) → exp(-x)"""
    return b.emit_one("exp", b.emit_one("neg", x))


@rule(op("sqrt", x) * op("sqrt", x), exact=never)
def square_of_root(x: Value) -> Value:
    """√x · √x → x"""
    return x


@rule(op("sqrt", x * x), exact=never)
def root_of_square(b: Builder, x: Value) -> Value:
    """√(x · x) → |x|"""
    return b.emit_one("abs", x)


@rule(1 / op("sqrt", x).once(), exact=never)
def reciprocal_root(b: Builder, x: Value) -> Value:
    """1 / √x → rsqrt(x)"""
    return b.emit_one("rsqrt", x)


@rule(x / op("sqrt", x), exact=never)
def div_by_own_root(b: Builder, x: Value) -> Value:
    """x / √x → √x"""
    return b.emit_one("sqrt", x)


@rule(op("sin", x) / op("cos", x), exact=never)
def tangent_written_out(b: Builder, x: Value) -> Value:
    """sin(x) / cos(x) → tan(x)"""
    return b.emit_one("tan", x)
