"""Every primitive on every sample of the op database: optimized, and folded where its operands are literals."""

from typing import Any

import numpy as np
import pytest

from graphc.dtypes import DType
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.fold import MAX_ELEMENTS, Fold
from tests import op_db_contraction, op_db_elementwise, op_db_indexing, op_db_movement, op_db_reduction
from tests.op_record import OpRecord, Sample

FAMILIES = (op_db_contraction, op_db_elementwise, op_db_indexing, op_db_movement, op_db_reduction)
CASES = [(record, dtype) for family in FAMILIES for record in family.RECORDS for dtype in record.dtypes]


def close(record: OpRecord, got: Any, want: Any) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    relative, absolute = record.tolerance.get(
        want.dtype.name, (2e-2, 1e-3) if want.dtype.itemsize == 2 else (1e-5, 1e-6)
    )
    wide = np.float64
    np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=max(relative, 1e-12), atol=absolute)


def with_parameters(record: OpRecord, sample: Sample) -> Graph:
    b = Builder(record.name)
    operands = [b.parameter(t, f"x{i}") for i, t in enumerate(sample.types)]
    return b.finish(b.emit(record.name, *operands, **sample.attributes))


def with_literals(record: OpRecord, sample: Sample) -> Graph:
    b = Builder(record.name)
    return b.finish(b.emit(record.name, *[b.constant(a) for a in sample.arrays], **sample.attributes))


@pytest.mark.parametrize(("record", "dtype"), CASES, ids=[f"{r.name}-{d.short}" for r, d in CASES])
def test_canonicalize_and_fold(record: OpRecord, dtype: DType) -> None:
    for sample in record.samples(np.random.default_rng(3), dtype):
        graph = with_parameters(record, sample)
        want = evaluate_graph(graph, sample.arrays)
        after = Canonicalize().run(graph)
        verify(after, when=f"after canonicalize of {sample}")
        for got, expected in zip(evaluate_graph(after, sample.arrays), want, strict=True):
            close(record, got, expected)
        folded = Fold().run(with_literals(record, sample))
        verify(folded, when=f"after fold of {sample}")
        for got, expected in zip(evaluate_graph(folded, ()), want, strict=True):
            close(record, got, expected)
        small = all(np.size(a) <= MAX_ELEMENTS for a in (*sample.arrays, *want))
        if sample.arrays and small and record.name != "broadcast_in_dim":
            assert all(o.node.op.name in ("constant", "broadcast_in_dim") for o in folded.outputs), sample
        settled = Canonicalize().run(with_literals(record, sample))
        verify(settled, when=f"after canonicalize of literals, {sample}")
        for got, expected in zip(evaluate_graph(settled, ()), want, strict=True):
            close(record, got, expected)
