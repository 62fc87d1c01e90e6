"""What the text of a CUDA kernel may name: the scalar functions of the CPU backend, made anew for the device.

The polynomials are the same code on both (see :mod:`graphc.backends.numba_cpu.twins`), so results agree to the last places.
What differs is what they are made of: the intrinsics, here written with libdevice and plain Python. The simulator runs the
plain-Python twins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np

from graphc.backends.numba_cpu.arithmetic import integer_power
from graphc.backends.numba_cpu.scalar_namespace import python_namespace
from graphc.backends.numba_cpu.twins import retargeted
from graphc.dtypes import ALL, as_dtype, float32, float64

from .adapter import IS_SIMULATOR, alignment_test, cuda, device_function, on_types, types, vector_load, vector_store

_LANES: Final = (2, 4, 8)
_INTEGERS: Final = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


@cache
def kernel_names() -> dict[str, Any]:
    """The globals of every kernel: ``cuda``, casts (``f32(x)``), scalar functions, intrinsics, vector loads and stores."""
    functions = {**python_namespace(), **_python_arithmetic()} if IS_SIMULATOR else _device_names()
    return {
        **functions,
        **{f"load_{lanes}": vector_load(lanes) for lanes in _LANES},
        **{f"store_{lanes}": vector_store(lanes) for lanes in _LANES},
        "is_aligned": alignment_test(),
        "cuda": cuda,
        "np": np,
        "inf": float("inf"),
        "nan": float("nan"),
        **{dtype.short: dtype.numpy.type for dtype in ALL if dtype.kind in ("int", "uint") or dtype in (float32, float64)},
    }


def _device_names() -> dict[str, Any]:
    intrinsics = {**_over_floats(), **_bit_casts(), **_saturating()}
    return {**intrinsics, **retargeted(intrinsics, device_function), **_device_arithmetic()}


# Intrinsics that come in one form for each float type.


def _libdevice() -> Any:
    return import_module("numba.cuda.libdevice")


def _over_floats() -> dict[str, Any]:
    lib, f32, f64 = _libdevice(), types.float32, types.float64
    unary = {
        "floor": (lib.floorf, lib.floor), "ceil": (lib.ceilf, lib.ceil), "trunc": (lib.truncf, lib.trunc),
        "rint": (lib.rintf, lib.rint), "sqrt": (lib.fsqrt_rn, lib.dsqrt_rn), "fabs": (lib.fabsf, lib.fabs),
    }  # fmt: skip
    binary = {"copysign": (lib.copysignf, lib.copysign), "mul_rounded": (lib.fmul_rn, lib.dmul_rn)}
    functions = {name: on_types(name, {f32: _unary(single), f64: _unary(double)}) for name, (single, double) in unary.items()}
    for name, (single, double) in binary.items():
        functions[name] = on_types(name, {f32: _binary(single), f64: _binary(double)})
    functions["fma"] = on_types("fma", {f32: _ternary(lib.fmaf_rn), f64: _ternary(lib.fma_rn)})
    functions["libm_pow"] = device_function(_binary(lib.pow))
    for plain in (fmaximum, fminimum, add_reassoc, mul_reassoc):
        functions[plain.__name__] = device_function(plain)
    functions["_widen_f16"] = _widen_f16()
    return functions


def _unary(called: Any) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        return called(x)

    return call


def _binary(called: Any) -> Callable[[Any, Any], Any]:
    def call(x: Any, y: Any) -> Any:
        return called(x, y)

    return call


def _ternary(called: Any) -> Callable[[Any, Any, Any], Any]:
    def call(x: Any, y: Any, z: Any) -> Any:
        return called(x, y, z)

    return call


def fmaximum(x: Any, y: Any) -> Any:
    """IEEE 754-2019 maximum: NaN if either operand is NaN; -0 < +0."""
    greater = x if x > y else y
    equal = x + y if x == 0 else x  # the sum of two zeros is -0 only if both are
    found = equal if x == y else greater
    return x if x != x else found


def fminimum(x: Any, y: Any) -> Any:
    """IEEE 754-2019 minimum: NaN if either operand is NaN; -0 < +0."""
    less = x if x < y else y
    equal = -(-x - y) if x == 0 else x
    found = equal if x == y else less
    return x if x != x else found


def add_reassoc(x: Any, y: Any) -> Any:
    """x + y: a sum over threads is in another order already, so nothing more is to be licensed."""
    return x + y


def mul_reassoc(x: Any, y: Any) -> Any:
    """x * y, see `add_reassoc`."""
    return x * y


def _widen_f16() -> Any:
    by_bits: Any = retargeted(_bit_casts(), device_function)["f16_to_f32_by_bits"]
    return by_bits


def _bit_casts() -> dict[str, Any]:
    lib = _libdevice()
    forms = {
        "bitcast_f32_i32": _unary(lib.float_as_int),
        "bitcast_f32_u32": _composed(np.uint32, lib.float_as_int),
        "bitcast_i32_f32": _composed(lib.int_as_float, np.int32),
        "bitcast_u32_f32": _composed(lib.int_as_float, np.int32),
        "bitcast_f64_i64": _unary(lib.double_as_longlong),
        "bitcast_f64_u64": _composed(np.uint64, lib.double_as_longlong),
        "bitcast_i64_f64": _composed(lib.longlong_as_double, np.int64),
        "bitcast_u64_f64": _composed(lib.longlong_as_double, np.int64),
    }
    return {name: device_function(form) for name, form in forms.items()}


def _composed(outer: Any, inner: Any) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        return outer(inner(x))

    return call


def _saturating() -> dict[str, Any]:
    return {f"float_to_{short}_sat": device_function(_to_integer(short)) for short in _INTEGERS}


def _to_integer(short: str) -> Callable[[Any], Any]:
    dtype = as_dtype(short).numpy.type
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    low, high, zero = dtype(least), dtype(most), dtype(0)
    first, end = float(least), math.ldexp(1.0, most.bit_length())

    def convert(x: Any) -> Any:
        """Truncates toward zero; saturates at the integer type's ends; NaN gives 0."""
        if x != x:
            return zero
        if x >= end:
            return high
        if x <= first:
            return low
        return dtype(x)

    return convert


# Arithmetic beyond operators.


def _device_arithmetic() -> dict[str, Any]:
    lib = _libdevice()
    return {
        "fmod_f32": device_function(_binary(lib.fmodf)),
        "fmod_f64": device_function(_binary(lib.fmod)),
        **{f"ipow_{short}": device_function(integer_power(short)) for short in _INTEGERS},
    }


def _python_arithmetic() -> dict[str, Any]:
    return {
        "fmod_f32": np.fmod,
        "fmod_f64": np.fmod,
        **{f"ipow_{short}": integer_power(short) for short in _INTEGERS},
    }
