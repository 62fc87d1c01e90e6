"""Symbolic sizes: the normal form agrees with integer arithmetic, and its text reads back."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dims import (
    Dim,
    DimExpr,
    bounds,
    dim_floordiv,
    dim_max,
    dim_min,
    dim_mod,
    evaluate_dim,
    product,
    substitute,
    symbol,
    symbols_of,
)
from graphc.ir.spec import parse_dim

n, m, k = symbol("n"), symbol("m"), symbol("k")
NAMES = ("n", "m", "k")

# An expression is a nested tuple, so that it can be built as a dimension and evaluated on plain integers.
Expression = int | str | tuple[str, "Expression", "Expression"]
expressions = st.recursive(
    st.integers(-6, 6) | st.sampled_from(NAMES),
    lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "//", "%", "min", "max"]), inner, inner),
    max_leaves=8,
)
bindings = st.fixed_dictionaries({name: st.integers(0, 12) for name in NAMES})

APPLY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": dim_floordiv,
    "%": dim_mod,
    "min": dim_min,
    "max": dim_max,
}


def build(expression: Expression) -> Dim:
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return symbol(expression)
    op, lhs, rhs = expression
    return APPLY[op](build(lhs), build(rhs))


def calculate(expression: Expression, values: dict[str, int]) -> int:
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return values[expression]
    op, lhs, rhs = expression
    a, b = calculate(lhs, values), calculate(rhs, values)
    python = {"+": a + b, "-": a - b, "*": a * b, "min": min(a, b), "max": max(a, b)}
    if op in python:
        return python[op]
    return a // b if op == "//" else a % b


def built(expression: Expression) -> Dim:
    try:
        return build(expression)
    except ShapeError:  # a division by the literal 0
        assume(False)
        raise


@given(expressions, bindings)
def test_an_expression_agrees_with_integer_arithmetic(expression: Expression, values: dict[str, int]) -> None:
    dim = built(expression)
    try:
        want = calculate(expression, values)
    except ZeroDivisionError:
        assume(False)
        raise
    assert evaluate_dim(dim, values) == want


@given(expressions)
def test_the_text_reads_back(expression: Expression) -> None:
    dim = built(expression)
    assert parse_dim(str(dim)) == dim


@given(expressions, bindings)
def test_the_text_is_a_python_expression_of_the_same_value(expression: Expression, values: dict[str, int]) -> None:
    dim = built(expression)
    try:
        want = evaluate_dim(dim, values)
    except ShapeError:
        assume(False)
        raise
    assert eval(str(dim), {"min": min, "max": max, **values}) == want


@given(expressions, bindings)
def test_bounds_hold(expression: Expression, values: dict[str, int]) -> None:
    dim = built(expression)
    low, high = bounds(dim)
    try:
        value = evaluate_dim(dim, values)
    except ShapeError:
        assume(False)
        raise
    assert low is None or low <= value
    assert high is None or value <= high


@given(expressions, bindings, st.sampled_from(NAMES))
def test_binding_sizes_one_after_the_other_is_binding_them_at_once(
    expression: Expression, values: dict[str, int], first: str
) -> None:
    dim = built(expression)
    try:
        at_once = evaluate_dim(dim, values)
        step = substitute(dim, {first: values[first]})
    except ShapeError:
        assume(False)
        raise
    assert evaluate_dim(step, values) == at_once


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (n * 2 + 1, "2*n+1"),
        (1 - n, "-n+1"),
        ((n + 1) * (n - 1) + 1, "n*n"),
        (n // 2, "n//2"),
        (-(n // 2), "-(n//2)"),
        (-n // 2, "(-n)//2"),
        (m - n // 2, "m-n//2"),
        (n // 2 - m // 3, "-(m//3)+n//2"),
        ((n + 1) // 2 * 3, "3*((n+1)//2)"),
        ((n // 2) * (m % 3), "(m%3)*(n//2)"),
        (n // 2 // 3, "n//6"),
        ((n // 2 + 1) // 3, "(n+2)//6"),
        ((n // 2 - 3) // 2, "(n-6)//4"),
        ((m + n // 2) // 3, "(m+n//2)//3"),
        (2 * (n // 3) // 5, "(2*(n//3))//5"),
        (n // 2 // -3, "(n//2)//(-3)"),
        (n // m // 3, "(n//m)//3"),
        (n // (m // 3), "n//(m//3)"),
        (5 // n, "5//n"),
        (-5 // n, "(-5)//n"),
        (n % 3 + 1, "n%3+1"),
        (dim_min(n, 4), "min(4, n)"),
        (dim_max(n, m) // 2, "max(m, n)//2"),
        (4 * n // 2, "2*n"),
        ((4 * n + 6) // 4, "n+1"),
        ((4 * n + 5) % 4, "1"),
        (n * m // n, "m"),
        (n * m % n, "0"),
    ],
)
def test_text_of_the_normal_form(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse_dim(text) == dim


def test_a_constant_result_is_an_int() -> None:
    assert (n - n) == 0
    assert type(n - n) is int
    assert type((n + 3) - n) is int
    assert n // n == 1
    assert n % n == 0


def test_a_minimum_that_is_known_is_simplified() -> None:
    assert dim_min(n, n + 1) == n
    assert dim_max(n, n + 1) == n + 1
    assert dim_max(n, 0) == n
    assert dim_min(n % 4, 0) == 0
    assert dim_min(3, 5) == 3


def test_a_comparison_that_holds_for_every_size_is_decided() -> None:
    assert n < n + 1
    assert n >= 0
    assert not n < 0
    assert n + 1 > 0
    assert n <= n
    with pytest.raises(ShapeError, match="depends on sizes that are only known at run time"):
        assert n < m


def test_a_size_that_is_needed_as_a_number_is_an_error() -> None:
    with pytest.raises(ShapeError, match="the size n is symbolic"):
        int(n)
    with pytest.raises(ShapeError, match="the size n is symbolic"):
        [0, 1][n]  # type: ignore[call-overload]


def test_division_by_zero_is_an_error() -> None:
    with pytest.raises(ShapeError, match="division of the size n by 0"):
        _ = n // 0
    with pytest.raises(ShapeError, match="the size n modulo 0"):
        _ = n % 0


def test_a_size_that_is_not_bound_is_named() -> None:
    with pytest.raises(ShapeError, match=r"the size 'm' in m\+n is not bound"):
        evaluate_dim(n + m, {"n": 3})


@pytest.mark.parametrize(
    "name", ["", "2n", "a b", "a-b", "f32", "float32", "bool", "min", "max", "true", "inf", "none"]
)
def test_a_name_that_could_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="cannot name a size"):
        symbol(name)


def test_a_size_does_not_mix_with_other_types() -> None:
    for other in (1.5, "n", True, None):
        with pytest.raises(TypeError):
            _ = n + other  # type: ignore[operator]
    assert n != "n"


def test_symbols_and_product() -> None:
    assert list(symbols_of([n * m, 3, k // n])) == ["m", "n", "k", "n"]
    assert product([n, 3, m]) == 3 * n * m
    assert product([]) == 1
    assert product([n, 0]) == 0


def test_a_size_pickled_in_another_process_is_equal_here() -> None:
    code = (
        "import pickle, sys; from graphc.ir.dims import symbol; sys.stdout.buffer.write(pickle.dumps(symbol('n') + 1))"
    )
    data = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    loaded = pickle.loads(data)
    assert isinstance(loaded, DimExpr)
    assert {loaded: 1}[n + 1] == 1  # the hash of this process, not the other's
