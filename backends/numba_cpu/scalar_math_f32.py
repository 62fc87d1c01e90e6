"""Exponentials, logarithms, powers and hyperbolic functions of float32 scalars, for inlining into vectorized loops.

Built like `scalar_math_f64`. The common ones work in float32 throughout, sixteen lanes at a time; the others (pow,
sinh, cosh and the inverse hyperbolic functions) are computed in float64 and rounded once, which makes them nearly
exact.
"""

from typing import Any, Final

import numpy as np

from .intrinsics import bitcast_f32_i32, bitcast_i32_f32, copysign, fabs, fma, mul_rounded, sqrt, trunc
from .scalar_math_f64 import acosh_f64, asinh_f64, atanh_f64, cosh_f64, exp2_f64, log2_f64, sinh_f64
from .twins import scalar_function

f32 = np.float32

_INF: Final = np.float32(np.inf)
_NAN: Final = np.float32(np.nan)
_ROUNDER: Final = np.float32(12582912.0)
_ROUNDER_BITS: Final = 0x4B400000
_LOG2_E: Final = np.float32(1.442695)
_LOG2_E_LOW: Final = np.float32(1.925963e-08)
_LOG10_E: Final = np.float32(0.4342945)
_LOG10_E_LOW: Final = np.float32(-1.010305e-08)
_LN2_HIGH: Final = np.float32(0.693359375)
_LN2_LOW: Final = np.float32(-0.00021219444)
_LOG10_2_HIGH: Final = np.float32(0.30078125)
_LOG10_2_LOW: Final = np.float32(0.00024874567)
_SQRT_HALF_BITS: Final = 0x3F3504F3


@scalar_function
def _exp_reduced_f32(r: Any) -> Any:
    """(exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2."""
    p = f32(0.00139262504)
    p = p * r + f32(0.00836323295)
    p = p * r + f32(0.0416665524)
    p = p * r + f32(0.166665763)
    return p * r + f32(0.5)


@scalar_function
def _scale_f32(x: Any, n: Any) -> Any:
    """x * 2**n in two exact steps and one rounding, for |n| < 250."""
    half = n >> 1
    return x * bitcast_i32_f32((half + 127) << 23) * bitcast_i32_f32((n - half + 127) << 23)


@scalar_function
def exp_f32(x: Any) -> Any:
    """e**x."""
    x = f32(89.0) if x > f32(89.0) else x
    x = f32(-104.0) if x < f32(-104.0) else x
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    high = x - n * _LN2_HIGH
    low = mul_rounded(n, _LN2_LOW)
    r = high - low
    y = ((r * r * _exp_reduced_f32(r) + ((high - r) - low)) + r) + f32(1.0)
    return _scale_f32(y, bitcast_f32_i32(shifted) - _ROUNDER_BITS)


@scalar_function
def exp2_f32(x: Any) -> Any:
    """2**x. The polynomial is (2**r - 1) / r on [-1/2, 1/2]."""
    x = f32(129.0) if x > f32(129.0) else x
    x = f32(-151.0) if x < f32(-151.0) else x
    shifted = x + _ROUNDER
    r = x - (shifted - _ROUNDER)
    p = f32(1.52973244e-05)
    p = p * r + f32(0.000154614449)
    p = p * r + f32(0.0013333502)
    p = p * r + f32(0.00961805694)
    p = p * r + f32(0.0555041097)
    p = p * r + f32(0.240226507)
    p = p * r + f32(0.693147182)
    return _scale_f32(r * p + f32(1.0), bitcast_f32_i32(shifted) - _ROUNDER_BITS)


