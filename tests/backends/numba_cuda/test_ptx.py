"""Every kernel becomes machine code for three architectures, without spills. No GPU and no driver are needed."""

from dataclasses import replace
from typing import Any

import pytest

from graphc.backends.numba_cuda.adapter import link
from graphc.backends.numba_cuda.geometry import DEVICE
from graphc.backends.numba_cuda.kernels import DeviceKernel
from graphc.backends.numba_cuda.occupancy import architecture
from graphc.backends.numba_cuda.strided_copy import copy_kernel
from graphc.compile import compile_graph
from graphc.ir.graph import Graph
from tests.backends.numba_cuda.programs import ARCHITECTURES, programs, steps
from tests.op_database.cases import batch
from tests.op_db import RECORDS
from tests.op_record import OpRecord

pytestmark = pytest.mark.ptx

SAMPLES = 4
"""Of an op, where the test is not for nightly runs: a product takes seconds to compile, and has as many layouts as samples."""

_checked: set[str] = set()


def check_kernels(graph: Graph) -> None:
    """PTX for the oldest architecture, which all newer ones take, and machine code for each."""
    compiled: Any = compile_graph(graph, f"cuda:{ARCHITECTURES[0]}")
    for kernel in compiled.kernels():
        check_kernel(kernel)


def check_kernel(kernel: DeviceKernel) -> None:
    if kernel.source.source in _checked:
        return
    ptx = kernel.code.ptx
    assert f".entry {kernel.name}(" in ptx
    for name in ARCHITECTURES:
        cubin, usage = link(ptx, name)
        assert cubin.startswith(b"\x7fELF")
        assert (usage.spills, usage.stack) == (0, 0), f"{kernel.name} on {name}: {usage}"
        assert 0 < usage.registers * kernel.source.threads <= 65536
    _checked.add(kernel.source.source)


@pytest.mark.parametrize("ndim", [1, 2, 5])
@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_the_kernels_that_copy_views(itemsize: int, ndim: int) -> None:
    check_kernel(copy_kernel(itemsize, ndim, DEVICE, architecture(ARCHITECTURES[0])))


@pytest.mark.parametrize("record", list(RECORDS.values()), ids=str)
def test_the_kernels_of_every_op(record: OpRecord) -> None:
    dtypes = {dtype.short: dtype for dtype in record.dtypes}
    work = batch(record, dtypes.get("f32") or record.dtypes[0])
    check_kernels(replace(work, samples=work.samples[:SAMPLES]).graph())


@pytest.mark.slow
@pytest.mark.parametrize("record", list(RECORDS.values()), ids=str)
def test_the_kernels_of_every_op_and_dtype(record: OpRecord) -> None:
    for dtype in record.dtypes:
        check_kernels(batch(record, dtype).graph())


@pytest.mark.parametrize("name", list(steps()))
def test_the_kernels_of_training_steps(name: str) -> None:
    check_kernels(steps()[name])


def test_each_architecture_has_ptx_of_its_own() -> None:
    from_one = {name: compile_graph(programs()["gelu"], f"cuda:{name}").stages()["ptx"] for name in ARCHITECTURES}
    for name, ptx in from_one.items():
        assert f".target {name}" in ptx
