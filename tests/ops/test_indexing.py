"""gather, scatter and dynamic slices: against NumPy, bounds, duplicates, and gradients."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.dtypes import float64, int64
from graphc.errors import OutOfBoundsError
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from tests.op_db_indexing import RECORDS
from tests.op_record import OpRecord, Sample, type_of
from tests.ops.derivatives import check_derivatives, gradient_graph, op
from tests.ops.evaluation import apply

RNG = np.random.default_rng(0)
N, M, K = symbol("n"), symbol("m"), symbol("k")
SORTING = ("sort", "argsort", "top_k")


def gradient_cases() -> list[tuple[OpRecord, Sample]]:
    records = [r for r in RECORDS if r.differentiable and r.name not in SORTING]
    return [(r, s) for r in records for s in r.gradient_samples(np.random.default_rng(1), float64)]


@pytest.mark.parametrize(("record", "sample"), gradient_cases(), ids=str)
def test_gradients_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


def gradients(name: str, *arrays: Any, **attributes: Any) -> list[Any]:
    """The gradients of the sum of the result for the floating operands."""
    operands = [np.asarray(a) for a in arrays]
    graph, _ = gradient_graph(op(name, attributes), [type_of(a) for a in operands])
    out = apply(name, *operands, **attributes)
    return [g.tolist() for g in evaluate_graph(graph, [*operands, np.ones_like(out)])]


def test_gather_is_numpys_with_the_indexed_axes_first() -> None:
    x = RNG.standard_normal((4, 3, 5))
    i, j = RNG.integers(0, 4, (2, 6)), RNG.integers(0, 5, (2, 6))
    np.testing.assert_array_equal(apply("gather", x, i, axes=(0,)), x[i])
    np.testing.assert_array_equal(apply("gather", x, j, axes=(2,)), np.moveaxis(x, 2, 0)[j])
    np.testing.assert_array_equal(apply("gather", x, i, j, axes=(0, 2)), np.transpose(x, (0, 2, 1))[i, j])


@pytest.mark.parametrize("bad", [-1, 4, 2**40, -(2**63)])
@pytest.mark.parametrize("name", ["gather", "scatter_set", "scatter_add", "scatter_max", "scatter_min"])
def test_an_index_out_of_range_raises(name: str, bad: int) -> None:
    x, indices = np.zeros((3, 4)), np.array([0, 3, bad, 7])
    operands = [x, indices] if name == "gather" else [x, np.zeros((4, 3)), indices]
    with pytest.raises(OutOfBoundsError, match=rf"{name}: index {bad} is out of range for axis 1, which has size 4"):
        apply(name, *operands, axes=(1,))


def test_out_of_range_names_the_axis_and_where_it_is_empty() -> None:
    i = np.array([1])
    with pytest.raises(OutOfBoundsError, match="gather: index -1 is out of range for axis 0, which has size 2"):
        apply("gather", np.zeros(2), np.array(-1), axes=(0,))
    with pytest.raises(OutOfBoundsError, match="gather: index 5 is out of range for axis 1, which has size 3"):
        apply("gather", np.zeros((2, 3)), i, np.array([5]), axes=(0, 1))
    with pytest.raises(
        OutOfBoundsError, match=r"(?s)index 1 is out of range for axis 0, which has size 0\n.*fix: the axis is empty"
    ):
        apply("gather", np.zeros((0, 3)), i, axes=(0,))


def test_scatter_set_last_update_in_row_major_order_wins() -> None:
    updates = np.arange(6.0).reshape(2, 3)
    indices = np.array([[0, 1, 0], [1, 2, 2]])
    for order in ("C", "F"):
        place = np.asarray(indices, order=order)  # type: ignore[call-overload]
        assert apply("scatter_set", np.full(4, -1.0), updates, place, axes=(0,)).tolist() == [2, 3, 5, -1]


def test_scatter_set_gives_the_gradient_to_the_winner() -> None:
    for_x, for_updates = gradients("scatter_set", np.zeros(3), np.ones(4), np.array([1, 0, 1, 1]), axes=(0,))
    assert for_x == [0, 0, 1]
    assert for_updates == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("name", "ufunc"), [("scatter_add", np.add), ("scatter_max", np.maximum), ("scatter_min", np.minimum)]
)
def test_scatters_combine_as_ufunc_at(name: str, ufunc: np.ufunc) -> None:
    x, updates = RNG.standard_normal((4, 3, 5)), RNG.standard_normal((6, 3))
    i, j = RNG.integers(0, 4, 6), RNG.integers(0, 2, 6)
    expected = np.transpose(x, (0, 2, 1)).copy()
    ufunc.at(expected, (i, j), updates)
    out = apply(name, x, updates, i, j, axes=(0, 2))
    np.testing.assert_allclose(out, np.transpose(expected, (0, 2, 1)), rtol=1e-14)


def test_scatter_add_of_16_bit_floats_accumulates_in_float32() -> None:
    ones, places = np.ones(1000, ml_dtypes.bfloat16), np.zeros(1000, np.int64)
    assert float(apply("scatter_add", np.zeros(2, ml_dtypes.bfloat16), ones, places, axes=(0,))[0]) == 1000.0
    huge = np.full(2, 6e4, np.float16)
    assert apply("scatter_add", np.zeros(1, np.float16), huge, np.zeros(2, np.int64), axes=(0,)) == [np.inf]


def test_scatter_extremes_share_the_gradient_among_all_that_tie() -> None:
    places = np.array([0, 0, 1, 1])
    for_x, for_updates = gradients("scatter_max", np.array([2.0, 0, 5]), np.array([2.0, 2, 1, 0]), places, axes=(0,))
    assert for_x == pytest.approx([1 / 3, 0, 1])
    assert for_updates == pytest.approx([1 / 3, 1 / 3, 1, 0])
    for_x, for_updates = gradients("scatter_min", np.array([1.0]), np.array([np.nan, 0]), np.array([0, 0]), axes=(0,))
    assert for_x == [0]
    assert for_updates == [1, 0]


def test_operands_are_not_changed() -> None:
    x, updates, i = np.zeros((3, 2)), np.ones((1, 2)), np.array([1])
    apply("scatter_set", x, updates, i, axes=(0,))
    apply("scatter_add", x, updates, i, axes=(0,))
    apply("dynamic_update_slice", x, updates, np.int64(0), np.int64(0))
    assert not x.any()


def test_dynamic_slices_read_and_write_a_window() -> None:
    x, update = RNG.standard_normal((4, 5)), RNG.standard_normal((2, 3))
    starts = (np.int64(1), np.int64(2))
    np.testing.assert_array_equal(apply("dynamic_slice", x, *starts, sizes=(2, 3)), x[1:3, 2:5])
    expected = x.copy()
    expected[1:3, 2:5] = update
    np.testing.assert_array_equal(apply("dynamic_update_slice", x, update, *starts), expected)


@pytest.mark.parametrize("start", [-1, 3, 2**62])
def test_a_window_that_leaves_the_array_raises(start: int) -> None:
    x, at = np.zeros((2, 5)), (np.int64(0), np.int64(start))
    message = rf"start {start} is out of bounds: a window of 3 along axis 1 of size 5"
    with pytest.raises(OutOfBoundsError, match=f"dynamic_slice: {message}"):
        apply("dynamic_slice", x, *at, sizes=(2, 3))
    with pytest.raises(OutOfBoundsError, match=f"dynamic_update_slice: {message}"):
        apply("dynamic_update_slice", x, np.zeros((2, 3)), *at)


def f64(*shape: Any) -> TensorType:
    return TensorType(float64, shape)


def i64(*shape: Any) -> TensorType:
    return TensorType(int64, shape)


@pytest.mark.parametrize(
    ("name", "types", "attributes"),
    [
        ("gather", [f64(N, M), i64(K)], {"axes": (0,)}),
        ("scatter_set", [f64(N, M), f64(K, M), i64(K)], {"axes": (0,)}),
        ("scatter_add", [f64(N, M), f64(3, M), i64(3)], {"axes": (0,)}),
        ("scatter_max", [f64(N, M), f64(K, M), i64(K)], {"axes": (0,)}),
        ("dynamic_slice", [f64(N, M), i64(), i64()], {"sizes": (2, M)}),
        ("dynamic_update_slice", [f64(N, M), f64(2, M), i64(), i64()], {}),
    ],
)
def test_gradients_with_symbolic_sizes(name: str, types: list[TensorType], attributes: dict[str, Any]) -> None:
    x, rows, i = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 3)), np.array([1, 2, 1])
    starts = [np.array(1), np.array(0)]
    arrays = {"gather": [x, i], "dynamic_slice": [x, *starts], "dynamic_update_slice": [x, rows[:2], *starts]}
    check_derivatives(op(name, attributes), arrays.get(name, [x, rows, i]), types=types)
