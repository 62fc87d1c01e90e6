"""Array functions that move elements: shapes, axes, joining, repeating. Reshape, transpose, flip are views where possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.dtypes import int64 as _INT64
from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.frontends.arguments import MOST, as_int, as_ints, as_list
from graphc.frontends.array.core import (
    ArrayLike,
    broadcast_shapes,
    broadcast_to_shape,
    converted,
    lift,
    normalize_axes,
    normalize_axis,
    show_shape,
    with_shape,
)  # fmt: skip
from graphc.frontends.dispatch import Array, bind, bind_view, context_of
from graphc.frontends.sizes import plain_size, plain_sizes
from graphc.ir.dims import Dim, DimExpr, product, same_size
from graphc.ir.types import Shape


def as_shape(shape: Any) -> Shape:
    """A tuple of sizes from an int, a sequence or separate arguments given as a tuple."""
    shape = plain_size(shape)
    if isinstance(shape, DimExpr):
        return (shape,)
    if isinstance(shape, (int, np.integer)) or (hasattr(shape, "__index__") and not isinstance(shape, (list, tuple))):
        return (_size(shape),)
    try:
        items = list(shape)
    except TypeError:
        raise ShapeError(f"{shape!r} is not a shape", hint="give an int or a tuple of ints", cause=ShapeError.SIZE) from None
    return tuple(_size(s) for s in items)


def _size(value: Any) -> Dim:
    value = plain_size(value)
    if isinstance(value, DimExpr):
        return value
    try:
        size = int(value.__index__())
    except (AttributeError, TypeError):
        raise ShapeError(f"{value!r} is not a size", hint="sizes are ints", cause=ShapeError.SIZE) from None
    if size > MOST:
        raise ShapeError(f"the size {size} is more than 64 bits hold", cause=ShapeError.SIZE)
    return size


def reshape(x: ArrayLike, *shape: Any) -> Array:
    """The same elements in row-major order under another shape; one size may be -1. A view where strides allow.

    Raises ShapeError where the number of elements differs.
    """
    array = lift(x)
    sizes = as_shape(shape[0] if len(shape) == 1 else shape)
    unknown = [i for i, s in enumerate(sizes) if isinstance(s, int) and s == -1]
    if len(unknown) > 1:
        raise ShapeError(f"reshape: only one size of {show_shape(sizes)} may be -1", cause=ShapeError.RESHAPE)
    if unknown:
        known = product(s for i, s in enumerate(sizes) if i != unknown[0])
        total = product(array.shape)
        if known == 0:
            raise ShapeError(
                f"reshape: the size -1 in {show_shape(sizes)} could be anything, as the others hold no element",
                cause=ShapeError.RESHAPE,
            )
        if isinstance(total, int) and isinstance(known, int) and total % known:
            raise ShapeError(
                f"reshape: {total} elements of shape {show_shape(array.shape)} do not divide into {show_shape(sizes)}",
                cause=ShapeError.RESHAPE,
            )
        sizes = (*sizes[: unknown[0]], total // known, *sizes[unknown[0] + 1 :])
    return array if sizes == array.shape and not unknown else bind_view("reshape", array, shape=sizes)


def ravel(x: ArrayLike) -> Array:
    """All elements along one axis, in row-major order."""
    return reshape(x, (-1,)) if product(lift(x).shape) != 0 else reshape(x, (0,))


def flatten(x: ArrayLike, start_axis: int = 0, end_axis: int = -1) -> Array:
    """The axes from ``start_axis`` to ``end_axis``, both included, merged into one."""
    array = lift(x)
    if not array.shape:
        return reshape(array, (1,))
    first, last = normalize_axis(start_axis, len(array.shape), "flatten"), normalize_axis(end_axis, len(array.shape), "flatten")
    if first > last:
        raise AxisError(f"flatten: start axis {start_axis} lies after end axis {end_axis}")
    merged = product(array.shape[first : last + 1])
    return reshape(array, (*array.shape[:first], merged, *array.shape[last + 1 :]))


def permute_dims(x: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order (reversed without ``axes``). A view."""
    array = lift(x)
    order = tuple(range(len(array.shape)))[::-1] if axes is None else tuple(
        normalize_axis(a, len(array.shape), "permute_dims") for a in as_list(axes, "permute_dims: axes", "ints")
    )  # fmt: skip
    if sorted(order) != list(range(len(array.shape))):
        raise AxisError(
            f"permute_dims: {tuple(axes or ())} does not name each of the {len(array.shape)} axes once", cause=AxisError.TWICE
        )
    return bind_view("transpose", array, permutation=order)


transpose = permute_dims


