"""Sorting and searching. NaN sorts as the greatest number; ties keep their order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import bfloat16, bool_, int64, uint8
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    broadcast_to_shape,
    converted,
    lift,
    normalize_axis,
    show_shape,
)
from graphc.frontends.array.elementwise import (
    add,
    floor_divide,
    less,
    logical_and,
    logical_or,
    minimum,
    not_equal,
    where,
)  # fmt: skip
from graphc.frontends.array.indexing import take, take_along_axis
from graphc.frontends.array.movement import expand_dims, moveaxis, ravel, slice_axis
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind, bind_all, context_of, executes, host_array
from graphc.ir.dims import DimExpr


def _sortable(x: ArrayLike, axis: int | None, what: str) -> tuple[Array, int, bool]:
    """The array (raveled for ``axis=None``), the axis from 0, and whether bools were made numbers."""
    array = lift(x)
    if axis is None:
        array, axis = ravel(array), 0
    place = normalize_axis(axis, len(array.shape), what)
    is_bool = array.dtype is bool_
    return (astype(array, uint8) if is_bool else array), place, is_bool


def sort(x: ArrayLike, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The elements in ascending (or ``descending``) order along ``axis``; ``axis=None`` ravels first.

    NaN comes last, or first if ``descending``. The sort is always stable.
    """
    array, place, is_bool = _sortable(x, axis, "sort")
    result = bind("sort", array, axis=place, descending=descending)
    return astype(result, bool_) if is_bool else result


def argsort(x: ArrayLike, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The positions (int64) that sort ``x`` along ``axis``: ``take_along_axis(x, argsort(x))`` is ``sort(x)``."""
    array, place, _ = _sortable(x, axis, "argsort")
    return bind("argsort", array, axis=place, descending=descending)


class TopK(NamedTuple):
    """What :func:`topk` gives."""

    values: Array
    indices: Array


def topk(x: ArrayLike, k: int, axis: int = -1, *, largest: bool = True, sorted: bool = True) -> TopK:
    """The ``k`` largest (or smallest) elements along ``axis`` in order, and their positions (int64); PyTorch's ``topk``.

    Of elements that tie, those at lower positions. Raises ShapeError where the axis is shorter than ``k``.

    >>> gc.topk(gc.asarray([3.0, 1.0, 2.0]), 2).indices
    tensor([0, 2])
    """
    array, place, is_bool = _sortable(x, axis, "topk")
    size = array.shape[place]
    try:
        k = k.__index__()
    except (AttributeError, TypeError):
        raise ArgumentError(f"topk: k must be an int, not {k!r}") from None
    if k < 0 or (isinstance(size, int) and k > size):
        raise ShapeError(
            f"topk: k is {k}, but axis {place} of shape {show_shape(array.shape)} has size {size}",
            hint=f"use a k from 0 to {size}",
        )
    if largest:
        values, indices = bind_all("top_k", moveaxis(array, place, -1), k=k)
        values, indices = moveaxis(values, -1, place), moveaxis(indices, -1, place)
    else:
        order = bind("argsort", array, axis=place, descending=False)
        indices = slice_axis(order, place, 0, k)
        values = take_along_axis(array, indices, place)
    return TopK(astype(values, bool_) if is_bool else values, indices)


def searchsorted(sorted_sequence: ArrayLike, values: ArrayLike, side: str = "left") -> Array:
    """Where ``values`` (any shape) belong in a sorted vector: the positions (int64) that keep it sorted.

    ``side="left"``: before equal elements, ``"right"``: after them. By bisection; NaN sorts last.
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side must be 'left' or 'right', not {side!r}")
    line, wanted = converted(context_of((sorted_sequence, values)), (sorted_sequence, values), what="searchsorted")
    if len(line.shape) != 1:
        raise ShapeError(f"searchsorted: the sorted sequence must be a vector, not of shape {show_shape(line.shape)}")
    size = line.shape[0]
    if isinstance(size, DimExpr):  # the number of bisections is unknown: compare with every element
        wide = expand_dims(wanted, -1)
        return sum_over(astype(_precedes(line, wide, side), int64), -1)
    low = _filled(wanted, 0)
    if size == 0:
        return low
    high = _filled(wanted, size)
    for _ in range(size.bit_length()):
        middle = floor_divide(add(low, high), 2)
        element = bind("gather", line, minimum(middle, size - 1), axes=(0,))
        searching = less(low, high)
        after = logical_and(searching, _precedes(element, wanted, side))
        low, high = where(after, add(middle, 1), low), where(logical_and(searching, _not(after)), middle, high)
    return low


def _not(x: Array) -> Array:
    return bind("bitwise_not", x)


def _filled(like: Array, value: int) -> Array:
    return broadcast_to_shape(context_of((like,)).literal(value, int64), like.shape)


def _precedes(element: Array, value: Array, side: str) -> Array:
    """Whether ``element`` lies before the place of ``value``."""
    if side == "left":
        return _less(element, value)
    return _not(_less(value, element))


def _less(a: Array, b: Array) -> Array:
    if not a.dtype.is_floating:
        return less(a, b)
    return logical_or(less(a, b), logical_and(not_equal(b, b), _is_number(a)))


def _is_number(a: Array) -> Array:
    """Whether ``a`` is a number, not NaN."""
    return _not(not_equal(a, a))


class UniqueAll(NamedTuple):
    """What :func:`unique_all` gives."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """What :func:`unique_counts` gives."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """What :func:`unique_inverse` gives."""

    values: Array
    inverse_indices: Array


def unique_all(x: ArrayLike) -> UniqueAll:
    """The distinct elements in ascending order, their first positions in the raveled array, the position in the values of
    each element (in the shape of ``x``), and how often each occurs.

    Each NaN is distinct, as the array API asks. Eager only: a graph cannot know how many there are.
    """
    array = lift(x)
    if not executes(array.context):
        raise ShapeError(
            "unique() gives a size that depends on values, which a graph cannot know",
            hint="sort() and compare neighbours, or call it outside of the traced function",
        )
    data: Any = host_array(array)
    data = data.astype(np.float32) if array.dtype is bfloat16 else data
    _, first, inverse, counts = np.unique(
        data, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    context = array.context
    positions = context.lift(first.astype(np.int64))
    values = take(array, positions)
    lifted = [context.lift(v.astype(np.int64)) for v in (inverse.reshape(data.shape), counts)]
    return UniqueAll(values, positions, *lifted)


def unique_values(x: ArrayLike) -> Array:
    """The distinct elements in ascending order. Eager only."""
    return unique_all(x).values


def unique_counts(x: ArrayLike) -> UniqueCounts:
    """The distinct elements in ascending order, and how often each occurs. Eager only."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: ArrayLike) -> UniqueInverse:
    """The distinct elements in ascending order, and which of them each element of ``x`` is. Eager only."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique(
    x: ArrayLike, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The distinct elements in ascending order, and what else is asked for, in NumPy's order. Eager only."""
    found = unique_all(x)
    extras = [
        part for part, wanted in zip(found[1:], (return_index, return_inverse, return_counts), strict=True) if wanted
    ]
    return (found.values, *extras) if extras else found.values
