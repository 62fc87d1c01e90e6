"""Operators and methods of arrays against NumPy's: each does what its function does."""

import operator
from typing import Any

import numpy as np
import pytest

from graphc.errors import ArgumentTypeError, DeviceError, DTypeError, InPlaceError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, assert_same, numpy_of

X = np.array([[3.0, -1.5, 2.0], [0.5, 4.0, -2.0]])
I = np.array([[7, 3, 2], [5, 4, 1]])  # noqa: E741
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("other", [2.0, 2, np.float64(2), np.array([1.0, 2.0, 3.0])])
def test_arithmetic_on_both_sides(name: str, other: Any) -> None:
    function = getattr(operator, name)
    with np.errstate(all="ignore"):
        assert_close(function(asarray(X), other), function(X, other), rtol=1e-12)
        assert_close(function(other, asarray(X)), function(other, X), rtol=1e-12)


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_bitwise_on_both_sides(name: str) -> None:
    function = getattr(operator, name)
    assert_same(function(asarray(I), 3), function(I, 3))
    assert_same(function(3, asarray(I)), function(3, I))
    assert_same(~asarray(I), ~I)


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"])
def test_in_place_arithmetic_keeps_memory_and_dtype(name: str) -> None:
    data = X.astype(np.float32) + 5
    want, tensor = data.copy(), asarray(data)
    view = tensor[0]
    result = getattr(operator, name)(tensor, 2)
    assert result is tensor
    assert_close(tensor, getattr(operator, name)(want, 2), rtol=1e-6)
    assert tensor.dtype.name == "float32"
    assert_same(view, numpy_of(tensor)[0])


@pytest.mark.parametrize("name", ["iand", "ior", "ixor"])
def test_in_place_bitwise(name: str) -> None:
    assert_same(getattr(operator, name)(asarray(I.copy()), 6), getattr(operator, name)(I.copy(), 6))


def test_named_in_place_methods() -> None:
    tensor = asarray(np.abs(X))
    tensor.add_(1.0, alpha=2).sub_(0.5, alpha=2).mul_(3).div_(2).pow_(2).clamp_(1, 50).sqrt_().neg_().exp_()
    want = np.exp(-np.sqrt(np.clip(((np.abs(X) + 2 - 1) * 3 / 2) ** 2, 1, 50)))
    assert_close(tensor, want, rtol=1e-12)
    assert_same(tensor.fill_(7), np.full(X.shape, 7.0))
    assert_same(tensor.copy_(X[0]), np.stack([X[0], X[0]]))
    assert_same(tensor.zero_(), np.zeros(X.shape))


def test_what_in_place_refuses() -> None:
    x: Any = asarray(I.copy())
    with pytest.raises(DTypeError, match=r"\+=: the result is float32, which cannot be written into a int64 array"):
        x += 0.5
    with pytest.raises(InPlaceError, match=r"\*=: the result has shape \(2, 2, 3\), the array \(2, 3\)"):
        x *= asarray(np.ones((2, 1, 1), np.int64))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all", "prod"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_reductions(name: str, axis: Any) -> None:
    assert_close(getattr(asarray(X), name)(axis), getattr(X, name)(axis), rtol=1e-12)
    assert_close(getattr(asarray(X), name)(axis, keepdims=True), getattr(X, name)(axis, keepdims=True), rtol=1e-12)


def test_shapes() -> None:
    x = asarray(X)
    assert (x.ndim, x.size, len(x), x.T.shape, x.mT.shape) == (2, 6, 2, (3, 2), (3, 2))
    assert x.view(3, 2).shape == x.reshape((3, -1)).shape == (3, 2)
    assert x.unsqueeze(0).transpose(0, 2).shape == (3, 2, 1)
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == x.t().shape == x.transpose().shape == (3, 2)
    assert x.expand(4, -1, 3).shape == (4, 2, 3)
    assert x.repeat(2, 1).shape == (4, 3)
    assert [p.shape for p in x.chunk(2, 1)] == [(2, 2), (2, 1)]
    assert [p.shape for p in x.split(3, 1)] == [(2, 1)] * 3
    assert x.flatten().shape == x.ravel().shape == (6,)
    assert x[:1].squeeze().shape == (3,)
    assert_same(x.flip(1), X[:, ::-1])
    assert_same(x.swapaxes(0, 1), X.T)
    with pytest.raises(ShapeError, match=r"t\(\) takes at most two dimensions"):
        x.unsqueeze(0).t()


