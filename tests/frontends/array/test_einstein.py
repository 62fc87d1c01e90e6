"""einsum against NumPy's: random and chosen subscripts, gradients, errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.frontends.array as gnp
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.creation import asarray
from tests.frontends.array.checking import assert_close, check_gradients

CASES = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ba", [(2, 3)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("ijij->ij", [(2, 3, 2, 3)]),
    ("iii->i", [(3, 3, 3)]),
    ("ij->", [(2, 3)]),
    ("i,i", [(3,), (3,)]),
    ("i,j->ij", [(2,), (3,)]),
    (",->", [(), ()]),
    (",i->i", [(), (3,)]),
    ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk", [(1, 5, 2, 3), (6, 1, 3, 4)]),
    ("i...->...", [(3, 2, 2)]),
    ("i...,i...->i...", [(3, 2, 2), (3, 2, 2)]),
    ("...,...", [(2, 3), (3,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    ("ab,bc,cd,de->ae", [(2, 9), (9, 2), (2, 9), (9, 2)]),
    ("i,ij,j", [(2,), (2, 3), (3,)]),
    ("ijk,ijk->k", [(2, 3, 4), (2, 3, 4)]),
    ("ij,ij->i", [(3, 1), (3, 4)]),
    ("ij,kj->ik", [(2, 3), (4, 1)]),
    ("ab,ab,ab->b", [(2, 3), (2, 3), (2, 3)]),
    ("aab,bc->ac", [(2, 2, 3), (3, 4)]),
    ("i j , j k -> k i", [(2, 3), (3, 4)]),
    ("ij,jk->ik", [(0, 3), (3, 4)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
]


def operands_of(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s) for s in shapes]


@pytest.mark.parametrize(("subscripts", "shapes"), CASES)
def test_chosen_subscripts(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = operands_of(shapes)
    assert_close(gnp.einsum(subscripts, *map(asarray, arrays)), np.einsum(subscripts, *arrays), rtol=1e-12, atol=1e-12)


@st.composite
def subscripts_and_shapes(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    sizes = {letter: draw(st.integers(1, 3)) for letter in "abcd"}
    parts = draw(st.lists(st.text("abcd", max_size=4), min_size=1, max_size=4))
    dots = draw(st.booleans())
    used = sorted({letter for part in parts for letter in part})
    output = "".join(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
    shapes = [tuple(sizes[letter] for letter in part) for part in parts]
    if dots:
        parts[0], shapes[0] = "..." + parts[0], (2, 3, *shapes[0])
        if len(parts) > 1 and draw(st.booleans()):
            parts[1], shapes[1] = "..." + parts[1], (3, *shapes[1])
        output = "..." + output
    text = ",".join(parts)
    return (f"{text}->{output}" if draw(st.booleans()) else text), shapes


@given(subscripts_and_shapes())
def test_random_subscripts(case: tuple[str, list[tuple[int, ...]]]) -> None:
    subscripts, shapes = case
    arrays = operands_of(shapes)
    assert_close(gnp.einsum(subscripts, *map(asarray, arrays)), np.einsum(subscripts, *arrays), rtol=1e-9, atol=1e-9)


def test_integers_stay_and_mixed_dtypes_promote() -> None:
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert gnp.einsum("ij,kj->ik", asarray(x), asarray(x)).dtype.name == "int32"
    assert_close(gnp.einsum("ij,kj->ik", asarray(x), asarray(x)), x @ x.T)
    assert gnp.einsum("ij,kj->ik", asarray(x), asarray(x.astype(np.float64))).dtype.name == "float64"
    with pytest.raises(DTypeError, match="einsum is not defined for bools"):
        gnp.einsum("i,i", asarray([True]), asarray([True]))


def test_a_list_of_operands_as_pytorch_takes_it() -> None:
    a, b = operands_of([(2, 3), (3, 4)])
    assert_close(gnp.einsum("ij,jk", [asarray(a), asarray(b)]), a @ b)


@pytest.mark.parametrize(
    "subscripts,shapes",
    [
        ("ij,jk->ik", [(2, 3), (3, 2)]),
        ("ii->i", [(3, 3)]),
        ("ij,ij->i", [(3, 1), (3, 2)]),
        ("ab,bc,ca->", [(2, 3), (3, 2), (2, 2)]),
        ("...i,i->...", [(2, 2, 3), (3,)]),
    ],
)
def test_gradients(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    check_gradients(lambda *xs: gnp.einsum(subscripts, *xs), *operands_of(shapes))


@pytest.mark.parametrize(
    ("subscripts", "shapes", "error", "words"),
    [
        (
            "ij,jk->ik",
            [(2, 3), (4, 5)],
            ShapeError,
            "the subscript 'j' has size 3 in operand 0 (shape (2, 3)) and 4 in operand 1",
        ),
        ("ij", [(2, 3), (3, 4)], ArgumentError, "names 1 operands, and 2 were given"),
        ("ijk->i", [(2, 3)], ShapeError, "operand 0 has shape (2, 3), but subscripts 'ijk'"),
        ("i->i", [(2, 3)], ShapeError, "give one letter a dimension"),
        ("ij->ik", [(2, 3)], ArgumentError, "the output's 'k' is in no operand"),
        ("ij->ii", [(2, 3)], ArgumentError, "the output names 'i' twice"),
        ("i1->i", [(2, 3)], ArgumentError, "'1' is not a subscript"),
        ("...i->i", [(2, 3)], ArgumentError, "which the output does not mention"),
        ("ii->i", [(2, 3)], ShapeError, "the subscript 'i' has size 2"),
        ("...,...", [(2, 3), (2, 4)], ShapeError, "a dimension under '...' has size 3"),
    ],
)
def test_errors(subscripts: str, shapes: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        gnp.einsum(subscripts, *map(asarray, operands_of(shapes)))
    assert words in str(caught.value)
    assert repr(subscripts) in str(caught.value)
    assert "test_einstein.py" in str(caught.value)
