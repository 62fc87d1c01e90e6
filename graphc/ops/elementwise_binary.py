"""Elementwise arithmetic with two operands of one type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.ir.primitive import Residuals, ScalarHandler, register
from graphc.ir.types import TensorType
from graphc.ops.elementwise import (
    ANYTHING,
    FLOATS,
    NUMBERS,
    READS_OPERANDS,
    Elementwise,
    Stepwise,
    scaled,
)

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value


class Binary(Elementwise):
    """Base of arithmetic on two operands. Subclasses give ``gradients``, asked for with a float cotangent only."""

    arity = 2
    accepts: ClassVar[tuple[str, ...]] = NUMBERS

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None or not node.types[0].dtype.is_inexact:
            return (None, None)
        return self.gradients(b, ct, node, needed)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        """The operands' cotangents, None where not ``needed``."""
        raise NotImplementedError


@register
class Add(Binary):
    """``x + y``; integers wrap. Not for bools (use bitwise_or)."""

    name = "add"
    function = staticmethod(np.add)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        return (ct if needed[0] else None, ct if needed[1] else None)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.binary("+", *operands)


@register
class Sub(Binary):
    """``x - y``; integers wrap. Not for bools (use bitwise_xor)."""

    name = "sub"
    function = staticmethod(np.subtract)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        return (ct if needed[0] else None, b.neg(ct) if needed[1] else None)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.binary("-", *operands)


@register
class Mul(Binary):
    """``x * y``; integers wrap. Not for bools (use bitwise_and)."""

    name = "mul"
    residuals = READS_OPERANDS
    function = staticmethod(np.multiply)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        x, y = node.inputs
        return (b.mul(ct, y) if needed[0] else None, b.mul(ct, x) if needed[1] else None)

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(other for other, wanted in ((0, needed[1]), (1, needed[0])) if wanted))

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.binary("*", *operands)


@register
class Div(Binary):
    """``x / y`` of floats, by IEEE 754: ±inf or NaN where y is 0. Integers have floor_divide."""

    name = "div"
    accepts = FLOATS
    residuals = Residuals(operands=(1,), results=(0,))
    function = staticmethod(np.true_divide)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        quotient = b.div(ct, node.inputs[1])
        return (
            quotient if needed[0] else None,
            b.neg(b.mul(quotient, node.results[0])) if needed[1] else None,
        )

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return self.residuals if needed[1] else Residuals(operands=(1,))

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.binary("/", *operands)


@register
class FloorDivide(Stepwise):
    """``⌊x / y⌋`` of integers or floats, as Python's ``//``: ``-7 // 2 = -4``. No gradient.

    Integers: anything // 0 is 0, and INT_MIN // -1 wraps to INT_MIN. Floats: x // 0 is x / 0, and infinite x gives NaN.
    """

    name = "floor_divide"
    arity = 2
    accepts = NUMBERS
    function = staticmethod(np.floor_divide)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        x, y = operands
        zero = h.constant(0, x.dtype)
        one = h.constant(1, x.dtype)
        if not x.dtype.is_floating:
            quotient = h.math("idiv", x, safe_divisor(h, y))
            if x.dtype.kind == "int":
                quotient = h.select(h.compare("==", y, h.constant(-1, y.dtype)), h.binary("-", zero, x), quotient)
            return h.select(h.compare("==", y, zero), zero, quotient)
        # (x - fmod) / y is an integer up to rounding, so it is floored only after being brought next to it.
        fmod = h.math("fmod", x, y)
        exact = h.binary("/", h.binary("-", x, fmod), y)
        below = h.binary("&", h.compare("!=", fmod, zero), differ_in_sign(h, fmod, y))
        exact = h.select(below, h.binary("-", exact, one), exact)
        floor = h.math("floor", exact)
        short = h.compare(">", h.binary("-", exact, floor), h.constant(0.5, x.dtype))
        floor = h.select(short, h.binary("+", floor, one), floor)
        quotient = h.binary("/", x, y)
        signed_zero = h.select(h.compare("==", quotient, zero), quotient, zero)
        result = h.select(h.compare("==", exact, zero), signed_zero, floor)
        return h.select(h.compare("==", y, zero), quotient, result)


@register
class Remainder(Binary):
    """``x - y * floor_divide(x, y)`` of integers or floats, with the sign of y, as Python's ``%``: ``-7 % 2 = 1``.

    Integers: anything % 0 is 0. Floats: x % 0 and inf % y are NaN; a zero has the sign of y.
    """

    name = "remainder"
    residuals = READS_OPERANDS
    function = staticmethod(np.remainder)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        return (
            ct if needed[0] else None,
            b.neg(b.mul(ct, b.floor_divide(*node.inputs))) if needed[1] else None,
        )

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return self.residuals if needed[1] else Residuals()

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        x, y = operands
        if not x.dtype.is_floating:
            return h.math("irem", x, safe_divisor(h, y))
        zero = h.constant(0.0, x.dtype)
        fmod = h.math("fmod", x, y)
        signed_zero = h.select(h.compare("<", y, zero), h.constant(-0.0, x.dtype), zero)
        moved = h.select(differ_in_sign(h, fmod, y), h.binary("+", fmod, y), fmod)
        return h.select(h.compare("==", fmod, zero), signed_zero, moved)


