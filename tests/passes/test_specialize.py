"""Concrete sizes for symbolic graphs."""

import numpy as np
import pytest

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.parser import parse
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.specialize import specialize

TEXT = """
graph @f(%x: f32[n, 3], %y: f32[m, 3]) -> (f32[n, 3], i64[]) {
  guard n == m
  alias 0 -> %x
  %0: f32[n, 3] = reshape(%y) {shape = (n, 3)}
  %1: f32[n, 3] = add(%x, %0)
  %2: i64[] = dimension() {dim = 2*n}
  return %1, %2
}
"""


def test_sizes_are_replaced_and_results_kept() -> None:
    graph = parse(TEXT)
    concrete = specialize(graph, {"n": 2, "m": 2})
    verify(concrete)
    assert [str(t) for t in concrete.parameter_types] == ["f32[2, 3]", "f32[2, 3]"]
    assert dict(concrete.aliases) == {0: 0}
    assert not concrete.guards
    arrays = [np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)]
    for got, want in zip(evaluate_graph(concrete, arrays), evaluate_graph(graph, arrays), strict=True):
        np.testing.assert_array_equal(got, want)


def test_other_sizes_stay_symbolic() -> None:
    graph = specialize(parse(TEXT), {"n": 2})
    assert [str(t) for t in graph.parameter_types] == ["f32[2, 3]", "f32[m, 3]"]
    assert [str(g) for g in graph.guards] == ["2 == m"]


def test_unknown_size() -> None:
    with pytest.raises(ArgumentError, match=r"f has no size 'k'; its sizes are n, m"):
        specialize(parse(TEXT), {"k": 2})


def test_violated_guard() -> None:
    with pytest.raises(ShapeError, match=r"must satisfy 2 == 3"):
        specialize(parse(TEXT), {"n": 2, "m": 3})
