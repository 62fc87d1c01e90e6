"""Pooling: maxima and averages of sliding or adaptive windows, in PyTorch's layout [N, C, …] or [C, …]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.arguments import as_int
from graphc.frontends.array.convolution import PerAxis, batched, per_axis
from graphc.frontends.array.core import ArrayLike, astype, computed_wide, lift, show_shape, to_float
from graphc.frontends.array.elementwise import divide, remainder
from graphc.frontends.array.movement import bind_take, moveaxis, reshape, squeeze
from graphc.frontends.array.reduction import max as max_over
from graphc.frontends.array.reduction import mean
from graphc.frontends.dispatch import Array, bind, context_of
from graphc.ir.dims import Dim, DimExpr, is_smaller, product, same_size


class _Windows(NamedTuple):
    """One entry for each spatial axis; ``reach``: the padding after the last element that the last window needs."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    reach: tuple[int, ...]

    def attributes(self) -> dict[str, Any]:
        ones = (1, 1)
        return {
            "window": (*ones, *self.size),
            "strides": (*ones, *self.strides),
            "padding": ((0, 0), (0, 0), *zip(self.padding, self.reach, strict=True)),
            "base_dilation": (1,) * (2 + len(self.size)),
            "window_dilation": (*ones, *self.dilation),
        }


def _windows(
    x: Array,
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: PerAxis,
    dilation: PerAxis,
    ceil_mode: bool,
    what: str,
) -> _Windows:
    spatial = len(x.shape) - 2
    size = per_axis(kernel_size, spatial, what, "kernel_size", 1)
    strides = size if stride is None else per_axis(stride, spatial, what, "stride", 1)
    pads = per_axis(padding, spatial, what, "padding", 0)
    dilations = per_axis(dilation, spatial, what, "dilation", 1)
    reach = []
    for axis, (k, s, p, d) in enumerate(zip(size, strides, pads, dilations, strict=True)):
        extent = d * (k - 1) + 1
        if 2 * p > extent:
            raise ArgumentError(
                f"{what}: padding {p} is more than half of the window, which spans {extent}",
                hint="a window of padding alone has no value",
                cause=ArgumentError.RANGE,
            )
        length = x.shape[2 + axis]
        if is_smaller(length + 2 * p, extent):
            raise ShapeError(
                f"{what}: the window spans {extent} elements of spatial axis {axis}, but x {show_shape(x.shape)} with padding "
                f"has {length + 2 * p}",
                hint="use a smaller kernel_size or more padding",
                cause=ShapeError.WINDOW,
            )
        reach.append(_ceil_reach(length.__index__(), extent, s, p) if ceil_mode else p)
    return _Windows(size, strides, pads, dilations, tuple(reach))


def _ceil_reach(length: int, extent: int, stride: int, padding: int) -> int:
    """The padding behind with which the number of windows is rounded up; none may start beyond the elements."""
    count = -(-(length + 2 * padding - extent) // stride) + 1
    if (count - 1) * stride >= length + padding:
        count -= 1
    return (count - 1) * stride + extent - length - padding


def _max_pool(
    x: ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: PerAxis,
    dilation: PerAxis,
    ceil_mode: bool,
    return_indices: bool,
    spatial: int,
) -> Any:
    what = f"max_pool{spatial}d"
    array, single = batched(lift(x), spatial, what)
    if array.dtype.is_bool:
        raise DTypeError(f"{what} takes numbers, not bool", hint="convert with .astype(gc.uint8)", cause=DTypeError.BOOL)
    attributes = _windows(array, kernel_size, stride, padding, dilation, ceil_mode, what).attributes()
    result = bind("reduce_window_max", array, **attributes)
    result = squeeze(result, 0) if single else result
    if not return_indices:
        return result
    positions = bind("reduce_window_argmax", array, **attributes)
    plane = product(array.shape[2:])
    indices = remainder(positions, bind("dimension", dim=plane) if isinstance(plane, DimExpr) else plane)
    return result, squeeze(indices, 0) if single else indices


def max_pool1d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of x [N, C, L]. See :func:`max_pool2d`."""
    return _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 1)


def max_pool2d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of x [N, C, H, W], NaN if there is one; PyTorch's ``max_pool2d``.

    ``stride``: the window's size by default. ``padding`` counts as -inf and is at most half of the window. ``ceil_mode``: a
    last window that is only partly on the image counts too. ``return_indices``: give also the row-major positions (int64) of
    the winners within their planes. The first of elements that tie gets the gradient.

    >>> gc.max_pool2d(images, 2)
    """
    return _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 2)


