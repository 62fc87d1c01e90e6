"""Which maps before a product of matrices are computed where their result is packed, and so never stored.

A weight that is kept as 8-bit integers or 16-bit floats is converted, scaled and shifted by a map. Packing reads each element
of it and writes it elsewhere; to compute it on the way costs an instruction or two, and saves a matrix of wide elements in
memory. But what is packed again for every block of the other operand is computed again, too: so only cheap maps of one
matrix of narrower elements are such a *prologue*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.dtypes import float32
from graphc.ir.graph import Node, Value
from graphc.loops.expand import expand_prologue
from graphc.loops.fusion import Cluster, Unit, label
from graphc.loops.kernel import Kernel

MOST_OPS = 6
"""Instructions that compute an element, besides loads: a conversion, a zero point, a scale, and roundings of these."""


@dataclass(frozen=True)
class Prologue:
    """The operand ``side`` of a product, element by element. ``read`` are the kernel's buffers, and ``matrix`` is the place
    among them of the one that is as large as the operand."""

    side: int
    kernel: Kernel
    read: tuple[Value, ...]
    matrix: int


@dataclass(frozen=True)
class Prologues:
    """For each product that has some its prologues; which clusters these are, so that nothing else runs them; and why others
    are apart."""

    of: Mapping[Node, tuple[Prologue, ...]]
    clusters: frozenset[Cluster]
    apart: Mapping[Node, tuple[str, ...]]


def find_prologues(
    units: Sequence[object],
    readers: Mapping[Value, Sequence[Unit]],
    home: Mapping[Value, Unit | None],
    outputs: Sequence[Value],
    products: Sequence[Node],
) -> Prologues:
    """The prologues of ``products``; ``units``: all that runs, ``readers``: who reads a value."""
    of: dict[Node, tuple[Prologue, ...]] = {}
    clusters: set[Cluster] = set()
    apart: dict[Node, tuple[str, ...]] = {}
    alone = {unit for unit in units if isinstance(unit, Cluster)}
    for node in products:
        for side, operand in enumerate(node.inputs):
            cluster = home.get(operand)
            if not isinstance(cluster, Cluster) or cluster not in alone or not _converts(operand):
                continue
            made = _prologue(node, side, cluster, home.__contains__)
            reason = _objection(node, side, cluster, readers, outputs) or (made if isinstance(made, str) else None)
            if reason is None:
                assert isinstance(made, Prologue)
                of[node] = (*of.get(node, ()), made)
                clusters.add(cluster)
            else:
                apart[node] = (*apart.get(node, ()), f"stores {label(operand.node)} before it: {reason}")
    return Prologues(of, frozenset(clusters), apart)


def _converts(value: Value) -> bool:
    """Whether the map that makes ``value`` reads something narrower: others are no candidates, and need no reasons."""
    seen, stack = {value}, [value]
    while stack:
        at = stack.pop()
        if at.node.op.name == "convert_element_type" and at.node.inputs[0].dtype.itemsize < at.dtype.itemsize:
            return True
        if (at.node.op.elementwise or at.node.op.name == "broadcast_in_dim") and len(seen) < 4 * MOST_OPS:
            fresh = [v for v in at.node.inputs if v not in seen]
            seen.update(fresh)
            stack += fresh
    return False


def _objection(
    node: Node, side: int, cluster: Cluster, readers: Mapping[Value, Sequence[Unit]], outputs: Sequence[Value]
) -> str | None:
    operand = node.inputs[side]
    if node.op.name != "dot_general" or node.attributes["batch"][0] or any(v.ndim != 2 for v in node.inputs):
        return "only products of two matrices convert while they pack"
    if operand.dtype is not float32:
        return f"only float32 is computed while packing, not {operand.dtype}"
    if 1 in operand.shape:
        return "it is a vector"
    if 1 in node.inputs[1 - side].shape and node.attributes["contract"][side] == (1,):
        return "a product with a vector reads it row by row, without packing"
    if len(readers.get(operand, ())) > 1 or operand in outputs or node.inputs[0] == node.inputs[1]:
        return "others read it, too"
    if list(cluster.stored) != [operand] or cluster.product is not None or cluster.body_shape is not None:
        return "its kernel does more"
    return None


def _prologue(node: Node, side: int, cluster: Cluster, in_memory: Callable[[Value], bool]) -> Prologue | str:
    operand = node.inputs[side]
    if list(cluster.stored) != [operand] or cluster.body_shape is not None or operand.ndim != 2:
        return "its kernel does more"
    kernel, read = expand_prologue(cluster, in_memory)
    body = kernel.only.body
    costly = [i for i in body if i.kind == "math" or (i.kind == "binary" and i.detail in ("/", "//", "%", "**"))]
    if costly:
        return f"{costly[0].detail} is too much to compute again each time that it is packed"
    if sum(i.kind in ("binary", "compare", "convert", "select", "round", "invert") for i in body) > MOST_OPS:
        return "it is too much to compute again each time that it is packed"
    loads = [i for i in body if i.kind == "load"]
    whole = [i for i in loads if len(i.detail[1].loops) > 1]
    if len(whole) != 1 or len(kernel.loops) != 2:
        return f"it reads {len(whole)} matrices, not one"
    if whole[0].detail[1].coefficient(1) != 1:
        return "it reads the matrix across its rows"
    if whole[0].detail[2].itemsize >= operand.dtype.itemsize:
        return "the matrix that it reads is not narrower"
    reason = f"is computed while {label(node)} packs it, and never stored: it is cheap, and reads narrower elements"
    kernel = replace(kernel, why=(reason,))
    return Prologue(side, kernel, tuple(read), whole[0].detail[0])
