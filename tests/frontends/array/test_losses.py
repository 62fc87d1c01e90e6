"""Losses against formulas in float64, and where formulas would overflow; gradients and errors."""

from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, DTypeError, OutOfBoundsError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, check_gradients, numpy_of

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
P, Q = RNG.uniform(0.05, 0.95, (4, 3)), RNG.uniform(0.0, 1.0, (4, 3))
D = np.abs(X - Y)
ELEMENTWISE: dict[str, tuple[np.ndarray, np.ndarray, dict[str, Any], np.ndarray]] = {
    "mse_loss": (X, Y, {}, D**2),
    "l1_loss": (X, Y, {}, D),
    "smooth_l1_loss": (X, Y, {"beta": 0.7}, np.where(D < 0.7, D**2 / 1.4, D - 0.35)),
    "huber_loss": (X, Y, {"delta": 0.7}, np.where(D < 0.7, D**2 / 2, 0.7 * (D - 0.35))),
    "binary_cross_entropy": (P, Q, {}, -(Q * np.log(P) + (1 - Q) * np.log1p(-P))),
    "binary_cross_entropy_with_logits": (X, Q, {}, np.logaddexp(X, 0) - X * Q),
    "kl_div": (np.log(P), Q, {}, Q * (np.log(Q) - np.log(P))),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_and_their_reductions(name: str) -> None:
    x, y, options, want = ELEMENTWISE[name]
    function = getattr(gnp, name)
    assert_close(function(asarray(x), asarray(y), **options), want.mean(), rtol=1e-12)
    assert_close(function(asarray(x), asarray(y), reduction="sum", **options), want.sum(), rtol=1e-12)
    assert_close(function(asarray(x), asarray(y), reduction="none", **options), want, rtol=1e-12)
    check_gradients(lambda a: function(a, asarray(y), reduction="none", **options), x)
    with pytest.raises(ArgumentError, match=f"{name}: unknown reduction 'max'"):
        function(asarray(x), asarray(y), reduction="max")
    with pytest.raises(ShapeError) as caught:
        function(asarray(x), asarray(y[:, :1]))
    assert f"{name}: input has shape (4, 3), target (4, 1)" in str(caught.value)
    assert "test_losses.py" in str(caught.value)


def test_targets_may_be_scalars() -> None:
    assert_close(gnp.mse_loss(asarray(X), 0.1), ((X - 0.1) ** 2).mean(), rtol=1e-14)


def test_binary_cross_entropy_is_bounded_at_0_and_1_with_a_finite_gradient() -> None:
    p = asarray(np.array([0.0, 1.0, 0.0, 1.0])).requires_grad_()
    loss = gnp.binary_cross_entropy(p, asarray(np.array([0.0, 1.0, 1.0, 0.0])), reduction="none")
    assert_close(loss, [0, 0, 100, 100])
    loss.sum().backward()
    assert p.grad is not None
    assert np.isfinite(p.grad.numpy()).all()


def test_binary_cross_entropy_with_logits_does_not_overflow() -> None:
    x = asarray(np.array([-1000.0, 1000.0, -1000.0, 1000.0])).requires_grad_()
    loss = gnp.binary_cross_entropy_with_logits(x, asarray(np.array([0.0, 1.0, 1.0, 0.0])), reduction="none")
    assert_close(loss, [0, 0, 1000, 1000])
    loss.sum().backward()
    assert x.grad is not None
    assert_close(x.grad, [0, 0, -1, 1])


def test_weights_of_binary_losses() -> None:
    weight, positive = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 2.0])
    plain = -(Q * np.log(P) + (1 - Q) * np.log1p(-P))
    assert_close(gnp.binary_cross_entropy(asarray(P), asarray(Q), asarray(weight)), (plain * weight).mean(), rtol=1e-12)
    logs = -(positive * Q * np.log(scipy.special.expit(X)) + (1 - Q) * np.log(scipy.special.expit(-X)))
    got = gnp.binary_cross_entropy_with_logits(asarray(X), asarray(Q), asarray(weight), pos_weight=asarray(positive))
    assert_close(got, (logs * weight).mean(), rtol=1e-12)
    logs = -(0.1 * Q * np.log(scipy.special.expit(X)) + (1 - Q) * np.log(scipy.special.expit(-X)))
    assert_close(gnp.binary_cross_entropy_with_logits(asarray(X), asarray(Q), pos_weight=0.1), logs.mean(), rtol=1e-14)


def test_kl_div_of_zeros_logarithms_and_batches() -> None:
    target = np.array([[0.0, 1.0], [0.5, 0.5]])
    logs = np.log(np.array([[0.5, 0.5], [0.25, 0.75]]))
    want = scipy.special.xlogy(target, target) - target * logs
    assert_close(gnp.kl_div(asarray(logs), asarray(target), reduction="batchmean"), want.sum() / 2, rtol=1e-12)
    log_target = np.log(np.array([[0.1, 0.9], [0.5, 0.5]]))
    got = gnp.kl_div(asarray(logs), asarray(log_target), log_target=True, reduction="sum")
    assert_close(got, (np.exp(log_target) * (log_target - logs)).sum(), rtol=1e-12)


