"""Running reductions against their `evaluate`."""

import numpy as np
import pytest

from graphc.dtypes import ALL, float16, float32

from .running import judge, run, samples

NAMES = ["cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min"]
SHAPES = [
    ((0,), 0),
    ((1,), 0),
    ((9,), 0),
    ((3, 7), 1),
    ((7, 3), 0),
    ((2, 5, 3), 1),
    ((4, 0), 0),
    ((0, 4), 0),
    ((5, 1), 0),
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_shapes(shape, axis, reverse):
    x = samples(np.random.default_rng(0), float32, shape)
    judge("cumulative_sum", (x,), {"axis": axis, "reverse": reverse}, pieces=(1, 2, 4))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name, dtype, axis):
    if dtype.is_bool and name in ("cumulative_sum", "cumulative_prod"):
        pytest.skip("takes numbers")
    special = dtype.is_integer or name in ("cumulative_max", "cumulative_min")
    x = samples(np.random.default_rng(0), dtype, (6, 5), special=special)
    judge(name, (x,), {"axis": axis, "reverse": False}, pieces=(1, 3))


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_from_where_it_stands(name):
    x = np.ones((6, 4), np.float32)
    x[3, 1] = np.nan
    for axis in (0, 1):
        for reverse in (False, True):
            judge(name, (x,), {"axis": axis, "reverse": reverse})


@pytest.mark.parametrize("shape, axis", [((4096,), 0), ((4096, 2), 0)])
def test_16_bits_accumulate_in_32(shape, axis):
    x = np.full(shape, 0.25, float16.numpy)
    (result,), _ = run("cumulative_sum", (x,), {"axis": axis, "reverse": False})
    assert (result[-1] == 1024).all()


def test_generic_in_sizes():
    x = samples(np.random.default_rng(0), float32, (3, 5, 4))
    judge("cumulative_sum", (x,), {"axis": 1, "reverse": True}, symbolic=True)
