"""Error functions, log-gamma and digamma of float32 and float64 scalars, for inlining into vectorized loops.

Straight-line code, as in `scalar_math_f64`. Sources: Abramowitz and Stegun, "Handbook of
Mathematical Functions", 6.1.17 and 6.1.40 (reflection and asymptotic series of log-gamma), 6.3.7 and 6.3.18 (of
digamma); Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x in 0 <= x < infinity", 1981,
for erfc's form.
"""

from typing import Any, Final

import numpy as np

from .intrinsics import copysign, fabs, floor, fma, mul_rounded, rint
from .scalar_math_f32 import exp_f32
from .scalar_math_f64 import exp_f64, log_f64
from .trig_f64 import cos_reduced_f64, sin_reduced_f64
from .twins import scalar_function

f32 = np.float32

_INF: Final = np.float64(np.inf)
_NAN: Final = np.float64(np.nan)
_PI: Final = 3.141592653589793
_PI_LOW: Final = 1.2246467991473532e-16
_HALF_LOG_2_PI: Final = 0.9189385332046728
_DIGAMMA_ROOT: Final = 1.4616321449683622
_DIGAMMA_ROOT_LOW: Final = 9.549995429965697e-17


@scalar_function
def _erf_small_f64(x: Any) -> Any:
    """erf(x) for |x| <= 0.86; the polynomial is erf(x) / x - 1 in x**2."""
    z = x * x
    p = 6.67520361438513e-11
    p = p * z - 1.1733314521892249e-09
    p = p * z + 1.4739341935657164e-08
    p = p * z - 1.6360449390246477e-07
    p = p * z + 1.6461822990527387e-06
    p = p * z - 1.4925639519833559e-05
    p = p * z + 0.0001205533270529517
    p = p * z - 0.0008548327018718468
    p = p * z + 0.0052239776253901506
    p = p * z - 0.026866170645127845
    p = p * z + 0.11283791670955114
    p = p * z - 0.37612638903183754
    p = p * z + 0.1283791670955126
    return x + x * p


@scalar_function
def _erfc_large_f64(a: Any) -> Any:
    """erfc(a) for 0.84 <= a <= 28; the polynomial is (1 + 2a) exp(a**2) erfc(a) in (a - 4) / (a + 4)."""
    t = (a - 4.0) / (a + 4.0)
    p = -7.005583479652655e-09
    p = p * t - 1.4830976788680629e-08
    p = p * t + 9.741248953307531e-08
    p = p * t + 7.298453055906118e-08
    p = p * t - 8.140068425877977e-07
    p = p * t + 2.9373989018006254e-07
    p = p * t + 5.70361649661451e-06
    p = p * t - 1.1221573511710304e-05
    p = p * t - 2.4397142975682085e-05
    p = p * t + 0.0001506214542235397
    p = p * t - 0.00019925714654164288
    p = p * t - 0.0007577732355205191
    p = p * t + 0.005031970040607791
    p = p * t - 0.016197734064935167
    p = p * t + 0.03716751553222405
    p = p * t - 0.06633036581168486
    p = p * t + 0.09373283499859336
    p = p * t - 0.10103906603632426
    p = p * t + 0.0680970542546875
    p = p * t + 0.015379652102620031
    p = p * t - 0.13962111684056247
    p = p * t + 1.2329951186255526
    square = mul_rounded(a, a)
    lost = fma(a, a, -square)
    e = exp_f64(-square)
    whole = 1.0 + 2.0 * a
    whole_low = 1.0 - (whole - 2.0 * a)
    inverse = 1.0 / whole
    y = p * inverse
    return (y + ((fma(-y, whole, p) - y * whole_low) * inverse - y * lost)) * e


@scalar_function
def erf_f64(x: Any) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    a = fabs(x)
    far = 1.0 - _erfc_large_f64(6.0 if a > 6.0 else a)
    return copysign(_erf_small_f64(a) if a < 0.85 else far, x)


@scalar_function
def erfc_f64(x: Any) -> Any:
    """The complementary error function, 1 - erf(x), accurate in its right tail."""
    a = fabs(x)
    far = _erfc_large_f64(28.0 if a > 28.0 else a)
    far = 2.0 - far if x < 0.0 else far
    return 1.0 - _erf_small_f64(x) if a < 0.85 else far


