"""A graph that is built in the midst of another program, by a transform that traces its function at each call.

What the function reads from around it, in whatever mode that runs, becomes a parameter of the graph. Once the graph has been
transformed, :func:`replay` applies its ops in the surrounding context: at once, or as nodes of the graph that is built there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import GradientError, GraphcError, InPlaceError
from graphc.frontends.dispatch import Array, Context, active_trace, context_of
from graphc.frontends.storage import VIEW_OPS, Storage
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location


class Outside(NamedTuple):
    """A parameter of a nested graph: the array of the surrounding program that it stands for."""

    source: Any
    parameter: Value
    tracer: Tracer


class NestedContext(GraphContext):
    """Builds the graph of a function that a transform calls while another context is in charge."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.outsides: list[Outside] = []  # in the order of the parameters
        self._surrounding = active_trace()
        self._writes: list[tuple[Storage, Value]] = []

    @property
    def outer(self) -> Context:
        """Where the surrounding program runs."""
        return self._surrounding or context_of([outside.source for outside in self.outsides])

    @property
    def is_in_eager_code(self) -> bool:
        """Whether the surrounding program, beyond other nested graphs, executes at once."""
        around = self._surrounding
        return around.is_in_eager_code if isinstance(around, NestedContext) else around is None

    def argument(self, source: Any, type_: TensorType, name: str = "") -> Tracer:
        """A parameter of ``type_`` that stands for ``source``, or for a part of it."""
        parameter = self.builder.parameter(type_, name, current_location())
        tracer = Tracer(self, parameter)
        self.outsides.append(Outside(source, parameter, tracer))
        if isinstance(source, Array):
            tracer.weak = source.weak
            tracer._requires_grad = bool(source.requires_grad)  # type: ignore[attr-defined]
        return tracer

    def lift(self, value: Any) -> Tracer:
        if not isinstance(value, Tracer) or value.context is self:
            return super().lift(value)
        value.context.check_usable(value)
        known = self._lifted.get(id(value))
        if known is None:
            known = self.capture(value)
            self.remember(value, known)
        return known

    def capture(self, value: Any) -> Tracer:
        if not isinstance(value, Array):
            array = np.asarray(value)
            if array is not value:
                return self.literal(array, as_dtype(array.dtype))
            return self.argument(value, TensorType(as_dtype(array.dtype), array.shape))
        tracer = self.argument(value, value.type)
        if tracer._requires_grad and value.is_leaf:  # type: ignore[attr-defined]
            tracer._is_leaf = True
            self.add_leaf(tracer)
        if isinstance(value, Tracer):
            tracer._concrete, tracer._roots = value._concrete, value._roots
            if value._wide is not None:
                wide = value.context.array_class(value.context, value._wide)
                tracer._wide = self.argument(wide, wide.type).value
        return tracer

    def specialize(self, roots: Sequence[Tracer]) -> None:
        for root in roots:
            root.context.specialize([root])

    def gradient_of(self, array: Any) -> Any:
        tracer = self.lift(array)
        if id(tracer) in self._gradients:
            return self._gradients[id(tracer)]
        for outside in self.outsides:
            if outside.tracer is tracer and isinstance(outside.source, Array):
                if isinstance(self._surrounding, GraphContext):
                    return self._surrounding.gradient_of(outside.source)
                return getattr(outside.source, "_grad", None) if not isinstance(outside.source, Tracer) else outside.source.grad
        return None

    def check_gradients(self, what: str) -> None:
        """Raise where ``backward()`` accumulated into an array from around the function."""
        for outside in self.outsides:
            if id(outside.tracer) in self._gradients:
                raise GradientError(
                    f"{what}: backward() within it would change the .grad of an array of type {outside.tracer.type} from "
                    "outside of the function",
                    hint="use gc.grad or gc.value_and_grad inside, or call backward() on the result",
                    cause=GradientError.OUTSIDE,
                )

    def write(self, x: Any, value: Any) -> None:
        super().write(x, value)
        self._writes.append((x._storage, x._storage.value))

    def changes(self, what: str) -> list[tuple[Outside, Value]]:
        """The arrays from around the function that it writes to, and what they become, write by write.

        Raises InPlaceError where another array that it reads shares their memory.
        """
        by_storage = {id(o.tracer._storage): o for o in self.outsides}
        changes = [(by_storage[id(storage)], value) for storage, value in self._writes if id(storage) in by_storage]
        outer = self.outer
        if not isinstance(outer, GraphContext):  # the values in between are of interest to a graph alone
            changes = list({o.parameter: (o, value) for o, value in changes}.values())
        for outside in {o.parameter: o for o, _ in changes}.values():
            for other in self.outsides:
                if other is not outside and _shares_memory(outer, outside.source, other.source):
                    raise InPlaceError(
                        f"{what} writes in place to an array of type {outside.tracer.type} whose memory it also reads as "
                        "another array",
                        hint="pass a copy() of one of them, or return the new value instead of writing it",
                        cause=InPlaceError.SHARED,
                    )
        return changes


def _shares_memory(outer: Context, one: Any, other: Any) -> bool:
    a: Any
    b: Any
    a, b = outer.lift(one), outer.lift(other)
    if isinstance(a, Tracer):
        return a._storage is b._storage
    if type(a) is not type(b):
        return False
    return bool(a.shares_memory(b))


def replay(graph: Graph, operands: Sequence[Array], context: Context) -> list[Array]:
    """The outputs of ``graph``, its ops applied one by one in ``context``. Nodes and errors keep the lines of the graph's."""
    values: dict[Value, Array] = dict(zip(graph.parameters, operands, strict=True))
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        with at_location(context, node.location):
            if node.op.name == "constant":
                results: tuple[Array, ...] = (context.literal(node.attributes["value"], node.types[0].dtype),)
            else:
                results = context.bind(node.op, [values[v] for v in node.inputs], dict(node.attributes))
        values.update(zip(node.results, results, strict=True))
    made_views = {o for o in graph.outputs if o.node.op.name in VIEW_OPS or o.node.op.name == "parameter"}
    return [context.copy(values[o]) if o in made_views else values[o] for o in graph.outputs]


@contextmanager
def at_location(context: Context, location: Location) -> Iterator[None]:
    """Within the block, what ``context`` makes and raises is at ``location``."""
    if not location.line:
        yield
    elif isinstance(context, GraphContext):
        with context.builder.at(location):
            yield
    else:
        try:
            yield
        except GraphcError as error:
            error.location = location
            raise
