"""conv_general: against the definition written as loops, and gradients."""

from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.dtypes import float32, float64
from graphc.ir.dims import symbol
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from tests.op_db_contraction import RECORDS, convolution
from tests.op_record import Sample
from tests.ops.derivatives import check_derivatives, op
from tests.ops.evaluation import apply

RECORD = next(r for r in RECORDS if r.name == "conv_general")


def samples(gradient: bool) -> list[Sample]:
    rng = np.random.default_rng(1)
    return [s for s in RECORD.samples(rng, float64) if s.gradient or not gradient]


@pytest.mark.parametrize("sample", samples(gradient=True), ids=str)
def test_gradients_match_differences(sample: Sample) -> None:
    check_derivatives(op("conv_general", sample.attributes), sample.arrays)


def by_definition(x: np.ndarray, w: np.ndarray, attributes: Any) -> np.ndarray:
    """Every product of an input element and a kernel element, put where it belongs."""
    strides, padding, base, dilation = (attributes[k] for k in ("strides", "padding", "lhs_dilation", "rhs_dilation"))
    groups, window = attributes["groups"], w.shape[2:]
    counts = []
    for n, k, s, (low, high), b, d in zip(x.shape[2:], window, strides, padding, base, dilation, strict=True):
        extent = low + high + ((n - 1) * b + 1 if n else 0)
        counts.append(max(0, (extent - ((k - 1) * d + 1)) // s + 1))
    out = np.zeros((x.shape[0], w.shape[0], *counts))
    per_group = w.shape[0] // groups
    for o, c in product(range(w.shape[0]), range(w.shape[1])):
        channel = (o // per_group) * w.shape[1] + c
        for at, q in product(np.ndindex(*counts), np.ndindex(*window)):
            place = [p * s + i * d - pad[0] for p, s, i, d, pad in zip(at, strides, q, dilation, padding, strict=True)]
            inside = [v % b == 0 and 0 <= v // b < n for v, b, n in zip(place, base, x.shape[2:], strict=True)]
            if all(inside):
                source = tuple(v // b for v, b in zip(place, base, strict=True))
                out[(slice(None), o, *at)] += x[(slice(None), channel, *source)] * w[(o, c, *q)]
    return out


@pytest.mark.parametrize("sample", samples(gradient=False), ids=str)
def test_conv_general_is_its_definition(sample: Sample) -> None:
    out = apply("conv_general", *sample.arrays, **sample.attributes)
    np.testing.assert_allclose(out, by_definition(*sample.arrays, sample.attributes), rtol=1e-12, atol=1e-12)


def test_random_geometries() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        groups = int(rng.integers(1, 3))
        rank = int(rng.integers(1, 3))
        x = rng.standard_normal((2, groups * int(rng.integers(1, 3)), *rng.integers(3, 8, rank)))
        w = rng.standard_normal((2 * groups, x.shape[1] // groups, *rng.integers(1, 4, rank)))

        def each(low: int, high: int, rank: int = rank) -> tuple[int, ...]:
            return tuple(int(v) for v in rng.integers(low, high, rank))

        padding = tuple(zip(each(-1, 3), each(-1, 3), strict=True))
        attributes = convolution(each(1, 4), padding, each(1, 3), each(1, 3), groups)
        out = apply("conv_general", x, w, **attributes)
        np.testing.assert_allclose(out, by_definition(x, w, attributes), rtol=1e-12, atol=1e-12)
        check_derivatives(op("conv_general", attributes), [x, w], orders=1)


def test_a_transposed_convolution_is_the_adjoint() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((1, 2, 9)), rng.standard_normal((3, 2, 3))
    y = apply("conv_general", x, w, **convolution((2,), ((0, 0),)))
    ct = rng.standard_normal(y.shape)
    flipped = np.flip(w, 2).transpose(1, 0, 2)
    back = apply("conv_general", ct, flipped, **convolution((1,), ((2, 2),), (2,)))
    assert np.sum(y * ct) == pytest.approx(np.sum(x * back), rel=1e-12)


def test_16_bit_floats_accumulate_in_float32_and_integers_wrap() -> None:
    ones = np.ones((1, 1000, 1), ml_dtypes.bfloat16)
    assert float(apply("conv_general", ones, ones, **convolution((1,), ((0, 0),)))[0, 0, 0]) == 1000.0
    big = np.full((1, 2, 1), 300.0, np.float16)
    assert apply("conv_general", big, big, **convolution((1,), ((0, 0),)))[0, 0, 0] == np.inf
    ints = np.full((1, 3, 1), 100, np.int8)
    assert apply("conv_general", ints, ints, **convolution((1,), ((0, 0),)))[0, 0, 0] == 48


def test_same_padding_keeps_a_symbolic_size() -> None:
    n = symbol("n")
    x, w = TensorType(float32, (2, 3, n)), TensorType(float32, (4, 3, 3))
    (out,) = get_primitive("conv_general").infer((x, w), **convolution((1,), ((1, 1),)))
    assert out == TensorType(float32, (2, 4, n))


@pytest.mark.parametrize("spatial", [False, True])
def test_gradients_with_symbolic_sizes(spatial: bool) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((3, 4, 7, 6)), rng.standard_normal((6, 2, 3, 3))
    sizes = (symbol("h"), symbol("w")) if spatial else (7, 6)
    types = [TensorType(float64, (symbol("n"), 4, *sizes)), TensorType(float64, w.shape)]
    attributes = convolution((2, 1), ((1, 2), (1, 1)), (1, 2), (2, 1), 2)
    check_derivatives(op("conv_general", attributes), [x, w], types=types)
