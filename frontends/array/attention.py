"""Layers with matrices as weights: linear maps, embeddings, attention."""

from __future__ import annotations

import math

from graphc.dtypes import bool_, int64
from graphc.errors import DTypeError, ShapeError
from graphc.frontends.array.activations import masked_softmax
from graphc.frontends.array.core import ArrayLike, astype, broadcast_shapes, converted, lift, show_shape
from graphc.frontends.array.elementwise import add, divide, equal, less_equal, multiply, sqrt, where
from graphc.frontends.array.linalg import matmul
from graphc.frontends.array.movement import expand_dims, matrix_transpose, repeat
from graphc.frontends.dispatch import Array, bind, bind_all, bind_near, context_of
from graphc.ir.dims import Dim, DimExpr, product, same_size

SKIPPED_FROM = 96
"""Queries and keys from which on it pays to leave out the keys that no query sees."""
MANY_SCORES = 1 << 22
"""Scores that do not stay in the caches: 16 megabytes of float32."""


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """x @ weight.T + bias, for x [..., in], weight [out, in] and bias [out] (PyTorch's layout).

    Raises ShapeError where they do not fit.
    """
    a, w = converted(context_of((x, weight)), (x, weight), what="linear")
    if len(w.shape) not in (1, 2) or not a.shape or not _may_equal(a.shape[-1], w.shape[-1]):
        raise ShapeError(
            f"linear: x has shape {show_shape(a.shape)} and weight {show_shape(w.shape)}",
            hint="x is [..., in] and weight [out, in], the transpose of what @ takes",
        )
    result = matmul(a, matrix_transpose(w) if len(w.shape) == 2 else w)
    if bias is None:
        return result
    shift = lift(bias, result)
    if len(shift.shape) > 1 or (shift.shape and not _may_equal(shift.shape[0], w.shape[0])):
        raise ShapeError(f"linear: bias has shape {show_shape(shift.shape)}, but weight {show_shape(w.shape)}")
    return add(result, shift)


def _may_equal(a: Dim, b: Dim) -> bool:
    return same_size(a, b) is not False


