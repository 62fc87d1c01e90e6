"""Ops that move elements without changing them: broadcast_in_dim, reshape, transpose, reverse, iota.

Their order, from the operand outwards, where they can be exchanged: transpose and reverse and slice act on the small
operand of a broadcast, elementwise ops too, and the broadcast comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.dtypes import int64
from graphc.ir.dims import product
from graphc.rewrite.pattern import RuleList, Var, constant_of, op, splat_of

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value
    from graphc.ir.types import Shape

MOVEMENT = RuleList("movement")
rule = MOVEMENT.rule

x = Var("x")
scalar = Var("scalar", lambda t: t.shape == ())
broadcast = op("broadcast_in_dim", x).as_("inner")


def is_splat(value: Value) -> bool:
    """Whether ``value`` is a literal number in every element."""
    return splat_of(value) is not None


def inserted_units(shape: Shape, larger: Shape) -> tuple[int, ...] | None:
    """The axes of ``larger`` where those of ``shape`` are, if it is ``shape`` with axes of size 1 put in; else None."""
    axes: list[int] = []
    for axis, dim in enumerate(larger):
        if len(axes) < len(shape) and dim == shape[len(axes)]:
            axes.append(axis)
        elif dim != 1:
            return None
    return tuple(axes) if len(axes) == len(shape) else None


def bounds_are_known(node: Node) -> bool:
    """Whether the bounds of a ``slice`` hold for every size, so that dropping it drops no check at run time."""
    bounds = zip(node.attributes["starts"], node.attributes["limits"], node.inputs[0].shape, strict=True)
    return all(
        (start == 0 and limit == size) or all(isinstance(d, int) for d in (start, limit, size))
        for start, limit, size in bounds
    )


# --- broadcast_in_dim -----------------------------------------------------------------------------------------------


@rule(op("broadcast_in_dim", x))
def broadcast_to_own_shape(root: Node, x: Value) -> Value | None:
    """broadcast(x){shape of x} → x"""
    return x if root.types[0] == x.type else None


@rule(op("constant"))
def constant_of_one_value(b: Builder, root: Node) -> Value | None:
    """[c, c, …] → broadcast(c): a literal that repeats one number"""
    array = root.attributes["value"]
    if array.ndim == 0 or array.size == 0:
        return None
    flat = array.reshape(-1)
    if (
        flat[:16].tobytes() != flat[:1].tobytes() * min(16, flat.size)
        or flat.tobytes() != flat[:1].tobytes() * flat.size
    ):
        return None
    return b.emit_one("broadcast_in_dim", b.constant(flat[0].copy()), shape=array.shape, dims=())


@rule(op("broadcast_in_dim", broadcast))
def broadcast_twice(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """broadcast(broadcast(x)) → broadcast(x)"""
    outer = root.attributes["dims"]
    dims = tuple(outer[axis] for axis in inner.node.attributes["dims"])
    return b.emit_one("broadcast_in_dim", x, shape=root.types[0].shape, dims=dims)


@rule(op("broadcast_in_dim", x))
def broadcast_that_inserts_units(b: Builder, root: Node, x: Value) -> Value | None:
    """broadcast(x){only axes of size 1 added} → reshape(x)"""
    shape, dims = root.types[0].shape, root.attributes["dims"]
    if constant_of(x) is not None or any(shape[axis] != size for axis, size in zip(dims, x.shape, strict=True)):
        return None
    if any(size != 1 for axis, size in enumerate(shape) if axis not in dims):
        return None
    return b.emit_one("reshape", x, shape=shape)


@rule(op("broadcast_in_dim", op("reshape", x).as_("inner")))
def broadcast_of_inserted_units(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """broadcast(reshape(x){only axes of size 1 added}) → broadcast(x)"""
    axes = inserted_units(x.shape, inner.shape)
    if axes is None:
        return None
    outer = root.attributes["dims"]
    return b.emit_one("broadcast_in_dim", x, shape=root.types[0].shape, dims=tuple(outer[axis] for axis in axes))


@rule(op("reshape", op("broadcast_in_dim", scalar).as_("inner")))
def reshape_of_broadcast_scalar(b: Builder, root: Node, scalar: Value, inner: Value) -> Value | None:
    """reshape(broadcast(s)) → broadcast(s), for a scalar s"""
    if product(inner.shape) != product(root.types[0].shape):
        return None
    return b.emit_one("broadcast_in_dim", scalar, shape=root.types[0].shape, dims=())


@rule(op("reshape", broadcast))
def reshape_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reshape(broadcast(x)){only axes of size 1 added or removed} → broadcast(x)"""
    before, after, dims = inner.shape, root.types[0].shape, inner.node.attributes["dims"]
    axes = inserted_units(before, after)
    if axes is not None:
        return b.emit_one("broadcast_in_dim", x, shape=after, dims=tuple(axes[d] for d in dims))
    kept = inserted_units(after, before)
    if kept is None:
        return None
    remaining = [(i, kept.index(d)) for i, d in enumerate(dims) if d in kept]
    if len(remaining) < x.ndim:
        x = b.emit_one("reshape", x, shape=tuple(x.shape[i] for i, _ in remaining))
    return b.emit_one("broadcast_in_dim", x, shape=after, dims=tuple(axis for _, axis in remaining))


