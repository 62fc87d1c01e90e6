"""What a ``for`` in converted code goes over step by step: numbers, the rows of arrays, and several of these side by side."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import int64
from graphc.errors import ControlFlowError
from graphc.frontends.array.core import astype, is_scalar, lift_in
from graphc.frontends.array.creation import arange
from graphc.frontends.array.elementwise import abs as abs_of
from graphc.frontends.array.elementwise import floor_divide, greater, not_equal, where
from graphc.frontends.dispatch import Array, active_trace, bind, bind_all
from graphc.frontends.sizes import Size, plain_size
from graphc.frontends.tracing.convert.calls import call
from graphc.frontends.tracing.convert.predicate import context_for
from graphc.ir.dims import DimExpr, same_size, smaller_size


class TracedRange:
    """``range(start, stop, step)`` with a bound or step that only a run knows."""

    def __init__(self, start: Any, stop: Any, step: Any) -> None:
        self.start, self.stop, self.step = start, stop, step

    def count(self, context: Any) -> Any:
        """The number of steps; a negative one stands for none."""
        start, stop = integer(context, self.start), integer(context, self.stop)
        if isinstance(self.step, int):
            span = stop - start if self.step > 0 else start - stop
            size = abs(self.step)
            return span if size == 1 else (span + (size - 1)) // size
        step = integer(context, self.step)
        bind_all("check", not_equal(step, 0), message="the step of a range must not be zero")
        length: Any = abs_of(step)
        distance: Any = where(greater(step, 0), stop - start, start - stop)
        return floor_divide(distance + length - 1, where(greater(length, 0), length, 1))

    def __iter__(self) -> Iterator[Any]:
        raise ControlFlowError(
            "how many numbers a range has that an array bounds is known only at run time",
            hint="go over it by a `for` of its own: for i in range(n): …",
        )


class _Numbers(NamedTuple):
    """``start``, ``start + step``, …: ints, or sizes."""

    start: Any
    step: Any

    def at(self, k: Any) -> Any:
        if isinstance(k, Array):
            return number(k * self.step + _term(self.start))
        return self.start + k * self.step

    def arrays(self, first: int, size: Any) -> Any:
        numbers = arange(first, size, dtype=int64)
        return numbers if (self.start, self.step) == (0, 1) else numbers * self.step + _term(self.start)


class Rows:
    """Steps of which each takes the next of every column: the rows of an array, or numbers. ``build`` makes the item."""

    def __init__(self, columns: Sequence[Any], size: Any, build: Callable[[Sequence[Any]], Any]) -> None:
        self.columns = columns
        self.size = size
        self._build = build

    def at(self, k: Any) -> Any:
        """The item of step ``k``, a number or an array."""
        return self._build([c.at(k) if isinstance(c, _Numbers) else c[k] for c in self.columns])

    def arrays(self, first: int = 0) -> list[Any]:
        """Arrays whose rows are what the steps from ``first`` on take."""
        rest = [c.arrays(first, self.size) if isinstance(c, _Numbers) else c[first : self.size] for c in self.columns]
        return rest

    def item(self, rows: Sequence[Any]) -> Any:
        """The item made of rows of :meth:`arrays`."""
        return self._build([number(r) if isinstance(c, _Numbers) else r for c, r in zip(self.columns, rows, strict=True)])

    def __iter__(self) -> Iterator[Any]:
        return (self.at(k) for k in builtins.range(self.size))

    def __len__(self) -> int:
        return int(self.size)


def rows_of(over: Any) -> Rows | None:
    """``over`` as rows; None where Python goes over it."""
    if isinstance(over, Rows):
        return over
    if isinstance(over, range):
        return Rows([_Numbers(over.start, over.step)], len(over), _only)
    if context_for(over) is not None and over.shape:
        return Rows([over], over.shape[0], _only)
    return None


def range_(function: Any, *arguments: Any) -> Any:
    """What ``for … in range(…)`` goes over."""
    if function is not builtins.range or len(arguments) not in (1, 2, 3):
        return call(function)(*arguments)
    start, stop, step = (0, *arguments, 1) if len(arguments) == 1 else (*arguments, 1)[:3]
    if any(context_for(a) is not None for a in arguments):
        return TracedRange(start, stop, step if is_array(step) else int(step))
    if any(isinstance(a, Size) for a in arguments) and active_trace() is not None and not isinstance(step, Size):
        step = int(step)
        if step:
            span = stop - start if step > 0 else start - stop
            count = plain_size((span + (abs(step) - 1)) // abs(step))
            return Rows([_Numbers(start, step)], count if count >= 0 else 0, _only)
    return range(*arguments)


def is_array(value: Any) -> bool:
    """Whether a bound or step of a range is an array that only a run knows."""
    return context_for(value) is not None or isinstance(value, DimExpr)


def side_by_side(function: Any, *arguments: Any, **options: Any) -> Any:
    """What a ``for`` over ``enumerate``, ``zip`` and ``reversed`` goes over: rows where arrays are traced and all have rows."""
    if active_trace() is None or not any(isinstance(a, (Array, Rows)) for a in arguments):
        return call(function)(*arguments, **options)
    if function is builtins.enumerate and len(arguments) + len(options) <= 2:
        start = options.get("start", arguments[1] if len(arguments) == 2 else 0)
        columns = [_rows(arguments[0])]
        if columns[0] is not None and isinstance(start, (int, Size)):
            return _joined([Rows([_Numbers(start, 1)], columns[0].size, _only), columns[0]], tuple)
    elif function is builtins.zip:
        columns = [_rows(argument) for argument in arguments]
        sizes = [c.size for c in columns if c is not None]
        if len(sizes) == len(columns) and (not options.get("strict") or all(same_size(sizes[0], size) for size in sizes)):
            return _joined([c for c in columns if c is not None], tuple)
    elif function is builtins.reversed and len(arguments) == 1:
        over = _rows(arguments[0])
        if over is not None:
            turned = [_turned(c, over.size) for c in over.columns]
            return Rows(turned, over.size, over._build)
    return call(function)(*arguments, **options)


def _rows(over: Any) -> Rows | None:
    if isinstance(over, np.ndarray) and over.ndim:
        context: Any = active_trace()
        over = context.lift(over)
    return rows_of(over)


def _joined(parts: Sequence[Rows], build: Callable[[list[Any]], Any]) -> Rows:
    size = parts[0].size
    for part in parts[1:]:
        size = smaller_size(size, part.size)
    counts = [len(part.columns) for part in parts]

    def built(rows: Sequence[Any]) -> Any:
        items, first = [], 0
        for part, count in zip(parts, counts, strict=True):
            items.append(part._build(rows[first : first + count]))
            first += count
        return build(items)

    return Rows([column for part in parts for column in part.columns], size, built)


def _turned(column: Any, size: Any) -> Any:
    return _Numbers(column.at(size - 1), -column.step) if isinstance(column, _Numbers) else column[:size][::-1]


def _term(start: Any) -> Any:
    dim = plain_size(start)
    return bind("dimension", dim=dim) if isinstance(dim, DimExpr) else dim


def _only(rows: Sequence[Any]) -> Any:
    return rows[0]


def integer(context: Any, value: Any) -> Any:
    """A bound as an int64 array."""
    return context.literal(value, int64) if is_scalar(value) else astype(lift_in(context, value), int64)


def number(value: Any) -> Any:
    """An index of a loop, which stands for a Python int."""
    value.weak = True
    return value


__all__ = ["Rows", "TracedRange", "integer", "number", "range_", "rows_of", "side_by_side"]
