"""Normalizing activations: over features, channels, groups or the batch. 16-bit floats are computed in float32."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import ArgumentError, ShapeError
from graphc.frontends.arguments import as_int
from graphc.frontends.array.core import ArrayLike, astype, computed_wide, lift, normalize_axis, show_shape
from graphc.frontends.array.elementwise import add, divide, maximum, multiply, rsqrt, square, subtract
from graphc.frontends.array.indexing import setitem
from graphc.frontends.array.movement import as_shape, broadcast_arrays, reshape
from graphc.frontends.array.reduction import mean, norm, var
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind
from graphc.ir.dims import Dim, same_size, same_sizes


def _trailing(x: Array, normalized_shape: Dim | Sequence[Dim], what: str) -> tuple[int, ...]:
    """The trailing axes whose sizes are ``normalized_shape``."""
    sizes = as_shape(normalized_shape)
    if not sizes or len(sizes) > len(x.shape) or not same_sizes(x.shape[len(x.shape) - len(sizes) :], sizes):
        raise ShapeError(
            f"{what}: the last sizes of shape {show_shape(x.shape)} are not normalized_shape {show_shape(sizes)}",
            hint="give the sizes of the trailing dimensions to normalize over, for example x.shape[-1]",
            cause=ShapeError.CHANNELS,
        )
    return tuple(range(len(x.shape) - len(sizes), len(x.shape)))


def _affine(x: Array, weight: ArrayLike | None, bias: ArrayLike | None, shape: Sequence[Dim], what: str) -> Array:
    """x * weight + bias, both brought to ``shape``."""
    for name, factor in (("weight", weight), ("bias", bias)):
        if factor is None:
            continue
        array = lift(factor, x)
        if not same_sizes(array.shape, shape) and not same_sizes(array.shape, tuple(s for s in shape if s != 1) or (1,)):
            raise ShapeError(
                f"{what}: {name} has shape {show_shape(array.shape)}, but {show_shape(shape)} is normalized",
                cause=ShapeError.CHANNELS,
            )
        wide = reshape(astype(array, x.dtype) if array.dtype.bits < x.dtype.bits else array, tuple(shape))
        x = multiply(x, wide) if name == "weight" else add(x, wide)
    return x


@computed_wide
def layer_norm(
    x: Array,
    normalized_shape: Dim | Sequence[Dim],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> Array:
    """(x - mean) / √(variance + eps) * weight + bias, over the trailing dimensions of sizes ``normalized_shape``.

    (Ba, Kiros, Hinton, "Layer Normalization", 2016.) ``weight`` and ``bias`` have the shape ``normalized_shape``.
    Raises ShapeError where they or x do not.

    >>> gc.layer_norm(x, x.shape[-1])
    """
    axes = _trailing(x, normalized_shape, "layer_norm")
    centered = subtract(x, mean(x, axes, keepdims=True))
    scale = rsqrt(add(mean(square(centered), axes, keepdims=True), eps))
    return _affine(multiply(centered, scale), weight, bias, x.shape[axes[0] :], "layer_norm")


@computed_wide
def rms_norm(
    x: Array, normalized_shape: Dim | Sequence[Dim], weight: ArrayLike | None = None, eps: float = 1e-6
) -> Array:
    """x / √(mean(x²) + eps) * weight, over the trailing dimensions of sizes ``normalized_shape`` (Zhang, Sennrich, 2019)."""
    axes = _trailing(x, normalized_shape, "rms_norm")
    scale = rsqrt(add(mean(square(x), axes, keepdims=True), eps))
    return _affine(multiply(x, scale), weight, None, x.shape[axes[0] :], "rms_norm")


def _channels(x: Array, what: str) -> tuple[tuple[int, ...], tuple[Dim, ...]]:
    """All axes but 1, and the shape of something that varies along axis 1 only."""
    if len(x.shape) < 2:
        raise ShapeError(
            f"{what} needs a batch and a channel dimension, not shape {show_shape(x.shape)}", cause=ShapeError.DIMENSIONS
        )
    axes = tuple(a for a in range(len(x.shape)) if a != 1)
    return axes, tuple(x.shape[1] if a == 1 else 1 for a in range(len(x.shape)))


@computed_wide
def batch_norm(
    x: Array,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """x [N, C, …] normalized for each channel (Ioffe, Szegedy, "Batch Normalization", 2015), then * weight + bias.

    In training, or without running statistics, by the mean and variance of this batch; else by the running ones. In
    training the running statistics, where given, move towards the batch's by ``momentum``, in place (the variance with
    n - 1, as PyTorch). All parameters have shape (C,).
    """
    axes, shape = _channels(x, "batch_norm")
    if (running_mean is None) != (running_var is None):
        raise ArgumentError("batch_norm: give running_mean and running_var together, or neither")
    if training or running_mean is None or running_var is None:
        center = mean(x, axes, keepdims=True)
        spread = mean(square(subtract(x, center)), axes, keepdims=True)
        if training and running_mean is not None:
            _move(running_mean, center, momentum, "batch_norm")
            _move(running_var, var(x, axes, correction=1, keepdims=True), momentum, "batch_norm")
    else:
        center, spread = _channel_values(running_mean, x, shape, "running_mean"), _channel_values(
            running_var, x, shape, "running_var"
        )
    scaled = multiply(subtract(x, center), rsqrt(add(spread, eps)))
    return _affine(scaled, weight, bias, shape, "batch_norm")


def _channel_values(values: ArrayLike, x: Array, shape: tuple[Dim, ...], name: str) -> Array:
    array = lift(values, x)
    if not same_sizes(array.shape, (shape[1],)):
        raise ShapeError(
            f"batch_norm: {name} has shape {show_shape(array.shape)}, but x has {shape[1]} channels", cause=ShapeError.CHANNELS
        )
    return reshape(array, shape)


def _move(statistic: ArrayLike, towards: Array, momentum: float, what: str) -> None:
    """statistic += momentum * (towards - statistic), in place and unseen by autograd."""
    if not isinstance(statistic, Array):
        raise ArgumentError(f"{what}: running statistics are updated in place, so they must be graphc arrays")
    new = bind("stop_gradient", reshape(towards, statistic.shape))
    setitem(statistic, ..., add(multiply(statistic, 1.0 - momentum), multiply(new, momentum)))


@computed_wide
def group_norm(
    x: Array, num_groups: int, weight: ArrayLike | None = None, bias: ArrayLike | None = None, eps: float = 1e-5
) -> Array:
    """x [N, C, …] normalized within each of ``num_groups`` groups of channels of each image (Wu, He, 2018)."""
    _, shape = _channels(x, "group_norm")
    channels = x.shape[1]
    if as_int(num_groups, "group_norm: num_groups") < 1 or same_size(channels % num_groups, 0) is False:
        raise ShapeError(
            f"group_norm: {channels} channels of shape {show_shape(x.shape)} do not divide into {num_groups} groups",
            cause=ShapeError.PARTS,
        )
    grouped = reshape(x, (x.shape[0], num_groups, channels // num_groups, *x.shape[2:]))
    axes = tuple(range(2, len(grouped.shape)))
    centered = subtract(grouped, mean(grouped, axes, keepdims=True))
    scale = rsqrt(add(mean(square(centered), axes, keepdims=True), eps))
    return _affine(reshape(multiply(centered, scale), x.shape), weight, bias, shape, "group_norm")


@computed_wide
def instance_norm(x: Array, weight: ArrayLike | None = None, bias: ArrayLike | None = None, eps: float = 1e-5) -> Array:
    """x [N, C, …] normalized within each channel of each image (Ulyanov, Vedaldi, Lempitsky, 2016)."""
    _, shape = _channels(x, "instance_norm")
    axes = tuple(range(2, len(x.shape)))
    if not axes:
        raise ShapeError(
            f"instance_norm needs spatial dimensions, not shape {show_shape(x.shape)}", cause=ShapeError.DIMENSIONS
        )
    centered = subtract(x, mean(x, axes, keepdims=True))
    scale = rsqrt(add(mean(square(centered), axes, keepdims=True), eps))
    return _affine(multiply(centered, scale), weight, bias, shape, "instance_norm")


@computed_wide
def normalize(x: Array, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Array:
    """x divided by its ``p``-norm along ``axis``, or by ``eps`` where that is larger."""
    return divide(x, maximum(norm(x, p, axis, keepdims=True), eps))


def cosine_similarity(x: ArrayLike, y: ArrayLike, axis: int = 1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between vectors along ``axis``; each norm counts as at least ``eps``."""
    first, second = broadcast_arrays(lift(x, y), lift(y, x))  # the axis is one of the common shape
    units = [
        divide(a, maximum(norm(a, 2, normalize_axis(axis, len(a.shape), "cosine_similarity"), keepdims=True), eps))
        for a in (first, second)
    ]
    return sum_over(multiply(*units), axis)


