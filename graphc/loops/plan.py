"""A graph as a list of steps: kernels, single ops, views and checks, with the values that each reads and makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.ir.graph import Graph, Node, Value
from graphc.loops.expand import Placement, expand, expand_epilogue
from graphc.loops.fusion import Cluster, Partition, Single, Unit, label, partition
from graphc.loops.kernel import Kernel
from graphc.loops.placement import find_placements
from graphc.loops.products import PRODUCTS, grid, objection
from graphc.loops.prologues import Prologue, Prologues, find_prologues
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
class ProductStep:
    """Run ``epilogue`` on each part of the result of ``node``, a product of matrices, when that part is done.

    The epilogue's buffers are ``read``, the product's result first, and ``written``. ``keeps``: others read the result too.
    With ``prologues`` operands are computed while they are packed; then there need not be an epilogue, and ``why`` says so.
    """

    node: Node
    epilogue: Kernel | None
    read: tuple[Value, ...]
    written: tuple[Value, ...]
    keeps: bool
    prologues: tuple[Prologue, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[Value, ...]:
        """Those of the product first, or the matrices that they are computed from, then what else the epilogue reads, and the
        prologues."""
        own = list(self.node.inputs)
        for prologue in self.prologues:
            own[prologue.side] = prologue.read[prologue.matrix]
        return (*own, *self.read[1:], *(v for prologue in self.prologues for v in others(prologue)))

    @property
    def results(self) -> tuple[Value, ...]:
        """Those of the epilogue, then that of the product if it is kept."""
        return (*self.written, self.read[0]) if self.keeps else self.written


def others(prologue: Prologue) -> tuple[Value, ...]:
    """What ``prologue`` reads besides its matrix."""
    return (*prologue.read[: prologue.matrix], *prologue.read[prologue.matrix + 1 :])


@dataclass(frozen=True)
class OpStep:
    """Apply one op that no kernel holds: a structural op, a library call, or (an effect) a check."""

    node: Node
    why: tuple[str, ...] = ()

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


Step = KernelStep | ProductStep | OpStep | ViewStep


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
                text = f"{what} {step.node.op.name} -> {types or 'nothing'}"
                if isinstance(step, ProductStep):
                    text += "".join(f" of a prologue\n{prologue.kernel.describe()}" for prologue in step.prologues)
                    if step.epilogue is not None:
                        through = "\nthrough" if step.prologues else " through"
                        text += f"{through} its epilogue\n{step.epilogue.describe()}"
                parts.append("\n".join([text, *(f"  why {reason}" for reason in getattr(step, "why", ()))]))
        return "\n\n".join(parts)


def _describe_placement(placement: Placement | None) -> str:
    if placement is None:
        return ""
    return f"\n  writes the region of {placement.part.type} that begins at {placement.starts}"


def make_plan(
    graph: Graph,
    separate: frozenset[str] = frozenset(),
    *,
    place_updates: bool = False,
    epilogues: bool = False,
    prologues: bool = False,
) -> Plan:
    """Group ``graph`` into kernels and put them in order. The graph holds no ``call`` nodes.

    ``separate`` names elementwise ops that the backend has no scalar code for: each becomes a step of its own.
    ``place_updates``: let kernels write straight into a region of an array (see :class:`KernelStep`). ``epilogues``: let the
    maps after matrix products and convolutions run on parts of the result (see :class:`ProductStep`). ``prologues``, with
    those: let maps before products of matrices run on parts of the operands.
    """
    parts = partition(graph, separate, PRODUCTS - separate if epilogues else frozenset())
    units = group_rows(parts)
    is_read_outside = _read_outside(graph, units, parts)
    placements = find_placements(parts, units, graph.outputs) if place_updates else {}
    makers = {placement.update: cluster for cluster, placement in placements.items()}
    before = _prologues(graph, units, parts, separate) if prologues else Prologues({}, frozenset(), {})
    steps: list[Step] = []
    for unit in units:
        if unit in before.clusters:
            continue  # the product that reads it runs it
        if unit in placements:
            continue  # it runs in place of the update
        if isinstance(unit, Single) and unit.node not in makers:
            why = (*unit.why, *before.apart.get(unit.node, ()))
            if unit.node in before.of:
                result = unit.node.results
                steps.append(ProductStep(unit.node, None, (), result, False, before.of[unit.node], why))
            else:
                steps.append(ViewStep(unit.node) if unit.is_view else OpStep(unit.node, why))
            continue
        if isinstance(unit, Cluster) and unit.product is not None:
            steps += _product_steps(unit, unit.product, parts, is_read_outside, before)
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


def _product_steps(
    cluster: Cluster,
    product: Value,
    parts: Partition,
    is_read_outside: Callable[[Value], bool],
    prologues: Prologues,
) -> Sequence[Step]:
    """A product with ``cluster`` as its epilogue, or both, one after the other, if that is better."""
    in_memory = parts.home.__contains__
    kernel, read, written = expand_epilogue(cluster, grid(product.node), in_memory, is_read_outside)
    reason = objection(kernel)
    if reason is None:
        reason = f"is the epilogue of {label(product.node)}: it reads the result point by point"
        kernel = replace(kernel, why=(reason, *kernel.why))
        before = prologues.of.get(product.node, ())
        why = prologues.apart.get(product.node, ())
        return [ProductStep(product.node, kernel, tuple(read), tuple(written), is_read_outside(product), before, why)]
    kernel, operands, results = expand([[cluster]], in_memory, is_read_outside)
    kernel = replace(kernel, why=(f"is apart from {label(product.node)}: {reason}", *kernel.why))
    step = KernelStep(kernel, tuple(operands), tuple(results))
    why = (f"has no epilogue: in the map after it {reason}", *prologues.apart.get(product.node, ()))
    if before := prologues.of.get(product.node, ()):
        return [ProductStep(product.node, None, (), (product,), False, before, why), step]
    return [OpStep(product.node, why), step]


def _prologues(
    graph: Graph, units: Sequence[RowKernel | Unit], parts: Partition, separate: frozenset[str]
) -> Prologues:
    readers: dict[Value, list[Unit]] = {}
    for reader, values in parts.reads.items():
        for value in dict.fromkeys(values):
            readers.setdefault(value, []).append(reader)
    nodes = [unit.node for unit in units if isinstance(unit, Single)]
    nodes += [unit.product.node for unit in units if isinstance(unit, Cluster) and unit.product is not None]
    products = [node for node in nodes if node.op.name in PRODUCTS - separate]
    return find_prologues(units, readers, parts.home, graph.outputs, products)


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
