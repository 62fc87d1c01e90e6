"""Exponentials, logarithms, powers and hyperbolic functions of float64 scalars, for inlining into vectorized loops.

Every function is straight-line code: argument reduction, a polynomial, and selects for the special values, so LLVM
turns a loop over it into vector instructions. Polynomials interpolate the function, divided by the factor named
beside them, at Chebyshev nodes; they were computed in 150-digit arithmetic and rounded to double. `docs/accuracy.md`
has the measured error bounds and says how to derive the coefficients again.

Rounding to an integer is done by adding 1.5 * 2**52: the sum's low mantissa bits are the integer in two's complement,
so no conversion instruction is needed and NaN stays well defined.
"""

import math
from typing import Any, Final

import numpy as np

from .intrinsics import bitcast_f64_i64, bitcast_i64_f64, copysign, fabs, fma, mul_rounded, sqrt
from .libm import libm_pow
from .twins import scalar_function

_INF: Final = np.float64(np.inf)
_NAN: Final = np.float64(np.nan)
_ROUNDER: Final = 6755399441055744.0
_ROUNDER_BITS: Final = 0x4338000000000000
_LOG2_E: Final = 1.4426950408889634
_LOG2_E_LOW: Final = 2.0355273740931033e-17
_LOG10_E: Final = 0.4342944819032518
_LOG10_E_LOW: Final = 1.098319650216765e-17
_LN2: Final = math.log(2.0)
# ln 2 and log10 2 as a sum of two doubles: the high parts have 41 bits,
# so that their product with any exponent is exact.
_LN2_HIGH: Final = 0.6931471805601177
_LN2_LOW: Final = -1.7239444525614835e-13
_LOG10_2_HIGH: Final = 0.3010299956640665
_LOG10_2_LOW: Final = -8.532344317057107e-14
_SQRT_HALF_BITS: Final = 0x3FE6A09E667F3BCD


@scalar_function
def _exp_reduced_f64(r: Any) -> Any:
    """(exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2."""
    p = 2.0914755325893198e-09
    p = p * r + 2.5105312729622103e-08
    p = p * r + 2.755727347871858e-07
    p = p * r + 2.755725517000089e-06
    p = p * r + 2.480158732567746e-05
    p = p * r + 0.0001984126987500228
    p = p * r + 0.0013888888888883711
    p = p * r + 0.008333333333326084
    p = p * r + 0.04166666666666667
    p = p * r + 0.1666666666666667
    return p * r + 0.5


@scalar_function
def _scale_f64(x: Any, n: Any) -> Any:
    """x * 2**n in two exact steps and one rounding, for |n| < 2000."""
    half = n >> 1
    first = bitcast_i64_f64((half + 1023) << 52)
    second = bitcast_i64_f64((n - half + 1023) << 52)
    return x * first * second


@scalar_function
def exp_f64(x: Any) -> Any:
    """e**x."""
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    high = x - n * _LN2_HIGH
    low = mul_rounded(n, _LN2_LOW)
    r = high - low
    y = ((r * r * _exp_reduced_f64(r) + ((high - r) - low)) + r) + 1.0
    return _scale_f64(y, bitcast_f64_i64(shifted) - _ROUNDER_BITS)


@scalar_function
def exp2_f64(x: Any) -> Any:
    """2**x. The polynomial is (2**r - 1) / r on [-1/2, 1/2]."""
    x = 1025.0 if x > 1025.0 else x
    x = -1077.0 if x < -1077.0 else x
    shifted = x + _ROUNDER
    r = x - (shifted - _ROUNDER)
    p = 1.3716962392740687e-12
    p = p * r + 2.5733568308756892e-11
    p = p * r + 4.445530309105104e-10
    p = p * r + 7.054894386348348e-09
    p = p * r + 1.0178086021185474e-07
    p = p * r + 1.3215486815999978e-06
    p = p * r + 1.5252733804051129e-05
    p = p * r + 0.00015403530393362755
    p = p * r + 0.0013333558146428445
    p = p * r + 0.009618129107628484
    p = p * r + 0.05550410866482158
    p = p * r + 0.24022650695910072
    p = p * r + 0.6931471805599453
    return _scale_f64(r * p + 1.0, bitcast_f64_i64(shifted) - _ROUNDER_BITS)


