"""Trigonometric and hyperbolic primitives and their inverses, all on floats, angles in radians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.primitive import register
from graphc.ops.elementwise import READS_RESULT, Unary, one_minus_square

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Value


@register
class Sin(Unary):
    """The sine; NaN for infinities."""

    name = "sin"
    function = staticmethod(np.sin)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.cos(read))


@register
class Cos(Unary):
    """The cosine; NaN for infinities."""

    name = "cos"
    function = staticmethod(np.cos)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.neg(b.mul(ct, b.sin(read)))


@register
class Tan(Unary):
    """The tangent; NaN for infinities."""

    name = "tan"
    residuals = READS_RESULT
    function = staticmethod(np.tan)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.add(b.full_like(read, 1.0), b.mul(read, read)))


@register
class Asin(Unary):
    """The inverse sine, in [-π/2, π/2]; NaN outside of [-1, 1]."""

    name = "asin"
    function = staticmethod(np.arcsin)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.rsqrt(one_minus_square(b, read)))


@register
class Acos(Unary):
    """The inverse cosine, in [0, π]; NaN outside of [-1, 1]."""

    name = "acos"
    function = staticmethod(np.arccos)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.neg(b.mul(ct, b.rsqrt(one_minus_square(b, read))))


@register
class Atan(Unary):
    """The inverse tangent, in [-π/2, π/2]."""

    name = "atan"
    function = staticmethod(np.arctan)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, b.add(b.full_like(read, 1.0), b.mul(read, read)))


@register
class Sinh(Unary):
    """The hyperbolic sine."""

    name = "sinh"
    function = staticmethod(np.sinh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.cosh(read))


@register
class Cosh(Unary):
    """The hyperbolic cosine."""

    name = "cosh"
    function = staticmethod(np.cosh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.sinh(read))


@register
class Tanh(Unary):
    """The hyperbolic tangent."""

    name = "tanh"
    residuals = READS_RESULT
    function = staticmethod(np.tanh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, one_minus_square(b, read))


@register
class Asinh(Unary):
    """The inverse hyperbolic sine."""

    name = "asinh"
    function = staticmethod(np.arcsinh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.rsqrt(b.add(b.full_like(read, 1.0), b.mul(read, read))))


@register
class Acosh(Unary):
    """The inverse hyperbolic cosine, at least 0; NaN below 1."""

    name = "acosh"
    function = staticmethod(np.arccosh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        one = b.full_like(read, 1.0)
        return b.mul(ct, b.rsqrt(b.mul(b.sub(read, one), b.add(read, one))))


@register
class Atanh(Unary):
    """The inverse hyperbolic tangent: ±inf at ±1, NaN beyond."""

    name = "atanh"
    function = staticmethod(np.arctanh)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.div(ct, one_minus_square(b, read))
