"""Trigonometric functions of float32 scalars and their inverses, for inlining into vectorized loops.

The argument is reduced and the polynomial evaluated in float64, so results are nearly exact. Arguments up to 2**45
are reduced by pi / 2 in two parts; beyond that, in fixed point, by multiplying the 24-bit mantissa with the 96 bits
of 2 / pi that matter for its exponent. Both are computed and one is selected, so a loop stays vectorized.
"""

from typing import Any, Final

import numpy as np

from .intrinsics import bitcast_f32_i32, bitcast_f32_u32, bitcast_f64_i64, fabs, fma, rint
from .trig_f64 import acos_f64, asin_f64, atan2_f64
from .twins import scalar_function

f32 = np.float32

_ROUNDER: Final = 6755399441055744.0
_TWO_OVER_PI: Final = 0.6366197723675814
_HALF_PI: Final = 1.5707963267948966
_HALF_PI_LOW: Final = 6.123233995736766e-17
_HALF_PI_BY_2_62: Final = 3.4061215800865545e-19

# The binary digits of 2 / pi after the point.
_WORD0: Final = np.uint64(0xA2F9836E4E441529)
_WORD1: Final = np.uint64(0xFC2757D1F534DDC0)
_WORD2: Final = np.uint64(0xDB6295993C439041)
_WORD3: Final = np.uint64(0xFE5163ABDEBBC561)
_MANTISSA: Final = np.uint64(0x7FFFFF)
_LEADING_BIT: Final = np.uint64(0x800000)
_ONE: Final = np.uint64(1)
_32: Final = np.uint64(32)
_63: Final = np.uint64(63)
_HALF_QUADRANT: Final = 1 << 61


@scalar_function
def _reduce_huge_f32(x: Any) -> Any:
    """(n, r) with |x| = (4 m + n) * pi / 2 + r for some integer m, for |x| >= 2**25."""
    mantissa = (np.uint64(bitcast_f32_u32(x)) & _MANTISSA) | _LEADING_BIT
    exponent = ((bitcast_f32_i32(x) >> 23) & 0xFF) - 150
    start = (exponent if exponent > 2 else 2) - 2
    later = start > 63
    word0 = _WORD1 if later else _WORD0
    word1 = _WORD2 if later else _WORD1
    word2 = _WORD3 if later else _WORD2
    shift = np.uint64(start & 63)
    back = _63 - shift
    a = (word0 << shift) | ((word1 >> _ONE) >> back)
    b = (word1 << shift) | ((word2 >> _ONE) >> back)
    # |x| * 2 / pi modulo 4, in units of 2**-62.
    turns = np.int64(mantissa * a + ((mantissa * (b >> _32)) >> _32))
    n = (turns + _HALF_QUADRANT) >> 62
    return n, np.float64(turns - (n << 62)) * _HALF_PI_BY_2_62


@scalar_function
def _reduce_f32(x: Any) -> Any:
    """(quadrant, r): x = quadrant * pi / 2 + r modulo 2 pi, |r| <= pi / 4, both for float64 r. NaN for infinite x."""
    wide = np.float64(x)
    n = rint(wide * _TWO_OVER_PI)
    r = fma(-n, _HALF_PI_LOW, fma(-n, _HALF_PI, wide))
    quadrant = bitcast_f64_i64(n + _ROUNDER)
    huge_quadrant, huge_r = _reduce_huge_f32(x)
    huge_quadrant = -huge_quadrant if wide < 0.0 else huge_quadrant
    huge_r = -huge_r if wide < 0.0 else huge_r
    huge = fabs(wide) >= 35184372088832.0
    return (huge_quadrant if huge else quadrant), (huge_r if huge else r) + (wide - wide)


@scalar_function
def _sin_reduced_f32(r: Any) -> Any:
    """sin(r) to float32's accuracy; the polynomial is (sin(r) / r - 1) / r**2 in r**2."""
    z = r * r
    p = 2.7248364773036666e-06
    p = p * z - 0.00019840074665737465
    p = p * z + 0.008333331852310973
    p = p * z - 0.16666666663797544
    return r + r * z * p


@scalar_function
def _cos_reduced_f32(r: Any) -> Any:
    """cos(r) to float32's accuracy; the polynomial is (cos(r) - 1 + r**2 / 2) / r**4 in r**2."""
    z = r * r
    p = -2.7299656316022867e-07
    p = p * z + 2.4800590303711416e-05
    p = p * z - 0.0013888887653322967
    p = p * z + 0.04166666666427301
    return 1.0 + z * (z * p - 0.5)


@scalar_function
def sin_f32(x: Any) -> Any:
    """The sine of x in radians; NaN at infinity."""
    quadrant, r = _reduce_f32(x)
    y = _cos_reduced_f32(r) if quadrant & 1 else _sin_reduced_f32(r)
    y = f32(-y if quadrant & 2 else y)
    return x if x == f32(0.0) else y


@scalar_function
def cos_f32(x: Any) -> Any:
    """The cosine of x in radians; NaN at infinity."""
    quadrant, r = _reduce_f32(x)
    y = _sin_reduced_f32(r) if quadrant & 1 else _cos_reduced_f32(r)
    return f32(-y if (quadrant + 1) & 2 else y)


@scalar_function
def tan_f32(x: Any) -> Any:
    """The tangent of x in radians; NaN at infinity."""
    quadrant, r = _reduce_f32(x)
    sine = _sin_reduced_f32(r)
    cosine = _cos_reduced_f32(r)
    odd = quadrant & 1
    y = f32((-cosine if odd else sine) / (sine if odd else cosine))
    return x if x == f32(0.0) else y


@scalar_function
def asin_f32(x: Any) -> Any:
    """The inverse of sin, in [-pi/2, pi/2]; NaN outside [-1, 1]."""
    return f32(asin_f64(np.float64(x)))


@scalar_function
def acos_f32(x: Any) -> Any:
    """The inverse of cos, in [0, pi]; NaN outside [-1, 1]."""
    return f32(acos_f64(np.float64(x)))


@scalar_function
def atan_f32(x: Any) -> Any:
    """The inverse of tan, in [-pi/2, pi/2]."""
    return f32(atan2_f64(np.float64(x), 1.0))


@scalar_function
def atan2_f32(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), in [-pi, pi], with C's values at zeros and infinities."""
    return f32(atan2_f64(np.float64(y), np.float64(x)))
