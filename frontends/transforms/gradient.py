"""``grad``, ``value_and_grad`` and ``vjp``: derivatives of functions, in every mode, to any order.

Called eagerly, the function runs op by op (Python control flow on values works, breakpoints too) and what it recorded is
differentiated; inside a traced function or static graph the gradient becomes part of that graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import GradientError
from graphc.frontends.arguments import check_function
from graphc.frontends.array.core import lift, show_shape
from graphc.frontends.dispatch import Array
from graphc.frontends.grad_mode import enable_grad
from graphc.frontends.pytree import flatten, unflatten
from graphc.frontends.symbolic import as_traced
from graphc.frontends.transforms.linear import Argnums, Linear, prepare
from graphc.frontends.transforms.naming import function_name


def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives ``(function(...), gradient)``; the gradient has the structure of the arguments ``argnums``.

    ``function`` must return a floating scalar, or with ``has_aux`` a pair (scalar, anything), and the value is then that pair.
    Raises GradientError for another result, or for an argument that is not floating.

    >>> gc.value_and_grad(lambda x: (x * x).sum())(gc.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    check_function(function, "grad: what is differentiated")

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = f"grad of {function_name(function)}"
        with enable_grad():
            new, inputs = prepare(name, args, argnums)
            result = as_traced(function)(*new, **kwargs)
            value, aux = _split(result, has_aux, name)
            linear = Linear(name, inputs, [value])
            flows = linear.pull([None], retain=False)
        gradient = unflatten(inputs.tree, flows)
        value = linear.outward(value)
        return ((value, linear.outward_tree(aux)), gradient) if has_aux else (value, gradient)

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


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(function(*primals), pullback)``: ``pullback(cotangents)`` gives the gradients of ``primals``, at every call.

    Results and cotangents may be nested structures; integer results take None. With ``has_aux`` the function returns a pair
    (result, anything), and the anything comes third. (JAX's ``vjp``.)

    >>> value, pullback = gc.vjp(lambda x: x**2, gc.tensor([1.0, 2.0]))
    >>> pullback(gc.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    check_function(function, "vjp: what is differentiated")
    with enable_grad():
        new, inputs = prepare("vjp", primals, tuple(range(len(primals))))
        result, aux = with_aux(as_traced(function)(*new), has_aux, "vjp")
    leaves, tree = flatten(result)
    outputs = [lift(leaf) for leaf in leaves]
    linear = Linear("vjp", inputs, outputs)

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        seeds, its_tree = flatten(cotangents)
        if its_tree != tree:
            raise GradientError(
                "vjp: the cotangents must have the structure of the function's result", cause=GradientError.COTANGENT
            )
        with enable_grad():
            flows = linear.pull(seeds)
        gradients: tuple[Any, ...] = unflatten(inputs.tree, flows)
        return gradients

    value = unflatten(tree, [linear.outward(o) for o in outputs])
    return (value, pullback, linear.outward_tree(aux)) if has_aux else (value, pullback)


def with_aux(result: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    """What a function returned, as (result, aux). Raises GradientError where it should be a pair and is not."""
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise GradientError(f"{what}: with has_aux the function must return a pair (result, aux)")
    return result


def _split(result: Any, has_aux: bool, what: str) -> tuple[Array, Any]:
    result, aux = with_aux(result, has_aux, what)
    if not isinstance(result, (Array, np.ndarray, np.generic, int, float)):
        raise GradientError(
            f"{what}: the function returned {type(result).__name__}, and only a floating scalar has a gradient",
            hint="return one scalar array, or use has_aux=True for a pair",
            cause=GradientError.NOT_SCALAR,
        )
    value = lift(result)
    if value.shape != () or not value.dtype.is_inexact:
        raise GradientError(
            f"{what}: the function must return a floating scalar, not {value.type} of shape {show_shape(value.shape)}",
            hint="reduce it with .sum() or .mean(), or use gc.vjp",
            cause=GradientError.NOT_SCALAR,
        )
    return value, aux
