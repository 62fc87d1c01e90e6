"""How control flow is differentiated: each op becomes two of its kind, one forward that keeps residuals and one backward.

The forward one computes the results of the original once more. That is no loss: both read the same operands, and the pass
``merge-regions`` makes one op of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from graphc.errors import GradientError
from graphc.ir.graph import Graph, Node, Value, cut
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.ops.split_gradient import SplitGradient, split_gradient

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Flows = Sequence[Value | None]


def cond_vjp(b: Builder, node: Node, cotangents: Flows, needed: Sequence[bool]) -> Flows:
    """A cond on the same selector, of the branches' gradients. A branch not taken leaves zeros as residuals."""
    branches: tuple[Graph, ...] = node.attributes["branches"]
    selector, *operands = node.inputs
    wrt = [i for i, wanted in enumerate(needed[1:]) if wanted]
    seeds = [i for i, c in enumerate(cotangents) if c is not None]
    splits = [split_gradient(b, branch, wrt, seeds) for branch in branches]
    slots: list[TensorType] = []  # residuals of different branches share them, as only one branch runs
    places: list[list[int]] = []
    for split in splits:
        taken: list[int] = []
        for residual in split.residuals:
            free = next((i for i, t in enumerate(slots) if t == residual.type and i not in taken), len(slots))
            if free == len(slots):
                slots.append(residual.type)
            taken.append(free)
        places.append(taken)
    count = len(node.types)
    kept: tuple[Value, ...] = ()
    if slots:
        forward = [_with_slots(b, s, taken, slots, count) for s, taken in zip(splits, places, strict=True)]
        kept = b.emit("cond", selector, *operands, branches=tuple(forward))[count:]
    given = sorted({i for split in splits for i in split.given})
    types = [operands[i].type for i in given] + slots + [node.types[i] for i in seeds]
    backward = [_backward_branch(s, taken, given, types, len(slots)) for s, taken in zip(splits, places, strict=True)]
    reads = [*[operands[i] for i in given], *kept, *_present(cotangents)]
    flows = iter(b.emit("cond", selector, *reads, branches=tuple(backward)))
    return [None, *[next(flows) if wanted else None for wanted in needed[1:]]]


def _with_slots(b: Builder, split: SplitGradient, taken: Sequence[int], slots: Sequence[TensorType], count: int) -> Graph:
    outputs = list(split.forward.outputs)
    residuals = dict(zip(taken, outputs[count:], strict=True))
    rest = [residuals[i] if i in residuals else b.full(t.shape, 0, t.dtype) for i, t in enumerate(slots)]
    return split.forward.replace(outputs=outputs[:count] + rest)


def _backward_branch(
    split: SplitGradient, taken: Sequence[int], given: Sequence[int], types: Sequence[TensorType], slots: int
) -> Graph:
    """The branch's gradient with the parameters that all branches have."""
    own = split.backward.parameters
    parameters: list[Value | None] = [None] * len(types)
    for position, value in zip(split.given, own, strict=False):
        parameters[given.index(position)] = value
    for slot, value in zip(taken, own[len(split.given) :], strict=False):
        parameters[len(given) + slot] = value
    parameters[len(given) + slots :] = own[len(split.given) + len(taken) :]
    complete = [_parameter(t) if p is None else p for p, t in zip(parameters, types, strict=True)]
    return split.backward.replace(parameters=complete)


