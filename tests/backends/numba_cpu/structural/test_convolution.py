"""conv_general against its `evaluate`, directly and as a product of matrices."""

import numpy as np
import pytest

from graphc.backends.numba_cpu.backend import LOWERINGS
from graphc.backends.numba_cpu.gemm import convolution
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.dtypes import ALL, float32
from graphc.ir.dims import symbol
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType

from .running import judge, run, samples


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


FULL = HOST.tile("f32")[1]
LANES = HOST.lanes("f32")

IN_PLACE = [
    # Rows of the result as long as tiles are high, one longer, and shorter; all channels of a tile, and fewer.
    ((2, 5, HOST.tile("f32")[0] + 8), (FULL, 5, 9 * FULL), attributes(1, padding=((9 * FULL, -1),))),
    ((1, 16, 20, 17), (LANES, 16, 3, 3), attributes(2, padding=((1, 1), (1, 1)))),
    ((2, 9, 17, 16), (FULL + LANES - 1, 9, 5, 5), attributes(2, strides=(2, 1), padding=((2, 2), (2, 2)))),
    ((1, 8, 9, 9), (2 * FULL, 8, 7, 7), attributes(2)),
    # Weights' gradient: the images are the taps, more of them than a block has.
    ((3, 12, 12, 11), (LANES, 12, 9, 9), attributes(2)),
    # Dilations, and padding that cuts.
    ((2, 16, 9, 8), (LANES, 16, 3, 2), attributes(2, lhs_dilation=(2, 2), rhs_dilation=(2, 3), padding=((1, -1), (3, 0)))),
    # Strides of two, with rows that fill the padded image and others.
    ((2, 16, 9, 37), (LANES, 16, 3, 3), attributes(2, strides=(2, 2), padding=((1, 1), (1, 1)))),
    ((2, 16, 9, 36), (LANES, 16, 3, 3), attributes(2, strides=(1, 2), rhs_dilation=(1, 3), padding=((1, 1), (-1, 2)))),
    ((2, 64, 6, 12), (LANES, 64, 1, 1), attributes(2, strides=(1, 2))),
    # Groups.
    ((2, 24, 10, 21), (2 * LANES, 12, 3, 3), attributes(2, groups=2, padding=((1, 1), (1, 1)))),
    # Rows that follow each other without a gap are one: more tiles than take turns.
    ((2, 4 * LANES, 19, 17), (LANES, 4 * LANES, 1, 1), attributes(2)),
    ((1, 16, 4, 3, 5), (LANES, 16, 2, 2, 2), attributes(3, strides=(2, 1, 1), padding=((1, 0), (1, 0), (1, 0)))),
    ((0, 16, 20, 17), (LANES, 16, 3, 3), attributes(2)),
]

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
    *IN_PLACE,
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
    assert ways == {"conv", "conv_product", "conv_in_place"}


def lowered(x_shape, w_shape, given, dtype=float32):
    types = (TensorType(dtype, x_shape), TensorType(dtype, w_shape))
    return LOWERINGS["conv_general"](given, types, get_primitive("conv_general").infer(types, **given))[-1]


@pytest.mark.parametrize("x_shape, w_shape, given", IN_PLACE, ids=str)
def test_images_read_in_place(x_shape, w_shape, given):
    kernel = lowered(x_shape, w_shape, given)
    assert kernel.name == "conv_in_place"
    assert kernel.why.startswith("conv_general reads the image in place: rows of ")


def test_an_unknown_batch_keeps_nothing_from_being_read_in_place():
    batch = symbol("n")
    assert lowered((batch, 16, 20, 17), (LANES, 16, 3, 3), attributes(2)).name == "conv_in_place"
    assert lowered((3, batch, 20, 17), (LANES, batch, 18, 15), attributes(2)).name == "conv_in_place"


@pytest.mark.parametrize(
    "x_shape, w_shape, given, reason",
    [
        ((2, 16, 40), (LANES, 16, 9), attributes(1, strides=(3,)), "its last stride is 3, more than 2"),
        ((2, 16, symbol("n")), (LANES, 16, 9), attributes(1), "sizes are not known"),
        ((2, 16, 40), (LANES, 16, 39), attributes(1), "rows of the result have 2 elements, fewer than 3"),
        ((2, 16, 40), (512, 16, 99), attributes(1, padding=((99, 99),)), "there are 512 channels, more than 256"),
        ((2, 99, 9, 9), (LANES // 2, 99, 3, 3), attributes(2), f"vectors of {LANES} empty"),
        ((2, 1, 9, 9), (LANES, 1, 2, 2), attributes(2), f"4 taps are fewer than 3 for each of {LANES} channels"),
    ],
)
def test_panels_of_images_are_packed_for_a_reason(x_shape, w_shape, given, reason):
    kernel = lowered(x_shape, w_shape, given)
    assert kernel.name == "conv_product"
    assert kernel.why.startswith("conv_general packs panels of the image: ") and reason in kernel.why


@pytest.mark.parametrize("x_shape, w_shape, given", IN_PLACE[:10], ids=str)
def test_sums_have_the_same_bits_whether_panels_are_packed_or_not(monkeypatch, x_shape, w_shape, given):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape)]
    (in_place,), _ = run("conv_general", arrays, given)
    monkeypatch.setattr(convolution, "objection_to_reading_in_place", lambda geometry: "for a test")
    assert lowered(x_shape, w_shape, given).name == "conv_product"
    (packed,), _ = run("conv_general", arrays, given)
    np.testing.assert_array_equal(in_place, packed)


@pytest.mark.parametrize("dtype", [d for d in ALL if d.is_floating], ids=str)
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((2, 1), (0, 3)), ((-1, 2), (3, -2))], ids=str)
def test_dtypes_in_place(dtype, padding):
    rng = np.random.default_rng(0)
    lanes = HOST.lanes(dtype.compute.short)
    x = samples(rng, dtype, (2, 12, 12, 19), special=False)
    w = samples(rng, dtype, (2 * lanes, 12, 4, 3), special=False)
    given = attributes(2, padding=padding)
    assert lowered(x.shape, w.shape, given, dtype).name == "conv_in_place"
    eps = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 1e-5, "f64": 1e-13}[dtype.short]
    judge("conv_general", (x, w), given, rtol=eps, atol=eps * 16)


def test_inf_and_nan_in_place_reach_only_the_windows_that_hold_them():
    x = samples(np.random.default_rng(0), float32, (2, 8, 18, 17), special=False)
    x[0, 3, 17, 0] = np.inf
    x[1, 0, 0, 16] = np.nan
    w = np.ones((LANES, 8, 3, 3), np.float32)
    w[LANES - 1] = np.nan
    given = attributes(2, padding=((1, 1), (0, 1)))
    assert lowered(x.shape, w.shape, given).name == "conv_in_place"
    judge("conv_general", (x, w), given, rtol=1e-4, atol=1e-3)


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
