"""``custom_vjp``: a function whose gradient the user writes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ArgumentError, GradientError
from graphc.frontends.array.core import lift_in
from graphc.frontends.control.cond import finish
from graphc.frontends.control.leaves import check_structure, is_array
from graphc.frontends.control.region import Region, RegionContext, Surroundings, union_of_captures
from graphc.frontends.dispatch import Array, context_of
from graphc.frontends.grad_mode import mode
from graphc.frontends.pytree import TreeDef, flatten, paths, unflatten
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import same_sizes
from graphc.ir.primitive import get_primitive


class CustomVjp:
    """A function with a gradient of its own. Made by :func:`custom_vjp`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._traced = threading.local()  # ``forward`` set: it is being traced in this thread

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """``forward(*args)`` gives (result, residuals); ``backward(residuals, cotangent)`` a tuple with a cotangent for each
        argument, None for one without. A call of the function itself in ``forward`` is one without this gradient.

        The cotangent has the structure of the result, and None for what is not floating.
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        if self._forward is None or self._backward is None:
            raise ArgumentError(
                f"custom_vjp: {_name(self.function)} has no gradient yet", hint="give it one: f.defvjp(forward, backward)",
                cause=ArgumentError.FUNCTION,
            )
        leaves, tree = flatten(list(args))
        context: Any = context_of([leaf for leaf in leaves if isinstance(leaf, Array)])
        if not mode.enabled or getattr(self._traced, "forward", False):
            return self.function(*args)
        return _Call(self, context, leaves, tree).run()

    def __repr__(self) -> str:
        return f"<custom_vjp {_name(self.function)}>"


def custom_vjp(function: Callable[..., Any]) -> CustomVjp:
    """``function`` with a gradient that is given by ``defvjp``; use as a decorator.

    For gradients that are known better than they can be derived: of a fixed point, of a function with a kink, to clip or to
    scale what flows back. Arguments and results are structures of arrays. No gradient flows to arrays that the functions read
    from around them. All three are traced, also eagerly. What the gradient does can be differentiated in turn. (JAX's
    ``jax.custom_vjp``.)

    Raises ArgumentError where it is called before ``defvjp``, GradientError where ``backward`` gives other types than the
    arguments have.

    >>> @gc.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (gc.clip(g, -1.0, 1.0),))
    >>> gc.grad(lambda x: clip_gradient(x) * 100)(2.0)
    tensor(1.)
    """
    if not callable(function):
        raise ArgumentError(
            f"custom_vjp needs a function, not {function!r}", hint="use it as @gc.custom_vjp", cause=ArgumentError.FUNCTION
        )
    return CustomVjp(function)


class _Call:
    """One call in the making."""

    def __init__(self, of: CustomVjp, context: Any, leaves: Sequence[Any], tree: TreeDef) -> None:
        self.of, self.context, self.tree = of, context, tree
        self.name = _name(of.function)
        self.leaves = list(leaves)
        self.places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
        self.arrays: list[Any] = [lift_in(context, leaves[i]) for i in self.places]

    def arguments(self, region: RegionContext) -> tuple[list[Tracer], list[Any]]:
        made = [region.parameter(a.type, "x", weak=a.weak) for a in self.arrays]
        leaves = list(self.leaves)
        for place, tracer in zip(self.places, made, strict=True):
            leaves[place] = tracer
        return made, unflatten(self.tree, leaves)

    def run(self) -> Any:
        if not isinstance(self.context, GraphContext) and not any(a.requires_grad for a in self.arrays):
            leaves = list(self.leaves)
            for place, array in zip(self.places, self.arrays, strict=True):
                leaves[place] = array
            return self.of.function(*unflatten(self.tree, leaves))
        around = Surroundings(self.context)
        function, forward = self.of.function, self.of._forward
        assert forward is not None

        def trace() -> tuple[Any, ...]:
            given: list[list[Tracer]] = []

            def primal(region: RegionContext) -> Any:
                made, args = self.arguments(region)
                given.append(made)
                return function(*args)

            def ahead(region: RegionContext) -> Any:
                made, args = self.arguments(region)
                given.append(made)
                self.of._traced.forward = True
                try:
                    return self.pair(forward(*args))
                finally:
                    self.of._traced.forward = False

            first, second = around.trace(self.name, primal), around.trace(f"{self.name}_forward", ahead)
            leaves, tree = flatten(first.result)
            outputs = [first.lift(leaf) if is_array(leaf) else leaf for leaf in leaves]
            results, result_tree = flatten(second.result[0])
            check_structure(f"custom_vjp of {self.name}", ("the function", tree), ("forward", result_tree))
            ahead_outputs = [second.lift(leaf) if is_array(leaf) else leaf for leaf in results]
            kept, kept_tree = flatten(second.result[1])
            residuals = [second.lift(leaf) if is_array(leaf) else leaf for leaf in kept]
            back = self.backward(around, outputs, tree, residuals, kept_tree)
            return first, second, given, outputs, tree, ahead_outputs, residuals, back

        first, second, given, outputs, tree, ahead_outputs, residuals, back = around.keep_trying(trace)
        return self.emit(first, second, given, outputs, tree, ahead_outputs, residuals, back)

    def backward(
        self, around: Surroundings, outputs: Sequence[Any], tree: TreeDef, residuals: Sequence[Any], kept_tree: TreeDef
    ) -> tuple[Region, list[Tracer], list[Any]]:
        backward = self.of._backward
        assert backward is not None
        parameters: list[Tracer] = []

        def run(region: RegionContext) -> Any:
            kept: list[Any] = []
            for residual in residuals:
                if isinstance(residual, Tracer):
                    parameters.append(region.parameter(residual.type, "residual"))
                kept.append(parameters[-1] if isinstance(residual, Tracer) else residual)
            seeds: list[Any] = []
            for output in outputs:
                flows = isinstance(output, Tracer) and output.dtype.is_inexact
                if flows:
                    parameters.append(region.parameter(output.type, "cotangent"))
                seeds.append(parameters[-1] if flows else None)
            return backward(unflatten(kept_tree, kept), unflatten(tree, seeds))

        region = around.trace(f"{self.name}_backward", run)
        return region, parameters, self.cotangents(region)

    def cotangents(self, region: Region) -> list[Any]:
        """What ``backward`` gave for each floating array among the arguments; zeros for None."""
        result = region.result
        arguments = len(self.tree.children)
        if not isinstance(result, (tuple, list)) or len(result) != arguments:
            raise GradientError(
                f"custom_vjp of {self.name}: backward must give a tuple with a cotangent for each of {arguments} arguments",
                hint="give None for an argument without a gradient",
                cause=GradientError.CUSTOM,
            )
        leaves: list[Any] = []
        for child, flow in zip(self.tree.children, result, strict=True):
            own, own_tree = flatten(flow)
            if flow is None:
                leaves += [None] * child.leaves
                continue
            check_structure(f"custom_vjp of {self.name}", ("the argument", child), ("its cotangent", own_tree))
            leaves += own
        found: list[Any] = []
        names = paths(self.tree, "args")
        for place, array in zip(self.places, self.arrays, strict=True):
            if not array.dtype.is_inexact:
                continue
            if leaves[place] is None:
                found.append(region.zeros(array.type))
                continue
            flow = region.convert(region.lift(leaves[place]), array.dtype)
            if not same_sizes(flow.shape, array.shape):
                raise GradientError(
                    f"custom_vjp of {self.name}: backward gives {flow.type} for {names[place]}, which has type {array.type}",
                    hint="a cotangent has the shape of its argument; sum over axes that were broadcast",
                    cause=GradientError.CUSTOM,
                )
            found.append(flow)
        return found

    def pair(self, result: Any) -> tuple[Any, Any]:
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ArgumentError(
                f"custom_vjp of {self.name}: forward must return a pair (result, residuals), not {type(result).__name__}",
                cause=ArgumentError.FUNCTION,
            )
        return result

    def emit(
        self,
        first: Region,
        second: Region,
        given: Sequence[Sequence[Tracer]],
        outputs: Sequence[Any],
        tree: TreeDef,
        ahead_outputs: Sequence[Any],
        residuals: Sequence[Any],
        back: tuple[Region, list[Tracer], list[Any]],
    ) -> Any:
        third, parameters, flows = back
        if first.written or second.written or third.written:
            raise ArgumentError(
                f"custom_vjp of {self.name}: the function writes to memory around it, or draws random numbers",
                hint="pass what it reads as an argument, and return what it makes",
            )
        captures = union_of_captures([first, second, third])
        arrays = [o for o in outputs if isinstance(o, Tracer)]
        differentiable = [a._requires_grad for a in arrays]
        attributes = {
            "graph": first.graph([*captures, *given[0]], arrays),
            "forward": second.graph(
                [*captures, *given[1]], [t for t in (*ahead_outputs, *residuals) if isinstance(t, Tracer)]
            ),
            "backward": third.graph([*captures, *parameters], flows),
            "constants": len(captures),
        }
        results = self.context.bind(get_primitive("custom_vjp"), [*captures, *self.arrays], attributes)
        finish(self.context, results, differentiable, ())
        found = iter(results)
        return unflatten(tree, [next(found) if isinstance(o, Tracer) else o for o in outputs])


def _name(function: Any) -> str:
    name = str(getattr(function, "__name__", "function"))
    return name if name.isidentifier() else "function"