@scalar_function
def expm1_f32(x: Any) -> Any:
    """e**x - 1, accurate near 0."""
    original = x
    x = f32(89.0) if x > f32(89.0) else x
    x = f32(-20.0) if x < f32(-20.0) else x
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    high = x - n * _LN2_HIGH
    low = mul_rounded(n, _LN2_LOW)
    r = high - low
    p = r * r * _exp_reduced_f32(r) + ((high - r) - low)
    scale = bitcast_i32_f32((bitcast_f32_i32(shifted) - _ROUNDER_BITS + 126) << 23)
    base = scale - f32(0.5)
    y = r * scale + base
    y = y + (p * scale + ((base - y) + r * scale))
    return original if fabs(original) < f32(1e-8) else y * f32(2.0)


@scalar_function
def _log_exponent_f32(x: Any) -> Any:
    """k such that x / 2**k lies in [sqrt(1/2), sqrt(2)), for positive normal x."""
    return (bitcast_f32_i32(x) - _SQRT_HALF_BITS) >> 23


@scalar_function
def _int_to_f32(k: Any) -> Any:
    """A small integer as a float."""
    return bitcast_i32_f32(k + _ROUNDER_BITS) - _ROUNDER


@scalar_function
def _log_reduced_f32(f: Any) -> Any:
    """log(1 + f) - f + f**2 / 2 for 1 + f in [sqrt(1/2), sqrt(2)); the polynomial is that divided by f**3."""
    p = f32(0.0697161183)
    p = p * f + f32(-0.114797339)
    p = p * f + f32(0.116854198)
    p = p * f + f32(-0.124256872)
    p = p * f + f32(0.142490581)
    p = p * f + f32(-0.166678026)
    p = p * f + f32(0.200007156)
    p = p * f + f32(-0.24999997)
    p = p * f + f32(0.333333313)
    return f * f * (f * p)


@scalar_function
def _log_special_f32(x: Any, y: Any) -> Any:
    """y, a logarithm of x, with the values that belong to zero, infinity, negative numbers and NaN put in."""
    y = y if x < _INF else x
    return y if x > f32(0.0) else (-_INF if x == f32(0.0) else _NAN)


