"""Reductions, cumulative ops, and the contraction.

Sums and products of floats keep their order unless fast_math allows another. Within ``dot_general`` the order is the
backend's own affair, so absorbing a transpose is always allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.ir.dims import product
from graphc.rewrite.pattern import Const, RuleList, Var, integers, op, splat_of

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value
    from graphc.ir.types import TensorType

REDUCTION = RuleList("reduction")
rule = REDUCTION.rule

x, y = Var("x"), Var("y")
SUMS = ("reduce_sum", "reduce_prod")
CHOOSING = ("reduce_max", "reduce_min", "reduce_any", "reduce_all")
REDUCTIONS = (*SUMS, *CHOOSING)
CUMULATIVE = ("cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min")


def _kept(x: Value, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(x.ndim) if axis not in axes)


@rule(op(REDUCTIONS, x), when=lambda root, x: all(x.shape[axis] == 1 for axis in root.attributes["axes"]))
def reduce_of_units(b: Builder, root: Node, x: Value) -> Value:
    """reduce(x){no axes, or of size 1} → reshape(x); for a sum of floats → reshape(x) + 0, which makes -0.0 to 0.0"""
    result = b.emit_one("reshape", x, shape=root.types[0].shape)
    if root.op.name == "reduce_sum" and result.dtype.is_floating:
        return b.emit_one("add", result, b.zeros_like(result))
    return result


@rule(op(SUMS, op(SUMS, x).as_("inner")), exact=integers)
def sum_of_sum(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reduce_sum(reduce_sum(x)) → reduce_sum(x) over the axes of both, and so for reduce_prod"""
    return _merge(b, root, inner, x)


