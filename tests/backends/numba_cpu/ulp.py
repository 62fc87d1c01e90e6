"""Measures the scalar functions' errors in ULPs. Run as a module, it prints the table of docs/accuracy.md."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from graphc.backends.numba_cpu.kernels import CompiledKernel, compile_kernel
from graphc.backends.numba_cpu.scalar_namespace import namespace

Array = np.ndarray[Any, Any]

DTYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
EXTENDED = np.finfo(np.longdouble).nmant >= 63
"""Whether this platform's long double is wide enough to judge float64 results."""


@dataclass(frozen=True)
class Function:
    """A function under test: where it is swept, what it should be, and the bounds it must keep, in ULPs."""

    name: str
    lowest: float
    highest: float
    bound_f32: float
    bound_f64: float
    wide: Callable[[Any], Any] | None = None
    exact: Callable[[Any], Any] | None = None
    """`wide` is evaluated in long double; `exact`, in mpmath, where NumPy lacks it or long double is narrow."""
    floor: float = 0.0
    """Errors are counted in ULPs of max(|result|, floor): above zero where relative accuracy is not promised."""

    def bound(self, dtype: str) -> float:
        return self.bound_f32 if dtype == "f32" else self.bound_f64


def _long(name: str) -> Callable[[Any], Any]:
    return getattr(np, name)  # type: ignore[no-any-return]


def _lgamma(x: Any) -> Any:
    return mpmath.log(abs(mpmath.gamma(x))) if abs(x) < 1e6 else mpmath.loggamma(x)


_BIG = 1e308
FUNCTIONS = (
    Function("exp", -760, 720, 1, 1, _long("exp"), mpmath.exp),
    Function("exp2", -1100, 1030, 1, 1, _long("exp2"), lambda x: mpmath.mpf(2) ** x),
    Function("expm1", -760, 720, 1.5, 1, _long("expm1"), mpmath.expm1),
    Function("log", 0, _BIG, 1, 1, _long("log"), mpmath.log),
    Function("log2", 0, _BIG, 1, 1, _long("log2"), lambda x: mpmath.log(x, 2)),
    Function("log10", 0, _BIG, 1, 1, _long("log10"), mpmath.log10),
    Function("log1p", -1, _BIG, 1.5, 1.5, _long("log1p"), mpmath.log1p),
    Function("rsqrt", 0, _BIG, 1.5, 1.5, lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x)),
    Function("logistic", -760, 760, 2, 1.5, lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    Function("sinh", -712, 712, 1, 1.5, _long("sinh"), mpmath.sinh),
    Function("cosh", -712, 712, 1, 1.5, _long("cosh"), mpmath.cosh),
    Function("tanh", -1e3, 1e3, 1.5, 1.5, _long("tanh"), mpmath.tanh),
    Function("asinh", -_BIG, _BIG, 1, 2, _long("arcsinh"), mpmath.asinh),
    Function("acosh", 1, _BIG, 1, 2, _long("arccosh"), mpmath.acosh),
    Function("atanh", -1, 1, 1, 2, _long("arctanh"), mpmath.atanh),
    Function("sin", -_BIG, _BIG, 1, 1, _long("sin"), mpmath.sin),
    Function("cos", -_BIG, _BIG, 1, 1, _long("cos"), mpmath.cos),
    Function("tan", -_BIG, _BIG, 1, 2, _long("tan"), mpmath.tan),
    Function("asin", -1, 1, 1, 1.5, _long("arcsin"), mpmath.asin),
    Function("acos", -1, 1, 1, 1.5, _long("arccos"), mpmath.acos),
    Function("atan", -_BIG, _BIG, 1, 1.5, _long("arctan"), mpmath.atan),
    Function("erf", -30, 30, 1, 1, None, mpmath.erf),
    Function("erfc", -30, 30, 1, 3, None, mpmath.erfc),
    Function("lgamma", 0, 1e300, 1, 2.5, None, _lgamma),
    Function("lgamma", -150, 0, 1, 3, None, _lgamma, floor=8.0),
    Function("digamma", 0, 1e300, 1, 5, None, mpmath.digamma),
    Function("digamma", -150, 0, 1, 5, None, mpmath.digamma, floor=8.0),
)


