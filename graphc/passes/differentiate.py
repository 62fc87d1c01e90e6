"""Reverse-mode differentiation of a graph.

The gradient is itself a graph of ordinary primitives, made by walking the forward graph backwards and asking each primitive
for its ``vjp`` rule, so any derivative can be differentiated again. Eager ``backward()``, ``gc.grad``, and
``gc.gradients`` all end here. (A. Griewank and A. Walther, "Evaluating Derivatives", 2nd ed., 2008, ch. 3.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.errors import ArgumentError, GradientError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, topological_order
from graphc.ir.types import TensorType
from graphc.passes.cotangents import sum_cotangents


def backpropagate(
    b: Builder, seeds: Sequence[tuple[Value, Value]], wrt: Sequence[Value], *, frontier: Sequence[Value] = ()
) -> list[Value | None]:
    """Cotangents of ``wrt``, given pairs (value, its cotangent) in ``seeds``; new nodes are made with ``b``.

    None where no gradient flows: the value does not influence any seed, or only through integers or stop_gradient.
    Values in ``frontier`` are treated like inputs: nothing flows through them. Linear in the size of the graph.
    """
    targets = set(wrt)
    stops = set(frontier)
    order = topological_order([value.node for value, _ in seeds])
    depends = _depending(order, targets, stops)
    pending: dict[Value, list[Value]] = {}
    for value, cotangent in seeds:
        if value.type != cotangent.type:
            raise GradientError(
                f"a cotangent of type {cotangent.type} was given for a value of type {value.type}",
                cause=GradientError.COTANGENT,
            )
        pending.setdefault(value, []).append(cotangent)
    final: dict[Value, Value] = {}
    saved = b.location
    for node in reversed(order):
        if node not in depends:
            continue
        b.location = node.location.of_gradient()
        cotangents: list[Value | None] = []
        for result in node.results:
            parts = pending.pop(result, [])
            total = sum_cotangents(b, parts)
            if total is not None and result in targets:
                final[result] = total
            cotangents.append(None if result in stops else total)
        if not node.inputs or all(c is None for c in cotangents):
            continue
        needed = [_wants_gradient(v, depends, targets, stops) for v in node.inputs]
        if not any(needed):
            continue
        flows = node.op.vjp(b, node, cotangents, needed)
        for operand, wanted, flow in zip(node.inputs, needed, flows, strict=True):
            if wanted and flow is not None:
                if flow.type != operand.type:
                    raise GradientError(
                        f"the vjp rule of {node.op.name} gave {flow.type} for an operand of type {operand.type}",
                        location=node.location,
                    )
                pending.setdefault(operand, []).append(flow)
    b.location = saved
    return [final.get(value) for value in wrt]


def _depending(order: Sequence[Node], targets: set[Value], stops: set[Value]) -> set[Node]:
    """The nodes that some target influences, the targets' own nodes included."""
    depends: set[Node] = {value.node for value in targets}
    for node in order:
        if node not in depends and any(v in targets or (v.node in depends and v not in stops) for v in node.inputs):
            depends.add(node)
    return depends


def _wants_gradient(value: Value, depends: set[Node], targets: set[Value], stops: set[Value]) -> bool:
    if not value.dtype.is_inexact:
        return False
    return value in targets or (value.node in depends and value not in stops)


def differentiate(graph: Graph, wrt: Sequence[int], seeds: Sequence[int] | None = None) -> Graph:
    """The gradient of ``graph``: (its parameters, a cotangent for each output in ``seeds``) → gradients of parameters ``wrt``.

    ``seeds`` are output positions; None means every floating output. Parameters that do not influence the outputs get zeros.
    The forward computation is part of the result where the rules read it. Raises GradientError for a parameter or output
    that is not floating.
    """
    if seeds is None:
        seeds = [i for i, output in enumerate(graph.outputs) if output.dtype.is_inexact]
    check_differentiable("differentiate", graph, wrt, seeds, have="gradients", leave="leave it out of the gradient")
    b = gradient_builder(f"{graph.name}_gradient")
    continue_graph(b, graph)
    pairs: list[tuple[Value, Value]] = []
    for position in seeds:
        output = graph.outputs[position]
        pairs.append((output, b.parameter(output.type, f"cotangent{position}", output.node.location)))
    targets = [graph.parameters[i] for i in wrt]
    flows = backpropagate(b, pairs, targets)
    return b.finish(or_zeros(b, targets, flows))


def check_differentiable(
    what: str, graph: Graph, parameters: Sequence[int], outputs: Sequence[int], *, have: str, leave: str
) -> None:
    """Raise ArgumentError or GradientError unless ``parameters`` and ``outputs`` are positions of floating ones."""
    for kind, positions, values in (("parameter", parameters, graph.parameters), ("output", outputs, graph.outputs)):
        for position in positions:
            if not 0 <= position < len(values):
                raise ArgumentError(f"{what}: {graph.name} has no {kind} {position}")
            value = values[position]
            if not value.dtype.is_inexact:
                raise GradientError(
                    f"{what}: {kind} {value.node.name or position} of {graph.name} has type {value.type}, "
                    f"and only floating values have {have}",
                    hint=f"convert it to a floating dtype, or {leave}",
                    location=value.node.location,
                    cause=GradientError.NOT_FLOATING,
                )


def continue_graph(b: Builder, graph: Graph) -> None:
    """Let ``b``, which is empty, go on where ``graph`` ends."""
    b.parameters = list(graph.parameters)
    b.effects = list(graph.effects)
    b.guards = list(graph.guards)


def or_zeros(b: Builder, values: Sequence[Value], flows: Sequence[Value | None]) -> list[Value]:
    """``flows``, with zeros of the types of ``values`` where there is none."""
    found: list[Value] = []
    for value, flow in zip(values, flows, strict=True):
        with b.at(value.node.location):
            found.append(b.zeros_like(value) if flow is None else flow)
    return found


def gradient_builder(name: str) -> Builder:
    """A Builder whose VJP rules can differentiate the graphs that ops hold."""
    return Builder(name, differentiate=differentiate)


@dataclass(frozen=True)
class Differentiate:
    """Contract: parameters (p…) and floating outputs (o…) → parameters (p…, cotangent of each o…), outputs: the gradients of
    the floating parameters, or of those at the positions ``wrt``."""

    name: ClassVar[str] = "differentiate"
    wrt: tuple[int, ...] = ()

    def run(self, graph: Graph) -> Graph:
        wrt = self.wrt or tuple(i for i, p in enumerate(graph.parameters) if _is_float(p.type))
        return differentiate(graph, wrt)


def _is_float(type_: TensorType) -> bool:
    return type_.dtype.is_inexact
