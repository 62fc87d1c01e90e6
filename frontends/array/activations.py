"""Activation functions of neural networks, under PyTorch's names. 16-bit floats are computed in float32 and rounded once."""

from __future__ import annotations

import math

from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_number
from graphc.frontends.array.core import ArrayLike, composed, computed_wide, lift, normalize_axis, show_shape
from graphc.frontends.array.elementwise import (
    absolute,
    add,
    divide,
    equal,
    erfc,
    exp,
    expm1,
    greater,
    greater_equal,
    isinf,
    less_equal,
    log,
    log1p,
    maximum,
    multiply,
    negative,
    sigmoid,
    subtract,
    tanh,
    where,
)  # fmt: skip
from graphc.frontends.array.movement import split
from graphc.frontends.array.reduction import reduce_over
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind
from graphc.ir.dims import same_size

# Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", 2017: the fixed point (0, 1).
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@composed
def relu(x: ArrayLike) -> Array:
    """max(x, 0). The gradient at 0 is 0; NaN stays NaN."""
    array = lift(x)
    return where(less_equal(array, 0), 0, array)


def relu6(x: ArrayLike) -> Array:
    """min(max(x, 0), 6)."""
    return hardtanh(x, 0.0, 6.0)


@computed_wide
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """x limited to [min_val, max_val]; the gradient is 0 at and beyond the limits, NaN stays NaN."""
    if as_number(min_val, "hardtanh: min_val") > as_number(max_val, "hardtanh: max_val"):
        raise ArgumentError(
            f"hardtanh: min_val {min_val} must not be greater than max_val {max_val}", cause=ArgumentError.RANGE
        )
    return where(less_equal(x, min_val), min_val, where(greater_equal(x, max_val), max_val, x))


def hardsigmoid(x: ArrayLike) -> Array:
    """min(max(x / 6 + 1/2, 0), 1), a piecewise linear sigmoid."""
    return divide(relu6(add(x, 3.0)), 6.0)


@computed_wide
def hardswish(x: Array) -> Array:
    """x * hardsigmoid(x) (Howard et al., "Searching for MobileNetV3", 2019)."""
    return multiply(x, hardsigmoid(x))


@computed_wide
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where it is positive, else negative_slope * x."""
    return where(greater(x, 0.0), x, multiply(x, negative_slope))


def _negative_part(x: Array) -> Array:
    """x where it is not positive, else 0: keeps the branch that is not taken from overflowing."""
    return where(greater(x, 0.0), 0.0, x)


@computed_wide
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert, Unterthiner, Hochreiter, 2015)."""
    return where(greater(x, 0.0), x, multiply(expm1(_negative_part(x)), alpha))


@computed_wide
def celu(x: Array, alpha: float = 1.0) -> Array:
    """x where it is positive, else alpha * (exp(x / alpha) - 1) (Barron, 2017)."""
    return where(greater(x, 0.0), x, multiply(expm1(divide(_negative_part(x), alpha)), alpha))


@computed_wide
def selu(x: Array) -> Array:
    """elu scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return multiply(elu(x, _SELU_ALPHA), _SELU_SCALE)


@computed_wide
def gelu(x: Array, approximate: str = "none") -> Array:
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016).

    ``approximate="tanh"`` is the paper's formula 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """
    if approximate == "none":
        return multiply(multiply(x, 0.5), erfc(multiply(x, -math.sqrt(0.5))))
    if approximate == "tanh":
        inner = multiply(x, add(multiply(multiply(x, x), 0.044715), 1.0))
        return multiply(multiply(x, 0.5), add(tanh(multiply(inner, math.sqrt(2 / math.pi))), 1.0))
    raise ArgumentError(f"gelu: unknown approximation {approximate!r}", hint='use "none" or "tanh"', cause=ArgumentError.CHOICE)


@computed_wide
def silu(x: Array) -> Array:
    """x * sigmoid(x), also called swish."""
    return multiply(x, sigmoid(x))


swish = silu


@computed_wide
def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + exp(beta x)) / beta without overflow: a smooth relu."""
    if as_number(beta, "softplus: beta") <= 0:
        raise ArgumentError(f"softplus: beta must be positive, not {beta}", cause=ArgumentError.RANGE)
    scaled = x if beta == 1.0 else multiply(x, beta)
    result = add(maximum(scaled, 0.0), log1p(exp(negative(absolute(scaled)))))
    return result if beta == 1.0 else divide(result, beta)


@computed_wide
def log_sigmoid(x: Array) -> Array:
    """log(sigmoid(x)) without overflow."""
    return negative(softplus(negative(x)))


logsigmoid = log_sigmoid


@computed_wide
def mish(x: Array) -> Array:
    """x * tanh(softplus(x)) (Misra, 2019)."""
    return multiply(x, tanh(softplus(x)))


@computed_wide
def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return divide(x, add(absolute(x), 1.0))


def glu(x: ArrayLike, axis: int = -1) -> Array:
    """a * sigmoid(b), where a and b are the halves of ``x`` along ``axis`` (Dauphin et al., 2016).

    Raises ShapeError for an odd size.
    """
    array = lift(x)
    place = normalize_axis(axis, len(array.shape), "glu")
    size = array.shape[place]
    if same_size(size % 2, 0) is False:
        raise ShapeError(
            f"glu: size {size} of axis {place} of shape {show_shape(array.shape)} cannot be halved",
            hint="the axis holds values and gates, so its size must be even",
            cause=ShapeError.PARTS,
        )
    values, gates = split(array, 2, place)
    return multiply(values, sigmoid(gates))


def _exponentials(x: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array, Array]:
    """x less its maximum over ``axis``, the exponentials of that, and their sum, kept as an axis of size 1.

    Softmax does not change if a number is subtracted from all its inputs, so the maximum needs no gradient.
    """
    shifted = subtract(x, bind("stop_gradient", reduce_over("reduce_max", x, axis, True, "softmax")))
    powers = exp(shifted)
    return shifted, powers, sum_over(powers, axis, keepdims=True)


@computed_wide
def softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """exp(x) / sum(exp(x)) over ``axis``, without overflow.

    >>> gc.softmax(gc.asarray([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    _, powers, total = _exponentials(x, axis)
    return divide(powers, total)


@computed_wide
def log_softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """log(softmax(x)) over ``axis``, exact where softmax itself underflows to 0."""
    shifted, _, total = _exponentials(x, axis)
    return subtract(shifted, log(total))


@computed_wide
def masked_softmax(x: Array, axis: int = -1) -> Array:
    """softmax in which -inf marks what takes no part; 0 everywhere along an axis where nothing does."""
    largest = bind("stop_gradient", reduce_over("reduce_max", x, axis, True, "softmax"))
    powers = exp(subtract(x, where(isinf(largest), 0.0, largest)))
    total = sum_over(powers, axis, keepdims=True)
    return divide(powers, where(equal(total, 0.0), 1.0, total))
