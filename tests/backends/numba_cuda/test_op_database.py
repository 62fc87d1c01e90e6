"""Every primitive in the simulator, and on a GPU where there is one, against its own rule."""

from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import DType
from tests.op_database.cases import batch, cases
from tests.op_record import OpRecord

from .conftest import SIMULATES


@pytest.mark.simulator
@pytest.mark.parametrize(("record", "dtype"), cases())
def test_the_simulator_agrees_with_the_rule(record: OpRecord, dtype: DType) -> None:
    compare(record, dtype)


@pytest.mark.gpu
@pytest.mark.skipif(SIMULATES, reason="kernels go to the simulator")
@pytest.mark.parametrize(("record", "dtype"), cases())
def test_a_gpu_agrees_with_the_rule(record: OpRecord, dtype: DType) -> None:
    compare(record, dtype)


def compare(record: OpRecord, dtype: DType) -> None:
    work = batch(record, dtype)
    with np.errstate(all="ignore"):
        want: list[Any] = work.expected()
    work.compare(compile_graph(work.graph(), "cuda")(*work.arrays), want, "cuda")
