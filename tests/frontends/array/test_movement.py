"""Functions that move elements against NumPy: views where NumPy has views, gradients, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, AxisError, GraphcError, InPlaceError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_same, check_gradients, numpy_of

X = np.arange(24.0).reshape(2, 3, 4)
SAME: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "reshape": (lambda x: gnp.reshape(x, (4, 6)), lambda x: x.reshape(4, 6)),
    "reshape -1": (lambda x: gnp.reshape(x, 4, -1), lambda x: x.reshape(4, -1)),
    "ravel": (gnp.ravel, np.ravel),
    "flatten": (lambda x: gnp.flatten(x, 1), lambda x: x.reshape(2, 12)),
    "permute_dims": (lambda x: gnp.permute_dims(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
    "transpose": (gnp.transpose, np.transpose),
    "swapaxes": (lambda x: gnp.swapaxes(x, 0, -1), lambda x: x.swapaxes(0, -1)),
    "matrix_transpose": (gnp.matrix_transpose, lambda x: x.swapaxes(-1, -2)),
    "moveaxis": (lambda x: gnp.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0))),
    "expand_dims": (lambda x: gnp.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1))),
    "squeeze": (lambda x: gnp.squeeze(x[:1], 0), lambda x: x[0]),
    "squeeze all": (lambda x: gnp.squeeze(x[:1, :, :1]), lambda x: x[0, :, 0]),
    "flip": (lambda x: gnp.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2))),
    "flip all": (gnp.flip, np.flip),
    "broadcast_to": (lambda x: gnp.broadcast_to(x, (5, 2, 3, 4)), lambda x: np.broadcast_to(x, (5, 2, 3, 4))),
    "concat": (lambda x: gnp.concat([x, x[:, :1]], 1), lambda x: np.concatenate([x, x[:, :1]], 1)),
    "concat none": (lambda x: gnp.concat([x, x[0]], None), lambda x: np.concatenate([x, x[0]], None)),
    "stack": (lambda x: gnp.stack([x, x + 1], -1), lambda x: np.stack([x, x + 1], -1)),
    "hstack": (lambda x: gnp.hstack([x, x[:, :1]]), lambda x: np.hstack([x, x[:, :1]])),
    "vstack": (lambda x: gnp.vstack([x[0, 0], x[1]]), lambda x: np.vstack([x[0, 0], x[1]])),
    "tile": (lambda x: gnp.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    "tile more": (lambda x: gnp.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    "tile int": (lambda x: gnp.tile(x, 2), lambda x: np.tile(x, 2)),
    "repeat": (lambda x: gnp.repeat(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
    "repeat flat": (lambda x: gnp.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "roll": (lambda x: gnp.roll(x, (1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "roll flat": (lambda x: gnp.roll(x, 5), lambda x: np.roll(x, 5)),
    "rot90": (lambda x: gnp.rot90(x, 3, (1, 2)), lambda x: np.rot90(x, 3, (1, 2))),
    "pad": (
        lambda x: gnp.pad(x, ((0, 1), (2, 0), (1, 1)), constant_values=7),
        lambda x: np.pad(x, ((0, 1), (2, 0), (1, 1)), constant_values=7),
    ),
    "pad one": (lambda x: gnp.pad(x, 1), lambda x: np.pad(x, 1)),
    "pad pair": (lambda x: gnp.pad(x, (1, 2), "edge"), lambda x: np.pad(x, (1, 2), "edge")),
    "pad reflect": (
        lambda x: gnp.pad(x, ((1, 1), (2, 1), (0, 3)), "reflect"),
        lambda x: np.pad(x, ((1, 1), (2, 1), (0, 3)), "reflect"),
    ),
    "pad wrap": (lambda x: gnp.pad(x, 1, "wrap"), lambda x: np.pad(x, 1, "wrap")),
    "split": (lambda x: gnp.split(x, 2, 2)[1], lambda x: np.split(x, 2, 2)[1]),
    "split at": (lambda x: gnp.split(x, [1, 3], 2)[1], lambda x: np.split(x, [1, 3], 2)[1]),
    "unstack": (lambda x: gnp.unstack(x, 1)[2], lambda x: x[:, 2]),
    "tril": (lambda x: gnp.tril(x, 1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: gnp.triu(x, -1), lambda x: np.triu(x, -1)),
    "diagonal": (lambda x: gnp.diagonal(x, 1), lambda x: np.diagonal(x, 1, 1, 2)),
    "trace": (gnp.trace, lambda x: np.trace(x, axis1=1, axis2=2)),
    "diag": (lambda x: gnp.diag(x[0], -1), lambda x: np.diag(x[0], -1)),
    "diag of a vector": (lambda x: gnp.diag(x[0, 0], 1), lambda x: np.diag(x[0, 0], 1)),
}


@pytest.mark.parametrize("name", SAME)
def test_values_and_gradients(name: str) -> None:
    ours, numpys = SAME[name]
    assert_same(ours(asarray(X)), numpys(X))
    check_gradients(ours, X)


@pytest.mark.parametrize(
    "name", ["reshape", "permute_dims", "swapaxes", "expand_dims", "flip", "split", "unstack", "broadcast_to", "squeeze"]
)
def test_views_share_memory(name: str) -> None:
    base = asarray(X.copy())
    assert np.shares_memory(numpy_of(SAME[name][0](base)), numpy_of(base))


def test_writing_through_a_view_changes_the_base_and_a_broadcast_view_refuses() -> None:
    base = asarray(X.copy())
    gnp.flip(gnp.permute_dims(base, (2, 0, 1)), 0)[0] = 0
    want = X.copy()
    want[..., 3] = 0
    assert_same(base, want)
    with pytest.raises(InPlaceError, match="broadcast view"):
        gnp.broadcast_to(base, (2, 2, 3, 4))[...] = 1


def test_lists_of_pieces() -> None:
    assert [p.shape for p in gnp.split(asarray(X), 3, 1)] == [(2, 1, 4)] * 3
    assert [p.shape for p in gnp.split(asarray(X), [-1, 9], 2)] == [p.shape for p in np.split(X, [-1, 9], 2)]
    assert [p.shape for p in gnp.chunk(asarray(X), 3, 2)] == [(2, 3, 2), (2, 3, 2)]
    assert [p.shape for p in gnp.chunk(asarray(np.zeros(7)), 3)] == [(3,), (3,), (1,)]
    assert len(gnp.unstack(asarray(X), -1)) == 4
    grids = gnp.meshgrid(asarray([1, 2]), asarray([3, 4, 5]))
    for got, want in zip(grids, np.meshgrid([1, 2], [3, 4, 5]), strict=True):
        assert_same(got, want)


def test_negative_widths_cut() -> None:
    assert_same(gnp.pad(asarray(X), ((0, -1), (-1, 0), (-1, -1))), X[:1, 1:, 1:-1])


def test_empty_arrays() -> None:
    empty = asarray(np.zeros((0, 3)))
    assert gnp.ravel(empty).shape == (0,)
    assert gnp.roll(empty, 2, 0).shape == (0, 3)
    assert gnp.concat([empty, asarray(np.ones((2, 3)))]).shape == (2, 3)
    assert gnp.tile(empty, (2, 2)).shape == (0, 6)
    assert gnp.repeat(empty, 0, 1).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: gnp.reshape(x, (5, 5)), ShapeError, "reshape"),
        (lambda x: gnp.reshape(x, (5, -1)), ShapeError, "24 elements of shape (2, 3, 4) do not divide into (5, -1)"),
        (lambda x: gnp.reshape(x, (-1, -1)), ShapeError, "only one size of (-1, -1) may be -1"),
        (lambda x: gnp.permute_dims(x, (0, 1)), AxisError, "does not name each of the 3 axes once"),
        (lambda x: gnp.squeeze(x, 1), ShapeError, "squeeze: axis 1 of shape (2, 3, 4) has size 3, not 1"),
        (lambda x: gnp.broadcast_to(x, (3, 4)), ShapeError, "broadcast_to: shape (2, 3, 4) does not broadcast to (3, 4)"),
        (lambda x: gnp.broadcast_to(x, (2, 3, 5)), ShapeError, "broadcast_to"),
        (lambda x: gnp.concat([x, x[0]]), GraphcError, "concat"),
        (lambda x: gnp.concat([]), ArgumentError, "concat needs at least one array"),
        (lambda x: gnp.concat([x, x[:, :2]]), ShapeError, "concat"),
        (lambda x: gnp.stack([x, x[0]]), ShapeError, "stack: shapes (2, 3, 4) and (3, 4) differ"),
        (lambda x: gnp.split(x, 2, 1), ShapeError, "split: size 3 of axis 1 does not divide into 2 equal parts"),
        (lambda x: gnp.moveaxis(x, 0, (1, 2)), AxisError, "1 sources, 2 destinations"),
        (lambda x: gnp.flip(x, 3), AxisError, "flip: axis 3 is out of range for 3 dimensions"),
        (lambda x: gnp.flatten(x, 2, 1), AxisError, "flatten: start axis 2 lies after end axis 1"),
        (lambda x: gnp.pad(x, 1, "middle"), ArgumentError, "pad: unknown mode 'middle'"),
        (lambda x: gnp.pad(x, ((0, 0), (1, -1), (0, 0)), "edge"), ArgumentError, "negative widths ((0, 0), (1, -1), (0, 0))"),
        (lambda x: gnp.pad(x, -1, "reflect"), ArgumentError, "pad: negative widths -1 in mode 'reflect'"),
        (lambda x: gnp.pad(x, -1, "wrap"), ArgumentError, 'use mode "constant", or slice'),
        (lambda x: gnp.pad(x, ((1, 2), (3, 4))), ShapeError, "does not fit 3 dimensions"),
        (lambda x: gnp.tril(x[0, 0]), ShapeError, "tril and triu need at least two dimensions"),
        (lambda x: gnp.matrix_transpose(x[0, 0]), ShapeError, "matrix_transpose needs at least two dimensions"),
        (lambda x: gnp.reshape(x, "ab"), ShapeError, "is not a size"),
        (lambda x: gnp.expand_dims(x, 9), AxisError, "expand_dims: axis 9"),
        (lambda x: gnp.swapaxes(x, 0, 1.5), AxisError, "an axis must be an int, not 1.5"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call(asarray(X))
    assert words in str(caught.value)
    assert "test_movement.py" in str(caught.value)
