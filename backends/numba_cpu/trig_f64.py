"""Trigonometric functions of float64 scalars and their inverses, for inlining into vectorized loops.

Straight-line code, as in `scalar_math_f64`. Arguments up to 2**45 are reduced by pi / 2 in three parts (Cody and
Waite); beyond that, by multiplying the mantissa with the 192 bits of 2 / pi that matter for its exponent (Payne and
Hanek, "Radian reduction for trigonometric functions", 1983). Both reductions are computed and one is selected, so a
loop stays vectorized and every finite argument is reduced to full accuracy.
"""

from typing import Any, Final

import numpy as np

from .intrinsics import bitcast_f64_i64, bitcast_f64_u64, bitcast_u64_f64, copysign, fabs, fma, mul_rounded, rint, sqrt
from .twins import scalar_function

_ROUNDER: Final = 6755399441055744.0
_TWO_OVER_PI: Final = 0.6366197723675814
_HALF_PI: Final = 1.5707963267948966
_HALF_PI_LOW: Final = 6.123233995736766e-17
_HALF_PI_LOWEST: Final = -1.4973849048591698e-33
_QUARTER_PI: Final = 0.7853981633974483
_QUARTER_PI_LOW: Final = 3.061616997868383e-17
_PI: Final = 3.141592653589793
_PI_LOW: Final = 1.2246467991473532e-16
_TAN_EIGHTH_PI: Final = 0.41421356237309503
_TAN_THREE_EIGHTHS_PI: Final = 2.414213562373095

_TWO_OVER_PI_BITS: Final = np.array(
    [
        0x0000000000000000,
        0xA2F9836E4E441529,
        0xFC2757D1F534DDC0,
        0xDB6295993C439041,
        0xFE5163ABDEBBC561,
        0xB7246E3A424DD2E0,
        0x06492EEA09D1921C,
        0xFE1DEB1CB129A73E,
        0xE88235F52EBB4484,
        0xE99C7026B45F7E41,
        0x3991D639835339F4,
        0x9C845F8BBDF9283B,
        0x1FF897FFDE05980F,
        0xEF2F118B5A0A6D1F,
        0x6D367ECF27CB09B7,
        0x4F463F669E5FEA2D,
        0x7527BAC7EBE5F17B,
        0x3D0739F78A5292EA,
        0x6BFB5FB11F8D5D08,
        0x56033046FC7B6BAB,
        0xF0CFBC209AF4361D,
        0xA9E391615EE61B08,
    ],
    dtype=np.uint64,
)
"""64 zero bits, then the binary digits of 2 / pi after the point."""

_LOW_32: Final = np.uint64(0xFFFFFFFF)
_LOW_48: Final = np.uint64(0xFFFFFFFFFFFF)
_SIGN_AND_MANTISSA: Final = np.uint64(0x800FFFFFFFFFFFFF)
_EXPONENT_OF_2_52: Final = np.uint64(0x4330000000000000)
_TWO_52: Final = 4503599627370496.0
_ONE: Final = np.uint64(1)
_16: Final = np.uint64(16)
_32: Final = np.uint64(32)
_48: Final = np.uint64(48)
_63: Final = np.uint64(63)


@scalar_function
def _integer_to_f64(bits: Any) -> Any:
    """An unsigned integer below 2**52 as a float."""
    return bitcast_u64_f64(bits | _EXPONENT_OF_2_52) - _TWO_52


