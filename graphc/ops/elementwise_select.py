"""Elementwise choice and conversion: select, clamp, convert_element_type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from graphc.dtypes import DType, bool_
from graphc.errors import DTypeError
from graphc.ir.primitive import Residuals, ScalarHandler, register
from graphc.ir.types import TensorType
from graphc.ops.checking import describe, take
from graphc.ops.elementwise import (
    ANYTHING,
    NUMBERS,
    READS_OPERAND,
    Elementwise,
    narrow_float,
    require_same,
    require_same_shape,
)
from graphc.ops.quiet import quietly

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value


@register
class Select(Elementwise):
    """``on_true`` where the bool ``predicate`` holds, otherwise ``on_false``.

    All three operands have one shape, the last two one dtype. No gradient reaches the value that is not
    chosen, whatever is in it.
    """

    name = "select"
    arity = 3
    accepts = ANYTHING
    residuals = READS_OPERAND

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        predicate, on_true, on_false = take(self.name, inputs, 3)
        if predicate.dtype is not bool_:
            raise DTypeError(
                f"select: the predicate must be bool, not {predicate.dtype}: {describe(inputs)}",
                hint="compare it with zero first",
            )
        require_same_shape(self.name, inputs)
        require_same(self.name, (on_true, on_false))
        return (on_true,)

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        predicate, on_true, on_false = arrays
        return np.where(predicate, on_true, on_false)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None or not node.types[0].dtype.is_inexact:
            return (None, None, None)
        predicate = node.inputs[0]
        zero = b.zeros_like(ct)
        return (
            None,
            b.select(predicate, ct, zero) if needed[1] else None,
            b.select(predicate, zero, ct) if needed[2] else None,
        )

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        return h.select(*operands)


@register
class Clamp(Elementwise):
    """``minimum(maximum(x, low), high)`` for operands (low, x, high) of one type, integers or floats.

    NaN in any operand gives NaN; where low > high the result is high. The gradient goes to x from low to high, both
    included, otherwise to the bound that is the result.
    """

    name = "clamp"
    arity = 3
    accepts = NUMBERS
    residuals = Residuals(operands=(0, 1, 2))

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        low, x, high = arrays
        return np.minimum(np.maximum(x, low), high)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None or not node.types[0].dtype.is_inexact:
            return (None, None, None)
        low, x, high = node.inputs
        zero = b.zeros_like(ct)
        of_low = of_x = of_high = None
        if needed[0]:
            of_low = b.select(b.bitwise_and(b.lt(x, low), b.le(low, high)), ct, zero)
        if needed[1]:
            of_x = b.select(b.bitwise_and(b.ge(x, low), b.le(x, high)), ct, zero)
        if needed[2]:
            of_high = b.select(b.bitwise_or(b.gt(x, high), b.gt(low, high)), ct, zero)
        return (of_low, of_x, of_high)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        low, x, high = operands
        if x.dtype.is_floating:
            return h.math("minimum", h.math("maximum", x, low), high)
        raised = h.select(h.compare(">", x, low), x, low)
        return h.select(h.compare("<", raised, high), raised, high)


@register
class ConvertElementType(Elementwise):
    """The operand's values in another ``dtype``. ``convert_element_type([1.5, nan, 1e9]){dtype = i8} = [1, 0, 127]``.

    Float → integer truncates, saturates at the limits, and gives 0 for NaN. Integer → integer wraps. Anything → bool is
    ``x != 0``. Conversions to a 16-bit float go through float32. The gradient is converted back, between floats only.
    """

    name = "convert_element_type"
    attributes = ("dtype",)
    accepts = ANYTHING

    def infer(self, inputs: tuple[TensorType, ...], /, *, dtype: DType) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        if not isinstance(dtype, DType):
            raise DTypeError(
                f"convert_element_type: dtype must be a graphc dtype, not {dtype!r}",
                hint="graphc.dtypes.as_dtype makes one of a NumPy dtype or a name",
            )
        return (x.with_dtype(dtype),)

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        return quietly(_converted, *arrays, **attributes)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        source: DType = node.inputs[0].dtype
        if ct is None or not needed[0] or not (source.is_inexact and node.types[0].dtype.is_inexact):
            return (None,)
        return (b.convert_element_type(ct, dtype=source),)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        dtype: DType = attributes["dtype"]
        if dtype.is_bool:
            return x if x.dtype.is_bool else h.compare("!=", x, h.constant(0, x.dtype))
        return x if dtype.compute is x.dtype else h.convert(x, dtype.compute)


def saturate(x: npt.NDArray[np.floating[Any]], dtype: DType) -> npt.NDArray[Any]:
    """The floats ``x`` truncated to the integer ``dtype``: its limits where they are beyond, 0 where they are NaN."""
    limits = np.iinfo(dtype.numpy)
    bound = 2.0 ** (dtype.bits - (dtype.kind == "int"))  # max + 1: a float, which max itself may not be
    above, below = x >= bound, x <= float(limits.min)
    inside = np.where(above | below | np.isnan(x), 0, x).astype(dtype.numpy)
    return np.where(above, limits.max, np.where(below, limits.min, inside)).astype(dtype.numpy, copy=False)


def _converted(x: npt.NDArray[Any], dtype: DType) -> npt.NDArray[Any]:
    if narrow_float(x) is not None and x.dtype != dtype.numpy:
        x = x.astype(np.float32)
    if dtype.is_bool:
        return np.asarray(x != 0)
    if dtype.is_integer and x.dtype.kind == "f":
        return saturate(x, dtype)
    if dtype.compute is not dtype and x.dtype.itemsize > 2:
        x = x.astype(np.float32)
    return np.asarray(x.astype(dtype.numpy))
