"""Boolean masks in graphs: what is written through them, what they select within a bound, and what a graph refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError, ShapeError

X = np.array([[1.0, -2.0, 3.0], [4.0, -5.0, 0.0]])


def constants(x: Any) -> Any:
    y = x * 1
    y[y < 0] = 0.5
    y[y > 0] += 1
    y[y > 2] *= x.sum()
    return y


def roots(x: Any) -> Any:
    y = x * 1
    y[y > 0] **= 0.5
    y[y != 0] /= y.sum()
    y[y < 0] -= 2
    return y


def same_mask(x: Any) -> Any:
    y, z, mask = x * 1, gc.sin(x), x > 0
    y[mask] = z[mask]
    y[mask] -= x[mask]
    return y


def updates(x: Any) -> Any:
    return x.at[x > 0].add(2.0).at[x < 0].multiply(3.0).at[x < -3].max(-1.0)


def parts(x: Any) -> Any:
    y = x * 1
    y[0][y[0] > 0] -= 5
    y[:, gc.tensor([True, False, True])] += gc.tensor([[1.0], [2.0]])
    y[x.sum(axis=1) > 0] += gc.tensor([1.0, 2.0, 3.0])
    return y


def selected(x: Any) -> Any:
    return gc.masked_select(x, x > 0, size=4, fill_value=-1)


def rows(x: Any) -> Any:
    return gc.compress(x.sum(axis=1) > 0, x, axis=0, size=2)


@pytest.mark.parametrize("function", [constants, roots, same_mask, updates, parts, selected, rows])
def test_graphs_do_what_eager_runs_do(function: Callable[[Any], Any]) -> None:
    def weighted(x: Any) -> Any:
        y = function(x)
        return (y * gc.arange(y.size).reshape(y.shape)).sum()

    for x in (gc.tensor(X), gc.tensor(-X)):
        want = function(x).numpy()
        for jitted in (gc.jit(function), gc.jit(function, dynamic=True)):
            np.testing.assert_allclose(jitted(x).numpy(), want)
        gradient = gc.grad(weighted)(x).numpy()
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(gc.jit(gc.grad(weighted))(x).numpy(), gradient)


def test_a_static_graph_writes_through_masks() -> None:
    graph = gc.Graph()
    with graph.as_default():
        x = gc.placeholder("float32", (3,))
        y = x * 1
        y[x > 0] += 1
        y[x < 0] = 7
        with pytest.raises(ShapeError, match=r"gc\.masked_select"):
            gc.exp(y[x > 0])
    with gc.Session(graph) as session:
        assert session.run(y, {x: [1.0, -1.0, 0.0]}).tolist() == [2.0, 7.0, 0.0]


@pytest.mark.parametrize("values", [[3.0, 1.0, 3.0, 2.0], [1.0], [], [np.nan, 1.0, np.nan], [[2.0, 2.0], [2.0, 1.0]]])
@pytest.mark.parametrize("size", [0, 1, 3, 6])
def test_bounded_forms(values: Any, size: int) -> None:
    x = gc.tensor(values, dtype=gc.float32)

    def check(found: Any, want: np.ndarray, fill: Any) -> None:
        kept = min(size, len(want))
        assert found.shape == (size, *want.shape[1:])
        np.testing.assert_array_equal(found[:kept].numpy(), want[:kept])
        assert (found[kept:].numpy() == fill).all()

    for run in (lambda f: f, lambda f: gc.jit(f, dynamic=True)):
        unique, known = run(lambda x: gc.unique_all(x, size=size, fill_value=9))(x), gc.unique_all(x)
        for found, want, fill in zip(unique, known, (9, 0, None, 0), strict=True):
            if fill is None:
                np.testing.assert_array_equal(found.numpy(), want.numpy())
            else:
                check(found, want.numpy(), fill)
        flat = x.numpy()[x.numpy() > 1]
        check(run(lambda x: gc.masked_select(x, x > 1, size=size, fill_value=-1))(x), flat, -1)
        positions = np.argwhere(x.numpy() > 1)
        check(run(lambda x: gc.argwhere(x > 1, size=size, fill_value=-1))(x), positions, -1)
        check(run(lambda x: gc.flatnonzero(x > 1, size=size))(x), np.flatnonzero(x.numpy() > 1), 0)


def test_without_a_bound_they_are_numpys() -> None:
    x = gc.tensor(X)
    np.testing.assert_array_equal(gc.masked_select(x, x > 0).numpy(), X[X > 0])
    np.testing.assert_array_equal(gc.masked_select(x, gc.tensor([True, False, True])).numpy(), X[:, [0, 2]].ravel())
    np.testing.assert_array_equal(gc.compress([True, False, True], x, axis=1).numpy(), X[:, [0, 2]])
    np.testing.assert_array_equal(gc.compress((x > 0).ravel(), x).numpy(), X[X > 0])
    np.testing.assert_array_equal(gc.argwhere(x > 0).numpy(), np.argwhere(X > 0))
    np.testing.assert_array_equal(gc.flatnonzero(x > 0).numpy(), np.flatnonzero(X > 0))
    with pytest.raises(DTypeError, match="the mask must be bool"):
        gc.masked_select(x, [1, 0, 1])
    with pytest.raises(ShapeError, match="one element for each of the 2 slices along axis 0"):
        gc.compress([True], x, axis=0)


UNKNOWN = [
    lambda x: x[x > 0],
    lambda x: [x[x > 0]],
    lambda x: x[x > 0].sum(),
    lambda x: gc.sum(x[x > 0]),
    lambda x: x[x > 0] * 2,
    lambda x: 2 - x[x > 0],
    lambda x: -x[x > 0],
    lambda x: len(x[x > 0]),
    lambda x: list(x[x > 0]),
    lambda x: np.sin(x[x > 0]),
    lambda x: x[x > 0, None],
    lambda x: x.at[x > 0].set(gc.ones(3)),
    lambda x: x.at[:, 0].set(x[x > 3]),
    lambda x: gc.masked_select(x, x > 0),
    lambda x: gc.compress(x[0] > 0, x, axis=1),
    gc.argwhere,
    gc.unique,
]


@pytest.mark.parametrize("function", UNKNOWN)
def test_sizes_that_a_graph_cannot_know(function: Callable[[Any], Any]) -> None:
    with pytest.raises(ShapeError, match=r"(?s)which a graph cannot know.*fix: .*(size=100|sum\(\))") as caught:
        gc.jit(function)(gc.tensor(X))
    assert caught.value.location.filename == __file__


def test_masks_that_differ_and_values_for_each_element() -> None:
    def other_mask(x: Any) -> Any:
        y = x * 1
        y[x > 0] = x[x < 0]
        return y

    def for_each(x: Any) -> Any:
        y = x * 1
        y[x > 0] += gc.ones(3)
        return y

    with pytest.raises(ShapeError, match=r"use one mask for both: x\[mask\] = y\[mask\]"):
        gc.jit(other_mask)(gc.tensor(X))
    with pytest.raises(ShapeError, match=r"a value of shape \(3,\) has one element for each that the mask selects"):
        gc.jit(for_each)(gc.tensor(X))
