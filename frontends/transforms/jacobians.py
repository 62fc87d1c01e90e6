"""``jacobian``, ``hessian`` and ``hvp``: all derivatives of a function with many inputs and outputs, and products with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.dtypes import int64
from graphc.errors import ArgumentError, GradientError
from graphc.frontends.array.core import lift
from graphc.frontends.dispatch import Array, Context, bind, eager_context
from graphc.frontends.grad_mode import enable_grad
from graphc.frontends.pytree import flatten, unflatten
from graphc.frontends.transforms.batching import vmap
from graphc.frontends.transforms.forward import jvp
from graphc.frontends.transforms.gradient import grad, with_aux
from graphc.frontends.transforms.linear import Argnums, Linear, prepare
from graphc.frontends.transforms.naming import function_name
from graphc.ir.dims import Dim, product
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType

_MODES = ("auto", "forward", "reverse")


def jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, *, mode: str = "auto", has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives all derivatives of ``function``'s result by the arguments ``argnums``.

    For one array by one array it is an array of shape (*result, *argument). Where the result or the arguments are nested
    structures, it has the structure of the result, with that of the arguments in place of each array.

    ``mode``: "reverse" pulls back one unit vector for each element of the result, all at once by ``vmap``; "forward" pushes one
    for each element of the arguments; "auto" takes what needs fewer. With ``has_aux`` the function returns a pair (result,
    anything), and so does the new function. Composes with everything else. Raises GradientError for arguments or results that
    are not floating.

    >>> gc.jacobian(lambda x: x**2)(gc.tensor([1.0, 2.0, 3.0]))
    tensor([[2., 0., 0.],
            [0., 4., 0.],
            [0., 0., 6.]])
    """
    if mode not in _MODES:
        raise ArgumentError(
            f"jacobian: mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}", cause=ArgumentError.CHOICE
        )

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        what = f"jacobian of {function_name(function)}"
        with enable_grad():
            new, inputs = prepare(what, args, argnums)
            result, aux = with_aux(function(*new, **kwargs), has_aux, what)
            leaves, tree = flatten(result)
            linear = Linear(what, inputs, [_floating(lift(leaf), what) for leaf in leaves])
            blocks = _by_columns(linear) if _is_forward(linear, mode) else _by_rows(linear)
        rows = [unflatten(inputs.tree, row) for row in blocks]
        whole = unflatten(tree, rows)
        return (whole, linear.outward_tree(aux)) if has_aux else whole

    return wrapped


