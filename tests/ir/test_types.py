"""Types, and matching them with concrete shapes."""

import pickle

import pytest

from graphc.dtypes import float32, float64
from graphc.errors import ShapeError
from graphc.ir import TensorType, parse_type, symbol
from graphc.ir.types import bind_shape, check_shape, symbols_in

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
