"""Operations that Numba has no spelling for, written as LLVM IR; each has a plain Python twin in `PYTHON_TWINS`.

The twins take and return NumPy scalars and give the same bits, so that code written in terms of these intrinsics also
runs in the interpreter. Functions over floats work for float32 and float64 alike and return their operands' type.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.extending import intrinsic

Emit = Callable[..., Any]

INTRINSICS: Final[dict[str, Any]] = {}
PYTHON_TWINS: Final[dict[str, Callable[..., Any]]] = {}

_FLOATS: Final = (types.float32, types.float64)
_SUFFIX: Final = {types.float32: "f32", types.float64: "f64"}


def _define(name: str, typing: Callable[[Any, Any], Any], twin: Callable[..., Any]) -> Any:
    """Register `typing(typing context, argument types) -> (signature, code generator)` under `name`, with its twin."""
    arity = twin.__code__.co_argcount
    body: Callable[..., Any]
    if arity == 1:

        def body(context: Any, x: Any) -> Any:
            return typing(context, (x,))
    elif arity == 2:

        def body(context: Any, x: Any, y: Any) -> Any:
            return typing(context, (x, y))
    else:

        def body(context: Any, x: Any, y: Any, z: Any) -> Any:
            return typing(context, (x, y, z))

    body.__name__ = body.__qualname__ = name
    body.__doc__ = twin.__doc__
    made = intrinsic(body)
    INTRINSICS[name] = made
    PYTHON_TWINS[name] = twin
    return made


def define_fixed(name: str, result: Any, parameters: tuple[Any, ...], emit: Emit, twin: Callable[..., Any]) -> Any:
    """An intrinsic of one signature: `emit(builder, result LLVM type, *operands)`."""

    def typing(context: Any, arguments: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return emit(builder, target.get_value_type(result), *operands)

        return result(*parameters), generate

    return _define(name, typing, twin)


def _over_floats(name: str, emit: Emit, twin: Callable[..., Any], result: Any = None) -> Any:
    """An intrinsic over operands of one float type: `emit(builder, "f32" or "f64", *operands)`."""

    def typing(context: Any, arguments: Any) -> Any:
        kind = arguments[0]
        if kind not in _FLOATS or any(argument != kind for argument in arguments):
            return None

        def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
            return emit(builder, _SUFFIX[kind], *operands)

        return (kind if result is None else result)(*arguments), generate

    return _define(name, typing, twin)


def declare(builder: Any, symbol: str, result: Any, operands: Any) -> Any:
    """The function `symbol` as seen from the module being built, declared if it is not there yet."""
    known = builder.module.globals.get(symbol)
    if known is not None:
        return known
    return ir.Function(builder.module, ir.FunctionType(result, [operand.type for operand in operands]), symbol)


def _llvm(stem: str) -> Emit:
    def emit(builder: Any, suffix: str, *operands: Any) -> Any:
        return builder.call(declare(builder, f"llvm.{stem}.{suffix}", operands[0].type, operands), operands)

    return emit


# Bit casts.


def _bitcast(name: str, source: Any, target: Any, dtype: Any) -> Any:
    carrier: Any = np.dtype(str(source)).type

    def twin(x: Any) -> Any:
        """The same bits as another type."""
        if np.issubdtype(carrier, np.integer):
            bits = carrier().dtype.itemsize * 8
            wrapped = int(x) & ((1 << bits) - 1)
            if np.issubdtype(carrier, np.signedinteger) and wrapped >> (bits - 1):
                wrapped -= 1 << bits
            return carrier(wrapped).view(dtype)
        return carrier(x).view(dtype)

    return define_fixed(name, target, (source,), lambda builder, result, x: builder.bitcast(x, result), twin)


bitcast_f32_i32 = _bitcast("bitcast_f32_i32", types.float32, types.int32, np.int32)
bitcast_f32_u32 = _bitcast("bitcast_f32_u32", types.float32, types.uint32, np.uint32)
bitcast_i32_f32 = _bitcast("bitcast_i32_f32", types.int32, types.float32, np.float32)
bitcast_u32_f32 = _bitcast("bitcast_u32_f32", types.uint32, types.float32, np.float32)
bitcast_f64_i64 = _bitcast("bitcast_f64_i64", types.float64, types.int64, np.int64)
bitcast_f64_u64 = _bitcast("bitcast_f64_u64", types.float64, types.uint64, np.uint64)
bitcast_i64_f64 = _bitcast("bitcast_i64_f64", types.int64, types.float64, np.float64)
bitcast_u64_f64 = _bitcast("bitcast_u64_f64", types.uint64, types.float64, np.float64)


# Rounding, sign, root.


def _floor(x: Any) -> Any:
    """The largest integer not above x, as a float."""
    return np.floor(x)


def _ceil(x: Any) -> Any:
    """The smallest integer not below x, as a float."""
    return np.ceil(x)


def _trunc(x: Any) -> Any:
    """x without its fraction."""
    return np.trunc(x)


def _rint(x: Any) -> Any:
    """The nearest integer as a float; halves go to the even neighbour."""
    return np.rint(x)


def _sqrt(x: Any) -> Any:
    """The correctly rounded square root; NaN below zero."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


def _fabs(x: Any) -> Any:
    """|x|: clears the sign bit, NaN's too."""
    return np.fabs(x)


def _copysign(x: Any, y: Any) -> Any:
    """|x| with the sign of y."""
    return np.copysign(x, y)


