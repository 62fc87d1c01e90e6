"""From what a run is asked for to one IR graph: pruned, with state as parameters and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.errors import FeedError, StaticGraphError
from graphc.frontends.static.tensor import Element, Operation
from graphc.frontends.symbolic import Captured
from graphc.ir.dims import DimExpr, symbols_of
from graphc.ir.graph import Graph as IRGraph
from graphc.ir.graph import Guard, Node, Value, cut
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location

if TYPE_CHECKING:
    from graphc.frontends.static.graph import Graph, Writes


class Assignment(NamedTuple):
    """An update of ``variable``: whoever reads ``result`` gets the new value and causes the update."""

    variable: Any
    result: Value
    is_initial: bool
    location: Location

    @property
    def new(self) -> Value:
        """What is assigned."""
        return self.result.node.inputs[0]


class Lowered(NamedTuple):
    """A part of a static graph as a function: (feeds, variables, captured) → (fetches, new values of assigned, of written)."""

    ir: IRGraph
    feeds: tuple[Value, ...]
    variables: tuple[Any, ...]
    captured: tuple[Captured, ...]
    assigned: tuple[Any, ...]
    written: tuple[Captured, ...]


def lower(
    graph: Graph, fetches: Sequence[Element], feeds: Sequence[Value] | None, first_variables: Sequence[Value] = ()
) -> Lowered:
    """The function that a run of ``fetches`` computes, given values for ``feeds`` (None: for the placeholders it needs).

    Raises FeedError naming a placeholder that is needed and not fed, StaticGraphError for a Variable that is assigned twice in
    no order.
    """
    fed = () if feeds is None else tuple(feeds)
    needed = reach(graph, fetches, fed)
    assignments = [a for a in graph.assignments.values() if a.result.node in needed]
    final = _final_assignments(graph, assignments, fed)
    parameters = {value: _fed_parameter(graph, value) for value in fed}
    cuts = dict(parameters)
    written = _pending_writes(graph, needed, cuts)
    _chain_initializers([a for a in assignments if a.is_initial], cuts)
    effects, effect_nodes = _effects(graph, needed, fed)
    values = [f for f in fetches if not isinstance(f, Operation)]
    roots = [*values, *(a.result for a in final.values()), *(value for _, value in written)]
    # An effect with results (a branch with a check) is the very node that gives them.
    giving = [e.results[0] for e in effects if e.types]
    outputs = cut([*roots, *giving, *(v for e in effects for v in e.inputs if not e.types)], cuts)
    made = {e.node: value.node for e, value in zip(giving, outputs[len(roots) :], strict=False)}
    rest = iter(outputs[len(roots) + len(giving) :])
    new_effects = [made[e] if e.types else e.with_inputs(tuple([next(rest) for _ in e.inputs])) for e in effects]
    outputs = outputs[: len(roots)]
    body = IRGraph((), outputs, effects=new_effects)
    guards = list(dict.fromkeys(g for n in (*needed, *effect_nodes) if isinstance(n, Node) for g in graph.guards_of.get(n, ())))
    given = [parameters[value] for value in fed]
    read = {node for node in body.nodes() if node.op.name == "parameter"} - {value.node for value in given}
    missing = [p for p in graph.placeholders if p.parameter.node in read]
    missing += _unbound(graph, body, [*given, *(p.parameter for p in missing)], guards)
    if feeds is None:
        fed = tuple(p.parameter for p in graph.placeholders if any(p is m for m in missing))
        given = list(fed)
    elif missing:
        raise _missing_feed(graph, missing[0], fetches, fed)
    listed = dict.fromkeys([*first_variables, *(v.parameter for v in graph.variables if v.parameter.node in read)])
    by_parameter = {v.parameter: v for v in graph.variables}
    variables = [by_parameter[p] for p in listed]
    captured = [c for c in graph.captured if c.parameter.node in read]
    state = [*listed, *(c.parameter for c in captured)]
    position = {p: len(given) + i for i, p in enumerate(state)}
    assigned = sorted(final, key=lambda p: position.get(p, len(given) + len(listed)))
    new_values = dict(zip(final, outputs[len(values) :], strict=False))
    order = [*outputs[: len(values)], *(new_values[p] for p in assigned), *outputs[len(values) + len(final) :]]
    updated = [*assigned, *(c.parameter for c, _ in written)]
    aliases = {len(values) + i: position[p] for i, p in enumerate(updated) if p in position}
    ir = IRGraph([*given, *state], order, effects=new_effects, aliases=aliases, guards=guards, name=graph.name)
    return Lowered(
        ir, fed, tuple(variables), tuple(captured),
        tuple([by_parameter[p] for p in assigned]), tuple([c for c, _ in written]),
    )  # fmt: skip


def reach(graph: Graph, roots: Iterable[Element], stops: Iterable[Value]) -> dict[Node | Operation, None]:
    """The nodes and operations that ``roots`` need, where the values ``stops`` need nothing."""
    stopped = set(stops)
    found: dict[Node | Operation, None] = {}
    stack: list[Element] = list(roots)[::-1]
    while stack:
        element = stack.pop()
        if isinstance(element, Operation):
            if element not in found:
                found[element] = None
                stack.extend(element.requires)
        elif element not in stopped and element.node not in found:
            node = element.node
            found[node] = None
            stack.extend(node.inputs)
            stack.extend(graph.dependencies.get(node, ()))
    return found


def _fed_parameter(graph: Graph, value: Value) -> Value:
    """The parameter that stands for a fed value; an input of the graph is its own."""
    node = value.node
    if node.op.name == "parameter":
        return value
    return Value(Node(get_primitive("parameter"), (), {}, (value.type,), node.location, graph.name_of(value)), 0)


def _final_assignments(graph: Graph, assignments: Sequence[Assignment], fed: Sequence[Value]) -> dict[Value, Assignment]:
    """The last assignment to each Variable, by its parameter."""
    final: dict[Value, Assignment] = {}
    for assignment in sorted(assignments, key=lambda a: graph.serial(a.result)):
        parameter = assignment.variable.parameter
        before = final.get(parameter)
        if before is not None and before.result.node not in reach(graph, [assignment.result], fed):
            raise StaticGraphError(
                f"the Variable {assignment.variable.name!r} is assigned twice in one run, in no order"
                f"\n  one assign was made at {before.location}\n  the other at {assignment.location}",
                hint="fetch only one of them, or make the second depend on the first: use its result, or control_dependencies",
                cause=StaticGraphError.ASSIGNED_TWICE,
            )
        final[parameter] = assignment
    order = {v.parameter: i for i, v in enumerate(graph.variables)}
    return dict(sorted(final.items(), key=lambda item: order[item[0]]))


def _chain_initializers(assignments: Sequence[Assignment], cuts: dict[Value, Value]) -> None:
    """An initial value computed from a Variable that the same run initializes reads that one's initial value."""
    within = dict(cuts)
    for assignment in assignments:
        (new,) = cut([assignment.new], within)
        if new is not assignment.new:
            cuts[assignment.result] = new
        within[assignment.variable.parameter] = new


