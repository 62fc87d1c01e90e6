"""Convolutions against loops over windows, for random strides, paddings, dilations and groups; gradients; errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, check_gradients
from tests.frontends.array.windows import convolution, transposed_convolution

RNG = np.random.default_rng(0)


@st.composite
def settings_of(draw: st.DrawFn) -> dict[str, Any]:
    spatial = draw(st.integers(1, 3))
    largest = 6 if spatial < 3 else 4

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=spatial, max_size=spatial))

    groups, per_group = draw(st.sampled_from([(1, 2), (2, 1), (2, 2)]))
    return {
        "spatial": spatial,
        "sizes": each(3, largest),
        "window": each(1, 3),
        "stride": each(1, 3),
        "padding": each(0, 2),
        "dilation": each(1, 2),
        "groups": groups,
        "channels": groups * per_group,
        "outputs": groups * draw(st.integers(1, 2)),
    }


@settings(max_examples=60)
@given(settings_of())
def test_convolutions(case: dict[str, Any]) -> None:
    spatial, groups = case["spatial"], case["groups"]
    x = RNG.standard_normal((2, case["channels"], *case["sizes"]))
    w = RNG.standard_normal((case["outputs"], case["channels"] // groups, *case["window"]))
    bias = RNG.standard_normal(case["outputs"])
    function = getattr(gnp, f"conv{spatial}d")
    arguments = (tuple(case["stride"]), tuple(case["padding"]), tuple(case["dilation"]), groups)
    extents = [d * (k - 1) + 1 for d, k in zip(case["dilation"], case["window"], strict=True)]
    if any(e > n + 2 * p for e, n, p in zip(extents, case["sizes"], case["padding"], strict=True)):
        with pytest.raises(ShapeError, match=f"conv{spatial}d: the kernel spans"):
            function(asarray(x), asarray(w), asarray(bias), *arguments)
        return
    pads = [(p, p) for p in case["padding"]]
    want = convolution(x, w, case["stride"], pads, case["dilation"], groups)
    want += bias.reshape(-1, *(1,) * spatial)
    assert_close(function(asarray(x), asarray(w), asarray(bias), *arguments), want, rtol=1e-10, atol=1e-10)


@settings(max_examples=60)
@given(settings_of())
def test_transposed_convolutions(case: dict[str, Any]) -> None:
    spatial, groups = case["spatial"], case["groups"]
    x = RNG.standard_normal((2, case["channels"], *case["sizes"]))
    w = RNG.standard_normal((case["channels"], case["outputs"] // groups, *case["window"]))
    extra = [max(s, d) - 1 for s, d in zip(case["stride"], case["dilation"], strict=True)]
    padding = [min(p, (n - 1) * s // 2) for p, n, s in zip(case["padding"], case["sizes"], case["stride"], strict=True)]
    function = getattr(gnp, f"conv_transpose{spatial}d")
    got = function(asarray(x), asarray(w), None, case["stride"], padding, extra, groups, case["dilation"])
    want = transposed_convolution(x, w, case["stride"], padding, extra, groups, case["dilation"])
    assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_same_and_valid_padding_and_single_images() -> None:
    x, w = RNG.standard_normal((2, 3, 7, 5)), RNG.standard_normal((4, 3, 4, 3))
    same = gnp.conv2d(asarray(x), asarray(w), padding="same", dilation=(1, 2))
    assert same.shape == (2, 4, 7, 5)
    assert_close(same, convolution(x, w, (1, 1), [(1, 2), (2, 2)], (1, 2), 1), rtol=1e-10)
    assert gnp.conv2d(asarray(x), asarray(w), padding="valid").shape == (2, 4, 4, 3)
    assert_close(gnp.conv2d(asarray(x[0]), asarray(w)), convolution(x, w, (1, 1), [(0, 0)] * 2, (1, 1), 1)[0], rtol=1e-10)


def test_integers_and_promotion() -> None:
    x, w = np.arange(6, dtype=np.int32).reshape(1, 1, 6), np.array([[[1, -1]]], np.int32)
    assert_same(gnp.conv1d(asarray(x), asarray(w)), np.full((1, 1, 5), -1, np.int32))
    assert gnp.conv1d(asarray(x), asarray(w.astype(np.float64))).dtype.name == "float64"


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (2, 1)}, {"groups": 2}])
def test_gradients(options: dict[str, Any]) -> None:
    groups = options.get("groups", 1)
    x, w, b = RNG.standard_normal((2, 2, 5, 4)), RNG.standard_normal((4, 2 // groups, 2, 2)), RNG.standard_normal(4)
    check_gradients(lambda x, w, b: gnp.conv2d(x, w, b, **options), x, w, b)
    w = RNG.standard_normal((2, 4 // groups, 2, 2))
    check_gradients(lambda x, w, b: gnp.conv_transpose2d(x, w, b, **options), x[:, :, :3, :3], w, b)


def test_a_transposed_convolution_is_the_gradient_of_a_convolution() -> None:
    x, w = RNG.standard_normal((1, 2, 7)), RNG.standard_normal((3, 2, 3))
    tensor = asarray(x).requires_grad_()
    result = gnp.conv1d(tensor, asarray(w), stride=2)
    cotangent = asarray(RNG.standard_normal(result.shape))
    result.backward(cotangent)
    assert tensor.grad is not None
    assert_close(gnp.conv_transpose1d(cotangent, asarray(w), stride=2), tensor.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "w", "options", "error", "words"),
    [
        (
            (2, 3, 8, 8),
            (4, 2, 3, 3),
            {},
            ShapeError,
            "x (2, 3, 8, 8) has 3 channels, but weight (4, 2, 3, 3) with groups=1 takes 2",
        ),
        ((8, 8), (4, 2, 3, 3), {}, ShapeError, "x must be [N, C, …] with 2 spatial dimensions"),
        ((2, 2, 8, 8), (4, 2, 3), {}, ShapeError, "weight must have 4 dimensions, not shape (4, 2, 3)"),
        ((2, 2, 2, 8), (4, 2, 3, 3), {}, ShapeError, "the kernel spans 3 elements of spatial axis 0"),
        ((2, 2, 8, 8), (3, 1, 3, 3), {"groups": 2}, ShapeError, "do not divide into 2 groups"),
        ((2, 2, 8, 8), (4, 2, 3, 3), {"stride": 0}, ArgumentError, "stride must be an int or 2 ints of at least 1, not 0"),
        ((2, 2, 8, 8), (4, 2, 3, 3), {"padding": (1, 2, 3)}, ArgumentError, "padding must be an int or 2 ints"),
        ((2, 2, 8, 8), (4, 2, 3, 3), {"padding": "full"}, ArgumentError, "unknown padding 'full'"),
        ((2, 2, 8, 8), (4, 2, 3, 3), {"padding": "same", "stride": 2}, ArgumentError, 'padding="same" needs a stride of 1'),
    ],
)
def test_errors(x: Any, w: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        gnp.conv2d(asarray(np.zeros(x)), asarray(np.zeros(w)), **options)
    assert f"conv2d: {words}" in str(caught.value) or words in str(caught.value)
    assert "conv2d" in str(caught.value)
    assert "test_convolution.py" in str(caught.value)


def test_errors_of_bias_and_output_padding() -> None:
    x, w = asarray(np.zeros((1, 2, 5))), asarray(np.zeros((2, 2, 3)))
    with pytest.raises(ShapeError, match=r"conv1d: bias has shape \(3,\), but there are 2 output channels"):
        gnp.conv1d(x, w, asarray(np.zeros(3)))
    with pytest.raises(ArgumentError, match="conv_transpose1d: output_padding must be smaller"):
        gnp.conv_transpose1d(x, w, output_padding=1)
    with pytest.raises(ShapeError, match=r"conv_transpose1d: x .* has 2 channels"):
        gnp.conv_transpose1d(x, asarray(np.zeros((3, 2, 3))))
