"""sort, argsort and top_k against their `evaluate`: order, stability, NaN, ties."""

import numpy as np
import pytest

from graphc.dtypes import ALL, bfloat16, bool_, float32, float64, int64, uint8

from .running import judge, run, samples

SHAPES = [
    ((0,), 0),
    ((1,), 0),
    ((17,), 0),
    ((100,), 0),
    ((3, 40), 1),
    ((40, 3), 0),
    ((2, 33, 3), 1),
    ((0, 4), 1),
    ((4, 0), 1),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_sort_shapes(shape, axis, descending):
    x = np.random.default_rng(0).integers(0, 20, shape).astype(np.float32)
    attributes = {"axis": axis, "descending": descending}
    judge("sort", (x,), attributes, pieces=(1, 2))
    judge("argsort", (x,), attributes, pieces=(1, 2))


@pytest.mark.parametrize(
    "dtype, descending",
    [(d, False) for d in ALL] + [(d, True) for d in (bool_, uint8, int64, bfloat16, float64)],
    ids=str,
)
def test_sort_dtypes(dtype, descending):
    x = samples(np.random.default_rng(0), dtype, (2, 70), special=True)
    attributes = {"axis": 1, "descending": descending}
    judge("sort", (x,), attributes)
    judge("argsort", (x,), attributes)


def test_sort_is_generic_in_its_sizes():
    x = samples(np.random.default_rng(0), float32, (3, 50, 2))
    judge("argsort", (x,), {"axis": 1, "descending": False}, symbolic=True)


def test_sort_keeps_zeros_of_either_sign_in_order():
    x = np.array([0.0, -0.0, 0.0, -1.0, -0.0] * 8, dtype=np.float32)
    (result,), _ = run("sort", (x,), {"axis": 0, "descending": False})
    assert np.signbit(result).tolist() == [True] * 8 + [False, True, False, True] * 8


@pytest.mark.parametrize(
    "shape, k", [((0,), 0), ((5,), 0), ((5,), 1), ((5,), 5), ((4, 60), 7), ((4, 60), 60), ((2, 3, 9), 2)]
)
def test_top_k_shapes(shape, k):
    x = np.random.default_rng(0).integers(0, 20, shape).astype(np.float32)
    judge("top_k", (x,), {"k": k}, pieces=(1, 2))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_top_k_dtypes(dtype):
    x = samples(np.random.default_rng(1), dtype, (3, 50), special=True)
    judge("top_k", (x,), {"k": 20})


def test_top_k_of_too_few_is_reported():
    _, status = run("top_k", (np.zeros((2, 3), np.float32),), {"k": 5}, symbolic=True)
    assert status == [1, 4, 1, 3]
