"""``backward()``: from the recording to gradients, through the same ``differentiate`` pass as everything else.

The recorded ops become a graph, the pass differentiates it, and the forward values that the rules read become parameters, fed
from the residuals that were saved. The resulting program is cached by the structure of the recording, so the second step of
a training loop builds and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.compile import compile_graph
from graphc.errors import GradientError, InPlaceError
from graphc.frontends.eager.device_kernels import add_arrays, compile_for, run_graph
from graphc.frontends.eager.execute import policy
from graphc.frontends.eager.prepared import PreparedOp
from graphc.frontends.eager.recent import Recent
from graphc.frontends.eager.recording import (
    UNWRITTEN,
    Leaf,
    Record,
    Reference,
    Saved,
    ordered_sources,
    record_to_node,
    recorders,
)
from graphc.ir.allocation import collection_paused
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Node, Value, cut
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, current_location
from graphc.ops.core import evaluate_graph, inspected
from graphc.passes.differentiate import backpropagate, gradient_builder
from graphc.passes.push_forward import push_forward
from graphc.runtime.device_buffer import DeviceBuffer, device_of

_COMPILE_AT_RUN = 3  # a structure seen this often is worth compiling
_COMPILE_ABOVE = 1 << 14  # elements read; a program that touches more is compiled at once,
_COMPILE_EACH = 64  # unless it is long and its arrays have fewer on average: then the compiler is what takes the time
_PARAMETER = get_primitive("parameter")


class Gradient(NamedTuple):
    """A gradient: its bytes, and its own recording where a graph of it was asked for."""

    array: Any
    reference: Reference | None


class _Source(NamedTuple):
    """Where a parameter of a backward program comes from: a residual of the ``position``-th source in the recording."""

    source: int
    is_operand: bool
    index: int  # type: ignore[assignment]  # hides tuple.index


class Plan:
    """The backward program of one structure: (seeds…, residuals…) → gradients; None where none flows."""

    def __init__(self, graph: Graph, sources: Sequence[_Source], flows: Sequence[bool]) -> None:
        self.graph = graph
        self.sources = tuple(sources)
        self.flows = tuple(flows)
        self.runs = 0
        self._executable: Any = None
        self._on_devices: dict[str, Any] = {}

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        self.runs += 1
        run = inspected(self.graph)
        device = device_of(arrays)
        if device is not None:
            if run is None and (run := self._on_devices.get(device.name)) is None:
                run = self._on_devices[device.name] = compile_for(device, self.graph)
            return run_graph(device, run, arrays)
        if run is not None:
            return run(*arrays)
        if self._executable is None:
            forced = policy()
            total = sum(a.size for a in arrays)
            large = total >= _COMPILE_ABOVE and total >= _COMPILE_EACH * len(arrays)
            if forced != "always" and (forced == "never" or not (large or self.runs >= _COMPILE_AT_RUN)):
                return [np.asarray(a) for a in evaluate_graph(self.graph, arrays)]
            self._executable = compile_graph(self.graph)
        results: list[Any] = self._executable(*arrays)
        return results


_plans: Recent[Any, Plan] = Recent(256)


def save_residuals(
    record: Record, prepared: PreparedOp, operands: Sequence[Any], results: Sequence[Any], needed: Sequence[bool]
) -> None:
    """Keep what the gradient of ``record`` reads; ``operands`` and ``results`` are tensors."""
    of_operands, of_results = prepared.residuals(needed)
    if of_operands:  # as they are; who reads them repeats those that the op repeated
        record.saved_operands = tuple([(i, operands[i].saved()) for i in of_operands])
    if of_results:
        record.saved_results = tuple([(i, results[i].saved()) for i in of_results])


def _repeated(array: Any, shape: tuple[int, ...]) -> Any:
    """``np.broadcast_to``, which takes longer than a small array's arithmetic."""
    if type(array) is DeviceBuffer:
        return array.view("broadcast_in_dim", {"shape": shape, "dims": tuple(range(len(shape) - array.ndim, len(shape)))})
    if array.dtype.kind == "V" or not array.flags.c_contiguous:  # bfloat16 is not in the buffer protocol
        return np.broadcast_to(array, shape)
    added = len(shape) - array.ndim
    strides = tuple([0 if i < added or array.shape[i - added] != n else array.strides[i - added] for i, n in enumerate(shape)])
    return np.ndarray(shape, array.dtype, array, 0, strides)


