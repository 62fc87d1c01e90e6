"""Floats as integers in the same order: a maximum of integers is one instruction, whatever loop it is in.

LLVM vectorizes a loop with `llvm.maximum`, but not where the value is a `select` between an element and infinity: it
moves the choice to the accumulator, which it then no longer knows for a maximum. Keys of floats have no such identity.
They tell -0 from 0, and NaN is beyond both infinities on the side that wins.
"""

from typing import Any, Final

import numpy as np

from .intrinsics import bitcast_f32_i32, bitcast_f64_i64, bitcast_i32_f32, bitcast_i64_f64
from .twins import scalar_function

_i32, _i64 = np.int32, np.int64
_MAGNITUDE_32: Final = np.int32(0x7FFFFFFF)
_MAGNITUDE_64: Final = np.int64(0x7FFFFFFFFFFFFFFF)
_NAN_32: Final = np.int32(0x7FC00000)
_NAN_64: Final = np.int64(0x7FF8000000000000)
_NAN_BELOW_32: Final = np.int32(-0x7FC00001)
_NAN_BELOW_64: Final = np.int64(-0x7FF8000000000001)


@scalar_function
def max_key_f32(x: Any) -> Any:
    """An integer that is above another one where x is above another float; above all others where x is NaN."""
    bits = bitcast_f32_i32(x)
    key = _i32(bits ^ _i32(_i32(bits >> 31) & _MAGNITUDE_32))
    return key if x == x else _NAN_32


@scalar_function
def min_key_f32(x: Any) -> Any:
    """An integer that is below another one where x is below another float; below all others where x is NaN."""
    bits = bitcast_f32_i32(x)
    key = _i32(bits ^ _i32(_i32(bits >> 31) & _MAGNITUDE_32))
    return key if x == x else _NAN_BELOW_32


@scalar_function
def key_value_f32(key: Any) -> Any:
    """The float that a key was made from."""
    return bitcast_i32_f32(_i32(key ^ _i32(_i32(key >> 31) & _MAGNITUDE_32)))


@scalar_function
def max_key_f64(x: Any) -> Any:
    """An integer that is above another one where x is above another float; above all others where x is NaN."""
    bits = bitcast_f64_i64(x)
    key = bits ^ ((bits >> 63) & _MAGNITUDE_64)
    return key if x == x else _NAN_64


@scalar_function
def min_key_f64(x: Any) -> Any:
    """An integer that is below another one where x is below another float; below all others where x is NaN."""
    bits = bitcast_f64_i64(x)
    key = bits ^ ((bits >> 63) & _MAGNITUDE_64)
    return key if x == x else _NAN_BELOW_64


@scalar_function
def key_value_f64(key: Any) -> Any:
    """The float that a key was made from."""
    return bitcast_i64_f64(key ^ ((key >> 63) & _MAGNITUDE_64))