def max_pool3d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of x [N, C, D, H, W]. See :func:`max_pool2d`."""
    return _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 3)


def _avg_pool(
    x: ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: PerAxis,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    spatial: int,
) -> Array:
    what = f"avg_pool{spatial}d"
    lifted = to_float(x)
    dtype = lifted.dtype
    array, single = batched(astype(lifted, dtype.compute), spatial, what)
    windows = _windows(array, kernel_size, stride, padding, 1, ceil_mode, what)
    total = bind("reduce_window_sum", array, **windows.attributes())
    if divisor_override is not None:
        if divisor_override == 0:
            raise ArgumentError(f"{what}: divisor_override must not be 0", cause=ArgumentError.RANGE)
        result = divide(total, float(divisor_override))
    elif not ceil_mode and (count_include_pad or not any(windows.padding)):
        result = divide(total, float(math.prod(windows.size)))
    else:
        result = total
        for axis in range(spatial):
            counts = _counts(array, windows, axis, count_include_pad)
            result = divide(result, reshape(counts, (-1, *(1 for _ in range(spatial - axis - 1)))))
    result = astype(result, dtype)
    return squeeze(result, 0) if single else result


def _counts(x: Array, windows: _Windows, axis: int, count_padding: bool) -> Array:
    """How many elements along ``axis`` each window averages; those of all axes multiply."""
    before, after = windows.padding[axis], windows.reach[axis]
    size: Dim = x.shape[2 + axis]
    if count_padding:  # only the padding asked for counts, not what rounding up adds behind it
        size, before, after = size + 2 * before, 0, after - before
    ones = bind("broadcast_in_dim", context_of((x,)).literal(1, x.dtype), shape=(size,), dims=())
    return bind(
        "reduce_window_sum", ones, window=(windows.size[axis],), strides=(windows.strides[axis],),
        padding=((before, after),), base_dilation=(1,), window_dilation=(1,),
    )  # fmt: skip


def avg_pool1d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:  # fmt: skip
    """The mean of each window of x [N, C, L]. See :func:`avg_pool2d`."""
    return _avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window of x [N, C, H, W]; PyTorch's ``avg_pool2d``.

    ``stride``: the window's size by default. ``padding`` adds zeros, which count as elements unless ``count_include_pad`` is
    False. ``ceil_mode``: a last window that is only partly on the image counts too. ``divisor_override``: divide by this.
    """
    return _avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2)


