"""Loss functions, under PyTorch's names and with its conventions. Scalars by default: ``reduction="mean"``.

16-bit floats are computed in float32 and rounded once.
"""

from __future__ import annotations

import math

from graphc.dtypes import int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.activations import log_softmax, softplus
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    broadcast_shapes,
    computed_wide,
    converted,
    lift,
    show_shape,
    with_shape,
)
from graphc.frontends.array.elementwise import (
    absolute,
    add,
    divide,
    equal,
    exp,
    greater,
    less,
    log,
    log1p,
    logical_not,
    multiply,
    negative,
    square,
    subtract,
    where,
    xlogy,
)  # fmt: skip
from graphc.frontends.array.movement import moveaxis, reshape
from graphc.frontends.array.reduction import mean as mean_over
from graphc.frontends.array.reduction import size_as_number
from graphc.frontends.array.reduction import sum as sum_over
from graphc.frontends.dispatch import Array, bind, bind_near, context_of
from graphc.ir.dims import Dim, same_size, same_sizes


def _reduced(loss: Array, reduction: str, what: str) -> Array:
    if reduction == "mean":
        return mean_over(loss)
    if reduction == "sum":
        return sum_over(loss)
    if reduction == "none":
        return loss
    raise ArgumentError(f"{what}: unknown reduction {reduction!r}", hint='use "mean", "sum" or "none"')


