"""Indexing against NumPy, for random keys: basic, advanced, masks, empty, mixed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, DTypeError, OutOfBoundsError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_same, check_gradients, numpy_of


@st.composite
def keyed_arrays(draw: st.DrawFn, *, advanced: bool) -> tuple[np.ndarray, Any]:
    """An array and a key that NumPy accepts for it."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    items: list[Any] = []
    axis = 0
    lead = tuple(draw(st.sampled_from([(), (1,), (2,), (3, 2), (0,)])))
    while axis < len(shape):
        size = shape[axis]
        kinds = ["slice", "none", "stop"] + (["int"] if size else [])
        if advanced:
            kinds += ["mask"] + (["array", "array"] if size or 0 in lead else [])
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "none":
            items.append(None)
            continue
        if kind == "slice":
            bound = st.none() | st.integers(-6, 6)
            items.append(slice(draw(bound), draw(bound), draw(st.none() | st.sampled_from([1, 2, 3, -1, -2]))))
        elif kind == "int":
            items.append(draw(st.integers(-size, size - 1)))
        elif kind == "array":
            count = int(np.prod(lead))
            values = draw(st.lists(st.integers(-size, max(size - 1, 0)), min_size=count, max_size=count))
            items.append(np.array(values, np.int64).reshape(lead))
        else:
            items.append(np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool))
        axis += 1
    # On an array without elements NumPy lets a mask of the wrong size pass, which an ellipsis before it could make.
    has_mask = any(isinstance(item, np.ndarray) and item.dtype == bool for item in items)
    if draw(st.booleans()) and not (has_mask and array.size == 0):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
    return array, tuple(items)


def numpy_accepts(array: np.ndarray, key: Any) -> bool:
    try:
        array[key]
    except IndexError:
        return False
    return True


def as_tensors(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(asarray(item) if isinstance(item, np.ndarray) else item for item in key)


@given(keyed_arrays(advanced=False))
def test_basic_keys_give_views_like_numpys(case: tuple[np.ndarray, Any]) -> None:
    array, key = case
    if not numpy_accepts(array, key):
        return
    tensor = asarray(array)
    view = tensor[key]
    assert_same(view, array[key])
    if view.size:
        assert np.shares_memory(view.numpy(), tensor.numpy())


@given(keyed_arrays(advanced=True))
def test_any_key_reads_like_numpys(case: tuple[np.ndarray, Any]) -> None:
    array, key = case
    if not numpy_accepts(array, key):
        with pytest.raises((ShapeError, OutOfBoundsError)):
            asarray(array)[key]
        return
    assert_same(asarray(array)[key], array[key])
    assert_same(asarray(array)[as_tensors(key)], array[key])


@given(keyed_arrays(advanced=True), st.booleans())
def test_any_key_writes_like_numpys(case: tuple[np.ndarray, Any], scalar: bool) -> None:
    array, key = case
    if not numpy_accepts(array, key):
        return
    want = array.copy()
    shape = want[key].shape
    value = np.float32(-1) if scalar else -1 - np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    want[key] = value
    tensor = asarray(array.copy())
    tensor[key] = value
    assert_same(tensor, want)
    assert_same(asarray(array).at[key].set(value), want)


@given(keyed_arrays(advanced=True))
def test_at_accumulates_like_numpys_ufunc_at(case: tuple[np.ndarray, Any]) -> None:
    array, key = case
    if not numpy_accepts(array, key):
        return
    shape = array[key].shape
    value = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) - 3
    for method, ufunc in (("add", np.add), ("subtract", np.subtract), ("max", np.maximum), ("min", np.minimum)):
        want = array.copy()
        ufunc.at(want, key, value)
        before = asarray(array.copy())
        assert_same(getattr(before.at[key], method)(value), want)
        assert_same(before, array)


def test_an_int_beside_arrays_counts_as_an_array() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    for key in [(0, slice(None), [1, 2]), ([0, 1], slice(None), 0), (slice(None), 0, [1, 2]), (0, [1, 2], None, [0, 3])]:
        assert_same(asarray(x)[key], x[key])


def test_masks_over_several_dimensions_and_lists() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    mask = x[..., 0] % 2 == 0
    assert_same(asarray(x)[mask], x[mask])
    assert_same(asarray(x)[asarray(mask), 1], x[mask, 1])
    assert_same(asarray(x)[[1, 0]], x[[1, 0]])
    assert_same(asarray(x)[[]], x[[]])
    assert_same(asarray(x)[x > 5], x[x > 5])