@rule(op(CHOOSING, op(CHOOSING, x).as_("inner")))
def choice_of_choice(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reduce_max(reduce_max(x)) → reduce_max(x) over the axes of both, and so for min, any, all"""
    return _merge(b, root, inner, x)


def _merge(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    if inner.node.op is not root.op:
        return None
    first = inner.node.attributes["axes"]
    kept = _kept(x, first)
    return b.emit_one(root.op, x, axes=tuple(sorted((*first, *(kept[axis] for axis in root.attributes["axes"])))))


@rule(op(SUMS, op("transpose", x).as_("inner")), exact=integers)
def sum_of_transpose(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """reduce_sum(transpose(x)) → transpose(reduce_sum(x)), and so for reduce_prod"""
    return _through_transpose(b, root, inner, x)


@rule(op(CHOOSING, op("transpose", x).as_("inner")))
def choice_of_transpose(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    """reduce_max(transpose(x)) → transpose(reduce_max(x)), and so for min, any, all"""
    return _through_transpose(b, root, inner, x)


def _through_transpose(b: Builder, root: Node, inner: Value, x: Value) -> Value:
    permutation = inner.node.attributes["permutation"]
    axes = tuple(sorted(permutation[axis] for axis in root.attributes["axes"]))
    result = b.emit_one(root.op, x, axes=axes)
    wanted = [axis for axis in permutation if axis not in axes]
    order = tuple(sorted(wanted).index(axis) for axis in wanted)
    return b.emit_one("transpose", result, permutation=order) if order != tuple(range(len(order))) else result


@rule(op(CHOOSING, op("broadcast_in_dim", x).as_("inner")))
def choice_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reduce_max(broadcast(x)) → reduce_max(x) over the axes that x has, and so for min, any, all"""
    found = _without_repeated(b, root, inner, x)
    return None if found is None else found[0]


def _sums_exactly(type_: TensorType) -> bool:
    """Integers, whose sums wrap."""
    return bool(type_.dtype.is_integer)


@rule(op("reduce_sum", op("broadcast_in_dim", x).as_("inner")), exact=_sums_exactly)
def sum_of_broadcast(b: Builder, root: Node, inner: Value, x: Value) -> Value | None:
    """reduce_sum(broadcast(x)) → n · reduce_sum(x), n being how often x is repeated"""
    found = _without_repeated(b, root, inner, x)
    if found is None:
        return None
    result, count = found
    if result.dtype.is_integer:
        count %= 1 << result.dtype.bits
        if result.dtype.kind == "int" and count >= 1 << (result.dtype.bits - 1):
            count -= 1 << result.dtype.bits
    return b.emit_one("mul", result, b.full_like(result, count))


def _without_repeated(b: Builder, root: Node, inner: Value, x: Value) -> tuple[Value, int] | None:
    """The reduction without the axes along which ``inner`` only repeats, and how often it repeats; None without any."""
    dims = inner.node.attributes["dims"]
    own = {axis for i, axis in enumerate(dims) if x.shape[i] == inner.shape[axis]}
    sizes = {axis: inner.shape[axis] for axis in root.attributes["axes"] if axis not in own}
    repeated = {axis: size for axis, size in sizes.items() if isinstance(size, int) and size >= 1}
    if not repeated:
        return None
    staying = [i for i, axis in enumerate(dims) if axis not in repeated]
    if len(staying) < x.ndim:
        x = b.emit_one("reshape", x, shape=tuple(x.shape[i] for i in staying))
    kept = _kept(inner, tuple(repeated))
    shape = tuple(inner.shape[axis] for axis in kept)
    smaller = b.emit_one("broadcast_in_dim", x, shape=shape, dims=tuple(kept.index(dims[i]) for i in staying))
    axes = tuple(kept.index(axis) for axis in root.attributes["axes"] if axis not in repeated)
    count = product(repeated.values())
    assert isinstance(count, int)
    return b.emit_one(root.op, smaller, axes=axes), count


@rule(op("reduce_sum", (-x).once()), exact=integers)
def sum_of_negative(b: Builder, root: Node, x: Value) -> Value:
    """reduce_sum(-x) → -reduce_sum(x)"""
    return b.emit_one("neg", b.emit_one("reduce_sum", x, **root.attributes))


@rule(op("reduce_sum", (x * Const("c")).once()), exact=integers, when=lambda c: splat_of(c) is not None)
def sum_of_scaled(b: Builder, root: Node, x: Value, c: Value) -> Value:
    """reduce_sum(x · c) → reduce_sum(x) · c, for one number c"""
    total = b.emit_one("reduce_sum", x, **root.attributes)
    return b.emit_one("mul", total, b.full_like(total, splat_of(c)))


@rule(~(op("reduce_any", ~x).once().as_("inner")))
def not_any_not(b: Builder, inner: Value, x: Value) -> Value:
    """~any(~x) → all(x)"""
    return b.emit_one("reduce_all", x, **inner.node.attributes)


@rule(~(op("reduce_all", ~x).once().as_("inner")))
def not_all_not(b: Builder, inner: Value, x: Value) -> Value:
    """~all(~x) → any(x)"""
    return b.emit_one("reduce_any", x, **inner.node.attributes)


@rule(op(("argmax", "argmin"), x), when=lambda root, x: x.shape[root.attributes["axis"]] == 1)
def arg_of_one(b: Builder, root: Node) -> Value:
    """argmax(x) → 0, along an axis of size 1"""
    return b.full(root.types[0].shape, 0, root.types[0].dtype)


@rule(op(CUMULATIVE, x), when=lambda root, x: x.shape[root.attributes["axis"]] == 1)
def cumulative_of_one(x: Value) -> Value:
    """cumulative_sum(x) → x, along an axis of size 1, and so for prod, max, min"""
    return x


@rule(op(("cumulative_max", "cumulative_min"), op(("cumulative_max", "cumulative_min"), x).as_("inner")))
def cumulative_again(root: Node, inner: Value) -> Value | None:
    """cumulative_max(cumulative_max(x)) → cumulative_max(x), and so for min"""
    same = inner.node.op is root.op and dict(inner.node.attributes) == dict(root.attributes)
    return inner if same else None


# --- dot_general ----------------------------------------------------------------------------------------------------


@rule(op("dot_general", op("transpose", x).as_("inner"), y))
def dot_of_transposed_left(b: Builder, root: Node, inner: Value, x: Value, y: Value) -> Value | None:
    """dot_general(transpose(x), y) → dot_general(x, y), contracting other axes"""
    moved = _absorbed(root, inner, 0)
    return None if moved is None else b.emit_one("dot_general", x, y, **moved)


@rule(op("dot_general", x, op("transpose", y).as_("inner")))
def dot_of_transposed_right(b: Builder, root: Node, inner: Value, x: Value, y: Value) -> Value | None:
    """dot_general(x, transpose(y)) → dot_general(x, y), contracting other axes"""
    moved = _absorbed(root, inner, 1)
    return None if moved is None else b.emit_one("dot_general", x, y, **moved)


def _absorbed(root: Node, transposed: Value, side: int) -> dict[str, tuple[tuple[int, ...], ...]] | None:
    """The axes of the dot_general ``root`` once operand ``side`` is what ``transposed`` permutes; None if free
    axes reorder.
    """
    permutation = transposed.node.attributes["permutation"]
    contract, batch = root.attributes["contract"], root.attributes["batch"]
    taken = {*contract[side], *batch[side]}
    free = [permutation[axis] for axis in range(transposed.ndim) if axis not in taken]
    if free != sorted(free):
        return None
    mapped = {}
    for name, pair in (("contract", contract), ("batch", batch)):
        sides = list(pair)
        sides[side] = tuple(permutation[axis] for axis in pair[side])
        mapped[name] = tuple(sides)
    return mapped


@rule(op("transpose", op("dot_general", x, y).as_("product").once()))
def transpose_of_dot(b: Builder, root: Node, product: Value, x: Value, y: Value) -> Value | None:
    """transpose(dot_general(x, y)) → dot_general(y, x), where the axes of x and of y change places"""
    contract, batch = product.node.attributes["contract"], product.node.attributes["batch"]
    shared = len(batch[0])
    left = x.ndim - shared - len(contract[0])
    axes = range(product.ndim)
    if root.attributes["permutation"] != (*axes[:shared], *axes[shared + left :], *axes[shared : shared + left]):
        return None
    return b.emit_one("dot_general", y, x, contract=contract[::-1], batch=batch[::-1])
