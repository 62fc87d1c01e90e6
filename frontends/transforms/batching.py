"""``vmap``: a function of one example becomes a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError, AxisError, ConcretizationError, InPlaceError, ShapeError
from graphc.frontends.array.core import is_scalar, show_shape
from graphc.frontends.dispatch import Array, Context, active_trace, context_of, tracing
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.tracer import CONDITION, Tracer
from graphc.frontends.transforms.naming import argument_paths, function_name
from graphc.frontends.transforms.nested import NestedContext, Outside, replay
from graphc.ir.dims import Dim
from graphc.ir.graph import Value, topological_order
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from graphc.passes.vectorize import vectorize

_TRANSPOSE, _BROADCAST, _RESHAPE = (get_primitive(name) for name in ("transpose", "broadcast_in_dim", "reshape"))


def vmap(function: Any = None, in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | None = None) -> Callable[..., Any]:
    """``function``, written for one example, for a whole batch at once: no loop, but ops on arrays with one axis more.

    ``in_axes``: the axis of each positional argument that counts the examples; negative from the end, None for an argument
    that all examples share. One for all, or a tuple with one for each; where an argument is a nested structure, also a
    structure of axes. Arrays that are passed by keyword are mapped along axis 0, anything else is shared. ``out_axes``: the
    same for the result; None is for what is equal for all examples. ``axis_size``: the number of examples, needed only where
    no argument is mapped.

    Works in every mode, and composes with itself, ``grad``, ``vjp``, ``jvp`` and ``jit`` in any order. The function is traced:
    Python sees one example, whose values are not known. Random draws differ between examples; a check fails where it fails for
    any of them. An array from around the function may be written only with what is equal for all examples.

    Raises ShapeError, with the names of both arguments, where numbers of examples differ; ArgumentError and AxisError for axes
    that do not fit the arguments or results.

    >>> gc.vmap(lambda x, w: w @ x, in_axes=(0, None))(gc.ones((32, 3)), gc.ones((5, 3))).shape
    (32, 5)
    """
    if function is None:
        return functools.partial(vmap, in_axes=in_axes, out_axes=out_axes, axis_size=axis_size)
    if not callable(function):
        raise ArgumentError(
            f"vmap needs a function, not {function!r}", hint="use it as gc.vmap(f) or @gc.vmap", cause=ArgumentError.FUNCTION
        )

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _Batch(function, args, kwargs, in_axes, axis_size).run(out_axes)

    return wrapped


class BatchContext(NestedContext):
    """Traces a function on one example."""

    def __init__(self, name: str, size: Dim) -> None:
        super().__init__(name)
        self.size = size
        self.axes: dict[Value, int] = {}  # of the parameters that are mapped

    def describe(self) -> str:
        return "mapped"

    def concretize(self, array: Any, what: str) -> NoReturn:
        raise ConcretizationError(
            f"vmap of {self.name}: {what} needs the value of an array of type {array.type}, which may differ between examples"
            + (f"\n  the array was made at {array.location}" if isinstance(array, Tracer) and array.location.line else ""),
            hint="choose with gc.where(condition, a, b) or gc.cond, or compute it outside of vmap",
            cause=ConcretizationError.CONDITION if what == CONDITION else None,
        )

    def repetitions(self, operands: Sequence[Array]) -> Dim:
        reached = set(topological_order([self.lift(operand).value.node for operand in operands]))
        read = [o for o in self.outsides if o.parameter.node in reached]
        own: Dim = 1 if any(o.parameter in self.axes for o in read) else self.size
        outer = self._surrounding
        return own if outer is None else own * outer.repetitions([outer.lift(o.source) for o in read])


class _Mapped(NamedTuple):
    """A mapped leaf of the arguments: its position, what messages call it, and its axis, counted from 0."""

    position: int
    path: str
    axis: int
    size: Dim


class _Batch:
    """One call of a vectorized function."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Any, axis_size: int | None
    ) -> None:
        self.function = function
        self.what = f"vmap of {function_name(function)}"
        self.leaves, self.tree = flatten((args, kwargs))
        self.mapped = self._mapped(in_axes)
        self.size = self._common_size(axis_size)

    def _mapped(self, in_axes: Any) -> list[_Mapped]:
        args = self.tree.children[0]
        if isinstance(in_axes, (tuple, list)):
            if len(in_axes) != len(args.children):
                raise ArgumentError(
                    f"{self.what}: in_axes has {len(in_axes)} entries for {len(args.children)} positional arguments",
                    hint="give one axis (or None) for each, or one for all",
                    cause=ArgumentError.MAPPED,
                )
            entries = list(in_axes)
        else:
            entries = [in_axes] * len(args.children)
        axes: list[int | None] = []
        for entry, child in zip(entries, args.children, strict=True):
            axes += _spread(f"{self.what}: in_axes", entry, child)
        positional = len(axes)
        names = argument_paths(self.function, self.tree)
        result: list[_Mapped] = []
        for position, leaf in enumerate(self.leaves):
            axis = axes[position] if position < positional else 0
            is_array = isinstance(leaf, (Array, np.ndarray))
            if axis is None or not (is_array or (position < positional and isinstance(leaf, (int, float, np.generic)))):
                continue
            shape = leaf.shape if is_array else ()
            if not shape:
                what = "a scalar" if is_array else f"a {type(leaf).__name__}"
                raise ArgumentError(
                    f"{self.what}: {names[position]} is {what}, which has no axis to map",
                    hint="map it along None in in_axes: all examples share it",
                    cause=ArgumentError.MAPPED,
                )
            if not -len(shape) <= axis < len(shape):
                raise AxisError(
                    f"{self.what}: in_axes maps axis {axis} of {names[position]}, which has shape {show_shape(shape)}"
                )
            axis %= len(shape)
            result.append(_Mapped(position, names[position], axis, shape[axis]))
        return result

    def _common_size(self, axis_size: int | None) -> Dim:
        said = [f"{m.path} has size {m.size} along axis {m.axis}" for m in self.mapped]
        sizes = [m.size for m in self.mapped]
        if axis_size is not None:
            said.append(f"axis_size is {axis_size}")
            sizes.append(axis_size)
        if not sizes:
            raise ArgumentError(
                f"{self.what}: no argument is mapped, so the number of examples is not known",
                hint="map an argument with in_axes, or say axis_size=",
                cause=ArgumentError.MAPPED,
            )
        first = next((i for i, size in enumerate(sizes) if isinstance(size, int)), 0)
        for i, size in enumerate(sizes):
            if size == sizes[first]:
                continue
            if isinstance(size, int) and isinstance(sizes[first], int):
                raise ShapeError(
                    f"{self.what}: the numbers of examples differ: {said[first]}, {said[i]}",
                    hint="in_axes says which axis of each argument counts the examples",
                    cause=ShapeError.LENGTHS,
                )
            (active_trace() or context_of(self.leaves)).guard("==", sizes[first], size)
        return sizes[first]

    def run(self, out_axes: Any) -> Any:
        context = BatchContext(function_name(self.function), self.size)
        try:
            with tracing(context):
                args, kwargs = unflatten(self.tree, self._inner(context))
                leaves, tree = flatten(self.function(*args, **kwargs))
                outputs = [self._output(context, leaf) for leaf in leaves]
            context.check_gradients(self.what)
            changes = context.changes(self.what)
            graph = context.builder.finish([*(o.value for o in outputs if o is not None), *(value for _, value in changes)])
        finally:
            context.close()
        batched = vectorize(graph, [p in context.axes for p in graph.parameters], self.size)
        differ = [new.ndim > own.ndim for new, own in zip(batched.outputs, graph.outputs, strict=True)]
        places = self._places(outputs, differ, tree, out_axes)
        for (outside, _), differs in zip(changes, differ[len(places) :], strict=True):
            self._check_write(outside, context.axes.get(outside.parameter), differs)
        outer = context.outer
        for guard in graph.guards:
            outer.guard(guard.relation, guard.lhs, guard.rhs)
        operands = [self._operand(outer, o, context.axes.get(o.parameter)) for o in context.outsides]
        results = replay(batched, operands, outer)
        targets = [context.axes.get(o.parameter) for o, _ in changes]
        placed = [self._placed(outer, *each) for each in zip(results, differ, [*places, *targets], strict=True)]
        for (outside, _), value in zip(changes, placed[len(places) :], strict=True):
            target = outer.lift(outside.source)
            outer.write(target, value if value.shape == target.shape else outer.view(value, _RESHAPE, {"shape": target.shape}))
        remaining = iter(placed)
        return unflatten(tree, [None if o is None else next(remaining) for o in outputs])

    def _inner(self, context: BatchContext) -> list[Any]:
        """What the function is called with: tracers of one example, and what all examples share as it is."""
        inner: list[Any] = list(self.leaves)
        for position, _, axis, _ in self.mapped:
            leaf = self.leaves[position]
            shape = (*leaf.shape[:axis], *leaf.shape[axis + 1 :])
            inner[position] = context.argument(leaf, TensorType(as_dtype(leaf.dtype), shape))
            context.axes[context.outsides[-1].parameter] = axis
        return [context.lift(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in inner]

    def _output(self, context: BatchContext, leaf: Any) -> Tracer | None:
        if leaf is None:
            return None
        if isinstance(leaf, (Array, np.ndarray, np.generic)) or is_scalar(leaf):
            return context.lift(leaf)
        raise ArgumentError(
            f"{self.what}: the function returned a {type(leaf).__name__}, and only arrays and numbers can be results",
            hint="return arrays, in nested structures if need be",
            cause=ArgumentError.FUNCTION,
        )

    def _operand(self, outer: Context, outside: Outside, axis: int | None) -> Array:
        array = outer.lift(outside.source)
        if axis is None:
            return array
        if axis:
            order = (axis, *(a for a in range(len(array.shape)) if a != axis))
            array = outer.view(array, _TRANSPOSE, {"permutation": order})
        if array.shape[0] != self.size:  # a guard says that they are equal
            array = outer.view(array, _RESHAPE, {"shape": (self.size, *array.shape[1:])})
        return array

    def _check_write(self, outside: Outside, axis: int | None, differs: bool) -> None:
        if differs and axis is None:
            raise InPlaceError(
                f"{self.what}: an array of type {outside.parameter.type} that all examples share is written in place with "
                "values that differ between them",
                hint="return the new value instead, or map the array with in_axes",
                cause=InPlaceError.SHARED,
            )

    def _places(
        self, outputs: Sequence[Tracer | None], differ: Sequence[bool], tree: TreeDef, out_axes: Any
    ) -> list[int | None]:
        """For each array of the result the axis, counted from 0, at which the examples go."""
        axes = _spread(f"{self.what}: out_axes", out_axes, tree)
        remaining = iter(differ)
        places: list[int | None] = []
        for output, axis, path in zip(outputs, axes, paths(tree, "the result"), strict=True):
            if output is None:
                continue
            differs, ndim = next(remaining), output.type.ndim + 1
            if axis is None and differs:
                raise ArgumentError(
                    f"{self.what}: out_axes is None for {path}, whose values differ between examples",
                    hint="None is for what depends on no mapped argument and on no random draw",
                    cause=ArgumentError.MAPPED,
                )
            if axis is not None and not -ndim <= axis < ndim:
                raise AxisError(
                    f"{self.what}: out_axes puts the examples of {path} at axis {axis}, but with them it has {ndim} axes"
                )
            places.append(None if axis is None else axis % ndim)
        return places

    def _placed(self, outer: Context, value: Array, differs: bool, axis: int | None) -> Array:
        """A result with its examples at ``axis``: in front until now, or all equal and not there."""
        if axis is None or (differs and axis == 0):
            return value
        if differs:
            order = (*range(1, axis + 1), 0, *range(axis + 1, len(value.shape)))
            return outer.view(value, _TRANSPOSE, {"permutation": order})
        shape = (*value.shape[:axis], self.size, *value.shape[axis:])
        dims = tuple(a for a in range(len(shape)) if a != axis)
        return outer.copy(outer.view(value, _BROADCAST, {"shape": shape, "dims": dims}))


def _spread(what: str, axes: Any, tree: TreeDef) -> list[int | None]:
    """One axis for each leaf of ``tree``, of which ``axes`` may be the beginning of the structure."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        return [axes] * tree.leaves
    children: Sequence[Any] | None = None
    if isinstance(axes, dict) and isinstance(tree.kind, type) and issubclass(tree.kind, dict):
        children = [axes[key] for key in tree.keys] if set(axes) == set(tree.keys) else None
    elif isinstance(axes, (tuple, list)) and tree.kind is not None and len(axes) == len(tree.children):
        children = axes
    if children is None:
        raise ArgumentError(
            f"{what}: {axes!r} does not fit the structure {_structure(tree)}",
            hint="an axis is an int or None; a structure of axes has the nesting of what it is for, or the beginning of it",
            cause=ArgumentError.MAPPED,
        )
    result: list[int | None] = []
    for entry, child in zip(children, tree.children, strict=True):
        result += _spread(what, entry, child)
    return result


def _structure(tree: TreeDef) -> str:
    """``tree`` as text: ``{'w': array, 'b': (array, array)}``."""
    if tree.kind is None:
        return "array"
    parts = [_structure(child) for child in tree.children]
    if tree.kind is list:
        return f"[{', '.join(parts)}]"
    if tree.kind is tuple:
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    keys = tree.keys if len(tree.keys) == len(parts) else range(len(parts))
    if isinstance(tree.kind, type) and issubclass(tree.kind, dict):
        return "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(keys, parts, strict=True)) + "}"
    return f"{tree.kind.__name__}({', '.join(f'{key}={part}' for key, part in zip(keys, parts, strict=True))})"
