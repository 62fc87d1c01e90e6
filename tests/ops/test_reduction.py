"""Reductions and running reductions: against NumPy, edge rules, and gradients."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc.ops  # noqa: F401
from graphc.dtypes import float16, float64
from graphc.errors import ArgumentError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from tests.op_db_reduction import RECORDS
from tests.op_record import OpRecord, Sample
from tests.ops.derivatives import check_derivatives, gradient_graph, op
from tests.ops.evaluation import apply

RNG = np.random.default_rng(0)
N, M = symbol("n"), symbol("m")
OVER_AXES = {
    "reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min
}  # fmt: skip
RUNNING = {
    "cumulative_sum": np.add.accumulate, "cumulative_prod": np.multiply.accumulate,
    "cumulative_max": np.maximum.accumulate, "cumulative_min": np.minimum.accumulate,
}  # fmt: skip


def gradient_cases() -> list[tuple[OpRecord, Sample]]:
    records = [r for r in RECORDS if r.differentiable and "window" not in r.name]
    return [(r, s) for r in records for s in r.gradient_samples(np.random.default_rng(1), float64)]


@pytest.mark.parametrize(("record", "sample"), gradient_cases(), ids=str)
def test_gradients_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


def gradients(name: str, x: Any, **attributes: Any) -> Any:
    """The gradient of the sum of the result."""
    array = np.asarray(x, dtype=np.float64)
    graph, _ = gradient_graph(op(name, attributes), [TensorType(float64, array.shape)])
    out = apply(name, array, **attributes)
    return evaluate_graph(graph, [array, np.ones_like(out)])[0].tolist()


@pytest.mark.parametrize("name", OVER_AXES)
@pytest.mark.parametrize("axes", [(), (0,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_reductions_are_numpys(name: str, axes: tuple[int, ...], dtype: type) -> None:
    x = (RNG.standard_normal((3, 4, 5)) * 3).astype(dtype)
    np.testing.assert_allclose(apply(name, x, axes=axes), OVER_AXES[name](x, axis=axes), rtol=1e-13)


def test_identities_of_nothing() -> None:
    empty = np.zeros((0, 2), np.float32)
    values = {name: apply(name, empty, axes=(0,)).tolist() for name in OVER_AXES}
    assert values == {
        "reduce_sum": [0, 0], "reduce_prod": [1, 1], "reduce_max": [-np.inf] * 2, "reduce_min": [np.inf] * 2
    }  # fmt: skip
    assert apply("reduce_max", np.zeros(0, np.int8), axes=(0,)) == -128
    assert apply("reduce_min", np.zeros(0, np.uint16), axes=(0,)) == 65535
    assert not apply("reduce_max", np.zeros(0, bool), axes=(0,))
    assert apply("reduce_min", np.zeros(0, bool), axes=(0,))
    assert not apply("reduce_any", np.zeros(0, bool), axes=(0,))
    assert apply("reduce_all", np.zeros(0, bool), axes=(0,))


def test_integers_wrap() -> None:
    assert apply("reduce_sum", np.full(3, 100, np.int8), axes=(0,)) == 44
    assert apply("reduce_prod", np.full(2, 16, np.uint8), axes=(0,)) == 0
    assert apply("cumulative_sum", np.full(3, 100, np.int8), axis=0).tolist() == [100, -56, 44]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bit_floats_accumulate_in_float32(dtype: Any) -> None:
    # In 16 bits, 1 added to 2048 (bfloat16: 256) is lost.
    x = np.ones(4096, dtype)
    assert float(apply("reduce_sum", x, axes=(0,))) == 4096.0
    assert float(apply("cumulative_sum", x, axis=0)[-1]) == 4096.0
    assert float(apply("reduce_prod", np.array([300, 300, 1 / 256], np.float32).astype(dtype), axes=(0,))) > 300


def test_float16_sums_overflow_to_infinity() -> None:
    assert apply("reduce_sum", np.full(3, 6e4, np.float16), axes=(0,)) == np.inf


def test_nan_wins() -> None:
    x = np.array([1.0, np.nan, 3.0, np.nan, -1.0])
    assert np.isnan(apply("reduce_max", x, axes=(0,)))
    assert np.isnan(apply("reduce_min", x, axes=(0,)))
    assert apply("argmax", x, axis=0) == 1
    assert apply("argmin", x, axis=0) == 1
    np.testing.assert_array_equal(apply("cumulative_max", x, axis=0), [1, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(apply("cumulative_min", x, axis=0, reverse=True), [np.nan] * 4 + [-1])


def test_arg_extremes_take_the_first_of_ties() -> None:
    x = np.array([[1, 3, 3], [0, 0, 2]])
    assert apply("argmax", x, axis=1).tolist() == [1, 2]
    assert apply("argmin", x, axis=1).tolist() == [0, 0]
    assert apply("argmax", x.astype(ml_dtypes.bfloat16), axis=0).tolist() == [0, 0, 0]


def test_arg_extreme_of_an_empty_symbolic_axis_raises_at_run_time() -> None:
    b = Builder()
    graph = b.finish([b.argmax(b.parameter(TensorType(float64, (N,))), axis=0)])
    assert evaluate_graph(graph, [np.array([1.0, 2.0])])[0] == 1
    with pytest.raises(ArgumentError, match=r"argmax: axis 0 of shape \(0,\) is empty"):
        evaluate_graph(graph, [np.zeros(0)])


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("axis", [0, 1])
def test_running_reductions_are_numpys_both_ways(name: str, axis: int) -> None:
    x = RNG.standard_normal((4, 5))
    np.testing.assert_array_equal(apply(name, x, axis=axis), RUNNING[name](x, axis=axis))
    backwards = np.flip(RUNNING[name](np.flip(x, axis), axis=axis), axis)
    np.testing.assert_array_equal(apply(name, x, axis=axis, reverse=True), backwards)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([2, 3, 4], [12, 8, 6]),
        ([2, 0, 4], [0, 8, 0]),
        ([0, 3, 0], [0, 0, 0]),
        ([0], [1]),
        ([], []),
        ([1e-200, 1e-200, 1e300], [1e100, 1e100, 0]),
    ],
)
def test_gradient_of_prod_with_zeros(x: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(gradients("reduce_prod", x, axes=(0,)), expected, rtol=1e-14)


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_products_with_zeros(zeros: tuple[int, ...], reverse: bool) -> None:
    x = RNG.standard_normal(5)
    x[list(zeros)] = 0
    check_derivatives(op("reduce_prod", {"axes": (0,)}), [x])
    check_derivatives(op("cumulative_prod", {"axis": 0, "reverse": reverse}), [x])


def test_third_derivative_of_a_product_with_zeros() -> None:
    check_derivatives(op("reduce_prod", {"axes": (0,)}), [np.array([0.0, 2.0, 0.0, 3.0])], orders=3)


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_ties_share_the_gradient(name: str) -> None:
    assert gradients(name, [[1, 1, 1, 1], [1, 1, 1, 1]], axes=(1,)) == [[0.25] * 4] * 2
    sign = 1 if name == "reduce_max" else -1
    assert gradients(name, [sign * v for v in (1, 3, 3)], axes=(0,)) == [0, 0.5, 0.5]
    assert gradients(name, [1, np.nan, 3, np.nan], axes=(0,)) == [0, 0.5, 0, 0.5]


def test_shares_of_many_ties_do_not_overflow_float16() -> None:
    b = Builder()
    x = b.parameter(TensorType(float16, (70_000,)))
    seed = b.parameter(TensorType(float16, ()))
    top = b.reduce_max(x, axes=(0,))
    (gradient,) = top.node.op.vjp(b, top.node, [seed], [True])
    assert gradient is not None
    shares = evaluate_graph(b.finish([gradient]), [np.zeros(70_000, np.float16), np.float16(70.0)])[0]
    assert float(shares[0]) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "attributes", "seeds"),
    [("reduce_prod", {"axes": (0,)}, 1.0), ("cumulative_prod", {"axis": 0}, [0.0, 0.0, 0.0, 1.0])],
)
def test_gradients_of_float16_products_do_not_overflow_on_the_way(
    name: str, attributes: dict[str, Any], seeds: Any
) -> None:
    b = Builder()
    result = b.emit_one(name, b.parameter(TensorType(float16, (4,))), **attributes)
    seed = b.parameter(result.type)
    (gradient,) = result.node.op.vjp(b, result.node, [seed], [True])
    assert gradient is not None
    x = np.array([300, 300, 1 / 256, 1 / 256], np.float16)
    found = evaluate_graph(b.finish([gradient]), [x, np.asarray(seeds, np.float16)])[0]
    np.testing.assert_allclose(found, [300 / 2**16, 300 / 2**16, 90_000 / 256, 90_000 / 256], rtol=1e-3)


@pytest.mark.parametrize("name", ["cumulative_max", "cumulative_min"])
def test_running_extremes_give_the_gradient_to_the_first_of_ties(name: str) -> None:
    sign = 1 if name == "cumulative_max" else -1
    assert gradients(name, [sign * v for v in (1, 1, 0, 2, 2)], axis=0) == [3, 0, 0, 2, 0]
    assert gradients(name, [1, np.nan, 3, np.nan], axis=0) == [1, 3, 0, 0]
    assert gradients(name, [sign * v for v in (2, 0, 1, 1)], axis=0, reverse=True) == [1, 0, 0, 3]
    assert gradients(name, [-sign * np.inf] * 2, axis=0) == [2, 0]


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("reduce_sum", {"axes": (0,)}),
        ("reduce_prod", {"axes": (0, 2)}),
        ("reduce_max", {"axes": (0,)}),
        ("reduce_min", {"axes": (0, 1)}),
        ("cumulative_sum", {"axis": 0, "reverse": False}),
        ("cumulative_prod", {"axis": 1, "reverse": False}),
        ("cumulative_prod", {"axis": 1, "reverse": True}),
        ("cumulative_max", {"axis": 1, "reverse": True}),
    ],
)
def test_gradients_with_symbolic_sizes(name: str, attributes: dict[str, object]) -> None:
    x = RNG.permutation(np.linspace(-1.5, 1.5, 24)).reshape(3, 4, 2)
    check_derivatives(op(name, attributes), [x], types=[TensorType(float64, (N, M, 2))])
