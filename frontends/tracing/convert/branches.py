"""``if`` in converted code: Python's where the condition is a Python value, else one ``cond`` op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import float64
from graphc.errors import ControlFlowError
from graphc.frontends.array.core import astype, is_scalar
from graphc.frontends.array.creation import zeros
from graphc.frontends.control.cond import cond
from graphc.frontends.control.leaves import is_array
from graphc.frontends.dispatch import Array
from graphc.frontends.pytree import TreeDef, flatten, unflatten
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.convert.jumps import RETURN_VALUE, RETURNED
from graphc.frontends.tracing.convert.predicate import predicate
from graphc.frontends.tracing.convert.state import Left, State, Undefined, check_alike, leaf_type, raise_undefined
from graphc.frontends.tracing.convert.traps import outside
from graphc.ir.types import TensorType

Run = Callable[[], Sequence[Any]]
#: How a branch is left that raises, beside the flags of :mod:`jumps`.
RAISED = "graphc_raised"
_WHEN = {True: "if the condition is true", False: "if it is false"}


class _Again(Exception):
    """The branch that was traced first has to give something else, as the second one shows."""


def if_(test: Any, body: Callable[[], None], orelse: Callable[[], None], state: State) -> None:
    """Run ``body`` or ``orelse``; where ``test`` is traced, trace both, and set the names in ``state`` to what a run takes."""
    condition = predicate(test, "`if`")
    if condition is None:
        (body if test else orelse)()
        return
    initial = state.get()

    def run(block: Callable[[], None]) -> Sequence[Any]:
        state.set(initial)
        state.is_traced = True
        try:
            with outside(block):
                block()
        finally:
            state.is_traced = False
        return state.values()

    choice = _Choice(state.names, initial, state.in_place, state.captured, state.jump)
    chosen = choice.made(condition, lambda: run(body), lambda: run(orelse))
    state.set([*chosen, *initial[len(state.names) :]])


def choose(condition: Any, on_true: Callable[[], Any], on_false: Callable[[], Any], what: str) -> Any:
    """The value of one of two expressions, chosen by a traced bool; ``what`` it is in messages."""
    return _Choice((what,), (Undefined(what),)).made(condition, lambda: [on_true()], lambda: [on_false()])[0]


class Fill(NamedTuple):
    """The structure and types of a value, to stand in where there is none and nobody will read it."""

    tree: TreeDef
    leaves: tuple[Any, ...]  # a TensorType for an array

    @classmethod
    def like(cls, value: Any) -> Fill:
        leaves, tree = flatten(value)
        return cls(tree, tuple([leaf_type(leaf)[0] if is_array(leaf) else leaf for leaf in leaves]))

    def value(self) -> Any:
        return unflatten(
            self.tree,
            [zeros(t.shape, dtype=t.dtype) if isinstance(t, TensorType) else t for t in self.leaves],
        )


class _Choice:
    """What several variables are after one of two branches."""

    def __init__(
        self,
        names: Sequence[str],
        initial: Sequence[Any],
        in_place: frozenset[str] = frozenset(),
        captured: frozenset[str] = frozenset(),
        jump: Callable[[], str] = str,
    ) -> None:
        self._names = names
        self._initial = initial
        self._in_place = in_place
        self._captured = captured
        self._jump = jump
        self._jumps = {True: "", False: ""}  # by which flag a branch was left
        self._values: dict[bool, Sequence[Any]] = {}
        self._fills: dict[tuple[int, bool], Fill] = {}
        self._assigned: set[int] = set()  # not only written in place, as their statements look
        self._dropped: set[int] = set()  # without a value on one side, and only mentioned by functions
        self._wide: set[int] = set()  # Python floats, which keep their full precision

    def made(self, condition: Any, on_true: Run, on_false: Run) -> list[Any]:
        """The values of all variables."""
        while True:
            try:
                emitted = cond(condition, lambda: self._branch(True, on_true), lambda: self._branch(False, on_false))
            except _Again:
                continue
            except RecursionError as error:
                raise ControlFlowError(
                    "a function calls itself until a condition on a traced array ends it, so tracing both branches never ends",
                    hint="write it as a `while` loop, or let a Python value (a depth) end the recursion",
                ) from error
            return [self._final(place, *emitted[place]) for place in range(len(self._names))]

    def _branch(self, which: bool, run: Run) -> list[tuple[Any, Any]]:
        try:
            self._values[which] = run()
            self._jumps[which] = self._jump()
        except Left:  # nobody reads what anything is then
            self._values[which] = self._initial[: len(self._names)]
            self._jumps[which] = RAISED
        if len(self._values) == 2:
            for place in range(len(self._names)):
                self._check(place)
        return [self._emitted(which, place) for place in range(len(self._names))]

    def _check(self, place: int) -> None:
        name = self._names[place]
        one, two = self._values[True][place], self._values[False][place]
        if (isinstance(one, Undefined) and isinstance(two, Undefined)) or self._is_filled(place):
            return
        if isinstance(one, Undefined) or isinstance(two, Undefined):
            if name == RETURN_VALUE or self._jumps[isinstance(one, Undefined)]:
                self._fill(place, isinstance(one, Undefined))
            elif name in self._captured:
                if place not in self._dropped:
                    self._dropped.add(place)
                    raise _Again
            else:
                raise_undefined(
                    name,
                    f"gets a value only {_WHEN[isinstance(two, Undefined)]}, and is read after the `if`",
                    "give it a value before the `if`, or on both sides",
                )
            return
        if self._is_untouched(place, one) != self._is_untouched(place, two):
            self._assigned.add(place)
            raise _Again
        try:
            check_alike(name, (_WHEN[True], one), (_WHEN[False], two))
        except ControlFlowError:
            left = [which for which, flag in self._jumps.items() if flag in (RETURNED, RAISED)]
            if (name == RETURN_VALUE and RAISED not in self._jumps.values()) or len(left) != 1:
                raise
            self._fill(place, left[0])

    def _fill(self, place: int, which: bool) -> None:
        """Let the branch ``which`` give anything of the right type for a variable: nobody reads it after that branch."""
        if (place, which) not in self._fills:
            self._fills[place, which] = Fill.like(self._values[not which][place])
            raise _Again

    def _is_filled(self, place: int) -> bool:
        return (place, True) in self._fills or (place, False) in self._fills

    def _is_untouched(self, place: int, value: Any) -> bool:
        """Whether a variable still is the array that it was, whose memory a branch may have changed."""
        is_candidate = self._names[place] in self._in_place and place not in self._assigned
        return is_candidate and isinstance(value, Array) and not value.weak and value is self._initial[place]

    def _emitted(self, which: bool, place: int) -> tuple[Any, Any]:
        """What a branch gives for a variable: its value, and a Python float in full precision too."""
        value = self._values[which][place]
        if place in self._dropped:
            return None, None
        fill = self._fills.get((place, which))
        if isinstance(value, Undefined) or fill is not None:
            return (None if fill is None else fill.value()), (np.float64(0) if place in self._wide else None)
        if self._is_untouched(place, value):
            return None, None
        if len(self._values) == 1 and (isinstance(value, float) or (isinstance(value, Tracer) and value._wide is not None)):
            self._wide.add(place)
        if place not in self._wide:
            return value, None
        if is_scalar(value):
            return value, np.float64(value)
        is_number = isinstance(value, Array) and value.shape == ()
        return value, astype(value, float64) if is_number else np.float64(0)

    def _final(self, place: int, value: Any, wide: Any) -> Any:
        one, two = self._values[True][place], self._values[False][place]
        if one is two:
            return one
        if self._is_filled(place):
            return value
        if isinstance(one, Undefined) or isinstance(two, Undefined):
            return Undefined(self._names[place])
        if is_scalar(one) and is_scalar(two) and (type(one), repr(one)) == (type(two), repr(two)):
            return one
        for result, *sides in zip(flatten(value)[0], flatten(one)[0], flatten(two)[0], strict=True):
            if isinstance(result, Tracer) and all(is_array(side) and leaf_type(side)[1] for side in sides):
                result.weak = True
        if wide is not None and isinstance(value, Tracer) and value.weak:
            value._wide = wide.value
        return value
