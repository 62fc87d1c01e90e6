"""sort, argsort, top_k: stable, NaN greater than every number, -0.0 equal to 0.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import int64
from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.ir.primitive import Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.checking import NoGradient, OneOperand, check_axis, is_int, provably_negative, take, wants_gradient
from graphc.ops.reduction import in_compute_dtype

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value


def stable_order(x: Any, axis: int, descending: bool) -> Any:
    """The positions that put ``x`` in order along ``axis``; elements that tie keep theirs."""
    wide = in_compute_dtype(x)
    if not descending:
        return np.argsort(wide, axis=axis, kind="stable")
    # Sorting the mirrored array and mirroring the answer puts ties back into their own order.
    mirrored = np.argsort(np.flip(wide, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(mirrored, axis)


def positions_along(b: Builder, order: Value, axis: int) -> list[Value]:
    """Index operands over every axis that pick, along ``axis``, the positions in ``order``."""
    positions = [b.iota(dtype=int64, shape=order.shape, axis=a) for a in range(order.ndim)]
    positions[axis] = order
    return positions


@register
class Sort(OneOperand):
    """``x`` sorted along ``axis``. NaN comes last, or first if ``descending``."""

    name = "sort"
    attributes = ("axis", "descending")
    defaults: ClassVar[dict[str, Any]] = {"descending": False}
    residuals: ClassVar[Residuals] = Residuals(operands=(0,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int, descending: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_axis(self.name, axis, x)
        return (x,)

    def evaluate(self, x: Any, *, axis: int, descending: bool) -> Any:
        return np.take_along_axis(x, stable_order(x, axis, descending), axis)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        x, axis = node.inputs[0], node.attributes["axis"]
        order = b.argsort(x, axis=axis, descending=node.attributes["descending"])
        positions = positions_along(b, order, axis)
        gradient: Value = b.scatter_add(b.zeros_like(x), cotangent, *positions, axes=tuple(range(x.ndim)))
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axis=node.attributes["axis"] + 1, descending=node.attributes["descending"])


@register
class ArgSort(NoGradient):
    """The int64 positions that sort ``x`` along ``axis``, stably: elements that tie keep their order either way."""

    name = "argsort"
    attributes = ("axis", "descending")
    defaults: ClassVar[dict[str, Any]] = {"descending": False}

    def infer(self, inputs: tuple[TensorType, ...], /, *, axis: int, descending: bool) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        check_axis(self.name, axis, x)
        return (x.with_dtype(int64),)

    def evaluate(self, x: Any, *, axis: int, descending: bool) -> Any:
        return stable_order(x, axis, descending).astype(np.int64, copy=False)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, axis=node.attributes["axis"] + 1, descending=node.attributes["descending"])


@register
class TopK(Primitive):
    """The ``k`` greatest elements along the last axis, in descending order, and their int64 positions.

    Elements that tie come in order of position; NaN counts as greatest.
    """

    name = "top_k"
    attributes = ("k",)
    residuals: ClassVar[Residuals] = Residuals(results=(1,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, k: int) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = take(self.name, inputs, 1)
        if x.ndim == 0:
            raise AxisError(f"{self.name}: {x} is a scalar and has no last axis")
        if not is_int(k) or k < 0:
            raise ArgumentError(f"{self.name}: k must be an int of at least 0, not {k!r}", cause=ArgumentError.RANGE)
        if provably_negative(x.shape[-1] - k):
            raise ShapeError(f"{self.name}: k is {k}, but the last axis of {x} has size {x.shape[-1]}", cause=ShapeError.WINDOW)
        result = x.with_shape((*x.shape[:-1], k))
        return (result, result.with_dtype(int64))

    def evaluate(self, x: Any, *, k: int) -> Any:
        if k > x.shape[-1]:
            raise ShapeError(f"{self.name}: k is {k}, but the last axis has size {x.shape[-1]}", cause=ShapeError.WINDOW)
        order = np.ascontiguousarray(stable_order(x, x.ndim - 1, True)[..., :k], dtype=np.int64)
        return np.take_along_axis(x, order, -1), order

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if cotangents[0] is None or not wants_gradient(node, needed, 0):
            return (None,)
        x, order = node.inputs[0], node.results[1]
        positions = positions_along(b, order, x.ndim - 1)
        return (b.scatter_add(b.zeros_like(x), cotangents[0], *positions, axes=tuple(range(x.ndim))),)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, k=node.attributes["k"])