@scalar_function
def _reduce_huge_f64(x: Any) -> Any:
    """(n, high, low) with x = (4 m + n) * pi / 2 + high + low for some integer m, for |x| >= 2**45."""
    bits = bitcast_f64_u64(x)
    mantissa = bitcast_u64_f64((bits & _SIGN_AND_MANTISSA) | _EXPONENT_OF_2_52)
    exponent = ((bitcast_f64_i64(x) >> 52) & 0x7FF) - 1075
    start = 62 + (exponent if exponent > -8 else -8)
    index = start >> 6
    shift = np.uint64(start & 63)
    back = _63 - shift
    word1 = _TWO_OVER_PI_BITS[index + 1]
    word2 = _TWO_OVER_PI_BITS[index + 2]
    a = (_TWO_OVER_PI_BITS[index] << shift) | ((word1 >> _ONE) >> back)
    b = (word1 << shift) | ((word2 >> _ONE) >> back)
    c = (word2 << shift) | ((_TWO_OVER_PI_BITS[index + 3] >> _ONE) >> back)
    # The window as four 48-bit digits of 2 / pi * 2**exponent modulo 4.
    digit0 = _integer_to_f64(a >> _16) * 1.4210854715202004e-14
    digit1 = _integer_to_f64(((a << _32) & _LOW_48) | (b >> _32)) * 5.048709793414476e-29
    digit2 = _integer_to_f64(((b & _LOW_32) << _16) | (c >> _48)) * 1.793662034335766e-43
    digit3 = _integer_to_f64(c & _LOW_48) * 6.372367644529809e-58
    product0 = mul_rounded(mantissa, digit0)
    error0 = fma(mantissa, digit0, -product0)
    product1 = mul_rounded(mantissa, digit1)
    error1 = fma(mantissa, digit1, -product1)
    product2 = mul_rounded(mantissa, digit2)
    error2 = fma(mantissa, digit2, -product2)
    quotient = (product0 - 4.0 * rint(0.25 * product0)) + error0
    n = rint(quotient + product1)
    rest = quotient - n
    s = rest + product1
    part = s - rest
    t = (rest - (s - part)) + (product1 - part)
    u = product2 + error1
    part = u - product2
    v = (product2 - (u - part)) + (error1 - part)
    h = s + u
    part = h - s
    low = ((s - (h - part)) + (u - part)) + (t + (v + (error2 + mantissa * digit3)))
    high = h + low
    low = (h - high) + low
    turned = mul_rounded(high, _HALF_PI)
    return n, turned, fma(high, _HALF_PI, -turned) + (high * _HALF_PI_LOW + low * _HALF_PI)


@scalar_function
def _reduce_f64(x: Any) -> Any:
    """(quadrant, high, low): x = quadrant * pi / 2 + high + low modulo 2 pi, |high| <= pi / 4. NaN for infinite x."""
    n = rint(x * _TWO_OVER_PI)
    first = fma(-n, _HALF_PI, x)
    second = mul_rounded(n, _HALF_PI_LOW)
    high = first - second
    part = high - first
    low = (first - (high - part)) - (second + part)
    low = low - (fma(n, _HALF_PI_LOW, -second) + n * _HALF_PI_LOWEST)
    huge_n, huge_high, huge_low = _reduce_huge_f64(x)
    huge = fabs(x) >= 35184372088832.0
    n = huge_n if huge else n
    high = huge_high if huge else high
    low = huge_low if huge else low
    return bitcast_f64_i64(n + _ROUNDER), high + (x - x), low


@scalar_function
def sin_reduced_f64(r: Any, low: Any) -> Any:
    """sin(r + low); the polynomial is (sin(r) / r - 1) / r**2 in r**2."""
    z = r * r
    p = -7.586389554705215e-13
    p = p * z + 1.6058526388142101e-10
    p = p * z - 2.505210619936182e-08
    p = p * z + 2.7557319219243677e-06
    p = p * z - 0.0001984126984126494
    p = p * z + 0.008333333333333331
    p = p * z - 0.16666666666666666
    return r + (r * z * p + low * (1.0 - 0.5 * z))


@scalar_function
def cos_reduced_f64(r: Any, low: Any) -> Any:
    """cos(r + low); the polynomial is (cos(r) - 1 + r**2 / 2) / r**4 in r**2."""
    z = r * r
    p = 4.745700902269626e-14
    p = p * z - 1.1470457979362018e-11
    p = p * z + 2.087675577268547e-09
    p = p * z - 2.755731922134973e-07
    p = p * z + 2.4801587301584578e-05
    p = p * z - 0.0013888888888888887
    p = p * z + 0.041666666666666664
    half = mul_rounded(0.5 * r, r)
    whole = 1.0 - half
    return whole + (((1.0 - whole) - half) + (z * z * p - r * low))


@scalar_function
def sin_f64(x: Any) -> Any:
    """The sine of x in radians; NaN at infinity."""
    quadrant, r, low = _reduce_f64(x)
    y = cos_reduced_f64(r, low) if quadrant & 1 else sin_reduced_f64(r, low)
    y = -y if quadrant & 2 else y
    return x if fabs(x) < 1e-9 else y


@scalar_function
def cos_f64(x: Any) -> Any:
    """The cosine of x in radians; NaN at infinity."""
    quadrant, r, low = _reduce_f64(x)
    y = sin_reduced_f64(r, low) if quadrant & 1 else cos_reduced_f64(r, low)
    return -y if (quadrant + 1) & 2 else y


@scalar_function
def tan_f64(x: Any) -> Any:
    """The tangent of x in radians; NaN at infinity."""
    quadrant, r, low = _reduce_f64(x)
    sine = sin_reduced_f64(r, low)
    cosine = cos_reduced_f64(r, low)
    odd = quadrant & 1
    y = (-cosine if odd else sine) / (sine if odd else cosine)
    return x if fabs(x) < 1e-9 else y


