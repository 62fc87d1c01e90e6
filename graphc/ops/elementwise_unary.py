"""Elementwise primitives with one operand: sign and rounding, exponentials, logarithms, roots, predicates on floats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.primitive import Residuals, ScalarHandler, register
from graphc.ops.elementwise import NUMBERS, READS_RESULT, Stepwise, Unary, scaled

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Value


@register
class Neg(Unary):
    """``-x`` of integers (wrapping, unsigned ones too) and floats. ``neg([1, -2]) = [-1, 2]``."""

    name = "neg"
    accepts = NUMBERS
    residuals = Residuals()
    function = staticmethod(np.negative)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.neg(ct)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        if x.dtype.is_floating:  # 0 - x would turn 0.0 into 0.0, not into -0.0
            return h.binary("*", x, h.constant(-1.0, x.dtype))
        return h.binary("-", h.constant(0, x.dtype), x)


@register
class Abs(Unary):
    """``|x|`` of integers and floats; INT_MIN stays what it is. The gradient is sign(x), so 0 at 0."""

    name = "abs"
    accepts = NUMBERS
    function = staticmethod(np.abs)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.sign(read))

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        if x.dtype.is_floating:
            return h.math("abs", x)
        if x.dtype.kind == "uint":
            return x
        zero = h.constant(0, x.dtype)
        return h.select(h.compare("<", x, zero), h.binary("-", zero, x), x)


@register
class Sign(Stepwise):
    """-1, 0 or 1 by the sign of an integer or float; NaN for NaN, 0.0 for both zeros. No gradient."""

    name = "sign"
    accepts = NUMBERS
    function = staticmethod(np.sign)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        zero, one = h.constant(0, x.dtype), h.constant(1, x.dtype)
        if x.dtype.kind == "uint":
            return h.select(h.compare(">", x, zero), one, zero)
        otherwise = zero
        if x.dtype.is_floating:
            otherwise = h.select(h.compare("==", x, zero), zero, x)
        negative = h.select(h.compare("<", x, zero), h.constant(-1, x.dtype), otherwise)
        return h.select(h.compare(">", x, zero), one, negative)


class _Rounding(Stepwise):
    """Base of the roundings to an integer that stays a float."""

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.math(self.name, *operands)


@register
class Floor(_Rounding):
    """The largest integer that is not above a float. No gradient."""

    name = "floor"
    function = staticmethod(np.floor)


@register
class Ceil(_Rounding):
    """The smallest integer that is not below a float. No gradient."""

    name = "ceil"
    function = staticmethod(np.ceil)


@register
class Round(_Rounding):
    """The nearest integer of a float, halves to the even one (IEEE 754 roundToIntegralTiesToEven). No gradient."""

    name = "round"
    function = staticmethod(np.rint)


@register
class Trunc(_Rounding):
    """The integer part of a float, towards zero. No gradient."""

    name = "trunc"
    function = staticmethod(np.trunc)


@register
class Exp(Unary):
    """eˣ of a float."""

    name = "exp"
    residuals = READS_RESULT
    function = staticmethod(np.exp)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, read)


@register
class Exp2(Unary):
    """2ˣ of a float."""

    name = "exp2"
    residuals = READS_RESULT
    function = staticmethod(np.exp2)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, scaled(b, read, math.log(2.0)))


@register
class Expm1(Unary):
    """eˣ - 1 of a float, accurate near 0."""

    name = "expm1"
    residuals = READS_RESULT
    function = staticmethod(np.expm1)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.add(read, b.full_like(read, 1.0)))


@register
class Log(Unary):
    """The natural logarithm of a float: -inf at 0, NaN below."""

    name = "log"
    function = staticmethod(np.log)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, read)


@register
class Log2(Unary):
    """The logarithm to base 2 of a float."""

    name = "log2"
    function = staticmethod(np.log2)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, scaled(b, read, math.log(2.0)))


@register
class Log10(Unary):
    """The logarithm to base 10 of a float."""

    name = "log10"
    function = staticmethod(np.log10)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, scaled(b, read, math.log(10.0)))


@register
class Log1p(Unary):
    """The natural logarithm of 1 + x for a float, accurate near 0."""

    name = "log1p"
    function = staticmethod(np.log1p)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, b.add(read, b.full_like(read, 1.0)))


@register
class Sqrt(Unary):
    """The square root of a float: NaN below 0, -0.0 for -0.0."""

    name = "sqrt"
    residuals = READS_RESULT
    function = staticmethod(np.sqrt)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(scaled(b, ct, 0.5), read)


@register
class Rsqrt(Unary):
    """1/√x of a float: inf at 0, NaN below."""

    name = "rsqrt"
    residuals = READS_RESULT

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        return np.reciprocal(np.sqrt(arrays[0]))

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(scaled(b, ct, -0.5), b.mul(read, b.mul(read, read)))


@register
class Logistic(Unary):
    """1/(1 + e⁻ˣ) of a float, the sigmoid; never overflows on the way."""

    name = "logistic"
    residuals = READS_RESULT

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        (x,) = arrays
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.mul(read, b.sub(b.full_like(read, 1.0), read)))


@register
class IsFinite(Stepwise):
    """Whether a float is neither infinite nor NaN; a bool."""

    name = "is_finite"
    predicate = True
    function = staticmethod(np.isfinite)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        return h.compare("<", h.math("abs", x), h.constant(math.inf, x.dtype))


@register
class IsNan(Stepwise):
    """Whether a float is NaN; a bool."""

    name = "is_nan"
    predicate = True
    function = staticmethod(np.isnan)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        return h.compare("!=", x, x)
