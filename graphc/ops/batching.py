"""What the ``batch`` rules of the primitives share: which operands are mapped, and how the others join them.

A mapped operand has one axis more than the node's own operand has: axis 0 counts the examples. An operand that is not mapped
is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.dtypes import int64
from graphc.ir.primitive import Primitive

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim
    from graphc.ir.graph import Node, Value


class WithoutOperands(Primitive):
    """Base of the ops that have no operands: their result is the same for all examples."""

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return node.results


def are_mapped(node: Node, operands: Sequence[Value]) -> tuple[bool, ...]:
    """For each of the ``operands`` that stand for those of ``node``, whether it has an axis of examples."""
    return tuple(given.ndim > own.ndim for given, own in zip(operands, node.inputs, strict=True))


def repeated(b: Builder, x: Value, size: Dim) -> Value:
    """``x`` once for each example."""
    result: Value = b.broadcast_in_dim(x, shape=(size, *x.shape), dims=tuple(range(1, x.ndim + 1)))
    return result


def all_mapped(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> list[Value]:
    """``operands``, with those that are not mapped repeated for each example."""
    mapped = are_mapped(node, operands)
    return [x if is_mapped else repeated(b, x, size) for x, is_mapped in zip(operands, mapped, strict=True)]


def behind(axes: Sequence[int]) -> tuple[int, ...]:
    """``axes`` where one more axis stands in front."""
    return tuple(axis + 1 for axis in axes)


def to_front(b: Builder, x: Value, axis: int) -> Value:
    """``x`` with ``axis`` moved to the front."""
    if axis == 0:
        return x
    moved: Value = b.transpose(x, permutation=(axis, *(a for a in range(x.ndim) if a != axis)))
    return moved


def from_front(b: Builder, x: Value, axis: int) -> Value:
    """``x`` with its first axis moved to become ``axis``."""
    if axis == 0:
        return x
    moved: Value = b.transpose(x, permutation=(*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
    return moved


def counted(b: Builder, shape: Sequence[Dim], axis: int = 0) -> Value:
    """int64 positions along ``axis`` of ``shape``: by default the number of the example."""
    positions: Value = b.iota(dtype=int64, shape=tuple(shape), axis=axis)
    return positions


def as_number(b: Builder, dim: Dim, shape: Sequence[Dim]) -> Value:
    """The size ``dim`` as an int64, everywhere in ``shape``."""
    if isinstance(dim, int):
        return b.full(shape, dim, int64)
    number: Value = b.broadcast_in_dim(b.dimension(dim=dim), shape=tuple(shape), dims=())
    return number