@scalar_function
def _half_expm1_f64(x: Any) -> Any:
    """(e**x - 1) / 2 as an unevaluated sum of two doubles, finite wherever sinh is."""
    x = 711.0 if x > 711.0 else x
    x = -40.0 if x < -40.0 else x
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    high = x - n * _LN2_HIGH
    low = mul_rounded(n, _LN2_LOW)
    r = high - low
    p = r * r * _exp_reduced_f64(r) + ((high - r) - low)
    # scale is 2**(n-1), at most 2**1023; the clamp above lets n reach 1026, where the last factor is applied apart.
    exponent = bitcast_f64_i64(shifted) - _ROUNDER_BITS - 1
    over = exponent > 1020
    scale = bitcast_i64_f64((exponent - (3 if over else 0) + 1023) << 52)
    base = scale - 0.5
    whole = r * scale + base
    rest = p * scale + ((base - whole) + r * scale)
    y = whole + rest
    return (y * 8.0 if over else y), (whole - y) + rest


@scalar_function
def expm1_f64(x: Any) -> Any:
    """e**x - 1, accurate near 0."""
    half, _ = _half_expm1_f64(x)
    return x if fabs(x) < 1e-17 else 2.0 * half


@scalar_function
def _log_exponent_f64(x: Any) -> Any:
    """k such that x / 2**k lies in [sqrt(1/2), sqrt(2)), for positive normal x."""
    return (bitcast_f64_i64(x) - _SQRT_HALF_BITS) >> 52


@scalar_function
def _int_to_f64(k: Any) -> Any:
    """An int64 of at most 51 bits as a float, without the conversion instruction that only AVX-512 has."""
    return bitcast_i64_f64(k + _ROUNDER_BITS) - _ROUNDER


@scalar_function
def _log_reduced_f64(f: Any) -> Any:
    """log(1 + f) - f + f**2 / 2 for 1 + f in [sqrt(1/2), sqrt(2)).

    With s = f / (2 + f), log(1 + f) = 2 atanh(s); the polynomial is (2 atanh(s) / s - 2) / s**2 in s**2.
    """
    s = f / (2.0 + f)
    z = s * s
    p = 0.1308771474739754
    p = p * z + 0.13268669005111386
    p = p * z + 0.15386243592665208
    p = p * z + 0.18181795568589937
    p = p * z + 0.222222223923837
    p = p * z + 0.28571428570800655
    p = p * z + 0.4000000000000088
    p = p * z + 0.6666666666666666
    return s * (0.5 * f * f + z * p)


@scalar_function
def _log_special_f64(x: Any, y: Any) -> Any:
    """y, a logarithm of x, with the values that belong to zero, infinity, negative numbers and NaN put in."""
    y = y if x < _INF else x
    y = y if x > 0.0 else (-_INF if x == 0.0 else _NAN)
    return y


