"""Arrays that stand for values of a graph under construction, and the context that builds the graph.

A jitted function being traced and a static graph are both built here: functions, operators, views and writes on a
:class:`Tracer` emit IR nodes. Eager tensors and ndarrays that are met become inputs of the graph, with their contents at
each run, never constants.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import ConcretizationError, GradientError, InPlaceError, LeakedTracerError, TraceError
from graphc.frontends.array.core import is_scalar, scalar_dtype, show_shape
from graphc.frontends.array.methods import ArrayMethods
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.grad_mode import mode
from graphc.frontends.placement import CPU, device
from graphc.frontends.reshaping import reshapes_in_place
from graphc.frontends.sizes import Size, Sizes, plain_size
from graphc.frontends.storage import VIEW_OPS, Chain, Storage, ViewStep, apply_chain, write_through
from graphc.ir.builder import complete_attributes
from graphc.ir.dims import Dim
from graphc.ir.graph import Value
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location, is_internal_code
from graphc.passes.differentiate import backpropagate, gradient_builder
from graphc.passes.push_forward import push_forward
from graphc.runtime.devices import canonical_name

_UNKNOWN = object()
#: What needs a truth value, in messages.
CONDITION = "a Python `if`, `while`, `and`, `or`, `not`, `assert` or bool()"


class Tracer(ArrayMethods):
    """An array of a graph under construction: it has a type, and a value only when the graph runs."""

    __slots__ = (
        "__weakref__", "_chain", "_concrete", "_is_leaf", "_requires_grad", "_roots", "_seen", "_storage", "_type", "_value",
        "_wide", "context", "location", "weak",
    )  # fmt: skip
    __array_priority__ = 2000
    context: GraphContext
    NO_VALUE: ClassVar[Any] = _UNKNOWN  # what `_concrete` is for all but Python arguments and literals

    def __init__(self, context: GraphContext, value: Value, storage: Storage | None = None, chain: Chain = ()) -> None:
        self.context = context
        self._value = value
        self._type = value.type
        self._storage = Storage(value, value.type) if storage is None else storage
        self._chain = chain
        self._seen = self._storage.written
        self._requires_grad = False
        self._is_leaf = False
        self._concrete: Any = _UNKNOWN
        self._roots: tuple[Tracer, ...] = ()
        self._wide: Value | None = None  # a Python float in full precision, for use with float64 arrays
        self.weak = False
        self.location = value.node.location

    @property
    def type(self) -> TensorType:
        sizes = self.context.sizes
        return self._type if sizes is None else sizes.type(self._type)

    @property
    def dtype(self) -> DType:
        return self._type.dtype

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes. A size that may differ from call to call is a :class:`~graphc.frontends.sizes.Size` to the user's code,
        whose questions about it become guards, and an expression to graphc's own, which asks none that it does not mean."""
        sizes = self.context.sizes
        if sizes is None:
            return self._type.shape
        shape = sizes.type(self._type).shape
        return shape if is_internal_code(sys._getframe(1).f_code) else sizes.shown(shape)

    @property
    def size(self) -> Any:
        """The number of elements."""
        size, sizes = self.type.size, self.context.sizes
        if sizes is None or isinstance(size, int) or is_internal_code(sys._getframe(1).f_code):
            return size
        return Size(sizes, size)

    @property
    def device(self) -> device:
        """Where the graph will run, where that is known: a static graph's Session decides."""
        return CPU if self.context.device is None else device(self.context.device)

    @property
    def is_cuda(self) -> bool:
        """Whether the graph will run on a GPU."""
        return self.device.type == "cuda"

    def _moved(self, name: Any) -> Any:
        wanted, here = canonical_name(name), self.context.device
        if here is not None and wanted != here:
            raise TraceError(
                f"an array of type {self.type} was to be moved to {wanted} within a traced function that runs on {here}",
                hint="a traced function runs on the device of its arguments: move them before the call",
            )
        return self

    @property
    def value(self) -> Value:
        """The IR value it stands for now: after a write through a view, the newest."""
        self.context.check_usable(self)
        if self._storage.written != self._seen:
            self._seen = self._storage.written
            self._value = apply_chain(self._storage.value, self._chain, self.context.emit)
        sizes = self.context.sizes
        if sizes is not None and sizes.equal and self._value.type != (type_ := sizes.type(self._type)):
            self._value = self.context.emit("reshape", self._value, shape=type_.shape)  # the same sizes, by a guard
        return self._value

    @property
    def parameter_dtype(self) -> DType:
        """The dtype in which the graph takes it: Python floats come in float64."""
        return self.dtype if self._wide is None else self._wide.dtype

    # Autograd inside a graph

    @property
    def requires_grad(self) -> bool:
        """Whether a leaf that requires a gradient flows into this value."""
        return self._requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> Tracer:
        """Make this value a leaf of differentiation (or stop it being one)."""
        if requires_grad and not self.dtype.is_inexact:
            raise GradientError(f"only floating arrays can require gradients, not {self.type}")
        self._requires_grad = requires_grad
        self._is_leaf = requires_grad
        if requires_grad:
            self.context.add_leaf(self)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf of differentiation, or takes no part in it."""
        return self._is_leaf or not self._requires_grad

    @property
    def grad(self) -> Any:
        """The gradient accumulated by ``backward()`` within this graph."""
        return self.context.gradient_of(self)

    @grad.setter
    def grad(self, value: Any) -> None:
        self.context.set_gradient_of(self, value)

    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Accumulate gradients into the leaves, as nodes of this graph."""
        self.context.backward(self, gradient)
        if not (retain_graph or create_graph):
            self.context.consumed.add(self.value)

    def detach(self) -> Array:
        """A view of the same value through which no gradient flows."""
        return self.context.stop_gradient(self)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate value."""
        self.context.add_leaf(self)

    # What only a run can know

    def _needs_value(self, what: str) -> Any:
        if self._concrete is not _UNKNOWN:
            self.context.specialize(self._roots)
            return self._concrete
        self.context.concretize(self, what)

    def _write(self, value: Any, what: str) -> Any:
        if self.weak and isinstance(value, Array):  # a Python number, which does not change: `n += 1` makes another one
            return value
        return super()._write(value, what)

    def __bool__(self) -> bool:
        return bool(self._needs_value(CONDITION))

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise ConcretizationError(f"only an integer can be used as an index or size, not {self.type}")
        return int(self._needs_value("an index, size or range()"))

    def __int__(self) -> int:
        return int(self._needs_value("int()"))

    def __float__(self) -> float:
        return float(self._needs_value("float()"))

    def item(self) -> Any:
        """The only element; known while building the graph only for Python arguments."""
        return self._needs_value(".item()")

    def tolist(self) -> Any:
        """Unknown while the graph is built."""
        return self._needs_value(".tolist()")

    def numpy(self) -> NoReturn:
        """Unknown while the graph is built."""
        self.context.concretize(self, ".numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        self.context.concretize(self, "np.asarray() or a NumPy function")

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return self.copy()

    def __reduce__(self) -> NoReturn:
        self.context.concretize(self, "pickle")

    def __repr__(self) -> str:
        name = self._value.node.name
        return f"<{self.context.describe()} array{' ' + name if name else ''} {self.type}>"

    def __format__(self, spec: str) -> str:
        return repr(self)


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
            array = np.asarray(value)
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
        with np.errstate(all="ignore"):
            array = np.asarray(value).astype(dtype.numpy)
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
        if operands and len(tracers) == 1 and op.elementwise and all(t._concrete is not _UNKNOWN for t in operands):
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
        arrays = [np.asarray(t._concrete).astype(t.dtype.numpy) for t in operands]
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
            )
        if gradient is None:
            if root.size != 1:
                raise GradientError(
                    f"backward() without a gradient needs a scalar, and this array has shape {show_shape(root.shape)}",
                    hint="reduce it first, for example loss.mean().backward(), or pass gradient=",
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
        raise ConcretizationError(
            f"{what} needs the value of an array of type {array.type}, which is not known while the graph is being built"
            + (f"\n  the array was made at {array.location}" if isinstance(array, Tracer) and array.location.line else ""),
            hint=hint,
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
        )


def as_traced(function: Any) -> Any:
    """``function`` as the graph under construction in this thread, if any, calls it."""
    context = active_trace()
    return context.converted(function) if isinstance(context, GraphContext) else function
