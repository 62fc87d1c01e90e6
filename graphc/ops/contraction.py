"""dot_general: every product of tensors that sums over shared axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.ir.dims import product
from graphc.ir.primitive import Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.batching import are_mapped, behind, to_front
from graphc.ops.checking import check_axis, check_numeric, check_same_dtype, take, wants_gradient
from graphc.ops.elementwise import rounded
from graphc.ops.movement import inverse_permutation
from graphc.ops.quiet import quietly
from graphc.ops.reduction import in_compute_dtype

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value

AxisPairs = tuple[tuple[int, ...], tuple[int, ...]]


def free_axes(ndim: int, contract: Sequence[int], batch: Sequence[int]) -> tuple[int, ...]:
    """The axes of an operand that are neither summed over nor shared."""
    return tuple(a for a in range(ndim) if a not in contract and a not in batch)


def check_axis_pairs(op: str, what: str, pairs: Any) -> None:
    """Raise ArgumentError unless ``pairs`` is (axes of lhs, axes of rhs), equally many."""
    if not isinstance(pairs, tuple) or len(pairs) != 2 or not all(isinstance(p, tuple) for p in pairs):
        raise ArgumentError(f"{op}: {what} must be (axes of lhs, axes of rhs), not {pairs!r}")
    if len(pairs[0]) != len(pairs[1]):
        raise ArgumentError(f"{op}: {what} {pairs} names more axes of one operand than of the other")


@register
class DotGeneral(Primitive):
    """The sum of products over the axes ``contract`` = (axes of lhs, axes of rhs), for each index of axes ``batch``.

    The result has the batch axes (in the order listed), then lhs's other axes, then rhs's (StableHLO's dot_general).
    Both operands and the result have one dtype; 16-bit floats accumulate in float32, integers wrap.

    >>> b.dot_general(x, w, contract=((1,), (0,)), batch=((), ()))  # f32[n, 784], f32[784, 10] -> f32[n, 10]
    """

    name = "dot_general"
    attributes = ("contract", "batch")
    residuals: ClassVar[Residuals] = Residuals(operands=(0, 1))

    def infer(  # type: ignore[override]
        self, inputs: tuple[TensorType, ...], /, *, contract: AxisPairs, batch: AxisPairs
    ) -> tuple[TensorType, ...]:
        lhs, rhs = take(self.name, inputs, 2)
        check_numeric(self.name, lhs, rhs)
        check_same_dtype(self.name, lhs, rhs)
        for what, pairs in (("contract", contract), ("batch", batch)):
            check_axis_pairs(self.name, what, pairs)
        for side, x in enumerate((lhs, rhs)):
            named = contract[side] + batch[side]
            for axis in named:
                check_axis(self.name, axis, x)
            if len(set(named)) != len(named):
                raise AxisError(
                    f"{self.name}: contract {contract} and batch {batch} name an axis of {x} twice", cause=AxisError.TWICE
                )
        for what, pairs in (("contract", contract), ("batch", batch)):
            for left, right in zip(*pairs, strict=True):
                if lhs.shape[left] != rhs.shape[right]:
                    raise ShapeError(
                        f"{self.name}: {what} pairs axis {left} of {lhs} with axis {right} of {rhs}: sizes "
                        f"{lhs.shape[left]} and {rhs.shape[right]} differ",
                        cause=ShapeError.CONTRACTION,
                    )
        shape = [lhs.shape[a] for a in batch[0]]
        shape += [lhs.shape[a] for a in free_axes(lhs.ndim, contract[0], batch[0])]
        shape += [rhs.shape[a] for a in free_axes(rhs.ndim, contract[1], batch[1])]
        return (lhs.with_shape(shape),)

    def evaluate(self, lhs: Any, rhs: Any, *, contract: AxisPairs, batch: AxisPairs) -> Any:
        dtype = lhs.dtype
        lhs, rhs = in_compute_dtype(lhs), in_compute_dtype(rhs)
        if contract == ((1,), (0,)) and batch == ((), ()) and lhs.ndim == 2 == rhs.ndim:  # the most common by far
            return rounded(quietly(np.matmul, lhs, rhs), dtype)
        free = (free_axes(lhs.ndim, contract[0], batch[0]), free_axes(rhs.ndim, contract[1], batch[1]))
        shared = [lhs.shape[a] for a in batch[0]]
        rows, columns = [lhs.shape[a] for a in free[0]], [rhs.shape[a] for a in free[1]]
        inner = product(lhs.shape[a] for a in contract[0])
        left = np.transpose(lhs, (*batch[0], *free[0], *contract[0])).reshape(*shared, product(rows), inner)
        right = np.transpose(rhs, (*batch[1], *contract[1], *free[1])).reshape(*shared, inner, product(columns))
        return rounded(quietly(np.matmul, left, right).reshape((*shared, *rows, *columns)), dtype)

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(other for operand, other in ((1, 0), (0, 1)) if needed[operand]))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        wanted = [wants_gradient(node, needed, operand) for operand in (0, 1)]
        return [_operand_gradient(b, node, cotangent, i) if wanted[i] else None for i in (0, 1)]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        mapped = are_mapped(node, operands)
        contract, shared = (
            [behind(axes) if is_mapped else axes for axes, is_mapped in zip(node.attributes[name], mapped, strict=True)]
            for name in self.attributes
        )
        if all(mapped):
            return b.emit(self, *operands, contract=contract, batch=[(0, *axes) for axes in shared])
        # The examples are the first free axis of their operand; with the operands exchanged they may come out in front.
        one = mapped.index(True)
        own = zip(node.inputs, node.attributes["contract"], node.attributes["batch"], strict=True)
        free = [free_axes(x.ndim, summed, shared_axes) for x, summed, shared_axes in own]
        if one == 1 and not free[1]:
            result = b.emit_one(self, *reversed(operands), contract=contract[::-1], batch=shared[::-1])
            return (to_front(b, result, len(shared[0])),)
        result = b.emit_one(self, *operands, contract=contract, batch=shared)
        return (to_front(b, result, len(shared[0]) + (len(free[0]) if one == 1 else 0)),)


def _operand_gradient(b: Builder, node: Node, cotangent: Value, operand: int) -> Value:
    """Contract the cotangent with the other operand over that one's free axes, and put the axes in place."""
    contract, batch = node.attributes["contract"], node.attributes["batch"]
    x, other = node.inputs[operand], node.inputs[1 - operand]
    mine, others = contract[operand], contract[1 - operand]
    free = free_axes(x.ndim, mine, batch[operand])
    others_free = free_axes(other.ndim, others, batch[1 - operand])
    shared = len(batch[0])
    skipped = shared + (len(free) if operand == 0 else 0)
    gradient = b.dot_general(
        cotangent,
        other,
        contract=(tuple(range(skipped, skipped + len(others_free))), others_free),
        batch=(tuple(range(shared)), batch[1 - operand]),
    )
    # The other operand's contracted axes come out in its order; each belongs to one of this operand's.
    summed = tuple(axis for _, axis in sorted(zip(others, mine, strict=True)))
    permutation = inverse_permutation((*batch[operand], *free, *summed))
    if permutation != tuple(range(x.ndim)):
        gradient = b.transpose(gradient, permutation=permutation)
    placed: Value = gradient
    return placed