def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Array:
    """Two axes exchanged. A view."""
    array = lift(x)
    a, b = normalize_axis(axis1, len(array.shape), "swapaxes"), normalize_axis(axis2, len(array.shape), "swapaxes")
    order = list(range(len(array.shape)))
    order[a], order[b] = order[b], order[a]
    return permute_dims(array, order)


def matrix_transpose(x: ArrayLike) -> Array:
    """The last two axes exchanged. A view. Raises ShapeError below two dimensions."""
    array = lift(x)
    if len(array.shape) < 2:
        raise ShapeError(
            f"matrix_transpose needs at least two dimensions, not shape {show_shape(array.shape)}", cause=ShapeError.DIMENSIONS
        )
    return swapaxes(array, -1, -2)


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes moved to new places, the others keeping their order. A view."""
    array = lift(x)
    sources = as_ints(source, "moveaxis: source")
    destinations = as_ints(destination, "moveaxis: destination")
    if len(sources) != len(destinations):
        raise AxisError(f"moveaxis: {len(sources)} sources, {len(destinations)} destinations", cause=AxisError.TWICE)
    sources = [normalize_axis(a, len(array.shape), "moveaxis") for a in sources]
    destinations = [normalize_axis(a, len(array.shape), "moveaxis") for a in destinations]
    order = [a for a in range(len(array.shape)) if a not in sources]
    for target, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(target, axis)
    return permute_dims(array, order)


def expand_dims(x: ArrayLike, axis: int | Sequence[int] = 0) -> Array:
    """New axes of size 1 at the places ``axis`` of the result. A view."""
    array = lift(x)
    axes = as_ints(axis, "expand_dims: axis")
    places = normalize_axes(axes, len(array.shape) + len(axes), "expand_dims")
    sizes = iter(array.shape)
    return reshape(array, tuple(1 if i in places else next(sizes) for i in range(len(array.shape) + len(axes))))


def squeeze(x: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """Axes of size 1 removed: those in ``axis``, or all. A view. Raises ShapeError for an axis of another size."""
    array = lift(x)
    if axis is None:
        axes = tuple(i for i, s in enumerate(array.shape) if same_size(s, 1))
    else:
        axes = normalize_axes(axis, len(array.shape), "squeeze")
        for a in axes:
            if not same_size(array.shape[a], 1):
                raise ShapeError(
                    f"squeeze: axis {a} of shape {show_shape(array.shape)} has size {array.shape[a]}, not 1",
                )
    return reshape(array, tuple(s for i, s in enumerate(array.shape) if i not in axes))


def broadcast_to(x: ArrayLike, *shape: Any) -> Array:
    """``x`` repeated to ``shape`` by NumPy's rule. A view that cannot be written."""
    array = lift(x)
    sizes = as_shape(shape[0] if len(shape) == 1 else shape)
    if broadcast_shapes(context_of((array,)), array.shape, sizes) != sizes:
        raise ShapeError(
            f"broadcast_to: shape {show_shape(array.shape)} does not broadcast to {show_shape(sizes)}",
            cause=ShapeError.BROADCAST,
        )
    return broadcast_to_shape(array, sizes)


def broadcast_arrays(*arrays: ArrayLike) -> tuple[Array, ...]:
    """All arrays repeated to their common shape."""
    context = context_of(arrays)
    lifted = [context.lift(a) for a in arrays]
    shape = broadcast_shapes(context, *(a.shape for a in lifted))
    return tuple(broadcast_to_shape(a, shape) for a in lifted)


def flip(x: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """The order of the elements along ``axis`` (all axes by default) reversed. A view."""
    array = lift(x)
    return bind_view("reverse", array, axes=normalize_axes(axis, len(array.shape), "flip"))


def concat(arrays: Sequence[ArrayLike], axis: int | None = 0) -> Array:
    """``arrays`` joined along an existing axis (``axis=None``: raveled first). Raises ShapeError where the others differ."""
    items = as_list(arrays, "concat: arrays")
    if not items:
        raise ArgumentError("concat needs at least one array", cause=ArgumentError.COUNT)
    context = context_of(items)
    lifted = converted(context, items)
    if axis is None:
        lifted, axis = [ravel(a) for a in lifted], 0
    if not lifted[0].shape:
        raise ShapeError("concat: scalars cannot be joined", hint="use stack()", cause=ShapeError.JOINED)
    return bind("concatenate", *lifted, axis=normalize_axis(axis, len(lifted[0].shape), "concat"))


concatenate = concat


def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Array:
    """``arrays`` of one shape joined along a new axis."""
    items = as_list(arrays, "stack: arrays")
    if not items:
        raise ArgumentError("stack needs at least one array", cause=ArgumentError.COUNT)
    lifted = converted(context_of(items), items)
    place = normalize_axis(axis, len(lifted[0].shape) + 1, "stack")
    for position, array in enumerate(lifted):
        fitted = with_shape(array, lifted[0].shape)
        if fitted is None:
            raise ShapeError(
                f"stack: shapes {show_shape(lifted[0].shape)} and {show_shape(array.shape)} differ",
                hint="all arrays must have one shape",
                cause=ShapeError.JOINED,
            )
        lifted[position] = fitted
    return concat([expand_dims(a, place) for a in lifted], place)


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Array, ...]:
    """The slices along ``axis``, which is removed. Views."""
    array = lift(x)
    place = normalize_axis(axis, len(array.shape), "unstack")
    size = array.shape[place]
    return tuple(squeeze(slice_axis(array, place, i, i + 1), place) for i in range(size.__index__()))


