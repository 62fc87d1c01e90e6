"""Building a static graph: placeholders, gradients, groups, scopes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError, GradientError, ShapeError
from graphc.frontends.arguments import as_int, as_list
from graphc.frontends.pytree import flatten
from graphc.frontends.spec import Spec
from graphc.frontends.static.graph import Graph, get_default_graph
from graphc.frontends.static.tensor import Operation, Placeholder, StaticTensor
from graphc.ir.dims import Dim, DimExpr, name_problem, symbol
from graphc.ir.graph import Value
from graphc.ir.spec import parse_dim, parse_type
from graphc.ir.types import TensorType
from graphc.locations import current_location

_ABSENT: Any = object()


def placeholder(dtype: Any, shape: Any = _ABSENT, name: str = "Placeholder") -> Placeholder:
    """An input of the default graph, which every run that needs it must be given: ``session.run(y, feed_dict={x: value})``.

    ``placeholder(gc.float32, [None, 784])``: None is a size that differs from run to run; a name ("batch") is one, too, and
    equal for all placeholders that use it. ``placeholder("f32[batch, 784]")`` says the same in short.
    """
    graph = get_default_graph()
    graph.check_open()
    unique = graph.names.unique(name)
    if isinstance(dtype, (Spec, TensorType)) or (isinstance(dtype, str) and "[" in dtype):
        if shape is not _ABSENT:
            raise ArgumentError(f"placeholder: {dtype!r} has a shape already", hint="leave out shape=")
        type_ = parse_type(dtype) if isinstance(dtype, str) else dtype.type if isinstance(dtype, Spec) else dtype
    else:
        type_ = TensorType(as_dtype(dtype), _sizes(graph, shape, unique))
    return graph.add_placeholder(type_, unique, current_location())


def _sizes(graph: Graph, shape: Any, name: str) -> list[Dim]:
    if shape is _ABSENT or shape is None:
        raise ShapeError(
            f"the placeholder {name!r} has no shape, and graphs are made for a known number of dimensions",
            hint="give shape=[] for a scalar, and None for each size that is not known: shape=[None, 784]",
            cause=ShapeError.DIMENSIONS,
        )
    sizes: list[Dim] = []
    given = [shape] if isinstance(shape, (int, str)) else as_list(shape, "placeholder: the shape", "sizes")
    for axis, size in enumerate(given):
        if size is None:
            wanted = re.sub(r"\W", "_", name) + f"_{axis}"
            sizes.append(symbol(graph.new_size(f"_{wanted}" if name_problem(wanted) else wanted)))
        elif isinstance(size, str):
            sizes.append(parse_dim(size))
        elif isinstance(size, DimExpr):
            sizes.append(size)
        else:
            sizes.append(as_int(size, "placeholder: a size"))
    return sizes


def gradients(ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients") -> list[StaticTensor | None]:
    """The derivatives of the sum of ``ys`` with respect to each of ``xs``, as tensors of the graph.

    ``grad_ys``: what to multiply each of ``ys`` by (None: ones). An x that no y depends on gives None. The gradients are
    ordinary tensors: they can be fetched, used further and differentiated again.

    Raises GradientError for a y or an x that is not floating, WrongGraphError for one of another graph.

    >>> (dw,) = gc.gradients(loss, [w])
    """
    outputs, inputs = _listed(ys), _listed(xs)
    seeds = [None] * len(outputs) if grad_ys is None else _listed(grad_ys)
    if len(seeds) != len(outputs):
        raise ArgumentError(
            f"gradients: {len(outputs)} ys and {len(seeds)} grad_ys",
            hint="give one grad_y, or None, a y",
            cause=ArgumentError.COUNT,
        )
    graph = _graph_of([*outputs, *inputs])
    pairs: list[tuple[Value, Value]] = []
    with graph.name_scope(name):
        for output, seed in zip(outputs, seeds, strict=True):
            value = _differentiable(graph, output, "the derivative of")
            seed_value = graph.builder.full_like(value, 1) if seed is None else graph.lift(seed).value
            if seed_value.type != value.type:
                raise GradientError(
                    f"gradients: grad_ys has type {seed_value.type}, and its y, {graph.name_of(value)!r}, {value.type}",
                    hint="they must have the same dtype and shape",
                    cause=GradientError.COTANGENT,
                )
            pairs.append((value, seed_value))
        targets = [_differentiable(graph, x, "a derivative with respect to") for x in inputs]
        flows = graph.cotangents(pairs, targets)
    return [None if flow is None else StaticTensor(graph, flow) for flow in flows]


def _differentiable(graph: Graph, tensor: Any, what: str) -> Value:
    element = graph.element_of(tensor)
    if isinstance(element, Operation):
        raise GradientError(f"gradients: the operation {element.name!r} has no value", hint="differentiate a tensor")
    if not element.dtype.is_inexact:
        raise GradientError(
            f"gradients: {what} {graph.name_of(element)!r} was asked for, but it is {element.type}, and only floating "
            "values have gradients",
            hint="convert it to float32 before it is used, or leave it out",
            cause=GradientError.NOT_FLOATING,
        )
    return element


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _graph_of(elements: Sequence[Any]) -> Graph:
    for element in elements:
        if isinstance(element, StaticTensor):
            return element.context
        if isinstance(element, Operation):
            return element.graph
    return get_default_graph()


def group(*inputs: Any, name: str = "group") -> Operation:
    """An operation that runs all ``inputs`` (assigns, operations, tensors, nested lists of them); fetching it gives None."""
    elements = [e for e in flatten(inputs)[0] if e is not None]
    graph = _graph_of(elements)
    return Operation(graph, name, tuple([graph.element_of(e) for e in elements]))


def no_op(name: str = "NoOp") -> Operation:
    """An operation that does nothing but run its control dependencies."""
    return Operation(get_default_graph(), name, ())


def identity(x: Any, name: str = "Identity") -> StaticTensor:
    """The value of ``x`` as a tensor of its own: to give it a name, or to make it wait for control dependencies."""
    graph = x.context if isinstance(x, StaticTensor) else get_default_graph()
    tracer: Any = graph.lift(x)
    (value,) = graph.builder.emit("reshape", tracer.value, name=name, shape=tracer.shape)
    result = StaticTensor(graph, value)
    result._requires_grad = tracer._requires_grad
    return result


def name_scope(name: str) -> AbstractContextManager[str]:
    """Within the block, what is added to the default graph has names that begin with ``name/``.

    >>> with gc.name_scope("layer1"):
    ...     w = gc.Variable(0.0, name="w")
    >>> w.name
    'layer1/w'
    """
    return get_default_graph().name_scope(name)


@contextmanager
def control_dependencies(elements: Sequence[Any] | None) -> Iterator[None]:
    """What is made in the block also runs ``elements`` (assigns, operations, tensors) whenever it is needed.

    It does not change what is read: a Variable still stands for its value at the start of the run. None suspends the blocks
    around it.
    """
    with _graph_of(elements or ()).control_dependencies(elements):
        yield