def _pending_writes(
    graph: Graph, needed: Mapping[Node | Operation, None], cuts: dict[Value, Value]
) -> list[tuple[Captured, Value]]:
    """The captured tensors that the run changes, with their new values.

    A random stream (a counter that draws read and then advance) advances by the draws that this run makes, in their order in
    the graph: those it does not make are cut out. Other memory takes the value of the last write that the run needs.
    """
    written: list[tuple[Captured, Value]] = []
    for captured in graph.captured:
        writes = graph.writes.get(id(captured.tracer._storage))
        if writes is None:
            continue
        if _is_stream(graph, writes):
            last = _advance(needed, writes, cuts)
        else:
            last = next((v for v in reversed(writes.versions[1:]) if v.node in needed), writes.versions[0])
        if last != writes.versions[0]:
            written.append((captured, last))
    return written


def _is_stream(graph: Graph, writes: Writes) -> bool:
    return any(version in graph.counters for version in writes.versions)


def _advance(needed: Mapping[Node | Operation, None], writes: Writes, cuts: dict[Value, Value]) -> Value:
    """Where a random stream stands after the draws in ``needed``; the counters they read are entered in ``cuts``."""
    advances = {new.node for old, new in zip(writes.versions, writes.versions[1:], strict=False) if _is_advance(old, new)}
    read = {v for node in needed if isinstance(node, Node) and node not in advances for v in node.inputs}
    current = writes.versions[0]
    for old, new in zip(writes.versions, writes.versions[1:], strict=False):
        node = new.node
        if _is_advance(old, new):
            if old in read:
                current = Value(node.with_inputs((current, *node.inputs[1:])), 0) if current != old else new
        elif node in needed:
            current = new
        if current != new:
            cuts.setdefault(new, current)
    return current