@scalar_function
def log_f64(x: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    tiny = x < 2.2250738585072014e-308
    scaled = x * 18014398509481984.0 if tiny else x
    k = _log_exponent_f64(scaled)
    f = bitcast_i64_f64(bitcast_f64_i64(scaled) - (k << 52)) - 1.0
    n = _int_to_f64(k) - (54.0 if tiny else 0.0)
    y = n * _LN2_HIGH + ((_log_reduced_f64(f) + n * _LN2_LOW) - 0.5 * f * f + f)
    return _log_special_f64(x, y)


@scalar_function
def _log_scaled_f64(x: Any, unit: Any, unit_low: Any, two: Any, two_low: Any) -> Any:
    """A logarithm to another base: log(x) * (unit + unit_low), where two + two_low is that base's logarithm of 2.

    The reduced logarithm is carried as an unevaluated sum of two doubles, so the change of base costs no accuracy.
    """
    tiny = x < 2.2250738585072014e-308
    scaled = x * 18014398509481984.0 if tiny else x
    k = _log_exponent_f64(scaled)
    f = bitcast_i64_f64(bitcast_f64_i64(scaled) - (k << 52)) - 1.0
    n = _int_to_f64(k) - (54.0 if tiny else 0.0)
    half_square = mul_rounded(0.5 * f, f)
    high = f - half_square
    low = ((f - high) - half_square) + (_log_reduced_f64(f) - fma(0.5 * f, f, -half_square))
    product = mul_rounded(high, unit)
    product_low = fma(high, unit, -product) + (high * unit_low + low * unit)
    whole = mul_rounded(n, two)
    total = whole + product
    return _log_special_f64(x, total + (((whole - total) + product) + (product_low + n * two_low)))


@scalar_function
def log2_f64(x: Any) -> Any:
    """The logarithm to base 2; exact at powers of 2."""
    return _log_scaled_f64(x, _LOG2_E, _LOG2_E_LOW, 1.0, 0.0)


@scalar_function
def log10_f64(x: Any) -> Any:
    """The logarithm to base 10."""
    return _log_scaled_f64(x, _LOG10_E, _LOG10_E_LOW, _LOG10_2_HIGH, _LOG10_2_LOW)


@scalar_function
def log1p_f64(x: Any) -> Any:
    """log(1 + x), accurate near 0; -inf at -1, NaN below.

    What 1 + x rounds off is added back to the reduced argument.
    """
    u = 1.0 + x
    above = u - 1.0
    lost = (x - above) + (1.0 - (u - above))
    k = _log_exponent_f64(u)
    m = bitcast_i64_f64(bitcast_f64_i64(u) - (k << 52))
    down = bitcast_i64_f64((1023 - (k if k < 1000 else 1000)) << 52)
    f = (m - 1.0) + (lost * down if x < 1e17 else 0.0)
    n = _int_to_f64(k)
    y = n * _LN2_HIGH + ((_log_reduced_f64(f) + n * _LN2_LOW) - 0.5 * f * f + f)
    y = _log_special_f64(u, y)
    return x if fabs(x) < 1e-17 else y


@scalar_function
def pow_f64(x: Any, y: Any) -> Any:
    """x**y with C's rules: pow(x, 0) and pow(1, y) are 1 even for NaN; a negative x needs an integral y. Calls libm."""
    return libm_pow(x, y)


@scalar_function
def rsqrt_f64(x: Any) -> Any:
    """1 / sqrt(x); infinite with the sign of a zero x, NaN below."""
    return 1.0 / sqrt(x)


@scalar_function
def logistic_f64(x: Any) -> Any:
    """1 / (1 + exp(-x)), accurate in both tails."""
    e = exp_f64(-fabs(x))
    whole = 1.0 + e
    lost = (1.0 - whole) + e
    top = e if x < 0.0 else 1.0
    y = top / whole
    # One correction step for what the sum and the quotient rounded off, with 1 / whole known from y itself.
    return y + (fma(-y, whole, top) - y * lost) * (1.0 - y if x < 0.0 else y)


@scalar_function
def sinh_f64(x: Any) -> Any:
    """(e**x - e**-x) / 2."""
    a = fabs(x)
    h, low = _half_expm1_f64(a)
    whole = h + 0.5
    lost = (h - whole) + 0.5 if h > 0.5 else (0.5 - whole) + h
    ratio = h / whole
    slope = 1.0 - ratio
    rest = (fma(-ratio, whole, h) - ratio * lost) * slope + low * (slope * slope + 1.0)
    y = h + (0.5 * ratio + rest)
    y = h if h > 1e20 else y
    return x if a < 1e-9 else copysign(y, x)


@scalar_function
def cosh_f64(x: Any) -> Any:
    """(e**x + e**-x) / 2."""
    h, low = _half_expm1_f64(fabs(x))
    whole = h + 0.5
    low = (low + ((h - whole) + 0.5 if h > 0.5 else (0.5 - whole) + h)) if h < 1e20 else 0.0
    return whole + (0.25 / whole + low)


@scalar_function
def tanh_f64(x: Any) -> Any:
    """The hyperbolic tangent, (e**2x - 1) / (e**2x + 1)."""
    a = fabs(x)
    h, low = _half_expm1_f64(2.0 * (20.0 if a > 20.0 else a))
    whole = h + 1.0
    lost = (h - whole) + 1.0 if h > 1.0 else (1.0 - whole) + h
    y = h / whole
    slope = 1.0 - y
    y = y + ((fma(-y, whole, h) - y * lost) * slope + low * (slope * slope) if h < 1e6 else 0.0)
    return x if a < 1e-9 else copysign(y, x)


@scalar_function
def asinh_f64(x: Any) -> Any:
    """The inverse of sinh."""
    a = fabs(x)
    big = a > 1e150
    square = a * a
    y = log1p_f64(a if big else a + square / (1.0 + sqrt(1.0 + square)))
    y = y + _LN2 if big else y
    return x if a < 1e-9 else copysign(y, x)


@scalar_function
def acosh_f64(x: Any) -> Any:
    """The inverse of cosh on x >= 1; NaN below."""
    t = x - 1.0
    big = x > 1e150
    y = log1p_f64(x if big else t + sqrt(t * (t + 2.0)))
    y = y + _LN2 if big else y
    return _NAN if x < 1.0 else y


@scalar_function
def atanh_f64(x: Any) -> Any:
    """The inverse of tanh on [-1, 1], infinite at the ends; NaN outside."""
    a = fabs(x)
    twice = a + a
    y = 0.5 * log1p_f64(twice + twice * a / (1.0 - a))
    y = _NAN if a > 1.0 else y
    return x if a < 1e-9 else copysign(y, x)
