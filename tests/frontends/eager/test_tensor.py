"""The eager tensor as a Python object: leaving graphc and coming back, repr, truth, pickle, copies."""

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError, GradientError, ShapeError

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_tensor_copies_and_from_numpy_shares() -> None:
    source = MATRIX.copy()
    copied, shared = gc.tensor(source), gc.from_numpy(source)
    source[0, 0] = 99
    assert copied[0, 0].item() == 0
    assert shared[0, 0].item() == 99
    shared[1, 1] = -1
    assert source[1, 1] == -1
    assert np.shares_memory(shared.numpy(), source)
    assert not np.shares_memory(copied.numpy(), source)


def test_defaults_of_python_numbers() -> None:
    assert gc.tensor(1.5).dtype is gc.float32
    assert gc.tensor(1).dtype is gc.int64
    assert gc.tensor(True).dtype is gc.bool_
    assert gc.tensor([1, 2.0]).dtype is gc.float32
    assert gc.tensor(np.float64(1)).dtype is gc.float64
    assert gc.tensor([[1, 2], [3, 4]], dtype=gc.float16).dtype is gc.float16


@pytest.mark.parametrize("data", [[[1, 2], [3]], [1, [2]]])
def test_ragged_data_is_refused(data: Any) -> None:
    with pytest.raises(ShapeError):
        gc.tensor(data)


@pytest.mark.parametrize("data", ["text", ["a"], np.array(["2020-01-01"], "datetime64[D]"), object()])
def test_data_that_is_no_number_is_refused(data: Any) -> None:
    with pytest.raises(DTypeError):
        gc.tensor(data)


@pytest.mark.cpu
def test_array_protocol() -> None:
    x = gc.tensor(MATRIX)
    np.testing.assert_array_equal(np.asarray(x), MATRIX)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert isinstance(MATRIX * x, gc.Tensor)
    assert isinstance(np.float32(2) * x, gc.Tensor)
    assert isinstance(np.exp(x), gc.Tensor)
    np.testing.assert_allclose(np.exp(x).numpy(), np.exp(MATRIX), rtol=1e-6)
    np.testing.assert_array_equal(np.sum(x, axis=0).numpy(), MATRIX.sum(0))
    assert (x == MATRIX).all().item()


def test_array_protocol_of_a_tensor_with_gradients_raises() -> None:
    x = gc.tensor(MATRIX, requires_grad=True)
    for export in (np.asarray, lambda t: t.numpy(), np.from_dlpack):
        with pytest.raises(GradientError, match="detach"):
            export(x)
    np.testing.assert_array_equal(x.detach().numpy(), MATRIX)


@pytest.mark.cpu
def test_dlpack_both_ways() -> None:
    x = gc.tensor(MATRIX)
    there = np.from_dlpack(x)
    assert np.shares_memory(there, x.numpy())
    source = MATRIX.copy()
    back = gc.from_dlpack(source)
    source[0, 0] = 7
    assert back[0, 0].item() == 7
    assert x.__dlpack_device__() == (1, 0)
    copied = gc.from_dlpack(source, copy=True)
    source[0, 0] = 8
    assert copied[0, 0].item() == 7


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gc.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (lambda: gc.tensor(3), "tensor(3)"),
        (lambda: gc.tensor([True, False]), "tensor([ True, False])"),
        (lambda: gc.tensor([1.0], dtype=gc.float64), "tensor([1.], dtype=float64)"),
        (lambda: gc.tensor([1, 2], dtype=gc.uint8), "tensor([1, 2], dtype=uint8)"),
        (lambda: gc.tensor([1.5], dtype=gc.bfloat16), "tensor([1.5], dtype=bfloat16)"),
        (lambda: gc.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: gc.tensor([1.0], requires_grad=True) * 2, "tensor([2.], made_by=mul)"),
        (lambda: gc.zeros((2, 0)), "tensor([], shape=(2, 0), dtype=float32)"),
    ],
)
@pytest.mark.cpu
def test_repr(make: Any, text: str) -> None:
    assert repr(make()) == text


@pytest.mark.cpu
def test_repr_of_a_matrix_aligns_and_of_much_is_short() -> None:
    assert repr(gc.tensor(MATRIX)) == "tensor([[0., 1., 2.],\n        [3., 4., 5.]])"
    assert len(repr(gc.zeros((1000, 1000)))) < 1000


@pytest.mark.cpu
def test_format() -> None:
    assert f"{gc.tensor(3.14159):.2f}" == "3.14"
    assert f"{gc.tensor([1.0])}" == "tensor([1.])"