@rule(op("transpose", broadcast))
def transpose_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """transpose(broadcast(x)) → broadcast(transpose(x))"""
    permutation: tuple[int, ...] = root.attributes["permutation"]
    moved = [permutation.index(axis) for axis in inner.node.attributes["dims"]]
    order = sorted(range(x.ndim), key=moved.__getitem__)
    if order != list(range(x.ndim)):
        x = b.emit_one("transpose", x, permutation=tuple(order))
    return b.emit_one("broadcast_in_dim", x, shape=root.types[0].shape, dims=tuple(sorted(moved)))


@rule(op("reverse", broadcast))
def reverse_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """reverse(broadcast(x)) → broadcast(reverse(x))"""
    dims = inner.node.attributes["dims"]
    axes = tuple(i for i, axis in enumerate(dims) if axis in root.attributes["axes"] and x.shape[i] != 1)
    if axes:
        x = b.emit_one("reverse", x, axes=axes)
    return b.emit_one("broadcast_in_dim", x, **inner.node.attributes)


@rule(op("slice", broadcast))
def slice_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """slice(broadcast(x)) → broadcast(slice(x)), where the bounds need no check at run time"""
    if not bounds_are_known(root):
        return None
    dims, shape = inner.node.attributes["dims"], root.types[0].shape
    starts, limits, strides = (root.attributes[name] for name in ("starts", "limits", "strides"))
    own = [x.shape[i] == inner.shape[axis] for i, axis in enumerate(dims)]
    if any(own):
        x = b.emit_one(
            "slice",
            x,
            starts=tuple(starts[axis] if own[i] else 0 for i, axis in enumerate(dims)),
            limits=tuple(limits[axis] if own[i] else 1 for i, axis in enumerate(dims)),
            strides=tuple(strides[axis] if own[i] else 1 for i, axis in enumerate(dims)),
        )
    return b.emit_one("broadcast_in_dim", x, shape=shape, dims=dims)


@rule(
    op(None, ...).of(op(("broadcast_in_dim", "constant"), ...)),
    when=lambda root: root.op.elementwise and len(root.types) == 1,
)
def elementwise_of_broadcasts(b: Builder, root: Node) -> Value | None:
    """f(broadcast(x), broadcast(y), c) → broadcast(f(x, y, c)), all broadcast alike"""
    wide = [v for v in root.inputs if not is_splat(v)]
    if not wide or any(v.node.op.name != "broadcast_in_dim" for v in wide):
        return None
    first = wide[0].node
    dims, small = first.attributes["dims"], first.inputs[0].shape
    if any(v.node.attributes["dims"] != dims or v.node.inputs[0].shape != small for v in wide):
        return None
    operands = [b.full(small, splat_of(v), v.dtype) if is_splat(v) else v.node.inputs[0] for v in root.inputs]
    result = b.emit_one(root.op, *operands, **root.attributes)
    return b.emit_one("broadcast_in_dim", result, shape=root.types[0].shape, dims=dims)


