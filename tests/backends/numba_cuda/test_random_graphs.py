"""Random graphs over all families of primitives, with their gradients: the simulator against the reference interpreter."""

import os

import hypothesis
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from graphc.backends.numba_cuda.adapter import IS_SIMULATOR
from graphc.compile import compile_graph
from graphc.errors import GraphcError
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Graph
from graphc.ir.printer import print_graph
from tests.property.draft_steps import draft
from tests.property.drafts import inputs, plans, results
from tests.property.test_random_graphs import check_same

pytestmark = pytest.mark.simulator

EXAMPLES = 600 if os.environ.get("GRAPHC_HYPOTHESIS_PROFILE") == "full" else 100
PARTS = 4
SIZES = (5, 1, 0)
MOST = 20_000
"""Elements of all values together: the simulator needs a tenth of a millisecond for each."""


def elements(graph: Graph) -> int:
    values = [value for node in graph.nodes() for value in node.results]
    return sum(evaluate_dim(value.type.size, {"n": SIZES[0]}) for value in values)


def check(plan: list[bytes], seed: int) -> None:
    case = draft(plan)
    graph = case.graph
    hypothesis.assume(elements(graph) < MOST)
    text = print_graph(graph)
    try:
        compiled = compile_graph(graph, "cuda")
        for size in SIZES:
            arrays = inputs(graph, seed, size)
            try:
                want = results(graph, arrays)
            except GraphcError as error:
                with pytest.raises(type(error)):
                    compiled(*arrays)
                continue
            check_same(compiled(*arrays), want, graph, arrays, {"n": size}, case.exact, "simulated")
            if "n" not in text.split("{")[0]:
                break
    except BaseException as error:
        error.add_note(f"inputs(graph, {seed}, n) of\n{text}")
        raise


@pytest.mark.parametrize("part", range(PARTS))
def test_the_simulator_agrees_with_the_reference(part: int) -> None:
    assert IS_SIMULATOR

    @hypothesis.seed(part)
    @settings(max_examples=EXAMPLES // PARTS, phases=(Phase.generate,), deadline=None)
    @given(plan=plans, seed=st.integers(0, 2**20))
    def run(plan: list[bytes], seed: int) -> None:
        check(plan, seed)

    run()
