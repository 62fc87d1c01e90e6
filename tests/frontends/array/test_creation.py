"""Making arrays and asking about dtypes, against NumPy."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc.frontends.array as gnp
from graphc.dtypes import ALL, FLOATS, INTEGERS, DType, bfloat16, bool_, float32, float64, int8, int64, uint8
from graphc.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from tests.frontends.array.checking import assert_close, assert_same, numpy_of


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (1, np.int64(1)),
        (1.5, np.float32(1.5)),
        (True, np.True_),
        ([1, 2], np.array([1, 2])),
        ([], np.zeros(0, np.float32)),
        ([[1.0], [2]], np.array([[1], [2]], np.float32)),
        ([True, False], np.array([True, False])),
        (np.float64(2), np.float64(2)),
        ([np.float64(1), np.float64(2)], np.array([1.0, 2.0])),
        (np.arange(3, dtype=np.int8), np.arange(3, dtype=np.int8)),
    ],
)
def test_asarray(data: Any, want: Any) -> None:
    assert_same(gnp.asarray(data), want)
    assert_same(gnp.asarray(data, dtype=float64), np.asarray(want, np.float64))


@pytest.mark.cpu
def test_asarray_shares_memory_unless_asked_to_copy_and_stacks_arrays() -> None:
    base = np.arange(3.0)
    assert np.shares_memory(gnp.asarray(base).numpy(), base)
    assert not np.shares_memory(gnp.asarray(base, copy=True).numpy(), base)
    x = gnp.asarray([1.0, 2.0])
    assert_same(gnp.asarray([x, x]), np.array([[1, 2], [1, 2]], np.float32))
    assert gnp.asarray(x) is x
    with pytest.raises(ShapeError, match="is not a rectangular array of numbers"):
        gnp.asarray([[1, 2], [3]])
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        gnp.asarray([1], device="tpu")


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_filled_arrays(dtype: DType) -> None:
    for name in ("zeros", "ones"):
        assert_same(getattr(gnp, name)((2, 3), dtype=dtype), getattr(np, name)((2, 3), dtype.numpy))
    assert_same(gnp.full((2,), 1, dtype=dtype), np.full((2,), 1, dtype.numpy))
    like = gnp.zeros((2, 3), dtype=dtype)
    assert_same(gnp.ones_like(like), np.ones((2, 3), dtype.numpy))
    assert_same(gnp.full_like(like, 1), np.ones((2, 3), dtype.numpy))
    assert_same(gnp.empty_like(like), np.zeros((2, 3), dtype.numpy))
    assert gnp.eye(2, 3, k=1, dtype=dtype).dtype is dtype


def test_defaults_and_shapes() -> None:
    assert gnp.zeros(2, 3).shape == gnp.zeros((2, 3)).shape == (2, 3)
    assert gnp.zeros(()).shape == ()
    assert gnp.ones(2).dtype is float32
    assert gnp.full(2, 7).dtype is int64
    assert gnp.full(2, True).dtype is bool_
    assert gnp.empty(3).shape == (3,)
    x = gnp.zeros(3)
    x += 1  # filled arrays can be written
    assert_same(x, np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"1\.5 is not a size"):
        gnp.zeros((1.5,))


@pytest.mark.parametrize(
    "arguments", [(5,), (2, 7), (2, 7, 2), (7, 2, -2), (3, 3), (5, 1), (0, 1, 0.25), (1.0, 0.0, -0.3), (4.5,)]
)
def test_arange(arguments: Any) -> None:
    want = np.arange(*arguments)
    assert_same(gnp.arange(*arguments), want if want.dtype.kind == "i" else want.astype(np.float32), rtol=1e-6)
    with pytest.raises(ArgumentError, match="step must not be 0"):
        gnp.arange(1, 5, 0)


@pytest.mark.parametrize("endpoint", [True, False])
def test_linspace_eye_and_one_hot(endpoint: bool) -> None:
    want = np.linspace(-1, 2, 7, endpoint=endpoint).astype(np.float32)
    assert_same(gnp.linspace(-1, 2, 7, endpoint=endpoint), want)
    assert_same(gnp.eye(3, k=-1), np.eye(3, k=-1, dtype=np.float32))
    want = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    assert_same(gnp.one_hot(gnp.asarray([0, 2, 5]), 3), want)
    with pytest.raises(ArgumentError, match="one_hot takes integers, not float32"):
        gnp.one_hot(gnp.asarray([0.0]), 3)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_limits_of_floats(dtype: DType) -> None:
    info: Any = (ml_dtypes if dtype is bfloat16 else np).finfo(dtype.numpy)
    ours = gnp.finfo(dtype)
    assert (ours.bits, ours.dtype) == (info.bits, dtype)
    for name in ("eps", "max", "min", "smallest_normal"):
        assert getattr(ours, name) == float(getattr(info, name))
    with pytest.raises(DTypeError, match=r"iinfo: .* is not an integer dtype"):
        gnp.iinfo(dtype)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_limits_of_integers(dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    assert gnp.iinfo(gnp.zeros(1, dtype=dtype)) == (info.bits, info.max, info.min, dtype)
    with pytest.raises(DTypeError, match=r"finfo: .* is not a floating dtype"):
        gnp.finfo(dtype)


def test_kinds_of_dtypes() -> None:
    assert gnp.isdtype(float32, "real floating")
    assert gnp.isdtype(uint8, "unsigned integer")
    assert gnp.isdtype(int8, ("bool", "signed integer"))
    assert gnp.isdtype(int8, "integral")
    assert not gnp.isdtype(bool_, "numeric")
    assert not gnp.isdtype(float32, "complex floating")
    assert gnp.isdtype(float32, "float32")
    assert not gnp.isdtype(float32, float64)
    with pytest.raises(ArgumentError, match="'wavy' is no kind of dtypes"):
        gnp.isdtype(float32, "wavy")


def test_conversion() -> None:
    x = gnp.asarray(np.array([-np.inf, -1.7, np.nan, 300.0, np.inf]))
    assert_same(gnp.astype(x, int8), np.array([-128, -1, 0, 127, 127], np.int8))
    assert_same(gnp.astype(x, uint8), np.array([0, 0, 0, 255, 255], np.uint8))
    assert gnp.astype(x, float64, copy=False) is x
    assert not np.shares_memory(numpy_of(gnp.astype(x, float64)), numpy_of(x))
    assert gnp.result_type(x, 1, "float32") is float64
    assert gnp.result_type(int8, 1.0) is float32
    filled = gnp.zeros(2, dtype=int8)
    filled[0] = np.inf
    filled[1] = float("nan")
    assert_same(filled, np.array([127, 0], np.int8))


def test_memory_of_other_libraries() -> None:
    base = np.arange(4.0)
    for array in (gnp.from_dlpack(base), gnp.from_numpy(base)):
        array[0] += 1
    assert base[0] == 2
    assert not np.shares_memory(gnp.from_dlpack(base, copy=True).numpy(), base)
    with pytest.raises(ArgumentError, match="from_numpy takes an ndarray, not list"):
        gnp.from_numpy([1.0])
    assert_close(gnp.copy(gnp.from_numpy(base)), base)


@pytest.mark.parametrize("make", [gnp.zeros, gnp.ones, gnp.empty])
def test_made_as_leaves(make: Callable[..., Any]) -> None:
    x = make(3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.is_leaf
    np.testing.assert_array_equal(x.grad, [2, 2, 2])