def slice_axis(x: Array, axis: int, start: Dim, stop: Dim, step: int = 1) -> Array:
    """``x[..., start:stop:step, ...]`` along one axis, for bounds that are already within it. A view."""
    starts = tuple(start if i == axis else 0 for i in range(len(x.shape)))
    limits = tuple(stop if i == axis else s for i, s in enumerate(x.shape))
    strides = tuple(step if i == axis else 1 for i in range(len(x.shape)))
    return bind_view("slice", x, starts=starts, limits=limits, strides=strides)


def split(x: ArrayLike, sections: int | Sequence[int], axis: int = 0) -> tuple[Array, ...]:
    """``x`` cut along ``axis``: into ``sections`` equal parts, or before each index in the list (NumPy's meaning). Views."""
    array = lift(x)
    place = normalize_axis(axis, len(array.shape), "split")
    size = array.shape[place]
    if isinstance(sections, int):
        if sections < 1:
            raise ArgumentError(f"split: the number of sections must be positive, not {sections}", cause=ArgumentError.RANGE)
        if same_size(size % sections, 0) is False:
            raise ShapeError(
                f"split: size {size} of axis {place} does not divide into {sections} equal parts", cause=ShapeError.PARTS
            )
        step = size // sections
        bounds: list[Dim] = [i * step for i in range(sections)] + [size]
    else:
        total = size.__index__()
        cuts = [min(max(c + total if c < 0 else c, 0), total) for c in as_ints(sections, "split: sections")]
        bounds = [0, *cuts, size]
    return tuple(
        slice_axis(array, place, a, max(a, b) if isinstance(a, int) and isinstance(b, int) else b)
        for a, b in pairwise(bounds)
    )


def chunk(x: ArrayLike, chunks: int, axis: int = 0) -> tuple[Array, ...]:
    """At most ``chunks`` parts along ``axis``, the last possibly smaller (PyTorch's meaning). Views."""
    array = lift(x)
    place = normalize_axis(axis, len(array.shape), "chunk")
    size = array.shape[place].__index__()
    step = -(-size // as_int(chunks, "chunk: chunks", 1)) if size else 0
    return split(array, list(range(step, size, step)) if step else [], place)


def tile(x: ArrayLike, repetitions: int | Sequence[int]) -> Array:
    """``x`` repeated as a whole, ``repetitions`` times along each axis."""
    array = lift(x)
    counts: list[Any] = list(as_shape(repetitions))
    ndim = max(len(array.shape), len(counts))
    counts = [1] * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - len(array.shape)) + array.shape
    interleaved = reshape(array, tuple(s for size in shape for s in (1, size)))
    repeated = broadcast_to_shape(interleaved, tuple(s for n, size in zip(counts, shape, strict=True) for s in (n, size)))
    return reshape(repeated, tuple(n * size for n, size in zip(counts, shape, strict=True)))


def repeat(x: ArrayLike, repeats: int, axis: int | None = None) -> Array:
    """Each element repeated ``repeats`` times along ``axis`` (of the raveled array by default)."""
    array = lift(x)
    times = as_int(plain_size(repeats), "repeat: repeats", 0)
    if axis is None:
        array, axis = ravel(array), 0
    place = normalize_axis(axis, len(array.shape), "repeat")
    widened = expand_dims(array, place + 1)
    shape = (*array.shape[: place + 1], times, *array.shape[place + 1 :])
    merged = (*array.shape[:place], array.shape[place] * times, *array.shape[place + 1 :])
    return reshape(broadcast_to_shape(widened, shape), merged)


