"""The dtype of every op on every pair of dtypes and Python scalars, and broadcasting."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.dtypes import ALL, DType, bfloat16, bool_, float16, float32, float64, int64, promote
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_same, numpy_of

PAIRS = list(itertools.product(ALL, ALL))


def ones(dtype: DType, shape: tuple[int, ...] = (2,)) -> Any:
    return asarray(np.ones(shape, dtype.numpy))


def has_common(a: DType, b: DType) -> bool:
    return not ({a.kind, b.kind} == {"int", "uint"} and max(a.bits, b.bits) == 64 and "uint64" in (a.name, b.name))


def numpys(a: DType, b: DType) -> DType | None:
    """NumPy's answer, where it follows the array API: not for bfloat16, mixed kinds, or uint64 with a signed integer."""
    if bfloat16 in (a, b) or (a.kind == "float") != (b.kind == "float") or not has_common(a, b):
        return None
    found = np.promote_types(a.numpy, b.numpy)
    return next(d for d in ALL if d.numpy == found)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=str)
def test_every_pair_of_dtypes(a: DType, b: DType) -> None:
    if not has_common(a, b):
        with pytest.raises(DTypeError, match=f"add: {'|'.join((a.name, b.name))}"):
            gnp.add(ones(a), ones(b))
        with pytest.raises(DTypeError):
            gnp.result_type(a, b)
        assert gnp.divide(ones(a), ones(b)).dtype is float32
        return
    want = promote(a, b)
    assert numpys(a, b) in (None, want)
    assert gnp.result_type(a, b) is want
    assert gnp.can_cast(a, b) == (want is b)
    assert gnp.add(ones(a), ones(b)).dtype is want
    assert gnp.maximum(ones(a), ones(b)).dtype is want
    assert gnp.where(asarray([True, False]), ones(a), ones(b)).dtype is want
    assert gnp.concat([ones(a), ones(b)]).dtype is want
    assert gnp.equal(ones(a), ones(b)).dtype is bool_
    assert gnp.divide(ones(a), ones(b)).dtype is (want if want.is_floating else float32)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("scalar", [True, 1, 1.0])
def test_python_scalars_yield_unless_their_kind_is_higher(dtype: DType, scalar: Any) -> None:
    order = ["bool", "int", "float"]
    kind = type(scalar).__name__
    higher = order.index(kind) > order.index(dtype.kind.replace("uint", "int"))
    want = {"int": int64, "float": float32}[kind] if higher else dtype
    for result in (gnp.add(ones(dtype), scalar), gnp.add(scalar, ones(dtype)), ones(dtype) + scalar, scalar + ones(dtype)):
        assert result.dtype is want
    assert gnp.where(asarray([True, False]), ones(dtype), scalar).dtype is want


def test_scalar_arrays_of_numpy_are_strong() -> None:
    assert (ones(float32) + np.float64(1)).dtype is float64
    assert (ones(float16) * np.float32(2)).dtype is float32


def test_a_python_int_that_does_not_fit_is_refused_and_a_float_is_not() -> None:
    with pytest.raises(ArgumentError, match=r"add: the Python int 300 is out of range for uint8 \(0 to 255\)"):
        gnp.add(ones(next(d for d in ALL if d.name == "uint8")), 300)
    with pytest.raises(ArgumentError, match=r"int64"):
        gnp.multiply(asarray([1]), 2**70)
    assert (asarray([1.0]) * 2**70).numpy()[0] == np.float32(2**70)


@pytest.mark.parametrize("function", ["exp", "sin", "sigmoid", "mean", "std", "softmax", "gelu"])
@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_float_functions_keep_floats_and_make_the_rest_float32(function: str, dtype: DType) -> None:
    assert getattr(gnp, function)(ones(dtype)).dtype is (dtype if dtype.is_floating else float32)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_sums_of_integers_are_wide(dtype: DType) -> None:
    want = dtype if dtype.is_floating else gnp.result_type("uint64") if dtype.kind == "uint" else int64
    assert gnp.sum(ones(dtype)).dtype is want
    assert gnp.prod(ones(dtype)).dtype is want
    assert gnp.cumsum(ones(dtype)).dtype is want
    assert gnp.max(ones(dtype)).dtype is dtype


dims = st.integers(0, 3)


@given(st.lists(st.lists(dims, max_size=4).map(tuple), min_size=2, max_size=3))
def test_broadcasting_is_numpys(shapes: list[tuple[int, ...]]) -> None:
    arrays = [np.arange(int(np.prod(s)), dtype=np.float32).reshape(s) + i for i, s in enumerate(shapes)]
    tensors = [asarray(a) for a in arrays]
    try:
        want = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="do not broadcast"):
            gnp.broadcast_arrays(*tensors)
        return
    assert [t.shape for t in gnp.broadcast_arrays(*tensors)] == [want] * len(shapes)
    assert_same(gnp.add(*tensors[:2]), arrays[0] + arrays[1])
    assert_same(gnp.where(tensors[0] > 1, *tensors[-2:]), np.where(arrays[0] > 1, *arrays[-2:]))
    assert_same(gnp.broadcast_to(tensors[0], want), np.broadcast_to(arrays[0], want))


@given(st.lists(dims, min_size=1, max_size=3).map(tuple))
def test_the_gradient_of_broadcasting_has_the_operands_shape(shape: tuple[int, ...]) -> None:
    x = asarray(np.ones(shape)).requires_grad_()
    y = asarray(np.ones((2, *shape))).requires_grad_()
    (x * y).sum().backward()
    assert x.grad is not None and y.grad is not None
    assert_same(x.grad, np.full(shape, 2.0))
    assert_same(y.grad, np.ones((2, *shape)))


def test_broadcast_errors_name_the_op_the_shapes_and_the_line() -> None:
    with pytest.raises(ShapeError) as caught:
        asarray(np.ones((2, 3))) + asarray(np.ones((2, 4)))
    text = str(caught.value)
    for words in (
        "add: shapes (2, 3) and (2, 4) do not broadcast",
        "sizes 3 and 4 in dimension -1",
        "test_promotion.py",
        "fix:",
    ):
        assert words in text
    assert numpy_of(asarray(np.ones((2, 1))) + asarray(np.ones(3))).shape == (2, 3)
