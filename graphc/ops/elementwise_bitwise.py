"""Comparisons, bitwise logic and shifts. None of them has a gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc.ir.primitive import ScalarHandler, register
from graphc.ops.elementwise import ANYTHING, BITS, INTEGERS, Stepwise


class _Comparison(Stepwise):
    """Base of the comparisons of two operands of one type; the result is bool. False is less than True."""

    arity = 2
    accepts = ANYTHING
    predicate = True
    symbol: ClassVar[str]

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.compare(self.symbol, *operands)


@register
class Eq(_Comparison):
    """``x == y``; false with NaN."""

    name = "eq"
    symbol = "=="
    function = staticmethod(np.equal)


@register
class Ne(_Comparison):
    """``x != y``; true with NaN."""

    name = "ne"
    symbol = "!="
    function = staticmethod(np.not_equal)


@register
class Lt(_Comparison):
    """``x < y``; false with NaN."""

    name = "lt"
    symbol = "<"
    function = staticmethod(np.less)


@register
class Le(_Comparison):
    """``x <= y``; false with NaN."""

    name = "le"
    symbol = "<="
    function = staticmethod(np.less_equal)


@register
class Gt(_Comparison):
    """``x > y``; false with NaN."""

    name = "gt"
    symbol = ">"
    function = staticmethod(np.greater)


@register
class Ge(_Comparison):
    """``x >= y``; false with NaN."""

    name = "ge"
    symbol = ">="
    function = staticmethod(np.greater_equal)


class _Bitwise(Stepwise):
    """Base of the bitwise logic of two integers, or logic of two bools."""

    arity = 2
    accepts = BITS
    symbol: ClassVar[str]

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.binary(self.symbol, *operands)


@register
class BitwiseAnd(_Bitwise):
    """``x & y`` of integers; logical and of bools."""

    name = "bitwise_and"
    symbol = "&"
    function = staticmethod(np.bitwise_and)


@register
class BitwiseOr(_Bitwise):
    """``x | y`` of integers; logical or of bools."""

    name = "bitwise_or"
    symbol = "|"
    function = staticmethod(np.bitwise_or)


@register
class BitwiseXor(_Bitwise):
    """``x ^ y`` of integers; exclusive or of bools."""

    name = "bitwise_xor"
    symbol = "^"
    function = staticmethod(np.bitwise_xor)


@register
class BitwiseNot(Stepwise):
    """``~x`` of an integer; logical not of a bool."""

    name = "bitwise_not"
    accepts = BITS
    function = staticmethod(np.invert)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.invert(*operands)


class _Shift(Stepwise):
    """Base of the shifts: by the width or more, or by a negative count, gives 0."""

    arity = 2
    accepts = INTEGERS
    symbol: ClassVar[str]

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        x, count = arrays
        valid = (count >= 0) & (count < 8 * x.dtype.itemsize)
        zero = np.zeros((), dtype=x.dtype)
        return np.where(valid, type(self).function(x, np.where(valid, count, zero)), zero)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        x, count = operands
        zero = h.constant(0, x.dtype)
        valid = h.compare("<", count, h.constant(x.dtype.bits, x.dtype))
        if x.dtype.kind == "int":
            valid = h.binary("&", valid, h.compare(">=", count, zero))
        return h.select(valid, h.binary(self.symbol, x, h.select(valid, count, zero)), zero)


@register
class ShiftLeft(_Shift):
    """``x << count`` of integers; 0 where the count is negative, or the width or more."""

    name = "shift_left"
    symbol = "<<"
    function = staticmethod(np.left_shift)


@register
class ShiftRight(_Shift):
    """``x >> count`` of integers, keeping the sign; 0 where the count is negative, or the width or more.

    Unlike an unbounded arithmetic shift, that is 0 for negative x too.
    """

    name = "shift_right"
    symbol = ">>"
    function = staticmethod(np.right_shift)
