"""Matrix products and their kin against NumPy; gradients; errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, check_gradients

RNG = np.random.default_rng(0)


def pair(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.standard_normal(s) for s in shapes]


@pytest.mark.parametrize(
    "shapes",
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3,)),
        ((5, 1, 2, 3), (6, 3, 4)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((1, 2, 3), (5, 3, 4)),
    ],
)
def test_matmul(shapes: Any) -> None:
    x, y = pair(*shapes)
    assert_close(gnp.matmul(asarray(x), asarray(y)), x @ y, rtol=1e-12)
    assert_close(asarray(x) @ asarray(y), x @ y, rtol=1e-12)
    if x.size and y.size:
        check_gradients(gnp.matmul, x, y)


@given(st.sampled_from(["int8", "uint8", "int32", "int64", "float16", "float32"]))
def test_matmul_of_other_dtypes(dtype: str) -> None:
    x, y = np.arange(6).reshape(2, 3).astype(dtype), np.arange(12).reshape(3, 4).astype(dtype)
    got = asarray(x) @ asarray(y)
    assert got.dtype.name == dtype
    assert_close(got, x @ y)


@pytest.mark.parametrize(
    "shapes", [((), ()), ((), (2, 3)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3, 5)), ((4, 2, 3), (5, 3, 2))]
)
def test_dot(shapes: Any) -> None:
    x, y = pair(*shapes)
    assert_close(gnp.dot(asarray(x), asarray(y)), np.dot(x, y), rtol=1e-12)


@pytest.mark.parametrize("shapes", [((), (2,)), ((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,))])
def test_inner(shapes: Any) -> None:
    x, y = pair(*shapes)
    assert_close(gnp.inner(asarray(x), asarray(y)), np.inner(x, y), rtol=1e-12)


@pytest.mark.parametrize("axes", [0, 1, 2, ((1, 2), (0, 1)), ((-1,), (1,)), (2, 1)])
def test_tensordot(axes: Any) -> None:
    x, y = pair((2, 3, 3), (3, 3, 4))
    assert_close(gnp.tensordot(asarray(x), asarray(y), axes), np.tensordot(x, y, axes), rtol=1e-12)


def test_outer_kron_cross_vecdot() -> None:
    x, y = pair((2, 3), (4, 3))
    assert_close(gnp.outer(asarray(x), asarray(y)), np.outer(x, y), rtol=1e-12)
    assert_close(gnp.kron(asarray(x), asarray(y)), np.kron(x, y), rtol=1e-12)
    assert_close(gnp.kron(asarray(x[0]), asarray(y)), np.kron(x[0], y), rtol=1e-12)
    assert_close(gnp.cross(asarray(x), asarray(y[:2])), np.cross(x, y[:2]), rtol=1e-12)
    assert_close(gnp.cross(asarray(x.T), asarray(y[0][:, None]), axis=0), np.cross(x.T, y[0][:, None], axis=0), rtol=1e-12)
    assert_close(gnp.vecdot(asarray(x[:, None]), asarray(y)), np.vecdot(x[:, None], y), rtol=1e-12)
    for function in (gnp.outer, gnp.kron):
        check_gradients(function, x, y)
    check_gradients(gnp.cross, x, y[:2])


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_matrix_power(n: int) -> None:
    (x,) = pair((2, 3, 3))
    assert_close(gnp.matrix_power(asarray(x), n), np.linalg.matrix_power(x, n), rtol=1e-10)


@pytest.mark.parametrize("ord", ["fro", 1, -1, np.inf, -np.inf])
@pytest.mark.parametrize("keepdims", [False, True])
def test_matrix_norms(ord: Any, keepdims: bool) -> None:
    (x,) = pair((2, 3, 4))
    got = gnp.matrix_norm(asarray(x), ord=ord, keepdims=keepdims)
    assert_close(got, np.linalg.matrix_norm(x, ord=ord, keepdims=keepdims), rtol=1e-12)


def test_vector_norm() -> None:
    (x,) = pair((2, 3, 4))
    assert_close(gnp.vector_norm(asarray(x), (0, 2), ord=3), np.linalg.vector_norm(x, axis=(0, 2), ord=3), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda a: gnp.matmul(a, a), ShapeError, "matmul: shapes (2, 3) and (2, 3) do not fit: axis 1 of the first has size 3"),
        (lambda a: gnp.matmul(a, 2.0), ShapeError, "use * for scalars"),
        (lambda a: gnp.dot(a, a), ShapeError, "dot: shapes (2, 3) and (2, 3) do not fit"),
        (lambda a: gnp.tensordot(a, a, 3), AxisError, "tensordot: axes=3 of shapes (2, 3)"),
        (lambda a: gnp.tensordot(a, a, ((0,), (5,))), AxisError, "tensordot: axis 5 is out of range"),
        (lambda a: gnp.tensordot(a, a, ((0, 0), (0, 1))), AxisError, "equally many different axes"),
        (lambda a: gnp.cross(a[:, :2], a[:, :2]), ShapeError, "cross: axis 1 of shape (2, 2) has size 2, not 3"),
        (lambda a: gnp.matrix_power(a, 2), ShapeError, "matrix_power needs square matrices"),
        (lambda a: gnp.matrix_power(a[:, :2], -1), ArgumentError, "n must not be negative"),
        (lambda a: gnp.matrix_norm(a, ord=2), ArgumentError, "order 2 is not supported"),
        (lambda a: gnp.matmul(a > 0, a > 0), DTypeError, "matmul is not defined for bools"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call(asarray(np.zeros((2, 3))))
    assert words in str(caught.value)
    assert "test_linalg.py" in str(caught.value)
