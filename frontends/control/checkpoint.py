"""``checkpoint``: a function whose gradient computes its values again instead of keeping them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from graphc.errors import ArgumentError
from graphc.frontends.control.cond import finish
from graphc.frontends.control.leaves import is_array
from graphc.frontends.control.region import Surroundings, union_of_captures
from graphc.frontends.dispatch import Array, context_of
from graphc.frontends.grad_mode import mode
from graphc.frontends.pytree import flatten, unflatten
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.primitive import get_primitive, primitives
from graphc.ops.recompute import EVERYTHING

F = TypeVar("F", bound=Callable[..., Any])
_POLICIES = {"nothing": (), "products": ("dot_general", "conv_general"), "everything": (EVERYTHING,)}


def checkpoint(function: F | None = None, *, policy: str | Sequence[str] = "nothing") -> Any:
    """``function`` with a gradient that keeps what goes in, and computes what is in between again. A decorator too.

    Memory is traded for time: of a chain of checkpointed layers, or of a :func:`scan` over a checkpointed step, only what goes
    from one to the next is kept. ``policy`` says what else is: ``"nothing"``; ``"products"``, the results of matrix products
    and convolutions, which are what takes long; ``"everything"``, as without; or the names of primitives. The values are the
    same whatever it is. Eagerly everything within is computed again.

    ``function`` may read arrays from around it, and its calls may be nested. Raises ArgumentError for an unknown policy.
    (T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; JAX's ``jax.checkpoint``.)

    >>> gc.grad(gc.checkpoint(lambda x: gc.sin(gc.sin(x))))(0.0)
    tensor(1.)
    """
    if function is None:
        return functools.partial(checkpoint, policy=policy)
    if not callable(function):
        raise ArgumentError(
            f"checkpoint needs a function, not {function!r}", hint="use it as gc.checkpoint(f)", cause=ArgumentError.FUNCTION
        )
    saved = _saved(policy)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, _ = flatten((args, kwargs))
        context: Any = context_of([leaf for leaf in leaves if isinstance(leaf, Array)])
        if not mode.enabled:
            return function(*args, **kwargs)
        return _emit(context, lambda: function(*args, **kwargs), saved)

    return cast("F", wrapped)


def _saved(policy: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(policy, str):
        if policy not in _POLICIES:
            raise ArgumentError(
                f"checkpoint: there is no policy {policy!r}", hint=f"use one of {', '.join(_POLICIES)}, or names of primitives",
                cause=ArgumentError.CHOICE,
            )
        return _POLICIES[policy]
    unknown = [name for name in policy if name not in primitives()]
    if unknown:
        raise ArgumentError(
            f"checkpoint: {unknown[0]!r} is no primitive",
            hint="see graphc.ops.names() for all of them",
            cause=ArgumentError.CHOICE,
        )
    return tuple(policy)


def _emit(context: Any, function: Callable[[], Any], saved: tuple[str, ...]) -> Any:
    around = Surroundings(context)
    region = around.keep_trying(lambda: around.trace("checkpoint", lambda _: function()))
    leaves, tree = flatten(region.result)
    outputs = [region.lift(leaf) if is_array(leaf) else leaf for leaf in leaves]
    arrays = [o for o in outputs if isinstance(o, Tracer)]
    captures = union_of_captures([region])
    written = [c.outer for c in region.written]
    if not isinstance(context, GraphContext) and not any(c.requires_grad for c in captures):
        region.context.close()
        return function()  # nothing is kept for a gradient that nobody wants
    flows = [a._requires_grad for a in arrays]
    weak = [a.weak for a in arrays]
    graph = region.graph(captures, [*arrays, *written])
    if not captures and not graph.effects:  # nothing to be differentiated
        return function()
    results = context.bind(get_primitive("checkpoint"), captures, {"graph": graph, "saved": saved})
    finish(context, results, flows, written)
    for result, is_weak in zip(results, weak, strict=False):
        result.weak = is_weak
    given = iter(results)
    return unflatten(tree, [next(given) if isinstance(o, Tracer) else o for o in outputs])
