"""Who decides about a condition: Python, or a run of the graph."""

from __future__ import annotations

from typing import Any

from graphc.errors import ControlFlowError
from graphc.frontends.array.elementwise import not_equal
from graphc.frontends.array.movement import reshape
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer


def context_for(value: Any) -> Any:
    """The graph under construction in which control flow on ``value`` is to be traced; None where Python decides.

    Python decides on Python values, on arithmetic with Python arguments (under a guard), and where everything runs at once.
    """
    if not isinstance(value, Array) or (isinstance(value, Tracer) and value._concrete is not Tracer.NO_VALUE):
        return None
    context = active_trace() or value.context
    return context if isinstance(context, GraphContext) else None


def predicate(value: Any, what: str) -> Any:
    """The traced bool scalar that a condition is; None for what Python decides by itself.

    Raises ControlFlowError for an array of several elements, which is neither true nor false.
    """
    context = context_for(value)
    if context is None:
        return None
    array = context.lift(value)
    if any(size != 1 for size in array.shape):
        raise ControlFlowError(
            f"the condition of {what} is an array of type {array.type}, and must be a scalar",
            hint="reduce it with .any() or .all(), or choose elementwise with gc.where",
            cause=ControlFlowError.CONDITION,
        )
    if array.shape:
        array = reshape(array, ())
    return array if array.dtype.is_bool else not_equal(array, 0)
