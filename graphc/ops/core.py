"""Primitives that are not arithmetic: parameters, literals, symbolic sizes, calls, checks, the end of a gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from graphc.dtypes import as_dtype, bool_, int64
from graphc.errors import ArgumentError, CheckError, DTypeError, GradientError, GraphcError, ShapeError
from graphc.ir.dims import Dim, DimExpr, evaluate_dim, fresh_symbol, substitute
from graphc.ir.graph import Graph, Guard, Node, Value, held_graphs, rebuild, uses
from graphc.ir.operands import operands_of_node
from graphc.ir.primitive import ALL, Primitive, Residuals, get_primitive, register
from graphc.ir.types import TensorType, bind_shape, check_shape, solve_sizes, symbols_in
from graphc.ops import inspection
from graphc.ops.batching import WithoutOperands, are_mapped

if TYPE_CHECKING:
    from graphc.ir.builder import Builder


@register
class Parameter(WithoutOperands):
    """An input of a graph. Made by ``Builder.parameter`` with its type; never applied."""

    name = "parameter"

    def infer(self, inputs: tuple[TensorType, ...], /, **attributes: Any) -> tuple[TensorType, ...]:
        raise ArgumentError("a parameter is declared with its type, not applied")

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        raise ArgumentError("a parameter has no value of its own: the graph's caller gives it")

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return ()


@register
class Constant(WithoutOperands):
    """A literal array: ``value``, read-only."""

    name = "constant"
    attributes = ("value",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, value: np.ndarray) -> tuple[TensorType, ...]:  # type: ignore[override]
        return (TensorType(as_dtype(value.dtype), value.shape),)

    def evaluate(self, *arrays: Any, value: np.ndarray) -> Any:
        return value

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return ()


@register
class Dimension(WithoutOperands):
    """The value of a symbolic size as an int64 scalar: ``x.shape[0]`` used as a number. StableHLO's get_dimension_size."""

    name = "dimension"
    attributes = ("dim",)

    def infer(self, inputs: tuple[TensorType, ...], /, *, dim: Dim) -> tuple[TensorType, ...]:  # type: ignore[override]
        if not isinstance(dim, (int, DimExpr)):
            raise ArgumentError(f"dimension: {dim!r} is not a size")
        return (TensorType(int64, ()),)

    def evaluate(self, *arrays: Any, dim: int) -> Any:
        return np.asarray(dim, dtype=np.int64)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return ()


@register
class StopGradient(Primitive):
    """The operand itself, through which no gradient flows."""

    name = "stop_gradient"

    def infer(self, inputs: tuple[TensorType, ...], /) -> tuple[TensorType, ...]:  # type: ignore[override]
        (x,) = inputs
        return (x,)

    def evaluate(self, x: Any) -> Any:
        return x

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return (None,)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (x,) = operands
        return (b.stop_gradient(x),)


@register
class Check(Primitive):
    """Raise CheckError with ``message`` at run time unless the bool scalar operand is true. An effect, without results.

    For a batch it is one check, which fails where any example fails.
    """

    name = "check"
    attributes = ("message",)
    effect = True

    def infer(self, inputs: tuple[TensorType, ...], /, *, message: str) -> tuple[TensorType, ...]:  # type: ignore[override]
        (predicate,) = inputs
        if predicate.dtype is not bool_:
            raise DTypeError(f"check: the predicate must be a bool scalar, not {predicate}")
        if predicate.shape != ():
            raise ShapeError(
                f"check: the predicate must be a bool scalar, not {predicate}",
                hint="reduce it with all()",
                cause=ShapeError.DIMENSIONS,
            )
        return ()

    def evaluate(self, predicate: Any, *, message: str) -> Any:
        if not bool(predicate):
            raise CheckError(message)
        return ()

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return (None,)

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        (predicates,) = operands
        return b.emit(self, b.reduce_all(predicates, axes=(0,)), **node.attributes)


class Run(NamedTuple):
    """One run of a graph that an op holds: the ``region``, its operands, and what tells it from the op's other runs.

    ``part``: which region it is, in words; ``iteration``: which one of a loop's, from 0, or None outside of loops.
    """

    region: Graph
    arrays: Sequence[Any]
    part: str
    iteration: int | None = None


Runs = Generator[Run, list[Any], tuple[Any, ...]]


