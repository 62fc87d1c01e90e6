"""Random graphs: text form, reference interpreter, pipeline and compiled kernels agree, forward and backward."""

import os
from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from graphc.ir.parser import parse
from graphc.ir.printer import print_graph
from graphc.ir.structure import first_difference
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from graphc.passes.pipeline import pipeline
from tests.property.drafts import Draft, inputs, plans

EXAMPLES = 2000 if os.environ.get("GRAPHC_HYPOTHESIS_PROFILE") == "full" else 200
PARTS = 8  # an example compiles a dozen kernels, most of a second: parts let the workers share them
# A few roundings of a dozen ops in a row, (relative, absolute); the values are bounded.
TOLERANCE = {"float64": (1e-9, 1e-9), "float32": (2e-3, 1e-3), "float16": (1e-1, 1e-1), "bfloat16": (3e-1, 3e-1)}


def check_same(got: list[np.ndarray], want: list[np.ndarray], graph: Graph, what: str) -> None:
    for number, (one, other) in enumerate(zip(got, want, strict=True)):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), (what, number)
        if other.dtype.name not in TOLERANCE:
            np.testing.assert_array_equal(one, other, err_msg=f"{what}, result {number} of\n{print_graph(graph)}")
            continue
        relative, absolute = TOLERANCE[other.dtype.name]
        a, b = one.astype(np.float64), other.astype(np.float64)
        text = f"{what}, result {number} of\n{print_graph(graph)}"
        np.testing.assert_allclose(a, b, rtol=relative, atol=absolute * max(1.0, _largest(b)), err_msg=text)


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def check(graph: Graph, arrays: list[np.ndarray], what: str) -> None:
    want = [np.asarray(a) for a in evaluate_graph(graph, arrays)]
    optimized = pipeline("cpu").run(graph, verify=True)
    check_same([np.asarray(a) for a in evaluate_graph(optimized, arrays)], want, graph, f"optimized {what}")
    check_same(compile_graph(graph)(*arrays), want, graph, f"compiled {what}")


def check_both_ways(plan: list[int], seed: int) -> None:
    graph = Draft(plan).graph
    verify(graph)
    again = parse(print_graph(graph))
    assert first_difference(graph, again) is None
    arrays = inputs(graph, seed)
    check(graph, arrays, "graph")
    gradient = differentiate(graph, [i for i, p in enumerate(graph.parameters) if p.dtype.is_floating])
    verify(gradient)
    check(gradient, arrays + inputs(gradient, seed + 1)[len(arrays) :], "gradient")


@pytest.mark.parametrize("part", range(PARTS))
def test_compiled_code_agrees_with_the_reference(part: int) -> None:
    @hypothesis.seed(part)
    @settings(max_examples=EXAMPLES // PARTS)
    @given(plan=plans, seed=st.integers(0, 2**20))
    def run(plan: list[int], seed: int) -> None:
        check_both_ways(plan, seed)

    run()


def test_random_graphs_reach_most_primitives() -> None:
    rng = np.random.default_rng(0)
    found: Counter[str] = Counter()
    for _ in range(200):
        plan = [int(s) for s in rng.integers(0, 2**20, 12)]
        found.update({node.op.name for node in Draft(plan).graph.nodes()})
    assert len(found) >= 80, sorted(found)
