"""Normalization layers against formulas in float64; gradients; running statistics; errors."""

import numpy as np
import pytest

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, check_gradients

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 6, 5)) * 3 + 1
W, B = RNG.standard_normal((6, 5)), RNG.standard_normal((6, 5))
CW, CB = RNG.standard_normal(6), RNG.standard_normal(6)


def normalized(x: np.ndarray, axis: tuple[int, ...], eps: float = 1e-5) -> np.ndarray:
    result: np.ndarray = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)
    return result


def test_layer_norm() -> None:
    assert_close(gnp.layer_norm(asarray(X), 5), normalized(X, (2,)), rtol=1e-12)
    assert_close(gnp.layer_norm(asarray(X), (6, 5), asarray(W), asarray(B)), normalized(X, (1, 2)) * W + B, rtol=1e-12)
    check_gradients(lambda x, w, b: gnp.layer_norm(x, (6, 5), w, b), X[:2], W, B)
    constant = asarray(np.full((2, 3), 7.0)).requires_grad_()
    gnp.layer_norm(constant, 3).sum().backward()
    assert constant.grad is not None
    assert np.isfinite(constant.grad.numpy()).all()


def test_rms_norm() -> None:
    want = X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-6) * W[0]
    assert_close(gnp.rms_norm(asarray(X), 5, asarray(W[0])), want, rtol=1e-12)
    check_gradients(lambda x, w: gnp.rms_norm(x, 5, w), X[:1], W[0])


def test_group_and_instance_norm() -> None:
    grouped = normalized(X.reshape(4, 3, 2, 5), (2, 3)).reshape(X.shape)
    got = gnp.group_norm(asarray(X), 3, asarray(CW), asarray(CB))
    assert_close(got, grouped * CW[:, None] + CB[:, None], rtol=1e-12)
    assert_close(gnp.instance_norm(asarray(X)), normalized(X, (2,)), rtol=1e-12)
    check_gradients(lambda x, w, b: gnp.group_norm(x, 3, w, b), X[:2], CW, CB)
    check_gradients(gnp.instance_norm, X[:2], CW, CB)


def test_batch_norm_with_the_statistics_of_the_batch() -> None:
    want = normalized(X, (0, 2)) * CW[:, None] + CB[:, None]
    assert_close(gnp.batch_norm(asarray(X), weight=asarray(CW), bias=asarray(CB)), want, rtol=1e-12)
    assert_close(gnp.batch_norm(asarray(X[..., 0])), normalized(X[..., 0], (0,)), rtol=1e-12)
    check_gradients(lambda x, w, b: gnp.batch_norm(x, weight=w, bias=b), X, CW, CB)


def test_batch_norm_with_running_statistics() -> None:
    mean, var = RNG.standard_normal(6), RNG.uniform(0.5, 2, 6)
    want = (X - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    assert_close(gnp.batch_norm(asarray(X), asarray(mean), asarray(var)), want, rtol=1e-12)


def test_batch_norm_in_training_moves_the_running_statistics_in_place() -> None:
    mean, var = asarray(np.zeros(6)), asarray(np.ones(6))
    x = asarray(X).requires_grad_()
    result = gnp.batch_norm(x, mean, var, training=True, momentum=0.3)
    assert_close(result, normalized(X, (0, 2)), rtol=1e-12)
    assert_close(mean, 0.3 * X.mean((0, 2)), rtol=1e-12)
    assert_close(var, 0.7 + 0.3 * X.var((0, 2), ddof=1), rtol=1e-12)
    assert not mean.requires_grad
    result.sum().backward()


def test_batch_norm_of_one_channel() -> None:
    x = X[:, :1]
    mean, var = asarray(np.zeros(1)), asarray(np.ones(1))
    got = gnp.batch_norm(asarray(x), mean, var, asarray([2.0]), asarray([0.5]), training=True, momentum=0.3)
    assert_close(got, normalized(x, (0, 2)) * 2 + 0.5, rtol=1e-6)
    assert_close(mean, 0.3 * x.mean((0, 2)), rtol=1e-12)
    assert_close(var, 0.7 + 0.3 * x.var((0, 2), ddof=1), rtol=1e-12)
    want = (x - mean.numpy()) / np.sqrt(var.numpy() + 1e-5)
    assert_close(gnp.batch_norm(asarray(x), mean, var), want, rtol=1e-12)
    with pytest.raises(ShapeError, match=r"weight"):
        gnp.batch_norm(asarray(x), weight=asarray([2.0, 3.0]))


def test_half_precision_is_computed_in_single() -> None:
    x = (X * 1000).astype(np.float16)
    result = gnp.layer_norm(asarray(x), 5)
    assert result.dtype.name == "float16"
    assert_close(result, normalized(x.astype(np.float64), (2,)), rtol=1e-3, atol=1e-3)


def test_normalize_and_cosine_similarity() -> None:
    x, y = X[..., 0], X[..., 1]
    assert_close(gnp.normalize(asarray(x)), x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-12)
    want = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert_close(gnp.cosine_similarity(asarray(x), asarray(y)), want, rtol=1e-12)
    check_gradients(gnp.cosine_similarity, x, y)
    check_gradients(gnp.cosine_similarity, x, y[:1])


@pytest.mark.parametrize(
    ("shapes", "axis"), [(((4, 5), (1, 5)), 1), (((5,), (4, 5)), 1), (((3, 1, 5), (4, 5)), -1), (((3, 1, 5), (4, 5)), 1)]
)
def test_cosine_similarity_is_along_an_axis_of_the_common_shape(shapes: tuple[tuple[int, ...], ...], axis: int) -> None:
    x, y = (RNG.standard_normal(shape) for shape in shapes)
    a, b = np.broadcast_arrays(x, y)
    want = (a * b).sum(axis) / (np.linalg.norm(a, axis=axis) * np.linalg.norm(b, axis=axis))
    assert_close(gnp.cosine_similarity(asarray(x), asarray(y), axis), want, rtol=1e-12)
    zero = asarray(np.zeros((2, 3))).requires_grad_()
    gnp.normalize(zero).sum().backward()
    assert zero.grad is not None
    assert np.isfinite(zero.grad.numpy()).all()


def test_errors() -> None:
    x = asarray(X)
    with pytest.raises(ShapeError, match=r"layer_norm: the last sizes of shape \(4, 6, 5\) are not normalized_shape \(6,\)"):
        gnp.layer_norm(x, 6)
    with pytest.raises(ShapeError, match=r"layer_norm: weight has shape \(6,\), but \(5,\) is normalized"):
        gnp.layer_norm(x, 5, asarray(CW))
    with pytest.raises(ShapeError, match=r"batch_norm: running_mean has shape \(5,\), but x has 6 channels"):
        gnp.batch_norm(x, asarray(np.zeros(5)), asarray(np.ones(5)))
    with pytest.raises(ArgumentError, match="running_mean and running_var together"):
        gnp.batch_norm(x, asarray(np.zeros(6)))
    with pytest.raises(ShapeError, match=r"group_norm: 6 channels .* do not divide into 4 groups"):
        gnp.group_norm(x, 4)
    with pytest.raises(ShapeError, match="batch_norm needs a batch and a channel dimension"):
        gnp.batch_norm(asarray(np.zeros(3)))
