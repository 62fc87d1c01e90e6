"""Concrete sizes for a graph with symbolic ones."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.types import symbols_in
from graphc.ops.core import check_guards
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
