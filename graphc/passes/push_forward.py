"""Forward-mode differentiation of a graph.

Tangents are pushed from the inputs to the outputs, node by node. A primitive that has no ``jvp`` of its own is differentiated
through its ``vjp``: what that gives is linear in the cotangents c, ⟨g(c), t⟩ = ⟨c, J t⟩, so the derivative of ⟨g(c), t⟩ by c,
again by ``vjp`` rules, is the tangent J t. The cotangents themselves are not in it any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import GradientError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, topological_order
from graphc.ir.primitive import Primitive
from graphc.passes.differentiate import (
    backpropagate,
    check_differentiable,
    continue_graph,
    differentiate,
    gradient_builder,
    or_zeros,
)


def push_forward(b: Builder, tangents: Sequence[tuple[Value, Value]], wanted: Sequence[Value]) -> list[Value | None]:
    """Tangents of ``wanted``, given pairs (value, its tangent); new nodes are made with ``b``.

    None where there is none: the value depends on none of those given, or only through integers or stop_gradient. What a
    value that is given was computed from does not matter. Linear in the size of the graph.
    """
    if b.differentiate_forward is None:
        b.differentiate_forward = differentiate_forward
    known: dict[Value, Value] = {}
    for value, tangent in tangents:
        if value.type != tangent.type:
            raise GradientError(
                f"a tangent of type {tangent.type} was given for a value of type {value.type}", cause=GradientError.COTANGENT
            )
        known[value] = tangent
    for node in topological_order([value.node for value in wanted]):
        given = [known.get(v) for v in node.inputs]
        if all(t is None for t in given) or not any(t.dtype.is_inexact for t in node.types):
            continue
        with b.at(node.location):
            own_rule = type(node.op).jvp is not Primitive.jvp
            results = node.op.jvp(b, node, given) if own_rule else _through_vjp(b, node, given)
        for result, flow in zip(node.results, results, strict=True):
            if flow is None:
                continue
            if flow.type != result.type:
                raise GradientError(
                    f"the jvp rule of {node.op.name} gave {flow.type} for a result of type {result.type}",
                    location=node.location,
                )
            known.setdefault(result, flow)
    return [known.get(value) for value in wanted]


def _through_vjp(b: Builder, node: Node, tangents: Sequence[Value | None]) -> list[Value | None]:
    """The tangents of ``node`` by its ``vjp`` rule, worked out apart from the graph, so that its size does not matter."""
    scratch = gradient_builder(node.op.name)
    scratch.location = node.location
    operands = [scratch.parameter(v.type) for v in node.inputs]
    apart = node.with_inputs(tuple(operands))
    stands_for: dict[Value, Value] = dict(zip(operands, node.inputs, strict=True))
    stands_for.update(zip(apart.results, node.results, strict=True))
    cotangents = [scratch.parameter(t) if t.dtype.is_inexact else None for t in node.types]
    flows = node.op.vjp(scratch, apart, cotangents, [t is not None for t in tangents])
    seeds: list[tuple[Value, Value]] = []
    for flow, tangent in zip(flows, tangents, strict=True):
        if flow is not None and tangent is not None:
            stand_in = scratch.parameter(tangent.type)
            stands_for[stand_in] = tangent
            seeds.append((flow, stand_in))
    wanted = [c for c in cotangents if c is not None]
    found = dict(zip(wanted, backpropagate(scratch, seeds, wanted), strict=True))
    results = [None if c is None else found[c] for c in cotangents]
    for new in topological_order([v.node for v in results if v is not None]):
        if new is apart or Value(new, 0) in stands_for:
            continue
        if new.op.name == "parameter":  # a cotangent: what is linear in it has the same derivative everywhere
            stands_for[Value(new, 0)] = b.full(new.types[0].shape, 0, new.types[0].dtype)
            continue
        emitted = b.emit(new.op, *[stands_for[v] for v in new.inputs], **new.attributes)
        stands_for.update(zip(new.results, emitted, strict=True))
    return [None if v is None else stands_for[v] for v in results]


def differentiate_forward(graph: Graph, wrt: Sequence[int], outputs: Sequence[int] | None = None) -> Graph:
    """The pushforward of ``graph``: (its parameters, a tangent for each parameter in ``wrt``) → tangents of ``outputs``.

    ``outputs`` are positions; None means every floating output. Those that no parameter in ``wrt`` influences get zeros. Raises
    GradientError for a parameter or output that is not floating.
    """
    if outputs is None:
        outputs = [i for i, output in enumerate(graph.outputs) if output.dtype.is_inexact]
    check_differentiable("differentiate_forward", graph, wrt, outputs, have="tangents", leave="leave it out")
    b = Builder(f"{graph.name}_pushforward", differentiate=differentiate, differentiate_forward=differentiate_forward)
    continue_graph(b, graph)
    pairs: list[tuple[Value, Value]] = []
    for position in wrt:
        value = graph.parameters[position]
        name = f"{value.node.name or 'parameter'}_tangent"
        pairs.append((value, b.parameter(value.type, name, value.node.location)))
    wanted = [graph.outputs[i] for i in outputs]
    flows = push_forward(b, pairs, wanted)
    return b.finish(or_zeros(b, wanted, flows))