def jacfwd(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """:func:`jacobian` in forward mode: for functions with fewer inputs than outputs. (JAX's ``jacfwd``.)"""
    return jacobian(function, argnums, mode="forward", has_aux=has_aux)


def jacrev(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """:func:`jacobian` in reverse mode: for functions with fewer outputs than inputs. (JAX's ``jacrev``.)"""
    return jacobian(function, argnums, mode="reverse", has_aux=has_aux)


def hessian(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives all second derivatives of ``function`` by the arguments ``argnums``.

    For a scalar of one array it is an array of shape (*argument, *argument); for nested structures it is nested twice, as
    ``jacobian(jacobian(function))``, which it is: the inner in reverse mode, the outer in forward mode. With ``has_aux`` as
    there.

    >>> gc.hessian(lambda x: x[0] ** 2 * x[1])(gc.tensor([1.0, 3.0]))
    tensor([[6., 2.],
            [2., 0.]])
    """
    return jacfwd(jacrev(function, argnums, has_aux=has_aux), argnums, has_aux=has_aux)


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """The product of the Hessian of ``function``, a scalar, with ``tangents``: a tuple with the structure of ``primals``.

    It costs a small multiple of the function, where the whole Hessian costs that for each input. ``primals`` and ``tangents``
    are tuples of the positional arguments, as for :func:`jvp`. With ``has_aux`` the function returns a pair (scalar, anything),
    and the result is a pair too.

    >>> gc.hvp(lambda x: (x**3).sum(), (gc.tensor([1.0, 2.0]),), (gc.tensor([1.0, 1.0]),))
    (tensor([ 6., 12.]),)
    """
    if not isinstance(primals, (tuple, list)):
        raise ArgumentError(
            f"hvp of {function_name(function)}: primals must be a tuple of the arguments, not a {type(primals).__name__}",
            hint="write gc.hvp(f, (x,), (v,))",
            cause=ArgumentError.STRUCTURE,
        )
    gradient = grad(function, tuple(range(len(primals))), has_aux=has_aux)
    found = jvp(gradient, primals, tangents, has_aux=has_aux)
    return (found[1], found[2]) if has_aux else found[1]


def _floating(output: Array, what: str) -> Array:
    if not output.dtype.is_inexact:
        raise GradientError(
            f"{what}: a result of type {output.type} has no derivative: only floating arrays do",
            hint="return it as aux, with has_aux=True",
            cause=GradientError.NOT_FLOATING,
        )
    return output


def _is_forward(linear: Linear, mode: str) -> bool:
    if mode != "auto":
        return mode == "forward"
    inputs, outputs = (sum((x.type.size for x in xs), 0) for xs in (linear.inputs.copies, linear.outputs))
    return isinstance(inputs, int) and isinstance(outputs, int) and inputs < outputs


def _by_rows(linear: Linear) -> list[list[Any]]:
    """For each output its derivatives by each input: cotangents of each unit vector of the output."""
    blocks: list[list[Any]] = []
    for position, output in enumerate(linear.outputs):
        if output.shape == ():
            one = _unit_vectors(linear.inputs.context, output.type)
            blocks.append(linear.pull(_only(position, _reshaped(one, ()), len(linear.outputs))))
            continue

        def pull(cotangent: Any, position: int = position) -> tuple[Any, ...]:
            return tuple(linear.pull(_only(position, cotangent, len(linear.outputs))))

        rows = vmap(pull)(_unit_vectors(linear.inputs.context, output.type))
        shapes = [(*output.shape, *c.shape) for c in linear.inputs.copies]
        blocks.append([_reshaped(row, shape) for row, shape in zip(rows, shapes, strict=True)])
    return blocks


def _by_columns(linear: Linear) -> list[list[Any]]:
    """The same by tangents of each unit vector of each input."""
    columns: list[list[Any]] = []
    for position, copy in enumerate(linear.inputs.copies):
        count = len(linear.inputs.copies)
        if copy.shape == ():
            one = _unit_vectors(linear.inputs.context, copy.type)
            columns.append(linear.push(_only(position, _reshaped(one, ()), count)))
            continue

        def push(tangent: Any, position: int = position, count: int = count) -> tuple[Any, ...]:
            return tuple(linear.push(_only(position, tangent, count)))

        found = vmap(push, out_axes=-1)(_unit_vectors(linear.inputs.context, copy.type))
        shapes = [(*o.shape, *copy.shape) for o in linear.outputs]
        columns.append([_reshaped(column, shape) for column, shape in zip(found, shapes, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def _only(position: int, value: Any, count: int) -> list[Any]:
    """``value`` at ``position`` among ``count`` changes that are zero."""
    return [value if i == position else None for i in range(count)]


def _reshaped(x: Array, shape: Sequence[Dim]) -> Array:
    """``x``, which is nobody else's, under another shape."""
    return bind("reshape", x, shape=tuple(shape))


def _unit_vectors(context: Context, type_: TensorType) -> Array:
    """All arrays of ``type_`` with a single one among zeros, in order, along an axis in front."""
    size = product(type_.shape)
    if context is eager_context() and isinstance(size, int):
        return _reshaped(context.literal(np.eye(size), type_.dtype), (size, *type_.shape))
    iota, eq, convert = (get_primitive(name) for name in ("iota", "eq", "convert_element_type"))
    attributes = {"dtype": int64, "shape": (size, size)}
    positions = [context.bind(iota, (), {**attributes, "axis": axis})[0] for axis in (0, 1)]
    (same,) = context.bind(eq, positions, {})
    (identity,) = context.bind(convert, (same,), {"dtype": type_.dtype})
    return _reshaped(identity, (size, *type_.shape))
