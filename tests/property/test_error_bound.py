"""The bound that random graphs are held to: about an ulp where nothing is lost, and what is lost where something is."""

from collections.abc import Callable

import numpy as np
import pytest

from graphc.dtypes import FLOATS, DType, float16, float32, float64
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from tests.property.error_bound import PRECISION, spreads


def graph_of(dtype: DType, build: Callable[[Builder, Value], Value], size: int = 64) -> Graph:
    b = Builder("f")
    x = b.parameter(TensorType(dtype, (size,)), "x")
    return b.finish([build(b, x)])


def spread_of(graph: Graph, x: np.ndarray) -> np.ndarray:
    *_, (last,) = [s for s in spreads(graph, [x], {}, frozenset()) if s is not None]
    return last


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_well_conditioned_result_has_a_spread_of_few_ulps(dtype: DType) -> None:
    x = np.linspace(1, 2, 64).astype(dtype.numpy)
    spread = spread_of(graph_of(dtype, lambda b, x: b.mul(x, x)), x)
    ulps = spread / (x.astype(np.float64) ** 2 * 2.0 ** -PRECISION[dtype])
    assert np.all((ulps > 0.3) & (ulps < 1.1))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_cancellation_shows(dtype: DType) -> None:
    def build(b: Builder, x: Value) -> Value:
        return b.sub(b.exp(x), b.add(b.exp(x), b.full_like(x, 1e-3)))

    x = np.linspace(1, 2, 64).astype(dtype.numpy)
    relative = spread_of(graph_of(dtype, build), x) / 1e-3
    assert np.all(relative > 1e3 * 2.0 ** -PRECISION[dtype])
    assert np.all(relative < 1e6 * 2.0 ** -PRECISION[dtype])


def test_partial_sums_count() -> None:
    x = np.ones(4096, np.float32)
    spread = spread_of(graph_of(float32, lambda b, x: b.reduce_sum(x, axes=(0,)), 4096), x)
    assert 4 < float(spread) / (4096 * 2.0**-24) < 128


def test_what_does_not_round_has_no_spread() -> None:
    def build(b: Builder, x: Value) -> Value:
        return b.reverse(b.maximum(x, b.neg(x)), axes=(0,))

    assert not spread_of(graph_of(float32, build), np.linspace(-1, 1, 64, dtype=np.float32)).any()


def test_exact_values_are_left_alone() -> None:
    graph = graph_of(float32, lambda b, x: b.mul(x, x))
    estimates = list(spreads(graph, [np.ones(64, np.float32)], {}, frozenset(graph.outputs)))
    assert not any(np.any(spread) for (spread,) in estimates if spread is not None)


def test_overflow_is_told() -> None:
    graph = graph_of(float16, lambda b, x: b.mul(x, x))
    assert list(spreads(graph, [np.full(64, 300, np.float16)], {}, frozenset())) == [None]