def compute_gradients(
    roots: Sequence[tuple[Reference, Gradient]],
    targets: Sequence[Reference] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> dict[Reference, Gradient]:
    """Gradients of ``targets`` (None: all leaves that require one, and results whose gradient is retained).

    Hooks on recorded tensors see and may replace the gradient on its way. Raises GradientError where the recording was freed
    by an earlier backward, InPlaceError where a tensor it needs was changed since.
    """
    order = ordered_sources([reference for reference, _ in roots], only_gradients=True)
    wanted: list[Reference] = list(targets) if targets is not None else []
    hooked: list[Reference] = []
    for source in order:
        if isinstance(source, Record):
            hooked += [Reference(source, i) for i, functions in (source.hooks or {}).items() if functions]
            if targets is None and source.retained:
                wanted += [Reference(source, i) for i in source.retained]
        elif targets is None:
            wanted.append(Reference(source, 0))
    if hooked:
        found = _staged(roots, order, wanted, hooked, create_graph)
    else:
        found = _run(roots, order, wanted, (), create_graph)
    if not retain_graph:
        for source in order:
            if isinstance(source, Record) and (source.saved_operands or source.saved_results):
                source.saved_operands = source.saved_results = ()
                source.freed = True
    return found


def _staged(
    roots: Sequence[tuple[Reference, Gradient]],
    order: Sequence[Record | Leaf],
    wanted: Sequence[Reference],
    hooked: Sequence[Reference],
    create_graph: bool,
) -> dict[Reference, Gradient]:
    """Run backward up to the hooked tensors, let their hooks act, and go on from there, last made first."""
    total: dict[Reference, Gradient] = {}
    pending: dict[Reference, Gradient] = {}
    seeds = list(roots)
    stops = list(reversed(hooked))
    goals = [*wanted, *(h for h in stops if h not in wanted)]
    while True:
        for reference, gradient in _run(seeds, order, goals, stops, create_graph).items():
            into = pending if reference in hooked else total
            into[reference] = gradient if reference not in into else add_gradients(into[reference], gradient)
        ready = next((h for h in stops if h in pending), None)
        if ready is None:
            return total
        gradient = pending.pop(ready)
        assert isinstance(ready.source, Record)
        for function in list((ready.source.hooks or {})[ready.index].values()):
            gradient = function(gradient)
        if ready in wanted:
            total[ready] = gradient
        stops.remove(ready)
        goals = [g for g in goals if g != ready]
        seeds = [(ready, gradient)]


def add_gradients(a: Gradient, b: Gradient) -> Gradient:
    """The sum of two gradients, recorded if both are."""
    array = add_arrays(a.array, b.array)
    if a.reference is None or b.reference is None:
        return Gradient(array, None)
    record = Record(
        get_primitive("add"), {}, (a.reference, b.reference), (a.reference.type,),
        a.reference.requires_grad or b.reference.requires_grad, current_location(),
    )  # fmt: skip
    return Gradient(array, Reference(record, 0))


def _run(
    roots: Sequence[tuple[Reference, Gradient]],
    order: Sequence[Record | Leaf],
    wanted: Sequence[Reference],
    stops: Sequence[Reference],
    create_graph: bool,
) -> dict[Reference, Gradient]:
    numbers = {id(source) for source in order}
    wanted = [w for w in wanted if id(w.source) in numbers]
    if not wanted:
        return {}
    plan = _backward_plan([reference for reference, _ in roots], order, wanted, stops)
    found = _execute(plan, roots, order, create_graph)
    return {reference: gradient for reference, gradient in zip(wanted, found, strict=True) if gradient is not None}


def compute_tangents(
    roots: Sequence[Reference], tangents: Sequence[tuple[Reference, Gradient]], *, create_graph: bool
) -> list[Gradient | None]:
    """The tangents of ``roots`` given those of recorded values: forward mode, by the rules of the same recording.

    What was saved for gradients is kept. Raises the errors of :func:`compute_gradients`.
    """
    order = ordered_sources(roots, only_gradients=True)
    plan = _forward_plan(roots, order, [reference for reference, _ in tangents])
    return _execute(plan, tangents, order, create_graph)


class LinearProgram(NamedTuple):
    """A backward or forward program to be run elsewhere: (cotangents or tangents…, ``residuals``…) → the results that exist.

    ``flows``: for each result that was asked for, whether there is one.
    """

    graph: Graph
    flows: tuple[bool, ...]
    residuals: list[Gradient]


def linear_program(roots: Sequence[Reference], targets: Sequence[Reference], *, forward: bool) -> LinearProgram:
    """The program from cotangents of ``roots`` to those of ``targets``, or ``forward``: from tangents of targets to roots'.

    The residuals come with their recording, so that what is computed from them can be differentiated.
    """
    order = ordered_sources(roots, only_gradients=True)
    plan = _forward_plan(roots, order, targets) if forward else _backward_plan(roots, order, targets, ())
    residuals: list[Gradient] = []
    for wanted in plan.sources:
        operand = _operand(order[wanted.source], wanted)
        reference = operand if isinstance(operand, Reference) else None
        residuals.append(Gradient(_residual(order[wanted.source], wanted).array, reference))
    return LinearProgram(plan.graph, plan.flows, residuals)


def _backward_plan(
    roots: Sequence[Reference], order: Sequence[Record | Leaf], wanted: Sequence[Reference], stops: Sequence[Reference]
) -> Plan:
    return _planned("backward", order, (roots, wanted, stops), lambda: _build(roots, order, wanted, stops))


def _forward_plan(roots: Sequence[Reference], order: Sequence[Record | Leaf], targets: Sequence[Reference]) -> Plan:
    return _planned("forward", order, (roots, targets), lambda: _build_forward(roots, order, targets))


def _planned(
    mode: str, order: Sequence[Record | Leaf], groups: Sequence[Sequence[Reference]], build: Callable[[], Plan]
) -> Plan:
    """The program that was made for a recording of the same structure, or a new one."""
    key = (mode, *_structure(order, groups))
    plan = _plans.recall(key)
    if plan is None:
        with collection_paused():
            plan = build()
        _plans.keep(key, plan)
    return plan


def _execute(
    plan: Plan, seeds: Sequence[tuple[Reference, Gradient]], order: Sequence[Record | Leaf], create_graph: bool
) -> list[Gradient | None]:
    """Run ``plan`` on the seeds and what it reads of the recording; None where nothing flows."""
    residuals = [_residual(order[s.source], s) for s in plan.sources]
    arrays = [gradient.array for _, gradient in seeds] + [saved.array for saved in residuals]
    outputs = plan.run(arrays)
    references: Sequence[Reference | None] = [None] * len(outputs)
    if create_graph or recorders.active:
        references = _record_call(plan, seeds, order, residuals, outputs, create_graph)
    results = iter(zip(outputs, references, strict=True))
    return [Gradient(*next(results)) if flows else None for flows in plan.flows]


def _structure(order: Sequence[Record | Leaf], groups: Sequence[Sequence[Reference]]) -> tuple[Any, ...]:
    """What two recordings must share to have the same program."""
    parts: list[Any] = []
    numbers = {id(source): i for i, source in enumerate(order)}
    extra = dict(numbers)
    for source in order:
        if type(source) is not Record:
            parts.append(source.types)
            continue
        operands: list[Any] = []
        for operand in source.inputs:
            if type(operand) is not Reference:
                operands.append(operand)
                continue
            number = extra.get(id(operand.source))
            if number is None:  # an operand that needs no gradient: its type and its identity within the recording
                number = extra[id(operand.source)] = len(extra)
                operands.append(operand.type)
            operands.append((number, operand.index))
        parts.append((source.op, tuple(source.attributes.items()), tuple(operands), source.types))
    # A target that the recording does not lead to is told from others by its type alone.
    positions = [tuple([(numbers.get(id(r.source), r.type), r.index) for r in group]) for group in groups]
    return (tuple(parts), *positions)


class _Nodes:
    """The recording as nodes of a graph."""

    def __init__(self, order: Sequence[Record | Leaf]) -> None:
        self.order = order
        self._nodes: dict[int, Node] = {}
        for source in order:
            if isinstance(source, Leaf):
                self._nodes[id(source)] = Node(_PARAMETER, (), {}, source.types, source.location)
            else:
                self._nodes[id(source)] = record_to_node(source, tuple([self.value(r) for r in source.inputs]))

    def value(self, operand: Reference | TensorType) -> Value:
        if not isinstance(operand, Reference):
            return Value(Node(_PARAMETER, (), {}, (operand,)), 0)
        node = self._nodes.get(id(operand.source))
        if node is None:  # an operand that needs no gradient: what made it does not matter
            node = Node(_PARAMETER, (), {}, operand.source.types, operand.source.location)
            self._nodes[id(operand.source)] = node
        return Value(node, operand.index)

    def plan(self, b: Builder, flows: Sequence[Value | None]) -> Plan:
        """The program from the parameters of ``b``, and what it reads of the recording, to ``flows``."""
        candidates: dict[Value, _Source] = {}
        for number, source in enumerate(self.order):
            if isinstance(source, Leaf):
                continue
            node = self._nodes[id(source)]
            for index, _ in source.saved_operands:
                candidates.setdefault(node.inputs[index], _Source(number, True, index))
            for index, _ in source.saved_results:
                candidates.setdefault(Value(node, index), _Source(number, False, index))
        made = {value: Value(Node(_PARAMETER, (), {}, (value.type,), value.node.location), 0) for value in candidates}
        parameters = list(b.parameters)
        given = set(parameters)
        graph = Graph(parameters, cut([f for f in flows if f is not None], made), name=b.name)
        sources: list[_Source] = []
        by_parameter = {made[value]: candidates[value] for value in candidates}
        for node in graph.nodes():
            value = Value(node, 0)
            if node.op is not _PARAMETER or value in given:
                continue
            if value not in by_parameter:
                raise _unsaved(self.order)
            parameters.append(value)
            sources.append(by_parameter[value])
        return Plan(graph.replace(parameters=parameters), sources, [f is not None for f in flows])


def _build(
    roots: Sequence[Reference], order: Sequence[Record | Leaf], wanted: Sequence[Reference], stops: Sequence[Reference]
) -> Plan:
    b = gradient_builder("backward")
    b.location = UNKNOWN
    nodes = _Nodes(order)
    seeds = [(nodes.value(r), b.parameter(r.type, f"cotangent{i}")) for i, r in enumerate(roots)]
    flows = backpropagate(b, seeds, [nodes.value(r) for r in wanted], frontier=[nodes.value(r) for r in stops])
    return nodes.plan(b, flows)


def _build_forward(roots: Sequence[Reference], order: Sequence[Record | Leaf], targets: Sequence[Reference]) -> Plan:
    b = gradient_builder("forward")
    b.location = UNKNOWN
    nodes = _Nodes(order)
    seeds = [(nodes.value(r), b.parameter(r.type, f"tangent{i}")) for i, r in enumerate(targets)]
    return nodes.plan(b, push_forward(b, seeds, [nodes.value(r) for r in roots]))


def _unsaved(order: Sequence[Record | Leaf]) -> GradientError:
    freed = next((s for s in order if isinstance(s, Record) and s.freed), None)
    if freed is not None:
        return _freed_error(freed)
    return GradientError("a VJP rule read a forward value that its primitive's residuals do not declare (a bug in graphc)")


def _freed_error(record: Record) -> GradientError:
    return GradientError(
        f"backward a second time: the values that the gradient of {record.name} needs were freed by the first",
        hint="pass retain_graph=True to the first backward(), or compute the forward pass again",
        location=record.location,
        cause=GradientError.TWICE,
    )


def _operand(source: Record | Leaf, wanted: _Source) -> Reference | TensorType:
    """What the recording knows of a residual."""
    assert isinstance(source, Record)
    return source.inputs[wanted.index] if wanted.is_operand else Reference(source, wanted.index)


def _residual(source: Record | Leaf, wanted: _Source) -> Saved:
    assert isinstance(source, Record)
    saved = dict(source.saved_operands if wanted.is_operand else source.saved_results).get(wanted.index)
    if saved is None:
        raise _freed_error(source)
    if saved.version.count != saved.count:
        what = f"operand {wanted.index}" if wanted.is_operand else "the result"
        raise InPlaceError(
            f"a tensor that the gradient of {source.name} needs ({what}, shape {saved.array.shape}) was changed in place "
            f"after the op ran: it was at version {saved.count} and is now at version {saved.version.count}",
            hint="change a copy() of it, or do the in-place write before the op",
            location=source.location,
            cause=InPlaceError.SAVED,
        )
    if wanted.is_operand:
        operand = source.inputs[wanted.index]
        shape: Any = operand.shape if isinstance(operand, TensorType) else operand.type.shape
        if saved.array.shape != shape:
            return Saved(_repeated(saved.array, shape), saved.version, saved.count)
    return saved


def _record_call(
    plan: Plan,
    seeds: Sequence[tuple[Reference, Gradient]],
    order: Sequence[Record | Leaf],
    residuals: Sequence[Saved],
    outputs: Sequence[Any],
    create_graph: bool,
) -> list[Reference]:
    """The program itself as one recorded call, so that it can be differentiated or shown in turn."""
    inputs: list[Reference | TensorType] = []
    saved: list[Saved] = []
    for reference, gradient in seeds:
        inputs.append(gradient.reference if gradient.reference is not None else reference.type)
        saved.append(Saved(gradient.array, UNWRITTEN, 0))
    for wanted, residual in zip(plan.sources, residuals, strict=True):
        inputs.append(_operand(order[wanted.source], wanted))
        saved.append(residual)
    if recorders.active:
        inputs = [
            i if isinstance(i, Reference) else Reference(Leaf(i, None, False, current_location(), s.array), 0)
            for i, s in zip(inputs, saved, strict=True)
        ]
    needs = create_graph and any(isinstance(i, Reference) and i.requires_grad for i in inputs)
    record = Record(
        get_primitive("call"), {"graph": plan.graph}, tuple(inputs), plan.graph.output_types, needs, current_location()
    )
    if needs:
        record.saved_operands = tuple(enumerate(saved))
    return [Reference(record, i) for i in range(len(outputs))]
