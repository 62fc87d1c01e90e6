"""Updates of the Variables of a static graph: TensorFlow 1.x's ``minimize`` in its two halves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphc.errors import ArgumentError, GradientError
from graphc.frontends.array.core import show_shape
from graphc.frontends.array.creation import full
from graphc.frontends.grad_mode import no_grad
from graphc.frontends.static.operations import gradients, group
from graphc.frontends.static.tensor import Operation, StaticTensor
from graphc.frontends.static.variable import Variable, assign, assign_add

Apply = Callable[[Any, Any, dict[str, Any]], tuple[Any, dict[str, Any]]]


def gradients_of(loss: StaticTensor, variables: Iterable[Variable] | None) -> list[tuple[Any, Variable]]:
    """(gradient or None, Variable) for each of ``variables``, by default all trainable ones of the loss's graph."""
    graph = loss.context
    if variables is None:
        chosen = [v for v in graph.variables if v.trainable and v.dtype.is_inexact]
    else:
        chosen = list(variables)
    if not chosen:
        raise ArgumentError(
            f"{graph.name} has no trainable Variables", hint="make some, or pass var_list", cause=ArgumentError.OPTIMIZER
        )
    for variable in chosen:
        if not isinstance(variable, Variable):
            raise ArgumentError(f"var_list holds Variables, not a {type(variable).__name__}", cause=ArgumentError.OPTIMIZER)
    if any(size != 1 for size in loss.shape):
        raise GradientError(
            f"only a scalar can be minimized, and the loss has shape {show_shape(loss.shape)}",
            hint="reduce it first, for example with gc.mean",
            cause=GradientError.NOT_SCALAR,
        )
    return list(zip(gradients(loss, chosen), chosen, strict=True))


def update_operation(
    pairs: Iterable[tuple[Any, Any]],
    slots: Callable[[Any], dict[str, tuple[Any, float, Any]]],
    apply: Apply,
    name: str,
    global_step: Any,
) -> Operation:
    """An operation that updates each Variable of ``pairs`` (gradient, Variable) by ``apply(variable, gradient,
    slots)``.

    ``slots(variable)`` gives the shape, initial value and dtype of what is remembered, by name: Variables that are not
    trainable, which the initializer sets with all others.
    """
    known = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
    for _, variable in known:
        if not isinstance(variable, Variable):
            raise ArgumentError(
                f"apply_gradients takes (gradient, Variable) pairs, not a {type(variable).__name__}",
                cause=ArgumentError.OPTIMIZER,
            )
    if not known:
        raise GradientError(
            "no Variable has a gradient", hint="the loss must be computed from the Variables that are to be trained",
            cause=GradientError.UNCONNECTED,
        )
    graph = known[0][1].context
    updates: list[Any] = []
    with graph.as_default(), no_grad(), graph.name_scope(name):
        for gradient, variable in known:
            state = {
                slot: Variable(full(shape, value, dtype=dtype), trainable=False, name=f"{variable.name}/{slot}")
                for slot, (shape, value, dtype) in slots(variable).items()
            }
            new, changed = apply(variable, gradient, state)
            updates.append(assign(variable, new))
            updates += [assign(state[slot], value) for slot, value in changed.items()]
        if global_step is not None:
            updates.append(assign_add(global_step, 1))
    return group(*updates, name=name)
