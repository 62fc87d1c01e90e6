"""Scalar functions beyond Numba's operators: C's float remainder, and integer powers that wrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from numba import types
from numba.extending import intrinsic

from graphc.dtypes import as_dtype

from .adapter import linked

_INTEGERS: Final = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


def _fmod(short: str, kind: Any) -> Any:
    def function(context: Any, x: Any, y: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return builder.frem(*operands)

        return kind(kind, kind), generate

    function.__name__ = function.__qualname__ = f"fmod_{short}"
    function.__doc__ = "C's fmod: x - y * trunc(x / y), exact, with the sign of x; NaN where y is 0 or x infinite."
    return intrinsic(function)


def integer_power(short: str) -> Callable[[Any, Any], Any]:
    """The power of integers of the dtype ``short``, as a function for the interpreter and for compilers."""
    cast = as_dtype(short).numpy.type
    zero, one = cast(0), cast(1)

    def ipow(x: Any, y: Any) -> Any:
        """x to the power y, at least 0, by squaring; wraps."""
        result, base, rest = one, cast(x), cast(y)
        while rest > zero:
            if rest & one:
                result = cast(result * base)
            base = cast(base * base)
            rest = cast(rest >> one)
        return result

    ipow.__name__ = ipow.__qualname__ = f"ipow_{short}"
    return ipow


ARITHMETIC: Final[dict[str, Any]] = {
    "fmod_f32": _fmod("f32", types.float32),
    "fmod_f64": _fmod("f64", types.float64),
    **{f"ipow_{short}": linked(integer_power(short), forceinline=True) for short in _INTEGERS},
}
"""``fmod_f32(x, y)``, ``ipow_i8(x, y)`` and the like."""
