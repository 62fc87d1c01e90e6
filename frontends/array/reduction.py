"""Array functions that reduce axes, or run along one."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from graphc.dtypes import DType, as_dtype, bool_, int64, uint64
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_number
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    computed_wide,
    lift,
    normalize_axes,
    normalize_axis,
    show_shape,
    to_float,
)  # fmt: skip
from graphc.frontends.array.elementwise import (
    absolute,
    add,
    divide,
    equal,
    exp,
    isclose,
    isinf,
    isnan,
    log,
    logical_not,
    maximum,
    not_equal,
    sqrt,
    square,
    subtract,
    where,
)  # fmt: skip
from graphc.frontends.array.elementwise import pow as power_of
from graphc.frontends.array.movement import expand_dims, ravel, reshape
from graphc.frontends.dispatch import Array, bind, context_of
from graphc.ir.dims import Dim, DimExpr, product, same_size, same_sizes

Axis = int | Sequence[int] | None


def reduce_over(op: str, x: Array, axis: Axis, keepdims: bool, what: str) -> Array:
    """The reduction primitive ``op`` over ``axis``; errors name ``what``."""
    axes = normalize_axes(axis, len(x.shape), what)
    result = bind(op, x, axes=axes) if axes else x
    if keepdims and axes:
        result = reshape(result, tuple(1 if i in axes else s for i, s in enumerate(x.shape)))
    return result


def _sum_dtype(x: Array, dtype: Any) -> Array:
    """Integers are summed in 64 bits, as the array API asks; an explicit dtype wins."""
    if dtype is not None:
        return astype(x, as_dtype(dtype))
    if x.dtype is bool_ or (x.dtype.kind == "int" and x.dtype is not int64):
        return astype(x, int64)
    return astype(x, uint64) if x.dtype.kind == "uint" and x.dtype is not uint64 else x


def sum(x: ArrayLike, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """The sum over ``axis`` (all axes by default). Small integers and bools are summed in 64 bits. Empty: 0."""
    return reduce_over("reduce_sum", _sum_dtype(lift(x), dtype), axis, keepdims, "sum")


def prod(x: ArrayLike, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """The product over ``axis``. Small integers and bools are multiplied in 64 bits. Empty: 1."""
    return reduce_over("reduce_prod", _sum_dtype(lift(x), dtype), axis, keepdims, "prod")


def _nonempty(x: Array, axis: Axis, what: str) -> None:
    axes = normalize_axes(axis, len(x.shape), what)
    if builtins.any(same_size(x.shape[a], 0) for a in axes):
        raise ShapeError(f"{what} over no elements (shape {show_shape(x.shape)}) has no value", cause=ShapeError.EMPTY)


def max(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The largest element over ``axis``; NaN if any is. Raises ShapeError where there is none."""
    array = lift(x)
    _nonempty(array, axis, "max")
    return reduce_over("reduce_max", array, axis, keepdims, "max")