@scalar_function
def erf_f32(x: Any) -> Any:
    """The error function; x times a polynomial in x**2 near 0, further out 1 - exp(-polynomial in |x|)."""
    a = fabs(x)
    a = f32(4.0) if a > f32(4.0) else a
    z = a * a
    p = f32(8.35189712e-05)
    p = p * z + f32(-0.000813879247)
    p = p * z + f32(0.00520072971)
    p = p * z + f32(-0.0268592965)
    p = p * z + f32(0.112836942)
    p = p * z + f32(-0.376126349)
    p = p * z + f32(0.128379166)
    near = a + a * p
    q = f32(-1.66059635e-06)
    q = q * a + f32(4.64933619e-05)
    q = q * a + f32(-0.000600225001)
    q = q * a + f32(0.00477437768)
    q = q * a + f32(-0.0264594145)
    q = q * a + f32(0.110140562)
    q = q * a + f32(0.631769538)
    q = q * a + f32(1.13026178)
    q = q * a + f32(-0.000325905363)
    far = f32(1.0) - exp_f32(-q)
    return copysign(near if a < f32(0.925) else far, x)


@scalar_function
def erfc_f32(x: Any) -> Any:
    """The complementary error function, 1 - erf(x), accurate in its right tail."""
    return f32(erfc_f64(np.float64(x)))


@scalar_function
def _sin_cos_pi_f64(x: Any) -> Any:
    """(sin, cos) of pi * (x - rint(x)), for which no reduction error arises."""
    rest = x - rint(x)
    folded = fabs(rest) > 0.25
    turn = (0.5 - fabs(rest)) if folded else rest
    high = mul_rounded(turn, _PI)
    low = fma(turn, _PI, -high) + turn * _PI_LOW
    sine = sin_reduced_f64(high, low)
    cosine = cos_reduced_f64(high, low)
    return copysign(cosine, rest) if folded else sine, sine if folded else cosine


@scalar_function
def lgamma_f64(x: Any) -> Any:
    """log |gamma(x)|; infinite at the non-positive integers and at both infinities.

    On [1, 3] a polynomial for lgamma(a) / ((a - 1) (a - 2)) in a - 2; below and up to 8 reached through the recurrence;
    from 8 Stirling's series; reflection for negative x, where the absolute error stays small but the relative error
    grows near the roots.
    """
    a = fabs(x)
    below = a < 1.0
    large = a >= 8.0
    middle = (a >= 3.0) & (a < 8.0)
    base = 2.0 + (a - floor(a)) if middle else a
    base = a + 1.0 if below else base
    product = base
    for k in range(1, 6):
        product = product * (base + k if base + k < a else 1.0)
    t = base - 2.0
    p = 3.959289939284168e-10
    p = p * t - 8.152852870624974e-10
    p = p * t - 1.1901740908188555e-09
    p = p * t + 2.444386936885692e-09
    p = p * t + 4.305220610785326e-09
    p = p * t - 8.87711600370437e-09
    p = p * t + 3.8215413984113857e-10
    p = p * t - 9.172949166290702e-10
    p = p * t + 2.4876913129422764e-08
    p = p * t - 5.1889381335192836e-08
    p = p * t + 8.858800462314765e-08
    p = p * t - 1.8624721164419038e-07
    p = p * t + 4.049117629272228e-07
    p = p * t - 8.554195306752008e-07
    p = p * t + 1.807724495247794e-06
    p = p * t - 3.8465374565754054e-06
    p = p * t + 8.22227252824938e-06
    p = p * t - 1.7661849545809686e-05
    p = p * t + 3.8168877217049974e-05
    p = p * t - 8.309510094797398e-05
    p = p * t + 0.00018255264018626728
    p = p * t - 0.0004057073998333553
    p = p * t + 0.0009153769221939477
    p = p * t - 0.0021081308338353785
    p = p * t + 0.004998641164698706
    p = p * t - 0.012384192193374183
    p = p * t + 0.032965000621155816
    p = p * t - 0.1003173016743539
    p = p * t + 0.42278433509846713
    near = t * (t + 1.0) * p
    lowered = a if below else (product if middle else 1.0)
    logarithm = log_f64(a if large else lowered)
    inverse = 1.0 / a
    z = inverse * inverse
    series = 1.0 / 156.0 - z * (3617.0 / 122400.0)
    series = 691.0 / 360360.0 - z * series
    series = 1.0 / 1188.0 - z * series
    series = 1.0 / 1680.0 - z * series
    series = 1.0 / 1260.0 - z * series
    series = 1.0 / 360.0 - z * series
    series = inverse * (1.0 / 12.0 - z * series)
    stirling = (a - 0.5) * (logarithm - 1.0) + ((_HALF_LOG_2_PI - 0.5) + series)
    positive = stirling if large else (near - logarithm if below else near + logarithm)
    sine, _ = _sin_cos_pi_f64(a)
    reflected = log_f64(_PI / (a * fabs(sine))) - positive
    y = reflected if x < 0.0 else positive
    y = -logarithm if a < 1e-20 else y
    return _INF if (a == _INF) | ((x <= 0.0) & (a == floor(a))) else y + 0.0


