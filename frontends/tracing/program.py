"""One traced call as a program: the graph, where its inputs come from, and what becomes of its outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.errors import GraphcError, TraceError
from graphc.frontends.array.core import too_large
from graphc.frontends.array.masked import Masked, selects_unknown
from graphc.frontends.call_pattern import CallPattern, Captured, Constant, Number
from graphc.frontends.dispatch import Array, bind_view, eager_context, host_array
from graphc.frontends.grad_mode import set_grad_enabled
from graphc.frontends.mixed import common_device
from graphc.frontends.placement import context_on
from graphc.frontends.pytree import TreeDef, flatten, unflatten
from graphc.frontends.storage import Chain
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.captures import find_captured_arguments, find_captures
from graphc.frontends.tracing.causes import Cause, guard_cause, size_cause
from graphc.frontends.tracing.context import Input, TraceContext
from graphc.frontends.tracing.fitting import bind_sizes, violated_guard
from graphc.frontends.tracing.overlap import check_overlap, memory_of
from graphc.frontends.tracing.signature import Static, describe_leaf, is_dynamic
from graphc.frontends.tracing.tiers import Tier, TierRecord
from graphc.ir.dims import DimExpr
from graphc.ir.graph import Graph, Value, topological_order
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location, current_location
from graphc.ops.core import concrete_attributes, inspected
from graphc.runtime.compile_log import CompileLog, Copied, logging_into
from graphc.runtime.executable import Executable
from graphc.runtime.program import NOTHING, Permissions

RECORDED: Final = "calls whose gradients, or whose ops, are recorded change no memory: they copy the results back"
SHARED: Final = "calls with arrays that are read-only, or share memory, copy the results back"
NO_DONATIONS: Final[Mapping[int, str]] = MappingProxyType({})


class ValueGuard(NamedTuple):
    """The graph holds only for this value of a Python argument, because ``location`` needed it."""

    leaf: int
    value: Any
    location: Location


class _Output(NamedTuple):
    """What one leaf of the function's result is: output ``place`` of the graph, a view of input ``place`` through
    ``chain``, or (``place`` None) the object itself."""

    place: int | None
    of_input: bool
    chain: Chain
    weak: bool
    value: Any


class TracedProgram:
    """The result of tracing one call; :meth:`match` finds whether a call may use it, :meth:`run` runs it.

    A call takes results that are arguments, or views of them, from its arguments. With ``whole`` they are outputs of the
    graph like all others: that graph is for reading, and for running by itself. ``donated``: the names of the argument
    leaves whose memory a call may overwrite. ``tiered``: the first calls run on the reference path.
    """

    def __init__(
        self,
        context: TraceContext,
        result: Any,
        function: Callable[..., Any],
        leaves: Sequence[Any],
        *,
        whole: bool = False,
        donated: Mapping[int, str] = NO_DONATIONS,
        tiered: bool = False,
    ) -> None:
        outputs: list[Value] = []
        found: list[_Output] = []
        result_leaves, self._result_tree = flatten(result)
        self._flows: list[bool] = []  # for each output of the graph, whether gradients go through it
        for leaf in result_leaves:
            found.append(_output_of(leaf, context, outputs, self._flows, whole, donated))
        self._outputs = tuple(found)
        updated = _updates_that_flow(context, [v for v, flows in zip(outputs, self._flows, strict=True) if flows])
        self._inputs = tuple(context.inputs)
        gradients = context.final_gradients()
        self._written: list[tuple[int, int, bool]] = []  # input, output, whether gradients flow into the new value
        # Inputs that a recording keeps a copy of. Of the others the write is what its version check finds.
        self._kept: list[int] = []
        aliases: dict[int, int] = {}
        for position, entry in enumerate(self._inputs):
            storage = entry.tracer._storage
            if storage.written and entry.kind != "gradient" and not (entry.kind == "argument" and entry.index in donated):
                aliases[len(outputs)] = position
                flows = entry.tracer._requires_grad and not entry.tracer._is_leaf
                self._written.append((position, len(outputs), flows))
                outputs.append(storage.value)
                self._flows.append(flows)
                if id(storage) not in updated:
                    self._kept.append(position)
        self._gradients: list[tuple[int, int | None]] = []
        for position, gradient in gradients:
            self._gradients.append((position, None if gradient is None else len(outputs)))
            if gradient is not None:
                outputs.append(context.lift(gradient).value)
                self._flows.append(False)
        self._without_gradient = frozenset(context.without_gradient)
        self.graph: Graph = context.finish(outputs, aliases)
        outputs = list(self.graph.outputs)
        self.size = len(self.graph.nodes())
        read = set(topological_order([output.node for output, flow in zip(outputs, self._flows, strict=True) if flow]))
        #: Inputs that no gradient depends on: what becomes of them does not matter to a recording.
        self._unread = frozenset(i for i, parameter in enumerate(self.graph.parameters) if parameter.node not in read)
        self._kept = [position for position in self._kept if position not in self._unread]
        self.guards = tuple(
            ValueGuard(context.inputs[place].index, tracer._concrete, location)
            for tracer, location in context.specialized.values()
            if (place := context._position(tracer)) is not None
        )
        #: What sizes the program is for: of each of the inputs `_sized` a shape of ints and symbols, and guards on those.
        self._sized = tuple([
            position
            for position, entry in enumerate(self._inputs)
            if entry.kind in ("argument", "captured", "gradient") and entry.tracer._concrete is _NO_VALUE
        ])
        self._shapes = tuple([self._inputs[position].tracer._type.shape for position in self._sized])
        self.symbols = context.symbols
        self._fitting: set[tuple[Any, ...]] = set()  # shapes that were found to fit
        self._captured, self._names = find_captures(self._inputs, function, leaves, context.labels)
        self._name_captured_sizes()
        self._required = {p: getattr(self._inputs[p].source, "requires_grad", False) for p in self._captured}
        self._met = find_captured_arguments(context.captured_arguments, function, leaves)
        met = [leaves[e.index] if e.source is None else e.source for e in self._inputs if e.kind != "gradient"]
        self._sharing = self._shared_memory(met)
        known = common_device(self.graph.name, met)
        #: Where it runs: where the tensors are that it reads, by default where new ones would be made.
        self.device = known or context.device or "cpu"
        self._donated = dict(donated)
        self._donated_inputs = [
            position
            for position, entry in enumerate(self._inputs)
            if entry.kind == "argument" and entry.index in donated and isinstance(leaves[entry.index], Array)
        ]
        self.log = CompileLog()
        self._executable: Any = None
        self._in_place: Any = None
        self._repeated: Any = None
        self._has_repeated = False
        self._lock = threading.Lock()
        self._changes_inputs = bool(self._written or self._donated_inputs)
        self.tier_record = TierRecord() if tiered else None
        self._tier = None if self.tier_record is None else Tier(self.graph, self._compile, self.tier_record)
        self._tier_of_copies: Tier | None = None
        self._apart: set[bool] = set()  # why calls updated nothing in place

    def match(self, leaves: Sequence[Any]) -> list[Any] | None:
        """The object behind each input for a call with these argument leaves; None where the graph is not for that call."""
        for guard in self.guards:
            value = leaves[guard.leaf]
            if value != guard.value or (value != value) != (guard.value != guard.value):
                return None
        sources: list[Any] = []
        for position, entry in enumerate(self._inputs):
            if entry.kind in ("argument", "base"):
                source = leaves[entry.index]
            elif entry.kind == "gradient":
                source = getattr(sources[entry.index], "_grad", None)
                if source is None or not _is_alike(source, entry.tracer._type):
                    return None
            else:
                source = self._captured[position]()
                same = source is entry.source and getattr(source, "requires_grad", False) is self._required[position]
                if not same and not _interchangeable(source, entry):
                    return None
            if position in self._without_gradient and getattr(source, "_grad", None) is not None:
                return None
            sources.append(source)
        shapes = tuple([sources[position].shape for position in self._sized])
        if shapes not in self._fitting and not self._fits(shapes):
            return None
        if any(getter() is not leaves[leaf] for getter, leaf in self._met):
            return None
        arrays = [s for s, e in zip(sources, self._inputs, strict=True) if e.kind != "gradient"]
        return sources if self._shared_memory(arrays) == self._sharing else None

    def arrays(self, leaves: Sequence[Any]) -> list[np.ndarray]:
        """What the graph's parameters are in the call that was traced, whose arguments were ``leaves``."""
        sources = self.match(leaves)
        if sources is None:
            raise TraceError(
                f"{self.graph.name}: tracing changed what the function reads, so its inputs are not to be had any more",
                hint="arguments must be arrays, not specs, and captured tensors stay in their variables",
            )
        arguments = [_argument(s, e) for s, e in zip(sources, self._inputs, strict=True)]
        return [np.array(host_array(a) if isinstance(a, Array) else a) for a in arguments]

    def _fits(self, shapes: tuple[Any, ...]) -> bool:
        bindings = bind_sizes(self._shapes, shapes)
        if bindings is None or violated_guard(self.symbols.guards, bindings) is not None:
            return False
        if len(self._fitting) >= _MOST_FITTING:
            self._fitting.clear()
        self._fitting.add(shapes)
        return True

    def _name_captured_sizes(self) -> None:
        for position, name in self._names.items():
            for axis, dim in enumerate(self._inputs[position].tracer._type.shape):
                if isinstance(dim, DimExpr):
                    self.symbols.labels[str(dim)] = f"{name}.shape[{axis}]"

    def captured_sizes(self) -> dict[int, tuple[Any, set[int]]]:
        """For the objects now found where arrays were captured, by id: the object, and the axes whose sizes are not, or need
        not be, what they were."""
        found: dict[int, tuple[Any, set[int]]] = {}
        for position, getter in self._captured.items():
            source, entry = getter(), self._inputs[position]
            dims = entry.tracer._type.shape
            if entry.kind == "captured" and len(getattr(source, "shape", ())) == len(dims):
                axes = {axis for axis, (dim, size) in enumerate(zip(dims, source.shape, strict=True)) if dim != size}
                if axes:
                    found[id(source)] = (source, axes)
        return found

    def why_not(self, leaves: Sequence[Any], labels: Sequence[str], fixed: str) -> list[Cause]:
        """Why :meth:`match` gives None for a call of the same signature. ``fixed``: why sizes may not vary."""
        causes: list[Cause] = []
        for guard in self.guards:
            value = leaves[guard.leaf]
            if value != guard.value or (value != value) != (guard.value != guard.value):
                causes.append(Cause(
                    "number", labels[guard.leaf], "value", repr(guard.value), repr(value),
                    "use it in arithmetic on arrays only, where it is a run-time number", guard.location,
                ))  # fmt: skip
        sources: list[Any] = []
        for position, entry in enumerate(self._inputs):
            if entry.kind in ("argument", "base"):
                source = leaves[entry.index]
                name = labels[entry.index]
            elif entry.kind == "gradient":
                owner = self._inputs[entry.index]
                name = f"{self._names.get(entry.index) or labels[owner.index]}.grad"
                source = getattr(sources[entry.index], "_grad", None)
                if source is None or not _is_alike(source, entry.tracer._type):
                    new = "None" if source is None else str(source.type)
                    causes.append(Cause("gradient", name, "type", str(entry.tracer._type), new, _GRADIENT_ADVICE))
                    source = None
            else:
                source, name = self._captured[position](), self._names[position]
                if source is not entry.source and not _interchangeable(source, entry):
                    causes.append(_captured_cause(source, entry, name))
                elif getattr(source, "requires_grad", False) is not self._required[position]:
                    old, new = str(self._required[position]), str(not self._required[position])
                    causes.append(Cause("captured", name, "requires_grad", old, new, "set requires_grad before the first call"))
            if position in self._without_gradient and (gradient := getattr(source, "_grad", None)) is not None:
                causes.append(Cause("gradient", f"{name}.grad", "type", "None", str(gradient.type), _GRADIENT_ADVICE))
            sources.append(source)
        if not causes:
            causes += self._why_sizes([sources[position].shape for position in self._sized], labels, fixed)
        if not causes and any(getter() is not leaves[leaf] for getter, leaf in self._met):
            name = labels[next(leaf for getter, leaf in self._met if getter() is not leaves[leaf])]
            causes.append(Cause("aliasing", name, "captured as well", "yes", "no", "pass it, or capture it, but not both"))
        if not causes:
            causes.append(Cause("aliasing", "arrays", "shared memory", "of arrays that are written", "another way",
                                "write to arrays that share no memory with others"))  # fmt: skip
        return causes

    def _why_sizes(self, shapes: Sequence[Sequence[int]], labels: Sequence[str], fixed: str) -> list[Cause]:
        causes: list[Cause] = []
        for position, dims, shape in zip(self._sized, self._shapes, shapes, strict=True):
            entry = self._inputs[position]
            name = labels[entry.index] if entry.kind == "argument" else self._names.get(position, "a gradient")
            causes += [
                size_cause(name, axis, dim, size if fixed else f"{size}, and any from now on", fixed)
                for axis, (dim, size) in enumerate(zip(dims, shape, strict=True))
                if isinstance(dim, int) and dim != size
            ]
        sizes = None if causes else bind_sizes(self._shapes, shapes)
        if sizes is not None:
            guard = violated_guard(self.symbols.guards, sizes)
            if guard is not None:
                causes.append(guard_cause(guard, self.symbols.examples, sizes, self.symbols.labels))
        return causes

    def describe_inputs(self, labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """What the user calls each input, and its type."""
        described: list[tuple[str, str]] = []
        for position, entry in enumerate(self._inputs):
            if entry.kind == "gradient":
                name = f"{described[entry.index][0]}.grad"
            else:
                name = labels[entry.index] if entry.kind in ("argument", "base") else self._names[position]
            described.append((name, str(self.graph.parameter_types[position])))
        return tuple(described)

    def _shared_memory(self, sources: Sequence[Any]) -> list[int]:
        """For each source the first one with the same memory. Of no interest where nothing is written: then it is empty."""
        if not self._written:
            return []
        first: dict[int, int] = {}
        return [first.setdefault(memory_of(source), position) for position, source in enumerate(sources)]

    def run(self, sources: Sequence[Any]) -> Any:
        """Run the graph on ``sources`` (from :meth:`match`), write back what it changed, and build the result."""
        eager: Any = context_on(self.device)
        if self.device != "cpu":
            common_device(self.graph.name, sources)
        if self._written:
            check_overlap([sources[position] for position, _, _ in self._written], sources)
        arguments = [_argument(s, e) for s, e in zip(sources, self._inputs, strict=True)]
        for position in self._donated_inputs:
            arguments[position] = eager.donation(sources[position])
        run = inspected(self.graph)
        if run is None and self._tier is not None:
            run = self._tier.reference()
        in_place = None
        if run is None:
            if self.device == "cpu" and self._changes_inputs:
                in_place = self._in_place_executable()
            run = self.executable() if in_place is None else self._run
        if self.device != "cpu":
            run = partial(_run_on, eager, run)
        results = eager.call(self.graph, run, arguments, self._kept, self._unread, self._flows, in_place)
        for position, output, flows in self._written:
            self._write_back(arguments[position], results[output], flows)
        for position, gradient in self._gradients:
            source, made = sources[position], None if gradient is None else _without_history(results[gradient])
            source._grad = made if made is None or made.context is source.context else source.context.receive(made)
        sizes: Mapping[str, int] | None = None
        if self.symbols.examples and any(output.chain for output in self._outputs):
            sizes = bind_sizes(self._shapes, [sources[position].shape for position in self._sized])
        return unflatten(self._result_tree, [self._result(o, arguments, results, sizes) for o in self._outputs])

    def repeated(self, tree: TreeDef, leaves: Sequence[Any]) -> Any:
        """What runs calls like the one with the arguments ``tree`` of ``leaves``, which :meth:`run` ran; None where a call
        has to do more than to run the graph on its arguments."""
        if not self._has_repeated and (self._tier is None or self._tier.is_over):
            pattern = self._pattern(tree, leaves) if self.device == "cpu" else None
            run = self.executable().again() if pattern is not None and isinstance(self.executable(), Executable) else None
            runs = self.executable().known_runs if run is not None else None
            self._repeated = None if run is None else cast("Any", eager_context()).repeated_call(run, runs, pattern)
            self._has_repeated = True
        return self._repeated

    def _pattern(self, tree: TreeDef, leaves: Sequence[Any]) -> CallPattern | None:
        args, kwargs = tree.children
        if kwargs.children or any(child.kind is not None for child in args.children):
            return None
        does_more = self._written or self._donated or self._gradients or self._without_gradient or self._met
        if does_more or any(o.of_input for o in self._outputs):
            return None
        values = {guard.leaf: guard.value for guard in self.guards}
        if any(value != value for value in values.values()):
            return None
        inputs = iter(self._inputs)
        arguments: list[Number | Constant | None] = []
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, Static) or not is_dynamic(leaf):
                static = leaf if isinstance(leaf, Static) else Static(leaf)
                if static.can_change:
                    return None
                arguments.append(Constant(static))
                continue
            entry = next(inputs, None)
            if entry is None or entry.kind != "argument" or entry.index != position:
                return None
            if isinstance(leaf, np.ndarray) or (isinstance(leaf, Array) and describe_leaf(leaf)[2:4] == (False, False)):
                arguments.append(None)
            elif type(leaf) in (int, float):
                arguments.append(Number(type(leaf), entry.tracer.parameter_dtype.numpy, values.get(position)))
            else:
                return None
        captured: list[Captured] = []
        for place, entry in enumerate(inputs, sum(not isinstance(a, Constant) for a in arguments)):
            if entry.kind != "captured":
                return None
            captured.append(Captured(self._captured[place], entry.source, self._required[place]))
        is_one = self._result_tree.kind is None and self._outputs[0].place == 0 and not self._outputs[0].weak
        return CallPattern(tuple(arguments), tuple(captured), None if is_one else self._build)

    def _build(self, results: list[Any]) -> Any:
        return unflatten(self._result_tree, [self._result(o, (), results) for o in self._outputs])

    def run_donating(self, sources: Sequence[Any], leaves: Sequence[Any]) -> Any:
        """:meth:`run`; then the donated tensors among the arguments ``leaves`` have no memory any more, even if it fails."""
        eager: Any = eager_context()
        donated = [(leaves[leaf], name) for leaf, name in self._donated.items() if isinstance(leaves[leaf], Array)]
        for tensor, name in donated:
            eager.check_donation(tensor, name)
        try:
            return self.run(sources)
        finally:
            location = current_location()
            for tensor, _ in donated:
                eager.donate(tensor, self.graph.name, location)

    def executable(self) -> Any:
        """The compiled graph, which changes none of its inputs; compiled at first need."""
        if self._executable is None:
            with self._lock:
                if self._executable is None:
                    known = self._in_place
                    with logging_into(self.log):
                        if known is None:
                            self._executable = compile_graph(self.graph, self.device.partition(":")[0])
                        else:
                            self._executable = known.permitted(NOTHING) if known.written else known
        return self._executable

    def _run(self, *arrays: Any) -> Any:
        """Where nothing may be updated in place after all."""
        if self._in_place is not None and len(self._apart) < 2:
            overlaps = not cast("Any", eager_context()).may_overwrite(arrays, self._in_place.written)
            if overlaps not in self._apart:
                self._apart.add(overlaps)
                self.log.copies.append(Copied("all arrays", SHARED if overlaps else RECORDED, UNKNOWN, UNKNOWN))
        run = None
        if self.tier_record is not None:
            with self._lock:
                if self._tier_of_copies is None:
                    self.tier_record.reverse = TierRecord()
                    self._tier_of_copies = Tier(self.graph, self.executable, self.tier_record.reverse)
            run = self._tier_of_copies.reference()
        return (run or self.executable())(*arrays)

    def _compile(self) -> None:
        """What the first call would compile."""
        if not self._changes_inputs or self._in_place_executable() is None:
            self.executable()

    def _in_place_executable(self) -> Any:
        """The compiled graph that writes outputs into the memory of the inputs whose new contents they are, and anything into
        donated ones; None where it would write to none."""
        if self._in_place is None:
            with self._lock:
                if self._in_place is None:
                    permissions = Permissions(in_place=True, donated=frozenset(self._donated_inputs))
                    with logging_into(self.log):
                        self._in_place = compile_graph(self.graph, permissions=permissions)
        return self._in_place if self._in_place.written else None

    def renew_lock(self) -> None:
        """In a forked child the thread that held the lock is gone."""
        self._lock = threading.Lock()

    def _write_back(self, target: Any, value: Any, flows: bool) -> None:
        if isinstance(target, Array):
            with set_grad_enabled(flows):
                context: Any = target.context
                moved = value if value.context is context else context.receive(value)
                context.replace(target, moved)
        elif target is not value._array:
            np.copyto(target, value._host_array())

    def _result(
        self, output: _Output, sources: Sequence[Any], results: Sequence[Any], sizes: Mapping[str, int] | None = None
    ) -> Any:
        if output.place is None:
            return output.value
        if not output.of_input:
            results[output.place].weak = output.weak
            return results[output.place]
        array = sources[output.place]
        if not output.chain:
            return array
        view: Any = eager_context().lift(array)
        for step in output.chain:
            attributes = dict(step.attributes)
            if sizes:
                attributes = concrete_attributes(get_primitive(step.op), attributes, sizes)
            view = bind_view(step.op, view, **attributes)
        return view


