"""attention: softmax(q kᵀ) v, without the matrix of scores in memory, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import as_dtype, int64
from graphc.errors import DTypeError, GradientError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.primitive import Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.batching import all_mapped
from graphc.ops.checking import check_same_dtype, describe, take
from graphc.ops.elementwise import rounded
from graphc.ops.reduction import in_compute_dtype

if TYPE_CHECKING:
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Graph, Node, Value

OPERANDS = ("q", "k", "v", "cotangent", "lse", "delta")


def _check(op: str, q: TensorType, k: TensorType, v: TensorType) -> None:
    for x in (q, k, v):
        if not x.dtype.is_floating:
            raise DTypeError(f"{op}: takes floats, not {x.dtype.name}: {describe((q, k, v))}")
    check_same_dtype(op, q, k)
    check_same_dtype(op, q, v)
    fits = min(q.ndim, k.ndim, v.ndim) >= 2 and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not fits or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"{op}: {describe((q, k, v))} do not fit",
            hint="q is [..., L, E], k [..., S, E] and v [..., S, V], with the same leading dimensions",
            cause=ShapeError.CONTRACTION,
        )


def _scores(q: Any, k: Any, causal: bool) -> tuple[Any, Any]:
    """The scores, -inf where a query does not see a key, and what it sees (None: all)."""
    scores = np.matmul(q, np.swapaxes(k, -1, -2))
    if not causal:
        return scores, None
    seen = np.arange(k.shape[-2]) <= np.arange(q.shape[-2])[:, np.newaxis]
    return np.where(seen, scores, scores.dtype.type(-np.inf)), seen


@register
class Attention(Primitive):
    """softmax(q kᵀ) v for q [..., L, E], k [..., S, E], v [..., S, V], and the logarithms of the softmax's sums.

    Results: [..., L, V], and [..., L] in the dtype of the arithmetic (float32 for 16-bit floats): log Σ exp(q · k). If
    ``causal``, the query at i sees the keys up to i. One that sees none, or whose scores are all -inf, gets 0 (and -inf).
    What a query does not see still counts as 0 times v: NaN there is NaN in the result. (Vaswani et al., 2017; kernels
    compute it block by block: Milakov and Gimelshein, 2018; Dao et al., "FlashAttention", 2022.)

    >>> out, lse = b.attention(q, k, v, causal=True)  # f32[8, 128, 64] each -> f32[8, 128, 64], f32[8, 128]
    """

    name = "attention"
    attributes = ("causal",)
    residuals: ClassVar[Residuals] = Residuals(operands=(0, 1, 2), results=(0, 1))

    def infer(self, inputs: tuple[TensorType, ...], /, *, causal: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        q, k, v = take(self.name, inputs, 3)
        _check(self.name, q, k, v)
        rows = q.shape[:-1]
        return q.with_shape((*rows, v.shape[-1])), TensorType(q.dtype.compute, rows)

    def evaluate(self, q: Any, k: Any, v: Any, *, causal: bool) -> Any:
        with np.errstate(all="ignore"):
            scores, _ = _scores(in_compute_dtype(q), in_compute_dtype(k), causal)
            largest = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
            shift = np.where(np.isinf(largest), 0, largest).astype(scores.dtype)
            powers = np.exp(scores - shift)
            total = np.sum(powers, axis=-1, keepdims=True)
            weights = powers / np.where(total == 0, 1, total).astype(scores.dtype)
            lse = (shift + np.log(total))[..., 0]
            return rounded(np.matmul(weights, in_compute_dtype(v)), q.dtype), lse

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if not any(needed):
            return None, None, None
        q, k, v = node.inputs
        out, lse = node.results
        cotangent = b.zeros_like(out) if cotangents[0] is None else cotangents[0]
        products = b.mul(_wide(b, out), _wide(b, cotangent))
        delta = b.reduce_sum(products, axes=(out.ndim - 1,))
        if cotangents[1] is not None:
            delta = b.sub(delta, cotangents[1])
        gradients = b.attention_gradient(q, k, v, cotangent, lse, delta, causal=node.attributes["causal"])
        return [gradient if wanted else None for gradient, wanted in zip(gradients, needed, strict=True)]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return b.emit(self, *all_mapped(b, node, operands, size), **node.attributes)


@register
class AttentionGradient(Primitive):
    """The gradients of q, k and v in attention, from q, k, v, the cotangent of its first result, ``lse`` and ``delta``.

    With P = exp(q kᵀ - lse), where a query sees a key, and D = P (cotangent vᵀ - delta): D k, Dᵀ q and Pᵀ cotangent. ``lse``
    is the second result of attention, and ``delta``, shaped alike, Σ cotangent · result along the last axis. (Dao et al.,
    "FlashAttention", 2022, algorithm 4.)
    """

    name = "attention_gradient"
    attributes = ("causal",)
    residuals: ClassVar[Residuals] = Residuals(operands=tuple(range(len(OPERANDS))))

    def infer(self, inputs: tuple[TensorType, ...], /, *, causal: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        q, k, v, cotangent, lse, delta = take(self.name, inputs, len(OPERANDS))
        _check(self.name, q, k, v)
        out, sums = Attention().infer((q, k, v), causal=causal)
        for name, given, wanted in (("cotangent", cotangent, out), ("lse", lse, sums), ("delta", delta, sums)):
            if given != wanted:
                raise ShapeError(
                    f"{self.name}: {name} is {given}, but {describe((q, k, v))} need {wanted}", cause=ShapeError.CHANNELS
                )
        return q, k, v

    def evaluate(self, q: Any, k: Any, v: Any, cotangent: Any, lse: Any, delta: Any, *, causal: bool) -> Any:
        dtype = q.dtype
        q, k, v, cotangent = (in_compute_dtype(x) for x in (q, k, v, cotangent))
        with np.errstate(all="ignore"):
            scores, seen = _scores(q, k, causal)
            weights = np.exp(scores - np.where(lse == -np.inf, 0, lse).astype(lse.dtype)[..., np.newaxis])
            slopes = weights * (np.matmul(cotangent, np.swapaxes(v, -1, -2)) - delta[..., np.newaxis])
            if seen is not None:
                slopes = np.where(seen, slopes, slopes.dtype.type(0))
            gradients = (
                np.matmul(slopes, k),
                np.matmul(np.swapaxes(slopes, -1, -2), q),
                np.matmul(np.swapaxes(weights, -1, -2), cotangent),
            )
            return tuple(rounded(gradient, dtype) for gradient in gradients)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """That of the same gradient, written as ordinary ops."""
        if not any(needed):
            return [None] * len(OPERANDS)
        if b.differentiate is None:
            raise GradientError(f"{self.name}: this builder cannot differentiate the graph that it stands for")
        written_out = gradient_graph([x.type for x in node.inputs], node.attributes["causal"])
        wrt = [i for i, wanted in enumerate(needed) if wanted]
        given = [c for c in cotangents if c is not None]
        gradient = b.differentiate(written_out, wrt, [i for i, c in enumerate(cotangents) if c is not None])
        results = iter(b.emit("call", *node.inputs, *given, graph=gradient))
        return [next(results) if wanted else None for wanted in needed]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return b.emit(self, *all_mapped(b, node, operands, size), **node.attributes)


def attention_graph(types: Sequence[TensorType], causal: bool) -> Graph:
    """What attention computes on operands of ``types``, as a graph of ordinary ops."""
    b = Builder("attention")
    parameters = [b.parameter(t, name) for t, name in zip(types, OPERANDS, strict=False)]
    q, k, v = (_wide(b, x) for x in parameters)
    last = q.ndim - 1
    scores = _product(b, q, k, last, last)
    every_row = {"shape": scores.shape, "dims": tuple(range(last))}
    if causal:
        rows, columns = (b.iota(dtype=int64, shape=scores.shape, axis=axis) for axis in (last - 1, last))
        scores = b.select(b.le(columns, rows), scores, b.full_like(scores, -np.inf))
    largest = b.reduce_max(scores, axes=(last,))
    is_infinite = b.eq(b.abs(largest), b.full_like(largest, np.inf))
    shift = b.select(is_infinite, b.zeros_like(largest), largest)
    powers = b.exp(b.sub(scores, b.broadcast_in_dim(shift, **every_row)))
    total = b.reduce_sum(powers, axes=(last,))
    divisor = b.select(b.eq(total, b.zeros_like(total)), b.full_like(total, 1), total)
    weights = b.div(powers, b.broadcast_in_dim(divisor, **every_row))
    result = b.convert_element_type(_product(b, weights, v, last, last - 1), dtype=types[0].dtype)
    return b.finish([result, b.add(shift, b.log(total))])


def gradient_graph(types: Sequence[TensorType], causal: bool) -> Graph:
    """What attention_gradient computes on operands of ``types``, as a graph of ordinary ops."""
    b = Builder("attention_gradient")
    parameters = [b.parameter(t, name) for t, name in zip(types, OPERANDS, strict=True)]
    q, k, v, cotangent = (_wide(b, x) for x in parameters[:4])
    lse, delta = parameters[4:]
    last = q.ndim - 1
    scores = _product(b, q, k, last, last)
    every_row = {"shape": scores.shape, "dims": tuple(range(last))}
    rows, columns = (b.iota(dtype=int64, shape=scores.shape, axis=axis) for axis in (last - 1, last))
    seen = b.le(columns, rows)
    if causal:
        scores = b.select(seen, scores, b.full_like(scores, -np.inf))
    is_nothing = b.eq(lse, b.full_like(lse, -np.inf))
    shift = b.select(is_nothing, b.zeros_like(lse), lse)
    weights = b.exp(b.sub(scores, b.broadcast_in_dim(shift, **every_row)))
    slopes = b.mul(weights, b.sub(_product(b, cotangent, v, last, last), b.broadcast_in_dim(delta, **every_row)))
    if causal:
        slopes = b.select(seen, slopes, b.zeros_like(slopes))
    gradients = (
        _product(b, slopes, k, last, last - 1),
        _product(b, slopes, q, last - 1, last - 1),
        _product(b, weights, cotangent, last - 1, last - 1),
    )
    return b.finish([b.convert_element_type(g, dtype=types[0].dtype) for g in gradients])


def _wide(b: Builder, x: Value) -> Value:
    dtype = as_dtype(x.dtype).compute
    wide: Value = x if x.dtype is dtype else b.convert_element_type(x, dtype=dtype)
    return wide


def _product(b: Builder, x: Value, y: Value, x_axis: int, y_axis: int) -> Value:
    """Summed over one axis each, for each index of the leading ones."""
    leading = tuple(range(x.ndim - 2))
    result: Value = b.dot_general(x, y, contract=((x_axis,), (y_axis,)), batch=(leading, leading))
    return result
