"""Pooling against loops over windows; adaptive pooling; gradients; errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients, numpy_of
from tests.frontends.array.windows import pooled

RNG = np.random.default_rng(0)


@st.composite
def settings_of(draw: st.DrawFn) -> tuple[int, list[int], dict[str, Any]]:
    spatial = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=spatial, max_size=spatial))

    window, sizes = each(1, 3), each(2, 6 if spatial < 3 else 4)
    padding = [min(p, k // 2) for p, k in zip(each(0, 1), window, strict=True)]
    assume(all(k <= n + 2 * p for k, n, p in zip(window, sizes, padding, strict=True)))
    return spatial, sizes, {
        "kernel_size": window, "stride": each(1, 3), "padding": padding, "ceil_mode": draw(st.booleans()),
    }  # fmt: skip


@settings(max_examples=80)
@given(settings_of())
def test_max_pooling_and_its_positions(case: tuple[int, list[int], dict[str, Any]]) -> None:
    spatial, sizes, options = case
    x = RNG.standard_normal((2, 2, *sizes))
    values, indices = getattr(gnp, f"max_pool{spatial}d")(asarray(x), **options, return_indices=True)
    ones = [1] * spatial
    want = pooled(
        x, lambda v, _: max(v), options["kernel_size"], options["stride"], options["padding"], ones, options["ceil_mode"]
    )
    assert_same(values, want)
    planes = x.reshape(2, 2, -1)
    picked = np.take_along_axis(planes, numpy_of(indices).reshape(2, 2, -1), 2).reshape(want.shape)
    np.testing.assert_array_equal(picked, want)


@settings(max_examples=80)
@given(settings_of(), st.booleans())
def test_average_pooling(case: tuple[int, list[int], dict[str, Any]], include: bool) -> None:
    spatial, sizes, options = case
    x = RNG.standard_normal((2, 2, *sizes))
    got = getattr(gnp, f"avg_pool{spatial}d")(asarray(x), **options, count_include_pad=include)

    def average(values: list[float], padded: int) -> float:
        return sum(values) / (len(values) + padded * include)

    ones = [1] * spatial
    want = pooled(x, average, options["kernel_size"], options["stride"], options["padding"], ones, options["ceil_mode"])
    assert_close(got, want, rtol=1e-12)


def test_dilated_max_pooling() -> None:
    x = RNG.standard_normal((1, 1, 7, 7))
    want = pooled(x, lambda v, _: max(v), (2, 3), (1, 2), (0, 1), (3, 2), False)
    assert_same(gnp.max_pool2d(asarray(x), (2, 3), (1, 2), (0, 1), (3, 2)), want)


def test_strides_default_to_the_window_and_images_may_stand_alone() -> None:
    x = RNG.standard_normal((3, 6, 6)).astype(np.float16)
    assert gnp.max_pool2d(asarray(x), 2).shape == (3, 3, 3)
    got = gnp.avg_pool2d(asarray(x), 3)
    assert got.dtype.name == "float16"
    assert_close(got, x.astype(np.float64).reshape(3, 2, 3, 2, 3).mean((2, 4)), rtol=1e-3)
    assert_close(
        gnp.avg_pool2d(asarray(x), 3, divisor_override=2),
        x.astype(np.float64).reshape(3, 2, 3, 2, 3).sum((2, 4)) / 2,
        rtol=1e-3,
    )


def test_integers_and_nan() -> None:
    x = np.array([[[1, 5, 2, 4]]])
    assert_same(gnp.max_pool1d(asarray(x), 2), np.array([[[5, 4]]]))
    assert np.isnan(numpy_of(gnp.max_pool1d(asarray([[1.0, np.nan, 2.0, 3.0]]), 2)))[0].tolist() == [True, False]
    with pytest.raises(DTypeError, match="max_pool1d takes numbers, not bool"):
        gnp.max_pool1d(asarray(x > 2), 2)


@pytest.mark.parametrize(("size", "count"), [(6, 3), (7, 3), (5, 5), (3, 5), (8, 1)])
def test_adaptive_pooling(size: int, count: int) -> None:
    x = RNG.standard_normal((2, 3, size))
    bounds = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    assert_close(
        gnp.adaptive_avg_pool1d(asarray(x), count), np.stack([x[..., a:b].mean(-1) for a, b in bounds], -1), rtol=1e-12
    )
    assert_same(gnp.adaptive_max_pool1d(asarray(x), count), np.stack([x[..., a:b].max(-1) for a, b in bounds], -1))
    check_gradients(lambda a: gnp.adaptive_avg_pool1d(a, count), x)
    check_gradients(lambda a: gnp.adaptive_max_pool1d(a, count), x)


def test_adaptive_pooling_of_planes_and_global_pooling() -> None:
    x = RNG.standard_normal((2, 3, 6, 4))
    assert_close(gnp.adaptive_avg_pool2d(asarray(x), (3, None)), x.reshape(2, 3, 3, 2, 4).mean(3), rtol=1e-12)
    assert_close(gnp.adaptive_avg_pool2d(asarray(x), 1), x.mean((2, 3), keepdims=True), rtol=1e-12)
    assert_close(gnp.adaptive_max_pool2d(asarray(x[0]), 2), x[0].reshape(3, 2, 3, 2, 2).max((2, 4)))
    assert_close(gnp.global_avg_pool(asarray(x)), x.mean((2, 3)), rtol=1e-12)
    assert_close(gnp.global_max_pool(asarray(x), keepdims=True), x.max((2, 3), keepdims=True))


def test_gradients() -> None:
    x = RNG.standard_normal((1, 2, 5, 5))
    check_gradients(lambda a: gnp.max_pool2d(a, 3, 2, 1, ceil_mode=True), x)
    check_gradients(lambda a: gnp.avg_pool2d(a, 3, 2, 1, ceil_mode=True, count_include_pad=False), x)
    check_gradients(lambda a: gnp.avg_pool2d(a, 2), x)


def test_errors() -> None:
    x = asarray(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ArgumentError, match="max_pool2d: padding 2 is more than half of the window, which spans 3"):
        gnp.max_pool2d(x, 3, padding=2)
    with pytest.raises(ShapeError, match=r"avg_pool2d: the window spans 5 elements of spatial axis 0, but x \(1, 1, 4, 4\)"):
        gnp.avg_pool2d(x, 5)
    with pytest.raises(ArgumentError, match="max_pool2d: kernel_size must be an int or 2 ints of at least 1, not 0"):
        gnp.max_pool2d(x, 0)
    with pytest.raises(ShapeError, match="max_pool1d: x must be"):
        gnp.max_pool1d(x, 2)
    with pytest.raises(ArgumentError, match="adaptive_avg_pool2d: output_size must be 2 positive ints"):
        gnp.adaptive_avg_pool2d(x, (1, 2, 3))
    with pytest.raises(ArgumentError, match="avg_pool2d: divisor_override must not be 0"):
        gnp.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(ShapeError, match="global_avg_pool: x must be"):
        gnp.global_avg_pool(asarray(np.zeros((2, 3))))