def _run_on(context: Any, run: Any, *arrays: Any) -> Any:
    return context.run(run, arrays)


def _updates_that_flow(context: TraceContext, differentiable: Sequence[Value]) -> set[int]:
    """The storages (by id) of leaves that were updated under ``no_grad`` to what a differentiable result depends on.

    Such a result is a function of two values of the leaf, and its gradient from outside of the traced function could only
    tell the one that went in.
    """
    updated = context.updated_leaves()
    found: set[int] = set()
    seen, pending = set(differentiable), list(differentiable)
    while updated and pending:
        value = pending.pop()
        if value in updated:
            found.add(id(updated[value]._storage))
        elif value.node.op.name != "stop_gradient" and value.dtype.is_inexact:
            new = [v for v in value.node.inputs if v not in seen]
            seen.update(new)
            pending += new
    return found


def _output_of(
    leaf: Any, context: TraceContext, outputs: list[Value], flows: list[bool], whole: bool, donated: Collection[int]
) -> _Output:
    if isinstance(leaf, Masked):
        raise selects_unknown(leaf.location)
    if not isinstance(leaf, Array):
        return _Output(None, False, (), False, leaf)
    tracer = leaf if isinstance(leaf, Tracer) else context.lift(leaf)
    for position, entry in enumerate(() if whole else context.inputs):
        is_array = entry.kind != "gradient" and (entry.tracer._concrete is _NO_VALUE) and entry.index not in donated
        if is_array and tracer._storage is entry.tracer._storage:
            return _Output(position, True, tracer._chain, False, None)
    outputs.append(context.lift(tracer).value)
    # As in eager mode, backward() was the last use of what it was called on, unless it was told to retain the graph.
    flows.append(tracer.requires_grad and tracer.value not in context.consumed)
    return _Output(len(outputs) - 1, False, (), tracer.weak, None)


