"""Reductions over windows: against the definition written as loops, padding, ties, and gradients."""

from typing import Any

import numpy as np
import pytest

from graphc.dtypes import float64
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from tests.op_db_reduction import RECORDS, windows
from tests.op_record import OpRecord, Sample
from tests.ops.derivatives import check_derivatives, gradient_graph, op
from tests.ops.evaluation import apply

WINDOWED = [r for r in RECORDS if r.name.startswith("reduce_window")]


def gradient_cases() -> list[tuple[OpRecord, Sample]]:
    records = [r for r in WINDOWED if r.differentiable]
    return [(r, s) for r in records for s in r.gradient_samples(np.random.default_rng(1), float64)]


@pytest.mark.parametrize(("record", "sample"), gradient_cases(), ids=str)
def test_gradients_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


def members(x: np.ndarray, at: tuple[int, ...], attributes: Any) -> list[int]:
    """The row-major positions in `x` of the elements of the window number `at`, in order."""
    found = []
    for q in np.ndindex(*attributes["window"]):
        place = [
            p * s + i * d - pad[0]
            for p, s, i, d, pad in zip(
                at, attributes["strides"], q, attributes["window_dilation"], attributes["padding"], strict=True
            )
        ]
        base = attributes["base_dilation"]
        if all(v % b == 0 and 0 <= v // b < n for v, b, n in zip(place, base, x.shape, strict=True)):
            index = tuple(v // b for v, b in zip(place, base, strict=True))
            found.append(int(np.ravel_multi_index(index, x.shape)) if index else 0)
    return found


def by_definition(name: str, x: np.ndarray, attributes: Any, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape)
    flat = x.ravel()
    for at in np.ndindex(*shape):
        inside = members(x, at, attributes)
        values = flat[inside]
        if name == "reduce_window_sum":
            out[at] = values.sum()
        elif name == "reduce_window_max":
            out[at] = values.max(initial=-np.inf)
        elif name == "reduce_window_min":
            out[at] = values.min(initial=np.inf)
        else:
            pick = np.argmax if name == "reduce_window_argmax" else np.argmin
            out[at] = inside[int(pick(values))] if inside else -1
    return out


@pytest.mark.parametrize("record", WINDOWED, ids=str)
def test_windows_are_their_definition(record: OpRecord) -> None:
    for sample in record.samples(np.random.default_rng(2), float64):
        (x,) = sample.arrays
        out = apply(record.name, x, **sample.attributes)
        np.testing.assert_allclose(out, by_definition(record.name, x, sample.attributes, out.shape), rtol=1e-12)


@pytest.mark.parametrize("record", WINDOWED, ids=str)
def test_random_geometries(record: OpRecord) -> None:
    rng = np.random.default_rng(6)
    for _ in range(25):
        x = rng.permutation(np.linspace(-3, 3, 42)).reshape(7, 6)

        def each(low: int, high: int) -> tuple[int, int]:
            first, second = rng.integers(low, high, 2)
            return int(first), int(second)

        padding = tuple(zip(each(-1, 3), each(-1, 3), strict=True))
        attributes = windows(each(1, 4), each(1, 4), padding, each(1, 3), each(1, 3))
        out = apply(record.name, x, **attributes)
        np.testing.assert_allclose(out, by_definition(record.name, x, attributes, out.shape), rtol=1e-12, atol=1e-12)
        if record.differentiable:
            check_derivatives(op(record.name, attributes), [x], orders=1)


def test_a_window_of_padding_alone_has_no_winner_and_takes_no_gradient() -> None:
    attributes = windows((2,), (1,), ((3, 0),))
    x = np.array([1.0, 2.0])
    assert apply("reduce_window_max", x, **attributes).tolist() == [-np.inf, -np.inf, 1, 2]
    assert apply("reduce_window_argmax", x, **attributes).tolist() == [-1, -1, 0, 1]
    graph, _ = gradient_graph(op("reduce_window_max", attributes), [TensorType(float64, (2,))])
    assert evaluate_graph(graph, [x, np.array([5.0, 7.0, 1.0, 2.0])])[0].tolist() == [1, 2]


def test_ties_and_nan_go_to_the_first() -> None:
    attributes = windows((3,))
    x = np.array([1.0, 1.0, 0.0, np.nan, np.nan])
    assert apply("reduce_window_argmax", x, **attributes).tolist() == [0, 3, 3]
    assert apply("reduce_window_argmin", x, **attributes).tolist() == [2, 3, 3]
    np.testing.assert_array_equal(apply("reduce_window_max", x, **attributes), [1, np.nan, np.nan])


def test_elements_equal_to_the_identity_beat_the_padding() -> None:
    attributes = windows((2,), (1,), ((1, 0),))
    assert apply("reduce_window_argmax", np.array([-np.inf, -np.inf]), **attributes).tolist() == [0, 0]
    assert apply("reduce_window_argmin", np.array([127, 127], np.int8), **attributes).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["reduce_window_sum", "reduce_window_max"])
def test_gradients_with_symbolic_sizes(name: str) -> None:
    x = np.random.default_rng(4).permutation(np.linspace(-3, 3, 21)).reshape(3, 7)
    types = [TensorType(float64, (symbol("n"), symbol("m")))]
    check_derivatives(op(name, windows((1, 3), (1, 2), ((0, 0), (1, 0)))), [x], types=types)