def scan_vjp(b: Builder, node: Node, cotangents: Flows, needed: Sequence[bool]) -> Flows:
    """A scan that also stacks residuals, and a scan the other way round that pulls the cotangent of the carry through them.

    Cotangents of the constants are summed up in the second one's carry.
    """
    body: Graph = node.attributes["body"]
    constants, carries = node.attributes["constants"], node.attributes["carries"]
    length, reverse = node.attributes["length"], node.attributes["reverse"]
    first_x = constants + carries
    summed = [i for i in range(constants) if needed[i]]
    carried = [i for i in range(carries) if body.outputs[i].dtype.is_inexact]
    sliced = [i for i in range(first_x, len(node.inputs)) if needed[i]]
    stacked = [i for i in range(carries, len(body.outputs)) if cotangents[i] is not None]
    wrt = [*summed, *[constants + i for i in carried], *sliced]
    split = split_gradient(b, body, wrt, [*carried, *stacked], range(constants))
    from_carry = [i for i in split.given if constants <= i < first_x]
    augmented = split.forward.replace(outputs=[*split.forward.outputs, *[body.parameters[i] for i in from_carry]])
    results = b.emit(
        "scan", *node.inputs, body=augmented, constants=constants, carries=carries, length=length, reverse=reverse
    )
    kept = results[len(node.types) :]
    residuals, carry_stacks = kept[: len(split.residuals)], kept[len(split.residuals) :]

    own = split.backward.parameters
    of_given = dict(zip(split.given, own, strict=False))
    of_residuals = own[len(split.given) : len(split.given) + len(split.residuals)]
    of_cotangents = own[len(split.given) + len(split.residuals) :]
    fixed = [i for i in split.given if i < constants]
    read = [i for i in split.given if i >= first_x]
    totals = [_parameter(node.inputs[i].type) for i in summed]
    parameters = [
        *[of_given[i] for i in fixed], *totals, *of_cotangents[: len(carried)], *[of_given[i] for i in read],
        *[of_given[i] for i in from_carry], *of_residuals, *of_cotangents[len(carried) :],
    ]  # fmt: skip
    flows = split.backward.outputs
    sums = [b.emit_one("add", total, flow) for total, flow in zip(totals, flows, strict=False)]
    backward = Graph(parameters, [*sums, *flows[len(summed) :]], name=split.backward.name)
    seeds = [_or_zeros(b, cotangents[i], node.types[i]) for i in carried]
    pulled = b.emit(
        "scan",
        *[node.inputs[i] for i in fixed], *[b.zeros_like(node.inputs[i]) for i in summed], *seeds,
        *[node.inputs[i] for i in read], *carry_stacks, *residuals, *_present(cotangents[carries:]),
        body=backward, constants=len(fixed), carries=len(summed) + len(carried), length=length, reverse=not reverse,
    )  # fmt: skip
    found = dict(zip(wrt, pulled, strict=True))
    return [found[i] if wanted else None for i, wanted in enumerate(needed)]


def while_vjp(b: Builder, node: Node, cotangents: Flows, needed: Sequence[bool]) -> Flows:
    """The gradient of a scan over ``max_steps`` steps, of which those after the last one do nothing."""
    steps = node.attributes["max_steps"]
    if steps is None:
        raise GradientError(
            "while_loop: a loop of any number of steps has no reverse-mode gradient, as every step has to be kept",
            hint="say how many steps there can be: while_loop(..., max_steps=100); or use scan, or fori_loop with Python ints",
            location=node.location,
            cause=GradientError.UNBOUNDED,
        )
    constants = node.attributes["constants"]
    cond, body = node.attributes["cond"], node.attributes["body"]
    parameters = [_parameter(v.type) for v in node.inputs]
    (goes_on,) = cut(cond.outputs, dict(zip(cond.parameters, parameters, strict=True)))
    still = [_parameter(v.type) for v in node.inputs]
    unchanged = Graph(still, still[constants:], name="unchanged")
    choice = Node(
        get_primitive("cond"), (goes_on, *parameters), {"branches": (unchanged, body.replace(effects=()))}, node.types,
        node.location,
    )  # fmt: skip
    step = Graph(parameters, choice.results, name=body.name)
    carries = len(node.types)
    results = b.emit("scan", *node.inputs, body=step, constants=constants, carries=carries, length=steps, reverse=False)
    return scan_vjp(b, results[0].node, cotangents, needed)


def _parameter(type_: TensorType) -> Value:
    return Value(Node(get_primitive("parameter"), (), {}, (type_,)), 0)


def _present(flows: Iterable[Value | None]) -> list[Value]:
    return [flow for flow in flows if flow is not None]


def _or_zeros(b: Builder, flow: Value | None, type_: TensorType) -> Value:
    return b.full(type_.shape, 0, type_.dtype) if flow is None else flow
