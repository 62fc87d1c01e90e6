"""Making arrays: from data, filled, counting, by shape."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from graphc.dtypes import DType, as_dtype, default_float, default_int, int64
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_int, as_number
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    broadcast_shapes,
    broadcast_to_shape,
    is_scalar,
    lift,
    scalar_dtype,
    shortened,
    show_shape,
)
from graphc.frontends.array.elementwise import add, less_equal, multiply, where
from graphc.frontends.array.exchange import from_cuda_array, is_foreign
from graphc.frontends.array.movement import as_shape, stack
from graphc.frontends.dispatch import Array, bind, bind_near, context_of, context_of_sizes, eager_context, executes, observers
from graphc.frontends.placement import device_like, noted, on
from graphc.frontends.sizes import known_sizes, plain_size
from graphc.ir.dims import DimExpr, dim_max


def contains_array(data: Any) -> bool:
    """Whether a nested sequence holds arrays of graphc's (its type is then that of their stack)."""
    if isinstance(data, Array):
        return True
    return isinstance(data, (list, tuple)) and any(contains_array(d) for d in data)


def asarray(data: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Array:
    """``data`` as an array: an Array or ndarray (sharing memory unless ``copy``), a scalar, or nested sequences of numbers.

    Python floats become float32, ints int64, bools bool; NumPy arrays keep their dtype. Raises ShapeError for ragged lists.
    """
    if device is not None:
        with on(device):
            return _placed(asarray(data, dtype=dtype, copy=copy), device)
    wanted = None if dtype is None else as_dtype(dtype)
    data = plain_size(data)
    if isinstance(data, DimExpr):
        array = bind("dimension", dim=data)
    elif isinstance(data, (list, tuple)) and contains_array(data):
        array = stack([asarray(d) for d in data])
    elif isinstance(data, (list, tuple, bool, int, float)) and not isinstance(data, np.generic):
        array = context_of(()).literal(*_from_python(data, wanted))
    else:
        array = from_cuda_array(data) if is_foreign(data) else lift(data)
        if copy:
            array = context_of((array,)).copy(array)
    return array if wanted is None else astype(array, wanted)


def _placed(array: Array, device: Any) -> Array:
    """``array`` on ``device``; in a graph, which runs where its inputs are, itself."""
    return cast("Array", cast("Any", array).to(device)) if executes(array.context) else array


def _from_python(data: Any, wanted: DType | None) -> tuple[np.ndarray, DType]:
    try:
        array = np.asarray(known_sizes(data))
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{shortened(data)} is not a rectangular array of numbers: {error}", cause=ShapeError.RAGGED) from None
    if array.dtype == object:
        raise ShapeError(f"{shortened(data)} is not a rectangular array of numbers", cause=ShapeError.RAGGED)
    if wanted is not None:
        as_dtype(array.dtype)  # an error for text and the like
        return array, wanted
    if isinstance(data, (list, tuple)) and _numpy_leaf(data):
        return array, as_dtype(array.dtype)
    kinds = {"f": default_float, "i": default_int, "u": default_int}
    return array, kinds.get(array.dtype.kind) or as_dtype(array.dtype)


def _numpy_leaf(data: Any) -> bool:
    """Whether nested sequences bottom out in NumPy arrays or scalars, whose dtype then counts."""
    while isinstance(data, (list, tuple)):
        if not data:
            return False
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def full(
    shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Array:
    """An array of ``shape`` filled with a scalar; its dtype follows the scalar unless given."""
    if device is not None:
        with on(device):
            return full(shape, fill_value, dtype=dtype, requires_grad=requires_grad)
    sizes = as_shape(shape)
    if is_scalar(fill_value):
        wanted = scalar_dtype(fill_value) if dtype is None else as_dtype(dtype)
        context = context_of_sizes(sizes)
        if context is eager_context() and not observers and min(sizes, default=0) >= 0:
            filled = noted(cast("Any", context).filled(sizes, fill_value, wanted))
            return filled.requires_grad_() if requires_grad else filled  # type: ignore[no-any-return]
        scalar = context.literal(fill_value, wanted)
    else:
        scalar = context_of_sizes(sizes).lift(asarray(fill_value, dtype=dtype))
        context = context_of((scalar,))
        if scalar.shape and broadcast_shapes(context, sizes, scalar.shape, what="full") != sizes:
            raise ShapeError(
                f"full: a value of shape {show_shape(scalar.shape)} does not broadcast to {show_shape(sizes)}",
                cause=ShapeError.BROADCAST,
            )
    result: Any = noted(context_of((scalar,)).copy(broadcast_to_shape(scalar, sizes)))
    return result.requires_grad_() if requires_grad else result  # type: ignore[no-any-return]


def zeros(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Array:
    """Zeros, float32 by default: ``zeros((2, 3))`` or ``zeros(2, 3)``."""
    sizes = shape[0] if len(shape) == 1 else shape
    return full(sizes, 0, dtype=dtype or default_float, device=device, requires_grad=requires_grad)


def ones(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Array:
    """Ones, float32 by default: ``ones((2, 3))`` or ``ones(2, 3)``."""
    sizes = shape[0] if len(shape) == 1 else shape
    return full(sizes, 1, dtype=dtype or default_float, device=device, requires_grad=requires_grad)


def empty(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Array:
    """An array to be written: zeros, so that nothing depends on what the memory held."""
    return zeros(*shape, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(x: ArrayLike, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """Filled, with the shape of ``x``, and its dtype and device unless given."""
    array = lift(x)
    return full(array.shape, fill_value, dtype=dtype or array.dtype, device=device or device_like(array))


def zeros_like(x: ArrayLike, *, dtype: Any = None, device: Any = None) -> Array:
    """Zeros of the shape, dtype and device of ``x``."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: ArrayLike, *, dtype: Any = None, device: Any = None) -> Array:
    """Ones of the shape, dtype and device of ``x``."""
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: ArrayLike, *, dtype: Any = None, device: Any = None) -> Array:
    """Zeros of the shape, dtype and device of ``x``, to be written."""
    return zeros_like(x, dtype=dtype, device=device)


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Array:
    """start, start + step, … below ``stop``; ``arange(n)`` counts from 0. Integers give int64, floats float32."""
    if device is not None:
        with on(device):
            return arange(start, stop, step, dtype=dtype)
    if stop is None:
        start, stop = 0, start
    start, stop, step = plain_size(start), plain_size(stop), plain_size(step)
    if any(isinstance(v, DimExpr) for v in (start, stop, step)):
        if not all(isinstance(v, (int, DimExpr, np.integer)) for v in (start, stop, step)):  # it counts in floats
            start, stop, step = (v.__index__() if isinstance(v, DimExpr) else v for v in (start, stop, step))
            return arange(start, stop, step, dtype=dtype)
        start, stop, step = (int(v) if isinstance(v, np.integer) else v for v in (start, stop, step))
        return _symbolic_range(start, stop, step, int64 if dtype is None else as_dtype(dtype))
    values = [v.item() if getattr(v, "size", 0) == 1 and hasattr(v, "item") else v for v in (start, stop, step)]
    values = [as_number(v, "arange: start, stop and step") for v in values]
    if values[2] == 0:
        raise ArgumentError("arange: step must not be 0", cause=ArgumentError.RANGE)
    if any(abs(v) == math.inf for v in values):
        raise ArgumentError("arange: start, stop and step must be finite", cause=ArgumentError.RANGE)
    integral = all(isinstance(v, int) for v in values)
    wanted = (default_int if integral else default_float) if dtype is None else as_dtype(dtype)
    count = max(0, math.ceil((values[1] - values[0]) / values[2]))
    if integral and wanted.is_integer:
        counting = bind("iota", dtype=wanted, shape=(count,), axis=0)
        scaled = counting if values[2] == 1 else multiply(counting, values[2])
        return noted(scaled if values[0] == 0 else add(scaled, values[0]))
    return noted(context_of(()).literal(values[0] + values[2] * np.arange(count), wanted))


def _symbolic_range(start: Any, stop: Any, step: Any, dtype: DType) -> Array:
    step = step.__index__()
    if step == 0:
        raise ArgumentError("arange: step must not be 0", cause=ArgumentError.RANGE)
    count = dim_max((stop - start + step - 1) // step if step > 0 else (start - stop - step - 1) // -step, 0)
    counting = bind("iota", dtype=dtype, shape=(count,), axis=0)
    scaled = counting if step == 1 else multiply(counting, step)
    if isinstance(start, DimExpr):
        return add(scaled, astype(bind("dimension", dim=start), dtype))
    return scaled if start == 0 else add(scaled, start)


def linspace(
    start: float, stop: float, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Array:
    """``num`` evenly spaced numbers from ``start`` to ``stop`` (included by default)."""
    if device is not None:
        with on(device):
            return linspace(start, stop, num, dtype=dtype, endpoint=endpoint)
    wanted = default_float if dtype is None else as_dtype(dtype)
    first, last = (float(as_number(end, "linspace: start and stop")) for end in (start, stop))
    count = as_int(num, "linspace: num", 0)
    return noted(context_of(()).literal(np.linspace(first, last, count, endpoint=bool(endpoint)), wanted))


def eye(rows: int, columns: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None) -> Array:
    """Ones on the ``k``-th diagonal, zeros elsewhere."""
    if device is not None:
        with on(device):
            return eye(rows, columns, k=k, dtype=dtype)
    wanted = default_float if dtype is None else as_dtype(dtype)
    k = as_int(k, "eye: k")
    shape = as_shape((rows, rows if columns is None else columns))
    height, width = shape
    if isinstance(height, int) and isinstance(width, int):
        return noted(context_of(()).literal(np.eye(height, width, k=k), wanted))
    row, column = (bind("iota", dtype=int64, shape=shape, axis=axis) for axis in (0, 1))
    return astype(bind("eq", add(row, k), column), wanted)


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinate arrays of the grid that one-dimensional ``arrays`` span; ``indexing`` "xy" or "ij"."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}", cause=ArgumentError.CHOICE)
    lifted = [lift(a) for a in arrays]
    if any(len(a.shape) != 1 for a in lifted):
        raise ShapeError("meshgrid takes vectors", hint="ravel() gives one", cause=ShapeError.DIMENSIONS)
    order = list(range(len(lifted)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    shape: list[Any] = [1] * len(lifted)
    for array, place in zip(lifted, order, strict=True):
        shape[place] = array.shape[0]
    return tuple(
        bind("broadcast_in_dim", a, shape=tuple(shape), dims=(place,)) for a, place in zip(lifted, order, strict=True)
    )


def _triangle(x: ArrayLike, k: int, keep_lower: bool) -> Array:
    array = lift(x)
    if len(array.shape) < 2:
        raise ShapeError(f"tril and triu need at least two dimensions, not {len(array.shape)}", cause=ShapeError.DIMENSIONS)
    shape = array.shape[-2:]
    rows, columns = (bind_near(array, "iota", dtype=int64, shape=shape, axis=axis) for axis in (0, 1))
    keep = less_equal(columns, add(rows, k)) if keep_lower else less_equal(add(rows, k), columns)
    return where(keep, array, 0)


def tril(x: ArrayLike, k: int = 0) -> Array:
    """The elements on and below the ``k``-th diagonal of the last two dimensions, zeros above."""
    return _triangle(x, k, True)


def triu(x: ArrayLike, k: int = 0) -> Array:
    """The elements on and above the ``k``-th diagonal of the last two dimensions, zeros below."""
    return _triangle(x, k, False)


def diag(x: ArrayLike, k: int = 0) -> Array:
    """A matrix with ``x`` on its ``k``-th diagonal; or that diagonal of a matrix."""
    array = lift(x)
    if len(array.shape) == 1:
        size = array.shape[0].__index__() + abs(k)
        rows = np.arange(array.shape[0].__index__()) + max(-k, 0)
        matrix = zeros((size, size), dtype=array.dtype, device=device_like(array))
        context = context_of((array,))
        positions = (context.literal(rows, int64), context.literal(rows + k, int64))
        return bind("scatter_set", matrix, array, *positions, axes=(0, 1))
    return diagonal(array, k)


def diagonal(x: ArrayLike, k: int = 0) -> Array:
    """The ``k``-th diagonal of the last two dimensions."""
    array = lift(x)
    if len(array.shape) < 2:
        raise ShapeError(f"diagonal needs at least two dimensions, not {len(array.shape)}", cause=ShapeError.DIMENSIONS)
    rows, columns = (s.__index__() for s in array.shape[-2:])
    k = as_int(k, "diagonal: k")
    count = max(0, min(rows + min(k, 0), columns - max(k, 0)))
    context = context_of((array,))
    first = context.literal(np.arange(count) + max(-k, 0), int64)
    second = context.literal(np.arange(count) + max(k, 0), int64)
    ndim = len(array.shape)
    gathered = bind("gather", array, first, second, axes=(ndim - 2, ndim - 1))
    return bind("transpose", gathered, permutation=(*range(1, ndim - 1), 0))


def trace(x: ArrayLike, k: int = 0) -> Array:
    """The sum of the ``k``-th diagonal of the last two dimensions."""
    line = diagonal(x, k)
    return bind("reduce_sum", line, axes=(len(line.shape) - 1,))


def one_hot(x: ArrayLike, num_classes: int, *, dtype: Any = None) -> Array:
    """1 at position x[…] of a new last axis of ``num_classes``, 0 elsewhere; a class out of range gives all zeros."""
    array = lift(x)
    if not array.dtype.is_integer:
        raise ArgumentError(f"one_hot takes integers, not {array.dtype.name}")
    num_classes = plain_size(num_classes)
    classes = bind_near(array, "iota", dtype=array.dtype, shape=(*array.shape, num_classes), axis=len(array.shape))
    wide = bind("broadcast_in_dim", array, shape=(*array.shape, num_classes), dims=tuple(range(len(array.shape))))
    return astype(bind("eq", wide, classes), default_float if dtype is None else as_dtype(dtype))


def copy(x: ArrayLike) -> Array:
    """The same values in memory of its own."""
    array = lift(x)
    return context_of((array,)).copy(array)


__all__ = [
    "arange", "asarray", "copy", "diag", "diagonal", "empty", "empty_like", "eye", "full", "full_like", "linspace",
    "meshgrid", "one_hot", "ones", "ones_like", "trace", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip
