"""dot_general as a product of matrices: which axes are rows, columns and depth, and when an operand must be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue, Prologues
from graphc.backends.numba_cpu.gemm.blocked import blocked_product
from graphc.backends.numba_cpu.gemm.integers import integer_product
from graphc.backends.numba_cpu.gemm.product import Product, Strides
from graphc.backends.numba_cpu.gemm.vectors import matrix_vector, outer_product
from graphc.backends.numba_cpu.structural.template import KernelText, carrier, linear, row_major_strides
from graphc.dtypes import DType
from graphc.ir.dims import Dim, product
from graphc.ir.types import Shape, TensorType
from graphc.loops.source import KernelSource

Axes = tuple[int, ...]


@dataclass(frozen=True)
class _Operand:
    """An operand, its axes in three groups: those shared by both (batch), its own (free), those summed over."""

    shape: Shape
    batch: Axes
    free: Axes
    summed: Axes

    @property
    def order(self) -> Axes:
        return (*self.batch, *self.free, *self.summed)

    def without_ones(self) -> _Operand:
        """Without the axes that have one element: they have no stride."""
        batch, free, summed = (
            tuple(a for a in group if self.shape[a] != 1) for group in (self.batch, self.free, self.summed)
        )
        return replace(self, batch=batch, free=free, summed=summed)

    def are_one(self, axes: Axes) -> bool:
        """Whether one stride walks through all ``axes``: they follow each other in memory, in this order."""
        return all(
            first < second and all(self.shape[a] == 1 for a in range(first + 1, second))
            for first, second in pairwise(axes)
        )

    def size(self, axes: Axes) -> Dim:
        return product(self.shape[a] for a in axes)

    def stride(self, axes: Axes) -> Dim:
        return row_major_strides(self.shape)[axes[-1]] if axes else 1


def copied(operand: _Operand) -> _Operand:
    """``operand`` as a copy with its axes in the order of the groups."""
    batch, free = len(operand.batch), len(operand.free)
    axes = tuple(range(len(operand.order)))
    shape = tuple(operand.shape[a] for a in operand.order)
    return _Operand(shape, axes[:batch], axes[batch : batch + free], axes[batch + free :])


def permuting_kernel(dtype: DType, operand: _Operand, source: int, target: int) -> KernelSource:
    """A kernel that copies an operand, its axes permuted; the parallel range is the first axis, if there is one."""
    text = KernelText("permute", f"Copy elements of {dtype.bits} bits, axes permuted.")
    text.buffer("x", source, carrier(dtype))
    text.buffer("result", target, carrier(dtype))
    order = operand.order
    strides = row_major_strides(operand.shape)
    sizes = [text.size(f"n{number}", operand.shape[axis]) for number, axis in enumerate(order)]
    steps = [text.size(f"step{number}", strides[axis]) for number, axis in enumerate(order)]
    outer = [f"i{number}" for number in range(len(order) - 1)]
    last = len(order) - 1
    with text.block("for row in range(lo, hi):"):
        text.unravel("row", sizes[:-1], outer)
        text.line(f"base = {linear(list(zip(outer, steps[:-1], strict=True)))}")
        with text.block(f"for j in range({sizes[last]}):"):
            text.line(f"result[row * {sizes[last]} + j] = x[base + j * {steps[last]}]")
    return text.finish(product(operand.shape[a] for a in order[:-1]))


def _paired(lhs: _Operand, rhs: _Operand) -> tuple[_Operand, _Operand]:
    """Both operands with their summed axes in the order in which at most one of them has to be copied, if any."""
    pairs = list(zip(lhs.summed, rhs.summed, strict=True))
    orders = [sorted(pairs), sorted(pairs, key=lambda pair: pair[1])]

    def arranged(order: Sequence[tuple[int, int]]) -> tuple[_Operand, _Operand]:
        return replace(lhs, summed=tuple(a for a, _ in order)), replace(rhs, summed=tuple(b for _, b in order))

    return min((arranged(order) for order in orders), key=lambda both: sum(needs_copy(x) for x in both))


def needs_copy(operand: _Operand) -> bool:
    return not (operand.are_one(operand.free) and operand.are_one(operand.summed))


def _merged_batch(lhs: _Operand, rhs: _Operand) -> list[tuple[Axes, Axes]]:
    """The batch axes in groups that one stride of each operand walks through."""
    groups: list[tuple[Axes, Axes]] = []
    for left, right in zip(lhs.batch, rhs.batch, strict=True):
        if groups:
            first = (*groups[-1][0], left), (*groups[-1][1], right)
            if lhs.are_one(first[0]) and rhs.are_one(first[1]):
                groups[-1] = first
                continue
        groups.append(((left,), (right,)))
    return groups


def lower_dot_general(
    attributes: Mapping[str, Any],
    operand_types: Sequence[TensorType],
    result_types: Sequence[TensorType],
    epilogue: Epilogue = NO_EPILOGUE,
    result: int = 2,
    scratch_at: int = 3,
    prologues: Prologues | None = None,
) -> tuple[KernelSource, ...]:
    """The kernels of ``dot_general``: copies of operands that no strides describe, then the product.

    Among the buffers, the operands are the first two. ``result`` is the position of the result, and ``scratch_at`` that of
    the first scratch buffer.
    """
    p, copies, scratch = arrange(attributes, operand_types, result, scratch_at)
    kernels = (*copies, *(product_kernels(p, epilogue) if prologues is None else (blocked_product(p, epilogue, prologues),)))
    scratch = [*scratch, *kernels[-1].scratch]
    return tuple(replace(kernel, scratch=tuple(scratch)) for kernel in kernels)


def arrange(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result: int = 2, scratch_at: int = 3
) -> tuple[Product, Sequence[KernelSource], Sequence[TensorType]]:
    """The product of matrices that a ``dot_general`` is, after the copies of its operands, and the scratch for those."""
    lhs, rhs = _operands(attributes, operand_types)
    lhs, rhs = _paired(lhs, rhs)
    dtype = operand_types[0].dtype
    copies: list[KernelSource] = []
    scratch: list[TensorType] = []
    positions = [0, 1]
    sides = [lhs, rhs]
    for number, side in enumerate(sides):
        if needs_copy(side):
            positions[number] = scratch_at + len(scratch)
            copies.append(permuting_kernel(dtype, side, number, positions[number]))
            sides[number] = copied(side)
            scratch.append(TensorType(dtype, (side.size(side.order),)))
    lhs, rhs = sides
    groups = _merged_batch(lhs, rhs)
    p = Product(
        dtype=dtype,
        batch=tuple(lhs.size(left) for left, _ in groups),
        rows=lhs.size(lhs.free),
        columns=rhs.size(rhs.free),
        depth=lhs.size(lhs.summed),
        lhs=Strides(tuple(lhs.stride(left) for left, _ in groups), lhs.stride(lhs.free), lhs.stride(lhs.summed)),
        rhs=Strides(tuple(rhs.stride(right) for _, right in groups), rhs.stride(rhs.summed), rhs.stride(rhs.free)),
        buffers=(positions[0], positions[1], result),
        scratch=scratch_at + len(scratch),
    )
    return p, copies, scratch


def _operands(attributes: Mapping[str, Any], types: Sequence[TensorType]) -> tuple[_Operand, _Operand]:
    operands = []
    for side in (0, 1):
        summed, batch = attributes["contract"][side], attributes["batch"][side]
        free = tuple(a for a in range(types[side].ndim) if a not in summed and a not in batch)
        operands.append(_Operand(types[side].shape, batch, free, summed).without_ones())
    return operands[0], operands[1]


def is_blocked(p: Product) -> bool:
    """Whether ``p`` is one of matrices of floats, as far as is known without sizes."""
    return p.dtype.is_floating and 1 not in (p.depth, p.rows, p.columns)


def product_kernels(p: Product, epilogue: Epilogue = NO_EPILOGUE) -> tuple[KernelSource, ...]:
    """The kernels for ``p`` by what it is: nothing summed, integers, a vector, matrices."""
    if p.depth == 1:
        return (outer_product(p, epilogue),)
    if not p.dtype.is_floating:
        return (integer_product(p, epilogue),)
    if p.rows == 1 or p.columns == 1:
        return matrix_vector(p, epilogue)
    return (blocked_product(p, epilogue),)
