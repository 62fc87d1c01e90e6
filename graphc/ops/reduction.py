"""Reductions over axes: sum, prod, max, min, any, all, argmax, argmin.

Sums and products of 16-bit floats accumulate in float32. Integers wrap. NaN wins every max, min, argmax and argmin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import DType, as_dtype, bool_, int64
from graphc.errors import ArgumentError, DTypeError
from graphc.ir.dims import product
from graphc.ir.primitive import Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.batching import behind
from graphc.ops.checking import NoGradient, OneOperand, check_axes, check_axis, check_numeric, take
from graphc.ops.elementwise import narrow_float, rounded
from graphc.ops.movement import inverse_permutation
from graphc.ops.quiet import quietly

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value


def kept_axes(ndim: int, axes: Sequence[int]) -> tuple[int, ...]:
    """The axes that a reduction over ``axes`` leaves."""
    return tuple(a for a in range(ndim) if a not in axes)


def lowest(dtype: DType) -> Any:
    """The identity of max: -inf, the least integer or False."""
    return _extreme(dtype, -np.inf)


def highest(dtype: DType) -> Any:
    """The identity of min: inf, the greatest integer or True."""
    return _extreme(dtype, np.inf)


def _extreme(dtype: DType, infinity: float) -> Any:
    if dtype.is_floating:
        return infinity
    if dtype.is_bool:
        return infinity > 0
    info = np.iinfo(dtype.numpy)
    return int(info.max if infinity > 0 else info.min)


def in_compute_dtype(x: Any) -> Any:
    """``x`` as an array of the dtype that arithmetic on it is done in (exact: it widens 16-bit floats)."""
    array = np.asarray(x)
    return array if narrow_float(array) is None else array.astype(np.float32)


def is_winner(b: Builder, x: Value, best: Value) -> Value:
    """Where ``x`` is the extreme value ``best``; where that is NaN, the elements that are NaN."""
    winner: Value = b.bitwise_or(b.eq(x, best), b.ne(x, x))
    return winner


def split_equally(b: Builder, cotangent: Value, count: Value) -> Value:
    """``cotangent / count`` in the cotangent's dtype; ``count`` is in the dtype it computes in."""
    return convert(b, b.div(convert(b, cotangent, count.dtype), count), cotangent.dtype)


def convert(b: Builder, x: Value, dtype: DType) -> Value:
    """``x`` as ``dtype``, without a node where it has it."""
    converted: Value = x if x.dtype is dtype else b.convert_element_type(x, dtype=dtype)
    return converted


class Reduction(OneOperand):
    """Base of the reductions over ``axes`` (distinct, increasing), which are removed; the dtype stays."""

    attributes = ("axes",)

    def check_dtype(self, x: TensorType) -> None:
        """Raise DTypeError for a dtype that the reduction does not take."""

    def infer(self, inputs: tuple[TensorType, ...], /, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        self.check_dtype(x)
        check_axes(self.name, axes, x)
        return (x.with_shape(x.shape[a] for a in kept_axes(x.ndim, axes)),)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axes=behind(node.attributes["axes"]))

    def spread(self, b: Builder, node: Node, value: Value) -> Value:
        """``value``, of the result's shape, repeated along the reduced axes."""
        x = node.inputs[0]
        spread: Value = b.broadcast_in_dim(value, shape=x.shape, dims=kept_axes(x.ndim, node.attributes["axes"]))
        return spread


@register
class ReduceSum(Reduction):
    """The sum over ``axes``; 0 where there is nothing to add."""

    name = "reduce_sum"

    def check_dtype(self, x: TensorType) -> None:
        check_numeric(self.name, x)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        wide = in_compute_dtype(x)
        total = quietly(np.add.reduce, wide, axis=axes, dtype=wide.dtype)
        return rounded(np.asarray(total), x.dtype)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        return self.spread(b, node, cotangent)


@register
class ReduceProd(Reduction):
    """The product over ``axes``; 1 where there is nothing to multiply.

    The gradient of an element is the product of the others, made of running products from both ends, so zeros need no
    division.
    """

    name = "reduce_prod"
    residuals: ClassVar[Residuals] = Residuals(operands=(0,))

    def check_dtype(self, x: TensorType) -> None:
        check_numeric(self.name, x)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        wide = in_compute_dtype(x)
        total = quietly(np.multiply.reduce, wide, axis=axes, dtype=wide.dtype)
        return rounded(np.asarray(total), x.dtype)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        axes = node.attributes["axes"]
        if not axes:
            return cotangent
        # Partial products may leave the range of a 16-bit float though the whole one does not.
        dtype = cotangent.dtype
        x = convert(b, node.inputs[0], dtype.compute)
        kept = kept_axes(x.ndim, axes)
        order = kept + axes
        moved = b.transpose(x, permutation=order)
        flat = b.reshape(moved, shape=(*(x.shape[a] for a in kept), product(x.shape[a] for a in axes)))
        last = len(kept)
        before = exclusive_product(b, flat, last, reverse=False)
        others = b.mul(before, exclusive_product(b, flat, last, reverse=True))
        in_place = b.transpose(b.reshape(others, shape=moved.shape), permutation=inverse_permutation(order))
        return convert(b, b.mul(convert(b, self.spread(b, node, cotangent), x.dtype), in_place), dtype)


