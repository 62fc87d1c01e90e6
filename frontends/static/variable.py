"""Variables: state that outlives a run and is changed by assigns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from graphc.frontends.arguments import as_list
from graphc.frontends.array.core import astype, broadcast_to_shape, is_scalar, show_shape
from graphc.frontends.array.creation import asarray
from graphc.frontends.array.elementwise import add, subtract
from graphc.frontends.dispatch import Array, tracing
from graphc.frontends.static.graph import Graph, get_default_graph
from graphc.frontends.static.lowering import Assignment
from graphc.frontends.static.tensor import Operation, StaticTensor
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import DimExpr
from graphc.ir.graph import Value
from graphc.locations import current_location


class Assigned(StaticTensor):
    """The value of a Variable after an update. Fetching it, or anything computed from it, makes the update."""

    __slots__ = ("variable",)

    def __init__(self, context: Graph, value: Value, variable: Variable) -> None:
        super().__init__(context, value)
        self.variable = variable


class Variable(StaticTensor):
    """A tensor whose value each Session keeps from run to run.

    ``initial_value``: an array, a number or nested list, a static tensor, or a function without arguments that gives one of
    them; it is computed when the initializer is run, and an array is copied now. ``trainable``: whether optimizers change it.
    ``dtype``: converts the initial value. In an expression a Variable stands for its value at the start of the run.

    Raises ShapeError where the initial value has sizes that are not known.

    >>> w = gc.Variable(gc.zeros((784, 10)), name="w")
    >>> session.run(gc.global_variables_initializer())
    """

    __slots__ = ("_initial", "_name", "initializer", "parameter", "trainable")

    def __init__(self, initial_value: Any, trainable: bool = True, name: str = "Variable", dtype: Any = None) -> None:
        graph = initial_value.context if isinstance(initial_value, StaticTensor) else get_default_graph()
        graph.check_open()
        unique = graph.names.unique(name)
        with graph.names.within(unique), graph.control_dependencies(None):
            initial = _initial(graph, initial_value, None if dtype is None else as_dtype(dtype))
            unknown = next((d for d in initial.shape if isinstance(d, DimExpr)), None)
            if unknown is not None:
                raise ShapeError(
                    f"the initial value of the Variable {unique!r} has shape {show_shape(initial.shape)}, "
                    f"and the size {unknown} is not known when the graph is built",
                    hint="a Variable has a fixed shape: give it integers",
                    cause=ShapeError.UNKNOWN_SIZE,
                )
            self.parameter = graph.builder.parameter(initial.type, unique, current_location())
            self._name = unique
            super().__init__(graph, self.parameter)
            self.trainable = bool(trainable)
            graph.add_variable(self)
            self._initial = _assigned(self, initial, "Assign", is_initial=True)
            self.initializer = Operation(graph, "initializer", (self._initial.element,))
        if self.trainable and self.dtype.is_inexact:
            self.requires_grad_()

    @property
    def name(self) -> str:
        return self._name

    @property
    def element(self) -> Value:
        return self.parameter

    @property
    def initial_value(self) -> StaticTensor:
        """The tensor that the initializer assigns."""
        return StaticTensor(self.context, self.context.assignments[self._initial.element.node].new)

    def assign(self, value: Any, name: str = "Assign") -> Assigned:
        """:func:`assign`"""
        return assign(self, value, name)

    def assign_add(self, delta: Any, name: str = "AssignAdd") -> Assigned:
        """:func:`assign_add`"""
        return assign_add(self, delta, name)

    def assign_sub(self, delta: Any, name: str = "AssignSub") -> Assigned:
        """:func:`assign_sub`"""
        return assign_sub(self, delta, name)


def _initial(graph: Graph, given: Any, dtype: DType | None) -> Any:
    with tracing(graph):
        value = given() if callable(given) and not isinstance(given, Array) else given
        if isinstance(value, Tracer):
            result: Any = graph.lift(value)
        elif isinstance(value, Array):  # an eager tensor: its contents now
            result = graph.literal(value.detach().numpy(), value.dtype)  # type: ignore[attr-defined]
        elif isinstance(value, np.ndarray):
            result = graph.literal(value, as_dtype(value.dtype))
        else:
            result = asarray(value)
        return result if dtype is None else astype(result, dtype)


def assign(ref: Variable | Assigned, value: Any, name: str = "Assign") -> Assigned:
    """Give the Variable ``ref`` a new value of the same shape and dtype; the update is made by runs that need the result.

    The result is the new value. All updates of a run are made together, at its end, and only if it succeeds: whoever reads
    the Variable itself sees the value from before. ``ref`` may be the result of an earlier assign, which is then run before.

    Raises ShapeError or DTypeError where the value does not fit.
    """
    variable, _ = _target(ref, "assign")
    new = _fitting(variable, value, "assign", broadcast=False)
    if isinstance(ref, Assigned):
        with variable.context.control_dependencies([ref]):
            return _assigned(variable, new, name)
    return _assigned(variable, new, name)


def assign_add(ref: Variable | Assigned, delta: Any, name: str = "AssignAdd") -> Assigned:
    """:func:`assign` of the present value plus ``delta``, which may be broadcast."""
    variable, present = _target(ref, "assign_add")
    return _assigned(variable, add(present, _fitting(variable, delta, "assign_add", broadcast=True)), name)


def assign_sub(ref: Variable | Assigned, delta: Any, name: str = "AssignSub") -> Assigned:
    """:func:`assign` of the present value minus ``delta``, which may be broadcast."""
    variable, present = _target(ref, "assign_sub")
    return _assigned(variable, subtract(present, _fitting(variable, delta, "assign_sub", broadcast=True)), name)


def _target(ref: Any, what: str) -> tuple[Variable, StaticTensor]:
    if isinstance(ref, Variable):
        return ref, ref
    if isinstance(ref, Assigned):
        return ref.variable, ref
    raise ArgumentError(
        f"{what}: {type(ref).__name__} is not a Variable", hint="only Variables can be assigned: gc.Variable(initial_value)"
    )


def _fitting(variable: Variable, value: Any, what: str, *, broadcast: bool) -> Any:
    graph = variable.context
    if is_scalar(value) or isinstance(value, (list, tuple)):
        with tracing(graph):
            array: Any = asarray(value)
        if not (variable.dtype.is_integer or variable.dtype.is_bool) or not array.dtype.is_inexact:
            array = astype(array, variable.dtype)
    else:
        array = graph.lift(value)
        if array.weak and not array.dtype.is_inexact:
            array = astype(array, variable.dtype)
    if array.dtype is not variable.dtype:
        raise DTypeError(
            f"{what}: the Variable {variable.name!r} is {variable.type}, and was given a value of type {array.type}",
            hint=f"convert it: value.astype({str(variable.dtype)!r})",
            cause=DTypeError.DECLARED,
        )
    if broadcast and _broadcasts(array.shape, variable.shape):
        return broadcast_to_shape(array, variable.shape)
    if len(array.shape) == len(variable.shape) and all(
        a == b or isinstance(a, DimExpr) for a, b in zip(array.shape, variable.shape, strict=True)
    ):
        for have, want in zip(array.shape, variable.shape, strict=True):
            graph.guard("==", have, want)
        return broadcast_to_shape(array, variable.shape)
    raise ShapeError(
        f"{what}: the Variable {variable.name!r} is {variable.type}, and was given a value of shape {show_shape(array.shape)}",
        hint="reshape or broadcast the value to the Variable's shape",
        cause=ShapeError.DECLARED,
    )


def _broadcasts(shape: Any, target: Any) -> bool:
    aligned = target[len(target) - len(shape) :]
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(shape, aligned, strict=True))


def _assigned(variable: Variable, new: Any, name: str, *, is_initial: bool = False) -> Assigned:
    graph = variable.context
    # A node of its own stands for the update: what needs it makes the update, and no gradient flows through.
    (result,) = graph.builder.emit("stop_gradient", graph.lift(new).value, name=name)
    tensor = Assigned(graph, result, variable)
    graph.add_assignment(Assignment(variable, result, is_initial, current_location()), tensor)
    return tensor


def global_variables() -> list[Variable]:
    """All Variables of the default graph, in the order in which they were made."""
    return list(get_default_graph().variables)


def trainable_variables() -> list[Variable]:
    """The Variables of the default graph that optimizers change."""
    return [v for v in get_default_graph().variables if v.trainable]


def variables_initializer(variables: Iterable[Variable], name: str = "init") -> Operation:
    """The operation that gives ``variables`` their initial values."""
    chosen = as_list(variables, "variables_initializer: variables", "Variables")
    for variable in chosen:
        if not isinstance(variable, Variable):
            raise ArgumentTypeError(f"variables_initializer: {type(variable).__name__} is not a Variable")
    graph = chosen[0].context if chosen else get_default_graph()
    return Operation(graph, name, tuple([graph.element_of(v.initializer) for v in chosen]))


def global_variables_initializer() -> Operation:
    """The operation that gives all Variables of the default graph made so far their initial values."""
    return variables_initializer(global_variables())
