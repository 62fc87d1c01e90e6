"""Covariance, quantiles, differences, integrals, interpolation and running logsumexp against NumPy."""

from typing import Any

import numpy as np
import pytest

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 7))


@pytest.mark.parametrize("rowvar", [True, False])
def test_covariance_and_correlation(rowvar: bool) -> None:
    assert_close(gnp.cov(asarray(X), rowvar=rowvar), np.cov(X, rowvar=rowvar), rtol=1e-12)
    assert_close(gnp.cov(asarray(X), rowvar=rowvar, correction=0), np.cov(X, rowvar=rowvar, ddof=0), rtol=1e-12)
    assert_close(gnp.corrcoef(asarray(X), rowvar=rowvar), np.corrcoef(X, rowvar=rowvar), rtol=1e-12)


def test_covariance_of_one_variable() -> None:
    assert_close(gnp.cov(asarray(X[0])), np.cov(X[0]), rtol=1e-12)
    assert_close(gnp.corrcoef(asarray(X[0])), np.corrcoef(X[0]))
    with pytest.raises(ShapeError, match="cov: x must be a matrix or a vector"):
        gnp.cov(asarray(np.zeros((2, 2, 2))))


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 1.0, [0.25, 0.75]])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_quantiles(q: Any, axis: Any, keepdims: bool) -> None:
    got = gnp.quantile(asarray(X), q, axis, keepdims=keepdims)
    assert_close(got, np.quantile(X, q, axis=axis, keepdims=keepdims), rtol=1e-12)


def test_quantiles_of_nan_and_nothing() -> None:
    assert_close(gnp.quantile(asarray([[1.0, np.nan], [1.0, 2.0]]), 0.5, 1), [np.nan, 1.5])
    with pytest.raises(ArgumentError, match="quantile: q must be between 0 and 1, not 2"):
        gnp.quantile(asarray(X), 2.0)
    with pytest.raises(ShapeError, match="quantile over no elements"):
        gnp.quantile(asarray(np.zeros(0)), 0.5)


def test_weighted_averages() -> None:
    weights = RNG.uniform(0.1, 1, (3, 7))
    assert_close(gnp.average(asarray(X), 1, asarray(weights)), np.average(X, axis=1, weights=weights), rtol=1e-12)
    assert_close(gnp.average(asarray(X), 1, asarray(weights[0])), np.average(X, axis=1, weights=weights[0]), rtol=1e-12)
    assert_close(gnp.average(asarray(X), weights=asarray(weights)), np.average(X, weights=weights), rtol=1e-12)
    assert_close(gnp.average(asarray(X), 0), X.mean(0), rtol=1e-12)
    with pytest.raises(ShapeError, match=r"average: weights have shape \(3,\), x \(3, 7\)"):
        gnp.average(asarray(X), 1, asarray(weights[:, 0]))


@pytest.mark.parametrize("n", [0, 1, 2, 9])
@pytest.mark.parametrize("axis", [0, 1])
def test_differences(n: int, axis: int) -> None:
    assert_close(gnp.diff(asarray(X), n, axis), np.diff(X, n, axis), rtol=1e-12)
    assert_same(gnp.diff(asarray(X > 0), axis=axis), np.diff(X > 0, axis=axis))


def test_trapezoids() -> None:
    points = np.cumsum(RNG.uniform(0.1, 1, 7))
    assert_close(gnp.trapezoid(asarray(X), dx=0.3), np.trapezoid(X, dx=0.3), rtol=1e-12)
    assert_close(gnp.trapezoid(asarray(X), asarray(points)), np.trapezoid(X, points), rtol=1e-12)
    assert_close(gnp.trapezoid(asarray(X), asarray(X), axis=0), np.trapezoid(X, X, axis=0), rtol=1e-12)
    check_gradients(gnp.trapezoid, X, points)
    column = points[:3, None]
    for x, axis in ((points[None], 1), (column, 0)):
        want = np.trapezoid(X, np.broadcast_to(x, X.shape), axis=axis)
        assert_close(gnp.trapezoid(asarray(X), asarray(x), axis=axis), want, rtol=1e-12)
    with pytest.raises(ShapeError, match=r"trapezoid: x has shape \(3, 1\), y \(3, 7\)"):
        gnp.trapezoid(asarray(X), asarray(column))  # one point, for all seven samples
    with pytest.raises(ShapeError, match=r"trapezoid: x has shape \(3,\), y \(3, 7\)"):
        gnp.trapezoid(asarray(X), asarray(points[:3]))


def test_interpolation() -> None:
    xp, fp = np.cumsum(RNG.uniform(0.1, 1, 6)), RNG.standard_normal(6)
    x = np.array([[-1.0, xp[0], 1.3], [xp[-1], 99.0, np.nan]])
    assert_close(gnp.interp(asarray(x), asarray(xp), asarray(fp)), np.interp(x, xp, fp), rtol=1e-12)
    got = gnp.interp(asarray(x), asarray(xp), asarray(fp), left=-5.0, right=7.0)
    assert_close(got, np.interp(x, xp, fp, left=-5.0, right=7.0), rtol=1e-12)
    assert_close(gnp.interp(asarray([0.0, 3.0]), asarray([1.0]), asarray([4.0])), [4.0, 4.0])
    check_gradients(lambda a, b: gnp.interp(a, asarray(xp), b), np.array([0.9, 1.7, 2.2]), fp)
    with pytest.raises(ShapeError, match=r"interp: xp and fp must be vectors of one size, not \(2,\) and \(3,\)"):
        gnp.interp(1.0, asarray([1.0, 2.0]), asarray([1.0, 2.0, 3.0]))


def test_running_logsumexp_loses_nothing() -> None:
    x = np.array([[-1000.0, -1001.0, 0.0, 5.0, -np.inf], [700.0, 800.0, -800.0, 900.0, 1e4]])
    assert_close(gnp.cumulative_logsumexp(asarray(x), 1), np.logaddexp.accumulate(x, axis=1), rtol=1e-14)
    assert_close(gnp.cumulative_logsumexp(asarray([-np.inf, -np.inf, 1.0])), [-np.inf, -np.inf, 1.0])
    check_gradients(gnp.cumulative_logsumexp, X)


def test_gradients() -> None:
    check_gradients(gnp.cov, X[:2])
    check_gradients(gnp.corrcoef, X[:2])
    check_gradients(lambda a: gnp.quantile(a, 0.3, 1), X)
    check_gradients(lambda a: gnp.diff(a, 2), X)
