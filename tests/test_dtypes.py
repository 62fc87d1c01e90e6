"""Element types and the promotion table."""

import itertools
import pickle

import numpy as np
import pytest

from graphc.dtypes import (
    ALL,
    FLOATS,
    INTEGERS,
    DType,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote,
    promote_weak,
    result_dtype,
    uint8,
    uint32,
    uint64,
)
from graphc.errors import DTypeError


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_spelling_names_the_same_dtype(dtype: DType) -> None:
    assert as_dtype(dtype) is dtype
    assert as_dtype(dtype.name) is dtype
    assert as_dtype(dtype.short) is dtype
    assert as_dtype(dtype.numpy) is dtype
    assert as_dtype(dtype.numpy.type) is dtype
    assert as_dtype(np.zeros(1, dtype).dtype) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert np.dtype(dtype).itemsize == dtype.itemsize
    assert repr(dtype) == f"graphc.{dtype.name}"
    assert str(dtype) == dtype.name


def test_python_types_and_foreign_byte_orders() -> None:
    assert as_dtype(bool) is bool_
    assert as_dtype(int) is int64
    assert as_dtype(float) is float32
    assert as_dtype(np.dtype(">f4")) is float32
    assert as_dtype(np.dtype("<i2")) is int16


@pytest.mark.parametrize("value", ["complex64", complex, "S3", object, "datetime64[s]", "float128x", None.__class__, 3])
def test_what_is_no_dtype_is_an_error(value: object) -> None:
    with pytest.raises(DTypeError, match="is not a dtype that graphc knows") as caught:
        as_dtype(value)
    assert "use one of bool, uint8" in str(caught.value)


def test_kinds() -> None:
    assert {d.name for d in FLOATS} == {"float16", "bfloat16", "float32", "float64"}
    assert len(INTEGERS) == 8
    for dtype in ALL:
        assert [dtype.is_bool, dtype.is_integer, dtype.is_floating].count(True) == 1
        assert dtype.is_inexact == dtype.is_floating
    assert float16.compute is float32
    assert bfloat16.compute is float32
    assert float64.compute is float64
    assert int8.compute is int8
    assert bool_.itemsize == 1


def promotes(a: DType, b: DType) -> DType | None:
    try:
        return promote(a, b)
    except DTypeError:
        return None


def test_promotion_is_commutative_idempotent_and_never_narrows() -> None:
    for a, b in itertools.product(ALL, ALL):
        common = promotes(a, b)
        assert common is promotes(b, a)
        if common is None:
            assert {a.kind, b.kind} == {"int", "uint"}
            assert 64 in (a.bits if a.kind == "uint" else 0, b.bits if b.kind == "uint" else 0)
            continue
        assert promotes(common, a) is common
        if a.kind == b.kind:
            assert common.bits >= max(a.bits, b.bits)
    for dtype in ALL:
        assert promote(dtype, dtype) is dtype


def test_promotion_agrees_with_numpy_where_the_standard_and_numpy_do() -> None:
    same_kind = [(a, b) for a in ALL for b in ALL if a.kind == b.kind and bfloat16 not in (a, b)]
    mixed_integers = [(a, b) for a in INTEGERS for b in INTEGERS if promotes(a, b) is not None]
    for a, b in same_kind + mixed_integers:
        assert promote(a, b).numpy == np.promote_types(a.numpy, b.numpy)


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        (bool_, uint8, uint8),
        (bool_, float16, float16),
        (int64, float32, float32),
        (int64, float16, float16),
        (float16, bfloat16, float32),
        (bfloat16, float64, float64),
        (uint32, int32, int64),
        (uint8, int8, int16),
    ],
)
def test_the_table(a: DType, b: DType, common: DType) -> None:
    assert promote(a, b) is common


def test_uint64_has_no_common_dtype_with_a_signed_integer() -> None:
    with pytest.raises(DTypeError, match="uint64 and int8 have no common integer dtype"):
        promote(uint64, int8)


@pytest.mark.parametrize(
    ("strong", "weak", "result"),
    [
        (float16, float32, float16),
        (float16, int64, float16),
        (int8, int64, int8),
        (int8, float32, float32),
        (bool_, int64, int64),
        (bool_, bool_, bool_),
        (uint8, bool_, uint8),
    ],
)
def test_a_weak_operand_only_raises_the_kind(strong: DType, weak: DType, result: DType) -> None:
    assert promote_weak(strong, weak) is result


def test_result_dtype() -> None:
    assert result_dtype([(float16, False), (float32, True)]) == (float16, False)
    assert result_dtype([(int64, True), (float32, True)]) == (float32, True)
    assert result_dtype([(int8, False), (float32, True), (float64, False)]) == (float64, False)
    assert result_dtype([(bool_, True)]) == (bool_, True)
    with pytest.raises(DTypeError, match="at least one operand"):
        result_dtype([])
