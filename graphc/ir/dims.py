"""Dimensions: an int, or a symbolic integer expression over named sizes.

An expression is kept in one normal form, a polynomial with integer coefficients over *atoms*; an atom is a named size
("batch") or one of ``a // b``, ``a % b``, ``min(a, b)``, ``max(a, b)`` over dimensions. Two expressions are equal
exactly if their normal forms are. Named sizes are non-negative.

>>> n = symbol("n")
>>> (n + 1) * (n - 1) + 1
n*n
>>> (4 * n) // 2
2*n
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from graphc.dtypes import ALL
from graphc.errors import ArgumentError, ShapeError, SizeDivisionError


class DimCall(NamedTuple):
    """An atom that is not a name: ``op`` is one of ``//``, ``%``, ``min``, ``max``."""

    op: str
    lhs: Dim
    rhs: Dim

    def __str__(self) -> str:
        if self.op in ("min", "max"):
            return f"{self.op}({self.lhs}, {self.rhs})"
        return f"{_operand(self.lhs)}{self.op}{_operand(self.rhs)}"


def _operand(dim: Dim) -> str:
    """``dim`` as an operand of ``//`` or ``%``: in parentheses unless it is a number, a name, ``min`` or ``max``."""
    text = str(dim)
    if isinstance(dim, int):
        simple = dim >= 0
    else:
        ((monomial, coefficient), *others) = dim.terms
        simple = not others and coefficient == 1 and len(monomial) == 1 and _is_simple(monomial[0])
    return text if simple else f"({text})"


def _is_simple(atom: Atom) -> bool:
    return isinstance(atom, str) or atom.op in ("min", "max")


Atom = str | DimCall
Monomial = tuple[Atom, ...]  # sorted by text, with repetition: n*n*m is ("m", "n", "n")


