"""A graph as a list of steps: kernels, single ops, views and checks, with the values that each reads and makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.ir.graph import Graph, Node, Value
from graphc.loops.expand import expand
from graphc.loops.fusion import Cluster, partition
from graphc.loops.kernel import Kernel


@dataclass(frozen=True)
class KernelStep:
    """Run ``kernel``: ``operands`` and ``results`` are its buffers, in order."""

    kernel: Kernel
    operands: tuple[Value, ...]
    results: tuple[Value, ...]


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
                parts.append(step.kernel.describe())
            else:
                what = "view" if isinstance(step, ViewStep) else "op"
                types = ", ".join(map(str, (v.type for v in step.results)))
                parts.append(f"{what} {step.node.op.name} -> {types or 'nothing'}")
        return "\n\n".join(parts)


def make_plan(graph: Graph, separate: frozenset[str] = frozenset()) -> Plan:
    """Group ``graph`` into kernels and put them in order. The graph holds no ``call`` nodes.

    ``separate`` names elementwise ops that the backend has no scalar code for: each becomes a step of its own.
    """
    parts = partition(graph, separate)
    steps: list[Step] = []
    for unit in parts.units:
        if isinstance(unit, Cluster):
            kernel, operands, results = expand(unit, parts.home.__contains__)
            steps.append(KernelStep(kernel, tuple(operands), tuple(results)))
        else:
            steps.append(ViewStep(unit.node) if unit.is_view else OpStep(unit.node))
    literals = {value: value.node.attributes["value"] for value in parts.home if value.node.op.name == "constant"}
    return Plan(graph, tuple(steps), literals)
