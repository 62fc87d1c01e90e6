"""Selections whose number of elements depends on values: exact when executed at once, of a given size everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dtypes import bool_, int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.core import ArrayLike, astype, broadcast_to_shape, lift, normalize_axis, show_shape
from graphc.frontends.array.elementwise import (
    floor_divide,
    less,
    logical_and,
    not_equal,
    remainder,
    subtract,
    where,
)
from graphc.frontends.array.indexing import getitem
from graphc.frontends.array.movement import as_shape, broadcast_arrays, concat, moveaxis, ravel, reshape, stack
from graphc.frontends.array.reduction import cumulative_sum
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind, bind_near, context_of, executes, host_array
from graphc.ir.dims import Dim, DimExpr, product, same_sizes


def nonzero(x: ArrayLike, *, size: Any = None, fill_value: int | Sequence[int] = 0) -> tuple[Array, ...]:
    """Positions (int64) of the nonzero elements in row-major order, one array a dimension.

    Their number depends on values, which a graph cannot know. With ``size`` there are exactly so many in every mode: the first
    ones, and after them ``fill_value`` (one number, or one a dimension), as in ``jax.numpy.nonzero``. ``count_nonzero(x)`` says
    how many there are. Raises ShapeError without ``size`` in a graph, and for a scalar.

    >>> gc.nonzero(gc.tensor([0.0, 3.0, 4.0]), size=3, fill_value=-1)
    (tensor([ 1,  2, -1]),)
    """
    array = lift(x)
    if not array.shape:
        raise ShapeError(
            "nonzero() of a scalar: it has no dimensions to give positions in",
            hint="reshape it to (1,)",
            cause=ShapeError.DIMENSIONS,
        )
    if size is not None:
        return _first_positions(array, size, fill_value)
    if not executes(array.context):
        raise ShapeError(
            "nonzero() gives a size that depends on values, which a graph cannot know",
            hint="give it: gc.nonzero(x, size=100, fill_value=0); or use gc.where(condition, x, y)",
            cause=ShapeError.DEPENDS_ON_VALUES,
        )
    return tuple(array.context.lift(i) for i in np.nonzero(host_array(array)))


def _first_positions(array: Array, size: Any, fill_value: int | Sequence[int]) -> tuple[Array, ...]:
    wanted = _bound(size, "nonzero")
    fills = [fill_value] * len(array.shape) if isinstance(fill_value, int) else list(fill_value)
    if len(fills) != len(array.shape):
        raise ArgumentError(
            f"nonzero: fill_value has {len(fills)} numbers, but the array {len(array.shape)} dimensions",
            hint="give one number, or one a dimension",
        )
    found, present = _first_true(ravel(array if array.dtype is bool_ else not_equal(array, 0)), wanted)
    result: list[Array] = []
    for axis, fill in enumerate(fills):
        stride = _number(product(array.shape[axis + 1 :]))
        length = _number(array.shape[axis])
        result.append(where(present, remainder(floor_divide(found, stride), length), fill))
    return tuple(result)


def _bound(size: Any, what: str) -> Dim:
    (wanted,) = as_shape((size,))
    if isinstance(wanted, int) and wanted < 0:
        raise ArgumentError(f"{what}: size must not be negative, but is {wanted}", cause=ArgumentError.RANGE)
    return wanted


def _first_true(mask: Array, size: Dim) -> tuple[Array, Array]:
    """The positions (int64) of the first ``size`` true elements of a vector, and whether there are so many; 0 where not."""
    context = context_of((mask,))
    rank = cumulative_sum(astype(mask, int64), 0)
    # Element i goes to the place that its rank among the true ones gives, all others to one place more, which is cut off.
    last = _number(size)
    place = where(logical_and(mask, less(subtract(rank, 1), last)), subtract(rank, 1), last)
    positions = bind_near(mask, "iota", dtype=int64, shape=mask.shape, axis=0)
    room = broadcast_to_shape(context.literal(0, int64), (size + 1,))
    found = bind("scatter_set", context.copy(room), positions, place, axes=(0,))
    found = bind("slice", found, starts=(0,), limits=(size,), strides=(1,))
    return found, less(bind_near(mask, "iota", dtype=int64, shape=(size,), axis=0), sum_over(astype(mask, int64)))


def masked_select(x: ArrayLike, mask: ArrayLike, *, size: Any = None, fill_value: Any = 0) -> Array:
    """The elements of ``x`` where ``mask`` is true, a vector in row-major order; the two broadcast.

    Their number depends on the mask, which a graph cannot know. With ``size`` there are exactly so many in every mode: the
    first ones, and after them ``fill_value``. Differentiable in ``x``. Raises ShapeError without ``size`` in a graph, and
    DTypeError for a mask that is not bool. (``torch.masked_select``; ``size`` as in ``jax.numpy.nonzero``.)

    >>> gc.masked_select(gc.tensor([1.0, -2.0, 3.0]), gc.tensor([True, False, True]), size=3)
    tensor([1., 3., 0.])
    """
    array, selector = broadcast_arrays(lift(x, mask), lift(mask, x))
    if selector.dtype is not bool_:
        raise DTypeError(f"masked_select: the mask must be bool, not {selector.dtype.name}", hint="compare: mask != 0")
    return _selected(reshape(array, (-1,)), reshape(selector, (-1,)), size, fill_value, "masked_select")


def compress(condition: ArrayLike, x: ArrayLike, axis: int | None = None, *, size: Any = None, fill_value: Any = 0) -> Array:
    """The slices of ``x`` along ``axis`` (of the raveled array by default) where the vector ``condition`` is true.

    With ``size`` there are exactly so many in every mode: the first ones, and after them slices of ``fill_value``. Raises
    ShapeError without ``size`` in a graph, and where the condition has not one element for each slice. (``numpy.compress``.)

    >>> gc.compress([True, False, True], gc.tensor([[1, 2], [3, 4], [5, 6]]), axis=0)
    tensor([[1, 2],
            [5, 6]])
    """
    array, selector = lift(x, condition), lift(condition, x)
    if axis is None:
        array, axis = reshape(array, (-1,)), 0
    place = normalize_axis(axis, len(array.shape), "compress")
    if len(selector.shape) != 1 or not same_sizes(selector.shape, (array.shape[place],)):
        raise ShapeError(
            f"compress: the condition has shape {show_shape(selector.shape)}, and must have one element for each of the "
            f"{array.shape[place]} slices along axis {axis}"
        )
    found = _selected(moveaxis(array, place, 0), astype(selector, bool_), size, fill_value, "compress")
    return moveaxis(found, 0, place)


def _selected(array: Array, mask: Array, size: Any, fill_value: Any, what: str) -> Array:
    """The slices of ``array`` along its first axis where ``mask`` is true."""
    if size is None:
        if not (executes(mask.context) and executes(array.context)):
            raise ShapeError(
                f"{what}() gives a size that depends on values, which a graph cannot know",
                hint=f"give the most there can be: gc.{what}(..., size=100, fill_value=0); or use gc.where(mask, x, 0)",
            )
        return getitem(array, mask)
    found, present = _first_true(mask, _bound(size, what))
    filler = broadcast_to_shape(context_of((array, mask)).literal(0, array.dtype), (1, *array.shape[1:]))
    padded = concat([array, filler])  # which has something to read where the array has nothing
    wide = reshape(present, (present.shape[0], *(1 for _ in array.shape[1:])))
    return where(wide, getitem(padded, found), astype(lift(fill_value, array), array.dtype))


def argwhere(x: ArrayLike, *, size: Any = None, fill_value: int | Sequence[int] = 0) -> Array:
    """Positions (int64) of the nonzero elements in row-major order, one a row: ``nonzero(x)`` side by side.

    >>> gc.argwhere(gc.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    array = lift(x)
    return stack(list(nonzero(array, size=size, fill_value=fill_value)), axis=1)


def flatnonzero(x: ArrayLike, *, size: Any = None, fill_value: int = 0) -> Array:
    """Positions (int64) of the nonzero elements in the raveled array; ``size`` and ``fill_value`` as of :func:`nonzero`.

    >>> gc.flatnonzero(gc.tensor([[0, 1], [2, 0]]))
    tensor([1, 2])
    """
    return nonzero(reshape(lift(x), (-1,)), size=size, fill_value=fill_value)[0]


def _number(dim: Dim) -> Any:
    return bind("dimension", dim=dim) if isinstance(dim, DimExpr) else dim


__all__ = ["argwhere", "compress", "flatnonzero", "masked_select", "nonzero"]
