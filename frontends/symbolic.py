"""The context that builds a graph out of what is done to arrays.

A jitted function being traced and a static graph are both built here: functions, operators, views and writes on a
:class:`~graphc.frontends.tracer.Tracer` emit IR nodes. Eager tensors and ndarrays that are met become inputs of the graph, with
their contents at each run, never constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import ConcretizationError, GradientError, InPlaceError, LeakedTracerError
from graphc.frontends.array.core import is_scalar, numbers, scalar_dtype, show_shape, too_large
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.grad_mode import mode
from graphc.frontends.reshaping import reshapes_in_place
from graphc.frontends.sizes import Size, Sizes, plain_size
from graphc.frontends.storage import VIEW_OPS, Chain, ViewStep, apply_chain, write_through
from graphc.frontends.tracer import CONDITION, INDEX, Tracer
from graphc.ir.builder import complete_attributes
from graphc.ir.dims import Dim
from graphc.ir.graph import Value
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location
from graphc.passes.differentiate import backpropagate, gradient_builder
from graphc.passes.push_forward import push_forward

_CAUSES = {CONDITION: ConcretizationError.CONDITION, INDEX: ConcretizationError.INDEX}


class Captured(NamedTuple):
    """An eager tensor or ndarray that a graph reads: an input that the user did not pass."""

    source: Any
    parameter: Value
    tracer: Tracer
    is_base: bool  # the parameter is the memory that `source` is a view of


class Converter(Protocol):
    """Who makes the user's functions fit to be traced, if anybody does."""

    def convert(self, function: Any) -> Any:
        """``function``, with its control flow on arrays converted where it can be."""

    def advice(self, array: Any) -> str:
        """What to do where code that was not converted asks whether ``array`` is true."""


