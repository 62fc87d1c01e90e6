"""``while`` and ``for`` in converted code: Python's loops, or ``while_loop`` and ``scan`` ops."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphc.dtypes import bool_, int64
from graphc.errors import ControlFlowError, GraphcError, TraceError
from graphc.frontends.array.core import astype, is_scalar, lift_in
from graphc.frontends.array.creation import arange
from graphc.frontends.array.elementwise import less, logical_and
from graphc.frontends.control.leaves import is_array
from graphc.frontends.control.loops import while_loop
from graphc.frontends.control.scan import scan
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.pytree import flatten
from graphc.frontends.symbolic import Tracer
from graphc.frontends.tracing.convert.branches import Fill, if_
from graphc.frontends.tracing.convert.calls import call
from graphc.frontends.tracing.convert.jumps import RETURN_VALUE
from graphc.frontends.tracing.convert.predicate import context_for, predicate
from graphc.frontends.tracing.convert.state import State, Undefined, check_alike, raise_undefined
from graphc.frontends.tracing.convert.traps import outside
from graphc.ir.dims import DimExpr

#: A Python range (or the first axis of an array) that is longer becomes one loop op, if its steps are alike.
MAX_UNROLLED = 32
#: The longest that is unrolled where its steps are not alike.
MAX_STEPS = 2000

Block = Callable[..., None]
_BEFORE, _AFTER = "before the first step", "after it"


class TracedRange:
    """``range(start, stop, step)`` with a bound that only a run knows; ``step`` is known."""

    def __init__(self, start: Any, stop: Any, step: int) -> None:
        self.start, self.stop, self.step = start, stop, step

    def count(self, context: Any) -> Any:
        """The number of steps."""
        start, stop = _integer(context, self.start), _integer(context, self.stop)
        span = stop - start if self.step > 0 else start - stop
        size = abs(self.step)
        return span if size == 1 else (span + (size - 1)) // size


def range_(function: Any, *arguments: Any) -> Any:
    """What ``for … in range(…)`` goes over."""
    if function is not builtins.range or not any(isinstance(a, DimExpr) or context_for(a) is not None for a in arguments):
        return call(function)(*arguments)
    if len(arguments) == 1:
        return TracedRange(0, arguments[0], 1)
    step = arguments[2] if len(arguments) == 3 else 1
    if isinstance(step, DimExpr) or context_for(step) is not None:
        raise ControlFlowError(
            "the step of a range is an array, whose sign only a run knows", hint="use a Python int, or a `while` loop"
        )
    return TracedRange(arguments[0], arguments[1], int(step))


def while_(test: Callable[[], Any], body: Block, state: State) -> None:
    """``while test(): body()``. From the first condition on that is traced, the rest is one loop op."""
    while True:
        value = test()
        condition = predicate(value, "`while`")
        if condition is not None:
            break
        if not value:
            return
        body()

    def tested() -> Any:
        again = predicate(value := test(), "`while`")
        return bool(value) if again is None else again

    _Loop(state, body, "the loop").repeat(condition, tested)


def for_(
    iterable: Any, body: Block, goes_on: Callable[[], Any] | None, state: State, targets: tuple[str, ...]
) -> None:
    """``for … in iterable: body(item)``; ``goes_on``, if any, says after a step whether there is another one."""
    context = active_trace()
    over: Any = iterable
    if isinstance(over, TracedRange):
        _over_range(over, body, goes_on, state)
    elif isinstance(over, range) and context is not None and len(over) > MAX_UNROLLED:
        _long(over, len(over), lambda k: over[k], body, goes_on, state, targets)
    elif context_for(over) is not None and over.shape:
        size = over.shape[0]
        if isinstance(size, int) and size <= MAX_UNROLLED:
            _in_python(over, body, goes_on, state)
        elif isinstance(size, int):
            _long(over, size, lambda k: over[k], body, goes_on, state, targets)
        else:
            _over_array(over, size, body, goes_on, state, targets)
    else:
        _in_python(over, body, goes_on, state)


def _in_python(over: Iterable[Any], body: Block, goes_on: Callable[[], Any] | None, state: State) -> None:
    traced: Any = None
    for item in over:
        if traced is None:
            body(item)
        else:
            if_(traced, lambda item=item: body(item), lambda: None, state)  # type: ignore[misc]
        if goes_on is not None:
            flag = goes_on()
            traced = predicate(flag, "`if`")
            if traced is None and not flag:
                return


def _over_range(over: TracedRange, body: Block, goes_on: Callable[[], Any] | None, state: State) -> None:
    context: Any = active_trace() or over.stop.context
    start = _integer(context, over.start)

    def item(k: Any) -> Any:
        return _number(start + k * over.step)

    loop = _Loop(state, body, "the loop")
    loop.count(over.count(context), item, goes_on)


def _over_array(
    over: Any, size: Any, body: Block, goes_on: Callable[[], Any] | None, state: State, targets: tuple[str, ...]
) -> None:
    """Along the first axis of an array: a scan, which reads slice after slice."""
    if goes_on is not None:
        context: Any = active_trace() or over.context
        _Loop(state, body, "the loop").count(lift_in(context, size), lambda k: over[k], goes_on, most=size)
    else:
        _Loop(state, body, "the loop", targets).scan(over, lambda x: x, size, lambda: over[size - 1])


def _long(
    over: Any, size: int, at: Callable[[int], Any], body: Block, goes_on: Callable[[], Any] | None, state: State,
    targets: tuple[str, ...],
) -> None:  # fmt: skip
    """A loop of known length: one loop op if its steps are alike, perhaps after the first one, else unrolled."""
    initial = state.get()
    first = 0
    cause: Exception
    while True:
        loop = _Loop(state, body, "the loop", () if goes_on is not None else targets)
        try:
            return _rolled(loop, over, size, first, at, goes_on)
        except (GraphcError, TypeError, ValueError, LookupError, AttributeError) as error:
            if loop.has_shared_memory:  # it could be unrolled, but who begins with a copy need not wait for that
                raise
            cause = error
        state.set(initial)
        if first or not loop.is_unsteady:
            break
        body(at(0))  # what the steps after the first one find is settled then
        first = 1
        if goes_on is not None:
            flag = goes_on()
            if predicate(flag, "`if`") is not None:
                state.set(initial)
                first = 0
                break
            if not flag:
                return
        initial = state.get()
    if size > MAX_STEPS and isinstance(cause, TraceError):
        raise ControlFlowError(
            f"a loop of {size} steps is too long to be unrolled (more than {MAX_STEPS}), and its steps cannot be one loop: "
            + cause.message,
            hint=cause.hint,
        ) from cause
    _in_python((at(k) for k in range(first, size)), body, goes_on, state)


def _rolled(
    loop: _Loop, over: Any, size: int, first: int, at: Callable[[int], Any], goes_on: Callable[[], Any] | None
) -> None:
    if goes_on is not None:
        loop.count(size - first, lambda k: _at(over, k + first), goes_on, most=size - first)
    elif isinstance(over, range):
        rest = over[first:]
        loop.scan(arange(rest.start, rest.stop, rest.step, dtype=int64), _number, len(rest), lambda: at(size - 1))
    else:
        loop.scan(over[first:], lambda x: x, size - first, lambda: at(size - 1))


def _at(over: Any, k: Any) -> Any:
    return _number(k * over.step + over.start) if isinstance(over, range) else over[k]


class _Again(Exception):
    """What the loop carries has to be chosen anew, as tracing a step shows."""


class _Loop:
    """One loop op: what its steps carry, and what the names are after it."""

    def __init__(self, state: State, body: Block, what: str, targets: Sequence[str] = ()) -> None:
        self.is_unsteady = False  # the first step gives a variable what it is in all others
        self.has_shared_memory = False  # steps write to memory of others that a name does not always stand for
        self._state = state
        self._body = body
        self._what = what
        self._targets = frozenset(targets)  # set by each step before anything reads them
        self._initial = list(state.get())
        self._assigned: set[int] = set()
        self._dropped: set[int] = set()
        self._weak = {p for p, v in enumerate(self._kept(self._initial)) if is_scalar(v) or (isinstance(v, Array) and v.weak)}

    def _kept(self, values: Sequence[Any]) -> Sequence[Any]:
        return values[: len(self._state.names)]

    def repeat(self, condition: Any, tested: Callable[[], Any]) -> None:
        """Steps while ``tested()``, which gave ``condition`` before the first one."""

        def step(carry: Any) -> Any:
            again: list[Any] = []
            new = self._step(carry[1], (), lambda: again.append(tested()))
            return again[0], new

        self._run(lambda init: while_loop(lambda carry: carry[0], step, (condition, init))[1])

    def count(
        self, count: Any, item: Callable[[Any], Any], goes_on: Callable[[], Any] | None, most: Any = None
    ) -> None:
        """``count`` steps, or fewer where ``goes_on()`` says so after one."""
        def step(carry: Any) -> Any:
            k, _, values = carry
            again: list[Any] = [True]

            def test() -> None:
                flag = goes_on()  # type: ignore[misc]
                traced = predicate(flag, "`if`")
                again[0] = bool(flag) if traced is None else traced

            new = self._step(values, (item(k),), test if goes_on is not None else None)
            return k + 1, again[0], new

        def run(init: Any) -> Any:
            context: Any = active_trace()
            first = (context.literal(0, int64), context.literal(True, bool_), init)
            steps = most if isinstance(most, int) else None
            return while_loop(lambda carry: logical_and(carry[1], less(carry[0], count)), step, first, max_steps=steps)[2]

        self._run(run)

    def scan(self, xs: Any, item: Callable[[Any], Any], size: Any, last: Callable[[], Any]) -> None:
        """A step for each slice of ``xs``; ``last`` is what the target is after them."""

        def step(values: Any, x: Any) -> Any:
            return self._step(values, (item(x),), None), None

        self._run(lambda init: scan(step, init, xs, length=size)[0])
        if self._targets & set(self._state.names):
            values = list(self._state.get())
            for place, name in enumerate(self._state.names):
                if name in self._targets:
                    values[place] = last()
            self._state.set(values)

    def _run(self, loop: Callable[[list[Any]], list[Any]]) -> None:
        while True:
            self._initial = [v.value() if isinstance(v, Fill) else v for v in self._initial]
            carried = [p for p, v in enumerate(self._kept(self._initial)) if self._is_carried(p, v)]
            self._carried = carried
            try:
                results = loop([self._initial[p] for p in carried])
            except _Again:
                continue
            break
        values = list(self._initial)
        for place, value in zip(carried, results, strict=True):
            self._mark(place, value)
            values[place] = value
        self._state.set(values)

    def _is_carried(self, place: int, value: Any) -> bool:
        name = self._state.names[place]
        if name in self._targets or isinstance(value, Undefined) or place in self._dropped:
            return False
        if name in self._state.in_place and isinstance(value, Array) and not value.weak and place not in self._assigned:
            return False
        return any(is_array(leaf) for leaf in flatten(value)[0])

    def _mark(self, place: int, value: Any) -> None:
        """Let a Python number that became an array promote like one."""
        if place in self._weak and isinstance(value, Tracer):
            value.weak = True

    def _step(self, values: Sequence[Any], items: Sequence[Any], test: Callable[[], None] | None) -> list[Any]:
        """Trace one step: what the names that are carried are after it."""
        entering = list(self._initial)
        for place, value in zip(self._carried, values, strict=True):
            self._mark(place, value)
            entering[place] = value
        self._state.set(entering)
        with outside(self._body):
            self._body(*items)
            if test is not None:
                test()
        new = self._state.values()
        for item in items:
            if isinstance(item, Tracer) and item._storage.written:
                raise ControlFlowError(
                    "a step writes in place to the item that it was given, which is a copy here",
                    hint="loop over the indices, and write to x[i]",
                )
        for place, name in enumerate(self._state.names):
            if name not in self._targets:
                self._check(place, name, entering[place], new[place])
        self._check_memory(entering, new)
        return [new[place] for place in self._carried]

    def _check(self, place: int, name: str, old: Any, new: Any) -> None:
        if place in self._dropped:
            return
        if isinstance(old, Undefined):
            if not isinstance(new, Undefined):
                self._define(place, name, new)
            return
        if place not in self._carried and isinstance(old, Array):  # written in place, as it looked
            if new is not old:
                self._assigned.add(place)
                raise _Again
            return
        self.is_unsteady = True
        check_alike(name, (_BEFORE, old), (_AFTER, new))
        self.is_unsteady = False
        if not (is_scalar(new) or (isinstance(new, Array) and new.weak)):
            self._weak.discard(place)

    def _check_memory(self, entering: Sequence[Any], new: Sequence[Any]) -> None:
        """Raise ControlFlowError where memory that others see is written, in this step or a later one, under whatever name."""
        carried = {p: v._storage for p in self._carried if isinstance(v := entering[p], Tracer)}
        written = [p for p, storage in carried.items() if storage.written]
        names = {p: self._state.names[p] for p in written}  # of what is written, by the place that its memory is in at first
        for later in written:  # grows
            for place, storage in carried.items():
                if place not in names and isinstance(new[later], Tracer) and new[later]._storage is storage:
                    names[place] = names[later]
                    written.append(place)
        for place, name in names.items():
            if not _is_shared(self._initial[place]):
                continue
            first = self._state.names[place]
            what = "is assigned in a loop and its memory is written in place"
            if name != first:
                what = f"takes turns in a loop with `{name}`, whose memory is written in place"
            self.has_shared_memory = True
            raise ControlFlowError(
                f"`{first}` {what}, so a step would have to know whose it is",
                hint=f"begin with memory of its own: {first} = {first}.copy()",
            )

    def _define(self, place: int, name: str, new: Any) -> None:
        """A step gives a value to a name that had none."""
        if name == RETURN_VALUE:
            self._initial[place] = Fill.like(new)
            raise _Again
        if name in self._state.captured:
            self._dropped.add(place)
            return
        self.is_unsteady = True
        raise_undefined(
            name,
            f"gets its first value in {self._what}, and is read after it, though there may be no step",
            "give it a value before the loop, of the type that the steps give it",
        )


def _is_shared(value: Any) -> bool:
    """Whether somebody else may see the memory of ``value``: it is an input, or another array is a view of it."""
    if not isinstance(value, Tracer) or value._chain:
        return isinstance(value, Array)
    inputs = [*getattr(value.context, "inputs", ()), *getattr(value.context, "captures", ())]
    return any(entry.tracer._storage is value._storage for entry in inputs)


def _integer(context: Any, value: Any) -> Any:
    return context.literal(value, int64) if is_scalar(value) else astype(lift_in(context, value), int64)


def _number(value: Any) -> Any:
    """An index of a loop, which stands for a Python int."""
    value.weak = True
    return value
