"""Special functions of floats: the error functions and the family of the logarithm of the gamma function.

They are evaluated in float64 whatever the operand's dtype: erf, erfc and lgamma element by element with the functions
of Python's math module, digamma and polygamma with array arithmetic (DLMF, chapters 5 and 25).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from graphc.errors import ArgumentError
from graphc.ir.primitive import ScalarHandler, register
from graphc.ir.types import TensorType
from graphc.ops.elementwise import Unary, scaled

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value

Float64Array = npt.NDArray[np.float64]

# B₂, B₄, …, B₂₄
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330, 854513 / 138,
    -236364091 / 2730,
)  # fmt: skip
MAX_ORDER = 150  # n! and the coefficients of the n-th derivative of the cotangent stay within float64


def digamma(x: Float64Array) -> Float64Array:
    """ψ(x): ∓inf at ±0, NaN at the other poles -1, -2, … and at -inf.

    Reflected to x ≥ 1/2 (DLMF 5.5.4), shifted by 10 (5.5.2), then the asymptotic series (5.11.2).
    """
    reflect = x < 0.5
    positive = np.where(reflect, 1.0 - x, x)
    total = np.zeros_like(positive)
    for k in range(10):
        total -= 1.0 / (positive + k)
    z = positive + 10.0
    inverse_square = 1.0 / (z * z)
    series = np.zeros_like(z)
    for k in range(len(BERNOULLI), 0, -1):
        series = (series + BERNOULLI[k - 1] / (2 * k)) * inverse_square
    total += np.log(z) - 0.5 / z - series
    cotangent = _cotangent_of_pi_times(x)
    pole = (x < 0.0) & (x == np.rint(x))
    return np.where(pole, np.nan, np.where(reflect, total - np.pi * cotangent, total))


def polygamma(x: Float64Array, n: int) -> Float64Array:
    """The n-th derivative of digamma, n ≥ 1: n!·(-1)ⁿ⁺¹·ζ(n + 1, x).

    At the poles 0, -1, -2, …: inf for odd n; for even n ∓inf at ±0 and NaN elsewhere. ζ by Euler-Maclaurin summation
    (DLMF 25.11.5 onwards), negative x by reflection (5.15.6).
    """
    reflect = x < 0.5
    positive = _zeta_times_factorial(np.where(reflect, 1.0 - x, x), n)
    cotangent = _cotangent_of_pi_times(x)
    *lower, leading = _cotangent_derivative(n)
    derivative = np.full_like(cotangent, leading)
    for coefficient in reversed(lower):
        derivative = derivative * cotangent + coefficient
    sign = -1.0 if n % 2 == 0 else 1.0
    reflected = -(np.pi ** (n + 1)) * derivative - positive
    result = np.where(reflect, reflected, sign * positive)
    lost = (x < 0.0) & (x == np.rint(x)) if n % 2 == 0 else x == -np.inf
    return np.where(lost | np.isnan(x), np.nan, result)


def _zeta_times_factorial(x: Float64Array, n: int) -> Float64Array:
    """n!·ζ(n + 1, x) for x ≥ 1/2."""
    s = n + 1
    shift = s + 10
    total = np.zeros_like(x)
    for k in range(shift):
        total += (x + k) ** -s
    z = x + shift
    inverse_square = 1.0 / (z * z)
    series = np.zeros_like(z)
    for k in range(len(BERNOULLI), 0, -1):
        rising = math.prod(range(s, s + 2 * k - 1))
        series = (series + BERNOULLI[k - 1] * rising / math.factorial(2 * k)) * inverse_square
    total += z**-s * (z / n + 0.5 + z * series)
    return np.where(np.isinf(x), 0.0, math.factorial(n) * total)


def _cotangent_of_pi_times(x: Float64Array) -> Float64Array:
    """cot(πx): ±inf at integers, exactly 0 halfway between them; NaN for infinities."""
    fraction = np.where(x == 0.0, x, x - np.rint(x))
    near_half = np.abs(fraction) > 0.25
    from_half = np.copysign(0.5 - np.abs(fraction), fraction)
    tangent = np.tan(np.pi * np.where(near_half, from_half, fraction))
    return np.where(near_half, tangent, 1.0 / tangent)


def _cotangent_derivative(n: int) -> tuple[float, ...]:
    """The polynomial p with dⁿ/dxⁿ cot(πx) = πⁿ·p(cot(πx)), lowest power first. All coefficients have one sign."""
    polynomial = [0, 1]
    for _ in range(n):
        slope = [i * c for i, c in enumerate(polynomial)][1:]
        polynomial = [-a - b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return tuple(float(c) for c in polynomial)


def _by_element(function: Callable[[float], float]) -> Callable[[Float64Array], Float64Array]:
    vectorized = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(vectorized(x), dtype=np.float64)


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # a pole, or beyond float64
        return math.inf


class _Special(Unary):
    """Base of the functions that are evaluated in float64."""

    float64_function: ClassVar[Callable[..., Float64Array]]

    def compute(self, *arrays: Any, **attributes: Any) -> Any:
        (x,) = arrays
        result = type(self).float64_function(np.asarray(x, dtype=np.float64), **attributes)
        return result.astype(x.dtype, copy=False)


@register
class Erf(_Special):
    """The error function 2/√π ∫₀ˣ e^(-t²) dt of a float. ``erf(inf) = 1``."""

    name = "erf"
    float64_function = staticmethod(_by_element(math.erf))

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, _bell(b, read, 2.0 / math.sqrt(math.pi)))


@register
class Erfc(_Special):
    """1 - erf(x) of a float, accurate where erf is nearly 1."""

    name = "erfc"
    float64_function = staticmethod(_by_element(math.erfc))

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, _bell(b, read, -2.0 / math.sqrt(math.pi)))


def _bell(b: Builder, x: Value, height: float) -> Value:
    return scaled(b, b.exp(b.neg(b.mul(x, x))), height)


@register
class Lgamma(_Special):
    """log|Γ(x)| of a float; inf at the poles 0, -1, -2, … and at both infinities."""

    name = "lgamma"
    float64_function = staticmethod(_by_element(_lgamma))

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.digamma(read))


@register
class Digamma(_Special):
    """ψ(x) = d/dx log Γ(x) of a float: ∓inf at ±0, NaN at the poles -1, -2, …"""

    name = "digamma"
    float64_function = staticmethod(digamma)

    def gradient(self, b: Builder, ct: Value, read: Value) -> Any:
        return b.mul(ct, b.polygamma(read, n=1))


@register
class Polygamma(_Special):
    """The ``n``-th derivative of digamma at a float, for a static n from 1 to 150. ``polygamma(1.0){n = 1} = π²/6``.

    At the poles 0, -1, -2, …: inf for odd n; for even n ∓inf at ±0, and NaN elsewhere.
    """

    name = "polygamma"
    attributes = ("n",)
    float64_function = staticmethod(polygamma)

    def infer(self, inputs: tuple[TensorType, ...], /, *, n: Any) -> tuple[TensorType, ...]:  # type: ignore[override]
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_ORDER:
            raise ArgumentError(
                f"polygamma: n must be an integer from 1 to {MAX_ORDER}, not {n!r}", hint="use digamma for n = 0",
                cause=ArgumentError.RANGE,
            )
        return super().infer(inputs)

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None or not needed[0]:
            return (None,)
        return (b.mul(ct, b.polygamma(node.inputs[0], n=node.attributes["n"] + 1)),)

    def scalar(self, h: ScalarHandler, *operands: Any, **attributes: Any) -> Any:
        (x,) = operands
        return h.math("polygamma", x, h.constant(float(attributes["n"]), x.dtype))
