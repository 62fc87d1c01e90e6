"""Statistics beyond means: covariance and quantiles; and samples along an axis: differences, integrals, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphc.dtypes import bool_
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_int, as_list, as_number
from graphc.frontends.array.core import (
    ArrayLike,
    broadcast_to_shape,
    computed_wide,
    converted,
    lift,
    normalize_axes,
    normalize_axis,
    show_shape,
    to_float,
)  # fmt: skip
from graphc.frontends.array.creation import diagonal
from graphc.frontends.array.elementwise import (
    add,
    clip,
    divide,
    exp,
    less,
    log,
    maximum,
    multiply,
    not_equal,
    sqrt,
    subtract,
    where,
)  # fmt: skip
from graphc.frontends.array.indexing import take
from graphc.frontends.array.linalg import matmul
from graphc.frontends.array.movement import concat, expand_dims, matrix_transpose, ravel, reshape, slice_axis
from graphc.frontends.array.reduction import any as any_over
from graphc.frontends.array.reduction import degrees_of_freedom, mean
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.array.sorting import searchsorted
from graphc.frontends.dispatch import Array, bind, context_of
from graphc.ir.dims import same_size, same_sizes


def average(x: ArrayLike, axis: int | Sequence[int] | None = None, weights: ArrayLike | None = None) -> Array:
    """The mean over ``axis``, or the mean weighted by ``weights``: of the shape of x, or a vector along one axis."""
    array = to_float(x)
    if weights is None:
        return mean(array, axis)
    factor = lift(weights, array)
    if not same_sizes(factor.shape, array.shape):
        axes = normalize_axes(axis, len(array.shape), "average")
        if len(axes) != 1 or not same_sizes(factor.shape, (array.shape[axes[0]],)):
            raise ShapeError(
                f"average: weights have shape {show_shape(factor.shape)}, x {show_shape(array.shape)}",
                hint="give the weights the shape of x, or one weight for each element of one axis",
                cause=ShapeError.CHANNELS,
            )
        factor = reshape(factor, tuple(s if a == axes[0] else 1 for a, s in enumerate(array.shape)))
    total = sum_over(multiply(array, factor), axis)
    return divide(total, sum_over(broadcast_to_shape(factor, array.shape), axis))


@computed_wide
def cov(x: Array, *, rowvar: bool = True, correction: float = 1) -> Array:
    """The covariance matrix of variables in the rows of ``x`` (columns if not ``rowvar``), divided by n - ``correction``.

    A vector is one variable, and gives a scalar.
    """
    if len(x.shape) > 2:
        raise ShapeError(
            f"cov: x must be a matrix or a vector, not of shape {show_shape(x.shape)}", cause=ShapeError.DIMENSIONS
        )
    rows = x if len(x.shape) == 2 else reshape(x, (1, -1))
    if not rowvar and len(x.shape) == 2:
        rows = matrix_transpose(rows)
    centered = subtract(rows, mean(rows, 1, keepdims=True))
    count = degrees_of_freedom(rows.shape[1:], correction, rows.dtype)
    result = divide(matmul(centered, matrix_transpose(centered)), count)
    return reshape(result, ()) if same_sizes(result.shape, (1, 1)) else result


@computed_wide
def corrcoef(x: Array, *, rowvar: bool = True) -> Array:
    """The correlation coefficients of variables in the rows of ``x`` (columns if not ``rowvar``), within [-1, 1]."""
    matrix = cov(x, rowvar=rowvar)
    if not matrix.shape:
        return divide(matrix, matrix)
    deviations = sqrt(diagonal(matrix))
    scaled = divide(divide(matrix, expand_dims(deviations, 1)), expand_dims(deviations, 0))
    return clip(scaled, -1.0, 1.0)


def _orders(q: Any) -> list[Any]:
    orders = as_list(q, "quantile: q", "numbers")
    return [each.item() if getattr(each, "size", 0) == 1 else as_number(each, "quantile: q") for each in orders]


@computed_wide
def quantile(x: Array, q: float | Sequence[float], axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The ``q``-quantile along ``axis`` (of the raveled array by default), interpolated linearly; NaN if any element is.

    A sequence of q adds a leading dimension.
    """
    if not isinstance(q, (int, float)):
        return concat([expand_dims(quantile(x, each, axis, keepdims=keepdims), 0) for each in _orders(q)], 0)
    if not 0.0 <= q <= 1.0:
        raise ArgumentError(f"quantile: q must be between 0 and 1, not {q}", cause=ArgumentError.RANGE)
    array, place = (ravel(x), 0) if axis is None else (x, normalize_axis(axis, len(x.shape), "quantile"))
    size = array.shape[place].__index__()
    if size == 0:
        raise ShapeError(f"quantile over no elements (shape {show_shape(x.shape)}) has no value", cause=ShapeError.EMPTY)
    ordered = bind("sort", array, axis=place, descending=False)
    position = q * (size - 1)
    low = min(math.floor(position), size - 1)
    high = min(low + 1, size - 1)
    first, second = (slice_axis(ordered, place, i, i + 1) for i in (low, high))
    fraction = position - low
    result = add(first, multiply(subtract(second, first), fraction)) if fraction else first
    result = where(any_over(not_equal(array, array), place, keepdims=True), float("nan"), result)
    shape = tuple(1 if a == place else s for a, s in enumerate(array.shape))
    if axis is None:
        return reshape(result, (1,) * len(x.shape) if keepdims else ())
    return result if keepdims else reshape(result, tuple(s for a, s in enumerate(shape) if a != place))


