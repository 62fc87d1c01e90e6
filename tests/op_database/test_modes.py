"""Over every primitive: each front end and backend gives what the primitive's own rule gives."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.frontends.eager.context  # who executes ops without operands
from graphc.compile import compile_graph
from graphc.dtypes import DType
from graphc.frontends.dispatch import bind_all
from graphc.frontends.eager.execute import force_kernels
from graphc.ir.graph import Graph
from graphc.ir.primitive import get_primitive
from tests.op_database.cases import Batch, batch, cases, thin
from tests.op_db import RECORDS
from tests.op_record import OpRecord


@pytest.fixture
def eager_kernels() -> Iterator[None]:
    """Every eager op through a compiled kernel."""
    force_kernels(True)
    yield
    force_kernels(False)


def tensors(arrays: Sequence[np.ndarray]) -> list[Any]:
    return [gc.from_numpy(a) for a in arrays]


def values(results: Sequence[Any]) -> list[np.ndarray]:
    return [r.numpy() for r in results]


def in_eager(work: Batch) -> list[np.ndarray]:
    return values(work.apply(bind_all, tensors(work.arrays)))


def in_jit(work: Batch) -> list[np.ndarray]:
    @gc.jit
    def everything(operands: list[Any]) -> list[Any]:
        return work.apply(bind_all, operands)

    first = values(everything(tensors(work.arrays)))
    second = values(everything(tensors(work.arrays)))
    assert everything.trace_count == 1, "the second call traced again"
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes(), "the second call gave something else"
    return second


def in_session(work: Batch) -> list[np.ndarray]:
    graph = gc.Graph()
    with graph.as_default():
        operands = [gc.placeholder(a.dtype, a.shape) for a in work.arrays]
        fetches = work.apply(bind_all, operands)
    with gc.Session(graph) as session:
        return list(session.run(fetches, dict(zip(operands, work.arrays, strict=True))))


def on(target: str) -> Callable[[Batch], list[np.ndarray]]:
    def run(work: Batch) -> list[np.ndarray]:
        return list(compile_graph(work.graph(), target)(*work.arrays))

    return run


MODES: dict[str, Callable[[Batch], list[np.ndarray]]] = {
    "reference": on("reference"),
    "cpu": on("cpu"),
    "eager": in_eager,
    "jit": in_jit,
    "session": in_session,
}
# Effects have no results to compare; tests/frontends and tests/runtime run them.
COMPARED = [case for case in cases() if get_primitive(case.values[0].name).effect is False]


@pytest.mark.parametrize(("record", "dtype"), COMPARED)
def test_every_mode_agrees_with_the_rule(record: OpRecord, dtype: DType) -> None:
    work = batch(record, dtype)
    want = work.expected()
    for mode, run in MODES.items():
        work.compare(run(work), want, mode)


# One dtype each: structural kernels of eager ops are compiled for each shape.
KERNELS = [
    pytest.param(record, thin(record)[0], id=record.name)
    for record in RECORDS.values()
    if not get_primitive(record.name).effect and record.name not in ("constant", "dimension", "call")
]


@pytest.mark.usefixtures("eager_kernels")
@pytest.mark.parametrize(("record", "dtype"), KERNELS)
def test_eager_ops_through_kernels(record: OpRecord, dtype: DType) -> None:
    work = batch(record, dtype)
    work.compare(in_eager(work), work.expected(), "eager kernels")


def test_checks_run_in_every_mode() -> None:
    def checked(x: Any) -> Any:
        bind_all("check", (x > 0).all(), message="x must be positive")
        return x * 2

    good, bad = np.ones(3, np.float32), np.array([1, -1, 1], np.float32)

    def session(x: np.ndarray) -> Any:
        graph = gc.Graph()
        with graph.as_default():
            fed = gc.placeholder(x.dtype, x.shape)
            fetch = checked(fed)
        with gc.Session(graph) as running:
            return running.run(fetch, {fed: x})

    for run in (lambda x: checked(gc.from_numpy(x)).numpy(), lambda x: gc.jit(checked)(gc.from_numpy(x)).numpy(), session):
        np.testing.assert_array_equal(run(good), 2 * good)
        with pytest.raises(gc.errors.CheckError, match="x must be positive"):
            run(bad)


def test_graphs_of_all_modes_are_one_op(golden_ops: Sequence[str] = ("add", "sort", "dot_general")) -> None:
    """No mode adds an op of its own around a primitive."""
    for name in golden_ops:
        record = RECORDS[name]
        work = Batch(record, tuple(record.samples(np.random.default_rng(0), record.dtypes[-1]))[:1])

        def apply(*operands: Any, work: Batch = work) -> list[Any]:
            return work.apply(bind_all, operands)

        traced: Graph = gc.jit(apply).graph(*tensors(work.arrays))
        assert [n.op.name for n in traced.nodes()] == [n.op.name for n in work.graph().nodes()]
