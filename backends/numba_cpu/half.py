"""float16 and bfloat16 as 16 stored bits, converted to and from float32: Numba's CPU target has neither type.

All conversions to 16 bits round to nearest, ties to even, keep NaN (as a quiet NaN) and give infinity on overflow;
those to float32 are exact. Reading a float16 uses the CPU's conversion instruction where kernels may. Writing one never
does: LLVM merges float64 -> float32 -> float16 into a call of `__truncdfhf2`, which no process is sure to have.
"""

from typing import Any, Final

import llvmlite.ir as ir
import numpy as np
from numba import types

from .host import IS_ARM, has_feature
from .intrinsics import bitcast_f32_i32, bitcast_i32_f32, define_fixed
from .twins import scalar_function

_HAS_INSTRUCTION: Final = has_feature("f16c") or IS_ARM
_HALF: Final = np.float32(0.5)
_SMALLEST_NORMAL: Final = np.float32(6.103515625e-05)


def _widen_twin(h: Any) -> Any:
    """The float32 with the value of the float16 whose bits are h."""
    return np.float32(np.uint16(h).view(np.float16))


_widen_f16 = define_fixed(
    "_widen_f16",
    types.float32,
    (types.uint16,),
    lambda builder, result, h: builder.fpext(builder.bitcast(h, ir.HalfType()), result),
    _widen_twin,
)


@scalar_function
def f16_to_f32_by_bits(h: Any) -> Any:
    """The float32 with the value of the float16 whose bits are h, by integer arithmetic."""
    h = np.int32(h)
    magnitude = (h & 0x7FFF) << 13
    normal = bitcast_i32_f32(magnitude + ((224 << 23) if magnitude >= (31 << 23) else (112 << 23)))
    subnormal = bitcast_i32_f32(magnitude + (113 << 23)) - _SMALLEST_NORMAL
    value = normal if magnitude >= (1 << 23) else subnormal
    return bitcast_i32_f32(bitcast_f32_i32(value) | ((h & 0x8000) << 16))


@scalar_function
def f32_to_f16_by_bits(x: Any) -> Any:
    """The bits of the float16 nearest to x, by integer arithmetic."""
    bits = bitcast_f32_i32(x)
    magnitude = bits & 0x7FFFFFFF
    normal = (magnitude - (112 << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13
    # Adding one half rounds to multiples of 2**-24, the unit of subnormal float16.
    subnormal = bitcast_f32_i32(bitcast_i32_f32(magnitude) + _HALF) - (126 << 23)
    h = normal if magnitude >= (113 << 23) else subnormal
    h = 0x7C00 if magnitude >= 0x477FF000 else h
    h = 0x7E00 | ((magnitude >> 13) & 0x3FF) if magnitude > 0x7F800000 else h
    return np.uint16(h | ((bits >> 16) & 0x8000))


@scalar_function
def f16_to_f32(h: Any) -> Any:
    """The float32 with the value of the float16 whose bits are h."""
    return _widen_f16(h) if _HAS_INSTRUCTION else f16_to_f32_by_bits(h)


@scalar_function
def f32_to_f16(x: Any) -> Any:
    """The bits of the float16 nearest to x."""
    return f32_to_f16_by_bits(x)


@scalar_function
def bf16_to_f32(h: Any) -> Any:
    """The float32 with the value of the bfloat16 whose bits are h."""
    return bitcast_i32_f32(np.int32(h) << 16)


@scalar_function
def f32_to_bf16(x: Any) -> Any:
    """The bits of the bfloat16 nearest to x."""
    bits = bitcast_f32_i32(x)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40
    return np.uint16((quiet if (bits & 0x7FFFFFFF) > 0x7F800000 else rounded) & 0xFFFF)
