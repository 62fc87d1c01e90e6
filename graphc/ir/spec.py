"""Types and sizes as text: ``f32[batch, 784]`` and ``2*n+1``, as a user writes them and as the printer does.

>>> parse_type("f32[batch, 784]").shape[1]
784
>>> parse_dim("(n + 1) // 2")
(n+1)//2
"""

from __future__ import annotations

from graphc.dtypes import ALL, DType
from graphc.errors import ShapeError
from graphc.ir.dims import Dim, DimExpr, dim_floordiv, dim_max, dim_min, dim_mod, name_problem, symbol
from graphc.ir.lexer import MAX_DEPTH, Cursor, close_to, shortened
from graphc.ir.types import TensorType

DTYPES: dict[str, DType] = {d.short: d for d in ALL} | {d.name: d for d in ALL}

_MAX_TERMS = 256
_MAX_COEFFICIENT = 2**64


def parse_type(text: str) -> TensorType:
    """The type that ``text`` spells: a dtype, short or long, and sizes in brackets; a scalar is ``f32[]``.

    Sizes are integers, names, and expressions of them with ``+ - * // %``, ``min`` and ``max``. Raises ParseError,
    which shows the text with a caret under the place.
    """
    cursor = Cursor(text)
    type_ = read_type(cursor)
    cursor.expect_end()
    return type_


def parse_dim(text: str) -> Dim:
    """The size that ``text`` spells; ``parse_dim(str(d)) == d``. Raises ParseError as :func:`parse_type` does."""
    cursor = Cursor(text)
    dim = read_dim(cursor)
    cursor.expect_end()
    return dim


def read_type(cursor: Cursor) -> TensorType:
    """The type at the cursor."""
    start = cursor.index
    dtype = DTYPES.get(cursor.token)
    if dtype is None:
        name = cursor.word("a type, such as f32[batch, 784]")
        known = ", ".join(d.short for d in ALL)
        raise cursor.error(
            f"{shortened(name)} is not a dtype", at=start, hint=close_to(name, DTYPES) or f"use one of {known}"
        )
    cursor.advance()
    cursor.expect("[", hint=f"a type has its sizes in brackets; a scalar is {dtype.short}[]")
    shape: list[Dim] = []
    if cursor.token != "]":
        while True:
            at = cursor.index
            dim = read_dim(cursor)
            if isinstance(dim, int) and dim < 0:
                raise cursor.error(f"a size cannot be negative: {dim}", at=at)
            shape.append(dim)
            if cursor.token == "]":
                break
            if not cursor.accept(","):
                raise cursor.expected("',' or ']'", hint="sizes are separated by commas: f32[batch, 784]")
    cursor.advance()
    return TensorType(dtype, shape)


def read_dim(cursor: Cursor) -> Dim:
    """The size at the cursor, with Python's precedence of operators."""
    if cursor.next_token() in ("]", ",") and len(cursor.token) < 18 and cursor.at_number():  # by far the most frequent
        return cursor.integer("a size")
    return _Expression(cursor).sum()


def continue_dim(cursor: Cursor, lhs: Dim) -> Dim:
    """The size at the cursor whose first operand, which stood in parentheses, is ``lhs``."""
    expression = _Expression(cursor)
    return expression.sum(expression.product(lhs))


class _Expression:
    """Reads one size. Counts what nests, since a size that nests too deep could not be printed or compared."""

    __slots__ = ("calls", "cursor")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.calls = 0

    def sum(self, lhs: Dim | None = None) -> Dim:
        cursor = self.cursor
        total = self.product() if lhs is None else lhs
        while cursor.token in ("+", "-"):
            operator, at = cursor.advance(), cursor.index
            rhs = self.product()
            total = self.bounded(total + rhs if operator == "+" else total - rhs, at)
        return total

    def product(self, lhs: Dim | None = None) -> Dim:
        cursor = self.cursor
        total = self.unary() if lhs is None else lhs
        while cursor.token in ("*", "//", "%"):
            operator, at = cursor.advance(), cursor.index
            rhs = self.unary()
            if operator == "*":
                if _term_count(total) * _term_count(rhs) > _MAX_TERMS:
                    raise cursor.error("this size has too many terms", at=at)
                total = self.bounded(total * rhs, at)
            else:
                self.nest(at)
                try:
                    total = dim_floordiv(total, rhs) if operator == "//" else dim_mod(total, rhs)
                except ShapeError as error:
                    raise cursor.wrapped(error, at=at, doing="dividing sizes") from None
        return total

    def unary(self) -> Dim:
        cursor = self.cursor
        negative = False
        while cursor.token in ("+", "-"):
            negative ^= cursor.advance() == "-"
        dim = self.atom()
        return -dim if negative else dim

    def atom(self) -> Dim:
        cursor, token = self.cursor, self.cursor.token
        if cursor.at_number():
            at = cursor.index
            return self.bounded(cursor.integer("a size"), at)
        if token == "(":
            self.enter()
            dim = self.sum()
            cursor.depth -= 1
            cursor.expect(")")
            return dim
        if token in ("min", "max") and cursor.next_token() == "(":
            at = cursor.index
            self.nest(at)
            cursor.advance()
            self.enter()
            lhs = self.sum()
            cursor.expect(",", hint=f"{token} takes two sizes")
            rhs = self.sum()
            cursor.depth -= 1
            cursor.expect(")", hint=f"{token} takes two sizes")
            return dim_min(lhs, rhs) if token == "min" else dim_max(lhs, rhs)
        if token in ("?", "None", "_"):
            raise cursor.error(f"{token!r} is not a size", hint="give an unknown size a name, such as n")
        at = cursor.index
        name = cursor.word("a size: an integer, a name or an expression of them")
        problem = name_problem(name)
        if problem is not None:
            raise cursor.error(f"{shortened(name)} cannot name a size: {problem}", at=at, hint="choose another name")
        return symbol(name)

    def enter(self) -> None:
        self.cursor.descend()
        self.cursor.advance()

    def nest(self, at: int) -> None:
        self.calls += 1
        if self.calls > MAX_DEPTH:
            raise self.cursor.error(f"a size has at most {MAX_DEPTH} of //, %, min and max", at=at)

    def bounded(self, dim: Dim, at: int) -> Dim:
        coefficients = (dim,) if isinstance(dim, int) else [c for _, c in dim.terms]
        if len(coefficients) > _MAX_TERMS:
            raise self.cursor.error("this size has too many terms", at=at)
        if any(abs(c) > _MAX_COEFFICIENT for c in coefficients):
            raise self.cursor.error("this size does not fit into 64 bits", at=at)
        return dim


def _term_count(dim: Dim) -> int:
    return len(dim.terms) if isinstance(dim, DimExpr) else 1
