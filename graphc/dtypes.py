"""Element types and the promotion table.

Promotion is the table of the Python array API standard (2024.12, "Type promotion rules"), and where that is silent:
bool is below everything, any integer with any float gives the float, float16 with bfloat16 gives float32. Python scalars
are *weak*: they take the other operand's dtype unless their kind is higher (a float against an int gives float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable


class DType:
    """An element type: ``name`` ("float32"), ``short`` ("f32"), ``kind`` ("bool", "uint", "int", "float"), ``bits``.

    Instances are singletons (compare with ``is`` or ``==``) and are accepted wherever NumPy takes a dtype.
    """

    __slots__ = ("_numpy", "bits", "kind", "name", "short")

    def __init__(self, name: str, short: str, kind: str, bits: int) -> None:
        self.name, self.short, self.kind, self.bits = name, short, kind, bits
        self._numpy: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; NumPy itself looks for this name, so ``np.zeros(3, gc.float32)`` works."""
        if self._numpy is None:
            if self.name == "bfloat16":
                import ml_dtypes

                self._numpy = np.dtype(ml_dtypes.bfloat16)
            else:
                self._numpy = np.dtype(self.name)
        return self._numpy

    numpy = dtype

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return max(1, self.bits // 8)

    @property
    def is_floating(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def is_inexact(self) -> bool:
        """Whether values of this dtype can have a gradient (floating today; complex numbers will be too)."""
        return self.kind in ("float", "complex")

    @property
    def compute(self) -> DType:
        """The dtype arithmetic is done in: float32 for the 16-bit floats, the dtype itself otherwise."""
        return float32 if self.kind == "float" and self.bits == 16 else self

    def __repr__(self) -> str:
        return f"graphc.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (as_dtype, (self.name,))


bool_ = DType("bool", "bool", "bool", 8)
uint8 = DType("uint8", "u8", "uint", 8)
uint16 = DType("uint16", "u16", "uint", 16)
uint32 = DType("uint32", "u32", "uint", 32)
uint64 = DType("uint64", "u64", "uint", 64)
int8 = DType("int8", "i8", "int", 8)
int16 = DType("int16", "i16", "int", 16)
int32 = DType("int32", "i32", "int", 32)
int64 = DType("int64", "i64", "int", 64)
float16 = DType("float16", "f16", "float", 16)
bfloat16 = DType("bfloat16", "bf16", "float", 16)
float32 = DType("float32", "f32", "float", 32)
float64 = DType("float64", "f64", "float", 64)

ALL: tuple[DType, ...] = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64,
)  # fmt: skip
FLOATS = tuple(d for d in ALL if d.is_floating)
INTEGERS = tuple(d for d in ALL if d.is_integer)

default_float = float32
default_int = int64

_BY_NAME: dict[str, DType] = {d.name: d for d in ALL} | {d.short: d for d in ALL} | {"bool_": bool_}
_BY_NUMPY: dict[np.dtype[Any], DType] = {np.dtype(d.name): d for d in ALL if d is not bfloat16}
_BY_TYPE: dict[type, DType] = {bool: bool_, int: default_int, float: default_float}


def as_dtype(value: Any) -> DType:
    """The DType that ``value`` names: a DType, "float32" or "f32", a NumPy dtype or scalar type, ``bool``/``int``/``float``.

    Raises DTypeError for anything else (complex numbers, strings, objects, dates).
    """
    if isinstance(value, DType):
        return value
    found: DType | None = None
    if isinstance(value, str):
        found = _BY_NAME.get(value)
    elif isinstance(value, type):
        found = _BY_TYPE.get(value)
    if found is not None:
        return found
    try:
        numpy_dtype = np.dtype(value)
    except (TypeError, ValueError):
        numpy_dtype = None
    if numpy_dtype is not None:
        if not numpy_dtype.isnative:
            numpy_dtype = numpy_dtype.newbyteorder("=")
        found = _BY_NUMPY.get(numpy_dtype)
        if found is None and numpy_dtype.name == "bfloat16":
            found = bfloat16
        if found is not None:
            return found
    raise DTypeError(
        f"{value!r} is not a dtype that graphc knows",
        hint="use one of " + ", ".join(d.name for d in ALL),
        cause=DTypeError.UNKNOWN,
    )


def dtype_of(array: Any) -> DType:
    """The DType of an ndarray's elements: :func:`as_dtype` of its dtype, by one look-up for the usual ones."""
    return _BY_NUMPY.get(array.dtype) or as_dtype(array.dtype)


_SIGNED_ABOVE = {8: int16, 16: int32, 32: int64}


def _by_kind_and_bits(kind: str, bits: int) -> DType:
    return next(d for d in ALL if d.kind == kind and d.bits == bits)


def promote(a: DType, b: DType) -> DType:
    """The common dtype of two strong operands. Raises DTypeError for uint64 with a signed integer, which have none."""
    if a is b or b.is_bool:
        return a
    if a.is_bool:
        return b
    if a.is_floating or b.is_floating:
        if not (a.is_floating and b.is_floating):
            return a if a.is_floating else b
        return float32 if a.bits == b.bits else (a if a.bits > b.bits else b)
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(
            f"{a.name} and {b.name} have no common integer dtype",
            hint="convert one operand with .astype(...) first, for example to int64",
            cause=DTypeError.PROMOTION,
        )
    return _SIGNED_ABOVE[unsigned.bits]


_KIND_ORDER = {"bool": 0, "uint": 1, "int": 1, "float": 2}


def promote_weak(strong: DType, weak: DType) -> DType:
    """The dtype of an op on a strong operand and a weak one (a Python scalar of dtype bool, int64 or float32)."""
    if _KIND_ORDER[weak.kind] <= _KIND_ORDER[strong.kind]:
        return strong
    return default_float if weak.is_floating else default_int


def result_dtype(operands: Iterable[tuple[DType, bool]]) -> tuple[DType, bool]:
    """The dtype that ``operands``, pairs of (dtype, weak), promote to, and whether the result is weak itself."""
    strong: DType | None = None
    weak: DType | None = None
    for dtype, is_weak in operands:
        if is_weak:
            weak = dtype if weak is None else promote(weak, dtype)
        else:
            strong = dtype if strong is None else promote(strong, dtype)
    if strong is None:
        if weak is None:
            raise DTypeError("result_dtype needs at least one operand")
        return weak, True
    return (strong if weak is None else promote_weak(strong, weak)), False
