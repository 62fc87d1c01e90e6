"""Running reductions along one axis: cumulative sum, prod, max, min.

The 16-bit floats accumulate in float32, each partial result rounded once. Integers wrap. NaN wins max and min from
where it stands on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import int64
from graphc.ir.primitive import Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.checking import OneOperand, check_axis, check_numeric, take
from graphc.ops.reduction import convert, exclusive_product, highest, in_compute_dtype, lowest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value


class Cumulative(OneOperand):
    """Base: element k of the result reduces elements 0…k along ``axis`` (``reverse``: k to the end)."""

    attributes = ("axis", "reverse")
    defaults: ClassVar[dict[str, Any]] = {"reverse": False}
    ufunc: ClassVar[np.ufunc]

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int, reverse: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_numeric(self.name, x)
        check_axis(self.name, axis, x)
        return (x,)

    def evaluate(self, x: Any, *, axis: int, reverse: bool) -> Any:
        wide = in_compute_dtype(x)
        if reverse:
            wide = np.flip(wide, axis)
        with np.errstate(all="ignore"):
            running = self.ufunc.accumulate(wide, axis=axis, dtype=wide.dtype).astype(x.dtype, copy=False)
        return np.flip(running, axis) if reverse else running

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axis=node.attributes["axis"] + 1, reverse=node.attributes["reverse"])


@register
class CumulativeSum(Cumulative):
    """The running sum along ``axis``."""

    name = "cumulative_sum"
    ufunc = np.add

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        axis, reverse = node.attributes["axis"], node.attributes["reverse"]
        gradient: Value = b.cumulative_sum(cotangent, axis=axis, reverse=not reverse)
        return gradient


@register
class CumulativeProd(Cumulative):
    """The running product along ``axis``.

    The gradient of element i is (product before i) · s(i), where s(i) = c(i) + x(i+1)·s(i+1) and c is the cotangent:
    exact with zeros, since nothing is divided.
    """

    name = "cumulative_prod"
    ufunc = np.multiply
    residuals: ClassVar[Residuals] = Residuals(operands=(0,))

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        axis, reverse = node.attributes["axis"], node.attributes["reverse"]
        dtype = cotangent.dtype
        x, cotangent = convert(b, node.inputs[0], dtype.compute), convert(b, cotangent, dtype.compute)
        before = exclusive_product(b, x, axis, reverse=reverse)
        if reverse:
            x, cotangent = b.reverse(x, axes=(axis,)), b.reverse(cotangent, axes=(axis,))
        size = x.shape[axis]
        if isinstance(size, int):
            sums = _weighted_suffix_sum(b, x, cotangent, axis, size)
        else:
            sums = _weighted_suffix_sum_by_table(b, x, cotangent, axis)
        if reverse:
            sums = b.reverse(sums, axes=(axis,))
        return convert(b, b.mul(before, sums), dtype)


def _shift_left(b: Builder, x: Value, axis: int, by: int, fill: float) -> Value:
    """Element i becomes element i + ``by`` along ``axis``, and ``fill`` behind the end."""
    moved = tuple(by if a == axis else 0 for a in range(x.ndim))
    removed = tuple(-m for m in moved)
    shifted: Value = b.pad(x, b.full((), fill, x.dtype), low=removed, high=moved, interior=(0,) * x.ndim)
    return shifted


def _weighted_suffix_sum(b: Builder, x: Value, c: Value, axis: int, size: int) -> Value:
    """s(i) = c(i) + x(i+1)·s(i+1), in log2(size) doubling steps: after each, s covers twice as many terms."""
    factors = _shift_left(b, x, axis, 1, 0)
    sums, reach = c, 1
    while reach < size:
        sums = b.add(sums, b.mul(factors, _shift_left(b, sums, axis, reach, 0)))
        factors = b.mul(factors, _shift_left(b, factors, axis, reach, 0))
        reach *= 2
    return sums


def _weighted_suffix_sum_by_table(b: Builder, x: Value, c: Value, axis: int) -> Value:
    """The same for a symbolic size (an unknown number of doublings), with the table of x(i+1)⋯x(k) over all i < k."""
    shape = (*x.shape[: axis + 1], x.shape[axis], *x.shape[axis + 1 :])
    columns = tuple(a for a in range(len(shape)) if a != axis)
    row = b.iota(dtype=int64, shape=shape, axis=axis)
    column = b.iota(dtype=int64, shape=shape, axis=axis + 1)
    spread = b.broadcast_in_dim(x, shape=shape, dims=columns)
    factors = b.select(b.gt(column, row), spread, b.full(shape, 1, x.dtype))
    products = b.cumulative_prod(factors, axis=axis + 1)
    terms = b.mul(products, b.broadcast_in_dim(c, shape=shape, dims=columns))
    kept = b.select(b.ge(column, row), terms, b.zeros_like(terms))
    sums: Value = b.reduce_sum(kept, axes=(axis + 1,))
    return sums


class CumulativeExtreme(Cumulative):
    """Base of cumulative_max and cumulative_min. Of elements that tie the first takes the gradient."""

    residuals: ClassVar[Residuals] = Residuals(operands=(0,), results=(0,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int, reverse: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_axis(self.name, axis, x)
        return (x,)

    def identity(self, x: Value) -> Any:
        """What every element beats or ties with."""
        raise NotImplementedError

    def not_beaten(self, b: Builder, previous: Value, x: Value) -> Value:
        """Where the running winner ``previous`` stays ahead of ``x``."""
        raise NotImplementedError

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        axis, reverse = node.attributes["axis"], node.attributes["reverse"]
        x, running = node.inputs[0], node.results[0]
        if reverse:
            x, running, cotangent = (b.reverse(v, axes=(axis,)) for v in (x, running, cotangent))
        ends = tuple(int(a == axis) for a in range(x.ndim))
        removed = tuple(-e for e in ends)
        first = b.full((), self.identity(x), x.dtype)
        previous = b.pad(running, first, low=ends, high=removed, interior=(0,) * x.ndim)
        is_number = b.eq(previous, previous)
        takes_over = b.bitwise_and(b.bitwise_not(self.not_beaten(b, previous, x)), is_number)
        positions = [b.iota(dtype=int64, shape=x.shape, axis=a) for a in range(x.ndim)]
        since = b.select(takes_over, positions[axis], b.zeros_like(positions[axis]))
        positions[axis] = b.cumulative_max(since, axis=axis)
        gradient: Value = b.scatter_add(b.zeros_like(x), cotangent, *positions, axes=tuple(range(x.ndim)))
        return b.reverse(gradient, axes=(axis,)) if reverse else gradient


@register
class CumulativeMax(CumulativeExtreme):
    """The running maximum along ``axis``."""

    name = "cumulative_max"
    ufunc = np.maximum

    def identity(self, x: Value) -> Any:
        return lowest(x.dtype)

    def not_beaten(self, b: Builder, previous: Value, x: Value) -> Value:
        ahead: Value = b.ge(previous, x)
        return ahead


@register
class CumulativeMin(CumulativeExtreme):
    """The running minimum along ``axis``."""

    name = "cumulative_min"
    ufunc = np.minimum

    def identity(self, x: Value) -> Any:
        return highest(x.dtype)

    def not_beaten(self, b: Builder, previous: Value, x: Value) -> Value:
        ahead: Value = b.le(previous, x)
        return ahead