def diff(x: ArrayLike, n: int = 1, axis: int = -1) -> Array:
    """The differences between neighbours along ``axis``, taken ``n`` times. Of bools: whether they differ."""
    array = lift(x)
    if as_int(n, "diff: n") < 0:
        raise ArgumentError(f"diff: n must not be negative, but is {n}", cause=ArgumentError.RANGE)
    place = normalize_axis(axis, len(array.shape), "diff")
    for _ in range(n):
        size = array.shape[place]
        if same_size(size, 0):
            break
        later, earlier = slice_axis(array, place, 1, size), slice_axis(array, place, 0, size - 1)
        array = not_equal(later, earlier) if array.dtype is bool_ else subtract(later, earlier)
    return array


def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: float = 1.0, axis: int = -1) -> Array:
    """The integral of samples ``y`` along ``axis`` by the trapezoidal rule, at points ``x`` or ``dx`` apart."""
    values = to_float(y)
    place = normalize_axis(axis, len(values.shape), "trapezoid")
    size = values.shape[place]
    if same_size(size, 0):
        return sum_over(values, place)
    pairs = add(slice_axis(values, place, 1, size), slice_axis(values, place, 0, size - 1))
    if x is None:
        return multiply(sum_over(pairs, place), 0.5 * as_number(dx, "trapezoid: dx"))
    points = lift(x, values)
    if same_sizes(points.shape, (size,)):
        points = reshape(points, tuple(s if a == place else 1 for a, s in enumerate(values.shape)))
    elif len(points.shape) != len(values.shape) or any(
        not same_size(p, v) and (p != 1 or a == place) for a, (p, v) in enumerate(zip(points.shape, values.shape, strict=True))
    ):
        raise ShapeError(
            f"trapezoid: x has shape {show_shape(points.shape)}, y {show_shape(values.shape)}", cause=ShapeError.CHANNELS
        )
    return multiply(sum_over(multiply(pairs, diff(points, axis=place)), place), 0.5)


def interp(x: ArrayLike, xp: ArrayLike, fp: ArrayLike, left: float | None = None, right: float | None = None) -> Array:
    """The piecewise linear function through the points (xp, fp), at ``x`` (any shape); xp must increase.

    Outside of the points the value is that of the nearest one, unless ``left`` or ``right`` say otherwise.
    """
    wanted, points, values = (
        to_float(v) for v in converted(context_of((x, xp, fp)), (x, xp, fp), what="interp")
    )
    if len(points.shape) != 1 or not same_sizes(points.shape, values.shape):
        raise ShapeError(
            f"interp: xp and fp must be vectors of one size, not {show_shape(points.shape)} and {show_shape(values.shape)}",
            cause=ShapeError.DIMENSIONS,
        )
    size = points.shape[0]
    if same_size(size, 0):
        raise ShapeError("interp: there are no points to interpolate", cause=ShapeError.EMPTY)
    if same_size(size, 1):
        result = add(multiply(wanted, 0.0), values)
    else:
        interval = clip(searchsorted(points, wanted, "right"), 1, _last(size, points))
        low, high = subtract(interval, 1), interval
        x0, x1, y0, y1 = take(points, low), take(points, high), take(values, low), take(values, high)
        result = add(y0, multiply(subtract(y1, y0), divide(subtract(wanted, x0), subtract(x1, x0))))
    first, last = slice_axis(points, 0, 0, 1), slice_axis(points, 0, size - 1, size)
    start = slice_axis(values, 0, 0, 1) if left is None else left
    end = slice_axis(values, 0, size - 1, size) if right is None else right
    scalars = [reshape(v, ()) if isinstance(v, Array) else v for v in (first, last, start, end)]
    result = where(less(wanted, scalars[0]), scalars[2], result)
    return where(less(scalars[1], wanted), scalars[3], result)


def _last(size: object, points: Array) -> ArrayLike:
    return size - 1 if isinstance(size, int) else bind("dimension", dim=points.shape[0] - 1)


@computed_wide
def cumulative_logsumexp(x: Array, axis: int = -1) -> Array:
    """log of the running sums of exp(x) along ``axis``, without overflow (in about log2(size) passes)."""
    place = normalize_axis(axis, len(x.shape), "cumulative_logsumexp")
    size = x.shape[place].__index__()
    result, step = x, 1
    while step < size:  # parallel prefix: after each round an element holds the sum of the 2 * step up to it
        earlier, later = slice_axis(result, place, 0, size - step), slice_axis(result, place, step, size)
        head = slice_axis(result, place, 0, step)
        result = concat([head, _log_add(earlier, later)], place)
        step *= 2
    return result


def _log_add(a: Array, b: Array) -> Array:
    large = bind("stop_gradient", maximum(a, b))
    large = where(less(large, float("inf")), where(less(float("-inf"), large), large, 0.0), 0.0)
    return add(large, log(add(exp(subtract(a, large)), exp(subtract(b, large)))))
