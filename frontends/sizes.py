"""Sizes of a traced function that may differ from call to call.

A traced dimension is either one number, for which alone the graph holds, or a symbol. :class:`Sizes` knows the symbols of one
trace and an example of each, the size in the call that is traced. What the function asks about a symbol is answered for the
example and recorded as a *guard*: a later call may use the graph if its sizes satisfy all guards. :class:`Size` is what
``x.shape[0]`` is in the traced function: an integer in all but name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphc.errors import LeakedTracerError, SizeDivisionError
from graphc.frontends.dispatch import Context, active_trace
from graphc.ir.dims import Dim, DimExpr, bounds, evaluate_dim, substitute, symbol, symbols_of
from graphc.ir.graph import Guard
from graphc.ir.types import TensorType
from graphc.locations import current_location
from graphc.ops.core import RELATIONS

_TYPICAL = 5040  # divisible by every number up to 10
_NEGATED = {"==": "!=", "!=": "==", "<": "<=", "<=": "<"}


class Sizes:
    """The symbolic sizes of one trace: their examples, what is known of them, and the guards that say so.

    ``labels`` says how the user reaches each (``x.shape[0]``); ``equal`` holds the symbols that were found equal to something.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.examples: dict[str, int] = {}
        self.labels: dict[str, str] = {}
        self.equal: dict[str, Dim] = {}
        self.guards: list[Guard] = []
        self._assumptions: dict[str, int] = {}  # sizes that were declared without an example
        self._least: dict[str, int] = {}  # what guards say that sizes are at least
        self.closed = False

    def new(self, name: str, label: str, example: int) -> DimExpr:
        """A new symbol, called ``name`` or something like it."""
        unique, number = name, 2
        while unique in self.examples:
            unique, number = f"{name}_{number}", number + 1
        self.examples[unique] = example
        self.labels[unique] = label
        return symbol(unique)

    # What ir.dims asks

    def example(self, dim: Dim) -> int | None:
        """The value of ``dim`` in the call that is traced; None for a size that was declared without one."""
        if isinstance(dim, int):
            return dim
        return evaluate_dim(dim, self.examples) if all(name in self.examples for name in dim.symbols()) else None

    def settled(self, dim: Dim) -> Dim:
        """``dim`` with symbols that were found equal to something replaced by it."""
        return substitute(dim, self.equal) if self.equal else dim

    def decide(self, relation: str, lhs: Dim, rhs: Dim, *, by_assumption: bool = False) -> bool | None:
        """Whether ``lhs relation rhs`` in the example, under a guard unless it is so for all sizes.

        None without an example, or, ``by_assumption``, what it is for large sizes with many divisors of which no two are equal.
        """
        lhs, rhs = self.settled(lhs), self.settled(rhs)
        known = _always(relation, self._raised(lhs), self._raised(rhs))
        if known is not None:
            return known
        left, right = self.example(lhs), self.example(rhs)
        if left is None or right is None:
            if not by_assumption:
                return None
            left, right = self._assumed(lhs), self._assumed(rhs)
        if self.closed:
            raise LeakedTracerError(
                f"the size {self.show(lhs)} was kept from a traced function and used after it ended",
                hint="return what depends on it from the function, or take int(size) within it",
                cause=LeakedTracerError.SIZE,
            )
        holds = RELATIONS[relation](left, right)
        if holds:
            self._record(relation, lhs, rhs)
        elif relation in ("==", "!="):
            self._record(_NEGATED[relation], lhs, rhs)
        else:
            self._record(_NEGATED[relation], rhs, lhs)
        return holds

    def _assumed(self, dim: Dim) -> int:
        """A value of ``dim`` that is as good as any: no comparison with a small number or another size comes out special."""
        if isinstance(dim, int):
            return dim
        for name in dim.symbols():
            if name not in self.examples:
                self._assumptions.setdefault(name, _TYPICAL * (len(self._assumptions) + 1))
        return evaluate_dim(dim, self._assumptions | self.examples)

    def fix(self, dim: Dim) -> int | None:
        """The value of ``dim``, which is a guard from now on."""
        dim = self.settled(dim)
        value = self.example(dim)
        if value is not None and not isinstance(dim, int):
            self.decide("==", dim, value)
        return value

    def _record(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        if not any(guard[:3] == (relation, lhs, rhs) for guard in self.guards):
            self.guards.append(Guard(relation, lhs, rhs, current_location()))
        if relation == "==":
            self._unify(lhs, rhs)
        else:
            name, least = _least(self.guards[-1])
            if name:
                self._least[name] = max(least, self._least.get(name, 0))

    def _raised(self, dim: Dim) -> Dim:
        """``dim`` in terms of symbols that stand for what sizes are above their least, so that bounds know of it."""
        return substitute(dim, {name: symbol(name) + least for name, least in self._least.items()}) if self._least else dim

    def _unify(self, lhs: Dim, rhs: Dim) -> None:
        """Write one symbol of the equation in terms of the others from now on: the latest for which it can be solved."""
        difference = lhs - rhs
        order = [*self.examples, *self._assumptions]
        for name in sorted(set(symbols_of((difference,))), key=order.index, reverse=True):
            rest = substitute(difference, {name: 0})
            factor = substitute(difference, {name: 1}) - rest
            value = -rest // factor if isinstance(factor, int) and factor else 0
            if isinstance(factor, int) and factor and symbol(name) * factor + rest == difference and value * factor == -rest:
                replacement = {name: value}
                self.equal = {key: substitute(old, replacement) for key, old in self.equal.items()} | replacement
                return

    def drop_implied(self) -> None:
        """Forget guards that say less than others: that a size is at least 1, where it is at least 2, or equal to 3."""
        kept: dict[str, None] = {}
        guards = self.guards
        self.guards = []
        for guard in guards:
            if guard.relation != "==" and _always(guard.relation, self.settled(guard.lhs), self.settled(guard.rhs)):
                continue
            name, least = _least(guard)
            if name and (least < self._least.get(name, 0) or name in kept):
                continue
            kept.update({name: None} if name else {})
            self.guards.append(guard)

    # For the front end

    def type(self, type_: TensorType) -> TensorType:
        """``type_`` with :meth:`settled` sizes."""
        if not self.equal or type_.is_concrete:
            return type_
        return TensorType(type_.dtype, map(self.settled, type_.shape))

    def shown(self, shape: Iterable[Dim]) -> tuple[int | Size, ...]:
        """``shape`` as user code sees it."""
        return tuple([dim if isinstance(dim, int) else Size(self, dim) for dim in shape])

    def show(self, dim: Dim) -> str:
        """``dim`` in terms of what the user knows: ``2*x.shape[0]``."""
        return show_size(dim, self.labels)


def show_size(dim: Dim, labels: Mapping[str, str]) -> str:
    """The text of ``dim`` with each symbol called by its label."""
    return re.sub(r"[^\W\d]\w*", lambda match: labels.get(match[0], match[0]), str(dim))


def _least(guard: Guard) -> tuple[str, int]:
    """The symbol that ``guard`` bounds from below, and by what; the name is empty where it says something else."""
    if guard.relation not in ("<", "<="):
        return "", 0
    rest = guard.rhs - guard.lhs - (1 if guard.relation == "<" else 0)  # is not negative
    name = next(symbols_of((rest,)), "")
    least = symbol(name) - rest if name else rest
    return (name, least) if name and isinstance(least, int) else ("", 0)


def _always(relation: str, lhs: Dim, rhs: Dim) -> bool | None:
    """What ``lhs relation rhs`` is whatever the sizes; None where it depends on them."""
    low, high = bounds(lhs - rhs)
    if relation in ("==", "!="):
        if low == 0 == high:
            return relation == "=="
        return relation == "!=" if (low is not None and low > 0) or (high is not None and high < 0) else None
    strict = relation == "<"
    if high is not None and (high < 0 if strict else high <= 0):
        return True
    if low is not None and (low >= 0 if strict else low > 0):
        return False
    return None


_OPERATIONS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.floor_divide: operator.floordiv,
    np.remainder: operator.mod, np.equal: operator.eq, np.not_equal: operator.ne, np.less: operator.lt,
    np.less_equal: operator.le, np.greater: operator.gt, np.greater_equal: operator.ge,
}  # fmt: skip


