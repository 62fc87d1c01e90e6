"""Discrete distributions, sampling and shuffling over a stream of random bits: identical on every backend.

Only categorical and weighted choice without replacement go through logarithms, so a tie in the last place may fall
otherwise.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype, default_int, float32, float64, int64, uint64
from graphc.errors import ArgumentError, DTypeError, InPlaceError, ShapeError
from graphc.frontends.array.core import ArrayLike, astype, integer_range, is_scalar, lift, normalize_axis, show_shape
from graphc.frontends.array.creation import asarray
from graphc.frontends.array.elementwise import (
    add,
    bitwise_and,
    bitwise_right_shift,
    divide,
    less,
    less_equal,
    log,
    logical_and,
    minimum,
    multiply,
    subtract,
    where,
)
from graphc.frontends.array.indexing import take
from graphc.frontends.array.movement import as_shape, reshape, slice_axis
from graphc.frontends.array.reduction import argmax, cumulative_sum
from graphc.frontends.dispatch import Array, bind, bind_all
from graphc.frontends.random.continuous import drawn_shape, gumbel_noise, unit
from graphc.frontends.random.stream import Stream
from graphc.ir.dims import Dim, product

_HALF = 0xFFFFFFFF


def _check_probability(what: str, p: ArrayLike) -> None:
    if is_scalar(p) and not 0 <= p <= 1:
        raise ArgumentError(f"{what}: a probability lies between 0 and 1, and p is {p}", cause=ArgumentError.RANGE)


def bernoulli(self: Stream, p: ArrayLike = 0.5, shape: Any = None, *, dtype: Any = bool) -> Array:
    """True with probability ``p``, rounded up to a multiple of 2**-24 (2**-53 where p is float64).

    ``shape`` is by default that of ``p``; PyTorch's 0 and 1 in floats come with ``dtype=gc.float32``.
    """
    _check_probability("bernoulli", p)
    sizes = drawn_shape("bernoulli", shape, p)
    chance = float(p) if is_scalar(p) else lift(p)
    wide = isinstance(chance, Array) and chance.dtype is float64
    drawn = less(unit(self, sizes, float64 if wide else float32, p), chance)
    return astype(drawn, as_dtype(dtype))


def randint(self: Stream, low: ArrayLike, high: ArrayLike | None = None, shape: Any = None, *, dtype: Any = None) -> Array:
    """Integers from ``low`` to ``high`` - 1, int64 by default; ``randint(n)`` counts from 0.

    An integer is floor(w (high - low) / 2**b) for a random b-bit word w: b = 64 where the range has at most 2**32
    values (else 128), so no value's probability is off by more than 2**-64, a relative 2**-32. Bounds may be integer
    arrays; an empty range among them gives ``low``.
    Raises ArgumentError for an empty range of ints, or one that ``dtype`` cannot hold.

    >>> gc.random.randint(0, 10, (3,))
    """
    first, last = (0, low) if high is None else (low, high)
    wanted = default_int if dtype is None else as_dtype(dtype)
    if not wanted.is_integer:
        raise DTypeError(f"randint makes integers, not {wanted.name}", hint="bernoulli() makes bools, uniform() floats")
    sizes = drawn_shape("randint", shape, first, last)
    wide = uint64 if wanted is uint64 else int64
    if _is_int(first) and _is_int(last):
        first, last = operator.index(first), operator.index(last)
        if not first < last:
            raise ArgumentError(f"randint: the range from {first} to {last} is empty", cause=ArgumentError.RANGE)
        least, greatest = integer_range(wanted)
        if first < least or last - 1 > greatest:
            raise ArgumentError(f"randint: {wanted.name} cannot hold all of {first} to {last - 1}", cause=ArgumentError.RANGE)
        offset = _below(self, last - first, sizes)
        return astype(astype(add(offset, first % (1 << 64)), wide), wanted)
    bounds = [asarray(v, dtype=wide) if _is_int(v) else lift(v, first, last) for v in (first, last)]
    for bound in bounds:
        if not bound.dtype.is_integer:
            raise DTypeError(f"randint: bounds are integers, not {bound.dtype.name}")
    start, stop = (astype(b, wide) for b in bounds)
    width = where(less(start, stop), astype(subtract(stop, start), uint64), 0)
    words = [self.bits(sizes, uint64, near=bounds) for _ in range(2)]
    return astype(add(astype(_scaled_128(words[0], words[1], width), wide), start), wanted)


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _below(self: Stream, width: int, shape: Any) -> Array:
    """uint64 numbers below a known ``width``."""
    word = self.bits(shape, uint64)
    if width == 1 << 64:
        return word
    if width > 1 << 32:
        return _scaled_128(word, self.bits(shape, uint64), asarray(np.uint64(width)))
    low = bitwise_right_shift(multiply(bitwise_and(word, _HALF), width), 32)
    return bitwise_right_shift(add(multiply(bitwise_right_shift(word, 32), width), low), 32)


def _scaled_128(high: Array, low: Array, width: Array) -> Array:
    """floor(w * width / 2**128) of the 128-bit words w = ``high`` * 2**64 + ``low``."""
    carried = _high_product(low, width)
    total = add(multiply(high, width), carried)
    return add(_high_product(high, width), astype(less(total, carried), uint64))


def _high_product(x: Array, y: Array) -> Array:
    """The upper 64 bits of a product of uint64."""
    x_low, x_high = bitwise_and(x, _HALF), bitwise_right_shift(x, 32)
    y_low, y_high = bitwise_and(y, _HALF), bitwise_right_shift(y, 32)
    low, first, second = multiply(x_low, y_low), multiply(x_low, y_high), multiply(x_high, y_low)
    middle = add(add(bitwise_right_shift(low, 32), bitwise_and(first, _HALF)), bitwise_and(second, _HALF))
    upper = add(bitwise_right_shift(first, 32), bitwise_right_shift(second, 32))
    return add(add(multiply(x_high, y_high), upper), bitwise_right_shift(middle, 32))


def _order(self: Stream, size: Dim, *near: ArrayLike) -> Array:
    return bind("argsort", self.bits((size,), uint64, near=near), axis=0, descending=False)


def permutation(self: Stream, x: ArrayLike, axis: int = 0) -> Array:
    """The numbers below an int ``x`` in random order; or the array ``x``, reordered along ``axis``.

    The order sorts 64 random bits for each element.
    """
    if _is_int(x):
        return _order(self, _count("permutation", x))
    array = asarray(x)
    if not array.shape:
        raise ShapeError(
            "permutation: a scalar array has nothing to reorder",
            hint="pass an int to permute a range",
            cause=ShapeError.DIMENSIONS,
        )
    place = normalize_axis(axis, len(array.shape), "permutation")
    return take(array, _order(self, array.shape[place], array), place)


def _count(what: str, value: Any) -> int:
    count = operator.index(value)
    if count < 0:
        raise ArgumentError(f"{what}: {count} is not a number of elements", cause=ArgumentError.RANGE)
    return count


def shuffle(self: Stream, x: Any, axis: int = 0) -> None:
    """Reorder the tensor or ndarray ``x`` along ``axis``, in place."""
    if not isinstance(x, (Array, np.ndarray)):
        raise InPlaceError(
            f"shuffle works in place on a tensor or ndarray, not on a {type(x).__name__}",
            hint="permutation(x) gives a reordered array",
            cause=InPlaceError.NOT_AN_ARRAY,
        )
    target: Any = lift(x)
    target.copy_(permutation(self, target, axis))


def choice(
    self: Stream, a: ArrayLike, shape: Any = (), replace: bool = True, p: ArrayLike | None = None, *, axis: int = 0
) -> Array:
    """Random elements of ``a`` (an array, along ``axis``; or an int n for the numbers below n).

    ``replace=False`` takes none twice. ``p``: the elements' probabilities, which are normalized to sum to 1; then
    drawn by inverting their running sum, or without replacement by the Gumbel top-k trick.
    Raises ArgumentError for an empty ``a``, too few elements to take, or a ``p`` of another length.

    >>> gc.random.choice(5, (3,), replace=False)
    """
    array = None if _is_int(a) else asarray(a)
    if array is not None and not array.shape:
        raise ShapeError(
            "choice: a scalar array has nothing to choose from",
            hint="pass an int to choose from a range",
            cause=ShapeError.DIMENSIONS,
        )
    place = 0 if array is None else normalize_axis(axis, len(array.shape), "choice")
    count: Any = _count("choice", a) if array is None else array.shape[place]
    sizes = as_shape(shape)
    taken = product(sizes)
    if isinstance(count, int) and isinstance(taken, int):
        if count == 0 and taken > 0:
            raise ArgumentError("choice: there is nothing to choose from", cause=ArgumentError.COUNT)
        if not replace and taken > count:
            raise ArgumentError(
                f"choice: cannot take {taken} of {count} elements without replacement", cause=ArgumentError.RANGE
            )
    weights = None if p is None else astype(asarray(p), float64)
    if weights is not None and weights.shape != (count,):
        raise ArgumentError(f"choice: p has shape {show_shape(weights.shape)}, and there are {count} elements")
    if weights is None:
        chosen = randint(self, count, None, sizes) if replace and isinstance(count, int) and count else _taken(
            self, count, sizes, replace, array
        )  # fmt: skip
    elif replace:
        chosen = _inverted(self, weights, sizes)
    else:
        keys = add(log(weights), gumbel_noise(self, weights.shape, float64, weights))
        chosen = reshape(bind_all("top_k", keys, k=taken)[1], sizes)
    return chosen if array is None else take(array, chosen, place)


def _taken(self: Stream, count: Any, sizes: Any, replace: bool, array: Array | None) -> Array:
    near = () if array is None else (array,)
    if replace:  # a size that only a run knows, or nothing to take
        return randint(self, asarray(count), None, sizes)
    return reshape(slice_axis(_order(self, count, *near), 0, 0, product(sizes)), sizes)


def _inverted(self: Stream, weights: Array, sizes: Any) -> Array:
    """Positions drawn with probabilities proportional to ``weights``: a binary search in their running sum."""
    sums = cumulative_sum(weights)
    size = int(weights.shape[0].__index__())
    sums = divide(sums, slice_axis(sums, 0, size - 1, size))
    number = unit(self, sizes, float64, weights)
    position = astype(multiply(number, 0.0), int64)
    step = 1 << max(size - 1, 0).bit_length()
    while step:
        candidate = add(position, step)
        below = less_equal(take(sums, minimum(subtract(candidate, 1), size - 1)), number)
        position = where(logical_and(below, less(candidate, size)), candidate, position)
        step >>= 1
    return position


def categorical(self: Stream, logits: ArrayLike, shape: Any = (), *, axis: int = -1) -> Array:
    """Indices along ``axis`` drawn with probabilities softmax(``logits``), by the Gumbel-max trick; int64.

    The result has the shape of ``logits`` without ``axis``, after ``shape`` independent samples of it.

    >>> gc.random.categorical(gc.log(gc.tensor([0.2, 0.8])), (10,))
    """
    array = asarray(logits)
    if not array.dtype.is_floating:
        raise DTypeError(f"categorical: logits are floating numbers, not {array.dtype.name}")
    if not array.shape:
        raise ShapeError("categorical: logits need an axis to choose from", cause=ShapeError.DIMENSIONS)
    place = normalize_axis(axis, len(array.shape), "categorical")
    samples = as_shape(shape)
    wide = astype(array, array.dtype.compute)
    noise = gumbel_noise(self, (*samples, *array.shape), wide.dtype, wide)
    return argmax(add(wide, noise), len(samples) + place)


def dropout(self: Stream, x: ArrayLike, p: ArrayLike = 0.5, training: bool = True) -> Array:
    """``x`` with each element zeroed with probability ``p`` and the others scaled by 1 / (1 - p); ``x`` if not
    ``training``.

    N. Srivastava et al., "Dropout", JMLR 15 (2014). ``p`` may be a scalar array.
    """
    _check_probability("dropout", p)
    array = lift(x, p)
    if not array.dtype.is_floating:
        raise DTypeError(f"dropout takes floating numbers, not {array.dtype.name}")
    if not training or (is_scalar(p) and p == 0):
        return array
    keep = less_equal(p if is_scalar(p) else astype(lift(p, array), float32), unit(self, array.shape, float32, array))
    if is_scalar(p):
        scale: Any = 0.0 if p == 1 else 1.0 / (1.0 - float(p))
    else:
        chance = astype(lift(p, array), array.dtype)
        scale = where(less(chance, 1.0), divide(1.0, subtract(1.0, chance)), 0.0)
    return multiply(where(keep, array, 0.0), scale)


__all__ = ["bernoulli", "categorical", "choice", "dropout", "permutation", "randint", "shuffle"]
