"""Building graphs, one typed node at a time.

>>> b = Builder("scale")
>>> x = b.parameter(TensorType(float32, (3,)), "x")
>>> g = b.finish([b.mul(x, b.full_like(x, 2.0))])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import ArgumentError
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Guard, Node, Value, held_graphs
from graphc.ir.primitive import (
    Primitive,
    SubgraphDifferentiator,
    SubgraphForwardDifferentiator,
    SubgraphVectorizer,
    get_primitive,
)
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location


class Builder:
    """Makes nodes with inferred types. ``b.name_of_primitive(*operands, **attributes)`` emits any primitive.

    ``location``: where new nodes say they come from; None (the default) finds the user's line at each call.
    """

    def __init__(
        self,
        name: str = "main",
        *,
        location: Location | None = None,
        differentiate: SubgraphDifferentiator | None = None,
        differentiate_forward: SubgraphForwardDifferentiator | None = None,
        vectorize: SubgraphVectorizer | None = None,
    ) -> None:
        self.name = name
        self.location = location
        self.differentiate = differentiate
        self.differentiate_forward = differentiate_forward
        self.vectorize = vectorize
        self.parameters: list[Value] = []
        self.effects: list[Node] = []
        self.guards: list[Guard] = []

    def parameter(self, type_: TensorType, name: str = "", location: Location | None = None) -> Value:
        """A new parameter of the graph."""
        node = Node(get_primitive("parameter"), (), {}, (type_,), location or self._where(), name)
        value = Value(node, 0)
        self.parameters.append(value)
        return value

    def constant(self, value: Any, dtype: DType | None = None) -> Value:
        """A literal array. It is copied and read-only from then on."""
        array = np.array(value, dtype=None if dtype is None else dtype.numpy)
        array.setflags(write=False)
        type_ = TensorType(as_dtype(array.dtype), array.shape)
        return Value(Node(get_primitive("constant"), (), {"value": array}, (type_,), self._where()), 0)

    def full(self, shape: Sequence[Dim], value: float, dtype: DType) -> Value:
        """``shape`` filled with a literal: a scalar constant, broadcast."""
        scalar = self.constant(value, dtype)
        return scalar if not shape else self.emit_one("broadcast_in_dim", scalar, shape=tuple(shape), dims=())

    def full_like(self, x: Value, value: float) -> Value:
        """A literal of the type of ``x``."""
        return self.full(x.shape, value, x.dtype)

    def zeros_like(self, x: Value) -> Value:
        return self.full_like(x, 0)

    def emit(self, op: Primitive | str, *operands: Value, name: str = "", **attributes: Any) -> tuple[Value, ...]:
        """Apply a primitive, giving its results. Types are inferred, so a wrong operand is an error at the user's line."""
        primitive = get_primitive(op) if isinstance(op, str) else op
        attributes = complete_attributes(primitive, attributes)
        types = primitive.infer(tuple([v.type for v in operands]), **attributes)
        node = Node(primitive, operands, attributes, types, self._where(), name)
        if primitive.effect or (primitive.regions and any(g.effects for g in held_graphs(attributes))):
            self.effects.append(node)
        return node.results

    def emit_one(self, op: Primitive | str, *operands: Value, **attributes: Any) -> Value:
        """:meth:`emit` for a primitive with one result."""
        (result,) = self.emit(op, *operands, **attributes)
        return result

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            primitive = get_primitive(name)
        except ArgumentError:
            raise AttributeError(f"Builder has no method and graphc no primitive called {name!r}") from None

        def emit(*operands: Value, **attributes: Any) -> Any:
            results = self.emit(primitive, *operands, **attributes)
            return results[0] if len(results) == 1 else results

        return emit

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        """Record that ``lhs relation rhs`` must hold at run time (once, however often it is said)."""
        if lhs != rhs and not any((g.relation, g.lhs, g.rhs) == (relation, lhs, rhs) for g in self.guards):
            self.guards.append(Guard(relation, lhs, rhs, self._where()))

    def finish(self, outputs: Iterable[Value], *, aliases: Mapping[int, int] | None = None) -> Graph:
        """The graph from the parameters made so far to ``outputs``."""
        return Graph(
            self.parameters, outputs, effects=self.effects, aliases=aliases, guards=self.guards, name=self.name
        )

    @contextmanager
    def at(self, location: Location) -> Iterator[Builder]:
        """Within the block, new nodes carry ``location`` (a pass keeps the line of what it rewrites)."""
        saved, self.location = self.location, location
        try:
            yield self
        finally:
            self.location = saved

    def _where(self) -> Location:
        return self.location if self.location is not None else current_location(2)


def complete_attributes(primitive: Primitive, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """``attributes`` in the primitive's order, with defaults, lists made tuples, arrays read-only. Others: ArgumentError."""
    unknown = [name for name in attributes if name not in primitive.attributes]
    if unknown:
        raise ArgumentError(
            f"{primitive.name} has no attribute {unknown[0]!r}; it takes {primitive.attributes}", cause=ArgumentError.COUNT
        )
    complete: dict[str, Any] = {}
    for name in primitive.attributes:
        if name in attributes:
            complete[name] = _frozen(attributes[name])
        elif name in primitive.defaults:
            complete[name] = primitive.defaults[name]
        else:
            raise ArgumentError(f"{primitive.name} needs the attribute {name!r}")
    return complete


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in cast("Sequence[Any]", value))
    if isinstance(value, np.ndarray):
        return _read_only(value)
    return value.item() if isinstance(value, np.generic) else value


def _read_only(array: np.ndarray) -> np.ndarray:
    if not array.flags.writeable:
        return array
    copy = array.copy()
    copy.setflags(write=False)
    return copy
