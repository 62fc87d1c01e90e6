"""Elementwise array functions, under their array-API and NumPy names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from graphc.dtypes import DType, bool_
from graphc.errors import DTypeError
from graphc.frontends.array.core import (
    ArrayLike,
    aligned,
    aligned_in,
    converted,
    is_scalar,
    lift,
    promoted,
    to_float,
)  # fmt: skip
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.dispatch import Array, bind, context_of, eager_context, observers

Binary = Callable[[ArrayLike, ArrayLike], Array]


def _quick(primitive: str) -> Callable[[Binary], Binary]:
    """Decorator: of plain eager tensors, whose dtypes and shapes fit, the function is ``primitive`` at once."""

    def decorate(function: Binary) -> Binary:
        quick: list[Binary] = []

        @wraps(function)
        def wrapper(x: ArrayLike, y: ArrayLike) -> Array:
            if not observers:
                if not quick:
                    eager: Any = eager_context()
                    quick.append(eager.quick_function_of_two(primitive))
                result = quick[0](x, y)
                if result is not NOT_ALIKE:
                    return result
            return function(x, y)

        return wrapper

    return decorate


_FLOAT_DOC = "{name}(x): {meaning}, elementwise. Integers and bools are converted to float32 first."


def _float_function(name: str, primitive: str, meaning: str) -> Callable[[ArrayLike], Array]:
    quick: list[Callable[[ArrayLike], Any]] = []

    def function(x: ArrayLike) -> Array:
        if not observers:
            if not quick:
                eager: Any = eager_context()
                quick.append(eager.quick_function(primitive))
            result = quick[0](x)
            if result is not NOT_ALIKE:
                return cast("Array", result)
        return bind(primitive, to_float(x))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _FLOAT_DOC.format(name=name, meaning=meaning)
    return function


exp = _float_function("exp", "exp", "e to the power x")
exp2 = _float_function("exp2", "exp2", "2 to the power x")
expm1 = _float_function("expm1", "expm1", "exp(x) - 1, accurate near 0")
log = _float_function("log", "log", "natural logarithm; -inf at 0, NaN below")
log2 = _float_function("log2", "log2", "logarithm to base 2")
log10 = _float_function("log10", "log10", "logarithm to base 10")
log1p = _float_function("log1p", "log1p", "log(1 + x), accurate near 0")
sqrt = _float_function("sqrt", "sqrt", "square root; NaN below 0")
rsqrt = _float_function("rsqrt", "rsqrt", "1 / sqrt(x)")
sin = _float_function("sin", "sin", "sine of x in radians")
cos = _float_function("cos", "cos", "cosine of x in radians")
tan = _float_function("tan", "tan", "tangent of x in radians")
asin = _float_function("asin", "asin", "inverse sine, in radians")
acos = _float_function("acos", "acos", "inverse cosine, in radians")
atan = _float_function("atan", "atan", "inverse tangent, in radians")
sinh = _float_function("sinh", "sinh", "hyperbolic sine")
cosh = _float_function("cosh", "cosh", "hyperbolic cosine")
tanh = _float_function("tanh", "tanh", "hyperbolic tangent")
asinh = _float_function("asinh", "asinh", "inverse hyperbolic sine")
acosh = _float_function("acosh", "acosh", "inverse hyperbolic cosine")
atanh = _float_function("atanh", "atanh", "inverse hyperbolic tangent")
erf = _float_function("erf", "erf", "error function")
erfc = _float_function("erfc", "erfc", "complementary error function, 1 - erf(x)")
lgamma = _float_function("lgamma", "lgamma", "logarithm of the absolute value of the gamma function")
digamma = _float_function("digamma", "digamma", "derivative of lgamma")
sigmoid = _float_function("sigmoid", "logistic", "1 / (1 + exp(-x))")


def _rounding(name: str, primitive: str, meaning: str) -> Callable[[ArrayLike], Array]:
    def function(x: ArrayLike) -> Array:
        array = lift(x)
        return bind(primitive, array) if array.dtype.is_floating else array

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x): {meaning}, elementwise. Integers are returned as they are."
    return function


floor = _rounding("floor", "floor", "the largest integer not above x")
ceil = _rounding("ceil", "ceil", "the smallest integer not below x")
round = _rounding("round", "round", "the nearest integer, halves to even")
trunc = _rounding("trunc", "trunc", "the integer part of x")


def _not_for_bools(name: str) -> DTypeError:
    return DTypeError(f"{name} is not defined for bools", hint="use a logical op, or .astype(gc.int64)", cause=DTypeError.BOOL)


@_quick("add")
def add(x: ArrayLike, y: ArrayLike) -> Array:
    """x + y. Bools follow NumPy: their sum is a logical or."""
    a, b = aligned(x, y, what="add")
    return bind("bitwise_or" if a.dtype is bool_ else "add", a, b)


@_quick("sub")
def subtract(x: ArrayLike, y: ArrayLike) -> Array:
    """x - y. Raises DTypeError for two bools, as NumPy does."""
    a, b = aligned(x, y, what="subtract")
    if a.dtype is bool_:
        raise _not_for_bools("subtract")
    return bind("sub", a, b)


@_quick("mul")
def multiply(x: ArrayLike, y: ArrayLike) -> Array:
    """x * y. Bools follow NumPy: their product is a logical and."""
    a, b = aligned(x, y, what="multiply")
    return bind("bitwise_and" if a.dtype is bool_ else "mul", a, b)


@_quick("div")
def divide(x: ArrayLike, y: ArrayLike) -> Array:
    """x / y. Integers and bools are converted to float32 first (int / int → float32)."""
    operands = [v if is_scalar(v) else lift(v, x, y) for v in (x, y)]
    if not any(isinstance(v, float) if is_scalar(v) else v.dtype.is_inexact for v in operands):
        operands = [to_float(v) if isinstance(v, Array) else float(v) for v in operands]
    a, b = aligned(*operands, what="divide")
    return bind("div", a, b)


def _numeric(name: str, primitive: str, meaning: str) -> Callable[[ArrayLike, ArrayLike], Array]:
    def function(x: ArrayLike, y: ArrayLike) -> Array:
        a, b = aligned(x, y, what=name)
        if a.dtype is bool_:
            raise _not_for_bools(name)
        return bind(primitive, a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x, y): {meaning}, elementwise with broadcasting and promotion."
    return function


floor_divide = _numeric("floor_divide", "floor_divide", "floor(x / y); an integer divided by 0 gives 0")
remainder = _numeric("remainder", "remainder", "x - floor(x / y) * y, with the sign of y; 0 for an integer y of 0")
pow = _numeric("pow", "pow", "x to the power y; integers to a negative power give 0 unless x is 1 or -1")


def _any_dtype(name: str, primitive: str, meaning: str) -> Binary:
    @_quick(primitive)
    def function(x: ArrayLike, y: ArrayLike) -> Array:
        return bind(primitive, *aligned(x, y, what=name))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x, y): {meaning}, elementwise with broadcasting and promotion."
    return function


maximum = _any_dtype("maximum", "maximum", "the larger of x and y; NaN if either is")
minimum = _any_dtype("minimum", "minimum", "the smaller of x and y; NaN if either is")
equal = _any_dtype("equal", "eq", "whether x == y")
not_equal = _any_dtype("not_equal", "ne", "whether x != y")
less = _any_dtype("less", "lt", "whether x < y")
less_equal = _any_dtype("less_equal", "le", "whether x <= y")
greater = _any_dtype("greater", "gt", "whether x > y")
greater_equal = _any_dtype("greater_equal", "ge", "whether x >= y")


def atan2(y: ArrayLike, x: ArrayLike) -> Array:
    """The angle of the point (x, y), in radians from -pi to pi."""
    a, b = promoted(y, x, what="atan2")
    return bind("atan2", a, b) if a.dtype.is_inexact else bind("atan2", to_float(a), to_float(b))


def hypot(x: ArrayLike, y: ArrayLike) -> Array:
    """sqrt(x² + y²) without undue overflow or underflow."""
    a, b = (to_float(v) for v in promoted(x, y, what="hypot"))
    a, b = absolute(a), absolute(b)
    large, small = maximum(a, b), minimum(a, b)
    ratio = divide(small, where(equal(large, 0.0), 1.0, large))
    result = multiply(large, sqrt(add(multiply(ratio, ratio), 1.0)))
    infinite = logical_or(isinf(a), isinf(b))
    return where(infinite, float("inf"), result)


def logaddexp(x: ArrayLike, y: ArrayLike) -> Array:
    """log(exp(x) + exp(y)) without overflow."""
    a, b = (to_float(v) for v in promoted(x, y, what="logaddexp"))
    large = maximum(a, b)
    difference = negative(absolute(subtract(a, b)))
    return where(equal(a, b), add(large, float.fromhex("0x1.62e42fefa39efp-1")), add(large, log1p(exp(difference))))


def negative(x: ArrayLike) -> Array:
    """-x. Raises DTypeError for bools, as NumPy does."""
    array = lift(x)
    if array.dtype is bool_:
        raise _not_for_bools("negative")
    return bind("neg", array)


def positive(x: ArrayLike) -> Array:
    """+x: the same numbers in memory of their own. Raises DTypeError for bools, as NumPy does."""
    array = lift(x)
    if array.dtype is bool_:
        raise _not_for_bools("positive")
    return context_of((array,)).copy(array)


def absolute(x: ArrayLike) -> Array:
    """|x|; the most negative integer stays itself (it has no opposite)."""
    array = lift(x)
    return array if array.dtype is bool_ or array.dtype.kind == "uint" else bind("abs", array)


def sign(x: ArrayLike) -> Array:
    """-1, 0 or 1 by the sign of x; NaN for NaN."""
    array = lift(x)
    if array.dtype is bool_:
        raise _not_for_bools("sign")
    return bind("sign", array)


def square(x: ArrayLike) -> Array:
    """x * x."""
    array = lift(x)
    return multiply(array, array)


def reciprocal(x: ArrayLike) -> Array:
    """1 / x, as a float."""
    return divide(1.0, x)


def isfinite(x: ArrayLike) -> Array:
    """Whether x is neither infinite nor NaN."""
    array = lift(x)
    return bind("is_finite", array) if array.dtype.is_floating else equal(array, array)


def isnan(x: ArrayLike) -> Array:
    """Whether x is NaN."""
    array = lift(x)
    return bind("is_nan", array) if array.dtype.is_floating else not_equal(array, array)


def isinf(x: ArrayLike) -> Array:
    """Whether x is +inf or -inf."""
    array = lift(x)
    if not array.dtype.is_floating:
        return not_equal(array, array)
    return equal(absolute(array), float("inf"))


def _as_bool(x: ArrayLike) -> Array:
    array = lift(x)
    return array if array.dtype is bool_ else not_equal(array, 0)


def logical_and(x: ArrayLike, y: ArrayLike) -> Array:
    """Whether both are true (nonzero)."""
    return bind("bitwise_and", *promoted(_as_bool(x), _as_bool(y), what="logical_and"))


def logical_or(x: ArrayLike, y: ArrayLike) -> Array:
    """Whether either is true (nonzero)."""
    return bind("bitwise_or", *promoted(_as_bool(x), _as_bool(y), what="logical_or"))


def logical_xor(x: ArrayLike, y: ArrayLike) -> Array:
    """Whether exactly one is true (nonzero)."""
    return bind("bitwise_xor", *promoted(_as_bool(x), _as_bool(y), what="logical_xor"))


def logical_not(x: ArrayLike) -> Array:
    """Whether x is false (zero)."""
    return bind("bitwise_not", _as_bool(x))


def _bitwise(name: str, primitive: str, meaning: str) -> Binary:
    @_quick(primitive)
    def function(x: ArrayLike, y: ArrayLike) -> Array:
        a, b = aligned(x, y, what=name)
        if a.dtype.is_floating:
            raise DTypeError(f"{name} takes integers or bools, not {a.dtype.name}")
        return bind(primitive, a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x, y): {meaning}, for integers and bools."
    return function


bitwise_and = _bitwise("bitwise_and", "bitwise_and", "bitwise and")
bitwise_or = _bitwise("bitwise_or", "bitwise_or", "bitwise or")
bitwise_xor = _bitwise("bitwise_xor", "bitwise_xor", "bitwise exclusive or")
bitwise_left_shift = _bitwise("bitwise_left_shift", "shift_left", "x shifted left by y bits; 0 from the width on")
bitwise_right_shift = _bitwise("bitwise_right_shift", "shift_right", "x shifted right by y bits, keeping the sign")


def bitwise_invert(x: ArrayLike) -> Array:
    """~x for integers and bools."""
    array = lift(x)
    if array.dtype.is_floating:
        raise DTypeError(f"bitwise_invert takes integers or bools, not {array.dtype.name}")
    return bind("bitwise_not", array)


_quick_where: list[Callable[[ArrayLike, ArrayLike, ArrayLike], Any]] = []


def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """x where ``condition`` is true (nonzero), else y; all three broadcast together."""
    if not observers:
        if not _quick_where:
            eager: Any = eager_context()
            _quick_where.append(eager.quick_select())
        result = _quick_where[0](condition, x, y)
        if result is not NOT_ALIKE:
            return cast("Array", result)
    context = context_of((condition, x, y))
    a, b = converted(context, (x, y), what="where")
    return bind("select", *aligned_in(context, [context.lift(_as_bool(condition)), a, b], "where"))


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
    """x limited to [min, max]; either may be None. NaN stays NaN."""
    array = lift(x)
    if min is not None and max is not None:
        low, value, high = promoted(min, array, max, what="clip")
        return bind("clamp", low, value, high)
    if min is not None:
        return maximum(array, min)
    return minimum(array, max) if max is not None else array


def isclose(x: ArrayLike, y: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Whether |x - y| <= atol + rtol * |y|, infinities being close to themselves only."""
    a, b = (to_float(v) for v in promoted(x, y, what="isclose"))
    close = less_equal(absolute(subtract(a, b)), add(multiply(absolute(b), rtol), atol))
    close = logical_and(close, logical_and(isfinite(a), isfinite(b)))
    result = logical_or(close, equal(a, b))
    return logical_or(result, logical_and(isnan(a), isnan(b))) if equal_nan else result


