"""Selections whose number of elements depends on values: exact when executed at once, of a given size everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dtypes import bool_, int64
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.core import ArrayLike, astype, broadcast_to_shape, lift
from graphc.frontends.array.elementwise import (
    floor_divide,
    less,
    logical_and,
    not_equal,
    remainder,
    subtract,
    where,
)
from graphc.frontends.array.movement import as_shape, ravel
from graphc.frontends.array.reduction import cumulative_sum
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind, bind_near, context_of, executes, host_array
from graphc.ir.dims import Dim, DimExpr, product


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
        raise ShapeError("nonzero() of a scalar: it has no dimensions to give positions in", hint="reshape it to (1,)")
    if size is not None:
        return _first_positions(array, size, fill_value)
    if not executes(array.context):
        raise ShapeError(
            "nonzero() gives a size that depends on values, which a graph cannot know",
            hint="give it: gc.nonzero(x, size=100, fill_value=0); or use gc.where(condition, x, y)",
        )
    return tuple(array.context.lift(i) for i in np.nonzero(host_array(array)))


def _first_positions(array: Array, size: Any, fill_value: int | Sequence[int]) -> tuple[Array, ...]:
    (wanted,) = as_shape(size)
    if isinstance(wanted, int) and wanted < 0:
        raise ArgumentError(f"nonzero: size must not be negative, but is {wanted}")
    fills = [fill_value] * len(array.shape) if isinstance(fill_value, int) else list(fill_value)
    if len(fills) != len(array.shape):
        raise ArgumentError(
            f"nonzero: fill_value has {len(fills)} numbers, but the array {len(array.shape)} dimensions",
            hint="give one number, or one a dimension",
        )
    context = context_of((array,))
    mask = ravel(array if array.dtype is bool_ else not_equal(array, 0))
    rank = cumulative_sum(astype(mask, int64), 0)
    # Element i goes to the place that its rank among the nonzero ones gives, all others to one place more, which is cut off.
    last = _number(wanted)
    place = where(logical_and(mask, less(subtract(rank, 1), last)), subtract(rank, 1), last)
    positions = bind_near(mask, "iota", dtype=int64, shape=mask.shape, axis=0)
    room = broadcast_to_shape(context.literal(0, int64), (wanted + 1,))
    found = bind("scatter_set", context.copy(room), positions, place, axes=(0,))
    found = bind("slice", found, starts=(0,), limits=(wanted,), strides=(1,))
    present = less(bind_near(mask, "iota", dtype=int64, shape=(wanted,), axis=0), sum_over(astype(mask, int64)))
    result: list[Array] = []
    for axis, fill in enumerate(fills):
        stride = _number(product(array.shape[axis + 1 :]))
        length = _number(array.shape[axis])
        result.append(where(present, remainder(floor_divide(found, stride), length), fill))
    return tuple(result)


def _number(dim: Dim) -> Any:
    return bind("dimension", dim=dim) if isinstance(dim, DimExpr) else dim


__all__ = ["nonzero"]