def avg_pool3d(
    x: ArrayLike, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window of x [N, C, D, H, W]. See :func:`avg_pool2d`."""
    return _avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 3)


def _adaptive_sizes(x: Array, output_size: int | Sequence[int | None] | None, what: str) -> list[int | None]:
    """The sizes to pool to; None where the axis keeps its own."""
    spatial = len(x.shape) - 2
    sizes = list(output_size) if isinstance(output_size, Sequence) else [output_size] * spatial
    sizes = [None if s is None else as_int(s, f"{what}: output_size") for s in sizes]
    if len(sizes) != spatial or any(s is not None and s < 1 for s in sizes):
        raise ArgumentError(
            f"{what}: output_size must be {spatial} positive ints (None keeps a size), not {output_size!r}",
            cause=ArgumentError.RANGE,
        )
    return sizes


def _bounds(length: int, count: int) -> list[tuple[int, int]]:
    """The windows that share ``length`` elements as evenly as overlapping allows."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _split_evenly(length: Dim, count: int) -> bool:
    """Whether the windows do not overlap; a size that nothing is known of must divide, which the run time checks."""
    return same_size(length % count, 0) is not False


def _adaptive_avg(x: ArrayLike, output_size: Any, spatial: int) -> Array:
    what = f"adaptive_avg_pool{spatial}d"
    array, single = batched(to_float(x), spatial, what)
    result = _averaged(array, _adaptive_sizes(array, output_size, what))
    return squeeze(result, 0) if single else result


@computed_wide
def _averaged(x: Array, sizes: Sequence[int | None]) -> Array:
    for axis, count in enumerate(sizes, 2):
        length = x.shape[axis]
        if count is None or same_size(length, count):
            continue
        if _split_evenly(length, count):
            x = mean(reshape(x, (*x.shape[:axis], count, length // count, *x.shape[axis + 1 :])), axis + 1)
            continue
        shares = np.zeros((length.__index__(), count))
        for i, (start, stop) in enumerate(_bounds(length.__index__(), count)):
            shares[start:stop, i] = 1.0 / (stop - start)
        weights = context_of((x,)).literal(shares, x.dtype)
        x = moveaxis(bind("dot_general", x, weights, contract=((axis,), (0,)), batch=((), ())), -1, axis)
    return x


def adaptive_avg_pool1d(x: ArrayLike, output_size: int) -> Array:
    """The means of ``output_size`` windows that share x [N, C, L] evenly. See :func:`adaptive_avg_pool2d`."""
    return _adaptive_avg(x, output_size, 1)


def adaptive_avg_pool2d(x: ArrayLike, output_size: int | Sequence[int | None] | None) -> Array:
    """x [N, C, H, W] averaged down (or up) to ``output_size``; PyTorch's ``adaptive_avg_pool2d``.

    Window i of n spans elements floor(i H / n) to ceil((i + 1) H / n). None keeps a size.
    """
    return _adaptive_avg(x, output_size, 2)


def adaptive_avg_pool3d(x: ArrayLike, output_size: int | Sequence[int | None] | None) -> Array:
    """x [N, C, D, H, W] averaged to ``output_size``. See :func:`adaptive_avg_pool2d`."""
    return _adaptive_avg(x, output_size, 3)


def _adaptive_max(x: ArrayLike, output_size: Any, spatial: int) -> Array:
    what = f"adaptive_max_pool{spatial}d"
    array, single = batched(lift(x), spatial, what)
    for axis, count in enumerate(_adaptive_sizes(array, output_size, what), 2):
        length = array.shape[axis]
        if count is None or same_size(length, count):
            continue
        if _split_evenly(length, count):
            parts = reshape(array, (*array.shape[:axis], count, length // count, *array.shape[axis + 1 :]))
        else:
            bounds = _bounds(length.__index__(), count)
            widest = max(stop - start for start, stop in bounds)
            # Shorter windows repeat their last element, which does not change their maximum.
            index = np.array([[min(start + i, stop - 1) for i in range(widest)] for start, stop in bounds])
            taken = bind_take(array, index.reshape(-1), axis)
            parts = reshape(taken, (*array.shape[:axis], count, widest, *array.shape[axis + 1 :]))
        array = max_over(parts, axis + 1)
    return squeeze(array, 0) if single else array


def adaptive_max_pool1d(x: ArrayLike, output_size: int) -> Array:
    """The maxima of ``output_size`` windows that share x [N, C, L] evenly. See :func:`adaptive_avg_pool2d`."""
    return _adaptive_max(x, output_size, 1)


def adaptive_max_pool2d(x: ArrayLike, output_size: int | Sequence[int | None] | None) -> Array:
    """x [N, C, H, W] reduced to ``output_size`` by maxima, the windows being those of :func:`adaptive_avg_pool2d`."""
    return _adaptive_max(x, output_size, 2)


def adaptive_max_pool3d(x: ArrayLike, output_size: int | Sequence[int | None] | None) -> Array:
    """x [N, C, D, H, W] reduced to ``output_size`` by maxima. See :func:`adaptive_avg_pool2d`."""
    return _adaptive_max(x, output_size, 3)


def global_avg_pool(x: ArrayLike, keepdims: bool = False) -> Array:
    """The mean of x [N, C, …] over all spatial dimensions."""
    array = lift(x)
    return mean(array, _spatial_axes(array, "global_avg_pool"), keepdims=keepdims)


def global_max_pool(x: ArrayLike, keepdims: bool = False) -> Array:
    """The largest element of x [N, C, …] over all spatial dimensions."""
    array = lift(x)
    return max_over(array, _spatial_axes(array, "global_max_pool"), keepdims=keepdims)


def _spatial_axes(x: Array, what: str) -> tuple[int, ...]:
    if len(x.shape) < 3:
        raise ShapeError(
            f"{what}: x must be [N, C, …] with spatial dimensions, not {show_shape(x.shape)}", cause=ShapeError.DIMENSIONS
        )
    return tuple(range(2, len(x.shape)))
