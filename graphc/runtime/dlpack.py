"""DLPack for memory of devices: capsules that other libraries take, and theirs read. For the host's memory NumPy does this.

The layout is that of dlpack.h, version 0.8 (https://dmlc.github.io/dlpack).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from graphc.dtypes import ALL, DType, as_dtype
from graphc.errors import ArgumentError, DTypeError
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.layout import Layout

#: Device types of the protocol.
CPU: Final = 1
CUDA: Final = 2
KINDS: Final = {"cuda": CUDA}

_CODES: Final = {"int": 0, "uint": 1, "float": 2, "bool": 6}
_BFLOAT: Final = 4


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("index", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
_HELD_HERE: Final = 4  # references to a capsule in _forget_unused: the table's, the list's, the loop's, the argument's
_NAME: Final = b"dltensor"
_USED: Final = b"used_dltensor"
_exported: dict[int, tuple[Any, ...]] = {}  # by the address of the struct: the capsule, and what the struct refers to


def device_of(buffer: DeviceBuffer) -> tuple[int, int]:
    """The protocol's name of the device of ``buffer``."""
    kind, _, index = buffer.device.name.partition(":")
    return KINDS[kind], int(index)


def to_capsule(buffer: DeviceBuffer) -> Any:
    """A capsule over the memory of ``buffer``, which lives until the consumer is done with it. Call ``synchronize()`` first."""
    dtype = as_dtype(buffer.dtype)
    shape = (ctypes.c_int64 * max(1, buffer.ndim))(*buffer.shape)
    strides = (ctypes.c_int64 * max(1, buffer.ndim))(*buffer.layout.strides)
    managed = _Managed()
    code = _BFLOAT if dtype.name == "bfloat16" else _CODES[dtype.kind]
    address, bits = buffer.address if buffer.size else None, 8 * buffer.dtype.itemsize
    managed.tensor = _Tensor(address, _Device(*device_of(buffer)), buffer.ndim, _Type(code, bits, 1), shape, strides, 0)
    managed.deleter = _forget
    _forget_unused()
    key = ctypes.addressof(managed)
    capsule = _new(key, _NAME, None)
    _exported[key] = (capsule, managed, shape, strides, buffer)
    return capsule


@_Deleter  # type: ignore[untyped-decorator]
def _forget(managed: Any) -> None:
    _exported.pop(ctypes.addressof(managed.contents), None)


def _forget_unused() -> None:
    """Let go of what is in capsules that nobody took and nobody holds. (A destructor of the capsule's could not be Python: it
    may run while an exception is on its way.)"""
    for key, (capsule, *_) in list(_exported.items()):
        if _is_valid(capsule, _NAME) and sys.getrefcount(capsule) <= _HELD_HERE:
            _exported.pop(key, None)


@dataclass
class Foreign:
    """Memory of another library: where it begins, what is in it, and what gives it back when this is collected."""

    address: int
    dtype: DType
    layout: Layout
    device: tuple[int, int]
    release: Callable[[], None]

    def __del__(self) -> None:
        self.release()


def from_capsule(capsule: Any) -> Foreign:
    """What is in another library's capsule, which nobody may take again.

    Raises ArgumentError for a used one, DTypeError for elements of a kind that graphc does not have.
    """
    if not _is_valid(capsule, _NAME):
        raise ArgumentError("this is no DLPack capsule, or one that was taken already", hint="pass the array itself")
    managed = ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_Managed))
    tensor = managed.contents.tensor
    dtype = _dtype(tensor.dtype)
    shape = tuple(tensor.shape[: tensor.ndim])
    layout = Layout.contiguous(shape) if not tensor.strides else Layout(shape, tuple(tensor.strides[: tensor.ndim]))
    _rename(capsule, _USED)

    def release() -> None:
        if managed.contents.deleter:
            managed.contents.deleter(managed)

    return Foreign(
        (tensor.data or 0) + tensor.byte_offset, dtype, layout, (tensor.device.kind, tensor.device.index), release
    )


def _dtype(given: Any) -> DType:
    for dtype in ALL:
        code = _BFLOAT if dtype.name == "bfloat16" else _CODES[dtype.kind]
        bits = 8 if dtype.is_bool else dtype.bits
        if given.lanes == 1 and (code, bits) == (given.code, given.bits):
            return dtype
    raise DTypeError(f"DLPack: no dtype of graphc's has code {given.code} and {given.bits} bits in {given.lanes} lanes")