class GraphContext:
    """Builds one graph from array operations."""

    array_class: ClassVar[type[Tracer]] = Tracer  # what its arrays are
    device: str | None = None  # where it will run, if that is known while it is built
    sizes: Sizes | None  # those that may differ from run to run, where there are some

    def __init__(self, name: str) -> None:
        outer: Any = active_trace()
        self.sizes = getattr(outer, "sizes", None)  # a graph within a traced function has that one's sizes
        self.builder = gradient_builder(name)
        self.builder.location = None
        self.name = name
        self.captured: list[Captured] = []
        self.closed = False
        self._lifted: dict[int, Tracer] = {}
        self._bases: dict[int, Tracer] = {}
        self._kept: list[Any] = []  # keeps ids unique while the graph is built
        self.consumed: set[Value] = set()  # what backward() was called on without retaining the graph
        self._leaves: dict[int, tuple[Tracer, list[Value]]] = {}
        self._gradients: dict[int, Any] = {}
        self.specialized: dict[int, tuple[Tracer, Location]] = {}
        self.converter: Converter | None = None

    def converted(self, function: Any) -> Any:
        """``function`` with the Python control flow in it made ready for arrays of this graph."""
        return function if self.converter is None else self.converter.convert(function)

    def describe(self) -> str:
        """How messages call an array of this graph."""
        return "traced"

    # The context protocol

    def lift(self, value: Any) -> Tracer:
        if isinstance(value, Tracer):
            if value.context is not self:
                self.foreign(value)
            return value
        if isinstance(value, Size):
            return self.number(value)
        if is_scalar(value):
            return self.literal(value, scalar_dtype(value), weak=True)
        if isinstance(value, np.generic):
            return self.literal(value, as_dtype(value.dtype))
        known = self._lifted.get(id(value))
        if known is None:
            known = self.capture(value)
            self.remember(value, known)
        return known

    def number(self, size: Size) -> Tracer:
        """A size as a number that the graph reads at run time, which yields in promotion as a Python int does."""
        tracer = self.array_class(self, self.builder.emit_one("dimension", dim=plain_size(size)))
        tracer.weak = True
        return tracer

    def capture(self, value: Any) -> Tracer:
        """Make an eager tensor or ndarray an input of the graph."""
        if not isinstance(value, Array):
            array = numbers(value)
            if array is not value:
                return self.literal(array, as_dtype(array.dtype))
            type_ = self.captured_type(array, TensorType(as_dtype(array.dtype), array.shape))
            parameter = self.builder.parameter(type_, "", current_location())
            return self._add_captured(value, parameter, False)
        tensor: Any = value
        storage = tensor._storage
        chain: Chain = tensor._chain
        base = self._bases.get(id(storage))
        if storage is None or (not chain and (base is None or tensor.requires_grad)):
            parameter = self.builder.parameter(self.captured_type(tensor, tensor.type), "", current_location())
            return self._add_captured(tensor, parameter, False)
        if base is None:
            parameter = self.builder.parameter(storage.base_type, "", current_location())
            base = self._add_captured(tensor, parameter, True)
            self._bases[id(storage)] = base
            self._kept.append(storage)
        return self.seen_through(base, tensor)

    def captured_type(self, source: Any, type_: TensorType) -> TensorType:
        """The type of the parameter for ``source``, an array of ``type_``."""
        return type_

    def seen_through(self, base: Tracer, tensor: Any) -> Tracer:
        """``tensor`` as the view of ``base`` that it is."""
        chain: Chain = tensor._chain
        tracer = self.array_class(self, apply_chain(base.value, chain, self.emit), base._storage, chain)
        self._mark_leaf(tracer, tensor)
        return tracer

    def remember(self, source: Any, tracer: Tracer) -> None:
        """Let ``tracer`` stand for ``source`` wherever it is met."""
        self._lifted[id(source)] = tracer
        self._kept.append(source)

    def _add_captured(self, source: Any, parameter: Value, is_base: bool) -> Tracer:
        tracer = self.array_class(self, parameter)
        self.captured.append(Captured(source, parameter, tracer, is_base))
        if not is_base and isinstance(source, Array):
            self._mark_leaf(tracer, source)
            storage = source._storage  # type: ignore[attr-defined]
            if storage is not None:
                self._bases[id(storage)] = tracer
                self._kept.append(storage)
        return tracer

    def _mark_leaf(self, tracer: Tracer, tensor: Any) -> None:
        tracer.weak = tensor.weak
        if tensor.requires_grad:
            tracer._requires_grad = True
            tracer._is_leaf = tensor.is_leaf
            self.add_leaf(tracer)

    def literal(self, value: Any, dtype: DType, weak: bool = False) -> Tracer:
        try:
            with np.errstate(all="ignore"):
                array = np.asarray(value).astype(dtype.numpy)
        except OverflowError:
            raise too_large(value, dtype) from None
        tracer = self.array_class(self, self.builder.constant(array))
        tracer.weak = weak
        if not array.shape:
            tracer._concrete = array.item() if array.dtype.kind != "V" else float(array)
        return tracer

    def emit(self, op: str, *values: Value, **attributes: Any) -> Value:
        """Add a node with one result."""
        self.check_open()
        return self.builder.emit_one(op, *values, **attributes)

    def bind(self, op: Primitive, operands: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tracer, ...]:
        self.check_open(operands)
        if op.name in VIEW_OPS:
            return (self.view(operands[0], op, attributes),)
        values = [t.value for t in operands]
        if op.name == "convert_element_type" and operands[0]._wide is not None:
            values = [operands[0]._wide]
            if values[0].dtype is attributes["dtype"]:
                return (self.array_class(self, values[0]),)
        results = self.builder.emit(op, *values, **attributes)
        tracers = tuple([self._result(r, operands) for r in results])
        if operands and all(t.weak for t in operands) and op.name != "convert_element_type":
            for tracer in tracers:
                tracer.weak = True
        if operands and len(tracers) == 1 and op.elementwise and all(t._concrete is not Tracer.NO_VALUE for t in operands):
            self._follow(op, operands, attributes, tracers[0])
        return tracers

    def _result(self, value: Value, operands: Sequence[Tracer]) -> Tracer:
        flows = value.dtype.is_inexact and any(t._requires_grad for t in operands)
        if flows and not mode.enabled:
            value = self.emit("stop_gradient", value)
            flows = False
        tracer = self.array_class(self, value)
        tracer._requires_grad = flows
        return tracer

    def _follow(self, op: Primitive, operands: Sequence[Tracer], attributes: Any, result: Tracer) -> None:
        """Keep what is known of arithmetic on Python arguments, so that `if n > 3:` can be decided (under a guard)."""
        try:
            arrays = [np.asarray(t._concrete).astype(t.dtype.numpy) for t in operands]
        except OverflowError:  # an int that its dtype cannot hold: a run says so
            return
        result._concrete = np.asarray(op.evaluate(*arrays, **complete_attributes(op, attributes))).item()
        result._roots = tuple({id(r): r for t in operands for r in t._roots}.values())

    def view(self, x: Any, op: Primitive, attributes: dict[str, Any]) -> Tracer:
        value = self.builder.emit_one(op, x.value, **attributes)
        step = ViewStep.of(op.name, complete_attributes(op, attributes), x.type)
        if op.name == "reshape" and not reshapes_in_place(x, value.shape):
            result = self.array_class(self, value)
        else:
            result = self.array_class(self, value, x._storage, (*x._chain, step))
        result.weak = x.weak
        result._requires_grad = x._requires_grad and op.name != "stop_gradient"
        if not value.shape and not x.shape:
            result._concrete, result._roots = x._concrete, x._roots
        return result

    def copy(self, x: Any) -> Tracer:
        result = self.array_class(self, x.value)
        result._requires_grad = x._requires_grad
        return result

    def write(self, x: Any, value: Any) -> None:
        self.check_open()
        if any(step.op == "broadcast_in_dim" for step in x._chain):
            raise InPlaceError(
                "this array is a broadcast view, in which several elements are one: it cannot be written in place",
                hint="take a copy() first, or write to the array it was broadcast from",
            )
        detached = not mode.enabled or any(step.op == "stop_gradient" for step in x._chain)
        if x._is_leaf and x._requires_grad and not detached:
            raise InPlaceError(
                "a leaf that requires_grad is changed in place, which its own gradient cannot follow",
                hint="wrap the update in `with gc.no_grad():`, or write to a copy()",
                cause=InPlaceError.LEAF,
            )
        storage = x._storage
        new = value.value
        if new.type != x._type:  # sizes that a guard says are equal
            new = self.emit("reshape", new, shape=x._type.shape)
        storage.value = write_through(storage.value, x._chain, new, self.emit)
        storage.written += 1
        if value._requires_grad and not detached:
            x._requires_grad = True
        for leaf, values in self._leaves.values():
            if leaf._is_leaf and leaf._storage is storage:
                values.append(leaf.value)

    def updated_leaves(self) -> dict[Value, Tracer]:
        """The values that leaves were given by writes that autograd does not see, as under ``no_grad``."""
        return {v: leaf for leaf, values in self._leaves.values() if leaf._is_leaf for v in values[1:]}

    def repeats_operands(self, operands: Sequence[Array]) -> bool:
        return False  # the IR is strict

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        self.builder.guard(relation, lhs, rhs)

    def stop_gradient(self, x: Any) -> Array:
        return self.view(self.lift(x), get_primitive("stop_gradient"), {})

    def repetitions(self, operands: Sequence[Array]) -> Dim:
        return 1

    # Gradients within the graph

    def add_leaf(self, tracer: Tracer) -> None:
        """Accumulate gradients for ``tracer`` in :meth:`backward`."""
        if id(tracer) not in self._leaves:
            self._leaves[id(tracer)] = (tracer, [tracer.value])

    def backward(self, root: Any, gradient: Any) -> None:
        """Add the gradient nodes of ``root`` and accumulate them into the leaves."""
        if not root._requires_grad:
            raise GradientError(
                f"this array ({root.type}) does not depend on any leaf that requires_grad",
                hint="set requires_grad=True on the parameters; no_grad() and detach() cut gradients",
                cause=GradientError.UNCONNECTED,
            )
        if gradient is None:
            if root.size != 1:
                raise GradientError(
                    f"backward() without a gradient needs a scalar, and this array has shape {show_shape(root.shape)}",
                    hint="reduce it first, for example loss.mean().backward(), or pass gradient=",
                    cause=GradientError.NOT_SCALAR,
                )
            seed = self.builder.full_like(root.value, 1)
        else:
            seed = self.lift(gradient).value
        pairs = [(leaf, v) for leaf, values in self._leaves.values() for v in values]
        # A leaf that was updated under no_grad stands for all its values, and none of them flows into another.
        leaves = [v for leaf, v in pairs if leaf._is_leaf]
        flows = self.cotangents([(root.value, seed)], [v for _, v in pairs], leaves)
        for (leaf, _), flow in zip(pairs, flows, strict=True):
            if flow is None:
                continue
            previous = self.gradient_of(leaf)
            self._gradients[id(leaf)] = self.array_class(
                self, flow if previous is None else self.emit("add", self.lift(previous).value, flow)
            )

    def cotangents(
        self, seeds: Sequence[tuple[Value, Value]], wrt: Sequence[Value], frontier: Sequence[Value] = ()
    ) -> list[Value | None]:
        """The gradients of ``wrt`` as nodes of this graph; each keeps the line of the op it differentiates."""
        try:
            return backpropagate(self.builder, seeds, wrt, frontier=frontier)
        finally:
            self.builder.location = None

    def tangents(self, seeds: Sequence[tuple[Value, Value]], wanted: Sequence[Value]) -> list[Value | None]:
        """The tangents of ``wanted`` as nodes of this graph, given those of the values in ``seeds``."""
        try:
            return push_forward(self.builder, seeds, wanted)
        finally:
            self.builder.location = None

    def gradient_of(self, array: Any) -> Any:
        """``array.grad`` while this graph is built."""
        tracer = self.lift(array)
        return self._gradients.get(id(tracer))

    def set_gradient_of(self, array: Any, value: Any) -> None:
        """``array.grad = value`` while this graph is built."""
        tracer = self.lift(array)
        self._gradients[id(tracer)] = None if value is None else self.lift(value)

    # What a graph cannot do

    def specialize(self, roots: Sequence[Tracer]) -> None:
        """The Python values of ``roots`` were needed: this graph is for these values only."""
        for root in roots:
            self.specialized.setdefault(id(root), (root, current_location()))

    def concretize(self, array: Any, what: str) -> NoReturn:
        """Raise for a value that only a run can know."""
        hint = "choose with gc.where(condition, a, b), do it outside of the graph, or pass it as a static argument"
        if what == CONDITION and self.converter is not None:
            hint = self.converter.advice(array)
        elif _CAUSES.get(what) is ConcretizationError.INDEX:
            hint = (
                "index an array, not a list: gc.stack(values)[i] or gc.tensor(values)[i]; a size must be known while tracing: "
                "pass it as a static argument"
            )
        raise ConcretizationError(
            f"{what} needs the value of an array of type {array.type}, which is not known while the graph is being built"
            + (f"\n  the array was made at {array.location}" if isinstance(array, Tracer) and array.location.line else ""),
            hint=hint,
            cause=_CAUSES.get(what),
        )

    def close(self) -> None:
        """The graph is complete. The arrays that were met while it was built are let go."""
        self.closed = True
        self._kept.clear()
        self._lifted.clear()

    def check_open(self, operands: Sequence[Tracer] = ()) -> None:
        """Raise where the graph is complete; an operand that was kept is named."""
        if self.closed:
            for operand in operands:
                self.check_usable(operand)
            raise LeakedTracerError(f"the graph {self.name} is complete: nothing can be added to it")

    def check_usable(self, tracer: Tracer) -> None:
        """Raise for a tracer that outlived its trace."""
        if self.closed:
            raise LeakedTracerError(
                f"an array of type {tracer.type} was kept from the traced function {self.name} and used after it ended"
                f"\n  it was made at {tracer.location}",
                hint="return it from the function instead of storing it in a global, an attribute or a list",
            )

    def foreign(self, tracer: Tracer) -> NoReturn:
        """Raise for an array of another graph."""
        tracer.context.check_usable(tracer)
        raise LeakedTracerError(
            f"an array of type {tracer.type} belongs to the graph {tracer.context.name}, and was used in {self.name}",
            hint="pass it as an argument",
            cause=LeakedTracerError.FOREIGN,
        )


def as_traced(function: Any) -> Any:
    """``function`` as the graph under construction in this thread, if any, calls it."""
    context = active_trace()
    return context.converted(function) if isinstance(context, GraphContext) else function