class DimExpr:
    """A symbolic dimension that is not a constant. Made by :func:`symbol` and arithmetic, which returns an int whenever
    the result is constant."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DimExpr) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return (DimExpr, (self.terms,))  # the hash of a string differs from process to process

    def __add__(self, other: Dim) -> Dim:
        return _from_terms([*self.terms, *_terms(other)]) if _is_dim(other) else NotImplemented

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return _from_terms((monomial, -c) for monomial, c in self.terms)

    def __sub__(self, other: Dim) -> Dim:
        return self + -other if _is_dim(other) else NotImplemented

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other if _is_dim(other) else NotImplemented

    def __mul__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        return _from_terms(
            (tuple(sorted(m1 + m2, key=str)), c1 * c2) for m1, c1 in self.terms for m2, c2 in _terms(other)
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return dim_floordiv(self, other) if _is_dim(other) else NotImplemented

    def __rfloordiv__(self, other: Dim) -> Dim:
        return dim_floordiv(other, self) if _is_dim(other) else NotImplemented

    def __mod__(self, other: Dim) -> Dim:
        return dim_mod(self, other) if _is_dim(other) else NotImplemented

    def __rmod__(self, other: Dim) -> Dim:
        return dim_mod(other, self) if _is_dim(other) else NotImplemented

    def _compare(self, other: Dim, op: str) -> bool:
        difference = self - other
        low, high = bounds(difference)
        known = {
            "<": (high is not None and high < 0, low is not None and low >= 0),
            "<=": (high is not None and high <= 0, low is not None and low > 0),
        }[op]
        if known[0]:
            return True
        if known[1]:
            return False
        decided = None if _oracles.current is None else _oracles.current.decide(op, self, other)
        if decided is None:
            raise ShapeError(
                f"whether {self} {op} {other} depends on sizes that are only known at run time",
                hint="trace with concrete sizes, or make the code independent of this comparison",
                cause=ShapeError.UNKNOWN_SIZE,
            )
        return decided

    def __lt__(self, other: Dim) -> bool:
        return self._compare(other, "<")

    def __le__(self, other: Dim) -> bool:
        return self._compare(other, "<=")

    def __gt__(self, other: Dim) -> bool:
        return not self._compare(other, "<=")

    def __ge__(self, other: Dim) -> bool:
        return not self._compare(other, "<")

    def __index__(self) -> int:
        value = None if _oracles.current is None else _oracles.current.fix(self)
        if value is None:
            raise ShapeError(
                f"the size {self} is symbolic: its value is not known while the graph is being built",
                hint="use it in shape arithmetic, reshape, slicing, or as gc.asarray(size); or trace with concrete sizes",
                cause=ShapeError.UNKNOWN_SIZE,
            )
        return value

    __int__ = __index__

    def __bool__(self) -> bool:
        return self != 0  # a symbol may be 0 at run time; as in `if x.shape:` it is "some size", never the literal 0

    def symbols(self) -> Iterator[str]:
        """The names in the expression, in order of appearance, with repetition."""
        for monomial, _ in self.terms:
            for atom in monomial:
                if isinstance(atom, str):
                    yield atom
                else:
                    yield from symbols_of((atom.lhs, atom.rhs))

    def __str__(self) -> str:
        """The expression as Python would read it, so that the text parses to the same normal form."""
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(a) if _is_simple(a) else f"({a})" for a in monomial]
            if not factors or abs(coefficient) != 1:
                factors.insert(0, str(abs(coefficient)))
            elif len(factors) == 1 and (coefficient > 0 or text):
                factors = [str(monomial[0])]  # a // b alone in its term; after a leading minus it would read (-a) // b
            text += ("-" if coefficient < 0 else "+" if text else "") + "*".join(factors)
        return text

    __repr__ = __str__


Dim = int | DimExpr


class Oracle(Protocol):
    """Who knows an example of each size while a graph is built, and answers questions that the expressions leave open.

    An answer holds for the example; the oracle records what must be so at run time for it to hold again.
    """

    def example(self, dim: Dim) -> int | None:
        """The value of ``dim`` in the example; None where it is not known."""

    def decide(self, relation: str, lhs: Dim, rhs: Dim) -> bool | None:
        """Whether ``lhs relation rhs`` (one of == != < <=); None where no example is known."""

    def fix(self, dim: Dim) -> int | None:
        """The value of ``dim``, which the graph then holds for alone; None where no example is known."""

    def settled(self, dim: Dim) -> Dim:
        """``dim`` with sizes that were found equal written in one way."""


class _Oracles(threading.local):
    current: Oracle | None = None


_oracles = _Oracles()


@contextmanager
def consulting(oracle: Oracle) -> Iterator[None]:
    """Within the block, in this thread, ``oracle`` answers ``int(size)`` and comparisons that bounds do not decide."""
    saved, _oracles.current = _oracles.current, oracle
    try:
        yield
    finally:
        _oracles.current = saved


def same_size(lhs: Dim, rhs: Dim) -> bool | None:
    """Whether two sizes are equal: by sight, else by the example (which makes it a guard); None where neither tells."""
    if lhs == rhs:
        return True
    if isinstance(lhs, int) and isinstance(rhs, int):
        return False
    return None if _oracles.current is None else _oracles.current.decide("==", lhs, rhs)


def is_smaller(lhs: Dim, rhs: Dim) -> bool | None:
    """Whether ``lhs < rhs``, told as by :func:`same_size`."""
    fits = is_at_most(rhs, lhs)
    return None if fits is None else not fits


def is_at_most(lhs: Dim, rhs: Dim) -> bool | None:
    """Whether ``lhs <= rhs``, told as by :func:`same_size`."""
    low, high = bounds(lhs - rhs)
    if high is not None and high <= 0:
        return True
    if low is not None and low > 0:
        return False
    return None if _oracles.current is None else _oracles.current.decide("<=", lhs, rhs)


def smaller_size(lhs: Dim, rhs: Dim) -> Dim:
    """The smaller of two sizes: the one that it is in the example, which makes it a guard; without one, ``min`` of both."""
    fits = is_at_most(lhs, rhs)
    return dim_min(lhs, rhs) if fits is None else lhs if fits else rhs


def larger_size(lhs: Dim, rhs: Dim) -> Dim:
    """The larger of two sizes, told as by :func:`smaller_size`."""
    fits = is_at_most(lhs, rhs)
    return dim_max(lhs, rhs) if fits is None else rhs if fits else lhs


def same_sizes(lhs: Sequence[Dim], rhs: Sequence[Dim]) -> bool:
    """Whether two shapes are equal, each pair of sizes as :func:`same_size` says; what nothing tells is not."""
    return len(lhs) == len(rhs) and all(same_size(a, b) for a, b in zip(lhs, rhs, strict=True))


def example_size(dim: Dim) -> int | None:
    """``dim`` itself where it is an int, else its value in the example, where there is one."""
    if isinstance(dim, int):
        return dim
    return None if _oracles.current is None else _oracles.current.example(dim)


def settled(dims: Iterable[Dim]) -> tuple[Dim, ...]:
    """``dims``, where sizes that a guard says are equal are equal objects."""
    oracle = _oracles.current
    return tuple(dims) if oracle is None else tuple([d if isinstance(d, int) else oracle.settled(d) for d in dims])


_NAME = re.compile(r"[^\W\d]\w*")
_RESERVED = {"true", "false", "none", "inf", "nan", "min", "max", *(d.name for d in ALL), *(d.short for d in ALL)}


def name_problem(name: str) -> str | None:
    """Why ``name`` cannot name a size, or None if it can."""
    if not _NAME.fullmatch(name):
        return "a name has letters, digits and _ only, and does not start with a digit"
    if name in _RESERVED:
        return "the word has a meaning of its own in the text of graphs"
    return None


def _is_dim(value: object) -> bool:
    return isinstance(value, (int, DimExpr)) and not isinstance(value, bool)


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, DimExpr):
        return dim.terms
    return (((), int(dim)),) if dim else ()


def _term_key(term: tuple[Monomial, int]) -> tuple[int, str]:
    return (-len(term[0]), "*".join(map(str, term[0])))


def _from_terms(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = sorted(((m, c) for m, c in total.items() if c), key=_term_key)
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return DimExpr(tuple(kept))


def symbol(name: str) -> DimExpr:
    """The named size ``name``. Raises ArgumentError for a name that :func:`name_problem` objects to."""
    problem = name_problem(name)
    if problem is not None:
        raise ArgumentError(
            f"{name!r} cannot name a size: {problem}", hint="choose a name such as 'n' or 'batch'", cause=ArgumentError.NAME
        )
    return DimExpr((((name,), 1),))


def fresh_symbol(wanted: str, taken: Iterable[str]) -> DimExpr:
    """A size called ``wanted``, or ``wanted_1``, … where that is among the names ``taken``."""
    known = set(taken)
    name, number = wanted, 0
    while name in known:
        number += 1
        name = f"{wanted}_{number}"
    return symbol(name)


def _call(op: str, lhs: Dim, rhs: Dim) -> Dim:
    return DimExpr((((DimCall(op, lhs, rhs),), 1),))


def dim_floordiv(lhs: Dim, rhs: Dim) -> Dim:
    """``lhs // rhs``, divided exactly where every coefficient allows it. Raises ShapeError for division by 0."""
    if isinstance(rhs, int):
        if rhs == 0:
            raise SizeDivisionError(f"division of the size {lhs} by 0")
        if isinstance(lhs, int):
            return lhs // rhs
        divisible = [(m, c) for m, c in lhs.terms if c % rhs == 0]
        if len(divisible) == len(lhs.terms):
            return _from_terms((m, c // rhs) for m, c in lhs.terms)
        rest = _from_terms((m, c) for m, c in lhs.terms if c % rhs)
        exact = _from_terms((m, c // rhs) for m, c in divisible)
        return exact + (rest // rhs if isinstance(rest, int) else _quotient(rest, rhs))
    if lhs == rhs:
        return 1
    quotient = _exact_quotient(lhs, rhs)
    return _call("//", lhs, rhs) if quotient is None else quotient


def _quotient(lhs: DimExpr, rhs: int) -> Dim:
    """``lhs // rhs``, with (a // b + c) // d written as (a + b·c) // (b·d): equal for positive b and d."""
    constant = sum(c for m, c in lhs.terms if not m)
    others = [(m, c) for m, c in lhs.terms if m]
    if rhs > 0 and len(others) == 1:
        monomial, coefficient = others[0]
        inner = monomial[0]
        if coefficient == 1 and len(monomial) == 1 and isinstance(inner, DimCall) and inner.op == "//":
            divisor = inner.rhs
            if isinstance(divisor, int) and divisor > 0:
                return dim_floordiv(inner.lhs + divisor * constant, divisor * rhs)
    return _call("//", lhs, rhs)


def _exact_quotient(lhs: Dim, rhs: Dim) -> Dim | None:
    """The polynomial q with q * rhs == lhs where rhs is a single term, or None."""
    terms = _terms(rhs)
    if len(terms) != 1:
        return None
    divisor, coefficient = terms[0]
    result: list[tuple[Monomial, int]] = []
    for monomial, c in _terms(lhs):
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coefficient:
            return None
        result.append((tuple(rest), c // coefficient))
    return _from_terms(result)


def dim_mod(lhs: Dim, rhs: Dim) -> Dim:
    """``lhs % rhs`` with Python's sign rule; terms that rhs divides are dropped. Raises ShapeError for modulo 0."""
    if isinstance(rhs, int):
        if rhs == 0:
            raise SizeDivisionError(f"the size {lhs} modulo 0")
        if isinstance(lhs, int):
            return lhs % rhs
        rest = _from_terms((m, c % rhs) for m, c in lhs.terms)
        return rest % rhs if isinstance(rest, int) else _call("%", rest, rhs)
    if lhs == rhs or _exact_quotient(lhs, rhs) is not None:
        return 0
    return _call("%", lhs, rhs)


def _order(op: str, lhs: Dim, rhs: Dim) -> Dim:
    low, high = bounds(lhs - rhs)
    if low is not None and low >= 0:
        return lhs if op == "max" else rhs
    if high is not None and high <= 0:
        return rhs if op == "max" else lhs
    first, second = sorted((lhs, rhs), key=str)
    return _call(op, first, second)


def dim_min(lhs: Dim, rhs: Dim) -> Dim:
    """The smaller of two dimensions."""
    return min(lhs, rhs) if isinstance(lhs, int) and isinstance(rhs, int) else _order("min", lhs, rhs)


def dim_max(lhs: Dim, rhs: Dim) -> Dim:
    """The larger of two dimensions."""
    return max(lhs, rhs) if isinstance(lhs, int) and isinstance(rhs, int) else _order("max", lhs, rhs)


def bounds(dim: Dim) -> tuple[int | None, int | None]:
    """A lower and an upper bound that hold for every size (None = unbounded); names are at least 0."""
    if isinstance(dim, int):
        return dim, dim
    low: int | None = 0
    high: int | None = 0
    for monomial, coefficient in dim.terms:
        if not monomial:
            low = None if low is None else low + coefficient
            high = None if high is None else high + coefficient
            continue
        lows = [0 if isinstance(a, str) else bounds_of_call(a)[0] for a in monomial]
        if any(atom_low is None or atom_low < 0 for atom_low in lows):
            return None, None
        if coefficient > 0:
            high = None
        else:
            low = None
    return low, high


def bounds_of_call(call: DimCall) -> tuple[int | None, int | None]:
    """Bounds of a ``//``, ``%``, ``min`` or ``max`` atom."""
    a, b = bounds(call.lhs), bounds(call.rhs)
    if call.op == "%":
        return (0, b[1] - 1 if b[1] is not None else None) if b[0] is not None and b[0] > 0 else (None, None)
    if call.op == "//":
        return (0, None) if a[0] is not None and a[0] >= 0 and b[0] is not None and b[0] >= 0 else (None, None)
    pick = min if call.op == "min" else max
    lows = [x for x in (a[0], b[0]) if x is not None]
    if call.op == "max":
        return (pick(lows) if lows else None), None
    return (pick(lows) if len(lows) == 2 else None), None


def symbols_of(dims: Iterable[Dim]) -> Iterator[str]:
    """The names in ``dims``, in order of appearance, with repetition."""
    for dim in dims:
        if isinstance(dim, DimExpr):
            yield from dim.symbols()


def substitute(dim: Dim, bindings: Mapping[str, Dim]) -> Dim:
    """``dim`` with names replaced; names that ``bindings`` lacks stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        product: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                factor: Dim = bindings[atom] if atom in bindings else symbol(atom)
            else:
                factor = _APPLY[atom.op](substitute(atom.lhs, bindings), substitute(atom.rhs, bindings))
            product = product * factor
        total = total + product
    return total


_APPLY = {"//": dim_floordiv, "%": dim_mod, "min": dim_min, "max": dim_max}


def evaluate_dim(dim: Dim, bindings: Mapping[str, int]) -> int:
    """The value of ``dim``; raises ShapeError naming the first size that ``bindings`` lacks."""
    value = substitute(dim, bindings)
    if isinstance(value, DimExpr):
        missing = next(iter(value.symbols()))
        raise ShapeError(f"the size {missing!r} in {dim} is not bound by any input", cause=ShapeError.UNKNOWN_SIZE)
    return value


def solve(dim: Dim, size: Dim, bindings: Mapping[str, Dim]) -> tuple[str, Dim | None] | None:
    """The one name in ``dim`` that ``bindings`` lacks, and the value that makes ``dim`` equal to ``size``.

    The value is None where no size of at least 0 does. The whole is None where no name or several are missing, or ``dim`` is
    not linear in the one.
    """
    if isinstance(dim, int):
        return None
    missing = {name for name in dim.symbols() if name not in bindings}
    if len(missing) != 1:
        return None
    (name,) = missing
    unknown = symbol(f"{name}__unknown")  # the values of ``bindings`` may hold a size called ``name``
    rest = substitute(dim, {**bindings, name: 0})
    factor = substitute(dim, {**bindings, name: 1}) - rest
    if factor == 0 or substitute(dim, {**bindings, name: unknown}) != unknown * factor + rest:
        return None
    value = (size - rest) // factor
    high = bounds(value)[1]
    return name, None if value * factor != size - rest or (high is not None and high < 0) else value


def product(dims: Iterable[Dim]) -> Dim:
    """The product of ``dims``: the element count of a shape."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total
