"""Window reductions against their `evaluate`."""

import numpy as np
import pytest

import graphc as gc
from graphc.dtypes import ALL, float16, float32, float64, int64, uint8

from .running import expected, judge, samples

NAMES = [f"reduce_window_{o}" for o in ("sum", "max", "min", "argmax", "argmin")]


def attributes(window, strides=None, padding=None, base=None, dilation=None):
    ones = (1,) * len(window)
    return {
        "window": window,
        "strides": strides or ones,
        "padding": padding or ((0, 0),) * len(window),
        "base_dilation": base or ones,
        "window_dilation": dilation or ones,
    }


CASES = [
    ((), attributes(())),
    ((8,), attributes((3,))),
    ((8,), attributes((3,), (2,), ((1, 2),))),
    ((8,), attributes((3,), (3,), ((-1, 2),))),
    ((8,), attributes((2,), (1,), ((5, 4),), None, (3,))),
    ((8,), attributes((3,), (2,), ((1, 1),), (3,))),
    ((8,), attributes((20,), (17,), ((9, 30),))),
    ((5, 7), attributes((2, 2), (2, 2))),
    ((5, 7), attributes((3, 2), (2, 1), ((1, 0), (-1, 2)), (2, 1), (1, 2))),
    ((5, 7), attributes((3, 2), (1, 3), ((2, 2), (0, 5)), (1, 2), (2, 1))),
    ((5, 7), attributes((3, 1), (2, 1), ((1, 1), (0, 0)))),
    ((5, 7), attributes((1, 7))),
    ((0, 3), attributes((2, 2), None, ((1, 2), (0, 0)))),
    ((3, 3), attributes((5, 2))),
    ((2, 3, 6, 6), attributes((1, 1, 2, 2), (1, 1, 2, 2))),
    ((2, 5, 6, 3), attributes((1, 3, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 0), (0, 0)))),
]


@pytest.mark.parametrize("shape, attributes", CASES, ids=str)
def test_shapes(shape, attributes):
    x = np.random.default_rng(0).integers(-4, 5, shape).astype(np.float32)
    for name in ("reduce_window_sum", "reduce_window_argmax"):
        judge(name, (x,), attributes, pieces=(1, 3))


NUMBERS = [d for d in ALL if not d.is_bool]
FEW = [uint8, int64, float16, float32]


@pytest.mark.parametrize("name, dtype", [(n, d) for n in NAMES for d in (FEW if "min" in n else NUMBERS)], ids=str)
def test_dtypes(name, dtype):
    x = samples(np.random.default_rng(0), dtype, (6, 9), special=not (dtype.is_floating and name.endswith("sum")))
    judge(name, (x,), attributes((2, 3), (1, 2), ((1, 1), (2, 2))), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_nan_wins_and_the_first_of_those_that_tie(name):
    x = np.array([[1, np.nan, np.nan, 2], [0, 0, -0.0, 2], [-np.inf, -np.inf, np.inf, np.inf]], np.float32)
    judge(name, (x,), attributes((1, 3), None, ((0, 0), (2, 2))))


@pytest.mark.parametrize("name", NAMES)
def test_generic_in_sizes(name):
    x = samples(np.random.default_rng(0), float32, (3, 5, 4))
    judge(name, (x,), attributes((1, 2, 3), (1, 2, 1), ((0, 0), (1, 1), (2, 0))), symbolic=True, rtol=1e-6)


BESIDE = [
    ((3, 5, 28), attributes((1, 2, 2), (1, 2, 2))),
    ((5, 9), attributes((2, 2), (2, 2))),
    ((2, 4, 37), attributes((1, 2, 2), (1, 2, 2))),
    ((4, 3, 50), attributes((3, 1, 3), (3, 1, 3))),
    ((2, 9), attributes((1, 4), (1, 4))),
    ((6, 8), attributes((2, 2), (3, 2))),
    ((6, 8), attributes((2, 2), (1, 2), None, None, (2, 1))),
    ((6, 0), attributes((2, 2), (2, 2))),
]


@pytest.mark.parametrize("shape, attributes", BESIDE, ids=str)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("operation", ["max", "min"])
def test_windows_that_lie_side_by_side(shape, attributes, dtype, operation):
    x = samples(np.random.default_rng(1), dtype, shape, special=True)
    judge(f"reduce_window_{operation}", (x,), attributes)
    windows = expected(f"reduce_window_{operation}", (x,), attributes)[0].shape
    source = np.random.default_rng(2).integers(-9, 9, windows).astype(dtype.numpy)
    judge("select_and_scatter", (x, source), {"select": operation, **attributes})


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_select_and_scatter_of_windows_that_overlap(dtype):
    rng = np.random.default_rng(3)
    x, source = samples(rng, dtype, (3, 6, 9)), samples(rng, dtype, (3, 7, 6))
    overlapping = attributes((1, 2, 3), (1, 1, 2), ((0, 0), (1, 1), (2, 2)))
    judge("select_and_scatter", (x, source), {"select": "max", **overlapping}, rtol=1e-6, atol=1e-6)


def test_select_and_scatter_is_generic_in_sizes():
    def gradient(x):
        return gc.grad(lambda x: (gc.max_pool2d(x, 2) ** 2).sum())(x)

    compiled = gc.jit(gradient).lower(gc.spec("f32[n, 2, h, w]")).compile()
    for shape in ((1, 2, 4, 6), (3, 2, 5, 37)):
        x = samples(np.random.default_rng(4), float32, shape)
        (got,) = compiled(x)
        pooled = attributes((1, 1, 2, 2), (1, 1, 2, 2))
        (windows,) = expected("reduce_window_max", (x,), pooled)
        (wanted,) = expected("select_and_scatter", (x, 2 * windows), {"select": "max", **pooled})
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