@scalar_function
def log_f32(x: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    tiny = x < f32(1.1754944e-38)
    scaled = x * f32(16777216.0) if tiny else x
    k = _log_exponent_f32(scaled)
    f = bitcast_i32_f32(bitcast_f32_i32(scaled) - (k << 23)) - f32(1.0)
    n = _int_to_f32(k) - (f32(24.0) if tiny else f32(0.0))
    y = n * _LN2_HIGH + ((_log_reduced_f32(f) + n * _LN2_LOW) - f32(0.5) * f * f + f)
    return _log_special_f32(x, y)


@scalar_function
def _log_scaled_f32(x: Any, unit: Any, unit_low: Any, two: Any, two_low: Any) -> Any:
    """A logarithm to another base: log(x) * (unit + unit_low), where two + two_low is that base's logarithm of 2.

    The reduced logarithm is carried as an unevaluated sum of two floats, so the change of base costs no accuracy.
    """
    tiny = x < f32(1.1754944e-38)
    scaled = x * f32(16777216.0) if tiny else x
    k = _log_exponent_f32(scaled)
    f = bitcast_i32_f32(bitcast_f32_i32(scaled) - (k << 23)) - f32(1.0)
    n = _int_to_f32(k) - (f32(24.0) if tiny else f32(0.0))
    half_square = mul_rounded(f32(0.5) * f, f)
    high = f - half_square
    low = ((f - high) - half_square) + (_log_reduced_f32(f) - fma(f32(0.5) * f, f, -half_square))
    product = mul_rounded(high, unit)
    product_low = fma(high, unit, -product) + (high * unit_low + low * unit)
    whole = mul_rounded(n, two)
    total = whole + product
    return _log_special_f32(x, total + (((whole - total) + product) + (product_low + n * two_low)))


@scalar_function
def log2_f32(x: Any) -> Any:
    """The logarithm to base 2; exact at powers of 2."""
    return _log_scaled_f32(x, _LOG2_E, _LOG2_E_LOW, f32(1.0), f32(0.0))


@scalar_function
def log10_f32(x: Any) -> Any:
    """The logarithm to base 10."""
    return _log_scaled_f32(x, _LOG10_E, _LOG10_E_LOW, _LOG10_2_HIGH, _LOG10_2_LOW)


@scalar_function
def log1p_f32(x: Any) -> Any:
    """log(1 + x), accurate near 0; -inf at -1, NaN below.

    What 1 + x rounds off is added back to the reduced argument.
    """
    u = f32(1.0) + x
    above = u - f32(1.0)
    lost = (x - above) + (f32(1.0) - (u - above))
    k = _log_exponent_f32(u)
    m = bitcast_i32_f32(bitcast_f32_i32(u) - (k << 23))
    down = bitcast_i32_f32((127 - (k if k < 120 else 120)) << 23)
    f = (m - f32(1.0)) + (lost * down if x < f32(1e9) else f32(0.0))
    n = _int_to_f32(k)
    y = n * _LN2_HIGH + ((_log_reduced_f32(f) + n * _LN2_LOW) - f32(0.5) * f * f + f)
    y = _log_special_f32(u, y)
    return x if fabs(x) < f32(1e-8) else y


@scalar_function
def pow_f32(x: Any, y: Any) -> Any:
    """x**y with C's rules: pow(x, 0) and pow(1, y) are 1 even for NaN; a negative x needs an integral y."""
    base = np.float64(x)
    exponent = np.float64(y)
    size = exp2_f64(exponent * log2_f64(fabs(base)))
    integral = trunc(exponent) == exponent
    odd = integral & (trunc(exponent * 0.5) * 2.0 != exponent)
    negative = copysign(1.0, base) < 0.0
    size = -size if negative & odd else size
    size = np.nan if (base < 0.0) & (not integral) & (base > -np.inf) else size
    one = (exponent == 0.0) | (base == 1.0) | ((base == -1.0) & (fabs(exponent) == np.inf))
    return f32(1.0 if one else size)


@scalar_function
def rsqrt_f32(x: Any) -> Any:
    """1 / sqrt(x); infinite with the sign of a zero x, NaN below."""
    return f32(1.0) / sqrt(x)


@scalar_function
def logistic_f32(x: Any) -> Any:
    """1 / (1 + exp(-x)), accurate in both tails."""
    e = exp_f32(-fabs(x))
    return (e if x < f32(0.0) else f32(1.0)) / (f32(1.0) + e)


@scalar_function
def tanh_f32(x: Any) -> Any:
    """The hyperbolic tangent: 1 - 2 / (e**2x + 1), and near 0 a polynomial, (tanh(x) / x - 1) / x**2 in x**2."""
    a = fabs(x)
    z = a * a
    p = f32(0.0022695018)
    p = p * z + f32(-0.00832318701)
    p = p * z + f32(0.0217625033)
    p = p * z + f32(-0.0539584607)
    p = p * z + f32(0.133332998)
    p = p * z + f32(-0.333333343)
    near = a + a * (z * p)
    far = f32(1.0) - f32(2.0) / (exp_f32(a + a) + f32(1.0))
    return copysign(near if a < f32(0.625) else far, x)


@scalar_function
def sinh_f32(x: Any) -> Any:
    """(e**x - e**-x) / 2."""
    return f32(sinh_f64(np.float64(x)))


@scalar_function
def cosh_f32(x: Any) -> Any:
    """(e**x + e**-x) / 2."""
    return f32(cosh_f64(np.float64(x)))


@scalar_function
def asinh_f32(x: Any) -> Any:
    """The inverse of sinh."""
    return f32(asinh_f64(np.float64(x)))


@scalar_function
def acosh_f32(x: Any) -> Any:
    """The inverse of cosh on x >= 1; NaN below."""
    return f32(acosh_f64(np.float64(x)))


@scalar_function
def atanh_f32(x: Any) -> Any:
    """The inverse of tanh on [-1, 1], infinite at the ends; NaN outside."""
    return f32(atanh_f64(np.float64(x)))