def bilinear(x: ArrayLike, y: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """x[..., i] * weight[o, i, j] * y[..., j] summed over i and j, plus bias [o]."""
    a, b, w = converted(context_of((x, y, weight)), (x, y, weight), what="bilinear")
    if len(w.shape) != 3:
        raise ShapeError(f"bilinear: weight must be [out, in1, in2], not {show_shape(w.shape)}")
    half = bind("dot_general", a, w, contract=((len(a.shape) - 1,), (1,)), batch=((), ()))  # [..., out, in2]
    result = bind("reduce_sum", multiply(half, expand_dims(b, -2)), axes=(len(half.shape) - 1,))
    return result if bias is None else add(result, bias)


def embedding(indices: ArrayLike, weight: ArrayLike, padding_idx: int | None = None) -> Array:
    """The rows of ``weight`` [count, size] at ``indices`` (any shape of integers): shape (*indices.shape, size).

    The row ``padding_idx`` gets no gradient. Raises OutOfBoundsError for an index below 0 or beyond the last row.

    >>> gc.embedding(gc.asarray([0, 2]), table)
    """
    table, positions = lift(weight, indices), lift(indices, weight)
    if not positions.dtype.is_integer:
        raise DTypeError(
            f"embedding: indices must be integers, not {positions.dtype.name} of shape {show_shape(positions.shape)}",
            hint="the arguments are embedding(indices, weight); convert indices with .astype(gc.int64)",
        )
    if len(table.shape) != 2:
        raise ShapeError(f"embedding: weight must be [count, size], not {show_shape(table.shape)}")
    rows = bind("gather", table, astype(positions, int64), axes=(0,))
    if padding_idx is None:
        return rows
    place = padding_idx + table.shape[0] if padding_idx < 0 else padding_idx
    padding = expand_dims(equal(positions, place), -1)
    return where(padding, bind("stop_gradient", rows), rows)


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    """softmax(query @ keyᵀ * scale + mask) @ value (Vaswani et al., "Attention Is All You Need", 2017).

    query [..., L, E], key [..., S, E], value [..., S, V]; result [..., L, V]. ``scale``: 1 / √E by default. ``attn_mask``
    broadcasts to [..., L, S]: bool (True takes part) or numbers that are added. ``is_causal``: position i sees keys up to i.
    ``enable_gqa``: key and value may have fewer heads (axis -3), each serving a group of query heads. Where everything is
    masked the result is 0.

    Without a mask, the scores are not kept in memory where that is faster: see docs/design.md.
    """
    q, k, v = converted(context_of((query, key, value)), (query, key, value), what="scaled_dot_product_attention")
    _check_attention(q, k, v)
    if enable_gqa:
        k, v = _shared_heads(q, k), _shared_heads(q, v)
    if attn_mask is None and _in_blocks(q, k, v, is_causal):
        return bind_all("attention", _scaled(q, q.shape[-1], scale), k, v, causal=is_causal)[0]
    scores = _scaled(matmul(q, matrix_transpose(k)), q.shape[-1], scale)
    if is_causal:
        scores = where(_causal(scores, scores.shape[-2:]), scores, float("-inf"))
    if attn_mask is not None:
        mask = lift(attn_mask, scores)
        if broadcast_shapes(context_of((scores, mask)), mask.shape, scores.shape) != scores.shape:
            raise ShapeError(
                f"scaled_dot_product_attention: attn_mask has shape {show_shape(mask.shape)}, the scores "
                f"{show_shape(scores.shape)}",
                hint="the mask must broadcast to [..., L, S]",
            )
        scores = where(mask, scores, float("-inf")) if mask.dtype is bool_ else add(scores, mask)
    return matmul(masked_softmax(scores), v)


def _in_blocks(q: Array, k: Array, v: Array, is_causal: bool) -> bool:
    """Whether the primitive takes the operands, and is faster than a composition that keeps the scores in memory.

    It skips what no query sees, and it computes the scores again for the gradient. So it is faster if causal, from about a
    hundred tokens on, and else where the scores are too many for the caches (docs/design.md has the times).
    """
    is_batched_alike = q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not (q.dtype.is_floating and is_batched_alike and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]):
        return False
    queries, keys = q.shape[-2], k.shape[-2]
    if is_causal and all(isinstance(size, DimExpr) or size >= SKIPPED_FROM for size in (queries, keys)):
        return True
    scores = product((*q.shape[:-1], keys))
    return isinstance(scores, DimExpr) or scores >= MANY_SCORES


def _scaled(x: Array, width: Dim, scale: float | None) -> Array:
    if scale is not None:
        return multiply(x, scale)
    if isinstance(width, DimExpr):
        return divide(x, sqrt(astype(bind("dimension", dim=width), x.dtype)))
    return multiply(x, 1.0 / math.sqrt(width) if width else 1.0)


def _check_attention(q: Array, k: Array, v: Array) -> None:
    ranks = min(len(a.shape) for a in (q, k, v))
    if ranks < 2 or not _may_equal(q.shape[-1], k.shape[-1]) or not _may_equal(k.shape[-2], v.shape[-2]):
        raise ShapeError(
            f"scaled_dot_product_attention: query {show_shape(q.shape)}, key {show_shape(k.shape)} and value "
            f"{show_shape(v.shape)} do not fit",
            hint="query is [..., L, E], key [..., S, E], value [..., S, V]",
        )


def _shared_heads(q: Array, x: Array) -> Array:
    if len(q.shape) < 3 or len(x.shape) < 3:
        raise ShapeError("scaled_dot_product_attention: enable_gqa needs a dimension of heads, [..., heads, L, E]")
    wanted, heads = q.shape[-3].__index__(), x.shape[-3].__index__()
    if heads == 0 or wanted % heads:
        raise ShapeError(f"scaled_dot_product_attention: {wanted} query heads cannot share {heads} key or value heads")
    return x if wanted == heads else repeat(x, wanted // heads, axis=-3)


def _causal(like: Array, shape: tuple[Dim, ...]) -> Array:
    rows = bind_near(like, "iota", dtype=int64, shape=shape, axis=0)
    columns = bind_near(like, "iota", dtype=int64, shape=shape, axis=1)
    return less_equal(columns, rows)
