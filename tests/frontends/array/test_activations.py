"""Activation functions: their values against formulas in float64, their gradients, and extreme inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc.frontends.array as gnp
from graphc.dtypes import FLOATS, DType
from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients, numpy_of


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0.0)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = scipy.special.ndtr(x)
    return result


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * normal_cdf(x),
    "silu": lambda x: x * scipy.special.expit(x),
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softmax": lambda x: scipy.special.softmax(x, axis=-1),
    "log_softmax": lambda x: scipy.special.log_softmax(x, axis=-1),
}
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-13}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_values(name: str, dtype: DType) -> None:
    x = (np.random.default_rng(0).standard_normal((4, 6)) * 4).astype(dtype.numpy)
    result = getattr(gnp, name)(asarray(x))
    assert result.dtype is dtype
    want = FORMULAS[name](x.astype(np.float64))
    assert_close(result, want, rtol=TOLERANCE[dtype.name], atol=TOLERANCE[dtype.name] * 1e-2)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients(name: str) -> None:
    x = np.random.default_rng(2).standard_normal((2, 5)) * 4
    check_gradients(getattr(gnp, name), x)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_nan_and_nothing_overflows(name: str) -> None:
    assert np.isnan(numpy_of(getattr(gnp, name)(asarray([np.nan, 1.0]))))[0]
    extreme = asarray(np.array([[-1e4, 1e4], [-100.0, 100.0], [0.0, 0.0]])).requires_grad_()
    result = getattr(gnp, name)(extreme)
    assert np.isfinite(numpy_of(result)).all()
    result.sum().backward()
    assert extreme.grad is not None
    assert np.isfinite(extreme.grad.numpy()).all()


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("relu", 0.0),
        ("relu6", 0.0),
        ("leaky_relu", 0.01),
        ("elu", 1.0),
        ("celu", 1.0),
        ("softplus", 0.5),
        ("gelu", 0.5),
        ("silu", 0.5),
        ("log_sigmoid", 0.5),
        ("mish", 0.6),
    ],
)
def test_slopes_at_0_are_pytorchs(name: str, slope: float) -> None:
    x = asarray(np.zeros(1)).requires_grad_()
    getattr(gnp, name)(x).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, [slope], rtol=1e-12)


def test_relu_keeps_integers() -> None:
    assert_same(gnp.relu(asarray([-2, 0, 3])), np.array([0, 0, 3]))


def test_options() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    assert_close(gnp.gelu(asarray(x), approximate="tanh"), tanh, rtol=1e-12)
    check_gradients(lambda a: gnp.gelu(a, approximate="tanh"), x)
    assert_close(gnp.softplus(asarray(x), beta=3.0), np.logaddexp(3 * x, 0) / 3, rtol=1e-12)
    assert_close(gnp.hardtanh(asarray(x), -0.2, 0.5), np.clip(x, -0.2, 0.5))
    assert_close(gnp.hardtanh(asarray(x), 0.5, 0.5), np.full_like(x, 0.5))
    check_gradients(lambda a: gnp.hardtanh(a, 0.5, 0.5), x)
    assert_close(gnp.leaky_relu(asarray(x), 0.3), np.where(x > 0, x, 0.3 * x))
    assert_close(gnp.celu(asarray(x), 2.0), np.where(x > 0, x, 2 * np.expm1(x / 2)))
    assert_close(gnp.glu(asarray(x)), x[:, :2] * scipy.special.expit(x[:, 2:]))
    check_gradients(gnp.glu, x)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2)])
def test_softmax_over_any_axes(axis: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4)) * 50
    assert_close(gnp.softmax(asarray(x), axis), scipy.special.softmax(x, axis=axis), rtol=1e-11)
    assert_close(gnp.log_softmax(asarray(x), axis), scipy.special.log_softmax(x, axis=axis), rtol=1e-11)
    check_gradients(lambda a: gnp.log_softmax(a, axis), x / 50)


def test_softmax_of_infinities_and_nothing() -> None:
    assert_close(gnp.softmax(asarray([-np.inf, 0.0, 0.0])), [0, 0.5, 0.5])
    assert np.isnan(numpy_of(gnp.softmax(asarray([-np.inf, -np.inf])))).all()
    assert gnp.softmax(asarray(np.zeros((2, 0)))).shape == (2, 0)


def test_softmax_of_scores_far_below_zero_has_a_gradient() -> None:
    x = asarray(np.array([[-1e6, -1e6 + 1.0]])).requires_grad_()
    gnp.log_softmax(x).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, 1 - 2 * scipy.special.softmax([[0.0, 1.0]], axis=1), rtol=1e-9)


def test_errors() -> None:
    x = asarray(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"glu: size 3 of axis 1 of shape \(2, 3\) cannot be halved"):
        gnp.glu(x)
    with pytest.raises(ArgumentError, match="gelu: unknown approximation 'erf'"):
        gnp.gelu(x, approximate="erf")
    with pytest.raises(ArgumentError, match="softplus: beta must be positive"):
        gnp.softplus(x, beta=0.0)
    with pytest.raises(ArgumentError, match="hardtanh: min_val"):
        gnp.hardtanh(x, 1.0, 0.5)
    with pytest.raises(AxisError, match="softmax: axis 2 is out of range"):
        gnp.softmax(x, 2)