floor = _over_floats("floor", _llvm("floor"), _floor)
ceil = _over_floats("ceil", _llvm("ceil"), _ceil)
trunc = _over_floats("trunc", _llvm("trunc"), _trunc)
rint = _over_floats("rint", _llvm("roundeven"), _rint)
sqrt = _over_floats("sqrt", _llvm("sqrt"), _sqrt)
fabs = _over_floats("fabs", _llvm("fabs"), _fabs)
copysign = _over_floats("copysign", _llvm("copysign"), _copysign)


# Maximum and minimum as IEEE 754-2019 defines them: NaN propagates, -0 is less than +0.


def _fmaximum(x: Any, y: Any) -> Any:
    """IEEE 754-2019 maximum: NaN if either operand is NaN; -0 < +0."""
    if x == y and x == 0:
        return x if not np.signbit(x) else y
    return np.maximum(x, y)


def _fminimum(x: Any, y: Any) -> Any:
    """IEEE 754-2019 minimum: NaN if either operand is NaN; -0 < +0."""
    if x == y and x == 0:
        return x if np.signbit(x) else y
    return np.minimum(x, y)


fmaximum = _over_floats("fmaximum", _llvm("maximum"), _fmaximum)
fminimum = _over_floats("fminimum", _llvm("minimum"), _fminimum)


# Arithmetic with other rules than the surrounding code.


def _add(x: Any, y: Any) -> Any:
    """x + y that may be reassociated with other such sums: a loop that accumulates through it vectorizes."""
    with np.errstate(all="ignore"):
        return x + y


def _mul(x: Any, y: Any) -> Any:
    """x * y that may be reassociated with other such products: a loop that accumulates through it vectorizes."""
    with np.errstate(all="ignore"):
        return x * y


_REASSOCIATE: Final = ("reassoc", "contract")
add_reassoc = _over_floats("add_reassoc", lambda builder, suffix, x, y: builder.fadd(x, y, flags=_REASSOCIATE), _add)
mul_reassoc = _over_floats("mul_reassoc", lambda builder, suffix, x, y: builder.fmul(x, y, flags=_REASSOCIATE), _mul)


def _mul_rounded(x: Any, y: Any) -> Any:
    """x * y, rounded on its own: never contracted into a multiply-add with what uses it."""
    with np.errstate(all="ignore"):
        return x * y


# Numba gives the function's fast-math flags to every operation that has none. `afn` is about library functions and has
# no effect on a product: it only keeps `contract` away.
mul_rounded = _over_floats(
    "mul_rounded", lambda builder, suffix, x, y: builder.fmul(x, y, flags=("afn",)), _mul_rounded
)


def _fma(x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once."""
    dtype = np.result_type(x, y, z).type
    with np.errstate(all="ignore"):
        plain = dtype(x * y + z)
        if not (np.isfinite(x) and np.isfinite(y)):
            return plain
        if not np.isfinite(z):
            return dtype(z)
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    if exact == 0:
        return plain if plain == 0 else dtype(0)
    return _round_fraction(exact, dtype)


def _round_fraction(exact: Fraction, dtype: Any) -> Any:
    """The float nearest to `exact`, ties to even."""
    info = np.finfo(dtype)
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    quantum = max(exponent, int(info.minexp)) - int(info.nmant)
    units = round(magnitude / Fraction(2) ** quantum)
    if units.bit_length() + quantum > int(info.maxexp):
        result = dtype(np.inf)
    else:
        result = np.ldexp(dtype(units), quantum)
    return -result if exact < 0 else result


fma = _over_floats("fma", _llvm("fma"), _fma)


# Float to integer: saturates, NaN becomes 0.


def _to_integer(name: str, kind: Any) -> Any:
    dtype = np.dtype(str(kind)).type
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)

    def twin(x: Any) -> Any:
        """Truncates toward zero; saturates at the integer type's ends; NaN gives 0."""
        if np.isnan(x):
            return dtype(0)
        if np.isinf(x):
            return dtype(high if x > 0 else low)
        return dtype(min(max(int(x), low), high))

    operation = "fptosi" if kind.signed else "fptoui"

    def emit(builder: Any, suffix: str, x: Any) -> Any:
        width = ir.IntType(kind.bitwidth)
        symbol = f"llvm.{operation}.sat.i{kind.bitwidth}.{suffix}"
        return builder.call(declare(builder, symbol, width, (x,)), (x,))

    return _over_floats(name, emit, twin, kind)


float_to_i8_sat = _to_integer("float_to_i8_sat", types.int8)
float_to_i16_sat = _to_integer("float_to_i16_sat", types.int16)
float_to_i32_sat = _to_integer("float_to_i32_sat", types.int32)
float_to_i64_sat = _to_integer("float_to_i64_sat", types.int64)
float_to_u8_sat = _to_integer("float_to_u8_sat", types.uint8)
float_to_u16_sat = _to_integer("float_to_u16_sat", types.uint16)
float_to_u32_sat = _to_integer("float_to_u32_sat", types.uint32)
float_to_u64_sat = _to_integer("float_to_u64_sat", types.uint64)


# Pointers.


def _offset(p: Any, i: Any) -> Any:
    """A pointer `i` elements further; on arrays, the view that starts there."""
    return p[i:]


def _offset_typing(context: Any, arguments: Any) -> Any:
    pointer, _ = arguments
    if not isinstance(pointer, types.CPointer):
        return None

    def generate(target: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.gep(operands[0], [operands[1]])

    return pointer(pointer, types.int64), generate


offset_pointer = _define("offset_pointer", _offset_typing, _offset)
