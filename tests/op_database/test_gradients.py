"""Over every differentiable primitive: its VJP rule against differences, its residuals, and the compiled gradient."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import DType, float64
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.primitive import get_primitive
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from tests.op_database.cases import Batch, cases, samples
from tests.op_db import RECORDS
from tests.op_record import OpRecord, Sample, assert_same
from tests.ops.derivatives import check_derivatives, op

DIFFERENTIABLE = [r for r in RECORDS.values() if r.differentiable]
BY_DIFFERENCES = [
    pytest.param(record, sample, id=f"{record.name}-{number}")
    for record in DIFFERENTIABLE
    for number, sample in enumerate(record.gradient_samples(np.random.default_rng(7), float64))
]


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=str)
def test_every_differentiable_primitive_has_gradient_samples(record: OpRecord) -> None:
    assert float64 in record.dtypes
    assert list(record.gradient_samples(np.random.default_rng(7), float64))


@pytest.mark.parametrize(("record", "sample"), BY_DIFFERENCES)
def test_first_and_second_derivatives_match_differences(record: OpRecord, sample: Sample) -> None:
    check_derivatives(op(record.name, sample.attributes), sample.arrays)


@pytest.mark.parametrize("record", [r for r in RECORDS.values() if not r.differentiable], ids=str)
def test_no_gradient_flows_where_the_record_says_so(record: OpRecord) -> None:
    primitive = get_primitive(record.name)
    if not any(d.is_inexact for d in record.dtypes) or record.name in ("constant", "iota"):
        pytest.skip("has no floating operand")
    if record.name in ("print", "callback"):
        pytest.skip("has no results, or refuses to have a gradient: tests/frontends/test_effects.py")
    dtype = next(d for d in record.dtypes if d.is_inexact)
    sample = samples(record, dtype)[0]
    b = Builder()
    results = b.emit(record.name, *[b.parameter(t) for t in sample.types], **sample.attributes)
    cotangents = [b.zeros_like(r) if r.dtype.is_inexact else None for r in results]
    flows = primitive.vjp(b, results[0].node, cotangents, [t.dtype.is_inexact for t in sample.types])
    assert all(flow is None for flow in flows)


def reads(graph: Graph, node: Any) -> tuple[set[int], set[int]]:
    """The operands and the results of `node` that other nodes of `graph` use."""
    used = {v for n in graph.nodes() if n is not node for v in n.inputs} | set(graph.outputs)
    operands = {i for i, v in enumerate(node.inputs) if v in used}
    return operands, {v.index for v in used if v.node is node}


def subsets(positions: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    yield positions
    if len(positions) > 1:
        yield from ((p,) for p in positions)


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=str)
def test_the_rule_reads_what_it_declares_only(record: OpRecord) -> None:
    primitive = get_primitive(record.name)
    for sample in record.gradient_samples(np.random.default_rng(7), float64):
        types = sample.types
        for wanted in subsets(record.differentiable_operands(sample)):
            needed = [i in wanted for i in range(len(types))]
            b = Builder(differentiate=differentiate)
            operands = [b.parameter(t) for t in types]
            results = b.emit(record.name, *operands, **sample.attributes)
            cotangents = [b.parameter(r.type) if r.dtype.is_inexact else None for r in results]
            flows = primitive.vjp(b, results[0].node, cotangents, needed)
            assert len(flows) == len(operands), sample
            for operand, flow, is_needed in zip(operands, flows, needed, strict=True):
                assert (flow is not None) == is_needed, f"{sample}: needed {needed}, flows {flows}"
                assert flow is None or flow.type == operand.type
            outputs: list[Value] = [f for f in flows if f is not None]
            read_operands, read_results = reads(b.finish(outputs), results[0].node)
            allowed = primitive.residuals_for(types, needed)
            if -1 not in allowed.operands:
                assert read_operands <= set(allowed.operands), f"{sample}: needed {needed}"
            if -1 not in allowed.results:
                assert read_results <= set(allowed.results), f"{sample}: needed {needed}"
            everything = primitive.residuals
            assert -1 in everything.operands or set(allowed.operands) <= set(everything.operands)
            assert -1 in everything.results or set(allowed.results) <= set(everything.results)


COMPILED = [c for c in cases() if c.values[0].differentiable and c.values[1].is_inexact]


@pytest.mark.parametrize(("record", "dtype"), COMPILED)
def test_compiled_gradient_is_the_references(record: OpRecord, dtype: DType) -> None:
    chosen = [s for s in samples(record, dtype) if record.differentiable_operands(s) and not s.edge]
    work = Batch(record, tuple(chosen))
    forward = work.graph()
    wrt = [i for i, p in enumerate(forward.parameters) if p.dtype.is_inexact]
    graph = differentiate(forward, wrt)
    verify(graph)
    rng = np.random.default_rng(3)
    cotangents = [
        np.asarray(rng.uniform(0.5, 1.5, p.shape)).astype(p.dtype.numpy) for p in graph.parameters[len(work.arrays) :]
    ]
    arrays = [*work.arrays, *cotangents]
    want = evaluate_graph(graph, arrays)
    relative, absolute = TOLERANCE[dtype.name]
    for got, expected, parameter in zip(compile_graph(graph)(*arrays), want, wrt, strict=True):
        scale = float(np.max(np.abs(expected.astype(np.float64)), initial=0.0, where=np.isfinite(expected.astype(np.float64))))
        assert_same(
            got, np.asarray(expected), f"gradient of operand {parameter}", tolerance=(relative, absolute * max(scale, 1.0))
        )


# A gradient is a composition of ops, each rounded, in fused kernels without rounding between them.
TOLERANCE = {"float64": (1e-11, 1e-12), "float32": (2e-5, 1e-5), "float16": (2e-2, 1e-2), "bfloat16": (1e-1, 8e-2)}