def exclusive_product(b: Builder, x: Value, axis: int, *, reverse: bool) -> Value:
    """The product of the elements before (``reverse``: after) each one along ``axis``."""
    ends = tuple(int(a == axis) for a in range(x.ndim))
    removed = tuple(-e for e in ends)
    shifted: Value = b.pad(
        b.cumulative_prod(x, axis=axis, reverse=reverse),
        b.full((), 1, x.dtype),
        low=removed if reverse else ends,
        high=ends if reverse else removed,
        interior=(0,) * x.ndim,
    )
    return shifted


class Extreme(Reduction):
    """Base of reduce_max and reduce_min. Elements that tie share the gradient equally."""

    residuals: ClassVar[Residuals] = Residuals(operands=(0,), results=(0,))

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        x = node.inputs[0]
        winner = is_winner(b, x, self.spread(b, node, node.results[0]))
        ones = b.convert_element_type(winner, dtype=x.dtype.compute)
        share = split_equally(b, cotangent, b.reduce_sum(ones, axes=node.attributes["axes"]))
        gradient: Value = b.select(winner, self.spread(b, node, share), b.zeros_like(x))
        return gradient


@register
class ReduceMax(Extreme):
    """The greatest element over ``axes``: NaN if there is one; -inf, the least integer or False if there is none."""

    name = "reduce_max"

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        wide = in_compute_dtype(x)
        best = quietly(np.maximum.reduce, wide, axis=axes, initial=lowest(as_dtype(x.dtype)))
        return rounded(np.asarray(best), x.dtype)


@register
class ReduceMin(Extreme):
    """The least element over ``axes``: NaN if there is one; inf, the greatest integer or True if there is none."""

    name = "reduce_min"

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        wide = in_compute_dtype(x)
        best = quietly(np.minimum.reduce, wide, axis=axes, initial=highest(as_dtype(x.dtype)))
        return rounded(np.asarray(best), x.dtype)


class BoolReduction(Reduction):
    """Base of reduce_any and reduce_all, on bools."""

    def check_dtype(self, x: TensorType) -> None:
        if x.dtype is not bool_:
            raise DTypeError(f"{self.name}: takes bool, not {x}", hint="compare with 0 first")

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return (None,)


@register
class ReduceAny(BoolReduction):
    """Whether any element over ``axes`` is true; False if there is none."""

    name = "reduce_any"

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        return np.asarray(np.any(x, axis=axes))


@register
class ReduceAll(BoolReduction):
    """Whether every element over ``axes`` is true; True if there is none."""

    name = "reduce_all"

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        return np.asarray(np.all(x, axis=axes))


class ArgExtreme(NoGradient):
    """Base of argmax and argmin: the int64 position along ``axis``, which is removed."""

    attributes = ("axis",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_axis(self.name, axis, x)
        if x.shape[axis] == 0:
            raise ArgumentError(
                f"{self.name}: axis {axis} of {x} is empty, and an empty axis has no extreme element", cause=ArgumentError.RANGE
            )
        return (TensorType(int64, x.shape[:axis] + x.shape[axis + 1 :]),)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axis=node.attributes["axis"] + 1)

    def check_not_empty(self, x: Any, axis: int) -> None:
        """The run-time form of the check, for symbolic sizes."""
        if x.shape[axis] == 0:
            raise ArgumentError(f"{self.name}: axis {axis} of shape {x.shape} is empty", cause=ArgumentError.RANGE)


@register
class ArgMax(ArgExtreme):
    """The int64 position of the greatest element along ``axis``: the first NaN, else the first of those that tie."""

    name = "argmax"

    def evaluate(self, x: Any, *, axis: int) -> Any:
        self.check_not_empty(x, axis)
        return np.asarray(np.argmax(in_compute_dtype(x), axis=axis), dtype=np.int64)


@register
class ArgMin(ArgExtreme):
    """The int64 position of the least element along ``axis``: the first NaN, else the first of those that tie."""

    name = "argmin"

    def evaluate(self, x: Any, *, axis: int) -> Any:
        self.check_not_empty(x, axis)
        return np.asarray(np.argmin(in_compute_dtype(x), axis=axis), dtype=np.int64)
