"""Reductions over sliding windows (pooling): sum, max, min, and the positions of the extreme elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import as_dtype, int64
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.primitive import Primitive, Residuals, get_primitive, register
from graphc.ir.types import TensorType
from graphc.ops.batching import all_mapped, as_number, counted
from graphc.ops.checking import (
    NoGradient,
    OneOperand,
    as_shape,
    check_numeric,
    check_padding,
    check_per_axis,
    take,
    wants_gradient,
)
from graphc.ops.convolution import Padding, input_gradient_padding, window_count, window_counts, windows_of
from graphc.ops.movement import pad_array
from graphc.ops.reduction import highest, in_compute_dtype, lowest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value

ATTRIBUTES = ("window", "strides", "padding", "base_dilation", "window_dilation")


def infer_windows(
    op: str,
    x: TensorType,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    base_dilation: tuple[int, ...],
    window_dilation: tuple[int, ...],
) -> TensorType:
    """The type with one element for each window; raises where an attribute does not fit ``x``."""
    check_numeric(op, x)
    named = (("window", window), ("strides", strides), ("base_dilation", base_dilation))
    for name, values in (*named, ("window_dilation", window_dilation)):
        check_per_axis(op, name, values, x, x.ndim, minimum=1)
    check_padding(op, padding, x, x.ndim)
    return x.with_shape(map(window_count, x.shape, window, strides, padding, base_dilation, window_dilation))


def sliding_windows(
    op: str,
    x: Any,
    identity: Any,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    base_dilation: tuple[int, ...],
    window_dilation: tuple[int, ...],
) -> Any:
    """The windows over ``x`` padded and dilated with ``identity``: positions, then one flat axis of window elements."""
    counts = window_counts(x.shape, window, strides, padding, base_dilation, window_dilation)
    elements = int(np.prod(window, dtype=np.int64))
    if 0 in counts:
        return np.zeros((*counts, elements), dtype=x.dtype)
    low, high = [p[0] for p in padding], [p[1] for p in padding]
    padded = pad_array(x, identity, low, high, [d - 1 for d in base_dilation], op)
    return windows_of(padded, window, strides, window_dilation, counts).reshape(*counts, elements)


@register
class ReduceWindowSum(OneOperand):
    """The sum of each window. ``window``, ``strides``, dilations and ``padding`` pairs have one entry for each axis.

    Padding and the gaps of ``base_dilation`` count as 0. 16-bit floats accumulate in float32, integers wrap. As
    StableHLO's reduce_window.
    """

    name = "reduce_window_sum"
    attributes = ATTRIBUTES

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        (x,) = take(self.name, inputs, 1)
        return (infer_windows(self.name, x, **attributes),)

    def evaluate(self, x: Any, **attributes: Any) -> Any:
        wide = in_compute_dtype(x)
        with np.errstate(all="ignore"):
            sums = np.add.reduce(sliding_windows(self.name, wide, 0, **attributes), axis=-1, dtype=wide.dtype)
            return np.asarray(sums).astype(x.dtype, copy=False)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        window, strides, padding, base, dilation = (node.attributes[name] for name in ATTRIBUTES)
        x = node.inputs[0].type
        lows = tuple(p[0] for p in padding)
        gradient = b.reduce_window_sum(
            cotangent,
            window=window,
            strides=base,
            padding=tuple(map(input_gradient_padding, x.shape, window, cotangent.shape, strides, lows, base, dilation)),
            base_dilation=strides,
            window_dilation=dilation,
        )
        return as_shape(b, gradient, x.shape)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, **_behind_examples(node))


def _behind_examples(node: Node) -> dict[str, Any]:
    """The attributes of ``node`` with windows of one example in front."""
    unit: dict[str, Any] = dict.fromkeys(ATTRIBUTES, 1) | {"padding": (0, 0)}
    return {name: (unit[name], *node.attributes[name]) for name in ATTRIBUTES}


class WindowExtreme(OneOperand):
    """Base of reduce_window_max and reduce_window_min. The first of the elements that tie takes the gradient."""

    attributes = ATTRIBUTES
    residuals: ClassVar[Residuals] = Residuals(operands=(0,))
    select: ClassVar[str]

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        (x,) = take(self.name, inputs, 1)
        return (infer_windows(self.name, x, **attributes),)

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        x = node.inputs[0]
        gradient: Value = b.select_and_scatter(x, cotangent, select=self.select, **node.attributes)
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return b.emit(self, x, **_behind_examples(node))


@register
class ReduceWindowMax(WindowExtreme):
    """The greatest element of each window; NaN wins. Padding and gaps count as -inf or the least integer."""

    name = "reduce_window_max"
    select = "max"

    def evaluate(self, x: Any, **attributes: Any) -> Any:
        windows = sliding_windows(self.name, in_compute_dtype(x), lowest(as_dtype(x.dtype)), **attributes)
        with np.errstate(all="ignore"):
            return np.asarray(np.maximum.reduce(windows, axis=-1)).astype(x.dtype, copy=False)


@register
class ReduceWindowMin(WindowExtreme):
    """The least element of each window; NaN wins. Padding and gaps count as inf or the greatest integer."""

    name = "reduce_window_min"
    select = "min"

    def evaluate(self, x: Any, **attributes: Any) -> Any:
        windows = sliding_windows(self.name, in_compute_dtype(x), highest(as_dtype(x.dtype)), **attributes)
        with np.errstate(all="ignore"):
            return np.asarray(np.minimum.reduce(windows, axis=-1)).astype(x.dtype, copy=False)


class WindowPosition(NoGradient):
    """Base of reduce_window_argmax and reduce_window_argmin."""

    attributes = ATTRIBUTES

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        (x,) = take(self.name, inputs, 1)
        return (infer_windows(self.name, x, **attributes).with_dtype(int64),)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        found = b.emit_one(self, x, **_behind_examples(node))
        # These are positions in the whole batch; -1 for a window of padding alone stays.
        each = as_number(b, node.inputs[0].type.size, found.shape)
        own = b.sub(found, b.mul(counted(b, found.shape), each))
        return (b.select(b.lt(found, b.zeros_like(found)), found, own),)

    def positions(self, x: Any, identity: Any, extreme: np.ufunc, attributes: dict[str, Any]) -> Any:
        """The row-major position in ``x`` of the first winner of each window, -1 where it holds padding alone."""
        wide = in_compute_dtype(x)
        windows = sliding_windows(self.name, wide, identity, **attributes)
        sources = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        sources = sliding_windows(self.name, sources, -1, **attributes)
        with np.errstate(all="ignore"):
            best = extreme.reduce(windows, axis=-1, keepdims=True)
            wins = (sources >= 0) & ((windows == best) | (windows != windows))
        first = np.argmax(wins, axis=-1)[..., np.newaxis]
        winners = np.where(np.any(wins, axis=-1, keepdims=True), np.take_along_axis(sources, first, -1), -1)
        return winners[..., 0]


@register
class ReduceWindowArgMax(WindowPosition):
    """The int64 row-major position in ``x`` of the greatest element of each window.

    Of elements that tie, or are NaN, the first. -1 for a window that holds padding and gaps alone.
    """

    name = "reduce_window_argmax"

    def evaluate(self, x: Any, **attributes: Any) -> Any:
        return self.positions(x, lowest(as_dtype(x.dtype)), np.maximum, attributes)


@register
class ReduceWindowArgMin(WindowPosition):
    """The int64 row-major position in ``x`` of the least element of each window.

    Of elements that tie, or are NaN, the first. -1 for a window that holds padding and gaps alone.
    """

    name = "reduce_window_argmin"

    def evaluate(self, x: Any, **attributes: Any) -> Any:
        return self.positions(x, highest(as_dtype(x.dtype)), np.minimum, attributes)


_POSITIONS = {"max": "reduce_window_argmax", "min": "reduce_window_argmin"}


@register
class SelectAndScatter(Primitive):
    """Each element of ``source`` at the place of the extreme element of its window in ``x``; 0 at all others.

    ``source`` has an element for each window, and ``select`` is "max" or "min". Windows that choose one element add theirs.
    Of elements that tie, or are NaN, the first is chosen; what belongs to a window of padding and gaps alone is dropped. This
    is the gradient of reduce_window_max and _min. 16-bit floats accumulate in float32. As StableHLO's select_and_scatter.
    """

    name = "select_and_scatter"
    attributes = ("select", *ATTRIBUTES)
    residuals: ClassVar[Residuals] = Residuals(operands=(0,))

    def infer(  # type: ignore[override]
        self, inputs: tuple[TensorType, ...], /, *, select: str, **attributes: Any
    ) -> tuple[TensorType, ...]:
        x, source = take(self.name, inputs, 2)
        if select not in _POSITIONS:
            raise ArgumentError(f'{self.name}: select must be "max" or "min", not {select!r}', cause=ArgumentError.CHOICE)
        windows = infer_windows(self.name, x, **attributes)
        if source != windows:
            raise ShapeError(
                f"{self.name}: source is {source}, but the windows over {x} need {windows}", cause=ShapeError.WINDOW
            )
        return (x,)

    def evaluate(self, x: Any, source: Any, *, select: str, **attributes: Any) -> Any:
        winners = get_primitive(_POSITIONS[select]).evaluate(x, **attributes).ravel()
        total = np.zeros(x.size + 1, dtype=as_dtype(x.dtype).compute.numpy)  # what -1 chooses is cut off
        with np.errstate(all="ignore"):
            np.add.at(total, winners, in_compute_dtype(source).ravel())
            return total[:-1].reshape(x.shape).astype(x.dtype, copy=False)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        if cotangent is None or not wants_gradient(node, needed, 1):
            return None, None
        x = node.inputs[0]
        attributes = {name: node.attributes[name] for name in ATTRIBUTES}
        winners = b.emit_one(_POSITIONS[node.attributes["select"]], x, **attributes)
        # Windows of padding alone have the position -1: they read a 0 in front.
        flat = b.concatenate(b.full((1,), 0, x.dtype), b.reshape(cotangent, shape=(x.type.size,)), axis=0)
        return None, b.gather(flat, b.add(winners, b.full_like(winners, 1)), axes=(0,))

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        attributes = {"select": node.attributes["select"], **_behind_examples(node)}
        return b.emit(self, *all_mapped(b, node, operands, size), **attributes)


def scattered_positions(b: Builder, node: Node, x: Value, source: Value) -> Value:
    """What the select_and_scatter ``node`` computes of ``x`` and ``source``, with a scatter at the winners' positions."""
    attributes = {name: node.attributes[name] for name in ATTRIBUTES}
    winners = b.emit_one(_POSITIONS[node.attributes["select"]], x, **attributes)
    wide = as_dtype(x.dtype).compute
    # Windows of padding alone have the position -1: theirs go to a slot in front, which is cut off.
    slots = b.add(winners, b.full_like(winners, 1))
    given = b.convert_element_type(source, dtype=wide)
    flat = b.emit_one("scatter_add", b.full((x.type.size + 1,), 0, wide), given, slots, axes=(0,))
    kept = b.slice(flat, starts=(1,), limits=flat.shape, strides=(1,))
    result: Value = b.convert_element_type(b.reshape(kept, shape=x.shape), dtype=x.dtype)
    return result
