"""Random graphs: the reference, the optimized reference and compiled code agree, forward and backward."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from graphc.passes.pipeline import pipeline
from tests.property.graphs import RandomGraph

# By the coarsest float dtype of a graph: a value of it goes through up to forty steps, each with a slope of about one.
TOLERANCE = {"bfloat16": 0.3, "float16": 0.04, "float32": 2e-4, "float64": 1e-9}
GRADIENT = {"bfloat16": 2.0, "float16": 0.4, "float32": 5e-3, "float64": 1e-7}


def coarsest(graph: Graph) -> str:
    names = {t.dtype.name for node in graph.nodes() for t in node.types}
    return next((name for name in TOLERANCE if name in names), "float64")


def compare(got: Sequence[np.ndarray], want: Sequence[np.ndarray], allowed: float, what: str, graph: Graph) -> None:
    for number, (one, other) in enumerate(zip(got, want, strict=True)):
        other = np.asarray(other)
        message = f"{what}, output {number} of\n{graph}"
        assert (one.dtype, one.shape) == (other.dtype, other.shape), message
        if other.dtype.kind in "biu":
            np.testing.assert_array_equal(one, other, err_msg=message)
            continue
        left, right = one.astype(np.float64), other.astype(np.float64)
        scale = max(1.0, float(np.max(np.abs(right), initial=0.0, where=np.isfinite(right))))
        np.testing.assert_allclose(left, right, rtol=allowed, atol=allowed * scale, err_msg=message)


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(15, 40), symbolic=st.booleans())
def test_random_graphs_agree_forward_and_backward(seed: int, size: int, symbolic: bool) -> None:
    random = RandomGraph(seed, size, symbolic=symbolic)
    forward = random.graph
    verify(forward)
    optimized = pipeline("cpu").run(forward, verify=True)
    compiled = compile_graph(forward)
    wrt = [i for i, p in enumerate(forward.parameters) if p.dtype.is_inexact]
    seeds = [i for i, o in enumerate(forward.outputs) if o.dtype.is_inexact]
    backward = differentiate(forward, wrt, seeds)
    verify(backward)
    compiled_backward = compile_graph(backward)
    name = coarsest(forward)
    for n in (5, 1, 0) if symbolic else (0,):
        arrays = random.inputs(n, seed)
        want = evaluate_graph(forward, arrays)
        compare(evaluate_graph(optimized, arrays), want, TOLERANCE[name], "optimized", forward)
        compare(compiled(*arrays), want, TOLERANCE[name], "compiled", forward)
        rng = np.random.default_rng(seed)
        cotangents = [(rng.integers(1, 5, np.shape(want[i])) / 4).astype(forward.outputs[i].dtype.numpy) for i in seeds]
        gradients = evaluate_graph(backward, [*arrays, *cotangents])
        compare(compiled_backward(*arrays, *cotangents), gradients, GRADIENT[name], "gradient", backward)
