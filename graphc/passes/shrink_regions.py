"""Control flow without what nobody needs: results that are not read, carries that do not change, operands that are not used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphc.ir.graph import Graph, Node, Value, cut, topological_order
from graphc.rewrite.driver import Firing, Record

_LITERAL_MAPS = ("broadcast_in_dim", "reshape")


def shrink_regions(graph: Graph, record: Record | None) -> Graph:
    """``graph`` with each op of control flow as small as what is read of it allows.

    Results that nobody reads go, with the carries and operands that only those need; a carry that never changes is an operand;
    a slice that is stacked twice is stacked once; an operand that is given twice is given once, and one that is a literal is a
    literal within. Effects stay.
    """
    if not any(node.op.regions for node in graph.nodes()):
        return graph
    read = _read_values(graph)
    values: dict[Value, Value] = {p: p for p in graph.parameters}
    nodes: dict[Node, Node] = {}
    effects = set(graph.effects)
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        if any(v not in values for v in node.inputs):
            continue  # only a dropped result needs this node
        operands = tuple([values[v] for v in node.inputs])
        if node.op.name in _SHRINK:
            kept = [i for i in range(len(node.types)) if Value(node, i) in read]
            if not kept and node not in effects:
                continue
            new, results = _SHRINK[node.op.name](node, operands, kept)
            if record is not None and (len(new.inputs), len(new.types)) != (len(node.inputs), len(node.types)):
                record(Firing("shrink_region", node.op.name, node.location))
        else:
            new = node if operands == node.inputs else node.with_inputs(operands)
            results = dict(enumerate(new.results))
        nodes[node] = new
        values.update({Value(node, i): value for i, value in results.items()})
    return graph.replace(outputs=[values[o] for o in graph.outputs], effects=[nodes[e] for e in graph.effects])


def _read_values(graph: Graph) -> set[Value]:
    read = set(graph.outputs)
    effects = set(graph.effects)
    for node in reversed(graph.nodes()):
        if node in effects or any(v in read for v in node.results):
            read.update(node.inputs)
    return read


Shrunk = tuple[Node, Mapping[int, Value]]


def needed_parameters(graph: Graph, outputs: Iterable[Value]) -> set[Value]:
    """The parameters of ``graph`` that ``outputs`` and its effects read."""
    nodes = topological_order([*graph.effects, *[o.node for o in outputs]])
    return {v for node in nodes for v in node.inputs if v.node.op.name == "parameter"} | {
        o for o in outputs if o.node.op.name == "parameter"
    }


def literal_within(value: Value) -> bool:
    """Whether ``value`` is a scalar literal, or one repeated: a region has that for itself."""
    while value.node.op.name in _LITERAL_MAPS:
        value = value.node.inputs[0]
    return value.node.op.name == "constant" and not value.shape


def _with_operands(
    parameters: Sequence[Value], operands: Sequence[Value], needed: set[Value]
) -> tuple[list[Value], list[Value], dict[Value, Value]]:
    """(parameters, operands) without those that are not needed, literal, or given before; and what replaces these."""
    kept: list[Value] = []
    given: list[Value] = []
    replaced: dict[Value, Value] = {}
    first: dict[Value, Value] = {}
    for parameter, operand in zip(parameters, operands, strict=True):
        if parameter not in needed:
            continue
        if literal_within(operand):
            replaced[parameter] = operand
        elif operand in first:
            replaced[parameter] = first[operand]
        else:
            first[operand] = parameter
            kept.append(parameter)
            given.append(operand)
    return kept, given, replaced


def rebuilt(graph: Graph, parameters: Sequence[Value], outputs: Sequence[Value], replaced: Mapping[Value, Value]) -> Graph:
    """``graph`` with other parameters and outputs; ``replaced``: what stands for parameters that it had."""
    if not replaced:
        return graph.replace(parameters=parameters, outputs=outputs)
    reads = [v for effect in graph.effects for v in effect.inputs]
    marked = [effect.results[0] for effect in graph.effects if effect.types]  # rebuilt along with the outputs that read them
    new = iter(cut([*outputs, *marked, *reads], replaced))
    new_outputs = [next(new) for _ in outputs]
    made = {effect: next(new).node for effect in graph.effects if effect.types}
    effects = []
    for effect in graph.effects:
        operands = tuple([next(new) for _ in effect.inputs])
        if effect in made:
            effects.append(made[effect])
        else:
            effects.append(effect if operands == effect.inputs else effect.with_inputs(operands))
    return graph.replace(parameters=parameters, outputs=new_outputs, effects=effects)


def _cond(node: Node, operands: Sequence[Value], kept: Sequence[int]) -> Shrunk:
    branches: tuple[Graph, ...] = node.attributes["branches"]
    needed: set[int] = set()
    for branch in branches:
        found = needed_parameters(branch, [branch.outputs[i] for i in kept])
        needed.update(i for i, p in enumerate(branch.parameters) if p in found)
    given: list[Value] = []
    new: list[Graph] = []
    for branch in branches:
        wanted = {branch.parameters[i] for i in needed}
        parameters, given, replaced = _with_operands(branch.parameters, operands[1:], wanted)
        new.append(rebuilt(branch, parameters, [branch.outputs[i] for i in kept], replaced))
    types = tuple([node.types[i] for i in kept])
    made = Node(node.op, (operands[0], *given), {"branches": tuple(new)}, types, node.location, node.name)
    return made, {i: Value(made, k) for k, i in enumerate(kept)}


def _live_carries(
    bodies: Sequence[Graph], constants: int, count: int, read: Iterable[int], outputs: Sequence[Value]
) -> tuple[list[int], set[int]]:
    """Which carries matter, for those that are ``read`` and for ``outputs``; and which parameters are needed, by place."""
    *tests, body = bodies
    live = set(read)
    while True:
        wanted = needed_parameters(body, [*[body.outputs[i] for i in live], *outputs])
        needed = {i for i, p in enumerate(body.parameters) if p in wanted}
        for test in tests:
            found = needed_parameters(test, test.outputs)
            needed |= {i for i, p in enumerate(test.parameters) if p in found}
        more = {i - constants for i in needed if constants <= i < constants + count}
        if more <= live:
            return sorted(live), needed
        live |= more


def _scan(node: Node, operands: Sequence[Value], kept: Sequence[int]) -> Shrunk:
    body: Graph = node.attributes["body"]
    constants, carries = node.attributes["constants"], node.attributes["carries"]
    first_x = constants + carries
    stacked = [i for i in kept if i >= carries]
    read = [i for i in kept if i < carries]
    live, needed = _live_carries([body], constants, carries, read, [body.outputs[i] for i in stacked])
    changing = [i for i in live if body.outputs[i] != body.parameters[constants + i]]
    fixed = [*range(constants), *[constants + i for i in live if i not in changing]]
    wanted = {body.parameters[i] for i in needed}
    parameters, given, replaced = _with_operands(
        [body.parameters[i] for i in fixed], [operands[i] for i in fixed], wanted
    )
    xs = [i for i in range(first_x, len(operands)) if i in needed]
    x_parameters, x_given, x_replaced = _with_slices([body.parameters[i] for i in xs], [operands[i] for i in xs])
    distinct: dict[Value, int] = {}
    for i in stacked:
        distinct.setdefault(body.outputs[i], len(distinct))
    outputs = [*[body.outputs[i] for i in changing], *distinct]
    new_parameters = [*parameters, *[body.parameters[constants + i] for i in changing], *x_parameters]
    attributes: dict[str, Any] = {
        **node.attributes,
        "body": rebuilt(body, new_parameters, outputs, {**replaced, **x_replaced}),
        "constants": len(parameters),
        "carries": len(changing),
    }
    first_of = {body.outputs[i]: i for i in reversed(stacked)}
    types = (*[node.types[i] for i in changing], *[node.types[first_of[v]] for v in distinct])
    made = Node(
        node.op, (*given, *[operands[constants + i] for i in changing], *x_given), attributes, types, node.location, node.name
    )
    results = {i: Value(made, k) for k, i in enumerate(changing)}
    results |= {i: operands[constants + i] for i in live if i not in changing}
    results |= {i: Value(made, len(changing) + distinct[body.outputs[i]]) for i in stacked}
    return made, results


def _with_slices(parameters: Sequence[Value], arrays: Sequence[Value]) -> tuple[list[Value], list[Value], dict[Value, Value]]:
    """(parameters, arrays) without arrays that are given before; and what replaces their slices."""
    first: dict[Value, Value] = {}
    replaced: dict[Value, Value] = {}
    for parameter, array in zip(parameters, arrays, strict=True):
        if array in first:
            replaced[parameter] = first[array]
        else:
            first[array] = parameter
    return list(first.values()), list(first), replaced


def _while(node: Node, operands: Sequence[Value], kept: Sequence[int]) -> Shrunk:
    test, body, constants = (node.attributes[name] for name in ("cond", "body", "constants"))
    live, needed = _live_carries([test, body], constants, len(node.types), kept, ())
    changing = [i for i in live if body.outputs[i] != body.parameters[constants + i]]
    fixed = [*range(constants), *[constants + i for i in live if i not in changing]]
    given: list[Value] = []
    new: dict[str, Graph] = {}
    for name, graph, outputs in (("cond", test, test.outputs), ("body", body, [body.outputs[i] for i in changing])):
        wanted = {graph.parameters[i] for i in needed}
        parameters, given, replaced = _with_operands(
            [graph.parameters[i] for i in fixed], [operands[i] for i in fixed], wanted
        )
        parameters += [graph.parameters[constants + i] for i in changing]
        new[name] = rebuilt(graph, parameters, outputs, replaced)
    attributes = {**node.attributes, **new, "constants": len(given)}
    types = tuple([node.types[i] for i in changing])
    made = Node(
        node.op, (*given, *[operands[constants + i] for i in changing]), attributes, types, node.location, node.name
    )
    results = {i: Value(made, k) for k, i in enumerate(changing)}
    results |= {i: operands[constants + i] for i in live if i not in changing}
    return made, results


_SHRINK: Mapping[str, Callable[[Node, Sequence[Value], Sequence[int]], Shrunk]] = {
    "cond": _cond, "scan": _scan, "while_loop": _while
}  # fmt: skip
