"""Affine indices and the reshapes that are index maps."""

import pytest

from graphc.ir.dims import Dim, symbol
from graphc.loops.affine import Affine, linear, loop_index, split_groups

N, M = symbol("n"), symbol("m")


def test_arithmetic() -> None:
    i, j = loop_index(0), loop_index(1)
    assert str(i.scaled(M) + j + Affine(3)) == "m*i0 + i1 + 3"
    assert i + i.scaled(-1) == Affine()
    assert (i + Affine(1)).loop is None and i.loop == 0
    assert i.scaled(0) == Affine()


def test_linear() -> None:
    position = linear([loop_index(0), Affine(2), loop_index(1)], [N, 4, M])
    assert position == Affine(2 * M, ((0, 4 * M), (1, 1)))


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        ((6,), (2, 3), [[0, 1]]),
        ((N, 6), (N, 2, 3), [[0], [1, 2]]),
        ((N,), (1, N, 1), [[1]]),
        ((1, N), (N,), [[], [0]]),
        ((N * M,), (N, M), [[0, 1]]),
        ((), (1, 1), []),
        ((1,), (), [[]]),
        ((2, 3), (6,), None),
        ((N,), (M,), None),
        ((4, 3), (3, 4), None),
    ],
)
def test_split_groups(old: tuple[Dim, ...], new: tuple[Dim, ...], groups: list[list[int]] | None) -> None:
    assert split_groups(old, new) == groups
