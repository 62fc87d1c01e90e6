"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.dtypes import bool_, int64
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.frontends.array.core import (
    ArrayLike,
    broadcast_arrays_in,
    broadcast_shapes,
    broadcast_to_shape,
    converted,
    lift,
    normalize_axes,
    normalize_axis,
    show_shape,
)  # fmt: skip
from graphc.frontends.array.elementwise import equal, multiply, subtract
from graphc.frontends.array.movement import concat, reshape, slice_axis
from graphc.frontends.array.reduction import max as max_over
from graphc.frontends.array.reduction import min as min_over
from graphc.frontends.array.reduction import norm
from graphc.frontends.dispatch import Array, bind, bind_near, context_of
from graphc.ir.dims import same_size


def _operands(what: str, x: ArrayLike, y: ArrayLike) -> list[Array]:
    arrays = converted(context_of((x, y)), (x, y), what=what)
    if arrays[0].dtype is bool_:
        raise DTypeError(f"{what} is not defined for bools", hint="convert with .astype(gc.int64)")
    return arrays


def matmul(x: ArrayLike, y: ArrayLike) -> Array:
    """The matrix product ``x @ y``, NumPy's rule: the last two axes are matrices, the others broadcast, vectors are promoted.

    Raises ShapeError for scalars and where the inner sizes differ.
    """
    a, b = _operands("matmul", x, y)
    if not a.shape or not b.shape:
        raise ShapeError("matmul needs arrays of at least one dimension", hint="use * for scalars")
    b = _with_size(a, len(a.shape) - 1, b, max(len(b.shape) - 2, 0), "matmul")
    if len(b.shape) <= 2 or len(a.shape) == 1:
        return _unbatched(a, b)
    if len(a.shape) == 2 and len(b.shape) > 2:
        a = reshape(a, (1,) * (len(b.shape) - 2) + a.shape)
    batch = broadcast_shapes(context_of((a, b)), a.shape[:-2], b.shape[:-2], what="matmul")
    a = broadcast_to_shape(a, (*batch, *a.shape[-2:]))
    b = broadcast_to_shape(b, (*batch, *b.shape[-2:]))
    n = len(batch)
    axes = tuple(range(n))
    return bind("dot_general", a, b, contract=((n + 1,), (n,)), batch=(axes, axes))


def _unbatched(a: Array, b: Array) -> Array:
    """A product whose second operand (or first, if it is a vector) has no batch of its own."""
    place = 0 if len(b.shape) == 1 else len(b.shape) - 2
    return bind("dot_general", a, b, contract=((len(a.shape) - 1,), (place,)), batch=((), ()))


