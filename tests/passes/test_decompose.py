"""Ops replaced by ordinary ones give what their own rules give."""

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.dtypes import DType
from graphc.passes.decompose import Decompose
from tests.op_database.cases import batch, cases
from tests.op_record import OpRecord

NAMES = ("attention", "attention_gradient", "select_and_scatter")
CASES = [case for case in cases() if case.values[0].name in NAMES]


@pytest.mark.parametrize(("record", "dtype"), CASES)
def test_the_ordinary_ops_agree_with_the_rule(record: OpRecord, dtype: DType) -> None:
    work = batch(record, dtype)
    graph = Decompose().run(work.graph())
    assert not {node.op.name for node in graph.nodes()} & {*NAMES, "call"}
    with np.errstate(all="ignore"):
        work.compare(compile_graph(graph, "reference")(*work.arrays), work.expected(), "decompose")


def test_every_such_op_is_there() -> None:
    assert {case.values[0].name for case in CASES} == set(NAMES)


def test_other_graphs_stay_as_they_are() -> None:
    graph = gc.jit(lambda x: gc.tanh(x) * 2).graph(gc.spec("f32[n]"))
    assert Decompose().run(graph) is graph