class Size:
    """A size that may differ from call to call. Works as an int does.

    Arithmetic gives sizes. Comparisons give bools, decided by the sizes of the call that is traced; that they come out so is a
    guard, and a call for which they would not is traced anew. A size that a spec declares, for which there is no call, is
    taken to be large. What needs the number itself, ``range(n)``, ``int(n)``, an index
    of a list, guards its value. With floats and arrays it is a number that the graph reads at run time.
    """

    __slots__ = ("dim", "sizes")

    def __init__(self, sizes: Sizes, dim: DimExpr) -> None:
        self.sizes = sizes
        self.dim = dim

    # Arithmetic

    def _with(self, other: Any, operation: Any) -> Any:
        dim = int(other) if isinstance(other, np.integer) else plain_size(other)
        if isinstance(dim, (int, DimExpr)) and not isinstance(dim, bool):
            result = operation(self.sizes.settled(self.dim), self.sizes.settled(dim))
            return result if isinstance(result, int) else Size(self.sizes, result)
        if isinstance(other, (bool, float)):
            return operation(self._array(), other)
        return NotImplemented

    def _array(self) -> Any:
        """The size as a number of the graph."""
        return (active_trace() or self.sizes.context).lift(self)

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, (list, tuple, str, bytes)):
            return other * self.__index__()
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._with(_divisor(other), lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return _divisor(self)._with(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Any:
        return self._with(_divisor(other), lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return _divisor(self)._with(other, lambda a, b: b % a)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Any:
        return self._with(0, lambda a, b: b - a)

    def __pos__(self) -> Size:
        return self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __truediv__(self, other: Any) -> Any:
        return NotImplemented if not _is_number(other) else self._array() / _operand(other)

    def __rtruediv__(self, other: Any) -> Any:
        return NotImplemented if not _is_number(other) else other / self._array()

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and 0 <= other <= 8:
            return math.prod([self] * other)
        return NotImplemented if not _is_number(other) else self._array() ** _operand(other)

    def __rpow__(self, other: Any) -> Any:
        if isinstance(other, int):
            return other ** self.__index__()
        return NotImplemented if not _is_number(other) else other ** self._array()

    # Comparison

    def _decide(self, relation: str, lhs: Any, rhs: Any) -> Any:
        lhs, rhs = (int(side) if isinstance(side, np.integer) else plain_size(side) for side in (lhs, rhs))
        if isinstance(lhs, float) or isinstance(rhs, float):
            lhs, rhs = _rounded(relation, lhs, rhs)
            if isinstance(lhs, float) or isinstance(rhs, float):  # an infinity or NaN
                return RELATIONS[relation](0 if isinstance(lhs, DimExpr) else lhs, 0 if isinstance(rhs, DimExpr) else rhs)
        if not (isinstance(lhs, (int, DimExpr)) and isinstance(rhs, (int, DimExpr))):
            return NotImplemented
        return self.sizes.decide(relation, lhs, rhs, by_assumption=True)

    def __eq__(self, other: object) -> Any:
        return self._decide("==", self, other)

    def __ne__(self, other: object) -> Any:
        return self._decide("!=", self, other)

    def __lt__(self, other: Any) -> Any:
        return self._decide("<", self, other)

    def __le__(self, other: Any) -> Any:
        return self._decide("<=", self, other)

    def __gt__(self, other: Any) -> Any:
        return self._decide("<", other, self)

    def __ge__(self, other: Any) -> Any:
        return self._decide("<=", other, self)

    def __bool__(self) -> bool:
        return bool(self != 0)

    # Its value

    def __index__(self) -> int:
        value = self.sizes.fix(self.dim)
        return self.dim.__index__() if value is None else value

    __int__ = __index__
    __trunc__ = __index__
    __floor__ = __index__
    __ceil__ = __index__

    def __round__(self, digits: int | None = None) -> int:
        return round(self.__index__(), digits) if digits is not None else self.__index__()

    def __float__(self) -> float:
        return float(self.__index__())

    def __hash__(self) -> int:
        return hash(self.__index__())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's integers compute with a size as Python's do; other functions of NumPy's need its value."""
        operation = _OPERATIONS.get(ufunc)
        if method == "__call__" and operation is not None and all(isinstance(i, (Size, np.integer)) for i in inputs):
            return operation(*[int(i) if isinstance(i, np.integer) else i for i in inputs])
        return getattr(ufunc, method)(*[i.__index__() if isinstance(i, Size) else i for i in inputs], **options)

    def __copy__(self) -> Size:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Size:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, (self.__index__(),))

    def __repr__(self) -> str:
        return str(self.sizes.settled(self.dim))

    def __format__(self, spec: str) -> str:
        return format(self.__index__(), spec) if spec else repr(self)


def plain_size(value: Any) -> Any:
    """A :class:`Size` as the dimension that it is; anything else as it is."""
    return value.sizes.settled(value.dim) if isinstance(value, Size) else value


def known_sizes(value: Any) -> Any:
    """``value``, a nested list, with every :class:`Size` in it as the number that it is, under a guard."""
    if isinstance(value, Size):
        return value.__index__()
    return type(value)([known_sizes(v) for v in value]) if type(value) in (tuple, list) else value


def plain_sizes(value: Any) -> Any:
    """``value`` with every :class:`Size` in it, also in nested tuples and lists, as the dimension that it is."""
    if isinstance(value, Size):
        return value.sizes.settled(value.dim)
    if type(value) in (tuple, list):
        return type(value)([plain_sizes(v) for v in value])
    return value


def _divisor(value: Any) -> Any:
    if isinstance(value, (int, Size)) and value == 0:
        raise SizeDivisionError("a size is divided by 0", hint="look at the divisor: where it is 0, compute something else")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, Size))


def _operand(value: Any) -> Any:
    return value._array() if isinstance(value, Size) else value


def _rounded(relation: str, lhs: Any, rhs: Any) -> tuple[Any, Any]:
    """The comparison of a size and a finite float as one of integers; never equal where the float has a fraction."""
    number = lhs if isinstance(lhs, float) else rhs
    if not math.isfinite(number):
        return lhs, rhs
    if relation in ("==", "!="):
        whole: float = int(number) if number.is_integer() else math.nan
    elif (lhs is number) == (relation == "<"):
        whole = math.floor(number)  # f < n, n <= f
    else:
        whole = math.ceil(number)  # n < f, f <= n
    return (whole, rhs) if lhs is number else (lhs, whole)