_NO_VALUE = Tracer.NO_VALUE
_MOST_FITTING = 256  # combinations of shapes that a program remembers to fit


def _is_alike(source: Any, type_: TensorType) -> bool:
    """Whether an array has the dtype and the rank of ``type_``."""
    return as_dtype(source.dtype) is type_.dtype and len(source.shape) == type_.ndim


def _argument(source: Any, entry: Input) -> Any:
    if entry.kind in ("base", "captured base"):
        storage = source.storage()
        return eager_context().lift(source) if not source._chain else _base_tensor(source, storage)
    if isinstance(source, (int, float)) and not isinstance(source, np.generic):
        try:
            return np.asarray(source, entry.tracer.parameter_dtype.numpy)
        except OverflowError:
            raise too_large(source, entry.tracer.parameter_dtype) from None
    return source


def _base_tensor(view: Any, storage: Any) -> Any:
    """A tensor over the whole memory that ``view`` is a part of, sharing its history."""
    tensor = type(view).wrap(storage.base_array)
    tensor._storage = storage
    tensor._seen = -1
    return tensor


def _without_history(tensor: Any) -> Any:
    tensor._reference = None
    return tensor


def _interchangeable(source: Any, entry: Input) -> bool:
    """Whether another object found where a captured one was may be used instead of it."""
    traced = entry.source
    if isinstance(traced, Array):
        return (
            isinstance(source, Array)
            and not isinstance(source, Tracer)
            and _is_alike(source, entry.tracer._type if entry.kind == "captured" else source.type)
            and (entry.kind == "captured" or source.type == traced.type)
            and source.requires_grad == entry.tracer._requires_grad  # type: ignore[attr-defined]
            and (entry.kind == "captured" or source._chain == traced._chain)  # type: ignore[attr-defined]
            and source.device == traced.device  # type: ignore[attr-defined]
        )
    return (
        isinstance(source, np.ndarray)
        and _is_alike(source, entry.tracer._type)
    )


_GRADIENT_ADVICE = "the first step of a training loop finds no gradients: that costs one more trace, and no more"


def _captured_cause(source: Any, entry: Input, name: str) -> Cause:
    old, new = _type_of(entry.source), _type_of(source)
    field = "type"
    if old == new and getattr(entry.source, "device", "") != getattr(source, "device", ""):
        field, old, new = "device", str(entry.source.device), str(source.device)
    elif old == new:
        field, old, new = "requires_grad", str(entry.source.requires_grad), str(source.requires_grad)
    return Cause("captured", name, field, old, new, "pass it as an argument, or bind the name to arrays of one type")


def _type_of(source: Any) -> str:
    try:
        return str(TensorType(as_dtype(source.dtype), source.shape))
    except (AttributeError, GraphcError):
        return type(source).__name__
