"""The graph: immutable nodes, the values they make, and a graph with parameters, outputs and effects.

A pass never changes a graph: it makes a new one, which may share nodes with the old. Code that no output and no effect needs
is simply unreachable. Walks are iterative, so depth is limited by memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.ir.dims import Dim
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location

if TYPE_CHECKING:
    from graphc.ir.primitive import Primitive


class Value(NamedTuple):
    """Result ``index`` of ``node``. Equal if node (by identity) and index are."""

    node: Node
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs on a value

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def dtype(self) -> Any:
        return self.node.types[self.index].dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.node.types[self.index].shape

    @property
    def ndim(self) -> int:
        return len(self.node.types[self.index].shape)

    def __repr__(self) -> str:
        return f"<{self.node.op.name}:{self.index} {self.type}>"


_NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})


class Node:
    """One application of a primitive. Immutable; compared by identity.

    ``op``: the primitive; ``inputs``: operand values; ``attributes``: static arguments; ``types``: result types;
    ``location``: the user's line; ``name``: a hint for the printer (a parameter's or a static op's name).
    """

    __slots__ = ("__weakref__", "attributes", "inputs", "location", "name", "op", "types")

    op: Primitive
    inputs: tuple[Value, ...]
    attributes: Mapping[str, Any]
    types: tuple[TensorType, ...]
    location: Location
    name: str

    def __init__(
        self,
        op: Primitive,
        inputs: tuple[Value, ...],
        attributes: Mapping[str, Any],
        types: tuple[TensorType, ...],
        location: Location = UNKNOWN,
        name: str = "",
    ) -> None:
        set_ = object.__setattr__
        set_(self, "op", op)
        set_(self, "inputs", inputs)
        set_(self, "attributes", MappingProxyType(dict(attributes)) if attributes else _NO_ATTRIBUTES)
        set_(self, "types", types)
        set_(self, "location", location)
        set_(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Node is immutable: cannot set {name!r}")

    @property
    def results(self) -> tuple[Value, ...]:
        return tuple(Value(self, i) for i in range(len(self.types)))

    def with_inputs(self, inputs: tuple[Value, ...]) -> Node:
        """The same application on other operands of the same types."""
        return Node(self.op, inputs, self.attributes, self.types, self.location, self.name)

    def __repr__(self) -> str:
        return f"<Node {self.op.name} -> {', '.join(map(str, self.types))}>"


class Guard(NamedTuple):
    """``lhs relation rhs`` that must hold at run time, with the line that made it; ``relation`` is one of == <= < !=."""

    relation: str
    lhs: Dim
    rhs: Dim
    location: Location = UNKNOWN

    def __str__(self) -> str:
        return f"{self.lhs} {self.relation} {self.rhs}"


class Graph:
    """A function of tensors: ``parameters`` → ``outputs``.

    ``effects``: nodes that must run, in this order, though no output needs them. ``aliases``: output index → parameter index
    whose buffer the output may take over (state that is updated). ``guards``: relations between symbolic sizes that are
    checked on entry. Immutable.
    """

    __slots__ = ("__weakref__", "aliases", "effects", "guards", "name", "outputs", "parameters")

    parameters: tuple[Value, ...]
    outputs: tuple[Value, ...]
    effects: tuple[Node, ...]
    aliases: Mapping[int, int]
    guards: tuple[Guard, ...]
    name: str

    def __init__(
        self,
        parameters: Iterable[Value],
        outputs: Iterable[Value],
        *,
        effects: Iterable[Node] = (),
        aliases: Mapping[int, int] | None = None,
        guards: Iterable[Guard] = (),
        name: str = "main",
    ) -> None:
        set_ = object.__setattr__
        set_(self, "parameters", tuple(parameters))
        set_(self, "outputs", tuple(outputs))
        set_(self, "effects", tuple(effects))
        set_(self, "aliases", MappingProxyType(dict(aliases or {})))
        set_(self, "guards", tuple(guards))
        set_(self, "name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Graph is immutable: cannot set {name!r}")

    @property
    def parameter_types(self) -> tuple[TensorType, ...]:
        return tuple(p.type for p in self.parameters)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(o.type for o in self.outputs)

    def nodes(self) -> list[Node]:
        """Every reachable node, operands before users; deterministic: depth-first from the parameters, effects and outputs."""
        return topological_order([p.node for p in self.parameters] + list(self.effects) + [o.node for o in self.outputs])

    def replace(self, **changes: Any) -> Graph:
        """A copy with some of parameters, outputs, effects, aliases, guards, name changed."""
        fields: dict[str, Any] = {
            "parameters": self.parameters, "outputs": self.outputs, "effects": self.effects,
            "aliases": self.aliases, "guards": self.guards, "name": self.name,
        }  # fmt: skip
        fields.update(changes)
        return Graph(fields.pop("parameters"), fields.pop("outputs"), **fields)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.parameter_types))
        return f"<Graph {self.name}({inputs}) -> ({', '.join(map(str, self.output_types))})>"


def held_graphs(attributes: Mapping[str, Any]) -> list[Graph]:
    """The graphs among the values of ``attributes``, also within tuples."""
    return [graph for value in attributes.values() for graph in _graphs_in(value)]


def _graphs_in(value: object) -> list[Graph]:
    if isinstance(value, tuple):
        return [graph for item in value for graph in _graphs_in(item)]
    return [value] if isinstance(value, Graph) else []


def topological_order(roots: Sequence[Node]) -> list[Node]:
    """The nodes that ``roots`` need and the roots themselves, operands first, by iterative depth-first search."""
    order: list[Node] = []
    done: set[Node] = set()
    for root in roots:
        if root in done:
            continue
        stack: list[tuple[Node, Iterator[Value]]] = [(root, iter(root.inputs))]
        done.add(root)
        while stack:
            node, operands = stack[-1]
            for value in operands:
                if value.node not in done:
                    done.add(value.node)
                    stack.append((value.node, iter(value.node.inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def uses(graph: Graph) -> dict[Value, int]:
    """How often each value is read, by operands and by the graph's outputs."""
    count: dict[Value, int] = {}
    for node in graph.nodes():
        for value in node.inputs:
            count[value] = count.get(value, 0) + 1
    for value in graph.outputs:
        count[value] = count.get(value, 0) + 1
    return count