@scalar_function
def lgamma_f32(x: Any) -> Any:
    """log |gamma(x)|; infinite at the non-positive integers and at both infinities."""
    return f32(lgamma_f64(np.float64(x)))


@scalar_function
def digamma_f64(x: Any) -> Any:
    """The derivative of log gamma(x); NaN at negative integers and -inf, at a zero infinite with the opposite sign.

    On [1, 2] a polynomial for digamma(a) / (a - root) in a - 3/2, so accuracy holds up to the positive root; below and
    up to 10 reached through the recurrence, whose terms are summed over one denominator; from 10 the asymptotic series;
    reflection for negative x, where the absolute error stays small but the relative error grows near the roots.
    """
    a = fabs(x)
    below = a < 1.0
    large = a >= 10.0
    middle = (a >= 2.0) & (a < 10.0)
    base = 1.0 + (a - floor(a)) if middle else a
    base = a + 1.0 if below else base
    num = 0.0
    den = 1.0
    for k in range(9):
        term = base + k
        step = middle & (term < a)
        num = num * term + den if step else num
        den = den * term if step else den
    num = -1.0 if below else num
    den = a if below else den
    t = base - 1.5
    p = 5.5960023503421146e-05
    p = p * t - 8.394009422598467e-05
    p = p * t + 3.847275205850347e-05
    p = p * t - 5.7709404612698156e-05
    p = p * t + 0.000146678104906229
    p = p * t - 0.00022001895005109955
    p = p * t + 0.0003061242075543167
    p = p * t - 0.0004591975036646912
    p = p * t + 0.0006949081740822105
    p = p * t - 0.0010424323828753985
    p = p * t + 0.0015627899506083752
    p = p * t - 0.0023446252179885993
    p = p * t + 0.0035181618550874957
    p = p * t - 0.005280020192518892
    p = p * t + 0.007927018411136843
    p = p * t - 0.011908215027359153
    p = p * t + 0.01790724844392596
    p = p * t - 0.026975796849706184
    p = p * t + 0.04076083393821673
    p = p * t - 0.061922133271544284
    p = p * t + 0.09498872445291558
    p = p * t - 0.1484049230539187
    p = p * t + 0.24054248424078692
    p = p * t - 0.42362742128146047
    p = p * t + 0.9510558760318328
    near = ((base - _DIGAMMA_ROOT) - _DIGAMMA_ROOT_LOW) * p + num / den
    inverse = 1.0 / a
    z = inverse * inverse
    series = 691.0 / 32760.0 - z * (1.0 / 12.0)
    series = 1.0 / 132.0 - z * series
    series = 1.0 / 240.0 - z * series
    series = 1.0 / 252.0 - z * series
    series = 1.0 / 120.0 - z * series
    series = 1.0 / 12.0 - z * series
    far = log_f64(a) - (0.5 * inverse + z * series)
    positive = far if large else near
    sine, cosine = _sin_cos_pi_f64(a)
    reflected = positive + inverse + _PI * (cosine / sine)
    y = reflected if x < 0.0 else positive
    y = _NAN if (x < 0.0) & (a == floor(a)) else y
    y = -1.0 / x if a < 1e-20 else y
    return x if x == _INF else y


@scalar_function
def digamma_f32(x: Any) -> Any:
    """The derivative of log gamma(x); NaN at negative integers and -inf, at a zero infinite with the opposite sign."""
    return f32(digamma_f64(np.float64(x)))
