"""sort, argsort and top_k: stability, NaN, and gradients."""

import numpy as np
import pytest

from graphc.dtypes import float64
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from tests.op_db_indexing import RECORDS
from tests.op_record import OpRecord, Sample
from tests.ops.derivatives import check_derivatives, op
from tests.ops.evaluation import apply

RNG = np.random.default_rng(0)
SORTING = ("sort", "top_k")


def gradient_cases() -> list[tuple[OpRecord, Sample]]:
    records = [r for r in RECORDS if r.name in SORTING]
    return [(r, s) for r in records for s in r.gradient_samples(np.random.default_rng(1), float64)]


@pytest.mark.parametrize(("record", "sample"), gradient_cases(), ids=str)
def test_gradients_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


@pytest.mark.parametrize("axis", [0, 1])
def test_sort_is_numpys(axis: int) -> None:
    x = RNG.integers(0, 5, (6, 7))
    np.testing.assert_array_equal(apply("sort", x, axis=axis), np.sort(x, axis))
    np.testing.assert_array_equal(apply("sort", x, axis=axis, descending=True), np.flip(np.sort(x, axis), axis))


def test_argsort_keeps_ties_in_order_both_ways() -> None:
    x = np.array([2, 1, 2, 1, 2])
    assert apply("argsort", x, axis=0).tolist() == [1, 3, 0, 2, 4]
    assert apply("argsort", x, axis=0, descending=True).tolist() == [0, 2, 4, 1, 3]
    zeros = np.array([0.0, -0.0, 0.0])
    assert apply("argsort", zeros, axis=0).tolist() == [0, 1, 2]
    assert apply("argsort", zeros, axis=0, descending=True).tolist() == [0, 1, 2]


def test_nan_is_greatest_and_stable_too() -> None:
    x = np.array([np.nan, 1, np.inf, np.nan, -np.inf])
    assert apply("argsort", x, axis=0).tolist() == [4, 1, 2, 0, 3]
    assert apply("argsort", x, axis=0, descending=True).tolist() == [0, 3, 2, 1, 4]
    np.testing.assert_array_equal(apply("sort", x, axis=0), [-np.inf, 1, np.inf, np.nan, np.nan])
    values, places = apply("top_k", x, k=3)
    np.testing.assert_array_equal(values, [np.nan, np.nan, np.inf])
    assert places.tolist() == [0, 3, 2]


def test_top_k_takes_the_lower_index_of_ties_and_handles_int_min() -> None:
    values, places = apply("top_k", np.array([[1, 3, 3], [-128, 0, -128]], np.int8), k=3)
    assert values.tolist() == [[3, 3, 1], [0, -128, -128]]
    assert places.tolist() == [[1, 2, 0], [1, 0, 2]]


def test_unsigned_descending_does_not_negate() -> None:
    assert apply("sort", np.array([0, 255, 1], np.uint8), axis=0, descending=True).tolist() == [255, 1, 0]


@pytest.mark.parametrize(("name", "attributes"), [("sort", {"axis": 0, "descending": True}), ("top_k", {"k": 2})])
def test_gradients_with_symbolic_sizes(name: str, attributes: dict[str, object]) -> None:
    x = RNG.permutation(np.linspace(-1, 1, 12)).reshape(4, 3)
    check_derivatives(op(name, attributes), [x], types=[TensorType(float64, (symbol("n"), symbol("m")))])
