"""Continuous distributions over a stream of random bits, the same numbers in every mode.

Backends may fuse a product with a sum, and round logarithms and cosines differently in the last place. So everything
below float64 is computed in float64 and rounded once. Uniforms use products that are exact in float64, so they are
identical everywhere; other float32 (or 16-bit) numbers differ between two backends by at most one unit in the last
place, and that in about one draw out of 10**7. In float64 itself, uniforms in [0, 1) are identical, and others agree
to a few units in the last place of their terms.
"""

from __future__ import annotations

import math
from typing import Any

from graphc.dtypes import DType, as_dtype, default_float, float64, uint32, uint64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.core import (
    ArrayLike,
    astype,
    broadcast_shapes,
    common_dtype,
    is_scalar,
    lift,
    show_shape,
)
from graphc.frontends.array.elementwise import (
    add,
    bitwise_and,
    bitwise_right_shift,
    clip,
    cos,
    less,
    log,
    multiply,
    negative,
    sqrt,
    subtract,
    where,
)
from graphc.frontends.array.movement import as_shape
from graphc.frontends.dispatch import Array, context_of
from graphc.frontends.random.quantile import normal_quantile
from graphc.frontends.random.stream import Stream
from graphc.ir.types import Shape

_PRECISION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def float_dtype(what: str, dtype: Any, *parameters: ArrayLike) -> DType:
    """``dtype``, by default that of the floating arrays among ``parameters``, else float32."""
    if dtype is None:
        wanted = common_dtype(*parameters) if any(not is_scalar(p) for p in parameters) else default_float
        return wanted if wanted.is_floating else default_float
    wanted = as_dtype(dtype)
    if not wanted.is_floating:
        raise DTypeError(f"{what} makes floating numbers, not {wanted.name}", hint="randint() and bernoulli() make others")
    return wanted


def drawn_shape(what: str, shape: Any, *parameters: ArrayLike) -> Shape:
    """``shape``, by default the common one of ``parameters``, which must broadcast to it."""
    shapes = [lift(p, *parameters).shape for p in parameters if not is_scalar(p)]
    if shape is None:
        return broadcast_shapes(context_of(parameters), *shapes, what=what)
    sizes = as_shape(shape)
    if shapes and broadcast_shapes(context_of(parameters), sizes, *shapes, what=what) != sizes:
        raise ShapeError(
            f"{what}: parameters of shapes {', '.join(map(show_shape, shapes))} do not broadcast to {show_shape(sizes)}",
            cause=ShapeError.BROADCAST,
        )
    return sizes


def unit(self: Stream, shape: Shape, dtype: DType, *near: ArrayLike) -> Array:
    """Multiples of 2**-p in [0, 1), p being the precision of ``dtype``."""
    precision = _PRECISION[dtype.name]
    word = uint64 if dtype is float64 else uint32
    kept = bitwise_right_shift(self.bits(shape, word, near=near), word.bits - precision)
    return multiply(astype(kept, dtype), 2.0**-precision)


def _positive_unit(self: Stream, shape: Shape, dtype: DType, *near: ArrayLike) -> Array:
    """float64 numbers in (0, 1]: multiples of 2**-53 for float64, of 2**-32 for results that are rounded anyway."""
    if dtype is float64:
        return add(unit(self, shape, float64, *near), 2.0**-53)
    return _from_word(self.bits(shape, uint32, near=near), 1.0)


def open_unit(self: Stream, shape: Shape, dtype: DType, *near: ArrayLike) -> Array:
    """float64 numbers in (0, 1), both ends left out: odd multiples of 2**-53 for float64, of 2**-33 else."""
    if dtype is float64:
        word = bitwise_right_shift(self.bits(shape, uint64, near=near), 12)
        return multiply(add(astype(word, float64), 0.5), 2.0**-52)
    return _from_word(self.bits(shape, uint32, near=near), 0.5)


def _from_word(word: Array, offset: float) -> Array:
    return multiply(add(astype(word, float64), offset), 2.0**-32)


def uniform(self: Stream, shape: Any = None, low: ArrayLike = 0.0, high: ArrayLike = 1.0, *, dtype: Any = None) -> Array:
    """Uniform numbers in [``low``, ``high``), ``low`` where the interval is empty: identical on every backend.

    They are low + (high - low) u, u a multiple of 2**-24 in [0, 1) (float32; 2**-53 for float64, 2**-11 for float16,
    2**-8 for bfloat16). Differentiable in ``low`` and ``high``. ``shape`` is by default the common one of ``low`` and
    ``high``.

    >>> gc.random.uniform((2, 3), -1, 1)
    """
    wanted = float_dtype("uniform", dtype, low, high)
    number = unit(self, drawn_shape("uniform", shape, low, high), wanted, low, high)
    if is_scalar(low) and is_scalar(high) and (low, high) == (0, 1):
        return number
    first, last = (_parameter(v, wanted, number) for v in (low, high))
    width = astype(subtract(last, first), wanted)
    value = astype(add(first, multiply(width, astype(number, float64))), wanted)
    return where(less(value, astype(last, wanted)), value, astype(first, wanted))  # rounding may reach the excluded end