class WithRegions(Primitive):
    """A primitive that runs graphs which it holds: ``runs`` says which, with what, and what becomes of their outputs."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.runs is WithRegions.runs:
            raise TypeError(f"primitive {cls.__name__} lacks runs, of which its evaluate is made")

    def runs(self, *arrays: Any, **attributes: Any) -> Runs:
        """Yields each run of a graph, is sent its outputs, and returns the op's results."""
        raise NotImplementedError

    def evaluate(self, *arrays: Any, **attributes: Any) -> Any:
        runs = self.runs(*arrays, **attributes)
        try:
            run = next(runs)
            while True:
                run = runs.send(evaluate_graph(run.region, run.arrays))
        except StopIteration as end:
            return end.value


@register
class Call(WithRegions):
    """Apply the graph held in the attribute ``graph`` to the operands; its outputs are the results.

    Symbolic sizes of the callee are bound by the operands' shapes. ``evaluate`` runs the callee node by node.
    """

    name = "call"
    attributes = ("graph",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, graph: Graph) -> tuple[TensorType, ...]:  # type: ignore[override]
        if len(inputs) != len(graph.parameters):
            raise ArgumentError(
                f"call: {graph.name} takes {len(graph.parameters)} operands, {len(inputs)} were given",
                cause=ArgumentError.COUNT,
            )
        bindings = bind_symbols(graph.parameter_types, inputs, f"call {graph.name}")
        return tuple(t.substitute(bindings) for t in graph.output_types)

    def runs(self, *arrays: Any, graph: Graph) -> Runs:
        return tuple((yield Run(graph, arrays, graph.name)))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        graph: Graph = node.attributes["graph"]
        if b.differentiate is None:
            raise GradientError("call: this builder cannot differentiate the graph it holds")
        wrt = [i for i, wanted in enumerate(needed) if wanted]
        seeds = [i for i, c in enumerate(cotangents) if c is not None]
        gradient = b.differentiate(graph, wrt, seeds)
        if gradient.effects:
            gradient = computed_again(gradient)
        operands = [*node.inputs, *(c for c in cotangents if c is not None)]
        results = iter(b.emit("call", *operands, graph=gradient))
        return [next(results) if wanted else None for wanted in needed]

    def jvp(self, b: Builder, node: Node, tangents: Sequence[Value | None]) -> Sequence[Value | None]:
        graph: Graph = node.attributes["graph"]
        if b.differentiate_forward is None:
            raise GradientError("call: this builder cannot differentiate the graph it holds")
        wrt = [i for i, tangent in enumerate(tangents) if tangent is not None]
        wanted = [i for i, type_ in enumerate(node.types) if type_.dtype.is_inexact]
        if not wanted:
            return [None for _ in node.types]
        forward = b.differentiate_forward(graph, wrt, wanted)
        operands = [*node.inputs, *(t for t in tangents if t is not None)]
        found = dict(zip(wanted, b.emit("call", *operands, graph=forward), strict=True))
        return [found.get(i) for i in range(len(node.types))]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        graph: Graph = node.attributes["graph"]
        if b.vectorize is None:
            raise ArgumentError("call: this builder cannot vectorize the graph it holds")
        mapped = are_mapped(node, operands)
        inner = size if isinstance(size, int) else fresh_symbol("examples", symbols_in(graph.parameter_types))
        vectorized = b.vectorize(graph, mapped, inner)
        if isinstance(inner, DimExpr) and not any(mapped):  # no operand tells the callee how many examples there are
            sizes = Value(Node(get_primitive("parameter"), (), {}, (TensorType(bool_, (inner,)),)), 0)
            vectorized = vectorized.replace(parameters=[*vectorized.parameters, sizes], aliases={})
            operands = (*operands, b.full((size,), False, bool_))
        return b.emit(self, *operands, graph=vectorized)