@scalar_function
def _arcsine_polynomial_f64(z: Any) -> Any:
    """asin(s) / s - 1 for z = s**2 in [0, 1/4]."""
    p = 0.02961201126495512
    p = p * z - 0.01924167174674304
    p = p * z + 0.019554513336123378
    p = p * z + 0.0030448799094556773
    p = p * z + 0.009319560794767446
    p = p * z + 0.009621842970100282
    p = p * z + 0.011566459612121669
    p = p * z + 0.01396378001220357
    p = p * z + 0.017352816540325496
    p = p * z + 0.02237215744350722
    p = p * z + 0.03038194447553234
    p = p * z + 0.044642857142551895
    p = p * z + 0.07500000000000118
    return z * (p * z + 0.16666666666666666)


@scalar_function
def asin_f64(x: Any) -> Any:
    """The inverse of sin, in [-pi/2, pi/2]; NaN outside [-1, 1].

    For a > 1/2, asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2)).
    """
    a = fabs(x)
    folded = a > 0.5
    z = 0.5 * (1.0 - a) if folded else a * a
    s = sqrt(z)
    s_low = 0.5 * fma(-s, s, z) / (s if s > 0.0 else 1.0)
    p = _arcsine_polynomial_f64(z)
    near = a + a * p
    far = _HALF_PI - 2.0 * (s + ((s * p + s_low) - 0.5 * _HALF_PI_LOW))
    return copysign(far if folded else near, x)


@scalar_function
def acos_f64(x: Any) -> Any:
    """The inverse of cos, in [0, pi]; NaN outside [-1, 1]."""
    a = fabs(x)
    folded = a > 0.5
    z = 0.5 * (1.0 - a) if folded else a * a
    s = sqrt(z)
    s_low = 0.5 * fma(-s, s, z) / (s if s > 0.0 else 1.0)
    p = _arcsine_polynomial_f64(z)
    near = _HALF_PI - (x - (_HALF_PI_LOW - x * p))
    root = 2.0 * (s + (s * p + s_low))
    far = _PI - 2.0 * (s + ((s * p + s_low) - 0.5 * _PI_LOW))
    return (root if x > 0.0 else far) if folded else near


@scalar_function
def atan2_f64(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), in [-pi, pi], with C's values at zeros and infinities.

    The ratio is folded into [-tan(pi/8), tan(pi/8)] around 0, pi/4 or pi/2 with a single division; the polynomial is
    (atan(t) / t - 1) / t**2 in t**2.
    """
    a = fabs(y)
    b = fabs(x)
    both_infinite = (a == np.inf) & (b == np.inf)
    a = 1.0 if both_infinite else a
    b = 1.0 if both_infinite else b
    shrink = 0.25 if (a > 1e300) | (b > 1e300) else 1.0
    a = a * shrink
    b = b * shrink
    low_third = a <= _TAN_EIGHTH_PI * b
    mid_third = a <= _TAN_THREE_EIGHTHS_PI * b
    top = a if low_third else (a - b if mid_third else -b)
    bottom = b if low_third else (a + b if mid_third else a)
    t = top / (1.0 if bottom == 0.0 else bottom)
    base = 0.0 if low_third else (_QUARTER_PI if mid_third else _HALF_PI)
    base_low = 0.0 if low_third else (_QUARTER_PI_LOW if mid_third else _HALF_PI_LOW)
    z = t * t
    p = 0.01628357235648259
    p = p * z - 0.0345685906686069
    p = p * z + 0.045515165635903104
    p = p * z - 0.052304374642516874
    p = p * z + 0.05878926715756726
    p = p * z - 0.066664246872465
    p = p * z + 0.07692296363979952
    p = p * z - 0.09090908753118594
    p = p * z + 0.11111111105147764
    p = p * z - 0.14285714285659748
    p = p * z + 0.19999999999999804
    p = p * z - 0.3333333333333333
    rest = t * z * p + base_low
    left = copysign(1.0, x) < 0.0
    # On the left, pi minus the angle; the two large constants are combined first, exactly.
    angle = ((_PI - base) - t) - (rest - _PI_LOW) if left else base + (t + rest)
    angle = angle + (x + y) * 0.0 if (x != x) | (y != y) else angle
    return copysign(angle, y)


@scalar_function
def atan_f64(x: Any) -> Any:
    """The inverse of tan, in [-pi/2, pi/2]."""
    return atan2_f64(x, 1.0)