@pytest.mark.cpu
def test_conversion() -> None:
    x = asarray(X)
    names = {"float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64", "bool": "bool"}
    for method, dtype in names.items():
        assert getattr(x, method)().dtype.name == dtype
    assert x.to("cpu") is x
    assert x.to("int8").dtype.name == x.astype(np.int8).dtype.name == "int8"
    assert x.contiguous() is x.cpu() is x
    assert x.to(asarray(np.zeros(1, np.int16))).dtype.name == "int16"
    assert x.to("cpu", "int8").dtype.name == "int8"
    assert x.to(x, copy=True) is not x
    with pytest.raises(DeviceError, match="no device 'gpu'"):
        x.to("gpu")


def test_copies_do_not_share() -> None:
    x = asarray(X.copy())
    for copied in (x.copy(), x.clone()):
        assert not np.shares_memory(numpy_of(copied), numpy_of(x))
        assert_same(copied, X)


def test_elementwise_and_ordering_methods() -> None:
    x = asarray(X)
    for name in ("exp", "tanh", "sin", "cos"):
        assert_close(getattr(x, name)(), getattr(np, name)(X), rtol=1e-12)
    assert_same(abs(x), np.abs(X))
    assert_same(x.abs(), np.abs(X))
    assert_same(x.relu(), np.maximum(X, 0))
    assert_same(x.clamp(-1, 2), np.clip(X, -1, 2))
    assert_same(x.masked_fill(x > 2, 0.0), np.where(X > 2, 0.0, X))
    assert_same(x.sort(), np.sort(X))
    assert_same(x.argsort(0), np.argsort(X, 0))
    assert_same(x.topk(2).values, np.sort(X)[:, :0:-1])
    assert_close(x.softmax().log(), numpy_of(x.log_softmax()), rtol=1e-12)
    assert_close(x.norm(), np.linalg.norm(X), rtol=1e-12)
    assert_close(x.matmul(x.T), X @ X.T, rtol=1e-12)
    assert_close(x.cumsum(1), np.cumsum(X, 1), rtol=1e-12)


def test_iteration_and_membership() -> None:
    x = asarray(X)
    assert [row.tolist() for row in x] == X.tolist()
    assert 4.0 in x
    assert 9.0 not in x
    with pytest.raises(ArgumentTypeError, match="a scalar cannot be iterated over") as caught:
        iter(asarray(1.0))
    assert isinstance(caught.value, TypeError)
    with pytest.raises(ArgumentTypeError, match=r"len\(\) of a scalar") as caught:
        len(asarray(1.0))
    assert isinstance(caught.value, TypeError)


def test_a_foreign_operand_is_a_type_error() -> None:
    for other in ("a", None, {}, object()):
        for operate in (operator.add, operator.matmul, operator.lt, operator.and_):
            with pytest.raises(DTypeError, match="is not an array of numbers"):
                operate(asarray(X), other)
            with pytest.raises(DTypeError, match="is not an array of numbers"):
                operate(other, asarray(X))
    assert (asarray(X) == "a") is False


def test_a_type_that_knows_arrays_gets_its_chance() -> None:
    class Knows:
        def __radd__(self, other: Any) -> str:
            return f"after {other.ndim} axes"

        def __gt__(self, other: Any) -> str:
            return "greater"

    assert asarray(X) + Knows() == "after 2 axes"
    assert (asarray(X) < Knows()) == "greater"
    with pytest.raises(DTypeError, match="is not an array of numbers"):
        asarray(X) * Knows()
    with pytest.raises(DTypeError, match="is not an array of numbers"):
        operator.gt(asarray(X), Knows())