# --- reshape --------------------------------------------------------------------------------------------------------


@rule(op("reshape", x))
def reshape_to_own_shape(root: Node, x: Value) -> Value | None:
    """reshape(x){shape of x} → x"""
    return x if root.types[0] == x.type else None


@rule(op("reshape", op("reshape", x).as_("inner")))
def reshape_twice(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reshape(reshape(x)) → reshape(x), where the inner one needs no check at run time"""
    if product(x.shape) != product(inner.shape):
        return None
    return b.emit_one("reshape", x, shape=root.types[0].shape)


@rule(op("reshape", scalar), when=lambda scalar: splat_of(scalar) is not None)
def reshape_of_literal(b: Builder, root: Node, scalar: Value) -> Value:
    """reshape(c) → broadcast(c), for a literal number c"""
    return b.emit_one("broadcast_in_dim", scalar, shape=root.types[0].shape, dims=())


# --- transpose ------------------------------------------------------------------------------------------------------


@rule(op("transpose", x))
def transpose_in_order(b: Builder, root: Node, x: Value) -> Value | None:
    """transpose(x){identity} → x, and → reshape(x) where only axes of size 1 move"""
    permutation = root.attributes["permutation"]
    if permutation == tuple(range(x.ndim)):
        return x
    moving = [axis for axis in permutation if x.shape[axis] != 1]
    return b.emit_one("reshape", x, shape=root.types[0].shape) if moving == sorted(moving) else None


@rule(op("transpose", op("transpose", x).as_("inner")))
def transpose_twice(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """transpose(transpose(x)) → transpose(x)"""
    first = inner.node.attributes["permutation"]
    return b.emit_one("transpose", x, permutation=tuple(first[axis] for axis in root.attributes["permutation"]))


# --- reverse, iota, dimension ---------------------------------------------------------------------------------------


@rule(op("reverse", x))
def reverse_of_units(b: Builder, root: Node, x: Value) -> Value | None:
    """reverse(x){no axes, or of size 1} → x"""
    axes = tuple(axis for axis in root.attributes["axes"] if x.shape[axis] != 1)
    if axes == root.attributes["axes"] and axes:
        return None
    return b.emit_one("reverse", x, axes=axes) if axes else x


@rule(op("reverse", op("reverse", x).as_("inner")))
def reverse_twice(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """reverse(reverse(x)) → reverse(x) over the axes in one of the two"""
    axes = set(root.attributes["axes"]) ^ set(inner.node.attributes["axes"])
    return b.emit_one("reverse", x, axes=tuple(sorted(axes)))


@rule(op("iota"))
def iota_along_one_axis(b: Builder, root: Node) -> Value | None:
    """iota{shape, axis} → broadcast(iota{(size)}); → 0 where the size is 1"""
    attributes: Any = root.attributes
    shape, axis, dtype = attributes["shape"], attributes["axis"], attributes["dtype"]
    if shape[axis] == 1:
        return b.full(shape, 0, dtype)
    if len(shape) == 1:
        return None
    counts = b.emit_one("iota", dtype=dtype, shape=(shape[axis],), axis=0)
    return b.emit_one("broadcast_in_dim", counts, shape=shape, dims=(axis,))


@rule(op("dimension"), when=lambda root: isinstance(root.attributes["dim"], int))
def dimension_that_is_known(b: Builder, root: Node) -> Value:
    """dimension{3} → 3"""
    return b.constant(root.attributes["dim"], int64)
