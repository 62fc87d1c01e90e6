"""``jvp`` and ``linearize``: forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ArgumentError, GradientError
from graphc.frontends.arguments import check_function
from graphc.frontends.array.core import lift
from graphc.frontends.grad_mode import enable_grad
from graphc.frontends.pytree import TreeDef, flatten, unflatten
from graphc.frontends.transforms.gradient import with_aux
from graphc.frontends.transforms.linear import Linear, prepare
from graphc.frontends.transforms.naming import function_name


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """``(function(*primals), tangent)``: the derivative of the result in the direction ``tangents`` of the arguments.

    ``primals`` and ``tangents`` are tuples of the positional arguments, nested structures of floating arrays; each tangent is
    of the type of its primal. The result's tangent has its structure, with None for integers. With ``has_aux`` the function
    returns a pair (result, anything), and the anything comes third. (JAX's ``jvp``.)

    The cost is that of about two calls, whatever the number of inputs, while ``grad`` and ``vjp`` cost so much whatever the
    number of outputs. Raises GradientError for arguments that are not floating, or tangents that do not fit.

    >>> gc.jvp(gc.sin, (0.0,), (2.0,))
    (tensor(0.), tensor(2.))
    """
    what = f"jvp of {function_name(function)}"
    value, push, aux = _linearized(what, function, primals, has_aux)
    if not isinstance(tangents, (tuple, list)):
        raise ArgumentError(
            f"{what}: tangents must be a tuple, one for each argument, not a {type(tangents).__name__}",
            hint="write gc.jvp(f, (x,), (t,))",
            cause=ArgumentError.STRUCTURE,
        )
    tangent = push(*tangents)
    return (value, tangent, aux) if has_aux else (value, tangent)


def linearize(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(function(*primals), pushforward)``: ``pushforward(*tangents)`` gives the tangent of the result, at every call.

    The function runs once; each pushforward reads what was kept of it. With ``has_aux`` the function returns a pair (result,
    anything), and the anything comes third. See :func:`jvp`. (JAX's ``linearize``.)

    >>> value, pushforward = gc.linearize(lambda x: x**2, gc.tensor([1.0, 2.0]))
    >>> pushforward(gc.tensor([1.0, 10.0]))
    tensor([ 2., 40.])
    """
    value, push, aux = _linearized(f"linearize of {function_name(function)}", function, primals, has_aux)
    return (value, push, aux) if has_aux else (value, push)


def _linearized(
    what: str, function: Callable[..., Any], primals: Sequence[Any], has_aux: bool
) -> tuple[Any, Callable[..., Any], Any]:
    check_function(function, f"{what.partition(' ')[0]}: what is differentiated")
    if not isinstance(primals, (tuple, list)):
        raise ArgumentError(
            f"{what}: primals must be a tuple of the arguments, not a {type(primals).__name__}",
            hint="write gc.jvp(f, (x,), (t,))",
            cause=ArgumentError.STRUCTURE,
        )
    with enable_grad():
        new, inputs = prepare(what, primals, tuple(range(len(primals))))
        result, aux = with_aux(function(*new), has_aux, what)
    leaves, tree = flatten(result)
    linear = Linear(what, inputs, [lift(leaf) for leaf in leaves])

    def pushforward(*tangents: Any) -> Any:
        with enable_grad():
            flows = linear.push(tangents_like(what, inputs.tree, tangents))
        return unflatten(tree, flows)

    return unflatten(tree, [linear.outward(o) for o in linear.outputs]), pushforward, linear.outward_tree(aux)


def tangents_like(what: str, tree: TreeDef, tangents: Sequence[Any]) -> list[Any]:
    """The leaves of ``tangents``. Raises GradientError unless they have the structure of the primals."""
    seeds, its_tree = flatten(tuple(tangents))
    if its_tree != tree or any(seed is None for seed in seeds):
        raise GradientError(
            f"{what}: the tangents must have the structure of the primals, with an array for each array",
            hint="gc.tree_map(gc.zeros_like, primal) is a tangent of zeros",
            cause=GradientError.COTANGENT,
        )
    return seeds