def _target(x: Array, target: ArrayLike, what: str) -> Array:
    """``target`` in the dtype of ``x``; raises ShapeError unless it has its shape (or is a scalar).

    Broadcasting here would be a mistake more often than not: (n, 1) against (n,) gives n² errors.
    """
    (array,) = converted(context_of((x, target)), [target], x.dtype, what)
    if array.shape not in ((), x.shape):
        fits = len(array.shape) == len(x.shape) and all(
            same_size(a, b) is not False for a, b in zip(array.shape, x.shape, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"{what}: input has shape {show_shape(x.shape)}, target {show_shape(array.shape)}",
                hint="they must be equal; reshape() or squeeze() one of them",
            )
        broadcast_shapes(context_of((x, array)), x.shape, array.shape, what=what)
    return array


@computed_wide
def mse_loss(input: Array, target: ArrayLike, reduction: str = "mean") -> Array:
    """(input - target)²."""
    return _reduced(square(subtract(input, _target(input, target, "mse_loss"))), reduction, "mse_loss")


@computed_wide
def l1_loss(input: Array, target: ArrayLike, reduction: str = "mean") -> Array:
    """|input - target|."""
    return _reduced(absolute(subtract(input, _target(input, target, "l1_loss"))), reduction, "l1_loss")


@computed_wide
def smooth_l1_loss(input: Array, target: ArrayLike, reduction: str = "mean", beta: float = 1.0) -> Array:
    """d² / (2 beta) for d = |input - target| below ``beta``, else d - beta / 2 (Girshick, "Fast R-CNN", 2015)."""
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, but is {beta}")
    distance = absolute(subtract(input, _target(input, target, "smooth_l1_loss")))
    if beta > 0:
        distance = where(
            less(distance, beta), divide(multiply(square(distance), 0.5), beta), subtract(distance, 0.5 * beta)
        )
    return _reduced(distance, reduction, "smooth_l1_loss")


@computed_wide
def huber_loss(input: Array, target: ArrayLike, reduction: str = "mean", delta: float = 1.0) -> Array:
    """d² / 2 for d = |input - target| below ``delta``, else delta * (d - delta / 2) (Huber, 1964)."""
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta must be positive, but is {delta}")
    distance = absolute(subtract(input, _target(input, target, "huber_loss")))
    outside = multiply(subtract(distance, 0.5 * delta), delta)
    return _reduced(where(less(distance, delta), multiply(square(distance), 0.5), outside), reduction, "huber_loss")


@computed_wide
def binary_cross_entropy(
    input: Array, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """-(target log(input) + (1 - target) log(1 - input)) for probabilities; logarithms are at least -100, as PyTorch's.

    Prefer :func:`binary_cross_entropy_with_logits`, which loses nothing near 0 and 1.
    """
    goal = _target(input, target, "binary_cross_entropy")
    floor = math.exp(-100.0)
    low, high = logical_not(greater(input, floor)), logical_not(less(input, 1.0))
    positive = where(low, -100.0, log(where(low, 1.0, input)))
    other = where(high, -100.0, log1p(negative(where(high, 0.0, input))))
    loss = negative(add(multiply(goal, positive), multiply(subtract(1.0, goal), other)))
    return _reduced(loss if weight is None else multiply(loss, weight), reduction, "binary_cross_entropy")


@computed_wide
def binary_cross_entropy_with_logits(
    input: Array,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Array:
    """binary_cross_entropy(sigmoid(input), target) without overflow; ``pos_weight`` multiplies the loss of positives."""
    goal = _target(input, target, "binary_cross_entropy_with_logits")
    loss = softplus(negative(input))
    if pos_weight is not None:
        (factor,) = converted(context_of((input, pos_weight)), [pos_weight], input.dtype)
        loss = multiply(loss, add(multiply(subtract(factor, 1.0), goal), 1.0))
    loss = add(multiply(subtract(1.0, goal), input), loss)
    return _reduced(loss if weight is None else multiply(loss, weight), reduction, "binary_cross_entropy_with_logits")


@computed_wide
def kl_div(input: Array, target: ArrayLike, reduction: str = "mean", log_target: bool = False) -> Array:
    """target * (log(target) - input): the divergence of probabilities from log-probabilities ``input``.

    ``log_target``: the target holds logarithms too. ``reduction="batchmean"`` divides the sum by the first size, which is
    the divergence as it is defined.
    """
    goal = _target(input, target, "kl_div")
    if log_target:
        loss = multiply(exp(goal), subtract(goal, input))
    else:
        loss = subtract(xlogy(goal, goal), multiply(goal, input))
    if reduction == "batchmean":
        if not loss.shape:
            raise ShapeError('kl_div: reduction="batchmean" needs a batch dimension, and the input is a scalar')
        return divide(sum_over(loss), size_as_number(loss.shape[:1], loss.dtype))
    return _reduced(loss, reduction, "kl_div")


def _class_axis(x: Array, what: str) -> int:
    if not x.shape:
        raise ShapeError(f"{what} needs a dimension of classes, and the input is a scalar")
    return 0 if len(x.shape) == 1 else 1


def _classes(x: Array, target: Array, what: str) -> Array:
    """Class numbers as int64, checked to have the shape of ``x`` without its class axis."""
    axis = _class_axis(x, what)
    expected: tuple[Dim, ...] = (*x.shape[:axis], *x.shape[axis + 1 :])
    if not target.dtype.is_integer:
        raise DTypeError(
            f"{what}: target is {target.dtype.name} of shape {show_shape(target.shape)}; class numbers must be integers",
            hint="convert with .astype(gc.int64), or give probabilities in the shape of the input",
        )
    fitted = with_shape(target, expected)
    if fitted is None:
        raise ShapeError(
            f"{what}: input has shape {show_shape(x.shape)} (classes along axis {axis}), so target must have shape "
            f"{show_shape(expected)}, not {show_shape(target.shape)}",
            hint="one class number an example; argmax() turns one-hot rows into class numbers",
        )
    return astype(fitted, int64)


def _picked(x: Array, classes: Array, axis: int) -> Array:
    """The element of ``x`` at ``classes`` along ``axis``; a class out of range raises."""
    last = moveaxis(x, axis, -1)
    positions = [bind_near(classes, "iota", dtype=int64, shape=classes.shape, axis=a) for a in range(len(classes.shape))]
    return bind("gather", last, *positions, classes, axes=tuple(range(len(last.shape))))


def _class_weights(weight: ArrayLike, x: Array, axis: int, what: str) -> Array:
    array = lift(weight, x)
    if not same_sizes(array.shape, (x.shape[axis],)):
        raise ShapeError(f"{what}: weight has shape {show_shape(array.shape)}, but there are {x.shape[axis]} classes")
    return astype(array, x.dtype)


def _negative_log_likelihood(
    x: Array,
    target: Array,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    what: str,
) -> Array:
    classes, axis = _classes(x, target, what), _class_axis(x, what)
    ignored = equal(classes, ignore_index)
    classes = where(ignored, 0, classes)
    counts = where(ignored, 0.0, bind("broadcast_in_dim", context_of((x,)).literal(1, x.dtype), shape=classes.shape, dims=()))
    loss = negative(_picked(x, classes, axis))
    weights = None if weight is None else _class_weights(weight, x, axis, what)
    if weights is not None:
        each = bind("gather", weights, classes, axes=(0,))
        loss, counts = multiply(loss, each), multiply(counts, each)
    if label_smoothing > 0:
        aligned = x if weights is None else multiply(
            x, reshape(weights, tuple(s if a == axis else 1 for a, s in enumerate(x.shape)))
        )  # fmt: skip
        smooth = negative(mean_over(aligned, axis))
        loss = add(multiply(loss, 1.0 - label_smoothing), multiply(smooth, label_smoothing))
    loss = where(ignored, 0.0, loss)
    if reduction == "mean":
        return divide(sum_over(loss), sum_over(counts))
    return _reduced(loss, reduction, what)


@computed_wide
def nll_loss(
    input: Array,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """The negative log-likelihood: -input at the class ``target``, for log-probabilities with classes along axis 1.

    Arguments as :func:`cross_entropy`. Raises OutOfBoundsError for a class that does not exist.
    """
    return _negative_log_likelihood(input, lift(target, input), weight, ignore_index, reduction, 0.0, "nll_loss")


@computed_wide
def cross_entropy(
    input: Array,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The cross entropy of softmax(input) against ``target``, PyTorch's ``cross_entropy``.

    input: logits [N, C, …] (or [C]). target: class numbers [N, …], or probabilities in the shape of the input.
    weight: a factor for each class [C]; with class numbers the mean is weighted by it. Examples whose class is
    ``ignore_index`` do not count. ``label_smoothing``: the share of the target spread evenly over all classes.
    Raises OutOfBoundsError for a class that does not exist, ShapeError where the shapes do not fit.

    >>> gc.cross_entropy(gc.asarray([[0.0, 0.0]]), gc.asarray([1]))
    tensor(0.6931472)
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"cross_entropy: label_smoothing must be between 0 and 1, not {label_smoothing}")
    goal, axis = lift(target, input), _class_axis(input, "cross_entropy")
    logs = log_softmax(input, axis)
    if not (goal.dtype.is_floating and len(goal.shape) == len(input.shape)):
        return _negative_log_likelihood(
            logs, goal, weight, ignore_index, reduction, label_smoothing, "cross_entropy"
        )  # fmt: skip
    share = _target(input, goal, "cross_entropy")
    if label_smoothing > 0:
        count = size_as_number((input.shape[axis],), input.dtype)
        spread = label_smoothing / count if isinstance(count, float) else divide(label_smoothing, count)
        share = add(multiply(share, 1.0 - label_smoothing), spread)
    loss = multiply(share, logs)
    if weight is not None:
        weights = _class_weights(weight, input, axis, "cross_entropy")
        loss = multiply(loss, reshape(weights, tuple(s if a == axis else 1 for a, s in enumerate(input.shape))))
    return _reduced(negative(sum_over(loss, axis)), reduction, "cross_entropy")
