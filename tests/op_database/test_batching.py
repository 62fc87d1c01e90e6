"""Over every primitive: its batch rule on many examples is the op on each of them, forward and backward."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from graphc.dtypes import DType, float64
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, symbol
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import differentiate
from graphc.passes.vectorize import vectorize
from tests.op_database.cases import cases, samples
from tests.op_db import RECORDS
from tests.op_record import OpRecord, Sample, assert_same

EXAMPLES = 3
SIZES: tuple[Dim, ...] = (EXAMPLES, symbol("examples"))
DIFFERENTIABLE = [r for r in RECORDS.values() if r.differentiable]


def graph_of(record: OpRecord, sample: Sample) -> Graph:
    b = Builder(record.name, differentiate=differentiate)
    operands = [b.parameter(t) for t in sample.types]
    return b.finish(b.emit(record.name, *operands, **sample.attributes))


def subsets(record: OpRecord, count: int) -> Iterator[tuple[bool, ...]]:
    """All operands mapped, each one alone, and each one alone not mapped."""
    found = {(True,) * count}
    for position in range(count):
        found.add(tuple(i == position for i in range(count)))
        found.add(tuple(i != position for i in range(count)))
    if not record.name.startswith("random"):
        found.discard((False,) * count)
    yield from sorted(found)


def examples(array: np.ndarray) -> np.ndarray:
    """As many arrays as there are examples, of the elements of ``array`` in other orders; a scalar changes to 0 and back."""
    array = np.asarray(array)
    if array.ndim == 0:
        return np.stack([array if i % 2 == 0 else np.zeros_like(array) for i in range(EXAMPLES)])
    return np.stack([np.roll(array.ravel(), i).reshape(array.shape) for i in range(EXAMPLES)])


def spread(sample: Sample, mapped: Sequence[bool]) -> list[np.ndarray]:
    if sample.types and sample.types[0].dtype.is_bool and not sample.types[0].shape and len(sample.arrays) == 1:
        return [np.stack([a] * EXAMPLES) for a in sample.arrays]  # of a check, which has to hold
    return [examples(a) if m else np.asarray(a) for a, m in zip(sample.arrays, mapped, strict=True)]


def of_example(arrays: Sequence[np.ndarray], mapped: Sequence[bool], number: int) -> list[np.ndarray]:
    return [a[number] if m else a for a, m in zip(arrays, mapped, strict=True)]


def compare(graph: Graph, mapped: Sequence[bool], arrays: Sequence[np.ndarray], what: str, tolerance: bool = True) -> None:
    """The vectorized graph on all examples against the graph on each."""
    each = [evaluate_graph(graph, of_example(arrays, mapped, i)) for i in range(EXAMPLES)]
    for size in SIZES:
        batched = vectorize(graph, mapped, size)
        verify(batched, when=what)
        got = evaluate_graph(batched, arrays)
        for position, output in enumerate(batched.outputs):
            want = [results[position] for results in each]
            if output.ndim == graph.outputs[position].ndim:
                got[position] = np.stack([got[position]] * EXAMPLES)
            limits = {8: (1e-12, 1e-13), 4: (1e-5, 1e-6), 2: (2e-2, 1e-3)} if tolerance else {}
            is_float = output.dtype.is_inexact
            near = limits.get(output.dtype.numpy.itemsize, (0.0, 0.0)) if is_float else (0.0, 0.0)
            assert_same(np.asarray(got[position]), np.stack(want), f"{what}, size {size}", tolerance=near)


@pytest.mark.parametrize(("record", "dtype"), cases())
def test_a_batch_is_its_examples(record: OpRecord, dtype: DType) -> None:
    for sample in samples(record, dtype):
        graph = graph_of(record, sample)
        for mapped in subsets(record, len(sample.arrays)):
            if any(mapped):
                compare(graph, mapped, spread(sample, mapped), f"{sample} mapped {mapped}")


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=str)
def test_gradients_of_a_batch_are_those_of_its_examples(record: OpRecord) -> None:
    for sample in record.gradient_samples(np.random.default_rng(7), float64):
        graph = graph_of(record, sample)
        wrt = list(record.differentiable_operands(sample))
        gradient = differentiate(graph, wrt)
        count = len(gradient.parameters)
        rng = np.random.default_rng(3)
        seeds = [rng.normal(size=tuple(map(int, p.shape))) for p in gradient.parameters[len(sample.arrays) :]]
        whole = Sample((*sample.arrays, *seeds), sample.attributes)
        for mapped in subsets(record, count):
            compare(gradient, mapped, spread(whole, mapped), f"gradient of {sample} mapped {mapped}")


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=str)
def test_a_batch_can_be_differentiated(record: OpRecord) -> None:
    for sample in record.gradient_samples(np.random.default_rng(7), float64):
        graph = graph_of(record, sample)
        mapped = (True,) * len(sample.arrays)
        wrt = list(record.differentiable_operands(sample))
        batched = differentiate(vectorize(graph, mapped, EXAMPLES), wrt)
        arrays = spread(sample, mapped)
        rng = np.random.default_rng(3)
        seeds = [rng.normal(size=tuple(map(int, p.shape))) for p in batched.parameters[len(arrays) :]]
        each = differentiate(graph, wrt)
        want = [evaluate_graph(each, [a[i] for a in (*arrays, *seeds)]) for i in range(EXAMPLES)]
        for position, got in enumerate(evaluate_graph(batched, [*arrays, *seeds])):
            assert_same(got, np.stack([w[position] for w in want]), str(sample), tolerance=(1e-11, 1e-12))
