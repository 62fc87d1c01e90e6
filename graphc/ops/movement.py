"""Primitives that move elements: broadcast, reshape, transpose, slice, pad, concatenate, reverse, and iota."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import DType, bool_
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dims import Dim, bounds, product
from graphc.ir.primitive import NOTHING, Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.batching import WithoutOperands, all_mapped, are_mapped, behind, repeated
from graphc.ops.checking import (
    NoGradient,
    OneOperand,
    as_shape,
    check_axes,
    check_axis,
    check_per_axis,
    check_permutation,
    check_same_dtype,
    check_sizes,
    describe,
    dilated,
    provably_negative,
    take,
    wants_gradient,
)

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value


@register
class BroadcastInDim(OneOperand):
    """Repeat ``x`` to ``shape``: axis i of ``x`` becomes axis ``dims[i]`` of the result (StableHLO's broadcast_in_dim).

    ``dims`` is strictly increasing. An axis of ``x`` has the size of its result axis or the literal size 1. The result
    may be a read-only view.

    >>> b.broadcast_in_dim(x, shape=(2, 3), dims=(1,))  # f32[3] -> f32[2, 3]
    """

    name = "broadcast_in_dim"
    attributes = ("shape", "dims")

    def infer(  # type: ignore[override]
        self, inputs: tuple[TensorType, ...], /, *, shape: tuple[Dim, ...], dims: tuple[int, ...]
    ) -> tuple[TensorType, ...]:
        (x,) = take(self.name, inputs, 1)
        check_sizes(self.name, "shape", shape)
        result = x.with_shape(shape)
        check_per_axis(self.name, "dims", dims, x, x.ndim, minimum=0)
        check_axes(self.name, dims, result)
        for axis, dim in enumerate(dims):
            if x.shape[axis] != 1 and x.shape[axis] != shape[dim]:
                raise ShapeError(
                    f"{self.name}: axis {axis} of {x} has size {x.shape[axis]}; axis {dim} of {result} differs",
                    hint="only an axis of size 1 is repeated",
                )
        return (result,)

    def evaluate(self, x: Any, *, shape: tuple[int, ...], dims: tuple[int, ...]) -> Any:
        aligned = [1] * len(shape)
        for axis, dim in enumerate(dims):
            aligned[dim] = x.shape[axis]
        return np.broadcast_to(np.reshape(x, aligned), shape)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        shape, dims = node.attributes["shape"], node.attributes["dims"]
        x = node.inputs[0].type
        source = {dim: x.shape[axis] for axis, dim in enumerate(dims)}
        repeated = tuple(a for a in range(len(shape)) if a not in source or source[a] != shape[a])
        return as_shape(b, b.reduce_sum(cotangent, axes=repeated) if repeated else cotangent, x.shape)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        shape, dims = node.attributes["shape"], node.attributes["dims"]
        return b.emit(self, x, shape=(size, *shape), dims=(0, *behind(dims)))


@register
class Reshape(OneOperand):
    """The elements of ``x`` in row-major order, laid out as ``shape``.

    The element counts must be equal. Where symbolic sizes leave that open it is checked at run time; a count that
    differs for every size is a ShapeError at once.
    """

    name = "reshape"
    attributes = ("shape",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, shape: tuple[Dim, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_sizes(self.name, "shape", shape)
        low, high = bounds(x.size - product(shape))
        if (low is not None and low > 0) or (high is not None and high < 0):
            raise ShapeError(
                f"{self.name}: {x} has {x.size} elements and the shape {shape} takes {product(shape)}", cause=ShapeError.RESHAPE
            )
        return (x.with_shape(shape),)

    def evaluate(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        if x.size != product(shape):
            raise ShapeError(
                f"{self.name}: shape {x.shape} cannot become {shape}: the element counts differ", cause=ShapeError.RESHAPE
            )
        return np.reshape(x, shape)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        gradient: Value = b.reshape(cotangent, shape=node.inputs[0].shape)
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, shape=(size, *node.attributes["shape"]))


@register
class Transpose(OneOperand):
    """``x`` with its axes in another order: axis i of the result is axis ``permutation[i]`` of ``x``."""

    name = "transpose"
    attributes = ("permutation",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, permutation: tuple[int, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_permutation(self.name, permutation, x)
        return (x.with_shape(x.shape[p] for p in permutation),)

    def evaluate(self, x: Any, *, permutation: tuple[int, ...]) -> Any:
        return np.transpose(x, permutation)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        gradient: Value = b.transpose(cotangent, permutation=inverse_permutation(node.attributes["permutation"]))
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, permutation=(0, *behind(node.attributes["permutation"])))


def inverse_permutation(permutation: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``permutation``."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


@register
class Slice(OneOperand):
    """The elements ``start, start + stride, …`` below ``limit`` along each axis.

    0 ≤ start ≤ limit ≤ size and stride ≥ 1. A bound that symbolic sizes leave open is checked at run time.
    """

    name = "slice"
    attributes = ("starts", "limits", "strides")

    def infer(  # type: ignore[override]
        self,
        inputs: tuple[TensorType, ...],
        /,
        *,
        starts: tuple[Dim, ...],
        limits: tuple[Dim, ...],
        strides: tuple[int, ...],
    ) -> tuple[TensorType, ...]:
        (x,) = take(self.name, inputs, 1)
        check_per_axis(self.name, "starts", starts, x, x.ndim)
        check_per_axis(self.name, "limits", limits, x, x.ndim)
        check_per_axis(self.name, "strides", strides, x, x.ndim, minimum=1)
        for axis, (start, limit, size) in enumerate(zip(starts, limits, x.shape, strict=True)):
            if provably_negative(start) or provably_negative(limit - start) or provably_negative(size - limit):
                raise ShapeError(
                    f"{self.name}: {start}:{limit} is not within axis {axis} of {x}, of size {size}",
                    hint="0 <= start <= limit <= size must hold",
                    cause=ShapeError.WINDOW,
                )
        return (x.with_shape((hi - lo + s - 1) // s for lo, hi, s in zip(starts, limits, strides, strict=True)),)

    def evaluate(self, x: Any, *, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        for axis, (start, limit, size) in enumerate(zip(starts, limits, x.shape, strict=True)):
            if not 0 <= start <= limit <= size:
                raise ShapeError(
                    f"{self.name}: {start}:{limit} is not within axis {axis}, of size {size}", cause=ShapeError.WINDOW
                )
        kept: list[Any] = [slice(*bound) for bound in zip(starts, limits, strides, strict=True)]
        return np.asarray(x)[(..., *kept)]

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        starts, strides = node.attributes["starts"], node.attributes["strides"]
        spans = [dilated(n, stride) for n, stride in zip(cotangent.shape, strides, strict=True)]
        sizes = node.inputs[0].shape
        gradient: Value = b.pad(
            cotangent,
            b.full((), 0, cotangent.dtype),
            low=starts,
            high=tuple(size - lo - span for size, lo, span in zip(sizes, starts, spans, strict=True)),
            interior=tuple(s - 1 for s in strides),
        )
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        starts, limits, strides = (node.attributes[name] for name in self.attributes)
        return b.emit(self, x, starts=(0, *starts), limits=(size, *limits), strides=(1, *strides))


def pad_array(
    x: Any, value: Any, low: Sequence[int], high: Sequence[int], interior: Sequence[int], op: str = "pad"
) -> Any:
    """``pad`` in NumPy: put ``interior`` between elements, then add (negative: remove) at the ends of each axis."""
    shape = [lo + dilated(n, i + 1) + hi for n, lo, hi, i in zip(x.shape, low, high, interior, strict=True)]
    if any(n < 0 for n in shape):
        raise ShapeError(
            f"{op}: padding {tuple(zip(low, high, strict=True))} removes more than shape {x.shape} has", cause=ShapeError.WINDOW
        )
    out = np.full(shape, value, dtype=x.dtype)
    target, source = [], []
    for n, lo, i, size in zip(x.shape, low, interior, shape, strict=True):
        step = i + 1
        first = max(0, -(lo // step))
        last = min(n, (size - 1 - lo) // step + 1)
        if last <= first:
            return out
        source.append(slice(first, last))
        target.append(slice(lo + first * step, lo + (last - 1) * step + 1, step))
    out[tuple(target)] = x[tuple(source)]
    return out


@register
class Pad(Primitive):
    """``x`` with the scalar ``value`` put before (``low``), after (``high``) and between (``interior``) its elements.

    ``low`` and ``high`` may be negative, which removes elements (after the interior padding); ``interior`` is at least
    0. As StableHLO's pad.
    """

    name = "pad"
    attributes = ("low", "high", "interior")

    def infer(  # type: ignore[override]
        self,
        inputs: tuple[TensorType, ...],
        /,
        *,
        low: tuple[Dim, ...],
        high: tuple[Dim, ...],
        interior: tuple[int, ...],
    ) -> tuple[TensorType, ...]:
        x, value = take(self.name, inputs, 2)
        check_same_dtype(self.name, x, value)
        if value.shape != ():
            raise ShapeError(f"{self.name}: the padding value must be a scalar, not {value}", cause=ShapeError.DIMENSIONS)
        check_per_axis(self.name, "low", low, x, x.ndim)
        check_per_axis(self.name, "high", high, x, x.ndim)
        check_per_axis(self.name, "interior", interior, x, x.ndim, minimum=0)
        shape = tuple(lo + dilated(n, i + 1) + hi for n, lo, hi, i in zip(x.shape, low, high, interior, strict=True))
        for axis, size in enumerate(shape):
            if provably_negative(size):
                raise ShapeError(
                    f"{self.name}: low {low} and high {high} remove more than axis {axis} of {x} has", cause=ShapeError.WINDOW
                )
        return (x.with_shape(shape),)

    def evaluate(
        self, x: Any, value: Any, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]
    ) -> Any:
        return pad_array(np.asarray(x), value, low, high, interior)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        low, high, interior = (node.attributes[name] for name in self.attributes)
        x = node.inputs[0].type
        for_x: Value | None = None
        for_value: Value | None = None
        if wants_gradient(node, needed, 0):
            for_x = b.pad(
                cotangent,
                b.full((), 0, x.dtype),
                low=tuple(-n for n in low),
                high=tuple(-n for n in high),
                interior=(0,) * x.ndim,
            )
            if any(interior):
                steps = tuple(i + 1 for i in interior)
                for_x = b.slice(for_x, starts=(0,) * x.ndim, limits=for_x.shape, strides=steps)
            for_x = as_shape(b, for_x, x.shape)
        if wants_gradient(node, needed, 1):
            inside, outside = b.full(x.shape, False, bool_), b.full((), True, bool_)
            is_padding = b.pad(inside, outside, low=low, high=high, interior=interior)
            kept = b.select(is_padding, cotangent, b.zeros_like(cotangent))
            for_value = b.reduce_sum(kept, axes=tuple(range(x.ndim)))
        return (for_x, for_value)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        x, value = operands
        x_is_mapped, value_is_mapped = are_mapped(node, operands)
        own = {name: node.attributes[name] for name in self.attributes}
        wider = {name: (0, *amounts) for name, amounts in own.items()}
        if not value_is_mapped:
            return (b.emit_one(self, x, value, **wider),)
        # Each example has a padding of its own, which pad does not know: mark the places and choose.
        zero = b.full((), 0, x.dtype)
        padded = b.emit_one(self, x, zero, **wider) if x_is_mapped else repeated(b, b.emit_one(self, x, zero, **own), size)
        inside, outside = b.full(node.inputs[0].shape, False, bool_), b.full((), True, bool_)
        is_padding = repeated(b, b.emit_one(self, inside, outside, **own), size)
        return (b.select(is_padding, b.broadcast_in_dim(value, shape=padded.shape, dims=(0,)), padded),)


@register
class Concatenate(Primitive):
    """The operands one after the other along ``axis``; their other sizes and their dtypes must be equal."""

    name = "concatenate"
    attributes = ("axis",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int) -> tuple[TensorType, ...]:  # type: ignore[override]
        if not inputs:
            raise ArgumentError(f"{self.name}: needs at least one operand", cause=ArgumentError.COUNT)
        first = inputs[0]
        check_same_dtype(self.name, *inputs)
        check_axis(self.name, axis, first)
        rest = first.shape[:axis] + first.shape[axis + 1 :]
        if any(x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1 :] != rest for x in inputs):
            raise ShapeError(
                f"{self.name}: operands may differ in axis {axis} alone: {describe(inputs)}", cause=ShapeError.JOINED
            )
        total: Dim = 0
        for x in inputs:
            total = total + x.shape[axis]
        return (first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :])),)

    def evaluate(self, *xs: Any, axis: int) -> Any:
        return np.concatenate(xs, axis=axis)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        axis = node.attributes["axis"]
        starts: list[Dim] = [0] * cotangent.ndim
        limits: list[Dim] = list(cotangent.shape)
        gradients: list[Value | None] = []
        offset: Dim = 0
        for position, x in enumerate(node.inputs):
            starts[axis], limits[axis] = offset, offset + x.shape[axis]
            offset = limits[axis]
            wanted = wants_gradient(node, needed, position)
            strides = (1,) * x.ndim
            gradients.append(b.slice(cotangent, starts=starts, limits=limits, strides=strides) if wanted else None)
        return gradients

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return b.emit(self, *all_mapped(b, node, operands, size), axis=node.attributes["axis"] + 1)


@register
class Reverse(OneOperand):
    """``x`` with the order of elements reversed along ``axes``."""

    name = "reverse"
    attributes = ("axes",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_axes(self.name, axes, x)
        return (x,)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:
        return np.flip(x, axes) if axes else np.asarray(x)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        gradient: Value = b.reverse(cotangent, axes=node.attributes["axes"])
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axes=behind(node.attributes["axes"]))


@register
class Iota(WithoutOperands, NoGradient):
    """0, 1, 2, … along ``axis``, the same for all other indices. Integers wrap; floats round the exact integer."""

    name = "iota"
    attributes = ("dtype", "shape", "axis")
    residuals: ClassVar[Residuals] = NOTHING

    def infer(  # type: ignore[override]
        self, inputs: tuple[TensorType, ...], /, *, dtype: DType, shape: tuple[Dim, ...], axis: int
    ) -> tuple[TensorType, ...]:
        take(self.name, inputs, 0)
        if dtype.is_bool:
            raise DTypeError(f"{self.name}: counts in an integer or floating dtype, not {dtype}")
        check_sizes(self.name, "shape", shape)
        result = TensorType(dtype, shape)
        check_axis(self.name, axis, result)
        return (result,)

    def evaluate(self, *, dtype: DType, shape: tuple[int, ...], axis: int) -> Any:
        with np.errstate(all="ignore"):
            line = np.arange(shape[axis], dtype=np.int64).astype(dtype.numpy)
        line = line.reshape([shape[a] if a == axis else 1 for a in range(len(shape))])
        return np.broadcast_to(line, shape)
