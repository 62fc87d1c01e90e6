"""Control flow in forward mode: each op becomes one of its kind that carries tangents beside the values.

A loop needs no residuals for this, so it may have any number of steps. That the values are computed once more is no loss where
equal regions are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.errors import GradientError
from graphc.ir.graph import Graph, Node, Value

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Flows = Sequence[Value | None]


def cond_jvp(b: Builder, node: Node, tangents: Flows) -> Flows:
    """A cond on the same selector, of the branches' pushforwards."""
    branches: tuple[Graph, ...] = node.attributes["branches"]
    wrt = [i for i, t in enumerate(tangents[1:]) if t is not None]
    floating = [i for i, t in enumerate(node.types) if t.dtype.is_inexact]
    forward = tuple([_forward(b, branch, wrt, floating) for branch in branches])
    found = b.emit("cond", *node.inputs, *_present(tangents), branches=forward)
    return _placed(dict(zip(floating, found, strict=True)), len(node.types))


def while_jvp(b: Builder, node: Node, tangents: Flows) -> Flows:
    """A loop with a tangent for each floating part of the carry."""
    body: Graph = node.attributes["body"]
    cond: Graph = node.attributes["cond"]
    constants = node.attributes["constants"]
    fixed = [i for i in range(constants) if tangents[i] is not None]
    carried = [i for i, t in enumerate(node.types) if t.dtype.is_inexact]
    forward = _forward(b, body, [*fixed, *[constants + i for i in carried]], carried)
    values, changes = forward.parameters[: len(node.inputs)], forward.parameters[len(node.inputs) :]
    parameters = [*values[:constants], *changes[: len(fixed)], *values[constants:], *changes[len(fixed) :]]
    step = Graph(parameters, [*body.outputs, *forward.outputs], name=forward.name)
    own = dict(zip(values, cond.parameters, strict=True))
    goes_on = Graph([own.get(p, p) for p in parameters], cond.outputs, name=cond.name)
    first = [_or_zeros(b, tangents[constants + i], node.inputs[constants + i]) for i in carried]
    results = b.emit(
        "while_loop",
        *node.inputs[:constants], *_present([tangents[i] for i in fixed]), *node.inputs[constants:], *first,
        cond=goes_on, body=step, constants=constants + len(fixed), max_steps=node.attributes["max_steps"],
    )  # fmt: skip
    return _placed(dict(zip(carried, results[len(node.types) :], strict=True)), len(node.types))


def scan_jvp(b: Builder, node: Node, tangents: Flows) -> Flows:
    """A scan with a tangent for each floating part of the carry, which also stacks the tangents of what it stacks."""
    body: Graph = node.attributes["body"]
    constants, carries = node.attributes["constants"], node.attributes["carries"]
    first_x = constants + carries
    fixed = [i for i in range(constants) if tangents[i] is not None]
    carried = [i for i in range(carries) if body.outputs[i].dtype.is_inexact]
    sliced = [i for i in range(first_x, len(node.inputs)) if tangents[i] is not None]
    stacked = [i for i in range(carries, len(body.outputs)) if body.outputs[i].dtype.is_inexact]
    forward = _forward(b, body, [*fixed, *[constants + i for i in carried], *sliced], [*carried, *stacked])
    values, changes = forward.parameters[: len(node.inputs)], forward.parameters[len(node.inputs) :]
    of_carry = len(fixed) + len(carried)
    parameters = [
        *values[:constants], *changes[: len(fixed)], *values[constants:first_x], *changes[len(fixed) : of_carry],
        *values[first_x:], *changes[of_carry:],
    ]  # fmt: skip
    flows = forward.outputs
    step = Graph(parameters, [*body.outputs[:carries], *flows], name=forward.name)
    first = [_or_zeros(b, tangents[constants + i], node.inputs[constants + i]) for i in carried]
    results = b.emit(
        "scan",
        *node.inputs[:constants], *_present([tangents[i] for i in fixed]), *node.inputs[constants:first_x], *first,
        *node.inputs[first_x:], *_present([tangents[i] for i in sliced]),
        body=step, constants=constants + len(fixed), carries=carries + len(carried),
        length=node.attributes["length"], reverse=node.attributes["reverse"],
    )  # fmt: skip
    return _placed(dict(zip([*carried, *stacked], results[carries:], strict=True)), len(node.types))


def _forward(b: Builder, graph: Graph, wrt: Sequence[int], outputs: Sequence[int]) -> Graph:
    """The pushforward of a region; its effects have been there already."""
    if b.differentiate_forward is None:
        raise GradientError("this builder cannot differentiate the graphs that ops hold")
    return b.differentiate_forward(graph, wrt, outputs).replace(effects=())


def _present(flows: Flows) -> list[Value]:
    return [flow for flow in flows if flow is not None]


def _or_zeros(b: Builder, flow: Value | None, like: Value) -> Value:
    return b.zeros_like(like) if flow is None else flow


def _placed(found: dict[int, Value], count: int) -> list[Value | None]:
    return [found.get(i) for i in range(count)]
