"""``while`` and ``for`` in converted code: Python's loops, or ``while_loop`` and ``scan`` ops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphc.dtypes import bool_, float32, float64, int64
from graphc.errors import ControlFlowError, GraphcError, TraceError
from graphc.frontends.array.core import is_scalar, lift_in
from graphc.frontends.array.elementwise import less, logical_and
from graphc.frontends.control.leaves import is_array
from graphc.frontends.control.loops import while_loop
from graphc.frontends.control.scan import scan
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.pytree import flatten
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.convert.branches import Fill, if_
from graphc.frontends.tracing.convert.jumps import RETURN_VALUE
from graphc.frontends.tracing.convert.predicate import predicate
from graphc.frontends.tracing.convert.rows import Rows, TracedRange, integer, number, rows_of
from graphc.frontends.tracing.convert.state import State, Undefined, check_alike, raise_undefined
from graphc.frontends.tracing.convert.traps import outside

#: A Python range (or the first axis of an array) that is longer becomes one loop op, if its steps are alike.
MAX_UNROLLED = 32
#: The longest that is unrolled where its steps are not alike.
MAX_STEPS = 2000

Block = Callable[..., None]
#: What shows that the steps of a loop are not alike.
_NOT_ALIKE = (GraphcError, TypeError, ValueError, LookupError, AttributeError)
_BEFORE, _AFTER = "before the first step", "after it"


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
    if isinstance(iterable, TracedRange):
        _over_range(iterable, body, goes_on, state)
        return
    rows = None if active_trace() is None and isinstance(iterable, range) else rows_of(iterable)
    if rows is None or (isinstance(rows.size, int) and rows.size <= MAX_UNROLLED):
        _in_python(iterable, body, goes_on, state)
    elif isinstance(rows.size, int):
        _long(rows, rows.size, body, goes_on, state, targets)
    else:
        _of_any_length(rows, body, goes_on, state, targets)


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
    context: Any = active_trace() or next(a.context for a in (over.stop, over.start, over.step) if isinstance(a, Array))
    start = integer(context, over.start)
    step = over.step if isinstance(over.step, int) else integer(context, over.step)

    def item(k: Any) -> Any:
        return number(start + k * step)

    loop = _Loop(state, body, "the loop")
    loop.count(over.count(context), item, goes_on)


def _of_any_length(
    rows: Rows, body: Block, goes_on: Callable[[], Any] | None, state: State, targets: tuple[str, ...]
) -> None:
    """Rows whose number is a size: one loop op for all sizes if the steps are alike, else unrolled for this size."""
    initial = state.get()
    try:
        if targets and set(targets) & set(state.names) and not rows.size > 0:
            return  # the target keeps what it is; for other sizes it is the last item
        if goes_on is not None:
            context: Any = active_trace()
            _Loop(state, body, "the loop").count(lift_in(context, rows.size), rows.at, goes_on, most=rows.size)
        else:
            _Loop(state, body, "the loop", targets).scan(rows)
    except _NOT_ALIKE:
        state.set(initial)
        _in_python(rows, body, goes_on, state)


def _long(
    rows: Rows, size: int, body: Block, goes_on: Callable[[], Any] | None, state: State, targets: tuple[str, ...]
) -> None:
    """A loop of known length: one loop op if its steps are alike, perhaps after the first one, else unrolled."""
    initial = state.get()
    first = 0
    cause: Exception
    while True:
        loop = _Loop(state, body, "the loop", () if goes_on is not None else targets)
        try:
            if goes_on is None:
                return loop.scan(rows, first)
            return loop.count(size - first, lambda k: rows.at(k + first), goes_on, most=size - first)  # noqa: B023
        except _NOT_ALIKE as error:
            if loop.has_shared_memory:  # it could be unrolled, but who begins with a copy need not wait for that
                raise
            cause = error
        state.set(initial)
        if first or not loop.is_unsteady:
            break
        body(rows.at(0))  # what the steps after the first one find is settled then
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
            cause=ControlFlowError.UNROLLED,
        ) from cause
    _in_python((rows.at(k) for k in range(first, size)), body, goes_on, state)


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

    def scan(self, rows: Rows, first: int = 0) -> None:
        """A step for each of ``rows`` from ``first`` on; the target is the last item after them."""

        def step(values: Any, x: Any) -> Any:
            return self._step(values, (rows.item(x),), None), None

        self._run(lambda init: scan(step, init, rows.arrays(first), length=rows.size - first)[0])
        if self._targets & set(self._state.names):
            values = list(self._state.get())
            for place, name in enumerate(self._state.names):
                if name in self._targets:
                    values[place] = rows.at(rows.size - 1)
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
        """Let a Python number that became an array promote like one, in full precision."""
        if place in self._weak and isinstance(value, Tracer):
            value.weak = True
            node = value.value.node
            if node.op.name == "convert_element_type" and node.inputs[0].dtype is float64 and value.dtype is float32:
                value._wide = node.inputs[0]

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
                    cause=ControlFlowError.MEMORY,
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
                cause=ControlFlowError.MEMORY,
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
