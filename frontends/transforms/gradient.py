"""``grad``, ``value_and_grad`` and ``vjp``: derivatives of functions, in every mode, to any order.

Called eagerly, the function runs op by op (Python control flow on values works, breakpoints too) and what it recorded is
differentiated; inside a traced function or static graph the gradient becomes part of that graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import default_float
from graphc.errors import ArgumentError, GradientError
from graphc.frontends.array.core import astype, is_scalar, lift, show_shape
from graphc.frontends.dispatch import Array, Context, active_trace, context_of, eager_context
from graphc.frontends.eager.autograd import compute_gradients
from graphc.frontends.eager.recording import Leaf, Record, Reference, ordered_sources, recorders
from graphc.frontends.eager.tensor import Tensor, from_gradient
from graphc.frontends.grad_mode import enable_grad
from graphc.frontends.pytree import TreeDef, flatten, unflatten
from graphc.frontends.symbolic import GraphContext, Tracer, as_traced

Argnums = int | Sequence[int]


class _Inputs(NamedTuple):
    """The arguments being differentiated: fresh copies, so that only what flows through *them* counts.

    ``starts``: what graph or recording knew of the copies before the function, which may write to them, saw them.
    """

    context: Context
    copies: tuple[Any, ...]
    starts: tuple[Any, ...]
    tree: TreeDef


def _fresh(value: Any, what: str, context: Context) -> Any:
    if is_scalar(value):
        value = astype(context.literal(float(value), default_float), default_float)
    array = lift(value)
    if not array.dtype.is_inexact:
        raise GradientError(
            f"{what}: an argument of type {array.type} has no gradient: only floating arrays do",
            hint="convert it to a floating dtype, or leave it out of argnums",
        )
    if isinstance(array, Tracer):
        value = array.context.emit("reshape", array.value, shape=array.shape)
        tracer = array.context.array_class(array.context, value)
        tracer._requires_grad = True
        return tracer
    assert isinstance(array, Tensor)
    if not array.requires_grad:
        leaf = Tensor.wrap(array._array).requires_grad_()
        if recorders.active:  # the recording goes on through the leaf
            assert leaf._reference is not None
            leaf._reference.source.origin = array.recorded(leaf._reference.source.location)  # type: ignore[union-attr]
        array = leaf
    return eager_context().copy(array)


def _prepare(what: str, args: Sequence[Any], argnums: Argnums) -> tuple[list[Any], _Inputs]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(f"{what}: argnums {number} is out of range for {len(args)} positional arguments")
    numbers = [n % len(args) for n in numbers]
    selected = args[numbers[0]] if isinstance(argnums, int) else tuple(args[n] for n in numbers)
    leaves, tree = flatten(selected)
    context = active_trace() or context_of(leaves)
    copies = tuple(_fresh(leaf, what, context) for leaf in leaves)
    replaced = unflatten(tree, copies)
    new = list(args)
    for position, number in enumerate(numbers):
        new[number] = replaced if isinstance(argnums, int) else replaced[position]
    starts = tuple(c.value if isinstance(c, Tracer) else c.reference() for c in copies)
    return new, _Inputs(context, copies, starts, tree)


def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives ``(function(...), gradient)``; the gradient has the structure of the arguments ``argnums``.

    ``function`` must return a floating scalar, or with ``has_aux`` a pair (scalar, anything), and the value is then that pair.
    Raises GradientError for another result, or for an argument that is not floating.

    >>> gc.value_and_grad(lambda x: (x * x).sum())(gc.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = f"grad of {getattr(function, '__name__', 'a function')}"
        with enable_grad():
            new, inputs = _prepare(name, args, argnums)
            result = as_traced(function)(*new, **kwargs)
            value, aux = _split(result, has_aux, name)
            flows = _pull(name, inputs, [value], [None])
        value = _outward(value, inputs)
        gradient = unflatten(inputs.tree, flows)
        return ((value, _outward_tree(aux, inputs)), gradient) if has_aux else (value, gradient)

    return wrapped


def grad(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``function``'s scalar result; with ``has_aux`` the pair (gradient, aux).

    Composes with itself and with ``jit`` in any order. See :func:`value_and_grad`.

    >>> gc.grad(gc.grad(lambda x: x**3))(2.0)
    tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
    """``(function(*primals), pullback)``: ``pullback(cotangents)`` gives the gradients of ``primals``, at every call.

    Results and cotangents may be nested structures; integer results take None. (JAX's ``vjp``.)
    """
    with enable_grad():
        new, inputs = _prepare("vjp", primals, tuple(range(len(primals))))
        result = as_traced(function)(*new)
    leaves, tree = flatten(result)
    outputs = [lift(leaf) for leaf in leaves]

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        seeds, its_tree = flatten(cotangents)
        if its_tree != tree:
            raise GradientError("vjp: the cotangents must have the structure of the function's result")
        with enable_grad():
            flows = _pull("vjp", inputs, outputs, seeds, retain=True)
        gradients: tuple[Any, ...] = unflatten(inputs.tree, flows)
        return gradients

    return unflatten(tree, [_outward(o, inputs) for o in outputs]), pullback


def _split(result: Any, has_aux: bool, what: str) -> tuple[Array, Any]:
    if has_aux:
        if not (isinstance(result, tuple) and len(result) == 2):
            raise GradientError(f"{what}: with has_aux the function must return a pair (scalar, aux)")
        result, aux = result
    else:
        aux = None
    if not isinstance(result, (Array, np.ndarray, np.generic, int, float)):
        raise GradientError(
            f"{what}: the function returned {type(result).__name__}, and only a floating scalar has a gradient",
            hint="return one scalar array, or use has_aux=True for a pair",
        )
    value = lift(result)
    if value.shape != () or not value.dtype.is_inexact:
        raise GradientError(
            f"{what}: the function must return a floating scalar, not {value.type} of shape {show_shape(value.shape)}",
            hint="reduce it with .sum() or .mean(), or use gc.vjp",
        )
    return value, aux


def _pull(
    what: str, inputs: _Inputs, outputs: Sequence[Array], seeds: Sequence[Any], *, retain: bool = False
) -> list[Any]:
    """The gradients of the copies, as arrays; zeros where none flows."""
    pairs = [
        (o, s) for o, s in zip(outputs, seeds, strict=True) if o.dtype.is_inexact and (s is not None or len(outputs) == 1)
    ]
    if isinstance(inputs.context, GraphContext):
        return _pull_in_graph(inputs, pairs)
    roots = []
    for output, seed in pairs:
        assert isinstance(output, Tensor)
        reference = output.reference()
        if reference is not None and reference.requires_grad:
            roots.append((reference, output.seed(seed)))
    targets = inputs.starts
    is_function = _depends_on_others(roots, targets)  # of something that wants gradients
    create = bool(recorders.active) or is_function
    found = compute_gradients(roots, targets, retain_graph=retain or create, create_graph=create) if roots else {}
    result: list[Any] = []
    for copy, target in zip(inputs.copies, targets, strict=True):
        gradient = found.get(target)
        if gradient is None:
            result.append(Tensor.wrap(np.zeros_like(copy._array)))
        else:
            found_array = from_gradient(gradient)
            result.append(found_array if is_function or not create else found_array.detach())
    return result


def _depends_on_others(roots: Sequence[tuple[Reference, Any]], targets: Sequence[Reference]) -> bool:
    """Whether something else than the fresh copies wants gradients: then the gradient must be differentiable itself."""
    own: set[int] = set()
    for target in targets:
        source = target.source
        assert isinstance(source, Record)
        for operand in source.inputs:
            if isinstance(operand, Reference) and isinstance(operand.source, Leaf) and operand.source.tensor is None:
                own.add(id(operand.source))
    order = ordered_sources([r for r, _ in roots] + list(targets), only_gradients=True)
    return any(isinstance(source, Leaf) and id(source) not in own for source in order)


def _pull_in_graph(inputs: _Inputs, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
    context = inputs.context
    assert isinstance(context, GraphContext)
    seeds = []
    for output, seed in pairs:
        value = context.lift(output).value
        given = context.builder.full_like(value, 1) if seed is None else context.lift(seed).value
        seeds.append((value, given))
    flows = context.cotangents(seeds, inputs.starts)
    result: list[Any] = []
    for start, flow in zip(inputs.starts, flows, strict=True):
        tracer = context.array_class(context, context.builder.zeros_like(start) if flow is None else flow)
        tracer._requires_grad = True
        result.append(tracer)
    return result


def _outward(value: Array, inputs: _Inputs) -> Array:
    """The function's result for the caller: without the history that ends in the private copies."""
    if isinstance(value, Tensor):
        reference = value.reference()
        if reference is not None and reference.requires_grad:
            targets = inputs.starts
            if not _depends_on_others([(reference, None)], targets):
                return value.detach()
    return value


def _outward_tree(aux: Any, inputs: _Inputs) -> Any:
    leaves, tree = flatten(aux)
    return unflatten(tree, [_outward(leaf, inputs) if isinstance(leaf, Array) else leaf for leaf in leaves])