def test_item_and_conversions() -> None:
    assert gc.tensor([[2.5]]).item() == 2.5
    assert isinstance(gc.tensor(2).item(), int)
    assert isinstance(gc.tensor(True).item(), bool)
    assert isinstance(gc.tensor(1.5, dtype=gc.bfloat16).item(), float)
    assert float(gc.tensor(2)) == 2.0
    assert int(gc.tensor(2.7)) == 2
    assert [10, 20, 30][gc.tensor(1)] == 20
    assert list(range(gc.tensor(3))) == [0, 1, 2]
    assert gc.tensor(MATRIX).tolist() == MATRIX.tolist()
    with pytest.raises(ShapeError, match=r"exactly one element.*\(2, 3\)"):
        gc.tensor(MATRIX).item()
    with pytest.raises(DTypeError, match="only an integer tensor can be an index, not float32"):
        [1, 2][gc.tensor(1.0)]


def test_truth() -> None:
    assert gc.tensor(1.0)
    assert not gc.tensor([0])
    for shape in ((2,), (0,)):
        with pytest.raises(ShapeError, match=r"truth value.*ambiguous") as caught:
            bool(gc.zeros(shape))
        assert "any()" in str(caught.value)
    with pytest.raises(ShapeError, match="ambiguous"):
        assert gc.tensor(MATRIX) == gc.tensor(MATRIX)


def test_sequence_protocol() -> None:
    x = gc.tensor(MATRIX)
    assert len(x) == 2
    assert [row.tolist() for row in x] == MATRIX.tolist()
    assert 5.0 in x
    assert 7.0 not in x
    with pytest.raises(TypeError):
        len(gc.tensor(1.0))
    with pytest.raises(TypeError):
        iter(gc.tensor(1.0))


def test_hash_is_by_identity() -> None:
    x, y = gc.tensor([1.0]), gc.tensor([1.0])
    assert len({x, y, x}) == 2


def test_make_with_the_constructor_is_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("gc.tensor(data)")):
        gc.Tensor([1.0])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64"])
def test_pickle_keeps_values_and_dtype(dtype: str) -> None:
    x = gc.tensor([0, 1, 3]).astype(dtype)
    again = pickle.loads(pickle.dumps(x))
    assert again.dtype is x.dtype
    assert again.numpy().tobytes() == x.numpy().tobytes()
    assert not again.requires_grad


def test_pickle_and_deepcopy_of_a_leaf() -> None:
    x = gc.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.requires_grad and again.is_leaf
        assert again.tolist() == [1.0, 2.0]
        (again * 3).sum().backward()
        assert again.grad.tolist() == [3.0, 3.0]
    assert x.grad.tolist() == [2.0, 4.0]


def test_pickle_of_a_view_holds_the_view_alone() -> None:
    x = gc.zeros((100, 100))
    assert len(pickle.dumps(x[0])) < 2000
    view = pickle.loads(pickle.dumps(x[:, 3]))
    view[0] = 1
    assert view.tolist()[:2] == [1, 0]


def test_pickle_and_deepcopy_of_a_result_are_refused() -> None:
    y = gc.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GradientError, match="leaf"):
        pickle.dumps(y)
    with pytest.raises(GradientError, match="leaf"):
        copy.deepcopy(y)
    assert pickle.loads(pickle.dumps(y.detach())).tolist() == [2.0]


def test_deepcopy_keeps_sharing_within_a_structure() -> None:
    w = gc.tensor([1.0], requires_grad=True)
    copied = copy.deepcopy({"a": w, "b": w})
    assert copied["a"] is copied["b"]
    assert copied["a"] is not w


def test_copy_has_memory_of_its_own() -> None:
    x = gc.tensor([1.0, 2.0])
    for y in (x.copy(), x.clone(), copy.copy(x)):
        y[0] = 9
        assert x.tolist() == [1.0, 2.0]


def test_errors_name_op_shapes_and_line() -> None:
    with pytest.raises(ShapeError) as caught:
        gc.ones((2, 3)) + gc.ones((4,))
    text = str(caught.value)
    assert "add" in text and "(2, 3)" in text and "(4,)" in text
    assert "test_tensor.py" in text and "gc.ones((2, 3)) + gc.ones((4,))" in text
    with pytest.raises(ShapeError, match=r"matmul.*\(2, 3\).*\(2, 3\)"):
        gc.ones((2, 3)) @ gc.ones((2, 3))
