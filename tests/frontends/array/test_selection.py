"""``nonzero`` of a given size, in every mode."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError


def expected(x: np.ndarray, size: int, fills: tuple[int, ...]) -> list[np.ndarray]:
    result = []
    for found, fill in zip(np.nonzero(x), fills, strict=True):
        row = np.full(size, fill)
        row[: min(size, len(found))] = found[:size]
        result.append(row)
    return result


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 4), (0, 3), (2, 3, 2)])
@pytest.mark.parametrize("size", [0, 1, 4, 30])
@pytest.mark.parametrize("dtype", [np.bool_, np.float32, np.int64])
def test_positions_of_a_given_number(shape: tuple[int, ...], size: int, dtype: Any) -> None:
    x = (np.random.default_rng(0).random(shape) > 0.5).astype(dtype)
    fills = tuple(range(-1, len(shape) - 1))
    traced = gc.jit(lambda t: gc.nonzero(t, size=size, fill_value=fills))
    for result in (gc.nonzero(gc.tensor(x), size=size, fill_value=fills), traced(x)):
        for actual, wanted in zip(result, expected(x, size, fills), strict=True):
            assert actual.dtype is gc.int64
            np.testing.assert_array_equal(actual.numpy(), wanted)


def test_one_trace_serves_all_sizes() -> None:
    f = gc.jit(lambda x: gc.nonzero(x, size=3), dynamic=True)
    for n in (5, 0, 1, 9):
        x = (np.arange(n) % 2).astype(np.float32)
        np.testing.assert_array_equal(f(x)[0].numpy(), expected(x, 3, (0,))[0])
    assert f.trace_count == 1


def test_a_size_that_varies_with_the_array() -> None:
    f = gc.jit(lambda x: x[gc.nonzero(x > 0, size=x.shape[0])], dynamic=True)
    np.testing.assert_array_equal(f(np.array([1.0, -1.0, 2.0])).numpy(), [1, 2, 1])
    np.testing.assert_array_equal(f(np.array([-1.0, 4.0])).numpy(), [4, -1])
    assert f.trace_count == 1


def test_selecting_within_a_bound_is_differentiable() -> None:
    def total(x: Any) -> Any:
        kept = x[gc.nonzero(x > 0, size=4)]
        present = gc.arange(4) < gc.count_nonzero(x > 0)
        return gc.where(present, kept * kept, 0.0).sum()

    x = gc.tensor([1.0, -1.0, 3.0])
    assert gc.jit(total)(x).item() == total(x).item() == 10.0
    np.testing.assert_array_equal(gc.jit(gc.grad(total))(x).numpy(), [2, 0, 6])


def test_without_a_size_a_graph_cannot_know_it() -> None:
    with pytest.raises(ShapeError, match="nonzero\\(\\) gives a size that depends on values") as caught:
        gc.jit(gc.nonzero)(gc.ones(3))
    assert caught.value.hint is not None
    assert "gc.nonzero(x, size=100, fill_value=0)" in caught.value.hint
    with pytest.raises(ShapeError, match="a size that depends on the mask's values") as caught:
        gc.jit(lambda x: x[x > 0])(gc.ones(3))
    assert caught.value.hint is not None
    assert "gc.masked_select(x, mask, size=100)" in caught.value.hint


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ArgumentError, match="size must not be negative, but is -1"):
        gc.nonzero(gc.ones(3), size=-1)
    with pytest.raises(ArgumentError, match="fill_value has 2 numbers, but the array 1 dimensions"):
        gc.nonzero(gc.ones(3), size=2, fill_value=(1, 2))
    with pytest.raises(ShapeError, match="of a scalar"):
        gc.nonzero(gc.tensor(1.0), size=2)
