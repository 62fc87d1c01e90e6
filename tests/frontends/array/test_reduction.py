"""Reductions and running functions against NumPy: all axes, dtypes, empty arrays, NaN; and their gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc.frontends.array as gnp
from graphc.dtypes import ALL, DType, bfloat16
from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients

AXES = [None, 0, -1, (0, 2), (-1, 0, 1)]
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
    "any": np.any,
    "all": np.all,
    "count_nonzero": np.count_nonzero,
    "logsumexp": scipy.special.logsumexp,
    "nansum": np.nansum,
    "nanmean": np.nanmean,
    "norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
}


def sample(shape: tuple[int, ...] = (2, 3, 4)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: Any, keepdims: bool) -> None:
    x = sample()
    got = getattr(gnp, name)(asarray(x), axis=axis, keepdims=keepdims)
    assert_close(got, REDUCTIONS[name](x, axis=axis, keepdims=keepdims), rtol=1e-12)


@pytest.mark.parametrize("name", ["median", "argmax", "argmin"])
@pytest.mark.parametrize("axis", [None, 0, 2, -2])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_along_one_axis(name: str, axis: Any, keepdims: bool) -> None:
    x = sample()
    assert_close(getattr(gnp, name)(asarray(x), axis, keepdims=keepdims), getattr(np, name)(x, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("dtype", [d for d in ALL if d is not bfloat16], ids=str)
def test_every_dtype(dtype: DType) -> None:
    x = np.array([[1, 0, 3], [2, 5, 1]]).astype(dtype.numpy)
    for name in ("max", "min", "any", "all", "argmax", "argmin"):
        assert_same(getattr(gnp, name)(asarray(x), 1), getattr(np, name)(x, axis=1))
    assert_close(gnp.sum(asarray(x), 0), np.sum(x, axis=0))
    assert_close(gnp.cumprod(asarray(x), 0), np.cumprod(x, axis=0))
    assert_close(gnp.mean(asarray(x)), np.mean(x.astype(np.float64)), rtol=1e-3)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cumulative_max", "cumulative_min"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_running_functions(name: str, axis: Any) -> None:
    x = sample()
    numpys = {"cumulative_max": np.maximum.accumulate, "cumulative_min": np.minimum.accumulate}.get(name)
    function = numpys or getattr(np, name)
    want = function(x.ravel() if axis is None else x, axis=0 if axis is None else axis)
    assert_close(getattr(gnp, name)(asarray(x), axis), want, rtol=1e-12)


def test_nan_wins_and_is_skipped_where_asked() -> None:
    x = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    for name in ("max", "min", "sum", "mean", "median", "argmax", "argmin"):
        assert_close(getattr(gnp, name)(asarray(x), 1), getattr(np, name)(x, axis=1))
    assert_close(gnp.nanmean(asarray(x), 1), [2.0, np.nan])
    assert_close(gnp.nansum(asarray(x), 1), [4.0, 0.0])


def test_empty_arrays() -> None:
    empty = asarray(np.zeros((0, 3)))
    assert_same(gnp.sum(empty, 0), np.zeros(3))
    assert_same(gnp.prod(empty), np.float64(1))
    assert_same(gnp.all(empty), np.True_)
    assert_same(gnp.mean(empty, 0), np.full(3, np.nan))
    assert_same(gnp.logsumexp(empty, 0), np.full(3, -np.inf))
    assert gnp.max(empty, 1).shape == (0,)
    for name in ("max", "min", "median"):
        with pytest.raises(ShapeError, match=rf"{name} over no elements \(shape \(0, 3\)\)"):
            getattr(gnp, name)(empty, 0)


def test_sixteen_bit_floats_are_averaged_without_overflow() -> None:
    x = np.full(1000, 300.0, np.float16)
    assert gnp.mean(asarray(x)).item() == 300.0
    assert gnp.norm(asarray(x)).item() == pytest.approx(300 * 1000**0.5, rel=1e-3)
    assert gnp.var(asarray(x)).item() == 0.0


@pytest.mark.parametrize("ord", [None, 2, 1, 3, 0.5, -1, 0, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [None, 1])
def test_norms(ord: Any, axis: Any) -> None:
    x = sample((3, 4))
    want = np.linalg.norm(x.ravel() if axis is None else x, ord, axis)
    assert_close(gnp.norm(asarray(x), ord, axis), want, rtol=1e-12)


@pytest.mark.parametrize("ord", [2, 1, 3, 0.5, np.inf])
def test_the_gradient_of_a_norm_at_0_is_0(ord: Any) -> None:
    x = asarray(np.zeros(3)).requires_grad_()
    gnp.norm(x, ord).backward()
    assert x.grad is not None
    assert_same(x.grad, np.zeros(3))
    check_gradients(lambda a: gnp.norm(a, ord, 1), sample((2, 3)))


def test_the_gradient_of_std_of_equal_elements_is_0() -> None:
    x = asarray(np.ones(4)).requires_grad_()
    gnp.std(x).backward()
    assert x.grad is not None
    assert_same(x.grad, np.zeros(4))


@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "var", "std", "logsumexp", "max", "min", "median", "nanmean", "cumsum"]
)
def test_gradients(name: str) -> None:
    x = sample((3, 4)) + 0.1
    check_gradients(lambda a: getattr(gnp, name)(a, 1), x)


def test_logsumexp_neither_overflows_nor_loses_infinities() -> None:
    x = np.array([[1000.0, 1000.0], [-1000.0, -1001.0], [-np.inf, -np.inf], [np.inf, 0.0]])
    assert_close(gnp.logsumexp(asarray(x), 1), scipy.special.logsumexp(x, axis=1), rtol=1e-14)
    tensor = asarray(x[:2]).requires_grad_()
    gnp.logsumexp(tensor, 1).sum().backward()
    assert tensor.grad is not None
    assert_close(tensor.grad, scipy.special.softmax(x[:2], axis=1))


def test_closeness_of_whole_arrays() -> None:
    x = asarray([1.0, 2.0])
    assert gnp.allclose(x, x + 1e-7).item() is True
    assert gnp.allclose(x, [1.0, 2.1]).item() is False
    assert gnp.array_equal(x, [1.0, 2.0]).item() is True
    assert gnp.array_equal(x, [1.0]).item() is False


def test_errors_name_the_function() -> None:
    x = asarray(np.zeros((2, 3)))
    with pytest.raises(AxisError, match="sum: axis 2 is out of range for 2 dimensions"):
        gnp.sum(x, 2)
    with pytest.raises(AxisError, match=r"mean: an axis is named twice in \(0, -2\)"):
        gnp.mean(x, (0, -2))
    with pytest.raises(AxisError, match="argmax: axis 5"):
        gnp.argmax(x, 5)
    with pytest.raises(ArgumentError, match="norm: unknown order 'abc'"):
        gnp.norm(x, "abc")
