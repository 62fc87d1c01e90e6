"""Concrete sizes for a graph with symbolic ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, bounds, substitute
from graphc.ir.graph import Graph, Guard, Node, Value
from graphc.ir.types import symbols_in
from graphc.ops.core import check_guards, concrete_attributes
from graphc.passes.inline import Inline


def specialize(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """``graph`` for the given values of its symbolic sizes; sizes that are not named stay symbolic.

    It is a call of the graph with concretely typed operands, inlined. Raises ArgumentError for a size that no parameter has,
    ShapeError where the sizes violate a guard.
    """
    known = symbols_in(graph.parameter_types)
    unknown = [name for name in sizes if name not in known]
    if unknown:
        raise ArgumentError(f"{graph.name} has no size {unknown[0]!r}; its sizes are {', '.join(known) or 'all concrete'}")
    b = Builder(graph.name)
    operands = [b.parameter(p.type.substitute(sizes), p.node.name, p.node.location) for p in graph.parameters]
    results = b.emit("call", *operands, graph=graph)
    concrete = Inline().run(b.finish(results, aliases=graph.aliases))
    check_guards([g for g in concrete.guards if isinstance(g.lhs, int) and isinstance(g.rhs, int)], {})
    return concrete


def unify_sizes(graph: Graph, equal: Mapping[str, Dim], guards: Iterable[Guard] = ()) -> Graph:
    """``graph`` with each size that ``equal`` names written as what it is equal to, and ``guards`` added to its own.

    The parameters' types then say that the sizes are equal, so guards that only said so are gone, and reshapes between the
    two have become identities.
    """
    values: dict[Value, Value] = {}
    nodes: dict[Node, Node] = {}
    for node in graph.nodes():
        inputs = tuple([values[v] for v in node.inputs])
        types = tuple([t.substitute(equal) for t in node.types])
        attributes = concrete_attributes(node.op, node.attributes, equal)
        same = all(attributes[name] is value for name, value in node.attributes.items())
        unchanged = same and inputs == node.inputs and types == node.types
        new = node if unchanged else Node(node.op, inputs, attributes, types, node.location, node.name)
        nodes[node] = new
        values.update(zip(node.results, new.results, strict=True))
    return Graph(
        [values[p] for p in graph.parameters],
        [values[o] for o in graph.outputs],
        effects=[nodes[e] for e in graph.effects],
        aliases=graph.aliases,
        guards=_open_guards([*graph.guards, *guards], equal),
        name=graph.name,
    )


def _open_guards(guards: Iterable[Guard], equal: Mapping[str, Dim]) -> list[Guard]:
    """``guards`` in terms of ``equal``, but for those that hold for all sizes."""
    kept: dict[tuple[object, ...], Guard] = {}
    for guard in guards:
        new = guard._replace(lhs=substitute(guard.lhs, equal), rhs=substitute(guard.rhs, equal))
        low, high = bounds(new.lhs - new.rhs)
        always = {
            "==": low == 0 == high,
            "!=": (low is not None and low > 0) or (high is not None and high < 0),
            "<": high is not None and high < 0,
            "<=": high is not None and high <= 0,
        }
        if not always[new.relation]:
            kept.setdefault(new[:3], new)
    return list(kept.values())
