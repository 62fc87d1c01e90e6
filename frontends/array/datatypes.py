"""Functions about dtypes: promotion, limits, conversion."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphc.dtypes import DType, as_dtype, promote
from graphc.errors import ArgumentError, DTypeError
from graphc.frontends.array import core
from graphc.frontends.array.core import ArrayLike, common_dtype, integer_range, lift
from graphc.frontends.array.elementwise import largest_finite
from graphc.frontends.dispatch import Array, context_of


def astype(x: ArrayLike, dtype: Any, *, copy: bool = True) -> Array:
    """The elements of ``x`` converted to ``dtype``: floats to integers are cut and saturate, NaN gives 0.

    A new array, unless ``copy`` is False and nothing is to be converted.
    """
    array, wanted = lift(x), as_dtype(dtype)
    if array.dtype is wanted:
        return context_of((array,)).copy(array) if copy else array
    return core.astype(array, wanted)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that arrays, Python scalars and dtypes promote to. Raises DTypeError where there is none.

    >>> gc.result_type(gc.int32, gc.float16)
    graphc.float16
    """
    return common_dtype(*arrays_and_dtypes)


def can_cast(from_: Any, to: Any) -> bool:
    """Whether promotion converts ``from_`` (a dtype or an array) to the dtype ``to``."""
    source, target = from_.dtype if isinstance(from_, Array) else as_dtype(from_), as_dtype(to)
    try:
        return promote(source, target) is target
    except DTypeError:
        return False


_KINDS = {
    "bool": ("bool",), "signed integer": ("int",), "unsigned integer": ("uint",), "integral": ("int", "uint"),
    "real floating": ("float",), "complex floating": (), "numeric": ("int", "uint", "float"),
}  # fmt: skip


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether ``dtype`` is of ``kind``: a dtype, a kind of the array API ("real floating", "integral", …), or several."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return as_dtype(dtype).kind in _KINDS[kind]
    try:
        return as_dtype(dtype) is as_dtype(kind)
    except DTypeError:
        raise ArgumentError(f"isdtype: {kind!r} is no kind of dtypes", hint="use one of " + ", ".join(_KINDS)) from None


class FloatInfo(NamedTuple):
    """Limits of a floating dtype: ``eps`` is the gap from 1 to the next number."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntInfo(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


_MANTISSA = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126), "float64": (52, -1022)}


def _dtype_of(value: Any) -> DType:
    return value.dtype if isinstance(value, Array) else as_dtype(value)


def finfo(type: Any) -> FloatInfo:
    """The limits of a floating dtype (or of an array's). Raises DTypeError for others."""
    dtype = _dtype_of(type)
    if not dtype.is_floating:
        raise DTypeError(f"finfo: {dtype.name} is not a floating dtype", hint="use iinfo for integers")
    bits, exponent = _MANTISSA[dtype.name]
    largest = largest_finite(dtype)
    return FloatInfo(dtype.bits, 2.0**-bits, largest, -largest, 2.0**exponent, dtype)


def iinfo(type: Any) -> IntInfo:
    """The limits of an integer dtype (or of an array's). Raises DTypeError for others."""
    dtype = _dtype_of(type)
    if not dtype.is_integer:
        raise DTypeError(f"iinfo: {dtype.name} is not an integer dtype", hint="use finfo for floats")
    low, high = integer_range(dtype)
    return IntInfo(dtype.bits, high, low, dtype)
