"""The types of a kernel's arguments: `"f32*"` is a pointer to float32, `"i64"` an int64."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final

from graphc.errors import BackendError

SCALARS: Final[Mapping[str, tuple[str, Any]]] = {
    "f32": ("float32", ctypes.c_float),
    "f64": ("float64", ctypes.c_double),
    "i8": ("int8", ctypes.c_int8),
    "i16": ("int16", ctypes.c_int16),
    "i32": ("int32", ctypes.c_int32),
    "i64": ("int64", ctypes.c_int64),
    "u8": ("uint8", ctypes.c_uint8),
    "u16": ("uint16", ctypes.c_uint16),
    "u32": ("uint32", ctypes.c_uint32),
    "u64": ("uint64", ctypes.c_uint64),
    "bool": ("uint8", ctypes.c_uint8),
    "f16": ("uint16", ctypes.c_uint16),
    "bf16": ("uint16", ctypes.c_uint16),
}
"""Entry → Numba's name of the type, and ctypes' type. bool is stored as uint8, 16-bit floats as their bits in a uint16."""


def scalar(entry: str) -> tuple[str, Any]:
    """What `SCALARS` has for ``entry``, a pointer or not; raises BackendError for any other name."""
    found = SCALARS.get(entry.removesuffix("*"))
    if found is None:
        raise BackendError(f"unknown kernel argument type {entry!r}; known are {', '.join(SCALARS)}, '*' for a pointer")
    return found


def ctypes_type(entry: str) -> Any:
    """How an argument is handed over from Python: pointers as addresses."""
    return ctypes.c_void_p if entry.endswith("*") else scalar(entry)[1]