@functools.cache
def unary_kernel(name: str, source: str, target: str) -> CompiledKernel:
    """A loop that applies the function `name` to elements of type `source`, giving elements of type `target`."""
    text = f"def sweep(x, out, n):\n    for i in range(n):\n        out[i] = {name}(x[i])\n"
    signature = (f"{source}*", f"{target}*", "i64")
    return compile_kernel(text, "sweep", signature, filename=f"<{name}>", namespace=namespace())


def apply_unary(name: str, x: Array, source: str, target: str, dtype: Any) -> Array:
    """The function over an array, through its kernel."""
    x = np.ascontiguousarray(x)
    out = np.empty(x.shape, dtype)
    assert unary_kernel(name, source, target)(x.ctypes.data, out.ctypes.data, x.size) == 0
    return out


def sweep_points(dtype: Any, lowest: float, highest: float, count: int) -> Array:
    """Points of [lowest, highest] spread evenly over the bit patterns, a third of them evenly near 0."""
    random = np.random.default_rng(7)
    limit = float(np.finfo(dtype).max)
    low, high = max(lowest, -limit), min(highest, limit)
    integer = np.int32 if dtype is np.float32 else np.int64
    parts = [random.uniform(max(low, -20), min(high, 20), count // 3).astype(dtype)]
    for sign, end in ((1, high), (-1, -low)):
        if end > 0:
            start = max(sign * (low if sign > 0 else high), 0)
            bits = np.array([start, end], dtype).view(integer)
            parts.append(sign * random.integers(int(bits[0]), int(bits[1]), count // 3, integer).view(dtype))
    x = np.concatenate(parts)
    return x[(x > low) & (x < high)]


def reference(function: Function, x: Array) -> Array:
    """The correct values, computed in long double where that is wide enough, else in mpmath."""
    if function.wide is not None and EXTENDED:
        with np.errstate(all="ignore"):
            return np.asarray(function.wide(x.astype(np.longdouble)))
    exact = function.exact
    assert exact is not None
    with mpmath.workprec(1200 if np.abs(x).max() > 1e10 and function.name in ("sin", "cos", "tan") else 120):
        return np.array([np.longdouble(mpmath.nstr(exact(mpmath.mpf(float(value))), 25)) for value in x])


def ulp_errors(result: Array, expected: Array, floor: float = 0.0) -> Array:
    """|result - expected| in ULPs of the result's type; infinite where only one of them is NaN or of the other sign."""
    dtype = result.dtype.type
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
        # An overflow one rounding too early counts from the first number that does not fit.
        overflow = np.ldexp(np.longdouble(1), int(info.maxexp))
        value = np.where(np.isinf(result), np.copysign(overflow, result), result.astype(np.longdouble))
        unit = np.spacing(np.maximum(np.abs(rounded), dtype(floor)))
        unit = np.where(np.isfinite(unit), unit, np.spacing(info.max)).astype(np.longdouble)
        error = np.abs(value - expected) / unit
    error[same & ~np.isfinite(rounded)] = 0
    error[~np.isfinite(error)] = np.inf
    errors: Array = error.astype(np.float64)
    return errors


def measure(function: Function, dtype: str, count: int) -> tuple[float, float]:
    """The largest error in ULPs over `count` points, and the point where it occurs."""
    x = sweep_points(DTYPES[dtype], function.lowest, function.highest, count)
    result = apply_unary(f"{function.name}_{dtype}", x, dtype, dtype, DTYPES[dtype])
    errors = ulp_errors(result, reference(function, x), function.floor)
    worst = int(np.argmax(errors))
    return float(errors[worst]), float(x[worst])


def table(count: int) -> str:
    """docs/accuracy.md's table, measured anew."""
    lines = ["| function | domain | float32 | bound | float64 | bound |", "| --- | --- | --- | --- | --- | --- |"]
    for function in FUNCTIONS:
        low, high = ("" if abs(end) >= 1e300 else f"{end:g}" for end in (function.lowest, function.highest))
        domain = f"{low or '−∞'} … {high or '∞'}"
        cells = [f"{measure(function, dtype, count)[0]:.2f} | {function.bound(dtype):g}" for dtype in DTYPES]
        lines.append(f"| {function.name} | {domain} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(60_000))
