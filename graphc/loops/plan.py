"""A graph as a list of steps: kernels, single ops, views and checks, with the values that each reads and makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc.ir.graph import Graph, Node, Value
from graphc.loops.expand import Placement, expand
from graphc.loops.fusion import Partition, Single, Unit, partition
from graphc.loops.kernel import Kernel
from graphc.loops.placement import find_placements
from graphc.loops.rows import RowKernel, group_rows


@dataclass(frozen=True)
class KernelStep:
    """Run ``kernel``: ``operands`` and ``results`` are its buffers, in order. With ``placement`` it writes a region of its
    result, which has outside of it the contents of the array that is updated."""

    kernel: Kernel
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    placement: Placement | None = None


@dataclass(frozen=True)
class OpStep:
    """Apply one op that no kernel holds: a structural op, a library call, or (an effect) a check."""

    node: Node

    @property
    def operands(self) -> tuple[Value, ...]:
        return self.node.inputs

    @property
    def results(self) -> tuple[Value, ...]:
        return self.node.results


@dataclass(frozen=True)
class ViewStep:
    """The result of ``node``, a reshape, is its operand's buffer under another shape: nothing runs."""

    node: Node

    @property
    def operands(self) -> tuple[Value, ...]:
        return self.node.inputs

    @property
    def results(self) -> tuple[Value, ...]:
        return self.node.results


Step = KernelStep | OpStep | ViewStep


@dataclass(frozen=True)
class Plan:
    """``steps`` in execution order; ``literals`` are the constants that are read from memory."""

    graph: Graph
    steps: tuple[Step, ...]
    literals: Mapping[Value, object]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(step.kernel for step in self.steps if isinstance(step, KernelStep))

    def describe(self) -> str:
        """Every step as text, in order."""
        parts: list[str] = []
        for step in self.steps:
            if isinstance(step, KernelStep):
                parts.append(step.kernel.describe() + _describe_placement(step.placement))
            else:
                what = "view" if isinstance(step, ViewStep) else "op"
                types = ", ".join(map(str, (v.type for v in step.results)))
                parts.append(f"{what} {step.node.op.name} -> {types or 'nothing'}")
        return "\n\n".join(parts)


def _describe_placement(placement: Placement | None) -> str:
    if placement is None:
        return ""
    return f"\n  writes the region of {placement.part.type} that begins at {placement.starts}"


def make_plan(graph: Graph, separate: frozenset[str] = frozenset(), *, place_updates: bool = False) -> Plan:
    """Group ``graph`` into kernels and put them in order. The graph holds no ``call`` nodes.

    ``separate`` names elementwise ops that the backend has no scalar code for: each becomes a step of its own.
    ``place_updates``: let kernels write straight into a region of an array (see :class:`KernelStep`).
    """
    parts = partition(graph, separate)
    units = group_rows(parts)
    is_read_outside = _read_outside(graph, units, parts)
    placements = find_placements(parts, units, graph.outputs) if place_updates else {}
    makers = {placement.update: cluster for cluster, placement in placements.items()}
    steps: list[Step] = []
    for unit in units:
        if unit in placements:
            continue  # it runs in place of the update
        if isinstance(unit, Single) and unit.node not in makers:
            steps.append(ViewStep(unit.node) if unit.is_view else OpStep(unit.node))
            continue
        placement = None
        if isinstance(unit, Single):
            unit = makers[unit.node]
            placement = placements[unit]
        stages = unit.stages if isinstance(unit, RowKernel) else ((unit,),)
        kernel, operands, results = expand(stages, parts.home.__contains__, is_read_outside, placement)
        steps.append(KernelStep(kernel, tuple(operands), tuple(results), placement))
    literals = {value: value.node.attributes["value"] for value in parts.home if value.node.op.name == "constant"}
    return Plan(graph, tuple(steps), literals)


def _read_outside(graph: Graph, units: Sequence[RowKernel | Unit], parts: Partition) -> Callable[[Value], bool]:
    """Whether a value is an output or read by another kernel or op than the one that makes it."""
    kernel_of: dict[Unit, RowKernel] = {
        cluster: unit for unit in units if isinstance(unit, RowKernel) for cluster in unit.clusters
    }
    outside = set(graph.outputs)
    for reader, values in parts.reads.items():
        own = kernel_of.get(reader)
        for value in values:
            maker = parts.home[value]
            if own is None or maker is None or kernel_of.get(maker) is not own:
                outside.add(value)
    return outside.__contains__
