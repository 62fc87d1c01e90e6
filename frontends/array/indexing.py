"""Reading and writing by index, with NumPy's meaning.

Basic indices (ints, slices, None, ...) give views: one ``slice``, a ``reverse`` for negative steps, a ``reshape``. Index arrays
become ``gather`` and ``scatter_*``. A boolean mask is read through the positions of its true elements, which only eager
execution knows; writing a value that does not depend on their number is a ``select`` and works everywhere.
An index out of range raises, at the line that used it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import as_dtype, bool_, int64
from graphc.errors import ArgumentError, DTypeError, OutOfBoundsError, ShapeError
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    broadcast_arrays_in,
    broadcast_shapes,
    broadcast_to_shape,
    converted,
    lift,
    normalize_axis,
    show_shape,
    with_shape,
)  # fmt: skip
from graphc.frontends.array.elementwise import add, less, where
from graphc.frontends.array.movement import permute_dims, reshape
from graphc.frontends.dispatch import Array, bind, bind_near, bind_view, context_of, executes, host_array
from graphc.frontends.sizes import Size, plain_size
from graphc.ir.dims import Dim, DimExpr, example_size, larger_size, same_sizes, smaller_size

_SCATTER = {"set": "scatter_set", "add": "scatter_add", "max": "scatter_max", "min": "scatter_min"}


class _Advanced(NamedTuple):
    """What remains of a key once its basic part has become a view."""

    axes: tuple[int, ...]  # axes of the view that are indexed by arrays
    indices: tuple[Any, ...]  # one int array (or mask over several axes) per entry of `axes`
    first: int  # where the indexed dimensions go in the result


def _is_int(item: Any) -> bool:
    if isinstance(item, (bool, np.bool_)):
        return False
    return isinstance(item, (int, np.integer, DimExpr)) or (not isinstance(item, Array) and hasattr(item, "__index__")
                                                           and not isinstance(item, np.ndarray))  # fmt: skip


def _is_mask(item: Any) -> bool:
    return (isinstance(item, Array) and item.dtype is bool_) or (
        not isinstance(item, Array) and np.asarray(item).dtype == np.bool_
    )


def _expand_key(x: Array, key: Any) -> list[Any]:
    items = list(key) if isinstance(key, tuple) else [key]
    consumed = 0
    ellipses = 0
    for item in items:
        if item is Ellipsis:
            ellipses += 1
        elif item is None:
            continue
        elif isinstance(item, (bool, np.bool_)):
            raise ArgumentError("indexing with a Python bool is not supported", hint="use gc.where, or an array mask")
        elif isinstance(item, (str, float)):
            raise DTypeError(f"{item!r} is not an index", hint="use ints, slices, None, ..., or integer or bool arrays")
        elif not isinstance(item, slice) and not _is_int(item) and _is_mask(item):
            if _mask_ndim(item) == 0:
                raise ArgumentError("indexing with a scalar bool is not supported", hint="use gc.where, or an array mask")
            consumed += _mask_ndim(item)
        else:
            consumed += 1
    ndim = len(x.shape)
    if ellipses > 1:
        raise ArgumentError("an index can hold only one ellipsis (...)")
    if consumed > ndim:
        raise OutOfBoundsError(
            f"too many indices: {consumed} for an array of {ndim} dimensions, shape {show_shape(x.shape)}"
        )
    fill = [slice(None)] * (ndim - consumed)
    if ellipses:
        place = next(i for i, item in enumerate(items) if item is Ellipsis)
        return [*items[: place + 1], *fill, *items[place + 1 :]]
    return items + fill


def _is_known(item: slice, size: Dim) -> bool:
    """Whether no symbolic size plays a part."""
    return not any(isinstance(b, (DimExpr, Size)) for b in (size, item.start, item.stop))


def _slice_bounds(item: slice, size: Dim, axis: int) -> tuple[Dim, Dim, int]:
    """Start, limit and step within [0, size]; a negative step gives the bounds of the forward slice it reverses.

    Of a symbolic size it reverses first: then the bounds are those of the slice of the reversed axis.
    """
    step = 1 if item.step is None else int(item.step.__index__())
    if step == 0:
        raise ArgumentError(f"a slice of axis {axis} has step 0")
    given = (plain_size(item.start), plain_size(item.stop))
    bounds = [b if b is None or isinstance(b, DimExpr) else int(b.__index__()) for b in given]
    if _is_known(item, size):
        start, stop, step = slice(bounds[0], bounds[1], step).indices(size)
        count = len(range(start, stop, step))
        if count == 0:
            return 0, 0, 1
        if step < 0:
            return start + (count - 1) * step, start + 1, step
        return start, start + (count - 1) * step + 1, step
    if step < 0:  # x[a:b:-k] is x[::-1][-1 - a : -1 - b : k]
        bounds = [larger_size(0, size - 1 - b) if isinstance(b, DimExpr) else None if b is None else -1 - b for b in bounds]
    first, last = _clamp_bound(bounds[0], size, 0), _clamp_bound(bounds[1], size, size)
    return first, larger_size(first, last), step


def _clamp_bound(bound: Dim | None, size: Dim, default: Dim) -> Dim:
    if bound is None:
        return default
    if isinstance(bound, int) and bound < 0:
        return larger_size(0, size + bound)
    return smaller_size(bound, size)


def _basic_view(x: Array, items: Sequence[Any]) -> tuple[Array, list[tuple[int, Any]]]:
    """The view that the basic items select, and for each array item (axis of the view it indexes, item)."""
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[int] = []
    reversed_axes: list[int] = []  # after the slice
    reversed_first: list[int] = []
    kept: list[Dim] = []  # the shape after dropping int axes and adding new ones
    arrays: list[tuple[int, Any]] = []
    axis = 0
    for item in items:
        if item is Ellipsis:
            continue
        if item is None:
            kept.append(1)
            continue
        if isinstance(item, slice):
            start, limit, step = _slice_bounds(item, x.shape[axis], axis)
            starts.append(start)
            limits.append(limit)
            strides.append(abs(step))
            if step < 0:
                (reversed_axes if _is_known(item, x.shape[axis]) else reversed_first).append(axis)
            kept.append((limit - start + abs(step) - 1) // abs(step) if abs(step) != 1 else limit - start)
            axis += 1
        elif _is_int(item):
            position = _checked_int(item, x.shape[axis], axis, x)
            starts.append(position)
            limits.append(position + 1)
            strides.append(1)
            axis += 1
        else:
            count = _mask_ndim(item)
            arrays.append((len(kept), item))
            for _ in range(count):
                starts.append(0)
                limits.append(x.shape[axis])
                strides.append(1)
                kept.append(x.shape[axis])
                axis += 1
    view = bind_view("reverse", x, axes=tuple(reversed_first)) if reversed_first else x
    if tuple(limits) != x.shape or any(s != 0 for s in starts) or any(s != 1 for s in strides):
        view = bind_view("slice", view, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))
    if reversed_axes:
        view = bind_view("reverse", view, axes=tuple(reversed_axes))
    if tuple(kept) != view.shape:
        view = bind_view("reshape", view, shape=tuple(kept))
    return view, arrays


def _mask_ndim(item: Any) -> int:
    if not _is_mask(item):
        return 1
    return len(item.shape) if isinstance(item, Array) else np.ndim(item)


def _checked_int(item: Any, size: Dim, axis: int, x: Array) -> Dim:
    item = plain_size(item)
    index: Dim = item if isinstance(item, DimExpr) else int(item.__index__())
    if example_size(size) is None or example_size(index) is None:
        return size + index if isinstance(index, int) and index < 0 else index
    if not -size <= index < size:
        raise OutOfBoundsError(
            f"index {index} is out of bounds for axis {axis} with size {size} (shape {show_shape(x.shape)})",
            hint=f"use an index from {-size} to {size - 1}" if size else "the axis is empty",
        )
    return index + size if index < 0 else index


def _is_slicing(item: Any) -> bool:
    return item is None or item is Ellipsis or isinstance(item, slice)


def _stand_together(items: Sequence[Any]) -> bool:
    """Whether no slice, None or ellipsis stands between index arrays; ints beside them count as arrays (NumPy's rule)."""
    places = [place for place, item in enumerate(items) if not _is_slicing(item)]
    return places[-1] - places[0] + 1 == len(places)


def _advanced(view: Array, arrays: Sequence[tuple[int, Any]], items: Sequence[Any]) -> _Advanced:
    axes: list[int] = []
    indices: list[Array] = []
    for axis, item in arrays:
        if _is_mask(item):
            for offset, index in enumerate(_mask_positions(view, axis, item)):
                axes.append(axis + offset)
                indices.append(index)
        else:
            axes.append(axis)
            indices.append(_normalized_index(view, axis, item))
    shape = broadcast_shapes(context_of((view, *indices)), *(i.shape for i in indices), what="index arrays")
    first = axes[0] if _stand_together(items) else 0
    return _Advanced(tuple(axes), tuple(broadcast_to_shape(i, shape) for i in indices), first)


def _normalized_index(view: Array, axis: int, item: Any) -> Array:
    raw: Any = item if isinstance(item, (Array, np.ndarray)) else np.asarray(item)
    if isinstance(raw, np.ndarray) and raw.size == 0 and raw.dtype.kind == "f":
        raw = raw.astype(np.int64)
    literal = not isinstance(item, (Array, np.ndarray))
    context = context_of((view, raw))
    if literal:
        if not as_dtype(raw.dtype).is_integer:
            raise DTypeError(f"an index array must hold integers or bools, not {raw.dtype}")
        size = view.shape[axis]
        if isinstance(size, int):
            raw = np.where(raw < 0, raw + size, raw)
            return context.literal(raw, int64)
        index: Array = context.literal(raw, int64)
    else:
        index = lift(raw, view)
    if not index.dtype.is_integer:
        raise DTypeError(f"an index array must hold integers or bools, not {index.dtype.name}")
    unsigned = index.dtype.kind == "uint"
    index = astype(index, int64)
    if unsigned:
        return index
    size = view.shape[axis]
    limit = bind("dimension", dim=size) if isinstance(size, DimExpr) else size
    return where(less(index, 0), add(index, limit), index)


def _mask_positions(view: Array, axis: int, item: Any) -> list[Array]:
    mask = lift(item, view)
    mask = _fitted_mask(view, axis, mask)
    if not executes(mask.context):
        raise ShapeError(
            "selecting by a boolean mask gives a size that depends on the mask's values, which a graph cannot know",
            hint="bound it: x[gc.nonzero(mask, size=100)]; or use gc.where(mask, x, 0), or x[mask] = scalar",
        )
    return [mask.context.lift(i) for i in np.nonzero(host_array(mask))]


def _fitted_mask(view: Array, axis: int, mask: Array) -> Array:
    expected = view.shape[axis : axis + len(mask.shape)]
    fitted = with_shape(mask, expected)
    if fitted is None:
        raise ShapeError(
            f"a boolean mask of shape {show_shape(mask.shape)} does not fit the dimensions {show_shape(expected)} it indexes"
        )
    return fitted


def getitem(x: ArrayLike, key: Any) -> Array:
    """``x[key]``: a view for basic indices, a gathered copy for index arrays and masks.

    Raises OutOfBoundsError for an index out of range, ShapeError where index arrays do not broadcast.
    """
    array = lift(x)
    items = _expand_key(array, key)
    view, arrays = _basic_view(array, items)
    if not arrays:
        return view if view is not array else _fresh_view(array)
    advanced = _advanced(view, arrays, items)
    gathered = bind("gather", view, *advanced.indices, axes=advanced.axes)
    return _place(gathered, len(advanced.indices[0].shape), advanced.first)


def _fresh_view(x: Array) -> Array:
    return bind_view("reshape", x, shape=x.shape)


def _place(x: Array, count: int, first: int) -> Array:
    """Move the leading ``count`` dimensions so that they begin at ``first``."""
    if first == 0 or count == 0:
        return x
    rest = list(range(count, len(x.shape)))
    return permute_dims(x, (*rest[:first], *range(count), *rest[first:]))


def _unplace(x: Array, count: int, first: int) -> Array:
    """The inverse of :func:`_place`."""
    if first == 0 or count == 0:
        return x
    return permute_dims(x, (*range(first, first + count), *range(first), *range(first + count, len(x.shape))))


def setitem(x: Array, key: Any, value: ArrayLike) -> None:
    """``x[key] = value``, in place; the value is broadcast and converted to the dtype of ``x``."""
    update(x, key, value, "set", None)


def update(x: Array, key: Any, value: ArrayLike, mode: str, combine: Callable[[Any, Any], Array] | None) -> None:
    """Change ``x[key]`` in place: ``mode`` is "set", "add", "max" or "min"; ``combine`` does the same to basic views."""
    context = context_of((x, value))
    target = context.lift(x)
    items = _expand_key(target, key)
    view, arrays = _basic_view(target, items)
    if mode == "set" and not arrays and _is_same_view(view, value):
        return  # what `x[key] += v` does last: the view was already written
    (new,) = converted(context, [value], target.dtype)
    if not arrays:
        new = _fit(new, view, view.shape)
        context.write(view, new if combine is None else combine(view, new))
        return
    if len(arrays) == 1 and _is_mask(arrays[0][1]) and mode == "set" and (_stand_together(items) or not new.shape):
        masked = _masked_write(view, arrays[0][0], lift(arrays[0][1], target), new)
        if masked is not None:
            context.write(view, masked)
            return
    advanced = _advanced(view, arrays, items)
    count = len(advanced.indices[0].shape)
    rest = [s for i, s in enumerate(view.shape) if i not in advanced.axes]
    shape = (*rest[: advanced.first], *advanced.indices[0].shape, *rest[advanced.first :])
    updates = _unplace(_fit(new, view, shape), count, advanced.first)
    context.write(view, bind(_SCATTER[mode], view, updates, *advanced.indices, axes=advanced.axes))


def _is_same_view(view: Array, value: Any) -> bool:
    storage = getattr(view, "_storage", None)
    return (
        storage is not None
        and getattr(value, "_storage", None) is storage
        and getattr(value, "_chain", None) == view._chain  # type: ignore[attr-defined]
    )


def _fit(value: Array, view: Array, shape: tuple[Dim, ...]) -> Array:
    extra = len(value.shape) - len(shape)
    if extra > 0 and all(s == 1 for s in value.shape[:extra]):
        value = reshape(value, value.shape[extra:])
    context = context_of((view, value))
    try:
        if same_sizes(broadcast_shapes(context, value.shape, shape), shape):
            return broadcast_to_shape(value, shape)
    except ShapeError:
        pass
    raise ShapeError(
        f"a value of shape {show_shape(value.shape)} cannot be written where shape {show_shape(shape)} is indexed",
        hint="the value must broadcast to the indexed shape",
    )


def _masked_write(view: Array, axis: int, mask: Array, value: Array) -> Array | None:
    """``view`` with ``value`` where ``mask``, if ``value`` is the same for every true element; else None."""
    mask = _fitted_mask(view, axis, mask)
    after = len(view.shape) - axis - len(mask.shape)
    if len(value.shape) > after:
        place = len(value.shape) - after - 1
        if value.shape[place] != 1:
            return None
        value = reshape(value, (*value.shape[:place], *(1 for _ in mask.shape), *value.shape[place + 1 :]))
    wide = reshape(mask, (*mask.shape, *(1 for _ in range(after))))
    context = context_of((view, value))
    selector, new, old = broadcast_arrays_in(context, wide, value, view)
    if not same_sizes(old.shape, view.shape):
        raise ShapeError(f"a value of shape {show_shape(value.shape)} cannot be written into shape {show_shape(view.shape)}")
    return bind("select", selector, new, old)


class IndexUpdater:
    """``x.at``: functional updates ``x.at[key].set(v)``, ``add``, ``subtract``, ``multiply``, ``max``, ``min``; and ``get()``.

    Each gives a new array; ``x`` is unchanged. Repeated indices add up in ``add`` (unlike ``x[key] += v``).
    """

    __slots__ = ("_array", "_key")

    def __init__(self, array: Array, key: Any = Ellipsis) -> None:
        self._array = array
        self._key = key

    def __getitem__(self, key: Any) -> IndexUpdater:
        return IndexUpdater(self._array, key)

    def _updated(self, value: ArrayLike, mode: str, combine: Callable[[Any, Any], Array] | None) -> Array:
        result = context_of((self._array,)).copy(self._array)
        update(result, self._key, value, mode, combine)
        return result

    def get(self) -> Array:
        """``x[key]``."""
        return getitem(self._array, self._key)

    def set(self, value: ArrayLike) -> Array:
        """A copy in which ``x[key]`` is ``value``."""
        return self._updated(value, "set", None)

    def add(self, value: ArrayLike) -> Array:
        """A copy in which ``value`` is added to ``x[key]``."""
        return self._updated(value, "add", lambda old, new: bind("add", old, new))

    def subtract(self, value: ArrayLike) -> Array:
        """A copy in which ``value`` is subtracted from ``x[key]``."""
        return self.add(bind("neg", *converted(context_of((self._array,)), [value], self._array.dtype)))

    def multiply(self, value: ArrayLike) -> Array:
        """A copy in which ``x[key]`` is multiplied by ``value`` (once for repeated indices)."""
        old = getitem(self._array, self._key)
        return self.set(bind("mul", *_pair(old, value)))

    def max(self, value: ArrayLike) -> Array:
        """A copy in which ``x[key]`` is at least ``value``."""
        return self._updated(value, "max", lambda old, new: bind("maximum", old, new))

    def min(self, value: ArrayLike) -> Array:
        """A copy in which ``x[key]`` is at most ``value``."""
        return self._updated(value, "min", lambda old, new: bind("minimum", old, new))


def _pair(old: Array, value: ArrayLike) -> list[Array]:
    context = context_of((old, value))
    return broadcast_arrays_in(context, old, *converted(context, [value], old.dtype))


def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> Array:
    """Elements of ``x`` at ``indices`` (any shape) along ``axis`` (of the raveled array by default)."""
    array = lift(x, indices)
    if axis is None:
        array, axis = reshape(array, (-1,)), 0
    place = normalize_axis(axis, len(array.shape), "take")
    item = indices if isinstance(indices, (Array, np.ndarray)) else np.asarray(indices)
    return getitem(array, (*(slice(None) for _ in range(place)), item))


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int = -1) -> Array:
    """Elements of ``x`` at ``indices`` along ``axis``, one index array of the rank of ``x``; other dimensions broadcast."""
    array, index = lift(x, indices), lift(indices, x)
    if not index.dtype.is_integer:
        raise DTypeError(f"take_along_axis: indices must be integers, not {index.dtype.name}")
    if len(index.shape) != len(array.shape):
        raise ShapeError(
            f"take_along_axis: indices of shape {show_shape(index.shape)} must have the rank of {show_shape(array.shape)}"
        )
    place = normalize_axis(axis, len(array.shape), "take_along_axis")
    keys = _along(array, index, place)
    return bind("gather", array, *keys, axes=tuple(range(len(array.shape))))


def _along(array: Array, index: Array, place: int) -> list[Array]:
    context = context_of((array, index))
    others = tuple(1 if i == place else s for i, s in enumerate(array.shape))
    shape = broadcast_shapes(context, index.shape, others)
    keys: list[Array] = []
    for axis in range(len(array.shape)):
        if axis == place:
            keys.append(broadcast_to_shape(_normalized_index(array, place, index), shape))
        else:
            keys.append(bind_near(index, "iota", dtype=int64, shape=shape, axis=axis))
    return keys


def put_along_axis(x: ArrayLike, indices: ArrayLike, values: ArrayLike, axis: int = -1) -> Array:
    """A copy of ``x`` in which the elements at ``indices`` along ``axis`` are ``values``."""
    array, index = lift(x, indices), lift(indices, x)
    place = normalize_axis(axis, len(array.shape), "put_along_axis")
    keys = _along(array, index, place)
    (new,) = converted(context_of((array, values)), [values], array.dtype)
    updates = broadcast_to_shape(new, keys[0].shape)
    return bind("scatter_set", array, updates, *keys, axes=tuple(range(len(array.shape))))
