"""How control flow works on a batch of examples.

Where all examples go the same way, its graphs are vectorized and that is all. Where each goes its own, everything that any of
them needs is computed for all, and each keeps what is its own. What is computed for an example that does not need it is
computed on values of one that does, or did: so nothing is raised, and no derivative is infinite, that would not be without a
batch. Prints and callbacks are for the examples that need them alone: with one inside, one example goes its way after the
other.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dtypes import int64
from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Node, Value, held_graphs
from graphc.ir.primitive import get_primitive
from graphc.ops.batching import all_mapped, are_mapped, from_front, repeated, to_front
from graphc.ops.effects import each_example


def cond_batch(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """One branch for all examples, or every branch that some example takes, with a choice for each."""
    branches: tuple[Graph, ...] = node.attributes["branches"]
    selector, *given = operands
    selector_is_mapped, *mapped = are_mapped(node, operands)
    if selector_is_mapped and _acts(branches):
        return each_example(b, node, operands, size)
    vectorized = [_vectorized(b, branch, mapped, size) for branch in branches]
    if not selector_is_mapped:
        differ = [
            any(v.outputs[i].ndim > branch.outputs[i].ndim for v, branch in zip(vectorized, branches, strict=True))
            for i in range(len(node.types))
        ]
        same = tuple([_with_outputs(v, o, differ, size) for v, o in zip(vectorized, branches, strict=True)])
        return b.emit("cond", selector, *given, branches=same)
    every = [True] * len(node.types)
    results: Sequence[Value] = ()
    for number, (whole, branch) in enumerate(zip(vectorized, branches, strict=True)):
        taken = _is_taken(b, selector, number, len(branches))
        safe = [_of_an_example(b, taken, x) if m else x for x, m in zip(given, mapped, strict=True)]
        taken_branch = _with_outputs(whole, branch, every, size)
        # Nothing runs where no example goes this way.
        none_taken = _of_zeros(taken_branch)
        found = b.emit("cond", b.reduce_any(taken, axes=(0,)), *safe, branches=(none_taken, taken_branch))
        if not results:
            results = found
        else:
            results = [_chosen(b, taken, new, old) for new, old in zip(found, results, strict=True)]
    return results


def while_batch(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """The loop goes on while it does for any example; an example that is done keeps its carry."""
    cond, body = node.attributes["cond"], node.attributes["body"]
    constants, max_steps = node.attributes["constants"], node.attributes["max_steps"]
    mapped = list(are_mapped(node, operands))
    carry_maps, whole = _settled(b, body, mapped[:constants], mapped[constants:], [], size)
    test = _vectorized(b, cond, [*mapped[:constants], *carry_maps], size)
    if not test.outputs[0].ndim:
        first = _joined(b, operands[constants:], mapped[constants:], carry_maps, size)
        return b.emit(
            "while_loop", *operands[:constants], *first, cond=test, body=whole, constants=constants, max_steps=max_steps
        )
    if _acts((cond, body)):
        return each_example(b, node, operands, size)
    every = [True] * len(node.types)
    _, whole = _settled(b, body, mapped[:constants], every, [], size)
    test = _vectorized(b, cond, [*mapped[:constants], *every], size)
    first = _joined(b, operands[constants:], mapped[constants:], every, size)
    (runs,) = _inlined(b, test, [*operands[:constants], *first])
    # An example that never runs has no carry that the body may be given: it goes with the first one that does.
    fixed = [_of_an_example(b, runs, x) if m else x for x, m in zip(operands[:constants], mapped, strict=False)]
    start = [_of_an_example(b, runs, x) for x in first]
    # Besides the carry that counts the loop has one that stays where the example was active for the last time.
    region = Builder(body.name, location=node.location)
    inner_fixed = [region.parameter(x.type) for x in fixed]
    counts = [region.parameter(x.type) for x in first]
    last = [region.parameter(x.type) for x in start]
    active = region.parameter(runs.type)
    new = _inlined(region, whole, [*inner_fixed, *last])
    kept = [_chosen(region, active, n, c) for n, c in zip(new, counts, strict=True)]
    (again,) = _inlined(region, test, [*inner_fixed, *new])
    still = region.bitwise_and(active, again)
    ahead = [_chosen(region, still, n, s) for n, s in zip(new, last, strict=True)]
    step = Graph(region.parameters, [*kept, *ahead, still], effects=region.effects, name=body.name)
    any_runs = Builder(cond.name, location=node.location)
    parameters = [any_runs.parameter(p.type) for p in step.parameters]
    goes_on = any_runs.finish([any_runs.reduce_any(parameters[-1], axes=(0,))])
    results = b.emit(
        "while_loop", *fixed, *first, *start, runs, cond=goes_on, body=step, constants=constants, max_steps=max_steps
    )
    return results[: len(node.types)]


def scan_batch(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """A scan whose steps work on a batch; in the arrays of slices the examples come behind the steps."""
    constants, carries = node.attributes["constants"], node.attributes["carries"]
    if not carries and _acts((node.attributes["body"],)):  # examples already: those of the outer batch come first
        return each_example(b, node, operands, size)
    rest = {name: node.attributes[name] for name in ("constants", "carries", "length", "reverse")}
    mapped = list(are_mapped(node, operands))
    first_x = constants + carries
    carry_maps, body = _settled(
        b, node.attributes["body"], mapped[:constants], mapped[constants:first_x], mapped[first_x:], size
    )
    first = _joined(b, operands[constants:first_x], mapped[constants:first_x], carry_maps, size)
    arrays = [from_front(b, x, 1) if m else x for x, m in zip(operands[first_x:], mapped[first_x:], strict=True)]
    results = b.emit("scan", *operands[:constants], *first, *arrays, body=body, **rest)
    stacked = [
        to_front(b, y, 1) if y.ndim > len(own.shape) else y
        for y, own in zip(results[carries:], node.types[carries:], strict=True)
    ]
    return [*results[:carries], *stacked]


def checkpoint_batch(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """The region works on the batch."""
    region = _vectorized(b, node.attributes["graph"], list(are_mapped(node, operands)), size)
    return b.emit("checkpoint", *operands, graph=region, saved=node.attributes["saved"])


def custom_vjp_batch(b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
    """All three regions work on batches of everything, so that what one gives is what the other takes."""

    def whole(name: str) -> Graph:
        region: Graph = node.attributes[name]
        vectorized = _vectorized(b, region, [True] * len(region.parameters), size)
        return _with_outputs(vectorized, region, [True] * len(region.outputs), size)

    return b.emit(
        "custom_vjp",
        *all_mapped(b, node, operands, size),
        graph=whole("graph"),
        forward=whole("forward"),
        backward=whole("backward"),
        constants=node.attributes["constants"],
    )


def _acts(graphs: Sequence[Graph]) -> bool:
    """Whether there is a print or a callback in ``graphs``, at any depth; a check is no such act."""
    stack = list(graphs)
    while stack:
        for node in stack.pop().nodes():
            if node.op.name in ("print", "callback"):
                return True
            stack.extend(held_graphs(node.attributes))
    return False


def _vectorized(b: Builder, graph: Graph, mapped: Sequence[bool], size: Dim) -> Graph:
    if b.vectorize is None:
        raise ArgumentError(f"this builder cannot vectorize the graph {graph.name} that an op holds")
    return b.vectorize(graph, mapped, size)


def _settled(
    b: Builder, body: Graph, constants: Sequence[bool], carries: Sequence[bool], slices: Sequence[bool], size: Dim
) -> tuple[list[bool], Graph]:
    """Which carries differ between examples, after any number of steps, and the vectorized body with such carries."""
    flags = list(carries)
    while True:
        whole = _vectorized(b, body, [*constants, *flags, *slices], size)
        differ = [new.ndim > own.ndim for new, own in zip(whole.outputs, body.outputs, strict=True)]
        found = [one or other for one, other in zip(flags, differ, strict=False)]
        if found == flags:
            return flags, _with_outputs(whole, body, [*flags, *differ[len(flags) :]], size)
        flags = found


def _with_outputs(whole: Graph, own: Graph, differ: Sequence[bool], size: Dim) -> Graph:
    """``whole``, the vectorized form of ``own``, with the outputs that ``differ`` repeated where they do not by themselves."""
    b = Builder(whole.name)
    outputs: list[Value] = []
    for value, before, wanted in zip(whole.outputs, own.outputs, differ, strict=True):
        with b.at(value.node.location):
            outputs.append(repeated(b, value, size) if wanted and value.ndim == before.ndim else value)
    return whole.replace(outputs=outputs, aliases={})


def _of_zeros(branch: Graph) -> Graph:
    """Zeros of the types that ``branch`` gives."""
    parameters = [Value(Node(get_primitive("parameter"), (), {}, (p.type,)), 0) for p in branch.parameters]
    b = Builder("not_taken")
    outputs: list[Value] = []
    for value in branch.outputs:
        with b.at(value.node.location):
            outputs.append(b.full(value.shape, 0, value.dtype))
    return Graph(parameters, outputs, name="not_taken")


def _joined(
    b: Builder, values: Sequence[Value], mapped: Sequence[bool], wanted: Sequence[bool], size: Dim
) -> list[Value]:
    """``values``, repeated where they are ``wanted`` for each example and not ``mapped``."""
    return [repeated(b, x, size) if w and not m else x for x, m, w in zip(values, mapped, wanted, strict=True)]


def _is_taken(b: Builder, selector: Value, number: int, count: int) -> Value:
    """Which examples take branch ``number`` of ``count``."""
    taken: Value
    if selector.dtype.is_bool:
        taken = selector if number else b.bitwise_not(selector)
    elif count == 1:
        taken = b.eq(selector, selector)
    elif number == 0:
        taken = b.le(selector, b.zeros_like(selector))
    elif number == count - 1:
        taken = b.ge(selector, b.full_like(selector, number))
    else:
        taken = b.eq(selector, b.full_like(selector, number))
    return taken


def _of_an_example(b: Builder, wanted: Value, x: Value) -> Value:
    """``x`` with the value of the first example that is ``wanted`` in place of those that are not."""
    # argmax of an empty axis is an error; there a first example of zeros stands for it.
    padded = b.pad(wanted, b.full((), False, wanted.dtype), low=(0,), high=(1,), interior=(0,))
    position = b.argmax(b.convert_element_type(padded, dtype=int64), axis=0)
    ends = (0,) * x.ndim
    extended = b.pad(x, b.full((), 0, x.dtype), low=ends, high=(1, *ends[1:]), interior=ends)
    first = b.gather(extended, position, axes=(0,))
    others = b.broadcast_in_dim(first, shape=x.shape, dims=tuple(range(1, x.ndim)))
    return _chosen(b, wanted, x, others)


def _chosen(b: Builder, wanted: Value, x: Value, y: Value) -> Value:
    """``x`` for the examples that are ``wanted``, ``y`` for the others."""
    spread = wanted if x.ndim == 1 else b.broadcast_in_dim(wanted, shape=x.shape, dims=(0,))
    value: Value = b.select(spread, x, y)
    return value


def _inlined(b: Builder, graph: Graph, operands: Sequence[Value]) -> list[Value]:
    """The outputs of ``graph``, its nodes made again with ``b``."""
    values = dict(zip(graph.parameters, operands, strict=True))
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        with b.at(node.location):
            results = b.emit(node.op, *[values[v] for v in node.inputs], **node.attributes)
        if results:
            values.update(zip(node.results, results, strict=True))
    return [values[o] for o in graph.outputs]
