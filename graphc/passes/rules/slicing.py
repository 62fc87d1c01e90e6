"""Parts of arrays: slice, pad, concatenate, gather, dynamic_slice, scatter, sort.

A rule never drops a check of run time: where symbolic sizes leave a bound open, or an index is not a literal, nothing
is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.ir.dims import bounds
from graphc.passes.rules.movement import bounds_are_known, is_splat
from graphc.rewrite.interning import freeze
from graphc.rewrite.pattern import RuleList, Var, op, splat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value

SLICING = RuleList("slicing")
rule = SLICING.rule

x, y, value = Var("x"), Var("y"), Var("value")


def _ints(dims: Sequence[Dim]) -> bool:
    return all(isinstance(d, int) for d in dims)


# --- slice ----------------------------------------------------------------------------------------------------------


@rule(op("slice", x))
def slice_of_everything(root: Node, x: Value) -> Value | None:
    """slice(x){all of it} → x"""
    attributes = root.attributes
    whole = all(s == 0 for s in attributes["starts"]) and attributes["limits"] == x.shape
    return x if whole and all(s == 1 for s in attributes["strides"]) else None


@rule(op("slice", op("slice", x).as_("inner")))
def slice_twice(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """slice(slice(x)) → slice(x)"""
    if not (bounds_are_known(root) and bounds_are_known(inner.node)):
        return None
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[int] = []
    for axis, size in enumerate(root.types[0].shape):
        start, limit, stride = _bounds(inner.node, axis)
        start2, limit2, stride2 = _bounds(root, axis)
        first, step = start + start2 * stride, stride * stride2
        if start2 == 0 and limit2 == inner.shape[axis]:
            last = limit
        elif size == 0:
            first, last, step = 0, 0, 1
        else:
            last = first + (size - 1) * step + 1
        starts.append(first)
        limits.append(last)
        strides.append(step)
    return b.emit_one("slice", x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))


def _bounds(node: Node, axis: int) -> tuple[Any, Any, int]:
    attributes = node.attributes
    return attributes["starts"][axis], attributes["limits"][axis], attributes["strides"][axis]


@rule(op("slice", op("pad", x, value).as_("padded")))
def slice_of_pad(root: Node, padded: Value, x: Value) -> Value | None:
    """slice(pad(x)){what was there before} → x"""
    low, high, interior = (padded.node.attributes[name] for name in ("low", "high", "interior"))
    if any(interior) or any(s != 1 for s in root.attributes["strides"]) or not _ints((*low, *high)):
        return None
    inside = all(lo >= 0 for lo in low) and all(hi >= 0 for hi in high) and root.attributes["starts"] == low
    return x if inside and root.types[0] == x.type else None


@rule(op("slice", op("concatenate", ...).as_("whole")))
def slice_of_concatenation(b: Builder, root: Node, whole: Value) -> Value | None:
    """slice(concatenate(x, y, …)) → slice(y), where it lies within one operand"""
    axis = whole.node.attributes["axis"]
    start, limit, _ = _bounds(root, axis)
    before: Dim = 0
    for part in whole.node.inputs:
        size = part.shape[axis]
        if not _ints((start, limit, before, size)):
            return None
        if before <= start and limit <= before + size:
            moved = {
                name: tuple(d - before if a == axis else d for a, d in enumerate(root.attributes[name]))
                for name in ("starts", "limits")
            }
            return b.emit_one("slice", part, strides=root.attributes["strides"], **moved)
        before = before + size
    return None


# --- pad ------------------------------------------------------------------------------------------------------------


@rule(op("pad", x, value))
def pad_with_nothing(root: Node, x: Value) -> Value | None:
    """pad(x){nothing} → x"""
    return x if not any(d != 0 for name in ("low", "high", "interior") for d in root.attributes[name]) else None


@rule(op("pad", op("pad", x, value).as_("inner"), value))
def pad_twice(b: Builder, root: Node, inner: Value, x: Value, value: Value) -> Value | None:
    """pad(pad(x, v), v) → pad(x, v)"""
    first, second = inner.node.attributes, root.attributes
    amounts = [*first["low"], *first["high"], *second["low"], *second["high"]]
    if any(first["interior"]) or any(second["interior"]) or not _ints(amounts) or min(amounts, default=0) < 0:
        return None
    low, high = (tuple(p + q for p, q in zip(first[n], second[n], strict=True)) for n in ("low", "high"))
    return b.emit_one("pad", x, value, low=low, high=high, interior=first["interior"])


@rule(op("pad", x, value))
def pad_that_removes(b: Builder, root: Node, x: Value) -> Value | None:
    """pad(x){negative amounts} → slice(x)"""
    low, high, interior = (root.attributes[name] for name in ("low", "high", "interior"))
    if any(interior) or not _ints((*low, *high, *x.shape)) or max((*low, *high), default=0) > 0:
        return None
    limits = tuple(size + hi for size, hi in zip(x.shape, high, strict=True))
    return b.emit_one("slice", x, starts=tuple(-lo for lo in low), limits=limits, strides=(1,) * x.ndim)


@rule(op("pad", x, value), when=lambda x, value: is_splat(x) and is_splat(value))
def pad_with_own_value(b: Builder, root: Node, x: Value, value: Value) -> Value | None:
    """pad(broadcast(c), c) → broadcast(c)"""
    if freeze(splat_of(x).reshape(())) != freeze(splat_of(value).reshape(())):
        return None
    return b.full(root.types[0].shape, splat_of(x), x.dtype)


# --- concatenate ----------------------------------------------------------------------------------------------------


@rule(op("concatenate", x))
def concatenate_one(x: Value) -> Value:
    """concatenate(x) → x"""
    return x


@rule(op("concatenate", ...))
def concatenate_nothing(b: Builder, root: Node) -> Value | None:
    """concatenate(x, [], y) → concatenate(x, y)"""
    axis = root.attributes["axis"]
    parts = [part for part in root.inputs if part.shape[axis] != 0]
    if len(parts) == len(root.inputs) or not parts:
        return None
    return b.emit_one("concatenate", *parts, axis=axis)


@rule(op("concatenate", ...))
def concatenate_nested(b: Builder, root: Node) -> Value | None:
    """concatenate(concatenate(x, y), z) → concatenate(x, y, z), along one axis"""
    axis = root.attributes["axis"]
    parts: list[Value] = []
    for part in root.inputs:
        nested = part.node.op is root.op and part.node.attributes["axis"] == axis
        parts.extend(part.node.inputs if nested else (part,))
    return b.emit_one("concatenate", *parts, axis=axis) if len(parts) > len(root.inputs) else None


@rule(op("concatenate", ...))
def concatenate_adjacent_slices(b: Builder, root: Node) -> Value | None:
    """concatenate(x[a:b], x[b:c]) → x[a:c]"""
    axis = root.attributes["axis"]
    parts: list[Value] = []
    for part in root.inputs:
        merged = _adjacent(b, parts[-1], part, axis) if parts else None
        if merged is not None:
            parts[-1] = merged
        else:
            parts.append(part)
    return b.emit_one("concatenate", *parts, axis=axis) if len(parts) < len(root.inputs) else None


def _adjacent(b: Builder, left: Value, right: Value, axis: int) -> Value | None:
    if left.node.op.name != "slice" or right.node.op.name != "slice" or left.node.inputs != right.node.inputs:
        return None
    first, second = left.node.attributes, right.node.attributes
    if not (first["strides"] == second["strides"] == (1,) * left.ndim):
        return None
    others = [a for a in range(left.ndim) if a != axis]
    if any(first[name][a] != second[name][a] for name in ("starts", "limits") for a in others):
        return None
    if first["limits"][axis] != second["starts"][axis]:
        return None
    limits = tuple(second["limits"][a] if a == axis else d for a, d in enumerate(first["limits"]))
    return b.emit_one("slice", left.node.inputs[0], starts=first["starts"], limits=limits, strides=first["strides"])


@rule(op("concatenate", ...))
def concatenate_equal_literals(b: Builder, root: Node) -> Value | None:
    """concatenate(broadcast(c), broadcast(c)) → broadcast(c)"""
    if not all(is_splat(part) for part in root.inputs):
        return None
    values = {freeze(splat_of(part).reshape(())) for part in root.inputs}
    return b.full(root.types[0].shape, splat_of(root.inputs[0]), root.inputs[0].dtype) if len(values) == 1 else None


# --- indexing -------------------------------------------------------------------------------------------------------


@rule(op("gather", ...))
def gather_at_literal(b: Builder, root: Node) -> Value | None:
    """gather(x, 3) → reshape(slice(x)), for literal scalar indices within x"""
    source, *indices = root.inputs
    places = dict(zip(root.attributes["axes"], (splat_of(i) for i in indices), strict=True))
    if any(i.shape != () for i in indices) or any(p is None for p in places.values()):
        return None
    if not all(_within(int(p), source.shape[axis]) for axis, p in places.items()):
        return None
    part = b.emit_one(
        "slice",
        source,
        starts=tuple(int(places[a]) if a in places else 0 for a in range(source.ndim)),
        limits=tuple(int(places[a]) + 1 if a in places else size for a, size in enumerate(source.shape)),
        strides=(1,) * source.ndim,
    )
    return b.emit_one("reshape", part, shape=root.types[0].shape)


def _within(index: int, size: Dim) -> bool:
    return isinstance(size, int) and 0 <= index < size


@rule(op("gather", x, op("iota").as_("counts")))
def gather_in_order(b: Builder, root: Node, x: Value, counts: Value) -> Value | None:
    """gather(x, iota) → transpose(x), for every index of an axis in order"""
    (axis,) = root.attributes["axes"]
    if counts.shape != (x.shape[axis],):
        return None
    return b.emit_one("transpose", x, permutation=(axis, *(a for a in range(x.ndim) if a != axis)))


@rule(op("dynamic_slice", ...))
def dynamic_slice_at_literal(b: Builder, root: Node) -> Value | None:
    """dynamic_slice(x, 3, 4) → slice(x), for literal starts within x"""
    source, *starts = root.inputs
    sizes = root.attributes["sizes"]
    first = _literal_starts(starts, sizes, source.shape)
    if first is None:
        return None
    limits = tuple(s + n for s, n in zip(first, sizes, strict=True))
    return b.emit_one("slice", source, starts=first, limits=limits, strides=(1,) * source.ndim)


@rule(op("dynamic_update_slice", ...))
def dynamic_update_of_everything(root: Node) -> Value | None:
    """dynamic_update_slice(x, y, 0, 0) → y, where y is as large as x"""
    source, update, *starts = root.inputs
    if update.shape != source.shape or any(splat_of(s) is None or splat_of(s) != 0 for s in starts):
        return None
    return update


def _literal_starts(starts: Sequence[Value], sizes: Sequence[Dim], shape: Sequence[Dim]) -> tuple[int, ...] | None:
    found: list[int] = []
    for start, length, size in zip(starts, sizes, shape, strict=True):
        number = splat_of(start)
        if number is None:
            return None
        room = bounds(size - length)[0]  # at least; of n and n - 2 it is 2
        if room is None or not 0 <= int(number) <= room:
            return None
        found.append(int(number))
    return tuple(found)


@rule(op(("scatter_set", "scatter_add", "scatter_max", "scatter_min"), ...))
def scatter_nothing(root: Node) -> Value | None:
    """scatter(x, [], []) → x"""
    return root.inputs[0] if any(size == 0 for size in root.inputs[2].shape) else None


# --- sorting --------------------------------------------------------------------------------------------------------


@rule(op("sort", op("sort", x).as_("inner")))
def sort_sorted(root: Node, inner: Value) -> Value | None:
    """sort(sort(x)) → sort(x), along one axis in one direction"""
    return inner if dict(root.attributes) == dict(inner.node.attributes) else None


@rule(op("sort", x), when=lambda root, x: x.shape[root.attributes["axis"]] == 1)
def sort_one(x: Value) -> Value:
    """sort(x) → x, along an axis of size 1"""
    return x


@rule(op("argsort", x), when=lambda root, x: x.shape[root.attributes["axis"]] == 1)
def argsort_one(b: Builder, root: Node) -> Value:
    """argsort(x) → 0, along an axis of size 1"""
    return b.full(root.types[0].shape, 0, root.types[0].dtype)