def computed_again(graph: Graph) -> Graph:
    """``graph`` for a second run. The first has printed and checked, so this one only computes what is read, in regions too."""

    def replace(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if not any(region.effects for region in held_graphs(node.attributes)):
            return None
        attributes = {name: quiet(value) for name, value in node.attributes.items() if held_graphs({name: value})}
        return Node(node.op, operands, {**node.attributes, **attributes}, node.types, node.location, node.name).results

    def quiet(held: Any) -> Any:
        return tuple([computed_again(each) for each in held]) if isinstance(held, tuple) else computed_again(held)

    made = rebuild(graph, replace)
    gives = [e for e in made.effects if e.types and (e.op.effect or any(r.effects for r in held_graphs(e.attributes)))]
    return made.replace(effects=gives)



def bind_symbols(declared: Sequence[TensorType], given: Sequence[TensorType], what: str) -> Mapping[str, Dim]:
    """The symbolic sizes of ``declared`` in terms of ``given``; raises ShapeError or DTypeError where they do not match."""
    bindings: dict[str, Dim] = {}
    for position, (d, g) in enumerate(zip(declared, given, strict=True)):
        if d.dtype is not g.dtype:
            raise DTypeError(f"{what}: operand {position} has dtype {g.dtype}, {d} was declared", cause=DTypeError.DECLARED)
        if d.ndim != g.ndim:
            raise ShapeError(f"{what}: operand {position} has type {g}, {d} was declared", cause=ShapeError.GUARD)
        for want, have in zip(d.shape, g.shape, strict=True):
            if isinstance(want, DimExpr) and str(want) == next(want.symbols(), ""):
                bindings.setdefault(str(want), have)
    solve_sizes(declared, [g.shape for g in given], bindings, [f"{what}: operand {i}" for i in range(len(given))])
    for position, (d, g) in enumerate(zip(declared, given, strict=True)):
        if d.substitute(bindings) != g:
            raise ShapeError(
                f"{what}: operand {position} has type {g}, {d.substitute(bindings)} was declared", cause=ShapeError.GUARD
            )
    return bindings


def concrete_attributes(op: Primitive, attributes: Mapping[str, Any], bindings: Mapping[str, Dim]) -> dict[str, Any]:
    """``attributes`` of ``op`` with the symbolic sizes in them (also in nested tuples, and in regions) replaced."""
    return {name: _substitute(value, bindings, name in op.regions) for name, value in attributes.items()}


def _substitute(value: Any, bindings: Mapping[str, Dim], is_region: bool) -> Any:
    if isinstance(value, DimExpr):
        total: Dim = substitute(value, bindings)
        return total
    if isinstance(value, tuple):
        return tuple(_substitute(v, bindings, is_region) for v in value)
    if is_region and isinstance(value, Graph):
        return substitute_sizes(value, bindings)
    return value


#: Region → bindings → the region with these sizes; None where it mentions none of them.
_substituted: WeakKeyDictionary[Graph, dict[tuple[tuple[str, Dim], ...], Graph | None]] = WeakKeyDictionary()
_MOST_SUBSTITUTED = 16  # of each region


def substitute_sizes(region: Graph, bindings: Mapping[str, Dim]) -> Graph:
    """``region``, a graph that shares the sizes of the graph around it, with the sizes in ``bindings`` replaced."""
    if not bindings:
        return region
    known = _substituted.setdefault(region, {})
    key = tuple(sorted(bindings.items(), key=lambda item: item[0]))
    if key not in known:
        if len(known) >= _MOST_SUBSTITUTED:
            known.clear()
        known[key] = _with_sizes(region, bindings)
    found = known[key]
    return region if found is None else found


def _with_sizes(region: Graph, bindings: Mapping[str, Dim]) -> Graph | None:
    new: dict[Node, Node] = {}
    changed = False
    for node in region.nodes():
        types = tuple([t.substitute(bindings) for t in node.types])
        attributes = concrete_attributes(node.op, node.attributes, bindings)
        operands = tuple([new[v.node].results[v.index] for v in node.inputs])
        is_same = types == node.types and all(attributes[name] is value for name, value in node.attributes.items())
        if is_same and operands == node.inputs:
            new[node] = node
        else:
            new[node] = Node(node.op, operands, attributes, types, node.location, node.name)
            changed = True
    guards = [Guard(g.relation, substitute(g.lhs, bindings), substitute(g.rhs, bindings), g.location) for g in region.guards]
    if not changed and tuple(guards) == region.guards:
        return None
    return region.replace(
        parameters=[new[p.node].results[p.index] for p in region.parameters],
        outputs=[new[o.node].results[o.index] for o in region.outputs],
        effects=[new[e] for e in region.effects],
        guards=guards,
    )


class Place(NamedTuple):
    """Where within an op a step ran: in which ``run`` of a region of ``op``."""

    op: WithRegions
    run: Run


class Step(NamedTuple):
    """One node that :func:`walk_graph` ran: its operands and results as arrays, and what it is within, outermost first."""

    node: Node
    operands: list[Any]
    results: tuple[Any, ...]
    within: tuple[Place, ...]


def evaluate_graph(graph: Graph, arrays: Sequence[Any]) -> list[Any]:
    """Run ``graph`` on NumPy arrays, node by node, with each primitive's ``evaluate``. The reference semantics of a graph.

    Values are dropped after their last use. Effects run in order, and every effect runs.
    """
    walker = walk_graph(graph, arrays)
    inspector = inspection.state.inspector
    while True:
        try:
            node, operands, results, _ = next(walker)
        except StopIteration as end:
            outputs: list[Any] = end.value
            return outputs
        if inspector is not None:
            inspector(node.op, operands, results, node.location)


def inspected(graph: Graph) -> Callable[..., list[Any]] | None:
    """What runs ``graph`` so that an inspector sees each node; None where nobody inspects in this thread."""
    if inspection.state.inspector is None:
        return None
    return lambda *arrays: [np.array(result) for result in evaluate_graph(graph, arrays)]


def walk_graph(
    graph: Graph,
    arrays: Sequence[Any],
    enters: Callable[[Node], bool] | None = None,
    within: tuple[Place, ...] = (),
) -> Generator[Step, None, list[Any]]:
    """:func:`evaluate_graph` as a generator of its steps, which returns the outputs.

    ``enters`` is asked of each node with regions, before it runs: where it holds, the steps of its regions come before its own.
    """
    bindings: dict[str, int] = {}
    types = graph.parameter_types
    if len(arrays) != len(types):
        raise ArgumentError(f"{graph.name} takes {len(types)} inputs, {len(arrays)} were given", cause=ArgumentError.COUNT)
    names = [parameter.node.name or f"input {index}" for index, parameter in enumerate(graph.parameters)]
    shapes = [np.shape(array) for array in arrays]
    for type_, shape, name in zip(types, shapes, names, strict=True):
        bind_shape(type_, shape, bindings, name)
    solve_sizes(types, shapes, bindings, names)
    for type_, shape, name in zip(types, shapes, names, strict=True):
        check_shape(type_, shape, bindings, name)
    check_guards(graph.guards, bindings)
    remaining = uses(graph)
    values: dict[Value, Any] = dict(zip(graph.parameters, arrays, strict=True))
    for node in graph.nodes():
        if node.op.name == "parameter":
            continue
        operands = [values[v] for v in node.inputs]
        attributes = concrete_attributes(node.op, node.attributes, bindings) if bindings else node.attributes
        try:
            if enters is not None and isinstance(node.op, WithRegions) and enters(node):
                results = yield from _walk_regions(node.op, operands, attributes, enters, within)
            else:
                results = node.op.evaluate(*operands, **attributes)
        except GraphcError as error:
            if node.location.line and not node.op.regions:  # what failed in a region has its own line already
                error.location, error.operands = node.location, operands_of_node(node)
            raise
        if not isinstance(results, tuple):
            results = (results,)
        for value, result in zip(node.results, results, strict=True):
            values[value] = result
        yield Step(node, operands, results, within)
        for value in node.inputs:
            remaining[value] -= 1
            if not remaining[value]:
                values.pop(value, None)
    return [values[o] for o in graph.outputs]


def _walk_regions(
    op: WithRegions,
    operands: Sequence[Any],
    attributes: Mapping[str, Any],
    enters: Callable[[Node], bool],
    within: tuple[Place, ...],
) -> Generator[Step, None, tuple[Any, ...]]:
    """The steps of the regions that ``op`` runs; returns its results."""
    runs = op.runs(*operands, **attributes)
    try:
        run = next(runs)
        while True:
            run = runs.send((yield from walk_graph(run.region, run.arrays, enters, (*within, Place(op, run)))))
    except StopIteration as end:
        results: tuple[Any, ...] = end.value
        return results


def check_guards(guards: Sequence[Guard], bindings: Mapping[str, int]) -> None:
    """Raise ShapeError, with the line that made it, for the first guard that the sizes violate."""
    for guard in guards:
        lhs, rhs = evaluate_dim(guard.lhs, bindings), evaluate_dim(guard.rhs, bindings)
        if not RELATIONS[guard.relation](lhs, rhs):
            sides = [f"{dim} is {size}" for dim, size in ((guard.lhs, lhs), (guard.rhs, rhs)) if not isinstance(dim, int)]
            raise ShapeError(
                f"the sizes must satisfy {guard}, but {' and '.join(sides)}", location=guard.location, cause=ShapeError.GUARD
            )


RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
