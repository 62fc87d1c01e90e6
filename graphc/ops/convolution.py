"""conv_general: strided, padded, dilated, grouped convolution over 1 to 3 spatial dimensions, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import int64
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dims import Dim, dim_max
from graphc.ir.primitive import Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.batching import are_mapped, counted, from_front, to_front
from graphc.ops.checking import (
    as_shape,
    check_numeric,
    check_padding,
    check_per_axis,
    check_same_dtype,
    dilated,
    is_int,
    take,
    wants_gradient,
)
from graphc.ops.movement import pad_array
from graphc.ops.reduction import in_compute_dtype

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

Padding = tuple[tuple[Dim, Dim], ...]


def window_count(size: Dim, window: Dim, stride: int, padding: tuple[Dim, Dim], base: int, dilation: int) -> Dim:
    """How many windows fit on ``size`` elements ``base`` apart with ``padding``; their own are ``dilation`` apart."""
    extent = dilated(size, base) + padding[0] + padding[1]
    return dim_max((extent - dilated(window, dilation)) // stride + 1, 0)


def window_counts(sizes: Sequence[int], window: Sequence[int], *attributes: Sequence[Any]) -> list[int]:
    """:func:`window_count` along each axis, of sizes that are known."""
    return [int(count) for count in map(window_count, sizes, window, *attributes)]


def windows_of(
    x: Any, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int], counts: Sequence[int]
) -> Any:
    """A read-only view of windows over the trailing axes of ``x``: leading axes, then ``counts``, then ``window``."""
    leading = x.ndim - len(window)
    steps = x.strides[leading:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:leading], *counts, *window),
        (
            *x.strides[:leading],
            *(step * s for step, s in zip(steps, strides, strict=True)),
            *(step * d for step, d in zip(steps, dilation, strict=True)),
        ),
        writeable=False,
    )


def input_gradient_padding(
    size: Dim, window: Dim, count: Dim, stride: int, low: Dim, base: int, dilation: int
) -> tuple[Dim, Dim]:
    """The padding of ``count`` cotangents ``stride`` apart from which come ``size`` gradients ``base`` apart."""
    return dilated(window, dilation) - 1 - low, dilated(size, base) + low - dilated(count, stride)


@register
class ConvGeneral(Primitive):
    """The cross-correlation of ``x`` [N, C, …] with kernels ``w`` [O, C / groups, …] over 1 to 3 spatial dimensions.

    ``padding``: (low, high) zeros for each spatial dimension, negative to remove elements; ``lhs_dilation``: elements
    of ``x`` are that far apart, with zeros between (a transposed convolution); ``rhs_dilation``: the same for the
    kernel; ``groups``: output channels in group g see the input channels of group g alone. The result is [N, O, …],
    of size (extent of x with padding - extent of w) // stride + 1, at least 0 (StableHLO's convolution). 16-bit
    floats accumulate in float32, integers wrap.
    """

    name = "conv_general"
    attributes = ("strides", "padding", "lhs_dilation", "rhs_dilation", "groups")
    residuals: ClassVar[Residuals] = Residuals(operands=(0, 1))

    def infer(  # type: ignore[override]
        self,
        inputs: tuple[TensorType, ...],
        /,
        *,
        strides: tuple[int, ...],
        padding: Padding,
        lhs_dilation: tuple[int, ...],
        rhs_dilation: tuple[int, ...],
        groups: int,
    ) -> tuple[TensorType, ...]:
        x, w = take(self.name, inputs, 2)
        check_numeric(self.name, x, w)
        check_same_dtype(self.name, x, w)
        if x.ndim != w.ndim or not 3 <= x.ndim <= 5:
            raise ShapeError(
                f"{self.name}: needs x [N, C, ...] and w [O, C/groups, ...] with 1 to 3 spatial dimensions: {x}, {w}",
                cause=ShapeError.DIMENSIONS,
            )
        spatial = x.ndim - 2
        check_per_axis(self.name, "strides", strides, x, spatial, minimum=1)
        check_per_axis(self.name, "lhs_dilation", lhs_dilation, x, spatial, minimum=1)
        check_per_axis(self.name, "rhs_dilation", rhs_dilation, x, spatial, minimum=1)
        check_padding(self.name, padding, x, spatial)
        if not is_int(groups) or groups < 1:
            raise ArgumentError(f"{self.name}: groups must be an int of at least 1, not {groups!r}", cause=ArgumentError.RANGE)
        if w.shape[1] * groups != x.shape[1]:
            raise ShapeError(
                f"{self.name}: x {x} has {x.shape[1]} channels, but w {w} with groups={groups} takes "
                f"{w.shape[1] * groups}",
                cause=ShapeError.CHANNELS,
            )
        if w.shape[0] % groups != 0:
            raise ShapeError(
                f"{self.name}: the {w.shape[0]} kernels of w {w} do not divide into {groups} groups", cause=ShapeError.CHANNELS
            )
        counts = map(window_count, x.shape[2:], w.shape[2:], strides, padding, lhs_dilation, rhs_dilation)
        return (x.with_shape((x.shape[0], w.shape[0], *counts)),)

    def evaluate(
        self,
        x: Any,
        w: Any,
        *,
        strides: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
        lhs_dilation: tuple[int, ...],
        rhs_dilation: tuple[int, ...],
        groups: int,
    ) -> Any:
        dtype, batch, kernels, window = x.dtype, x.shape[0], w.shape[0], w.shape[2:]
        counts = window_counts(x.shape[2:], window, strides, padding, lhs_dilation, rhs_dilation)
        if 0 in (batch, *counts, *w.shape):
            return np.zeros((batch, kernels, *counts), dtype=dtype)
        padded = pad_array(
            in_compute_dtype(x),
            0,
            low=(0, 0, *(p[0] for p in padding)),
            high=(0, 0, *(p[1] for p in padding)),
            interior=(0, 0, *(d - 1 for d in lhs_dilation)),
            op=self.name,
        )
        patches = windows_of(padded, window, strides, rhs_dilation, counts)
        # One matrix product per group: (positions of all images) x (channels and window) times (…) x kernels.
        spatial = len(window)
        grouped = patches.reshape(batch, groups, w.shape[1], *counts, *window)
        order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
        inner = w.shape[1] * prod(window)
        rows = grouped.transpose(order).reshape(groups, batch * prod(counts), inner)
        columns = in_compute_dtype(w).reshape(groups, kernels // groups, inner).transpose(0, 2, 1)
        with np.errstate(all="ignore"):
            products = np.matmul(rows, columns).astype(dtype, copy=False)
        split = products.reshape(groups, batch, *counts, kernels // groups)
        placed = split.transpose((1, 0, 2 + spatial, *range(2, 2 + spatial)))
        return placed.reshape(batch, kernels, *counts)

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(other for operand, other in ((1, 0), (0, 1)) if needed[operand]))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        return (
            _input_gradient(b, node, cotangent) if wants_gradient(node, needed, 0) else None,
            _kernel_gradient(b, node, cotangent) if wants_gradient(node, needed, 1) else None,
        )

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        x, w = operands
        x_is_mapped, w_is_mapped = are_mapped(node, operands)
        if not w_is_mapped:
            return (_with_more_images(b, node, x, w, size),)
        if not x_is_mapped:
            return (_with_more_kernels(b, node, x, w, size),)
        if isinstance(size, int) and size > 0:
            return (_with_more_groups(b, node, x, w, size),)
        return (_as_product(b, node, x, w, size),)


def _with_more_images(b: Builder, node: Node, x: Value, w: Value, size: Dim) -> Value:
    """Examples are images like the others."""
    images, *rest = node.inputs[0].shape
    result = b.conv_general(b.reshape(x, shape=(size * images, *rest)), w, **node.attributes)
    split: Value = b.reshape(result, shape=(size, *node.types[0].shape))
    return split


def _with_more_kernels(b: Builder, node: Node, x: Value, w: Value, size: Dim) -> Value:
    """Each example has kernels of its own: all of them are laid over each image, group by group."""
    groups = node.attributes["groups"]
    kernels, *window = node.inputs[1].shape
    images, _, *counts = node.types[0].shape
    by_group = b.reshape(w, shape=(size, groups, kernels // groups, *window))
    flat = b.reshape(to_front(b, by_group, 1), shape=(size * kernels, *window))
    result = b.conv_general(x, flat, **node.attributes)
    split = b.reshape(result, shape=(images, groups, size, kernels // groups, *counts))
    joined: Value = b.reshape(to_front(b, split, 2), shape=(size, *node.types[0].shape))
    return joined


def _with_more_groups(b: Builder, node: Node, x: Value, w: Value, size: int) -> Value:
    """The channels of each example are groups of their own, which see the kernels of that example."""
    images, channels, *spatial = node.inputs[0].shape
    kernels, *window = node.inputs[1].shape
    _, _, *counts = node.types[0].shape
    attributes = {**node.attributes, "groups": size * node.attributes["groups"]}
    side_by_side = b.reshape(from_front(b, x, 1), shape=(images, size * channels, *spatial))
    result = b.conv_general(side_by_side, b.reshape(w, shape=(size * kernels, *window)), **attributes)
    return to_front(b, b.reshape(result, shape=(images, size, kernels, *counts)), 1)


def _as_product(b: Builder, node: Node, x: Value, w: Value, size: Dim) -> Value:
    """The windows as rows of a matrix product for each example: for a number of examples that only a run knows."""
    strides, padding, base, dilation, groups = (node.attributes[name] for name in ConvGeneral.attributes)
    images = node.inputs[0].shape[0]
    kernels, inner, *window = node.inputs[1].shape
    _, _, *counts = node.types[0].shape
    padded = b.pad(
        x,
        b.full((), 0, x.dtype),
        low=(0, 0, 0, *(p[0] for p in padding)),
        high=(0, 0, 0, *(p[1] for p in padding)),
        interior=(0, 0, 0, *(d - 1 for d in base)),
    )
    shape = (*counts, *window)
    positions = []
    for axis in range(len(counts)):
        first = b.mul(counted(b, shape, axis), b.full(shape, strides[axis], int64))
        along = b.mul(counted(b, shape, len(counts) + axis), b.full(shape, dilation[axis], int64))
        positions.append(b.add(first, along))
    patches = b.gather(padded, *positions, axes=tuple(range(3, 3 + len(counts))))  # [counts, window, B, N, C]
    rank, spatial = len(shape), len(counts)
    by_group = b.reshape(patches, shape=(*shape, size, images, groups, inner))
    grouped = b.reshape(w, shape=(size, groups, kernels // groups, inner, *window))
    product = b.dot_general(  # [B, groups, kernels of a group, counts, N]
        grouped,
        by_group,
        contract=((3, *range(4, 4 + spatial)), (rank + 3, *range(spatial, rank))),
        batch=((0, 1), (rank, rank + 2)),
    )
    placed = b.transpose(product, permutation=(0, 3 + spatial, 1, 2, *range(3, 3 + spatial)))
    result: Value = b.reshape(placed, shape=(size, *node.types[0].shape))
    return result


def _input_gradient(b: Builder, node: Node, cotangent: Value) -> Value:
    """The transposed convolution: strides and input dilation change places, kernels are mirrored, channels swapped."""
    strides, padding, base, dilation, groups = (node.attributes[name] for name in ConvGeneral.attributes)
    x, w = node.inputs[0].type, node.inputs[1]
    spatial, window = tuple(range(2, x.ndim)), w.shape[2:]
    outputs = w.shape[0] // groups
    by_group = b.reshape(w, shape=(groups, outputs, w.shape[1], *window))
    swapped = b.transpose(by_group, permutation=(0, 2, 1, *(a + 1 for a in spatial)))
    mirrored = b.reverse(b.reshape(swapped, shape=(x.shape[1], outputs, *window)), axes=spatial)
    lows = tuple(p[0] for p in padding)
    gradient = b.conv_general(
        cotangent,
        mirrored,
        strides=base,
        padding=tuple(
            map(input_gradient_padding, x.shape[2:], window, cotangent.shape[2:], strides, lows, base, dilation)
        ),
        lhs_dilation=strides,
        rhs_dilation=dilation,
        groups=groups,
    )
    return as_shape(b, gradient, x.shape)


def _kernel_gradient(b: Builder, node: Node, cotangent: Value) -> Value:
    """The convolution of input and cotangent in which channels are the batch and images the channels summed over."""
    strides, padding, base, dilation, groups = (node.attributes[name] for name in ConvGeneral.attributes)
    x, w = node.inputs[0], node.inputs[1].type
    spatial = tuple(range(2, x.ndim))
    images, channels = x.shape[0], w.shape[1]
    by_group = b.reshape(x, shape=(images, groups, channels, *x.shape[2:]))
    swapped = b.transpose(by_group, permutation=(2, 1, 0, *(a + 1 for a in spatial)))
    pads = []
    for axis in range(len(spatial)):
        low = padding[axis][0]
        count, size = cotangent.shape[2 + axis], x.shape[2 + axis]
        # All sizes but the last are fixed: the high padding makes the number of windows that of the kernel.
        reach = dilated(w.shape[2 + axis], dilation[axis]) - 1
        pads.append((low, reach + dilated(count, strides[axis]) - dilated(size, base[axis]) - low))
    gradient = b.conv_general(
        b.reshape(swapped, shape=(channels, images * groups, *x.shape[2:])),
        b.transpose(cotangent, permutation=(1, 0, *spatial)),
        strides=dilation,
        padding=tuple(pads),
        lhs_dilation=base,
        rhs_dilation=strides,
        groups=groups,
    )
    return as_shape(b, b.transpose(gradient, permutation=(1, 0, *spatial)), w.shape)
