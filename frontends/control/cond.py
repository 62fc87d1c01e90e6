"""``cond`` and ``switch``: one of several functions, chosen by a value that only a run knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.arguments import as_list, check_function
from graphc.frontends.array.core import astype, is_scalar
from graphc.frontends.array.elementwise import not_equal
from graphc.frontends.control.leaves import check_static, check_structure, common_dtype, is_array, raise_different
from graphc.frontends.control.region import Region, Surroundings, union_of_captures
from graphc.frontends.dispatch import Array, context_of
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import same_sizes
from graphc.ir.primitive import get_primitive

Function = Callable[..., Any]


def cond(predicate: Any, on_true: Function, on_false: Function, *operands: Any) -> Any:
    """``on_true(*operands)`` where ``predicate`` is true, else ``on_false(*operands)``. Only one of them runs.

    ``predicate``: a scalar, a bool or a number (true unless 0). Both functions must give the same structure of arrays of the
    same types; a Python scalar takes the dtype of the other side. They may read arrays from around them, and write to these in
    place. In a graph this is one op; eagerly it is Python's ``if``. (JAX's ``lax.cond``.)

    Raises ShapeError or DTypeError where the results differ, naming the leaf: in a graph always; eagerly only if the taken one
    gives a Python number, since the other function is not called there, whose prints and writes nobody asked for.

    >>> gc.cond(gc.tensor(3) > 2, lambda x: x + 1, lambda x: -x, gc.tensor(1.0))
    tensor(2.)
    """
    check_function(on_true, "cond: on_true")
    check_function(on_false, "cond: on_false")
    chosen = _known(predicate, "cond")
    names = ("if the predicate is true", "if it is false")
    if chosen is not None:
        return (on_true if chosen else on_false)(*operands)
    context = _context(predicate, operands)
    if not isinstance(context, GraphContext):
        taken = _scalar(context.lift(predicate), "cond")
        return _eager(context, 0 if bool(taken) else 1, (on_true, on_false), names, operands, "cond")
    selector = _scalar(context.lift(predicate), "cond")
    if not selector.dtype.is_bool:
        selector = not_equal(selector, 0)
    results = _emit(context, selector, (on_false, on_true), names[::-1], operands, "cond")
    return results


def switch(index: Any, branches: Sequence[Function], *operands: Any) -> Any:
    """``branches[index](*operands)``. Only the chosen branch runs.

    ``index``: an integer scalar. As in JAX's ``lax.switch`` it is clamped: below 0 it means the first branch, above the last
    one the last. All branches must give the same structure of arrays of the same types. See :func:`cond`.

    >>> gc.switch(gc.tensor(1), [gc.sin, gc.cos, gc.tan], gc.tensor(0.0))
    tensor(1.)
    """
    functions = tuple(as_list(branches, "switch: branches", "functions"))
    for function in functions:
        check_function(function, "switch: a branch")
    if not functions:
        raise ArgumentError("switch: there are no branches", cause=ArgumentError.COUNT)
    names = tuple(f"in branch {number}" for number in range(len(functions)))
    chosen = _known(index, "switch")
    if chosen is not None:
        if isinstance(chosen, (bool, float)):
            raise DTypeError(f"switch: the index must be an integer, not {chosen!r}", hint="use cond for a bool")
        return functions[min(max(chosen, 0), len(functions) - 1)](*operands)
    context = _context(index, operands)
    selector = _scalar(context.lift(index), "switch")
    if not selector.dtype.is_integer:
        raise DTypeError(f"switch: the index must be an integer, not {selector.type}", hint="use cond for a bool")
    if not isinstance(context, GraphContext):
        place = min(max(int(selector), 0), len(functions) - 1)  # type: ignore[call-overload]
        return _eager(context, place, functions, names, operands, "switch")
    return _emit(context, selector, functions, names, operands, "switch")


def _known(selector: Any, what: str) -> Any:
    """The value of a selector that is a Python value, or a literal; None for one that only a run knows."""
    if is_scalar(selector) or isinstance(selector, np.generic):
        return selector if is_scalar(selector) else selector.item()
    if isinstance(selector, Tracer) and selector._concrete is not Tracer.NO_VALUE and not selector._roots:
        return selector._concrete
    return None


def _context(selector: Any, operands: Sequence[Any]) -> Any:
    leaves, _ = flatten(list(operands))
    return context_of([selector, *[leaf for leaf in leaves if isinstance(leaf, Array)]])


def _scalar(selector: Array, what: str) -> Array:
    if selector.shape != ():
        raise ShapeError(
            f"{what}: what chooses must be a scalar, not {selector.type}",
            hint="reduce it with .any() or .all(), or choose elementwise with gc.where",
            cause=ShapeError.DIMENSIONS,
        )
    return selector


def _eager(
    context: Any, chosen: int, functions: Sequence[Function], names: Sequence[str], operands: Sequence[Any], what: str
) -> Any:
    """The chosen function's result. Where a Python scalar is among it, what the others give says which dtype it takes."""
    result = functions[chosen](*operands)
    leaves, tree = flatten(result)
    if not any(is_scalar(leaf) or (isinstance(leaf, Array) and leaf.weak) for leaf in leaves):
        return result
    around = Surroundings(context)
    regions = around.keep_trying(
        lambda: [around.trace(what, lambda _, f=f: f(*operands)) for f in functions]  # type: ignore[misc]
    )
    tracers, _ = _united(regions, names, what)
    for region in regions:
        region.context.close()
    return unflatten(
        tree,
        [
            _strong(context, leaf, tracer.dtype) if isinstance(tracer, Tracer) else leaf
            for leaf, tracer in zip(leaves, tracers[0], strict=True)
        ],
    )