def roll(x: ArrayLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Elements moved along ``axis`` by ``shift`` places, re-entering at the other end (the raveled array by default)."""
    array = lift(x)
    if axis is None:
        return reshape(roll(ravel(array), shift, 0), array.shape)
    axes = as_ints(axis, "roll: axis")
    shifts = as_ints(shift, "roll: shift")
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    if len(shifts) != len(axes):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes", cause=ArgumentError.COUNT)
    for a, s in zip(axes, shifts, strict=True):
        place = normalize_axis(a, len(array.shape), "roll")
        size = array.shape[place]
        if same_size(size, 0):
            continue
        offset = (-s) % size
        if offset == 0:
            continue
        array = concat([slice_axis(array, place, offset, size), slice_axis(array, place, 0, offset)], place)
    return array


def rot90(x: ArrayLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Array:
    """Rotated by ``k`` times 90 degrees in the plane of ``axes``."""
    array = lift(x)
    plane = normalize_axes(as_ints(axes, "rot90: axes"), len(array.shape), "rot90")
    if len(plane) != 2:
        raise AxisError(f"rot90: {axes} are not two axes", cause=AxisError.TWICE)
    a, b = (normalize_axis(i, len(array.shape), "rot90") for i in axes)
    for _ in range(as_int(k, "rot90: k") % 4):
        array = swapaxes(flip(array, b), a, b)
    return array


def pad(
    x: ArrayLike, pad_width: int | Sequence[Any], mode: str = "constant", constant_values: ArrayLike = 0
) -> Array:
    """``x`` widened by ``pad_width`` (one number, one (before, after) pair, or a pair for each axis), NumPy's ``pad``.

    ``mode``: "constant", "edge", "reflect" or "wrap".
    """
    array = lift(x)
    widths = _pad_widths(pad_width, len(array.shape))
    if mode == "constant":
        (value,) = converted(context_of((array,)), [constant_values], array.dtype)
        return bind(
            "pad", array, value, low=tuple(w[0] for w in widths), high=tuple(w[1] for w in widths),
            interior=(0,) * len(array.shape),
        )  # fmt: skip
    if mode not in ("edge", "reflect", "wrap"):
        raise ArgumentError(
            f"pad: unknown mode {mode!r}", hint="use constant, edge, reflect or wrap", cause=ArgumentError.CHOICE
        )
    if any(width < 0 for pair in widths for width in pair):
        raise ArgumentError(
            f"pad: negative widths {pad_width!r} in mode {mode!r}",
            hint='use mode "constant", or slice',
            cause=ArgumentError.RANGE,
        )
    for axis, (before, after) in enumerate(widths):
        if before == 0 and after == 0:
            continue
        around = (before.__index__(), after.__index__())
        index = np.pad(np.arange(array.shape[axis].__index__()), around, mode=mode)  # type: ignore[call-overload]
        array = bind_take(array, index, axis)
    return array


def bind_take(x: Array, index: np.ndarray, axis: int) -> Array:
    """``x`` at constant in-range positions along ``axis``."""
    from_context = context_of((x,))
    positions = from_context.literal(index, _INT64)
    gathered = bind("gather", x, positions, axes=(axis,))
    order = (*range(1, axis + 1), 0, *range(axis + 1, len(x.shape)))
    return permute_dims(gathered, order)


def _pad_widths(pad_width: Any, ndim: int) -> list[tuple[Dim, Dim]]:
    try:
        widths = np.asarray(plain_sizes(pad_width))
    except ValueError:
        raise ShapeError(f"pad: pad_width {pad_width!r} does not fit {ndim} dimensions", cause=ShapeError.DIMENSIONS) from None
    if widths.ndim == 1 and widths.size == 1:
        widths = widths[0]
    try:
        pairs = np.broadcast_to(widths, (ndim, 2))
    except ValueError:
        raise ShapeError(f"pad: pad_width {pad_width!r} does not fit {ndim} dimensions", cause=ShapeError.DIMENSIONS) from None
    return [(_width(a), _width(b)) for a, b in pairs]


def _width(value: Any) -> Dim:
    return value if isinstance(value, DimExpr) else as_int(value, "pad: pad_width")


def hstack(arrays: Sequence[ArrayLike]) -> Array:
    """``arrays`` joined along the second axis, vectors along their only one."""
    lifted = [_at_least_1d(a) for a in as_list(arrays, "hstack: arrays")]
    return concat(lifted, 0 if lifted and len(lifted[0].shape) == 1 else 1)


def vstack(arrays: Sequence[ArrayLike]) -> Array:
    """``arrays`` joined along the first axis, vectors as rows."""
    lifted = [_at_least_1d(a) for a in as_list(arrays, "vstack: arrays")]
    return concat([expand_dims(a, 0) if len(a.shape) == 1 else a for a in lifted], 0)


def _at_least_1d(x: ArrayLike) -> Array:
    array = lift(x)
    return array if array.shape else reshape(array, (1,))


cat = concat
permute, unsqueeze = permute_dims, expand_dims
