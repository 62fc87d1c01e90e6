"""Matrix products."""

from __future__ import annotations

from typing import Any

from graphc.dtypes import bool_
from graphc.errors import DTypeError, ShapeError
from graphc.frontends.array.core import (
    ArrayLike, broadcast_shapes, broadcast_to_shape, converted, normalize_axes, show_shape,
)  # fmt: skip
from graphc.frontends.array.movement import reshape
from graphc.frontends.dispatch import Array, bind, context_of


def _operands(what: str, x: ArrayLike, y: ArrayLike) -> list[Array]:
    arrays = converted(context_of((x, y)), (x, y))
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
    inner_b = b.shape[0] if len(b.shape) == 1 else b.shape[-2]
    if a.shape[-1] != inner_b:
        context = context_of((a, b))
        if isinstance(a.shape[-1], int) and isinstance(inner_b, int):
            raise ShapeError(
                f"matmul: shapes {show_shape(a.shape)} and {show_shape(b.shape)} do not fit: "
                f"the inner sizes {a.shape[-1]} and {inner_b} differ",
                hint="transpose one operand, or check which axis is contracted",
            )
        context.guard("==", a.shape[-1], inner_b)
        place = 0 if len(b.shape) == 1 else len(b.shape) - 2
        b = reshape(b, (*b.shape[:place], a.shape[-1], *b.shape[place + 1 :]))
    if len(b.shape) <= 2 or len(a.shape) == 1:
        return _unbatched(a, b)
    if len(a.shape) == 2 and len(b.shape) > 2:
        a = reshape(a, (1,) * (len(b.shape) - 2) + a.shape)
    batch = broadcast_shapes(context_of((a, b)), a.shape[:-2], b.shape[:-2])
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
    shape = broadcast_shapes(context_of((a, b)), a.shape, b.shape)
    product = bind("mul", broadcast_to_shape(a, shape), broadcast_to_shape(b, shape))
    return bind("reduce_sum", product, axes=normalize_axes(axis, len(shape), "vecdot"))


def dot(x: ArrayLike, y: ArrayLike) -> Array:
    """NumPy's dot: the last axis of ``x`` with the second to last of ``y``; a plain product for scalars."""
    a, b = _operands("dot", x, y)
    if not a.shape or not b.shape:
        return bind("mul", *(broadcast_to_shape(v, broadcast_shapes(None, a.shape, b.shape)) for v in (a, b)))
    return _unbatched(a, b) if a.shape[-1] == (b.shape[0] if len(b.shape) == 1 else b.shape[-2]) else matmul(a, b)


def outer(x: ArrayLike, y: ArrayLike) -> Array:
    """All products x[i] * y[j] of two (raveled) vectors."""
    a, b = _operands("outer", x, y)
    return bind("dot_general", reshape(a, (-1,)), reshape(b, (-1,)), contract=((), ()), batch=((), ()))


def tensordot(x: ArrayLike, y: ArrayLike, axes: Any = 2) -> Array:
    """Sums of products over several axes: the last ``axes`` of ``x`` with the first of ``y``, or the two given lists of axes."""
    a, b = _operands("tensordot", x, y)
    if isinstance(axes, int):
        left, right = tuple(range(len(a.shape) - axes, len(a.shape))), tuple(range(axes))
    else:
        left, right = ((v,) if isinstance(v, int) else tuple(v) for v in axes)
        left = tuple(v + len(a.shape) if v < 0 else v for v in left)
        right = tuple(v + len(b.shape) if v < 0 else v for v in right)
    return bind("dot_general", a, b, contract=(left, right), batch=((), ()))
