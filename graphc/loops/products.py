"""Which elementwise values follow a product of matrices, or a convolution, and can be computed where its result is made.

The maps after a product, a bias or an activation, are its *epilogue*: a backend runs them on each part of the result while
that is in the cache, and what only they read is never written to memory. A value *follows* a product if it is computed from
the result point by point, and *leads* straight out of it if nobody reads anything on the way but the next step: storing it
then costs no more than storing the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc.ir.graph import Graph, Node, Value
from graphc.loops.kernel import Kernel

PRODUCTS = frozenset(["dot_general", "conv_general"])


def grid(node: Node) -> tuple[int, int]:
    """How many of the result's axes, from the first, number matrices, and how many number matrices and rows.

    Those of a convolution are the images; their rows are the channels.
    """
    if node.op.name == "conv_general":
        return 1, 2
    batch = len(node.attributes["batch"][0])
    return batch, node.inputs[0].ndim - len(node.attributes["contract"][0])


@dataclass(frozen=True)
class Followers:
    """``follows``: value → the product it follows, the last one if there are several; ``leads``: the same, for those that
    lead straight out of it."""

    follows: Mapping[Value, Value]
    leads: Mapping[Value, Value]


def find_followers(
    graph: Graph, nodes: Sequence[Node], products: frozenset[str], is_elementwise: Callable[[Node], bool]
) -> Followers:
    """The values of ``nodes``, which are in topological order, that follow products."""
    follows: dict[Value, Value] = {}
    leads: dict[Value, Value] = {}
    order: dict[Value, int] = {}
    users = Counter(graph.outputs)
    for node in nodes:
        users.update(set(node.inputs))
    for node in nodes:
        value = Value(node, 0)
        if node.op.name in products:
            order[value] = len(order)
            follows[value] = leads[value] = value
        elif order and is_elementwise(node):
            for known, operands in ((follows, node.inputs), (leads, [v for v in node.inputs if users[v] == 1])):
                found = [known[v] for v in operands if v in known]
                if found:
                    known[value] = max(found, key=order.__getitem__)
    return Followers(follows, leads)


def objection(kernel: Kernel) -> str | None:
    """Why ``kernel`` should not run on parts of a product's result, if so."""
    assert kernel.grid is not None
    if kernel.grid[2] > 1:
        return "several loops run over the columns"
    if kernel.grid[2] == 1:
        last = len(kernel.loops) - 1
        for instruction in kernel.only.body:
            if instruction.kind == "load" and instruction.detail[1].coefficient(last) not in (0, 1, -1):
                return f"b{instruction.detail[0]} is read across its rows"
    return None
