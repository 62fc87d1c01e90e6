"""Tracing functions into regions: graphs within the graph that is being built, with what they read from outside made explicit.

Arrays of the surroundings (a graph, or eager tensors) that a function meets become *captures*: operands of the op that will
hold the region. Memory that the function writes in place is such a capture too; its new contents are a further result of the
region, and whoever emits the op writes them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from graphc.errors import GradientError
from graphc.frontends.array.core import astype, is_scalar, lift_in
from graphc.frontends.dispatch import Array, tracing
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Value, topological_order
from graphc.ir.types import TensorType
from graphc.locations import current_location

R = TypeVar("R")


class Capture(NamedTuple):
    """An array of the surroundings that a region reads, and what stands for it within."""

    outer: Any
    parameter: Value
    tracer: Tracer

    @property
    def is_written(self) -> bool:
        return self.tracer._storage.written > 0


class _WholeMemoryNeeded(Exception):
    """A region writes to memory that it captured as a view, or twice: what it must capture is the memory behind."""

    def __init__(self, array: Any) -> None:
        self.array = array


class Surroundings:
    """What the regions of one op have in common: where they are, and how its arrays are captured."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.wholes: dict[int, Any] = {}  # by id of a storage: an array over all of it
        self._lifted: dict[int, Any] = {}
        self._wide: dict[int, Any] = {}
        self._kept: list[Any] = []  # keeps ids unique

    def lift(self, value: Any) -> Any:
        """``value`` as an array of the surroundings; always the same one."""
        if id(value) not in self._lifted:
            self._kept.append(value)
            self._lifted[id(value)] = self.context.lift(value)
        return self._lifted[id(value)]

    def wide(self, outer: Tracer) -> Tracer:
        """A Python float in full precision."""
        assert outer._wide is not None
        if id(outer) not in self._wide:
            self._wide[id(outer)] = outer.context.array_class(outer.context, outer._wide)
        found: Tracer = self._wide[id(outer)]
        return found

    def keep_trying(self, trace: Callable[[], R]) -> R:
        """The result of ``trace``, begun anew where regions turn out to need whole memory."""
        while True:
            try:
                return trace()
            except _WholeMemoryNeeded as needed:
                storage = needed.array._storage
                self._kept.append(storage)
                self.wholes[id(storage)] = _whole(needed.array, storage)

    def trace(self, name: str, function: Callable[[RegionContext], Any]) -> Region:
        """``function(context)`` traced into a region that is still open."""
        region = RegionContext(name, self)
        with tracing(region):
            return Region(region, function(region))


class RegionContext(GraphContext):
    """Builds one region."""

    def __init__(self, name: str, around: Surroundings) -> None:
        super().__init__(name)
        self.around = around
        self.captures: list[Capture] = []
        self._of_storage: dict[int, list[Capture]] = {}  # by id of the outer storage
        self._outer_of: dict[int, Any] = {}  # by id of the inner storage
        self.given: dict[int, Value] = {}  # by id of the tracer, which may have been written since: the parameter
        self.converter = getattr(around.context, "converter", None)

    def describe(self) -> str:
        outer = self.around.context
        return outer.describe() if isinstance(outer, GraphContext) else "traced"

    def parameter(self, type_: TensorType, name: str = "", *, weak: bool = False) -> Tracer:
        """A new parameter of the region, with memory of its own."""
        tracer = Tracer(self, self.builder.parameter(type_, name, current_location()))
        tracer.weak = weak
        tracer._requires_grad = type_.dtype.is_inexact
        self.given[id(tracer)] = tracer._value
        return tracer

    # What is met inside

    def lift(self, value: Any) -> Tracer:
        if (isinstance(value, Tracer) and value.context is self) or is_scalar(value) or isinstance(value, np.generic):
            return super().lift(value)
        known = self._lifted.get(id(value))
        if known is None:
            outer = self.around.lift(value)
            known = self._lifted.get(id(outer))
            if known is None:
                known = self._stand_in(outer)
            self.remember(outer, known)
            self.remember(value, known)
        return known

    def _stand_in(self, outer: Any) -> Tracer:
        literal = _literal(outer)
        if literal is not None:
            tracer = self.literal(literal, outer.dtype, outer.weak)
        else:
            tracer = self._import(outer)
        if isinstance(outer, Tracer):
            tracer._concrete, tracer._roots = outer._concrete, outer._roots
            if outer._wide is not None:
                tracer._wide = self._add(self.around.wide(outer)).value
        return tracer

    def _import(self, outer: Any) -> Tracer:
        storage = outer._storage
        if storage is None:
            return self._add(outer)
        whole = self.around.wholes.get(id(storage))
        if whole is None:
            others = self._of_storage.setdefault(id(storage), [])
            if any(c.is_written for c in others):
                raise _WholeMemoryNeeded(outer)
            tracer = self._add(outer)
            others.append(self.captures[-1])
            self._outer_of[id(tracer._storage)] = outer
            return tracer
        base = self._bases.get(id(storage))
        if base is None:
            base = self._bases[id(storage)] = self._add(whole)
        if not outer._chain:
            return base
        tracer = self.seen_through(base, outer)
        tracer._is_leaf = False
        return tracer

    def _add(self, outer: Any) -> Tracer:
        tracer = self.parameter(outer.type, weak=outer.weak)
        tracer._requires_grad = outer.requires_grad
        self.captures.append(Capture(outer, tracer._value, tracer))
        return tracer

    def write(self, x: Any, value: Any) -> None:
        outer = self._outer_of.get(id(x._storage))
        if outer is not None and (outer._chain or len(self._of_storage[id(outer._storage)]) > 1):
            raise _WholeMemoryNeeded(outer)
        super().write(x, value)

    # What only the surroundings can do

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        self.around.context.guard(relation, lhs, rhs)

    def specialize(self, roots: Sequence[Tracer]) -> None:
        self.around.context.specialize(roots)

    def repetitions(self, operands: Sequence[Array]) -> Dim:
        reached = set(topological_order([self.lift(operand).value.node for operand in operands]))
        read = [capture.outer for capture in self.captures if capture.parameter.node in reached]
        found: Dim = self.around.context.repetitions(read)
        return found

    def backward(self, root: Any, gradient: Any) -> NoReturn:
        raise GradientError(
            "backward() within a branch or the body of a loop cannot accumulate into .grad of what is outside of it",
            hint="use gc.grad or gc.value_and_grad within, or call backward() on the result outside",
            cause=GradientError.OUTSIDE,
        )

    def set_gradient_of(self, array: Any, value: Any) -> NoReturn:
        raise GradientError(
            ".grad cannot be set within a branch or the body of a loop", hint="return the gradient, and set .grad outside",
            cause=GradientError.OUTSIDE,
        )


