"""Elementwise array functions against NumPy and SciPy, on edge values of every dtype."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc.frontends.array as gnp
from graphc.dtypes import ALL, DType, bool_
from graphc.errors import DTypeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients

EDGES = np.array([-np.inf, -3.5, -1.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.0, 2.5, 7.0, np.inf, np.nan])

UNARY: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "sigmoid": scipy.special.expit, "logit": scipy.special.logit,
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "trunc": np.trunc, "absolute": np.abs, "sign": np.sign,
    "negative": np.negative, "positive": np.positive, "square": np.square, "reciprocal": np.reciprocal,
    "isfinite": np.isfinite, "isnan": np.isnan, "isinf": np.isinf, "nan_to_num": np.nan_to_num,
}  # fmt: skip
BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp, "copysign": np.copysign,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor, "isclose": np.isclose, "xlogy": scipy.special.xlogy,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unary_functions_on_edge_values(name: str, dtype: type) -> None:
    x = EDGES.astype(dtype)
    with np.errstate(all="ignore"):
        want = UNARY[name](x)
    assert_close(getattr(gnp, name)(asarray(x)), want, rtol=3e-7, atol=1e-45)


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_on_all_pairs_of_edge_values(name: str) -> None:
    x, y = np.meshgrid(EDGES, EDGES)
    if name == "copysign":
        x, y = x[:-1], y[:-1]  # the sign of NaN is not to be had
    with np.errstate(all="ignore"):
        want = BINARY[name](x, y)
    assert_close(getattr(gnp, name)(asarray(x), asarray(y)), want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [d for d in ALL if d.is_integer], ids=str)
def test_integer_arithmetic_wraps_and_divides_like_python(dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    values = np.array([info.min, info.min + 1, 0, 1, 2, 3, 7, info.max - 1, info.max], dtype.numpy)
    x, y = (v.reshape(-1) for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        for name, ufunc in (("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply)):
            assert_same(getattr(gnp, name)(asarray(x), asarray(y)), ufunc(x, y))
        nonzero = y != 0
        assert_same(gnp.floor_divide(asarray(x[nonzero]), asarray(y[nonzero])), x[nonzero] // y[nonzero])
        assert_same(gnp.remainder(asarray(x[nonzero]), asarray(y[nonzero])), x[nonzero] % y[nonzero])
    for name, ufunc in (("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor)):
        assert_same(getattr(gnp, name)(asarray(x), asarray(y)), ufunc(x, y))
    assert_same(gnp.bitwise_invert(asarray(x)), ~x)
    assert_same(gnp.floor_divide(asarray(x), 0), np.zeros_like(x))


def test_bools_follow_numpy() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    for name, ufunc in (("add", np.add), ("multiply", np.multiply), ("maximum", np.maximum), ("bitwise_xor", np.bitwise_xor)):
        assert_same(getattr(gnp, name)(asarray(a), asarray(b)), ufunc(a, b))
    assert_same(~asarray(a), ~a)
    for name in ("subtract", "floor_divide", "remainder", "pow"):
        with pytest.raises(DTypeError, match=f"{name} is not defined for bools"):
            getattr(gnp, name)(asarray(a), asarray(b))
    for name in ("negative", "sign", "positive"):
        with pytest.raises(DTypeError, match=f"{name} is not defined for bools"):
            getattr(gnp, name)(asarray(a))
    assert gnp.absolute(asarray(a)).dtype is bool_


def test_clip_takes_either_bound_and_keeps_nan() -> None:
    x = EDGES.astype(np.float32)
    assert_same(gnp.clip(asarray(x), -1, 2), np.clip(x, -1, 2))
    assert_same(gnp.clip(asarray(x), min=0), np.clip(x, 0, None))
    assert_same(gnp.clip(asarray(x), max=asarray(np.ones_like(x))), np.clip(x, None, 1))


def test_bitwise_functions_refuse_floats() -> None:
    with pytest.raises(DTypeError, match="bitwise_and takes integers or bools, not float32"):
        gnp.bitwise_and(asarray([1.0]), asarray([1.0]))
    with pytest.raises(DTypeError, match="bitwise_invert"):
        gnp.bitwise_invert(asarray([1.0]))


def test_positive_gives_new_memory() -> None:
    x = asarray([1.0, 2.0])
    assert not np.shares_memory(gnp.positive(x).numpy(), x.numpy())


def test_lerp_is_exact_at_both_ends() -> None:
    a, b = asarray([0.1, 3.0, -7.0]), asarray([0.3, 1e8, 2.0])
    assert_same(gnp.lerp(a, b, 0.0), a.numpy())
    assert_same(gnp.lerp(a, b, 1.0), b.numpy())
    assert_close(gnp.lerp(a, b, 0.25), [0.15, 25000002.25, -4.75], rtol=1e-6)


def test_signbit_sees_negative_zero() -> None:
    x = EDGES[:-1].astype(np.float32)
    assert_same(gnp.signbit(asarray(x)), np.signbit(x))
    assert_same(gnp.signbit(asarray([-1, 0, 1])), np.array([True, False, False]))


def test_gradients_of_compositions_are_stable_at_their_edges() -> None:
    x, y = np.array([0.3, -1.2, 2.0]), np.array([1.5, 0.7, -0.4])
    check_gradients(gnp.hypot, x, y)
    check_gradients(gnp.logaddexp, x, y)
    check_gradients(gnp.lerp, x, y, np.array([0.2, 0.6, 0.9]))
    check_gradients(gnp.xlogy, np.abs(x), np.abs(y))
    check_gradients(gnp.logit, np.array([0.2, 0.5, 0.9]))
    zero = asarray(np.zeros(2)).requires_grad_()
    gnp.hypot(zero, zero).sum().backward()
    gnp.xlogy(zero, zero).sum().backward()
    assert zero.grad is not None
    assert np.isfinite(zero.grad.numpy()).all()


def test_numpys_functions_give_tensors() -> None:
    x = asarray(np.array([[3.0, -1.0], [0.5, 2.0]]))
    for name in ("exp", "sort", "sum", "argmax", "tanh", "floor", "cumsum", "isnan"):
        assert_same(getattr(np, name)(x), getattr(np, name)(x.numpy()))
    assert_close(np.std(x, axis=0, ddof=1), np.std(x.numpy(), axis=0, ddof=1))
    assert_same(np.clip(x, a_min=0, a_max=1), np.clip(x.numpy(), 0, 1))
    assert_same(np.concatenate([x, x], axis=1), np.concatenate([x.numpy()] * 2, axis=1))
    assert_same(np.where(x > 0, x, 0), np.where(x.numpy() > 0, x.numpy(), 0))
    assert_same(np.arctan2(x, 2.0), np.arctan2(x.numpy(), 2.0))
    assert_close(np.einsum("ij,jk", x, x), x.numpy() @ x.numpy())
    with pytest.raises(DTypeError, match=r"np\.bartlett|np\.fft|counterpart"):
        np.unwrap(x)