def reference_cross_entropy(
    logits: np.ndarray, classes: np.ndarray, weight: np.ndarray, ignore: int, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Losses, and the weights their mean is taken with, for logits [N, C, …]."""
    logs = np.moveaxis(scipy.special.log_softmax(logits, axis=1), 1, -1)
    losses, weights = np.zeros(classes.shape), np.zeros(classes.shape)
    for place in np.ndindex(classes.shape):
        if classes[place] != ignore:
            weights[place] = weight[classes[place]]
            picked = -weight[classes[place]] * logs[place][classes[place]]
            losses[place] = (1 - smoothing) * picked - smoothing * np.mean(weight * logs[place])
    return losses, weights


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_classes(shape: tuple[int, ...], weighted: bool, smoothing: float) -> None:
    logits = RNG.standard_normal(shape)
    classes = RNG.integers(0, 3, (shape[0], *shape[2:]))
    classes.flat[1] = 9
    weight = np.array([0.5, 1.0, 2.0]) if weighted else np.ones(3)
    losses, weights = reference_cross_entropy(logits, classes, weight, 9, smoothing)
    options: dict[str, Any] = {"ignore_index": 9, "label_smoothing": smoothing, "weight": asarray(weight) if weighted else None}

    def loss(x: Any, reduction: str = "mean") -> Any:
        return gnp.cross_entropy(x, asarray(classes), reduction=reduction, **options)

    assert_close(loss(asarray(logits)), losses.sum() / weights.sum(), rtol=1e-12)
    assert_close(loss(asarray(logits), "sum"), losses.sum(), rtol=1e-12)
    assert_close(loss(asarray(logits), "none"), losses, rtol=1e-12)
    check_gradients(loss, logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities(smoothing: float) -> None:
    logits, target = RNG.standard_normal((2, 3, 4)), RNG.dirichlet(np.ones(3), (2, 4)).transpose(0, 2, 1)
    share = target * (1 - smoothing) + smoothing / 3
    want = -(share * scipy.special.log_softmax(logits, axis=1)).sum(1)
    got = gnp.cross_entropy(asarray(logits), asarray(target), reduction="none", label_smoothing=smoothing)
    assert_close(got, want, rtol=1e-12)
    assert_close(gnp.cross_entropy(asarray(logits), asarray(target), label_smoothing=smoothing), want.mean(), rtol=1e-12)
    check_gradients(lambda x, t: gnp.cross_entropy(x, t, label_smoothing=smoothing), logits, target)


def test_cross_entropy_of_one_example_and_of_huge_logits() -> None:
    assert_close(gnp.cross_entropy(asarray([0.0, 0.0]), asarray(1)), np.log(2.0))
    x = asarray(np.array([[1e4, -1e4], [-1e4, 1e4]])).requires_grad_()
    loss = gnp.cross_entropy(x, asarray([0, 0]), reduction="none")
    assert_close(loss, [0, 2e4])
    loss.sum().backward()
    assert x.grad is not None
    assert_close(x.grad, [[0, 0], [-1, 1]])


def test_nll_loss_is_the_second_half_of_cross_entropy() -> None:
    logits, classes = asarray(X), asarray([0, 2, 1, -100])
    logs = gnp.log_softmax(logits, 1)
    for reduction in ("mean", "sum", "none"):
        pair = [f(x, classes, reduction=reduction) for f, x in ((gnp.nll_loss, logs), (gnp.cross_entropy, logits))]
        assert_close(pair[0], numpy_of(pair[1]), rtol=1e-14)


def test_half_precision_losses_are_rounded_once() -> None:
    logits = (RNG.standard_normal((64, 10)) * 5).astype(np.float16)
    classes = RNG.integers(0, 10, 64)
    result = gnp.cross_entropy(asarray(logits), asarray(classes))
    assert result.dtype.name == "float16"
    wide = gnp.cross_entropy(asarray(logits.astype(np.float32)), asarray(classes))
    assert result.item() == float(np.float16(wide.item()))


def test_errors_name_the_shapes_and_the_fix() -> None:
    logits = asarray(np.zeros((4, 3)))
    for target, error, words in [
        (np.zeros(3, np.int64), ShapeError, "target must have shape (4,), not (3,)"),
        (np.zeros((4, 3), np.int64), ShapeError, "argmax() turns one-hot rows into class numbers"),
        (np.zeros(4), DTypeError, "class numbers must be integers"),
        (np.array([0, 1, 2, 3]), OutOfBoundsError, "3"),
        (np.array([0, 1, 2, -1]), OutOfBoundsError, "-1"),
    ]:
        with pytest.raises(error) as caught:
            gnp.cross_entropy(logits, asarray(target))
        assert words in str(caught.value)
        assert "test_losses.py" in str(caught.value)
    with pytest.raises(ShapeError, match=r"weight has shape \(2,\), but there are 3 classes"):
        gnp.cross_entropy(logits, asarray([0, 1, 2, 0]), weight=asarray([1.0, 1.0]))
    with pytest.raises(ArgumentError, match="label_smoothing must be between 0 and 1"):
        gnp.cross_entropy(logits, asarray([0, 1, 2, 0]), label_smoothing=2.0)
