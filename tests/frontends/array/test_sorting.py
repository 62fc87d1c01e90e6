"""Sorting, searching and distinct elements against NumPy: every dtype, NaN, ties, empty arrays."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import graphc.frontends.array as gnp
from graphc.dtypes import ALL, DType, bfloat16
from graphc.errors import ArgumentError, AxisError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_same, check_gradients, numpy_of

RNG = np.random.default_rng(0)
numbers = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf, np.nan])


@given(arrays(np.float32, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5), elements=numbers), st.data())
def test_sorting_along_any_axis(x: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1) | st.none())
    assert_same(gnp.sort(asarray(x), axis), np.sort(x, axis=axis, kind="stable"))
    assert_same(gnp.argsort(asarray(x), axis), np.argsort(x, axis=axis, kind="stable"))
    line, place = (x.ravel(), 0) if axis is None else (x, axis)
    down = numpy_of(gnp.sort(asarray(x), axis, descending=True))
    np.testing.assert_array_equal(down, np.flip(np.sort(line, axis=place), place))
    order = numpy_of(gnp.argsort(asarray(x), axis, descending=True))
    np.testing.assert_array_equal(np.take_along_axis(line, order, place), down)


@pytest.mark.parametrize("dtype", [d for d in ALL if d is not bfloat16], ids=str)
def test_every_dtype(dtype: DType) -> None:
    x = np.array([[3, 0, 1, 2], [1, 1, 0, 7]]).astype(dtype.numpy)
    assert_same(gnp.sort(asarray(x)), np.sort(x))
    assert_same(gnp.argsort(asarray(x)), np.argsort(x, kind="stable"))
    assert_same(gnp.topk(asarray(x), 2).values, np.sort(x)[:, :-3:-1])
    assert_same(gnp.topk(asarray(x), 2, largest=False).values, np.sort(x)[:, :2])
    assert_same(gnp.unique(asarray(x)), np.unique(x))


def test_topk_along_any_axis_takes_the_first_of_ties() -> None:
    x = RNG.integers(0, 4, (3, 5, 2)).astype(np.float64)
    for axis in (0, 1, -1):
        found = gnp.topk(asarray(x), 2, axis)
        order = np.argsort(-x, axis=axis, kind="stable").take(range(2), axis)
        assert_same(found.indices, order)
        assert_same(found.values, np.take_along_axis(x, order, axis))
    low = gnp.topk(asarray(x), 3, 1, largest=False)
    order = np.argsort(x, axis=1, kind="stable")[:, :3]
    assert_same(low.indices, order)
    assert gnp.topk(asarray(x), 0).values.shape == (3, 5, 0)


@given(
    arrays(np.float64, st.integers(0, 9), elements=numbers),
    arrays(np.float64, array_shapes(max_dims=2, max_side=4), elements=numbers),
)
def test_searchsorted(line: np.ndarray, values: np.ndarray) -> None:
    line = np.sort(line)
    for side in ("left", "right"):
        assert_same(gnp.searchsorted(asarray(line), asarray(values), side), np.searchsorted(line, values, side))


def test_searchsorted_in_integers_promotes() -> None:
    assert_same(gnp.searchsorted(asarray([1, 3, 5]), asarray([0, 3, 9])), np.array([0, 1, 3]))
    assert gnp.searchsorted(asarray([1, 3, 5]), 3, "right").item() == 2


def test_distinct_elements() -> None:
    x = np.array([[2.0, 1.0, np.nan], [1.0, np.nan, 5.0]])
    want = np.unique(x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    found = gnp.unique_all(asarray(x))
    for got, expected in zip(found, want, strict=True):
        assert_same(got, expected.reshape(got.shape))
    assert found.inverse_indices.shape == x.shape
    assert_same(gnp.unique_values(asarray(x)), want[0])
    assert_same(gnp.unique_counts(asarray(x)).counts, want[3])
    assert_same(gnp.unique_inverse(asarray(x)).values, want[0])
    values, counts = gnp.unique(asarray([3, 1, 3]), return_counts=True)
    assert_same(values, np.array([1, 3]))
    assert_same(counts, np.array([1, 2]))


def test_gradients() -> None:
    x = RNG.standard_normal((3, 5))
    check_gradients(gnp.sort, x)
    check_gradients(lambda a: gnp.sort(a, 0, descending=True), x)
    check_gradients(lambda a: gnp.topk(a, 2).values, x)
    check_gradients(lambda a: gnp.topk(a, 2, 0, largest=False).values, x)
    check_gradients(gnp.unique_values, x)


def test_errors() -> None:
    x: Any = asarray(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"topk: k is 4, but axis 1 of shape \(2, 3\) has size 3"):
        gnp.topk(x, 4)
    with pytest.raises(ArgumentError, match=r"topk: k must be an int, not 1\.5"):
        gnp.topk(x, 1.5)
    assert gnp.topk(x, asarray(2)).values.shape == (2, 2)
    with pytest.raises(AxisError, match="sort: axis 2 is out of range"):
        gnp.sort(x, 2)
    with pytest.raises(ArgumentError, match="side must be 'left' or 'right'"):
        gnp.searchsorted(x[0], 1.0, "middle")
    with pytest.raises(ShapeError, match=r"must be a vector, not of shape \(2, 3\)"):
        gnp.searchsorted(x, 1.0)