def rebuild(graph: Graph, replace: Callable[[Node, tuple[Value, ...]], Sequence[Value] | None]) -> Graph:
    """The graph with nodes replaced, in one linear walk; parameters stay.

    ``replace(node, operands)`` gets each node with its operands already replaced and gives its new results, or None to keep
    the node (re-applied to the new operands where they changed).
    """
    mapping: dict[Value, Value] = {p: p for p in graph.parameters}
    kept: set[Node] = {p.node for p in graph.parameters}
    replaced: dict[Node, Node] = {}
    for node in graph.nodes():
        if node in kept:
            continue
        operands = tuple([mapping[v] for v in node.inputs])
        results = replace(node, operands)
        if results is None:
            new = node if operands == node.inputs else node.with_inputs(operands)
            replaced[node] = new
            results = new.results
        elif results:
            replaced[node] = results[0].node
        for old, value in zip(node.results, results, strict=True):
            mapping[old] = value
    return graph.replace(
        outputs=[mapping[o] for o in graph.outputs],
        effects=[replaced.get(e, e) for e in graph.effects],
    )


def cut(outputs: Sequence[Value], cuts: Mapping[Value, Value]) -> list[Value]:
    """``outputs`` recomputed with the values in ``cuts`` replaced; what only those needed is no longer reached."""
    mapping: dict[Value, Value] = dict(cuts)
    done: set[Node] = set()
    for output in outputs:
        stack = [] if output in mapping or output.node in done else [output.node]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
                continue
            missing = [v.node for v in node.inputs if v not in mapping and v.node not in done]
            if missing:
                stack.extend(reversed(missing))
                continue
            operands = tuple([mapping.get(v, v) for v in node.inputs])
            new = node if operands == node.inputs else node.with_inputs(operands)
            for old, value in zip(node.results, new.results, strict=True):
                mapping.setdefault(old, value)
            done.add(node)
            stack.pop()
    return [mapping[o] for o in outputs]
