"""``while_loop`` and ``fori_loop``: steps until a condition fails, or for each number of a range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dtypes import bool_, int64
from graphc.errors import ArgumentError, CheckError, DTypeError, ShapeError, TraceError
from graphc.frontends.arguments import as_int, check_function
from graphc.frontends.array.core import astype, is_scalar
from graphc.frontends.array.creation import arange
from graphc.frontends.array.elementwise import less, logical_not
from graphc.frontends.control.carry import Carry
from graphc.frontends.control.cond import finish
from graphc.frontends.control.region import Region, RegionContext, Surroundings, union_of_captures
from graphc.frontends.control.scan import scan
from graphc.frontends.dispatch import Array, bind_all, context_of
from graphc.frontends.placement import device_like
from graphc.frontends.pytree import flatten
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType

_BOOL = TensorType(bool_, ())


def while_loop(
    condition: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, *, max_steps: int | None = None
) -> Any:
    """``carry = body(carry)`` while ``condition(carry)`` is true, beginning with ``init``; the last carry.

    The carry is any structure of arrays, which keep their types; a Python scalar in ``init`` takes the dtype that ``body``
    gives it. Both functions may read arrays from around them; ``body`` may also write to these in place. In a graph this is one
    op; eagerly it is Python's ``while``.

    ``max_steps``: the most steps there can be. A loop that goes on after them raises CheckError. In a graph a loop has a
    reverse-mode gradient only with ``max_steps`` (it keeps what each step needs); eagerly it always has one.

    Raises ShapeError or DTypeError where a step changes a type, naming the leaf. (JAX's ``lax.while_loop``.)

    >>> gc.while_loop(lambda x: x < 100, lambda x: x * 2, gc.tensor(3))
    tensor(192)
    """
    check_function(condition, "while_loop: condition")
    check_function(body, "while_loop: body")
    if max_steps is not None and as_int(max_steps, "while_loop: max_steps") < 0:
        raise ArgumentError(f"while_loop: max_steps is {max_steps}, and must be at least 0", cause=ArgumentError.RANGE)
    leaves, _ = flatten(init)
    context: Any = context_of([leaf for leaf in leaves if isinstance(leaf, Array)])
    carry = Carry.of("while_loop", context, init)
    around = Surroundings(context)
    carry = carry.settled(around, lambda _, carry, arrays: body(carry.value(arrays)))
    if not isinstance(context, GraphContext):
        return _eager_while(context, condition, body, carry, max_steps)

    def trace() -> tuple[Region, list[Tracer], Region, list[Tracer]]:
        return (*_traced(around, carry, condition), *_traced(around, carry, body))

    tested, test_parameters, stepped, step_parameters = around.keep_trying(trace)
    if tested.written or tested.context.builder.effects:
        raise TraceError(
            "while_loop: the condition writes to memory, draws random numbers or checks something, which only the body may do",
            hint="do it in the body, and carry what the condition needs",
        )
    goes_on = _truth(tested.lift(tested.result))
    outputs: list[Any] = carry.checked(stepped.context, stepped.result)
    flows = [o._requires_grad for o in outputs]
    captures = union_of_captures([tested, stepped])
    changed = {id(c.outer) for c in stepped.written}
    constants = [array for array in captures if id(array) not in changed]
    written = [array for array in captures if id(array) in changed]
    test = tested.graph([*constants, *test_parameters, *written], [goes_on])
    step = stepped.graph([*constants, *step_parameters, *written], [*outputs, *written])
    attributes = {"cond": test, "body": step, "constants": len(constants), "max_steps": max_steps}
    results = context.bind(get_primitive("while_loop"), [*constants, *carry.arrays(context), *written], attributes)
    finish(context, results, flows, written)
    if max_steps is not None:
        last = context.bind(get_primitive("call"), [*constants, *results], {"graph": test})[0]
        bind_all("check", logical_not(last), message=_goes_on_after(max_steps))
    return carry.final(results[: len(flows)])


def _traced(around: Surroundings, carry: Carry, function: Callable[[Any], Any]) -> tuple[Region, list[Tracer]]:
    parameters: list[Tracer] = []

    def run(region: RegionContext) -> Any:
        parameters[:] = carry.parameters(region)
        return function(carry.value(parameters))

    return around.trace(str(getattr(function, "__name__", "")).strip("<>") or "step", run), parameters


def _eager_while(context: Any, condition: Any, body: Any, carry: Carry, max_steps: int | None) -> Any:
    arrays = carry.arrays(context)
    steps = 0
    while bool(_truth(context.lift(condition(carry.value(arrays))))):
        if steps == max_steps:
            raise CheckError(_goes_on_after(max_steps))
        arrays = carry.checked(context, body(carry.value(arrays)))
        steps += 1
    return carry.final(arrays)


def _goes_on_after(max_steps: int) -> str:
    return f"while_loop: the condition still holds after max_steps={max_steps} steps"


def _truth(value: Any) -> Any:
    if value.shape != ():
        raise ShapeError(
            f"while_loop: the condition gives {value.type}, and must give a bool scalar",
            hint="reduce it with .any() or .all()",
            cause=ShapeError.DIMENSIONS,
        )
    if not value.dtype.is_bool:
        message = f"while_loop: the condition gives {value.type}, and must give a bool scalar"
        raise DTypeError(message, hint="compare it: x != 0", cause=DTypeError.REGION)
    return value


def fori_loop(lower: Any, upper: Any, body: Callable[[Any, Any], Any], init: Any, *, max_steps: int | None = None) -> Any:
    """``carry = body(i, carry)`` for each i of ``range(lower, upper)``, beginning with ``init``; the last carry.

    ``i`` is an int64 scalar. With Python ints as bounds this is a :func:`scan` of known length, which has gradients; with
    bounds that only a run knows it is a :func:`while_loop`, whose gradient needs ``max_steps``. (JAX's ``lax.fori_loop``.)

    >>> gc.fori_loop(0, 5, lambda i, total: total + i, 0)
    tensor(10)
    """
    check_function(body, "fori_loop: body")
    low, high = _bound(lower), _bound(upper)
    if low is not None and high is not None:
        on_device = [leaf for leaf in flatten(init)[0] if isinstance(leaf, Array) and not isinstance(leaf, Tracer)]
        indices = arange(low, max(low, high), dtype=int64, device=device_like(on_device[0]) if on_device else None)
        return scan(lambda carry, i: (body(i, carry), None), init, indices)[0]
    leaves, _ = flatten(init)
    context: Any = context_of([lower, upper, *[leaf for leaf in leaves if isinstance(leaf, Array)]])
    first, last = _index(context, lower), _index(context, upper)
    _, result = while_loop(
        lambda state: less(state[0], last),
        lambda state: (state[0] + 1, body(state[0], state[1])),
        (first, init),
        max_steps=max_steps,
    )
    return result


def _bound(value: Any) -> int | None:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Tracer) and isinstance(value._concrete, int) and not value._roots:
        return value._concrete
    return None


def _index(context: Any, value: Any) -> Any:
    array = context.lift(value)
    if array.shape != () or not array.dtype.is_integer:
        raise DTypeError(f"fori_loop: a bound must be an integer scalar, not {array.type}")
    return context.literal(value, int64) if is_scalar(value) else _strong(astype(array, int64))


def _strong(array: Any) -> Any:
    if array.weak:
        array = array.copy()
        array.weak = False
    return array