def test_masked_writes_of_scalars_rows_and_packed_values() -> None:
    x = np.arange(12.0).reshape(3, 4)
    rows = np.array([True, False, True])
    for key, value in [(x > 5, 0.0), (rows, [1.0, 2.0, 3.0, 4.0]), (rows, np.ones((2, 4))), (x > 9, [7.0, 8.0])]:
        want, tensor = x.copy(), asarray(x.copy())
        want[key] = value
        tensor[key] = np.asarray(value)
        assert_same(tensor, want)


def test_augmented_assignment_through_a_key_writes_to_the_base() -> None:
    tensor = asarray([1.0, 2.0, 3.0])
    tensor[1:] *= 2
    tensor[[0, 0]] += 1  # once, as in NumPy
    assert_same(tensor, np.array([2, 4, 6], np.float32))


def test_at_multiplies_and_reads() -> None:
    x = asarray([1.0, 2.0, 3.0])
    assert_same(x.at[1:].multiply(10), np.array([1, 20, 30], np.float32))
    assert_same(x.at[[2, 0]].get(), np.array([3, 1], np.float32))


def test_gradients_of_reading_and_writing() -> None:
    x, v = np.arange(12.0).reshape(3, 4), np.array([5.0, 6.0])
    check_gradients(lambda a: a[1:, ::-2], x)
    check_gradients(lambda a: a[[0, 0, 2], [1, 1, 3]], x)
    check_gradients(lambda a: a[a.detach() > 3.5], x)
    check_gradients(lambda a, b: a.at[0, 1:3].set(b), x, v)
    check_gradients(lambda a, b: a.at[[1, 1], [2, 2]].add(b), x, v)
    check_gradients(lambda a, b: a.at[::2, 0].set(b), x, v)


def test_take_and_along_axis() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    index = np.array([[2, -1], [0, 1]])
    assert_same(gnp.take(asarray(x), asarray(index), axis=1), np.take(x, index, axis=1))
    assert_same(gnp.take(asarray(x), [5, -1]), np.take(x, [5, -1]))
    order = np.argsort(-x, axis=1)
    assert_same(gnp.take_along_axis(asarray(x), asarray(order), 1), np.take_along_axis(x, order, 1))
    want = x.copy()
    np.put_along_axis(want, order[:, :1], 9.0, 1)
    assert_same(gnp.put_along_axis(asarray(x), asarray(order[:, :1]), 9.0, 1), want)
    assert [numpy_of(v).tolist() for v in gnp.nonzero(asarray([[0, 3], [4, 0]]))] == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (3, OutOfBoundsError, ["index 3", "axis 0", "size 3", "(3, 4)", "fix: use an index from -3 to 2"]),
        ((0, 0, 0), OutOfBoundsError, ["too many indices", "3 for an array of 2 dimensions", "(3, 4)"]),
        (np.array([0, 5]), OutOfBoundsError, ["5", "axis 0", "size 3"]),
        (np.array([0, -4]), OutOfBoundsError, ["axis 0", "size 3"]),
        (np.array([0.5]), DTypeError, ["integers or bools", "float64"]),
        ("a", DTypeError, ["'a' is not an index"]),
        (1.0, DTypeError, ["1.0 is not an index"]),
        ((..., ...), ArgumentError, ["only one ellipsis"]),
        (slice(0, 2, 0), ArgumentError, ["step 0"]),
        (True, ArgumentError, ["Python bool"]),
        (np.array([True, False]), ShapeError, ["mask of shape (2,)", "(3,)"]),
        (([0, 1], [0, 1, 2]), ShapeError, ["(2,) and (3,)", "do not broadcast"]),
    ],
)
def test_errors_name_the_index_and_the_users_line(key: Any, error: type[Exception], words: list[str]) -> None:
    x = asarray(np.zeros((3, 4)))
    with pytest.raises(error) as caught:
        x[key]
    text = str(caught.value)
    for word in [*words, "test_indexing.py"]:
        assert word in text, text


def test_nonzero_of_a_scalar_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"nonzero\(\) of a scalar") as caught:
        gnp.nonzero(asarray(3.0))
    assert "test_indexing.py" in str(caught.value)
    assert [numpy_of(v).tolist() for v in gnp.nonzero(asarray([3.0]))] == [[0]]


def test_a_value_that_does_not_fit_is_refused() -> None:
    x = asarray(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=r"shape \(3,\) cannot be written where shape \(2, 4\) is indexed"):
        x[:2] = asarray([1.0, 2.0, 3.0])
    with pytest.raises(ArgumentError, match="300 is out of range for uint8"):
        asarray(np.zeros(3, np.uint8))[0] = 300
