"""``scan``: a loop over the first axis of arrays that carries state along and stacks what each step gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.dtypes import float32, float64
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_int, check_function
from graphc.frontends.array.core import astype, is_scalar, lift_in
from graphc.frontends.array.creation import zeros
from graphc.frontends.array.movement import stack
from graphc.frontends.control.carry import Carry
from graphc.frontends.control.cond import finish
from graphc.frontends.control.leaves import is_array
from graphc.frontends.control.region import Region, RegionContext, Surroundings, union_of_captures
from graphc.frontends.dispatch import Array, context_of
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.sizes import plain_size
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import Dim, DimExpr, same_size
from graphc.ir.primitive import get_primitive

Step = Callable[[Any, Any], tuple[Any, Any]]


def scan(step: Step, init: Any, xs: Any = None, length: Any = None, *, reverse: bool = False) -> tuple[Any, Any]:
    """``carry, y = step(carry, x)`` for each slice x of ``xs`` along its first axis; (the last carry, all y stacked).

    ``init`` and ``xs`` are any structures of arrays; the carry keeps its types, and a Python scalar in ``init`` takes the dtype
    that ``step`` gives it. ``length``: how many steps, needed where ``xs`` has no arrays (x is then None). ``reverse``: from
    the last slice to the first; each y stays at the place of its x. ``step`` may read arrays from around it, and write to these
    in place.

    In a graph this is one op, whose compilation takes as long for a thousand steps as for one, and its gradient is another
    scan. What the gradient needs of each step is kept; wrap ``step`` in :func:`checkpoint` to compute it again instead. Eagerly
    this is a Python loop. (JAX's ``lax.scan``.)

    Raises ShapeError or DTypeError where a step changes a type of the carry, naming the leaf.

    >>> gc.scan(lambda total, x: (total + x, total * x), 0.0, gc.tensor([1.0, 2.0, 3.0]))
    (tensor(6.), tensor([0., 2., 9.]))
    """
    check_function(step, "scan: step")
    leaves, _ = flatten((init, xs))
    context: Any = context_of([leaf for leaf in leaves if isinstance(leaf, Array)])
    x_leaves, x_tree = flatten(xs)
    arrays = _sliced(context, x_leaves, x_tree)
    size = _length(arrays, x_tree, length)
    carry = Carry.of("scan", context, init)
    around = Surroundings(context)

    def slice_parameters(region: RegionContext) -> Any:
        made = [region.parameter(a.type.with_shape(a.shape[1:]), "x") for a in arrays]
        return made, unflatten(x_tree, made if arrays else x_leaves)

    carry = carry.settled(
        around, lambda region, carry, given: _pair(step(carry.value(given), slice_parameters(region)[1]))[0]
    )
    if not isinstance(context, GraphContext):
        return _eager(context, around, step, carry, (arrays, x_leaves, x_tree), size, reverse)
    parameters: list[Tracer] = []
    slices: list[Tracer] = []

    def run(region: RegionContext) -> Any:
        parameters[:] = carry.parameters(region)
        slices[:], x = slice_parameters(region)
        return _pair(step(carry.value(parameters), x))

    region = around.keep_trying(lambda: around.trace(str(getattr(step, "__name__", "")).strip("<>") or "step", run))
    outputs: list[Any] = carry.checked(region.context, region.result[0])
    y_leaves, y_tree = flatten(region.result[1])
    ys = [_settled(region, leaf) if is_array(leaf) else leaf for leaf in y_leaves]
    stacked = [y for y in ys if isinstance(y, Tracer)]
    captures = union_of_captures([region])
    changed = {id(c.outer) for c in region.written}
    constants = [array for array in captures if id(array) not in changed]
    written = [array for array in captures if id(array) in changed]
    flows = [o._requires_grad for o in outputs], [y._requires_grad for y in stacked]
    body = region.graph(
        [*constants, *parameters, *written, *slices], [*outputs, *written, *stacked]
    )
    attributes = {
        "body": body, "constants": len(constants), "carries": len(outputs) + len(written), "length": size, "reverse": reverse,
    }  # fmt: skip
    operands = [*constants, *carry.arrays(context), *written, *arrays]
    if not operands[len(constants) :] and not stacked and not body.effects:
        return carry.final([]), unflatten(y_tree, ys)
    results = list(context.bind(get_primitive("scan"), operands, attributes))
    of_memory = results[len(outputs) : len(outputs) + len(written)]
    own = results[: len(outputs)] + results[len(outputs) + len(written) :]
    finish(context, [*own, *of_memory], [*flows[0], *flows[1]], written)
    given = iter(own[len(outputs) :])
    return carry.final(own[: len(outputs)]), unflatten(y_tree, [next(given) if isinstance(y, Tracer) else y for y in ys])


def _pair(result: Any) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ArgumentError(
            f"scan: a step must return a pair (carry, y), and this one returned {type(result).__name__}",
            hint="return (carry, None) where nothing is to be stacked",
            cause=ArgumentError.FUNCTION,
        )
    return result


def _sliced(context: Any, leaves: Sequence[Any], tree: TreeDef) -> list[Any]:
    if tree.kind is None and leaves[0] is None:
        return []
    result: list[Any] = []
    for leaf, path in zip(leaves, paths(tree, "xs"), strict=True):
        if not is_array(leaf) or is_scalar(leaf) or not leaf.shape:
            message = f"scan: {path} is {leaf!r}, which has no first axis to go along"
            raise ShapeError(message, hint="pass arrays of slices as xs", cause=ShapeError.REGION)
        result.append(lift_in(context, leaf))
    return result


def _length(arrays: Sequence[Any], tree: TreeDef, length: Any) -> Dim:
    if length is None and not arrays:
        raise ArgumentError("scan: there is nothing to go along, and no length", hint="pass xs, or length=")
    size: Dim = plain_size(length) if length is not None else arrays[0].shape[0]
    if not arrays:
        return size if isinstance(size, DimExpr) else as_int(size, "scan: length", 0)
    for array, path in zip(arrays, paths(tree, "xs"), strict=True):
        if not same_size(array.shape[0], size):
            raise ShapeError(
                f"scan: {path} has {array.shape[0]} slices (its type is {array.type}), and {size} steps are to be made",
                hint="all arrays of xs, and length, must have one size along the first axis",
                cause=ShapeError.LENGTHS,
            )
    return size


def _eager(
    context: Any, around: Surroundings, step: Step, carry: Carry, xs: tuple[Any, ...], size: Any, reverse: bool
) -> tuple[Any, Any]:
    arrays, x_leaves, x_tree = xs
    state = carry.arrays(context)
    steps: list[list[Any]] = [[]] * size
    y_tree: TreeDef | None = None
    for i in reversed(range(size)) if reverse else range(size):
        x = unflatten(x_tree, [context.copy(a[i]) for a in arrays] if arrays else x_leaves)
        new, y = _pair(step(carry.value(state), x))
        state = carry.checked(context, new)
        steps[i], y_tree = flatten(y)
    if y_tree is None:
        return carry.final(state), _nothing(around, step, carry, xs)
    columns = list(zip(*steps, strict=True))
    return carry.final(state), unflatten(y_tree, [_stacked(context, column) for column in columns])


def _stacked(context: Any, column: Sequence[Any]) -> Any:
    if not is_array(column[0]):
        return column[0]
    result: Any = stack([context.lift(y) for y in column])
    if result.weak and result.dtype is float64:
        result = astype(result, float32)
    result.weak = False
    return result


def _settled(region: Region, leaf: Any) -> Tracer:
    """What a step gives, as what is stacked; a number without a dtype of its own is a float32."""
    tracer = region.lift(leaf)
    return region.convert(tracer, float32) if tracer.weak and tracer.dtype is float64 else tracer


def _nothing(around: Surroundings, step: Step, carry: Carry, xs: tuple[Any, ...]) -> Any:
    """What no step at all stacks: arrays of the right types with a first axis of size 0."""
    arrays, x_leaves, x_tree = xs

    def run(region: RegionContext) -> Any:
        made = [region.parameter(a.type.with_shape(a.shape[1:])) for a in arrays]
        return _pair(step(carry.value(carry.parameters(region)), unflatten(x_tree, made if arrays else x_leaves)))[1]

    region: Region = around.keep_trying(lambda: around.trace("step", run))
    leaves, tree = flatten(region.result)
    lifted = [_settled(region, leaf) if is_array(leaf) else leaf for leaf in leaves]
    region.context.close()
    return unflatten(tree, [zeros((0, *y.shape), dtype=y.dtype) if isinstance(y, Tracer) else y for y in lifted])
