"""Over every primitive: each front end and backend gives what the primitive's own rule gives."""

from collections.abc import Callable, Sequence
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
from graphc.ir.structure import first_difference
from tests.op_database.cases import Batch, batch, cases
from tests.op_record import OpRecord


def tensors(arrays: Sequence[np.ndarray]) -> list[Any]:
    return [gc.from_numpy(a) for a in arrays]


def values(results: Sequence[Any]) -> list[np.ndarray]:
    return [r.numpy() for r in results]


def in_eager(work: Batch) -> list[np.ndarray]:
    return values(work.apply(bind_all, tensors(work.arrays)))


def in_eager_kernels(work: Batch) -> list[np.ndarray]:
    """Every eager op through a compiled kernel."""
    force_kernels(True)
    try:
        return in_eager(work)
    finally:
        force_kernels(False)


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
    "eager kernels": in_eager_kernels,
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
        if mode == "eager kernels" and record.name == "constant":
            continue  # no op is executed for a literal
        work.compare(run(work), want, mode)


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


@pytest.mark.parametrize(("record", "dtype"), COMPARED)
def test_jit_and_record_give_the_same_graph_as_the_builder(record: OpRecord, dtype: DType) -> None:
    work = batch(record, dtype)
    want = work.graph()
    traced: Graph = gc.jit(lambda *operands: work.apply(bind_all, operands)).graph(*tensors(work.arrays))
    assert first_difference(traced, want) is None
    operands = tensors(work.arrays)
    with gc.record() as recorder:
        results = work.apply(bind_all, operands)
    assert first_difference(recorder.graph(results, operands), want) is None