def _strong(context: Any, leaf: Any, dtype: Any) -> Any:
    if is_scalar(leaf):
        return context.literal(leaf, dtype)
    if isinstance(leaf, Array) and leaf.weak:
        leaf = context.copy(astype(leaf, dtype)) if leaf.dtype is dtype else astype(leaf, dtype)
        leaf.weak = False
    return leaf


def _emit(
    context: Any, selector: Any, functions: Sequence[Function], names: Sequence[str], operands: Sequence[Any], what: str
) -> Any:
    """One ``cond`` op in the graph that ``context`` builds, and its results."""
    around = Surroundings(context)

    def trace() -> tuple[list[Region], list[list[Any]], TreeDef]:
        regions = [around.trace(_name(f, what), lambda _, f=f: f(*operands)) for f in functions]  # type: ignore[misc]
        return regions, *_united(regions, names, what)

    regions, leaves, tree = around.keep_trying(trace)
    captures = union_of_captures(regions)
    changed = {id(c.outer) for region in regions for c in region.written}
    written = [array for array in captures if id(array) in changed]
    arrays = [i for i, leaf in enumerate(leaves[0]) if isinstance(leaf, Tracer)]
    flows = [any(own[i]._requires_grad for own in leaves) for i in arrays]
    branches = tuple(
        [r.graph(captures, [*[own[i] for i in arrays], *written]) for r, own in zip(regions, leaves, strict=True)]
    )
    if not arrays and not written and not any(branch.effects for branch in branches):
        return unflatten(tree, leaves[0])
    results = context.bind(get_primitive("cond"), [selector, *captures], {"branches": branches})
    finish(context, results, flows, written)
    final = list(leaves[0])
    for place, result in zip(arrays, results, strict=False):
        final[place] = result
    return unflatten(tree, final)


def finish(context: Any, results: Sequence[Any], flows: Sequence[bool], written: Sequence[Any]) -> None:
    """Say of the results of a control-flow op which are differentiable, and write back what the regions changed."""
    for result in results:
        result.weak = False
    for result, flow in zip(results, flows, strict=False):
        if isinstance(result, Tracer):
            result._requires_grad = result._requires_grad and flow
    for array, result in zip(written, results[len(results) - len(written) :], strict=True):
        context.write(array, result)


def _united(regions: Sequence[Region], names: Sequence[str], what: str) -> tuple[list[list[Any]], TreeDef]:
    """The leaves of each region's result, the arrays among them of the same types, and their structure."""
    flattened = [flatten(region.result) for region in regions]
    tree = flattened[0][1]
    for name, (_, other) in zip(names[1:], flattened[1:], strict=True):
        check_structure(what, (names[0], tree), (name, other))
    columns: list[list[Any]] = [list(leaves) for leaves, _ in flattened]
    for place, path in enumerate(paths(tree, "result")):
        if not all(is_array(own[place]) for own in columns):
            for own in columns[1:]:
                check_static(what, path, columns[0][place], own[place])
            continue
        tracers = [region.lift(own[place]) for region, own in zip(regions, columns, strict=True)]
        dtype = common_dtype([(t.dtype, t.weak) for t in tracers])
        for name, tracer in zip(names, tracers, strict=True):
            if not same_sizes(tracer.shape, tracers[0].shape) or (dtype is None and tracer.dtype is not tracers[0].dtype):
                raise_different(what, path, (names[0], tracers[0].type), (name, tracer.type))
        for region, own, tracer in zip(regions, columns, tracers, strict=True):
            own[place] = region.convert(tracer, dtype)
    return columns, tree


def _name(function: Function, what: str) -> str:
    name = str(getattr(function, "__name__", what))
    return name if name.isidentifier() else what
