"""Over every differentiable primitive: tangents against differences, and against the cotangents of its VJP rule."""

from collections.abc import Sequence

import numpy as np
import pytest

from graphc.dtypes import float64
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from graphc.passes.push_forward import differentiate_forward
from tests.op_db import RECORDS
from tests.op_record import OpRecord, Sample

CASES = [
    pytest.param(record, sample, id=f"{record.name}-{number}")
    for record in RECORDS.values()
    if record.differentiable
    for number, sample in enumerate(record.gradient_samples(np.random.default_rng(7), float64))
]


def graph_of(record: OpRecord, sample: Sample) -> Graph:
    b = Builder(record.name)
    operands = [b.parameter(t) for t in sample.types]
    return b.finish(b.emit(record.name, *operands, **sample.attributes))


def moved(arrays: Sequence[np.ndarray], wrt: Sequence[int], tangents: Sequence[np.ndarray], step: float) -> list[np.ndarray]:
    result = list(arrays)
    for position, tangent in zip(wrt, tangents, strict=True):
        result[position] = arrays[position] + step * tangent
    return result


@pytest.mark.parametrize(("record", "sample"), CASES)
def test_tangents(record: OpRecord, sample: Sample) -> None:
    graph = graph_of(record, sample)
    wrt = list(record.differentiable_operands(sample))
    floating = [i for i, output in enumerate(graph.outputs) if output.dtype.is_inexact]
    rng = np.random.default_rng(5)
    arrays = [np.asarray(a) for a in sample.arrays]
    tangents = [np.asarray(rng.normal(size=arrays[i].shape)) for i in wrt]
    forward = differentiate_forward(graph, wrt)
    verify(forward)
    got = evaluate_graph(forward, [*arrays, *tangents])
    step = 1e-6
    above, below = (evaluate_graph(graph, moved(arrays, wrt, tangents, s)) for s in (step, -step))
    for position, tangent in zip(floating, got, strict=True):
        same = above[position] == below[position]  # a window of padding alone is infinite
        difference = np.subtract(above[position], below[position], where=~same, out=np.zeros_like(tangent)) / (2 * step)
        np.testing.assert_allclose(tangent, difference, rtol=2e-4, atol=1e-6, err_msg=str(sample))
    # ⟨w, J v⟩ = ⟨Jᵀ w, v⟩
    weights = [np.asarray(rng.normal(size=t.shape)) for t in got]
    backward = evaluate_graph(differentiate(graph, wrt), [*arrays, *weights])
    left = sum(float(np.vdot(w, t)) for w, t in zip(weights, got, strict=True))
    right = sum(float(np.vdot(g, t)) for g, t in zip(backward, tangents, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)
