"""Primitives that move elements: against NumPy, and their gradients."""

import numpy as np
import pytest

from graphc.dtypes import bfloat16, float16, float32, float64, int8, uint8
from graphc.errors import ShapeError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from tests.op_db_movement import RECORDS
from tests.op_record import OpRecord, Sample
from tests.ops.derivatives import check_derivatives, gradient_graph, op
from tests.ops.evaluation import apply

RNG = np.random.default_rng(0)
N, M = symbol("n"), symbol("m")


def f64(*shape: object) -> TensorType:
    return TensorType(float64, shape)  # type: ignore[arg-type]


def gradient_cases() -> list[tuple[OpRecord, Sample]]:
    return [(r, s) for r in RECORDS if r.differentiable for s in r.gradient_samples(np.random.default_rng(1), float64)]


@pytest.mark.parametrize(("record", "sample"), gradient_cases(), ids=str)
def test_gradients_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


def test_broadcast_in_dim_places_axes_and_repeats() -> None:
    x = np.arange(3.0).reshape(3, 1)
    out = apply("broadcast_in_dim", x, shape=(2, 3, 4), dims=(1, 2))
    np.testing.assert_array_equal(out, np.broadcast_to(x, (2, 3, 4)))


def test_reshape_reads_row_major_whatever_the_layout() -> None:
    x = np.asfortranarray(np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(apply("reshape", x, shape=(2, 6)), np.arange(12).reshape(2, 6))


def test_reshape_of_undecidable_sizes_is_checked_at_run_time() -> None:
    b = Builder()
    x = b.parameter(f64(N, M))
    graph = b.finish([b.reshape(x, shape=(6,))])
    assert evaluate_graph(graph, [np.ones((2, 3))])[0].shape == (6,)
    with pytest.raises(ShapeError, match=r"reshape: shape \(2, 4\) cannot become \(6,\)"):
        evaluate_graph(graph, [np.ones((2, 4))])


@pytest.mark.parametrize("permutation", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_transpose_is_numpys(permutation: tuple[int, ...]) -> None:
    x = RNG.standard_normal((2, 3, 4))
    np.testing.assert_array_equal(apply("transpose", x, permutation=permutation), x.transpose(permutation))


@pytest.mark.parametrize(
    ("starts", "limits", "strides"), [((0, 0), (7, 5), (1, 1)), ((1, 2), (6, 5), (2, 3)), ((3, 5), (3, 5), (4, 1))]
)
def test_slice_is_numpys(starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]) -> None:
    x = RNG.standard_normal((7, 5))
    expected = x[starts[0] : limits[0] : strides[0], starts[1] : limits[1] : strides[1]]
    np.testing.assert_array_equal(apply("slice", x, starts=starts, limits=limits, strides=strides), expected)


def test_slice_with_symbolic_limits_is_checked_at_run_time() -> None:
    b = Builder()
    x = b.parameter(f64(N))
    graph = b.finish([b.slice(x, starts=(0,), limits=(4,), strides=(1,))])
    np.testing.assert_array_equal(evaluate_graph(graph, [np.arange(6.0)])[0], np.arange(4.0))
    with pytest.raises(ShapeError, match="slice: 0:4 is not within axis 0, of size 3"):
        evaluate_graph(graph, [np.arange(3.0)])


@pytest.mark.parametrize(
    ("size", "low", "high", "interior", "expected"),
    [
        (3, 1, 2, 0, [9, 0, 1, 2, 9, 9]),
        (3, 0, 0, 2, [0, 9, 9, 1, 9, 9, 2]),
        (3, -1, 0, 0, [1, 2]),
        (3, -1, -1, 1, [9, 1, 9]),
        (3, -4, 4, 1, [2, 9, 9, 9, 9]),
        (2, -3, 4, 0, [9, 9, 9]),
        (0, 2, 1, 3, [9, 9, 9]),
        (1, 0, 0, 5, [0]),
    ],
)
def test_pad(size: int, low: int, high: int, interior: int, expected: list[int]) -> None:
    out = apply("pad", np.arange(size), np.int64(9), low=(low,), high=(high,), interior=(interior,))
    assert out.tolist() == expected


def test_pad_gives_its_value_the_cotangents_of_the_padding_exactly() -> None:
    b_attributes = {"low": (1,), "high": (1,), "interior": (0,)}
    graph, _ = gradient_graph(op("pad", b_attributes), [f64(2), f64()])
    huge = np.array([1.0, 1e300, -1e300, 2.0])
    for_x, for_value = evaluate_graph(graph, [np.zeros(2), np.float64(0), huge])
    assert for_x.tolist() == [1e300, -1e300]
    assert float(for_value) == 3.0


def test_concatenate_and_reverse_are_numpys() -> None:
    x, y = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 4))
    np.testing.assert_array_equal(apply("concatenate", x, y, axis=1), np.concatenate([x, y], axis=1))
    np.testing.assert_array_equal(apply("reverse", x, axes=(0, 1)), x[::-1, ::-1])


def test_iota_counts_wraps_and_rounds() -> None:
    np.testing.assert_array_equal(apply("iota", dtype=float32, shape=(2, 3), axis=1), [[0, 1, 2], [0, 1, 2]])
    assert apply("iota", dtype=uint8, shape=(258,), axis=0)[-2:].tolist() == [0, 1]
    assert apply("iota", dtype=int8, shape=(130,), axis=0)[-2:].tolist() == [-128, -127]
    assert float(apply("iota", dtype=bfloat16, shape=(258,), axis=0)[257]) == 256.0
    assert float(apply("iota", dtype=float16, shape=(2050,), axis=0)[2049]) == 2048.0


@pytest.mark.parametrize(
    ("name", "types", "shapes", "attributes"),
    [
        ("broadcast_in_dim", [f64(N, 1)], [(3, 1)], {"shape": (2, N, 4), "dims": (1, 2)}),
        ("broadcast_in_dim", [f64(1, M)], [(1, 3)], {"shape": (M, M), "dims": (0, 1)}),
        ("reshape", [f64(N, 4)], [(3, 4)], {"shape": (2 * N, 2)}),
        ("reshape", [f64(N, M)], [(3, 4)], {"shape": (N * M,)}),
        ("transpose", [f64(N, M)], [(3, 4)], {"permutation": (1, 0)}),
        ("slice", [f64(N, M)], [(7, 5)], {"starts": (1, 0), "limits": (N - 1, M), "strides": (2, 3)}),
        ("slice", [f64(N)], [(7,)], {"starts": (N - 2,), "limits": (N,), "strides": (1,)}),
        ("pad", [f64(N, M), f64()], [(3, 4), ()], {"low": (1, -1), "high": (-2, N), "interior": (2, 0)}),
        ("concatenate", [f64(N, M), f64(2, M)], [(3, 4), (2, 4)], {"axis": 0}),
        ("reverse", [f64(N, M)], [(3, 4)], {"axes": (0,)}),
    ],
)
def test_gradients_with_symbolic_sizes(
    name: str, types: list[TensorType], shapes: list[tuple[int, ...]], attributes: dict[str, object]
) -> None:
    check_derivatives(op(name, attributes), [RNG.standard_normal(s) for s in shapes], types=types)
