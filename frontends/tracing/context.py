"""The context that traces one call of a function, and what it learns about the graph's inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import as_dtype, float32, float64, int64
from graphc.errors import ShapeError
from graphc.frontends.array.core import is_scalar
from graphc.frontends.dispatch import Array
from graphc.frontends.sizes import Size, Sizes, plain_size, plain_sizes
from graphc.frontends.spec import Spec
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.signature import is_dynamic, shared_memory
from graphc.ir.dims import Dim, DimExpr
from graphc.ir.graph import Graph, Value
from graphc.ir.primitive import Primitive
from graphc.ir.types import TensorType
from graphc.locations import current_location
from graphc.passes.specialize import unify_sizes


class Input:
    """One parameter of a traced graph: where its array comes from at a call, and the tracer that stood for it.

    ``kind``: "argument" (leaf ``index`` of the arguments), "base" (the memory that argument is a view of), "captured"
    (``source``), "captured base", or "gradient" (``.grad`` of the input at position ``index``).
    """

    __slots__ = ("index", "kind", "source", "tracer")

    def __init__(self, kind: str, tracer: Tracer, index: int = -1, source: Any = None) -> None:
        self.kind = kind
        self.tracer = tracer
        self.index = index
        self.source = source


class Varying(NamedTuple):
    """Which sizes are symbols: for a leaf of the arguments or a captured object (by id), its axes, and the name where the
    user gave one (else an empty string)."""

    arguments: Mapping[int, Mapping[int, str]] = {}
    captures: Mapping[int, Collection[int]] = {}


class TraceContext(GraphContext):
    """Builds the graph of one traced function."""

    def __init__(self, name: str, varying: Varying | None = None) -> None:
        super().__init__(name)
        self.sizes = None
        self.symbols = Sizes(self)
        self._varying = varying or Varying()
        self._declared: dict[str, DimExpr] = {}  # sizes that the user named
        self.inputs: list[Input] = []
        self.without_gradient: set[int] = set()  # positions of inputs whose .grad was read as None
        self.captured_arguments: set[int] = set()  # leaves that the function reads from elsewhere as well
        self._argument_ids: dict[int, int] = {}
        self.labels: Sequence[str] = ()
        self._size_numbers: dict[int, tuple[Tracer, Dim]] = {}  # by the id of the number that stands for a size

    def describe(self) -> str:
        return "traced"

    def arguments(self, leaves: Sequence[Any], names: Sequence[str], labels: Sequence[str] = ()) -> list[Any]:
        """What the function is called with: tracers for arrays and numbers, static leaves as they are.

        ``names`` are the parameters' in the graph, ``labels`` what the user calls the leaves.
        """
        self.labels = labels or names
        shared = {p: group for group in shared_memory(leaves) for p in group}
        result: list[Any] = []
        for position, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            if not is_dynamic(leaf):
                result.append(leaf)
            elif isinstance(leaf, Spec):
                if not leaf.type.is_concrete:
                    self.sizes = self.symbols
                result.append(self._argument(position, leaf.type, name))
            elif isinstance(leaf, Array):
                result.append(self._tensor_argument(position, leaf, name, shared.get(position), result))
            elif position in shared and (known := self._lifted.get(id(leaf))) is not None:  # one ndarray passed twice
                result.append(known)
            elif is_scalar(leaf):
                result.append(self._scalar_argument(position, leaf, name))
            else:
                result.append(self._argument(position, self._type(position, leaf, name), name))
                if isinstance(leaf, np.ndarray):
                    self.remember(leaf, result[-1])
        self._argument_ids = {id(leaf): p for p, leaf in enumerate(leaves) if isinstance(leaf, (Array, np.ndarray))}
        return result

    def _type(self, position: int, leaf: Any, name: str) -> TensorType:
        """The type of an argument, with symbols for the sizes that vary."""
        axes = self._varying.arguments.get(position)
        type_ = TensorType(as_dtype(leaf.dtype), leaf.shape)
        if not axes:
            return type_
        shape: list[Dim] = list(type_.shape)
        for axis, given in axes.items():
            label = f"{self.labels[position]}.shape[{axis}]"
            shape[axis] = self._symbol(given or f"{name}_{axis}", label, leaf.shape[axis], is_given=bool(given))
        return type_.with_shape(shape)

    def captured_type(self, source: Any, type_: TensorType) -> TensorType:
        axes = self._varying.captures.get(id(source))
        if not axes:
            return type_
        name = f"captured{len(self.captured)}"
        return type_.with_shape(
            self._symbol(f"{name}_{axis}", f"{name}.shape[{axis}]", int(size.__index__())) if axis in axes else size
            for axis, size in enumerate(type_.shape)
        )

    def _symbol(self, name: str, label: str, size: int, *, is_given: bool = False) -> DimExpr:
        self.sizes = self.symbols
        if not is_given:
            return self.symbols.new(name, label, size)
        if name not in self._declared:
            self._declared[name] = self.symbols.new(name, label, size)
        return self._declared[name]

    def lift(self, value: Any) -> Tracer:
        tracer = super().lift(value)
        leaf = self._argument_ids.get(id(value))
        if leaf is not None:
            self.captured_arguments.add(leaf)
        return tracer

    def number(self, size: Size) -> Tracer:
        tracer = super().number(size)
        dim = plain_size(size)
        example = self.symbols.example(dim)
        if example is not None:
            tracer._concrete, tracer._roots = example, (tracer,)
            self._size_numbers[id(tracer)] = (tracer, dim)
        return tracer

    def specialize(self, roots: Sequence[Tracer]) -> None:
        for root in roots:
            number = self._size_numbers.get(id(root))
            if number is not None:
                self.symbols.fix(number[1])
        super().specialize([root for root in roots if id(root) not in self._size_numbers])

    def bind(self, op: Primitive, operands: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tracer, ...]:
        return super().bind(op, operands, {name: plain_sizes(value) for name, value in attributes.items()})

    def view(self, x: Any, op: Primitive, attributes: dict[str, Any]) -> Tracer:
        return super().view(x, op, {name: plain_sizes(value) for name, value in attributes.items()})

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        decided = self.symbols.decide(relation, lhs, rhs)
        if decided is None:
            super().guard(relation, lhs, rhs)
        elif not decided:
            show, example = self.symbols.show, self.symbols.example
            raise ShapeError(
                f"the sizes must satisfy {show(lhs)} {relation} {show(rhs)}, but "
                f"{show(lhs)} is {example(lhs)} and {show(rhs)} is {example(rhs)}",
                cause=ShapeError.GUARD,
            )

    def _argument(self, position: int, type_: TensorType, name: str) -> Tracer:
        tracer = Tracer(self, self.builder.parameter(type_, name, current_location()))
        self.inputs.append(Input("argument", tracer, position))
        return tracer

    def _tensor_argument(
        self, position: int, leaf: Any, name: str, group: list[int] | None, made: Sequence[Any]
    ) -> Tracer:
        if group is None or all(p == position for p in group):
            tracer = self._argument(position, self._type(position, leaf, name), name)
            self._mark_leaf(tracer, leaf)
            self.remember(leaf, tracer)
            return tracer
        known = self._lifted.get(id(leaf))
        if known is not None:  # one object passed twice
            return known
        storage = leaf.storage()
        base = self._bases.get(id(storage))
        if base is None:
            type_ = storage.base_type if leaf._chain else self._type(position, leaf, name)
            base = Tracer(self, self.builder.parameter(type_, name, current_location()))
            self.inputs.append(Input("base" if leaf._chain else "argument", base, position))
            self._bases[id(storage)] = base
        tracer = self.seen_through(base, leaf)
        self.remember(leaf, tracer)
        return tracer

    def _scalar_argument(self, position: int, leaf: int | float, name: str) -> Tracer:
        """A Python number: a run-time scalar, and, if its value is needed while tracing, a guard on it."""
        wide = self._argument(position, TensorType(int64 if isinstance(leaf, int) else float64, ()), name)
        tracer = wide
        if isinstance(leaf, float):
            narrow = self.emit("convert_element_type", wide.value, dtype=float32)
            tracer = Tracer(self, narrow)
            tracer._wide = wide.value
            self.inputs[-1].tracer = tracer
        tracer.weak = True
        tracer._concrete = leaf
        tracer._roots = (tracer,)
        return tracer

    def _add_captured(self, source: Any, parameter: Any, is_base: bool) -> Tracer:
        tracer = super()._add_captured(source, parameter, is_base)
        self.inputs.append(Input("captured base" if is_base else "captured", tracer, source=source))
        return tracer

    # .grad of the function's inputs

    def gradient_of(self, array: Any) -> Any:
        tracer = self.lift(array)
        if id(tracer) in self._gradients:
            return self._gradients[id(tracer)]
        position = self._position(tracer)
        if position is None:
            return None
        present = self.present_gradient(position)
        if present is None:
            self.without_gradient.add(position)
            return None
        raw: TensorType = tracer._type
        fits = tuple(map(self.symbols.example, raw.shape)) == tuple(present.shape)
        type_ = TensorType(present.dtype, raw.shape) if fits else present.type
        gradient = Tracer(self, self.builder.parameter(type_, "", current_location()))
        self.inputs.append(Input("gradient", gradient, position))
        self._gradients[id(tracer)] = gradient
        return gradient

    def present_gradient(self, position: int) -> Any:
        """``.grad`` of the tensor given for an input, when tracing began."""
        source = self.inputs[position].source
        if self.inputs[position].kind == "argument":
            source = self.leaves[self.inputs[position].index]
        return getattr(source, "_grad", None)

    leaves: Sequence[Any] = ()

    def finish(self, outputs: Sequence[Value], aliases: Mapping[int, int]) -> Graph:
        """The traced graph, in which sizes that guards say are equal have one name."""
        self.symbols.drop_implied()
        graph = self.builder.finish(outputs, aliases=aliases)
        return unify_sizes(graph, self.symbols.equal, self.symbols.guards) if self.symbols.guards else graph

    def close(self) -> None:
        super().close()
        self.symbols.closed = True
        self.leaves = ()

    def _position(self, tracer: Tracer) -> int | None:
        for position, entry in enumerate(self.inputs):
            if entry.tracer is tracer:
                return position
        return None

    def final_gradients(self) -> list[tuple[int, Any]]:
        """For each input whose gradient was set: its position, and the tracer or None."""
        result: list[tuple[int, Any]] = []
        for position, entry in enumerate(self.inputs):
            if entry.kind in ("argument", "captured") and id(entry.tracer) in self._gradients:
                gradient = self._gradients[id(entry.tracer)]
                if not (isinstance(gradient, Tracer) and self._is_untouched(gradient)):
                    result.append((position, gradient))
        return result

    def _is_untouched(self, gradient: Tracer) -> bool:
        return any(e.kind == "gradient" and e.tracer is gradient and not gradient._storage.written for e in self.inputs)
