"""Literals of the text form: numbers, strings and arrays, each with its printer and its reader side by side.

Whatever is printed reads back bit for bit. Arrays of up to ``MAX_ELEMENTS`` elements are spelled out, larger ones (and
any with a NaN that is not the usual one) are given by their bytes, little-endian in row-major order, as base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import sys
from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype
from graphc.errors import DTypeError
from graphc.ir.lexer import Cursor
from graphc.ir.spec import read_type
from graphc.ir.types import TensorType

MAX_ELEMENTS = 32
_MAX_NESTING = 8


def format_string(text: str) -> str:
    """``text`` in double quotes with JSON's escapes."""
    plain = json.dumps(text, ensure_ascii=False)
    return plain if plain.isprintable() else json.dumps(text)


def read_string(cursor: Cursor, what: str) -> str:
    """The string at the cursor."""
    token = cursor.token
    if len(token) < 2 or token[0] != '"':
        raise cursor.expected(what)
    try:
        text: str = json.loads(token)
    except ValueError:
        hint = "escapes are those of JSON, and control characters must be escaped"
        raise cursor.error("this string is malformed", hint=hint) from None
    cursor.advance()
    return text


def format_float(value: float) -> str:
    """The shortest text that reads back to ``value``."""
    return repr(float(value))


def read_number(cursor: Cursor) -> float | int:
    """A number with its sign at the cursor; ``inf`` and ``nan`` are floats."""
    negative = False
    while cursor.token in ("-", "+"):
        negative ^= cursor.advance() == "-"
    value: float | int
    if cursor.token in ("inf", "nan"):
        value = float(cursor.advance())
    elif cursor.at_float():
        value = float(cursor.token)
        if math.isinf(value):
            raise cursor.error(f"{cursor.token} is too large for a float", hint="for infinity write inf")
        cursor.advance()
    else:
        value = cursor.integer("a number")
    return -value if negative else value


def is_graphc_array(array: np.ndarray) -> bool:
    """Whether graphc has the array's dtype: it has not for objects, strings, dates and complex numbers."""
    try:
        as_dtype(array.dtype)
    except DTypeError:
        return False
    return True


def array_bytes(array: np.ndarray) -> bytes:
    """The bytes of ``array``, little-endian in row-major order."""
    if sys.byteorder == "big" and array.dtype.itemsize > 1:
        array = array.byteswap()
    return array.tobytes()


def array_of_bytes(data: bytes, type_: TensorType) -> np.ndarray:
    """The read-only array that :func:`array_bytes` took apart."""
    array = np.frombuffer(data, dtype=type_.dtype.numpy).reshape(type_.shape)
    if sys.byteorder == "big" and array.dtype.itemsize > 1:
        array = array.byteswap()
        array.setflags(write=False)
    return array


def format_array(array: np.ndarray) -> str:
    """``dense<f32[2]: [1.0, 2.0]>``, or ``dense<f32[100]: base64 "…">``."""
    type_ = TensorType(as_dtype(array.dtype), array.shape)
    if 0 < array.size <= MAX_ELEMENTS and array.ndim <= _MAX_NESTING and not _has_unusual_nan(array, type_.dtype):
        content = _format_nested(array.tolist(), array, type_.dtype)
    else:
        content = f'base64 "{base64.b64encode(array_bytes(array)).decode("ascii")}"'
    return f"dense<{type_}: {content}>"


def _has_unusual_nan(array: np.ndarray, dtype: DType) -> bool:
    if not dtype.is_floating:
        return False
    with np.errstate(invalid="ignore"):  # ml_dtypes reports signalling NaNs
        nans = array[np.isnan(array)]
    usual = np.full_like(nans, float("nan"))
    return bool(nans.tobytes() != usual.tobytes())


def _format_nested(values: Any, array: np.ndarray, dtype: DType) -> str:
    if array.ndim:
        rows = (_format_nested(value, row, dtype) for value, row in zip(values, array, strict=True))
        return f"[{', '.join(rows)}]"
    if dtype.is_bool:
        return "true" if values else "false"
    if not dtype.is_floating:
        return str(int(values))
    exact = repr(float(values))
    short = str(array[()])  # in the element's own precision: 0.1, not 0.10000000149011612
    if (
        len(short) < len(exact)
        and ("." in short or "e" in short)
        and float(dtype.numpy.type(float(short))) == float(values)
    ):
        return short
    return exact


def read_array(cursor: Cursor) -> np.ndarray:
    """The ``dense<type: elements>`` at the cursor, read-only."""
    cursor.expect("dense")
    cursor.expect("<")
    at = cursor.index
    type_ = read_type(cursor)
    if not type_.is_concrete:
        raise cursor.error(f"an array cannot have the symbolic shape of {type_}", at=at)
    cursor.expect(":")
    array = _read_base64(cursor, type_) if cursor.accept("base64") else _read_elements(cursor, type_)
    cursor.expect(">")
    return array


def _read_base64(cursor: Cursor, type_: TensorType) -> np.ndarray:
    at = cursor.index
    text = read_string(cursor, "a string of base64")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise cursor.error("this is not base64", at=at) from None
    size = type_.size
    if size * type_.dtype.itemsize != len(data):
        needed = f"{size * type_.dtype.itemsize} bytes"
        raise cursor.error(f"{type_} needs {needed}, the string holds {len(data)}", at=at)
    try:
        return array_of_bytes(data, type_)
    except ValueError as error:  # more axes than NumPy has
        raise cursor.error(f"{type_}: {error}", at=at) from None


def _read_elements(cursor: Cursor, type_: TensorType) -> np.ndarray:
    at = cursor.index
    flat: list[Any] = []
    _read_nested(cursor, type_, 0, flat)
    dtype = type_.dtype
    with np.errstate(all="ignore"):
        array = np.array(flat, dtype=dtype.numpy)
        if dtype.is_floating and not np.array_equal(np.isinf(array), [math.isinf(value) for value in flat]):
            raise cursor.error(f"an element is too large for {dtype}", at=at, hint="for infinity write inf")
    try:
        array = array.reshape(type_.shape)
    except ValueError as error:
        raise cursor.error(f"{type_}: {error}", at=at) from None
    array.setflags(write=False)
    return array


def _read_nested(cursor: Cursor, type_: TensorType, axis: int, flat: list[Any]) -> None:
    if axis == type_.ndim:
        flat.append(_read_element(cursor, type_.dtype))
        return
    at = cursor.index
    size = type_.shape[axis]
    cursor.descend()
    cursor.expect("[", hint=f"{type_} is written as {type_.ndim} levels of [...]")
    count = 0
    while cursor.token != "]":
        if count:
            cursor.expect(",")
        _read_nested(cursor, type_, axis + 1, flat)
        count += 1
    cursor.advance()
    cursor.depth -= 1
    if count != size:
        raise cursor.error(f"{type_} has size {size} in dimension {axis}, but the list has {count}", at=at)


def _read_element(cursor: Cursor, dtype: DType) -> bool | int | float:
    at = cursor.index
    if dtype.is_bool:
        if cursor.token not in ("true", "false"):
            raise cursor.expected("true or false")
        return cursor.advance() == "true"
    value = read_number(cursor)
    if dtype.is_floating:
        return float(value)
    if isinstance(value, float):
        raise cursor.error(f"{value} is not an element of {dtype}", at=at, hint="write integers without a fraction")
    limits = np.iinfo(dtype.numpy)
    if not limits.min <= value <= limits.max:
        raise cursor.error(f"{value} does not fit into {dtype}: {limits.min} to {limits.max}", at=at)
    return value