def safe_divisor(h: ScalarHandler, y: Any) -> Any:
    """``y`` with 1 in place of 0 and -1, on which integer division traps or overflows; 0 = x % 1 is their remainder."""
    one = h.constant(1, y.dtype)
    y_or_one = h.select(h.compare("==", y, h.constant(0, y.dtype)), one, y)
    if y.dtype.kind == "uint":
        return y_or_one
    return h.select(h.compare("==", y, h.constant(-1, y.dtype)), one, y_or_one)


def differ_in_sign(h: ScalarHandler, x: Any, y: Any) -> Any:
    """Whether exactly one of two floats is below 0."""
    zero = h.constant(0.0, x.dtype)
    return h.binary("^", h.compare("<", x, zero), h.compare("<", y, zero))


@register
class Pow(Binary):
    """``x ** y`` of integers (wrapping) or floats (IEEE 754 pow: ``0 ** 0 = 1``, NaN for negative x with fractional y).

    Integers with a negative exponent: 1 gives 1, -1 gives ±1, everything else (0 too) gives 0. Gradients: 0 for x at
    x = y = 0, and 0 for y where x = 0 and y ≥ 0.
    """

    name = "pow"
    residuals = Residuals(operands=(0, 1), results=(0,))

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        x, y = arrays
        if x.dtype.kind != "i":
            return np.power(x, y)
        negative = y < 0
        power = np.power(x, np.where(negative, 0, y).astype(y.dtype, copy=False))
        of_one = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0))
        return np.where(negative, of_one.astype(x.dtype, copy=False), power)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        x, y = node.inputs
        zero, one = b.full_like(x, 0.0), b.full_like(x, 1.0)
        x_is_zero = b.eq(x, zero)
        of_x = of_y = None
        if needed[0]:
            # At x = y = 0 the exponent -1 would make 0 * inf; 0 in its place keeps higher derivatives finite too.
            at_origin = b.bitwise_and(x_is_zero, b.eq(y, zero))
            exponent = b.sub(b.select(at_origin, one, y), one)
            of_x = b.mul(ct, b.mul(y, b.pow(x, exponent)))
        if needed[1]:
            flat = b.bitwise_and(x_is_zero, b.ge(y, zero))
            of_y = b.mul(ct, b.mul(node.results[0], b.log(b.select(flat, one, x))))
        return (of_x, of_y)

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return self.residuals if needed[1] else READS_OPERANDS

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        x, y = operands
        if x.dtype.is_floating:
            return h.math("pow", x, y)
        if x.dtype.kind == "uint":
            return h.math("ipow", x, y)
        zero, one, minus_one = (h.constant(c, x.dtype) for c in (0, 1, -1))
        negative = h.compare("<", y, zero)
        power = h.math("ipow", x, h.select(negative, zero, y))
        odd = h.compare("==", h.binary("&", y, one), one)
        of_minus_one = h.select(h.compare("==", x, minus_one), h.select(odd, minus_one, one), zero)
        return h.select(negative, h.select(h.compare("==", x, one), one, of_minus_one), power)


@register
class Atan2(Binary):
    """The angle in (-π, π] of the point with ordinate y (first operand) and abscissa x (second), both floats."""

    name = "atan2"
    accepts = FLOATS
    residuals = READS_OPERANDS
    function = staticmethod(np.arctan2)

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        y, x = node.inputs
        per_square = b.div(ct, b.add(b.mul(x, x), b.mul(y, y)))
        return (
            b.mul(per_square, x) if needed[0] else None,
            b.neg(b.mul(per_square, y)) if needed[1] else None,
        )

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.math("atan2", *operands)


class _Extremum(Binary):
    """Base of maximum and minimum: on ties, half of the cotangent goes to either operand."""

    accepts = ANYTHING
    residuals = READS_OPERANDS
    wins: ClassVar[str]  # the comparison that the chosen operand satisfies
    on_bools: ClassVar[str]

    def gradients(self, b: Builder, ct: Value, node: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        x, y = node.inputs
        shared = b.select(b.eq(x, y), scaled(b, ct, 0.5), b.zeros_like(ct))
        x_wins = b.gt(x, y) if self.wins == ">" else b.lt(x, y)
        y_wins = b.lt(x, y) if self.wins == ">" else b.gt(x, y)
        return (
            b.select(x_wins, ct, shared) if needed[0] else None,
            b.select(y_wins, ct, shared) if needed[1] else None,
        )

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        x, y = operands
        if x.dtype.is_floating:
            return h.math(self.name, x, y)
        if x.dtype.is_bool:
            return h.binary(self.on_bools, x, y)
        return h.select(h.compare(self.wins, x, y), x, y)


def has_zeros(x: Any) -> bool:
    """Whether a float array has zeros, whose signs NumPy's maximum and minimum leave to chance."""
    return bool(x.dtype.kind == "f" and np.count_nonzero(x) != x.size)


@register
class Maximum(_Extremum):
    """The larger operand (bools: logical or): IEEE 754-2019 maximum. NaN if one of them is NaN; 0.0 is above -0.0."""

    name = "maximum"
    wins = ">"
    on_bools = "|"

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        x, y = arrays
        result = np.maximum(x, y)
        return np.where((x == 0) & (y == 0), x + y, result) if has_zeros(result) else result


@register
class Minimum(_Extremum):
    """The smaller operand (bools: logical and): IEEE 754-2019 minimum. NaN if one of them is NaN; -0.0 is below 0.0."""

    name = "minimum"
    wins = "<"
    on_bools = "&"

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        x, y = arrays
        result = np.minimum(x, y)
        return np.where((x == 0) & (y == 0), -(-x - y), result) if has_zeros(result) else result