def _parameter(value: ArrayLike, dtype: DType, number: Array) -> Array:
    """A parameter as a float64 array that holds a number of ``dtype``."""
    context = context_of((value, number))
    array = context.literal(float(value), dtype) if is_scalar(value) else astype(context.lift(value), dtype)
    return astype(array, float64)


def normal(self: Stream, shape: Any = None, mean: ArrayLike = 0.0, std: ArrayLike = 1.0, *, dtype: Any = None) -> Array:
    """Normal numbers with ``mean`` and ``std``, by the Box-Muller transform (Annals of Math. Statistics 29, 1958).

    Differentiable in ``mean`` and ``std``, whose common shape is the default. One uint64 makes a float32, two make a
    float64; the numbers lie within 6.7 (8.6) standard deviations of the mean.

    >>> gc.random.normal((2, 3), std=0.02)
    """
    wanted = float_dtype("normal", dtype, mean, std)
    sizes = drawn_shape("normal", shape, mean, std)
    if wanted is float64:
        radius = _positive_unit(self, sizes, float64, mean, std)
        turn = unit(self, sizes, float64, mean, std)
    else:
        word = self.bits(sizes, uint64, near=(mean, std))
        radius = _from_word(bitwise_right_shift(word, 32), 1.0)
        turn = _from_word(bitwise_and(word, 0xFFFFFFFF), 0.0)
    number = multiply(sqrt(multiply(log(radius), -2.0)), cos(multiply(turn, 2 * math.pi)))
    return _scaled(number, mean, std, wanted)


def _scaled(number: Array, mean: ArrayLike, std: ArrayLike, dtype: DType) -> Array:
    """The float64 ``number`` times ``std`` plus ``mean``, in ``dtype``."""
    if not is_scalar(std) or std != 1:
        number = multiply(number, _parameter(std, dtype, number))
    if not is_scalar(mean) or mean != 0:
        number = add(number, _parameter(mean, dtype, number))
    return astype(number, dtype)


def truncated_normal(
    self: Stream,
    shape: Any = None,
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    dtype: Any = None,
) -> Array:
    """Normal numbers given that they lie between ``low`` and ``high`` standard deviations from the mean, by inversion.

    Raises ArgumentError unless ``low`` < ``high``, or where the interval is too far out for its probability to be a
    float64.

    >>> gc.random.truncated_normal((256, 128), std=0.02)
    """
    first, last = float(low), float(high)
    if not first < last:
        raise ArgumentError(f"truncated_normal: low ({low}) must be less than high ({high})", cause=ArgumentError.RANGE)
    wanted = float_dtype("truncated_normal", dtype, mean, std)
    sizes = drawn_shape("truncated_normal", shape, mean, std)
    mirrored = first > 0  # probabilities near 0 are precise, those near 1 are not
    if mirrored:
        first, last = -last, -first
    below, until = _probability(first), _probability(last)
    if not until > below:
        raise ArgumentError(
            f"truncated_normal: the interval from {low} to {high} has no probability in float64", cause=ArgumentError.RANGE
        )
    number = open_unit(self, sizes, wanted, mean, std)
    inner = clip(add(multiply(number, until - below), below), 2.0**-1070, 1 - 2.0**-53)
    value = clip(normal_quantile(inner), max(first, -1e300), min(last, 1e300))
    return _scaled(negative(value) if mirrored else value, mean, std, wanted)


def _probability(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def exponential(self: Stream, shape: Any = None, scale: ArrayLike = 1.0, *, dtype: Any = None) -> Array:
    """Exponential numbers with mean ``scale``: -scale log(u)."""
    wanted = float_dtype("exponential", dtype, scale)
    number = negative(log(_positive_unit(self, drawn_shape("exponential", shape, scale), wanted, scale)))
    return _scaled(number, 0.0, scale, wanted)


def gumbel(self: Stream, shape: Any = None, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, dtype: Any = None) -> Array:
    """Gumbel numbers, the limit distribution of maxima: loc - scale log(-log(u))."""
    wanted = float_dtype("gumbel", dtype, loc, scale)
    sizes = drawn_shape("gumbel", shape, loc, scale)
    return _scaled(_wide_gumbel(self, sizes, wanted, loc, scale), loc, scale, wanted)


def _wide_gumbel(self: Stream, shape: Shape, dtype: DType, *near: ArrayLike) -> Array:
    return negative(log(negative(log(open_unit(self, shape, dtype, *near)))))


def gumbel_noise(self: Stream, shape: Shape, dtype: DType, *near: ArrayLike) -> Array:
    """Standard Gumbel numbers of ``shape``, in the graph of the arrays ``near``."""
    return astype(_wide_gumbel(self, shape, dtype, *near), dtype)


def rand(self: Stream, *size: Any, dtype: Any = None) -> Array:
    """PyTorch's name: uniform numbers in [0, 1) of a shape given as one tuple or as separate sizes."""
    return uniform(self, size[0] if len(size) == 1 else size, dtype=dtype)


def randn(self: Stream, *size: Any, dtype: Any = None) -> Array:
    """PyTorch's name: standard normal numbers of a shape given as one tuple or as separate sizes."""
    return normal(self, size[0] if len(size) == 1 else size, dtype=dtype)


__all__ = ["exponential", "gumbel", "normal", "rand", "randn", "truncated_normal", "uniform"]
