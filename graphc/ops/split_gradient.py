"""The gradient of a region as two graphs: one that runs forward and says what to keep, and one that runs backward from that.

``differentiate`` gives one graph that does the forward computation again. What of it does not depend on cotangents belongs to
the first graph; the values that the rest reads are *residuals*, kept from one to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from graphc.errors import GradientError
from graphc.ir.graph import Graph, Node, Value, cut
from graphc.ir.primitive import get_primitive
from graphc.ops.core import computed_again

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

#: Ops that cost nothing, or less than to keep their results: they are applied again to what is kept of their operands.
_FREE = frozenset(("broadcast_in_dim", "reshape", "transpose", "stop_gradient"))


class SplitGradient(NamedTuple):
    """``forward``: parameters → outputs, then residuals; it has no effects, as those of the original have run.

    ``backward``: (the parameters ``given``, residuals, cotangents of the outputs that seed) → gradients.
    """

    forward: Graph
    backward: Graph
    given: tuple[int, ...]
    residuals: tuple[Value, ...]


def split_gradient(
    b: Builder, graph: Graph, wrt: Sequence[int], seeds: Sequence[int], free: Collection[int] = ()
) -> SplitGradient:
    """The gradients of the parameters ``wrt``, given cotangents of the outputs ``seeds``.

    What depends on the parameters ``free`` alone is computed again instead of kept. Raises GradientError where ``b`` cannot
    differentiate.
    """
    if b.differentiate is None:
        raise GradientError("this builder cannot differentiate the graphs that ops hold")
    gradient = b.differentiate(graph, wrt, seeds)
    cotangents = gradient.parameters[len(graph.parameters) :]
    backward: set[Node] = {value.node for value in cotangents}
    bound = {p.node for i, p in enumerate(graph.parameters) if i not in free}  # what depends on a parameter that is not free
    original = set(graph.nodes())
    for node in gradient.nodes():
        # What a rule makes of a forward value (1 - y * y) is left to the backward graph, which so needs the value itself.
        is_made_by_rule = node not in original and node.op.elementwise
        if is_made_by_rule or any(v.node in backward for v in node.inputs):
            backward.add(node)
        if any(v.node in bound for v in node.inputs):
            bound.add(node)
    place = {p: i for i, p in enumerate(graph.parameters)}
    given: dict[int, None] = {}
    residuals: dict[Value, None] = {}
    stack = [v for node in gradient.nodes() if node in backward for v in node.inputs] + list(gradient.outputs)
    seen: set[Value] = set()
    while stack:
        value = stack.pop()
        node = value.node
        if value in seen or node in backward:
            continue
        seen.add(value)
        if value in place:
            given[place[value]] = None
        elif node not in bound or node.op.name in _FREE:
            stack.extend(node.inputs)
        else:
            residuals[value] = None
    kept = tuple([value for node in gradient.nodes() for value in node.results if value in residuals])
    wanted = tuple(sorted(given))
    parameter = get_primitive("parameter")
    made = {value: Value(Node(parameter, (), {}, (value.type,), value.node.location), 0) for value in kept}
    parameters = [graph.parameters[i] for i in wanted] + list(made.values()) + list(cotangents)
    outputs = cut(gradient.outputs, made)
    return SplitGradient(
        computed_again(graph.replace(outputs=[*graph.outputs, *kept], effects=(), aliases={})),
        Graph(parameters, outputs, name=gradient.name),
        wanted,
        kept,
    )

