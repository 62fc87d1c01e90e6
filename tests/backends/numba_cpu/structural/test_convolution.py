"""conv_general against its `evaluate`, directly and as a product of matrices."""

import numpy as np
import pytest

from graphc.backends.numba_cpu.backend import LOWERINGS
from graphc.dtypes import ALL, float32
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType

from .running import judge, samples


def attributes(rank, **changed):
    ones = (1,) * rank
    plain = {
        "strides": ones,
        "padding": ((0, 0),) * rank,
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "groups": 1,
    }
    return {**plain, **changed}


CASES = [
    ((2, 3, 9), (4, 3, 3), attributes(1)),
    ((2, 3, 9), (4, 3, 3), attributes(1, strides=(2,), padding=((1, 2),))),
    ((2, 3, 9), (4, 3, 2), attributes(1, strides=(3,), padding=((-1, 2),), lhs_dilation=(2,), rhs_dilation=(3,))),
    ((2, 3, 9), (4, 3, 2), attributes(1, padding=((-2, -3),), lhs_dilation=(3,))),
    ((1, 2, 200), (3, 2, 198), attributes(1)),
    ((1, 2, 200), (3, 2, 90), attributes(1, strides=(3,), padding=((2, 0),), rhs_dilation=(2,))),
    ((2, 4, 6, 7), (6, 4, 3, 2), attributes(2)),
    ((2, 4, 6, 7), (6, 2, 3, 2), attributes(2, groups=2, strides=(2, 1), padding=((1, 1), (0, 2)))),
    ((2, 4, 6, 7), (4, 1, 2, 2), attributes(2, groups=4, lhs_dilation=(1, 2), rhs_dilation=(2, 1))),
    ((2, 4, 6, 7), (5, 4, 1, 1), attributes(2)),
    ((2, 3, 40, 41), (2, 3, 39, 39), attributes(2)),
    ((2, 3, 40, 41), (2, 3, 18, 19), attributes(2, strides=(2, 1), padding=((1, -1), (0, 0)), rhs_dilation=(2, 2))),
    ((1, 9, 60, 50), (2, 9, 3, 3), attributes(2, padding=((1, 1), (1, 1)))),
    ((2, 50, 9, 8), (35, 50, 3, 3), attributes(2, padding=((1, 1), (1, 1)))),
    ((3, 45, 24), (33, 45, 9), attributes(1, strides=(2,))),
    ((2, 120, 5, 9), (40, 60, 3, 3), attributes(2, groups=2, padding=((0, 2), (1, 1)))),
    ((1, 2, 4, 5, 6), (3, 2, 2, 3, 2), attributes(3, strides=(1, 2, 1), padding=((1, 0), (0, 1), (1, 1)))),
    ((1, 2, 9, 8, 40), (3, 2, 9, 7, 38), attributes(3)),
    ((2, 3, 4), (4, 3, 6), attributes(1)),
    ((0, 3, 4), (4, 3, 2), attributes(1)),
    ((2, 0, 4), (4, 0, 2), attributes(1)),
    ((2, 3, 0), (4, 3, 2), attributes(1, padding=((2, 2),))),
    ((2, 3, 4), (4, 3, 2), attributes(1, padding=((-3, -3),))),
]


@pytest.mark.parametrize("x_shape, w_shape, attributes", CASES, ids=str)
@pytest.mark.parametrize("symbolic", [False, True], ids=["concrete", "symbolic"])
def test_shapes(x_shape, w_shape, attributes, symbolic):
    if symbolic and attributes["groups"] != 1:
        pytest.skip("the channels of groups are concrete")
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, x_shape).astype(np.float32)
    w = rng.integers(-4, 5, w_shape).astype(np.float32)
    judge("conv_general", (x, w), attributes, pieces=(1, 3), symbolic=symbolic)


def test_both_ways_are_among_the_cases():
    ways = set()
    for x_shape, w_shape, given in CASES:
        types = (TensorType(float32, x_shape), TensorType(float32, w_shape))
        results = get_primitive("conv_general").infer(types, **given)
        ways.add(LOWERINGS["conv_general"](given, types, results)[-1].name)
    assert ways == {"conv", "conv_product"}


@pytest.mark.parametrize("dtype", [d for d in ALL if not d.is_bool], ids=str)
@pytest.mark.parametrize("width", [4, 120], ids=["short", "long"])
def test_dtypes(dtype, width):
    rng = np.random.default_rng(0)
    special = dtype.is_integer
    x = samples(rng, dtype, (2, 3, width + 2), special=special)
    w = samples(rng, dtype, (2, 3, 3 if width == 4 else width), special=special)
    eps = {"f16": 1e-3, "bf16": 8e-3, "f32": 1e-5, "f64": 1e-13}.get(dtype.short, 0)
    judge("conv_general", (x, w), attributes(1, padding=((1, 0),)), rtol=eps, atol=eps)


@pytest.mark.parametrize("window", [(3, 3), (30, 29)], ids=["small", "large"])
def test_inf_reaches_only_the_windows_that_hold_it(window):
    x = samples(np.random.default_rng(0), float32, (1, 1, 32, 33))
    x[0, 0, 31, 0] = np.inf
    x[0, 0, 0, 32] = np.nan
    w = np.ones((1, 1, *window), np.float32)
    judge("conv_general", (x, w), attributes(2), rtol=1e-4, atol=1e-3)
