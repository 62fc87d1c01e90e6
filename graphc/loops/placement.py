"""Which kernels write straight into a region of a larger array: what ``a[1:-1] = …`` computes is never stored by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from graphc.ir.dims import bounds
from graphc.ir.graph import Node, Value
from graphc.loops.affine import Affine
from graphc.loops.expand import Placement, concrete_loads
from graphc.loops.fusion import Cluster, Partition, Single, Unit
from graphc.loops.rows import RowKernel

#: A kernel that reads the array elsewhere than where it writes needs a second array, into which the rest is copied: this
#: pays where the region is at least so large a part of it.
LEAST_SHARE: Final = 0.5


def literal_starts(node: Node) -> tuple[int, ...] | None:
    """The starts of a dynamic slice or update whose region lies, as is known now, within the array."""
    is_update = node.op.name == "dynamic_update_slice"
    whole, part = node.inputs[0].shape, node.inputs[1].shape if is_update else node.types[0].shape
    starts: list[int] = []
    for start, size, taken in zip(node.inputs[1 + is_update :], whole, part, strict=True):
        room = bounds(size - taken)[0]  # at least; of n and n - 2 it is 2
        if start.node.op.name != "constant" or room is None or not 0 <= start.node.attributes["value"] <= room:
            return None
        starts.append(int(start.node.attributes["value"]))
    return tuple(starts)


def find_placements(
    parts: Partition, units: Sequence[RowKernel | Unit], outputs: Sequence[Value]
) -> dict[Cluster, Placement]:
    """For each cluster that makes nothing but a region of an array: which."""
    clusters = {unit for unit in units if isinstance(unit, Cluster)}
    readers: dict[Value, int] = dict.fromkeys(outputs, 1)
    for values in parts.reads.values():
        for value in values:
            readers[value] = readers.get(value, 0) + 1
    found: dict[Cluster, Placement] = {}
    for unit in units:
        if not isinstance(unit, Single) or unit.node.op.name != "dynamic_update_slice" or unit.node.types[0].ndim == 0:
            continue
        part = unit.node.inputs[1]
        maker = parts.home[part]
        if not isinstance(maker, Cluster) or maker not in clusters or maker.reductions or list(maker.stored) != [part]:
            continue
        if maker.product is not None:
            continue  # the epilogue of a product, which stores whole results
        starts = literal_starts(unit.node)
        if starts is None or readers[part] != 1:
            continue
        placement = Placement(unit.node, starts)
        if _pays(maker, placement, parts.home.__contains__):
            found[maker] = placement
    return found


def _pays(cluster: Cluster, placement: Placement, in_memory: Callable[[Value], bool]) -> bool:
    whole, part = placement.whole.type.size, placement.part.type.size
    if not isinstance(whole, int) or not isinstance(part, int) or part == 0:
        return False
    region = [
        Affine(start, ((axis, 1),) if size != 1 else ())
        for axis, (start, size) in enumerate(zip(placement.starts, placement.part.shape, strict=True))
    ]
    read = [list(index) for value, index in concrete_loads(cluster, in_memory) if value == placement.whole]
    return part >= LEAST_SHARE * whole or all(index == region for index in read)
