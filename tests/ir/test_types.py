"""Types, and matching them with concrete shapes."""

import pickle

import pytest

from graphc.dtypes import float32, float64
from graphc.errors import ShapeError
from graphc.ir import TensorType, parse_type, symbol
from graphc.ir.dims import Dim
from graphc.ir.types import bind_shape, check_shape, solve_sizes, symbols_in

n, m = symbol("n"), symbol("m")


def test_equality_and_text() -> None:
    type_ = TensorType(float32, (n, 2 * m + 1, 3))
    assert str(type_) == "f32[n, 2*m+1, 3]"
    assert type_ == parse_type("f32[n, 2*m+1, 3]")
    assert hash(type_) == hash(parse_type("f32[n, 2*m+1, 3]"))
    assert type_ != TensorType(float64, type_.shape)
    assert type_ != TensorType(float32, (n, 3))
    assert type_ != "f32[n, 2*m+1, 3]"
    assert pickle.loads(pickle.dumps(type_)) == type_


def test_properties() -> None:
    type_ = TensorType(float32, (n, 3))
    assert (type_.ndim, type_.size, type_.is_concrete) == (2, 3 * n, False)
    assert type_.with_dtype(float64) == parse_type("f64[n, 3]")
    assert type_.with_shape([2]) == parse_type("f32[2]")
    assert type_.substitute({"n": 5}) == parse_type("f32[5, 3]")
    assert type_.substitute({"n": 5}).is_concrete
    assert TensorType(float32).size == 1
    assert symbols_in([type_, TensorType(float32, (m, n // 2))]) == ["n", "m"]


def test_a_negative_size_is_an_error() -> None:
    with pytest.raises(ShapeError, match="cannot have the negative size -1"):
        TensorType(float32, (2, -1))
    with pytest.raises(ShapeError, match="negative size"):
        TensorType(float32, (n - 5,)).substitute({"n": 3})


@pytest.mark.parametrize(
    ("types", "shapes", "want"),
    [
        (["f32[2*n]"], [(6,)], {"n": 3}),
        (["f32[3*n+1, 4]"], [(7, 4)], {"n": 2}),
        (["f32[n+m]", "f32[2*n]"], [(5,), (4,)], {"n": 2, "m": 3}),
        (["f32[n*m, n]"], [(12, 3)], {"n": 3, "m": 4}),
        (["f32[k-m, n+m, 2*n]"], [(1, 5, 4)], {"n": 2, "m": 3, "k": 4}),
        (["f32[n-2]"], [(0,)], {"n": 2}),
        (["f32[n//2]"], [(3,)], {}),  # 6 or 7
        (["f32[n*n]"], [(9,)], {}),
        (["f32[n+m]"], [(9,)], {}),
        (["f32[n*m, m]"], [(0, 0)], {"m": 0}),  # any n
    ],
)
def test_sizes_that_are_only_in_expressions(
    types: list[str], shapes: list[tuple[int, ...]], want: dict[str, int]
) -> None:
    bindings: dict[str, int] = {}
    parsed = [parse_type(text) for text in types]
    names = [f"x{i}" for i in range(len(types))]
    for type_, shape, name in zip(parsed, shapes, names, strict=True):
        bind_shape(type_, shape, bindings, name)
    solve_sizes(parsed, shapes, bindings, names)
    assert bindings == want


def test_an_equation_that_no_size_solves_names_the_value() -> None:
    with pytest.raises(ShapeError, match=r"x has size 3 in dimension 1, but no size 'n' makes 2\*n that"):
        solve_sizes([parse_type("f32[4, 2*n]")], [(4, 3)], {}, ["x"])
    with pytest.raises(ShapeError, match=r"x has size 1 in dimension 0, but no size 'n' makes n\+2 that"):
        solve_sizes([parse_type("f32[n+2]")], [(1,)], {}, ["x"])


def test_sizes_may_be_solved_for_symbolic_ones() -> None:
    bindings: dict[str, Dim] = {}
    solve_sizes([parse_type("f32[2*n, n+m]")], [(4 * n, 3 * n)], bindings, ["x"])
    assert bindings == {"n": 2 * n, "m": n}
    with pytest.raises(ShapeError, match="no size 'n' makes"):
        solve_sizes([parse_type("f32[2*n]")], [(n,)], {}, ["x"])


def test_binding_shapes() -> None:
    bindings: dict[str, int] = {}
    bind_shape(parse_type("f32[n, 3, 2*n]"), (4, 3, 8), bindings, "x")
    assert bindings == {"n": 4}
    check_shape(parse_type("f32[n, 3, 2*n]"), (4, 3, 8), bindings, "x")
    with pytest.raises(ShapeError, match=r"x has size 9 in dimension 2, but 2\*n = 8"):
        check_shape(parse_type("f32[n, 3, 2*n]"), (4, 3, 9), bindings, "x")
    with pytest.raises(ShapeError, match="y has size 5 in dimension 0, but the size 'n' is 4 already"):
        bind_shape(parse_type("f32[n]"), (5,), bindings, "y")
    with pytest.raises(ShapeError, match=r"y has 1 dimensions, shape \(5,\), but f32\[n, n\] was declared"):
        bind_shape(parse_type("f32[n, n]"), (5,), {}, "y")
    with pytest.raises(ShapeError, match="dimension 1 must be 3"):
        bind_shape(parse_type("f32[n, 3]"), (4, 4), {}, "y")