def vecdot(x: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """Dot products of vectors along ``axis``, the other axes broadcast."""
    a, b = _operands("vecdot", x, y)
    a, b = broadcast_arrays_in(context_of((a, b)), a, b, what="vecdot")
    return bind("reduce_sum", bind("mul", a, b), axes=normalize_axes(axis, len(a.shape), "vecdot"))


def dot(x: ArrayLike, y: ArrayLike) -> Array:
    """NumPy's dot: the last axis of ``x`` with the second to last of ``y``; a plain product for scalars."""
    a, b = _operands("dot", x, y)
    if not a.shape or not b.shape:
        return bind("mul", *broadcast_arrays_in(context_of((a, b)), a, b, what="dot"))
    return _unbatched(a, _with_size(a, len(a.shape) - 1, b, max(len(b.shape) - 2, 0), "dot"))


def outer(x: ArrayLike, y: ArrayLike) -> Array:
    """All products x[i] * y[j] of two (raveled) vectors."""
    a, b = _operands("outer", x, y)
    return bind("dot_general", reshape(a, (-1,)), reshape(b, (-1,)), contract=((), ()), batch=((), ()))


def tensordot(x: ArrayLike, y: ArrayLike, axes: int | Sequence[Any] = 2) -> Array:
    """Sums of products over several axes: the last ``axes`` of ``x`` with the first of ``y``, or two given lists of axes."""
    a, b = _operands("tensordot", x, y)
    if isinstance(axes, int):
        if not 0 <= axes <= min(len(a.shape), len(b.shape)):
            raise AxisError(
                f"tensordot: axes={axes} of shapes {show_shape(a.shape)} and {show_shape(b.shape)} cannot be summed over"
            )
        left, right = list(range(len(a.shape) - axes, len(a.shape))), list(range(axes))
    else:
        left, right = ([v] if isinstance(v, int) else list(v) for v in axes)
    left = [normalize_axis(v, len(a.shape), "tensordot") for v in left]
    right = [normalize_axis(v, len(b.shape), "tensordot") for v in right]
    if len(left) != len(right) or len(set(left)) != len(left) or len(set(right)) != len(right):
        raise AxisError(f"tensordot: axes {axes} must name equally many different axes of both operands")
    for i, j in zip(left, right, strict=True):
        b = _with_size(a, i, b, j, "tensordot")
    return bind("dot_general", a, b, contract=(tuple(left), tuple(right)), batch=((), ()))


def _with_size(a: Array, i: int, b: Array, j: int, what: str) -> Array:
    """``b``, whose axis ``j`` is (or is guarded to be) as long as axis ``i`` of ``a``. Raises ShapeError where it is not."""
    wanted, size = a.shape[i], b.shape[j]
    if wanted == size:
        return b
    if isinstance(wanted, int) and isinstance(size, int):
        raise ShapeError(
            f"{what}: shapes {show_shape(a.shape)} and {show_shape(b.shape)} do not fit: axis {i} of the first has size "
            f"{wanted}, axis {j} of the second {size}",
            hint="transpose one operand, or check which axes are summed over",
        )
    context_of((a, b)).guard("==", wanted, size)
    return reshape(b, (*b.shape[:j], wanted, *b.shape[j + 1 :]))


def inner(x: ArrayLike, y: ArrayLike) -> Array:
    """Sums of products over the last axes of both; a plain product for scalars."""
    a, b = _operands("inner", x, y)
    if not a.shape or not b.shape:
        return bind("mul", *broadcast_arrays_in(context_of((a, b)), a, b, what="inner"))
    return tensordot(a, b, ((len(a.shape) - 1,), (len(b.shape) - 1,)))


def kron(x: ArrayLike, y: ArrayLike) -> Array:
    """The Kronecker product: every element of ``x`` times all of ``y``, laid out in blocks."""
    a, b = _operands("kron", x, y)
    ndim = max(len(a.shape), len(b.shape))
    left, right = ((1,) * (ndim - len(v.shape)) + v.shape for v in (a, b))
    spread = reshape(a, tuple(s for size in left for s in (size, 1)))
    blocks = multiply(spread, reshape(b, tuple(s for size in right for s in (1, size))))
    return reshape(blocks, tuple(m * n for m, n in zip(left, right, strict=True)))


def cross(x: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """The cross product of vectors of three elements along ``axis``, the other axes broadcast."""
    a, b = broadcast_arrays_in(context_of((x, y)), *_operands("cross", x, y), what="cross")
    place = normalize_axis(axis, len(a.shape), "cross")
    if a.shape[place] != 3:
        raise ShapeError(f"cross: axis {place} of shape {show_shape(a.shape)} has size {a.shape[place]}, not 3")
    first, second = ([slice_axis(v, place, i, i + 1) for i in range(3)] for v in (a, b))
    pairs = ((1, 2), (2, 0), (0, 1))
    return concat(
        [subtract(multiply(first[i], second[j]), multiply(first[j], second[i])) for i, j in pairs], place
    )


def matrix_power(x: ArrayLike, n: int) -> Array:
    """The square matrix (or stack of matrices) ``x`` multiplied ``n`` times with itself, by repeated squaring; n >= 0."""
    array = lift(x)
    if len(array.shape) < 2 or not same_size(array.shape[-1], array.shape[-2]):
        raise ShapeError(f"matrix_power needs square matrices, not shape {show_shape(array.shape)}")
    if n < 0:
        raise ArgumentError(f"matrix_power: n must not be negative, but is {n}")
    if n == 0:
        size = array.shape[-2:]
        rows, columns = (bind_near(array, "iota", dtype=int64, shape=size, axis=i) for i in range(2))
        identity = bind("convert_element_type", equal(rows, columns), dtype=array.dtype)
        return broadcast_to_shape(identity, array.shape)
    result: Array | None = None
    while n:
        if n & 1:
            result = array if result is None else matmul(result, array)
        n >>= 1
        array = matmul(array, array) if n else array
    assert result is not None
    return result


def vector_norm(
    x: ArrayLike, axis: int | Sequence[int] | None = None, *, keepdims: bool = False, ord: float = 2
) -> Array:
    """The ``ord``-norm of vectors along ``axis`` (of the raveled array by default). See ``norm``."""
    return norm(x, ord, axis, keepdims=keepdims)


def matrix_norm(x: ArrayLike, *, keepdims: bool = False, ord: float | str = "fro") -> Array:
    """A norm of the matrices in the last two axes: "fro", 1 (largest column sum), inf (largest row sum), -1 or -inf."""
    array = lift(x)
    if len(array.shape) < 2:
        raise ShapeError(f"matrix_norm needs matrices, not shape {show_shape(array.shape)}")
    if ord == "fro":
        return norm(array, 2, (-2, -1), keepdims=keepdims)
    if ord not in (1, -1, float("inf"), float("-inf")):
        raise ArgumentError(f"matrix_norm: order {ord!r} is not supported", hint='use "fro", 1, -1, inf or -inf')
    sums = norm(array, 1, -2 if ord in (1, -1) else -1, keepdims=True)
    result = (max_over if float(ord) > 0 else min_over)(sums, (-2, -1), keepdims=True)
    return result if keepdims else reshape(result, array.shape[:-2])