def min(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The smallest element over ``axis``; NaN if any is. Raises ShapeError where there is none."""
    array = lift(x)
    _nonempty(array, axis, "min")
    return reduce_over("reduce_min", array, axis, keepdims, "min")


def any(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Whether any element over ``axis`` is true (nonzero)."""
    array = lift(x)
    return reduce_over("reduce_any", array if array.dtype is bool_ else not_equal(array, 0), axis, keepdims, "any")


def all(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Whether all elements over ``axis`` are true (nonzero)."""
    array = lift(x)
    return reduce_over("reduce_all", array if array.dtype is bool_ else not_equal(array, 0), axis, keepdims, "all")


def size_as_number(sizes: Sequence[Dim], dtype: DType) -> Any:
    """The product of ``sizes`` as a divisor: a Python float, or a scalar array where it is symbolic."""
    total = product(sizes)
    return astype(bind("dimension", dim=total), dtype) if isinstance(total, DimExpr) else float(total)


def mean(x: ArrayLike, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """The arithmetic mean over ``axis``, as a float. NaN where there are no elements.

    16-bit floats are averaged in float32, so that the sum does not overflow.
    """
    return _mean(lift(x) if dtype is None else astype(lift(x), as_dtype(dtype)), axis, keepdims)


@computed_wide
def _mean(array: Array, axis: Axis, keepdims: bool) -> Array:
    axes = normalize_axes(axis, len(array.shape), "mean")
    total = sum(array, axis, keepdims=keepdims)
    return divide(total, size_as_number([array.shape[a] for a in axes], array.dtype))


@computed_wide
def var(x: Array, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Array:
    """The variance over ``axis``: the squared distances from the mean, summed and divided by n - ``correction``."""
    array = x
    axes = normalize_axes(axis, len(array.shape), "var")
    centered = subtract(array, mean(array, axis, keepdims=True))
    total = sum(square(centered), axis, keepdims=keepdims)
    return divide(total, degrees_of_freedom([array.shape[a] for a in axes], correction, array.dtype))


def degrees_of_freedom(sizes: Sequence[Dim], correction: float, dtype: DType) -> Any:
    """The product of ``sizes`` less ``correction``, at least 0: a Python float, or a scalar array where it is symbolic."""
    count, correction = size_as_number(sizes, dtype), as_number(correction, "correction")
    if isinstance(count, float):
        return builtins.max(count - correction, 0.0)
    return maximum(subtract(count, correction), 0.0)


def std(x: ArrayLike, axis: Axis = None, *, correction: float = 0, keepdims: bool = False) -> Array:
    """The standard deviation over ``axis``, the square root of :func:`var`. Its gradient is 0 where all elements agree."""
    return root_of_sum(var(x, axis, correction=correction, keepdims=keepdims), 2.0)


def root_of_sum(total: Array, order: float) -> Array:
    """The root of a sum of powers, with the gradient 0 where the sum is 0 (a subgradient; the formula gives NaN)."""
    nothing = equal(total, 0.0)
    positive = where(nothing, 1.0, total)
    return where(nothing, 0.0, sqrt(positive) if order == 2 else power_of(positive, 1.0 / order))


def argmax(x: ArrayLike, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The position (int64) of the first largest element along ``axis`` (of the raveled array by default); NaN wins."""
    return _arg("argmax", x, axis, keepdims)


def argmin(x: ArrayLike, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The position (int64) of the first smallest element along ``axis`` (of the raveled array by default); NaN wins."""
    return _arg("argmin", x, axis, keepdims)


def _arg(op: str, x: ArrayLike, axis: int | None, keepdims: bool) -> Array:
    array = lift(x)
    if axis is None:
        result = bind(op, ravel(array), axis=0)
        return reshape(result, (1,) * len(array.shape)) if keepdims else result
    place = normalize_axis(axis, len(array.shape), op)
    result = bind(op, array, axis=place)
    return expand_dims(result, place) if keepdims else result


def _cumulative(op: str, x: Array, axis: int | None, what: str) -> Array:
    if axis is None:
        if len(x.shape) != 1:
            x = ravel(x)
        axis = 0
    return bind(op, x, axis=normalize_axis(axis, len(x.shape), what), reverse=False)


def cumulative_sum(x: ArrayLike, axis: int | None = None, *, dtype: Any = None) -> Array:
    """Running sums along ``axis`` (of the raveled array by default)."""
    return _cumulative("cumulative_sum", _sum_dtype(lift(x), dtype), axis, "cumulative_sum")


def cumulative_prod(x: ArrayLike, axis: int | None = None, *, dtype: Any = None) -> Array:
    """Running products along ``axis``."""
    return _cumulative("cumulative_prod", _sum_dtype(lift(x), dtype), axis, "cumulative_prod")


def cumulative_max(x: ArrayLike, axis: int | None = None) -> Array:
    """The largest element so far along ``axis``."""
    return _cumulative("cumulative_max", lift(x), axis, "cumulative_max")


def cumulative_min(x: ArrayLike, axis: int | None = None) -> Array:
    """The smallest element so far along ``axis``."""
    return _cumulative("cumulative_min", lift(x), axis, "cumulative_min")


cumsum, cumprod = cumulative_sum, cumulative_prod


def count_nonzero(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The number (int64) of nonzero elements over ``axis``."""
    return sum(astype(not_equal(lift(x), 0), int64), axis, keepdims=keepdims)


@computed_wide
def logsumexp(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over ``axis``, without overflow: the largest element is subtracted first."""
    array = x
    largest = reduce_over("reduce_max", array, axis, True, "logsumexp")
    largest = where(isinf(largest), 0.0, largest)
    shift = bind("stop_gradient", largest)
    total = log(sum(exp(subtract(array, shift)), axis, keepdims=True))
    result = add(total, shift)
    if keepdims:
        return result
    axes = normalize_axes(axis, len(array.shape), "logsumexp")
    return reshape(result, tuple(s for i, s in enumerate(array.shape) if i not in axes))


@computed_wide
def norm(x: Array, ord: float | str | None = None, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """A vector norm over ``axis`` (all axes, raveled, by default): ``ord`` 2 (default), 1, inf, -inf, 0 or any p > 0.

    The gradient of a norm at 0 is 0.
    """
    if ord is None or ord in (2, "fro"):
        return root_of_sum(sum(square(x), axis, keepdims=keepdims), 2.0)
    if isinstance(ord, str):
        raise ArgumentError(f"norm: unknown order {ord!r}", hint="use None, 'fro', or a number", cause=ArgumentError.CHOICE)
    order = as_number(ord, "norm: ord")
    magnitude = absolute(x)
    if order == float("inf"):
        return max(magnitude, axis, keepdims=keepdims)
    if order == float("-inf"):
        return min(magnitude, axis, keepdims=keepdims)
    if order == 0:
        return astype(count_nonzero(x, axis, keepdims=keepdims), x.dtype)
    if order == 1:
        return sum(magnitude, axis, keepdims=keepdims)
    nothing = equal(magnitude, 0.0)  # its power would have an infinite gradient for orders below 1
    powers = where(nothing, 0.0 if order > 0 else float("inf"), power_of(where(nothing, 1.0, magnitude), float(order)))
    return root_of_sum(sum(powers, axis, keepdims=keepdims), float(order))


def allclose(x: ArrayLike, y: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Whether all elements of x and y are close (see ``isclose``), as a scalar bool array."""
    return all(isclose(x, y, rtol, atol, equal_nan))


def array_equal(x: ArrayLike, y: ArrayLike) -> Array:
    """Whether x and y have one shape and equal elements, as a scalar bool array. NaN equals nothing."""
    first, second = lift(x, y), lift(y, x)
    if not same_sizes(first.shape, second.shape):
        return context_of((first, second)).literal(False, bool_)
    return all(equal(first, second))


def nansum(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The sum over ``axis`` with NaN counted as 0."""
    array = lift(x)
    return sum(where(isnan(array), 0, array), axis, keepdims=keepdims)


@computed_wide
def nanmean(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The mean over ``axis`` of the elements that are not NaN; NaN where there are none."""
    missing = isnan(x)
    counted = astype(sum(logical_not(missing), axis, keepdims=keepdims), x.dtype)
    return divide(sum(where(missing, 0.0, x), axis, keepdims=keepdims), counted)


def median(x: ArrayLike, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The middle element in sorted order, or the mean of the two middle ones; NaN if any is."""
    from_float = to_float(x)
    array, place = (ravel(from_float), 0) if axis is None else (
        from_float, normalize_axis(axis, len(from_float.shape), "median"),
    )  # fmt: skip
    _nonempty(array, place, "median")
    ordered = bind("sort", array, axis=place, descending=False)
    size = array.shape[place].__index__()
    starts = [0] * len(array.shape)
    starts[place] = (size - 1) // 2
    limits = list(array.shape)
    limits[place] = size // 2 + 1
    middle = bind("slice", ordered, starts=tuple(starts), limits=tuple(limits), strides=(1,) * len(array.shape))
    result = mean(middle, place, keepdims=keepdims)
    has_nan = any(not_equal(array, array), place, keepdims=keepdims)
    result = where(has_nan, float("nan"), result)
    return reshape(result, (1,) * len(from_float.shape)) if axis is None and keepdims else result