def _is_advance(old: Value, new: Value) -> bool:
    return new.node.op.name == "add" and new.node.inputs[0] == old


def _effects(graph: Graph, needed: Mapping[Node | Operation, None], fed: Sequence[Value]) -> tuple[list[Node], list[Node]]:
    """The checks that the run makes: those on nothing but inputs that it has anyway; and all nodes that they need."""
    available = {n for n in needed if isinstance(n, Node) and n.op.name == "parameter"} | {v.node for v in fed}
    chosen: list[Node] = []
    nodes: dict[Node, None] = {}
    for effect in graph.builder.effects:
        behind = [n for n in reach(graph, effect.inputs, fed) if isinstance(n, Node)]
        if all(n.op.name != "parameter" or n in available for n in behind):
            chosen.append(effect)
            nodes.update(dict.fromkeys([*behind, effect]))
    return chosen, list(nodes)


def _unbound(graph: Graph, body: IRGraph, inputs: Sequence[Value], guards: Sequence[Guard]) -> list[Any]:
    """Placeholders that no op reads, but whose sizes ``body`` uses."""
    bound = {s for p in inputs for s in _plain_sizes(p.type)}
    used: dict[str, None] = {}
    for node in body.nodes():
        for type_ in node.types:
            used.update(dict.fromkeys(symbols_of(type_.shape)))
        used.update(dict.fromkeys(_symbols_in(tuple(node.attributes.values()))))
    for guard in guards:
        used.update(dict.fromkeys(symbols_of((guard.lhs, guard.rhs))))
    result: list[Any] = []
    for name in used:
        if name not in bound:
            owner = next((p for p in graph.placeholders if name in _plain_sizes(p.type)), None)
            if owner is not None:
                result.append(owner)
                bound.update(_plain_sizes(owner.type))
    return result


def _plain_sizes(type_: TensorType) -> list[str]:
    return [str(d) for d in type_.shape if isinstance(d, DimExpr) and str(d) == next(d.symbols())]


def _symbols_in(value: Any) -> Iterator[str]:
    if isinstance(value, DimExpr):
        yield from value.symbols()
    elif isinstance(value, tuple):
        for item in value:
            yield from _symbols_in(item)


def _missing_feed(graph: Graph, placeholder: Any, fetches: Sequence[Element], fed: Sequence[Value]) -> FeedError:
    node = placeholder.parameter.node
    wanting = next((f for f in fetches if node in reach(graph, [f], fed)), None)
    if wanting is None:
        wanting = fetches[0] if fetches else None
        reason = " for its size"
    else:
        reason = ""
    name = "" if wanting is None else wanting.name if isinstance(wanting, Operation) else graph.name_of(wanting)
    return FeedError(
        f"the fetch {name!r} needs the placeholder {placeholder.name!r} ({placeholder.type}){reason}, which is not fed"
        f"\n  {placeholder.name!r} was declared at {node.location}",
        hint=f"pass feed_dict={{{placeholder.name}: value}}",
        cause=FeedError.MISSING,
    )