def nan_to_num(x: ArrayLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """x with NaN replaced by ``nan`` and infinities by ``posinf`` and ``neginf`` (the largest finite numbers by default)."""
    array = lift(x)
    if not array.dtype.is_floating:
        return array
    largest = largest_finite(array.dtype)
    result = where(isnan(array), nan, array)
    result = where(equal(array, float("inf")), largest if posinf is None else posinf, result)
    return where(equal(array, float("-inf")), -largest if neginf is None else neginf, result)


def largest_finite(dtype: DType) -> float:
    """The largest finite number of a floating dtype."""
    bits, exponent = {"f16": (10, 15), "bf16": (7, 127), "f32": (23, 127), "f64": (52, 1023)}[dtype.short]
    return (2.0 - 2.0**-bits) * 2.0**exponent


def signbit(x: ArrayLike) -> Array:
    """Whether x is negative, -0.0 included. NaN counts as positive, whatever its sign bit."""
    array = lift(x)
    if not array.dtype.is_floating:
        return less(array, 0)
    return logical_or(less(array, 0), less(divide(1.0, array), 0))


def copysign(x: ArrayLike, y: ArrayLike) -> Array:
    """The magnitude of x with the sign of y (see :func:`signbit`)."""
    a, b = (to_float(v) for v in promoted(x, y, what="copysign"))
    magnitude = absolute(a)
    return where(signbit(b), negative(magnitude), magnitude)


def xlogy(x: ArrayLike, y: ArrayLike) -> Array:
    """x * log(y), which is 0 where x is 0 (its gradient too) unless y is NaN."""
    a, b = (to_float(v) for v in promoted(x, y, what="xlogy"))
    nothing = logical_and(equal(a, 0.0), logical_not(isnan(b)))
    return where(nothing, 0.0, multiply(a, log(where(nothing, 1.0, b))))


def logit(x: ArrayLike) -> Array:
    """log(x / (1 - x)), the inverse of sigmoid."""
    array = to_float(x)
    return subtract(log(array), log1p(negative(array)))


def lerp(start: ArrayLike, end: ArrayLike, weight: ArrayLike) -> Array:
    """start + weight * (end - start), exact at both ends."""
    a, b, w = (to_float(v) for v in promoted(start, end, weight, what="lerp"))
    near, far = add(a, multiply(w, subtract(b, a))), subtract(b, multiply(subtract(1.0, w), subtract(b, a)))
    return where(less(absolute(w), 0.5), near, far)


def real(x: ArrayLike) -> Array:
    """The real part: x itself, as there are no complex numbers."""
    return lift(x)


def conj(x: ArrayLike) -> Array:
    """The complex conjugate: x itself, as there are no complex numbers."""
    return lift(x)


# NumPy's and PyTorch's names of the above.
abs = absolute
power, mod, true_divide, clamp = pow, remainder, divide, clip
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
invert, left_shift, right_shift = bitwise_invert, bitwise_left_shift, bitwise_right_shift