class Region:
    """One traced function: its context, which is still open, and what the function returned."""

    def __init__(self, context: RegionContext, result: Any) -> None:
        self.context = context
        self.result = result

    def lift(self, leaf: Any) -> Tracer:
        """A leaf of the result as an array of the region."""
        with tracing(self.context):
            lifted = lift_in(self.context, leaf)
        assert isinstance(lifted, Tracer)
        return lifted

    def convert(self, tracer: Tracer, dtype: Any) -> Tracer:
        """``tracer`` in another dtype."""
        with tracing(self.context):
            converted = astype(tracer, dtype)
        assert isinstance(converted, Tracer)
        return converted

    def zeros(self, type_: TensorType) -> Tracer:
        """Zeros of a type."""
        context = self.context
        return Tracer(context, context.builder.full(type_.shape, 0, type_.dtype))

    @property
    def written(self) -> list[Capture]:
        """The captures that the function changed in place."""
        return [c for c in self.context.captures if c.is_written]

    def graph(self, parameters: Sequence[Array], outputs: Sequence[Array]) -> Graph:
        """The region, and the end of its making. A parameter is one of the region's, or an array that is captured by this
        region or another one of the op; an output is an array of the region, or the new contents of a captured one."""
        own = {id(c.outer): c for c in self.context.captures}
        builder = self.context.builder

        def parameter(of: Any) -> Value:
            if isinstance(of, Tracer) and of.context is self.context:
                return self.context.given[id(of)]
            return own[id(of)].parameter if id(of) in own else builder.parameter(of.type)

        given = [parameter(p) for p in parameters]
        fresh = {id(p): v for p, v in zip(parameters, given, strict=True)}

        def output(of: Any) -> Value:
            if isinstance(of, Tracer) and of.context is self.context:
                return of.value
            return own[id(of)].tracer._storage.value if id(of) in own else fresh[id(of)]

        try:
            return Graph(given, [output(o) for o in outputs], effects=builder.effects, name=builder.name)
        finally:
            self.context.close()


def union_of_captures(regions: Sequence[Region]) -> list[Any]:
    """The arrays that any of ``regions`` captures, each once, but for those that nothing reads."""
    found: dict[int, Any] = {}
    for region in regions:
        for capture in region.context.captures:
            found.setdefault(id(capture.outer), capture.outer)
    return list(found.values())


def _literal(outer: Any) -> Any:
    """The value of a scalar literal, which a region can have for itself; else None."""
    if isinstance(outer, Tracer) and not outer.shape and not outer._storage.written and not outer._chain:
        node = outer._value.node
        if node.op.name == "constant":
            return node.attributes["value"]
    return None


def _whole(array: Any, storage: Any) -> Any:
    """An array over the whole memory that ``array`` is a view of."""
    if not array._chain:
        return array
    if isinstance(array, Tracer):
        return array.context.array_class(array.context, storage.value, storage, ())
    base = type(array).wrap(storage.base_array)
    base._storage = storage
    base._seen = -1
    return base
