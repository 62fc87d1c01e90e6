"""The sum of what flows back to one value, with the parts of a value that was taken apart put together again.

A loop that reads ``x[0]``, ``x[1]``, … sends back one part for each: a slice's cotangent in zeros of x's size. To add n of
those would be n times the work of x. Where such parts lie beside each other along one axis they are concatenated instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from graphc.ir.builder import Builder
from graphc.ir.dims import Dim
from graphc.ir.graph import Value


class _Part(NamedTuple):
    """``whole`` is ``value`` from ``start`` to ``stop`` along ``axis``, and zeros: a ``pad`` of that axis alone."""

    whole: Value
    axis: int
    start: int
    stop: int
    value: Value


def sum_cotangents(b: Builder, cotangents: Sequence[Value]) -> Value | None:
    """The sum of ``cotangents``, made with ``b``; None for none.

    Parts in zeros that do not overlap are concatenated; a part that overlaps others is added to them. What is done is
    linear in the number of cotangents, but for sorting.
    """
    rest: list[Value] = []
    parts: dict[int, list[_Part]] = {}
    for cotangent in cotangents if len(cotangents) > 1 else ():
        part = _part(cotangent)
        if part is None:
            rest.append(cotangent)
        else:
            parts.setdefault(part.axis, []).append(part)
    if not parts:
        rest = list(cotangents)
    for together in parts.values():
        rest += _concatenated(b, sorted(together, key=lambda part: (part.start, part.stop)))
    total: Value | None = None
    for value in rest:
        total = value if total is None else b.emit_one("add", total, value)
    return total


def _part(cotangent: Value) -> _Part | None:
    node = cotangent.node
    if node.op.name != "pad" or any(node.attributes["interior"]):
        return None
    value, zero = node.inputs
    if zero.node.op.name != "constant" or zero.node.attributes["value"] != 0:
        return None
    low, high = node.attributes["low"], node.attributes["high"]
    axes = [axis for axis in range(value.ndim) if low[axis] != 0 or high[axis] != 0]
    if len(axes) != 1:
        return None
    start, count = low[axes[0]], value.shape[axes[0]]
    if not isinstance(start, int) or not isinstance(count, int) or start < 0:
        return None
    if isinstance(high[axes[0]], int) and high[axes[0]] < 0:
        return None
    return _Part(cotangent, axes[0], start, start + count, value)


def _concatenated(b: Builder, parts: Sequence[_Part]) -> list[Value]:
    """``parts``, sorted by start, as the fewest values whose sum is theirs: in each, parts follow without overlap."""
    layers: list[list[_Part]] = []
    ends: list[tuple[int, int]] = []  # a heap: where each layer ends, its number
    for part in parts:
        if ends and ends[0][0] <= part.start:
            number = ends[0][1]
            layers[number].append(part)
            heapq.heapreplace(ends, (part.stop, number))
        else:
            heapq.heappush(ends, (part.stop, len(layers)))
            layers.append([part])
    return [_joined(b, layer) for layer in layers]


def _joined(b: Builder, layer: Sequence[_Part]) -> Value:
    whole = layer[0].whole
    if len(layer) == 1:
        return whole
    axis, dtype = layer[0].axis, whole.dtype

    def along(before: Dim, after: Dim) -> dict[str, Sequence[Dim]]:
        """The attributes of a pad of this axis alone."""
        none = [0] * whole.ndim
        low, high = ([*none[:axis], n, *none[axis + 1 :]] for n in (before, after))
        return {"low": low, "high": high, "interior": none}

    pieces: list[Value] = []
    end = layer[0].start
    for part in layer:
        if part.start > end:
            gap = [*whole.shape[:axis], part.start - end, *whole.shape[axis + 1 :]]
            pieces.append(b.full(gap, 0, dtype))
        pieces.append(part.value)
        end = part.stop
    joined = b.emit_one("concatenate", *pieces, axis=axis)
    before, after = layer[0].start, whole.shape[axis] - end
    if before == 0 and after == 0:
        return joined
    return b.emit_one("pad", joined, b.full((), 0, dtype), **along(before, after))
