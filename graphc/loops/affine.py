"""Affine functions of loop indices, and what an index-mapping op does to an index.

An index of a value is one :class:`Affine` an axis, over the loops of the kernel that reads it. Coefficients and
offsets are dimensions over the kernel's own size names (``s0``, ``s1``, …), never the sizes of one call: two programs
that differ only in sizes then get the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.ir.dims import Dim, product
from graphc.ir.graph import Node


@dataclass(frozen=True)
class Affine:
    """``offset + sum(coefficient * loop index)``; ``terms`` are (loop, coefficient), by loop, without zeros."""

    offset: Dim = 0
    terms: tuple[tuple[int, Dim], ...] = ()

    def __add__(self, other: Affine) -> Affine:
        total = dict(self.terms)
        for loop, coefficient in other.terms:
            total[loop] = total.get(loop, 0) + coefficient
        return Affine(self.offset + other.offset, tuple(sorted((loop, c) for loop, c in total.items() if c != 0)))

    def scaled(self, factor: Dim) -> Affine:
        """This function times ``factor``."""
        if factor == 1:
            return self
        if factor == 0:
            return Affine()
        return Affine(self.offset * factor, tuple((loop, c * factor) for loop, c in self.terms))

    def coefficient(self, loop: int) -> Dim:
        return next((c for index, c in self.terms if index == loop), 0)

    @property
    def loop(self) -> int | None:
        """The loop whose index this is, exactly; None for any other function."""
        if self.offset == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    @property
    def loops(self) -> frozenset[int]:
        """The loops that the value depends on."""
        return frozenset(loop for loop, _ in self.terms)

    def __str__(self) -> str:
        parts = [f"i{loop}" if c == 1 else f"{_factor(c)}*i{loop}" for loop, c in self.terms]
        if self.offset != 0 or not parts:
            parts.append(str(self.offset))
        return " + ".join(parts)


Index = tuple[Affine, ...]


def _factor(dim: Dim) -> str:
    text = str(dim)
    return text if text.replace("-", "", 1).isalnum() else f"({text})"


def loop_index(loop: int) -> Affine:
    """The index of ``loop`` itself."""
    return Affine(0, ((loop, 1),))


#: Names a size: (what it is, the size itself, the index that runs over it, if any) → a dimension over kernel size
#: names.
NameSize = Callable[[object, Dim, Affine | None], Dim]


def linear(index: Sequence[Affine], sizes: Sequence[Dim]) -> Affine:
    """The position in a row-major buffer of shape ``sizes`` of the element at ``index``."""
    total = Affine()
    for axis, part in enumerate(index):
        total = total + part.scaled(product(sizes[axis + 1 :]))
    return total


def operand_index(node: Node, index: Index, name_size: NameSize) -> Index:
    """The index of the operand of ``node``, an index-mapping op, whose element is the result's element at ``index``."""
    return _MAPS[node.op.name](node, index, name_size)


def _broadcast(node: Node, index: Index, name_size: NameSize) -> Index:
    dims = node.attributes["dims"]
    return tuple(Affine() if size == 1 else index[dims[axis]] for axis, size in enumerate(node.inputs[0].shape))


def _transpose(node: Node, index: Index, name_size: NameSize) -> Index:
    operand: list[Affine] = [Affine()] * len(index)
    for axis, source in enumerate(node.attributes["permutation"]):
        operand[source] = index[axis]
    return tuple(operand)


def _slice(node: Node, index: Index, name_size: NameSize) -> Index:
    operand: list[Affine] = []
    for axis, part in enumerate(index):
        start, stride = node.attributes["starts"][axis], node.attributes["strides"][axis]
        if stride != 1:
            part = part.scaled(name_size((node, "stride", axis), stride, None))
        if start != 0:
            part = part + Affine(name_size((node, "start", axis), start, None))
        operand.append(part)
    return tuple(operand)


def _reverse(node: Node, index: Index, name_size: NameSize) -> Index:
    operand = list(index)
    for axis in node.attributes["axes"]:
        size = name_size((node, "size", axis), node.types[0].shape[axis], index[axis])
        operand[axis] = Affine(size - 1) + index[axis].scaled(-1)
    return tuple(operand)


def _reshape(node: Node, index: Index, name_size: NameSize) -> Index:
    groups = split_groups(node.inputs[0].shape, node.types[0].shape)
    assert groups is not None, "a reshape that merges axes is not an index map"
    operand: list[Affine] = []
    for axes in groups:
        sizes = [name_size((node, "size", axis), node.types[0].shape[axis], index[axis]) for axis in axes]
        operand.append(linear([index[axis] for axis in axes], sizes))
    return tuple(operand)


_MAPS: dict[str, Callable[[Node, Index, NameSize], Index]] = {
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "reverse": _reverse,
    "reshape": _reshape,
}
INDEX_MAPS = frozenset(_MAPS)


def split_groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[list[int]] | None:
    """For each old axis, the new axes that it is split into (or equals); None where the reshape merges axes.

    Axes of the literal size 1 come and go freely.
    """
    groups: list[list[int]] = []
    at = 0
    for size in old:
        axes: list[int] = []
        if size != 1:
            while at < len(new) and new[at] == 1:
                at += 1
            total: Dim = 1
            while total != size:
                if at == len(new):
                    return None
                axes.append(at)
                total = total * new[at]
                at += 1
                if isinstance(total, int) and isinstance(size, int) and total > size:
                    return None
        groups.append([axis for axis in axes if new[axis] != 1])
    return groups if all(size == 1 for size in new[at:]) else None
