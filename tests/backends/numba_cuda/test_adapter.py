"""What the CUDA backend leans on in numba-cuda and NVIDIA's tools, one internal at a time."""

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from graphc.backends.numba_cuda import adapter
from graphc.backends.numba_cuda.adapter import (
    Usage,
    compile_to_ptx,
    disassemble,
    element_type,
    find_program,
    kernel_type,
    link,
    usage_of,
)
from graphc.backends.numba_cuda.device_functions import kernel_names
from graphc.errors import BackendError

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_90'
ptxas info    : Function properties for k
ptxas         .     48 bytes stack frame, 84 bytes spill stores, 116 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers
"""

DOUBLE = """
def double(x, result, n):
    shared = cuda.shared.array(256, f64)
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        shared[cuda.threadIdx.x] = f64(x[i])
        cuda.syncthreads()
        result[i] = f32(shared[255 - cuda.threadIdx.x]) * f32(2)
"""


def function(text: str, name: str) -> Any:
    scope = dict(kernel_names())
    exec(text, scope)
    return scope[name]


def ptx(capability: tuple[int, int] = (9, 0)) -> str:
    types = [kernel_type("f32"), kernel_type("f32"), element_type("i64")]
    return compile_to_ptx(function(DOUBLE, "double"), "double", types, capability, 256)


def test_a_log_of_the_assembler_is_read() -> None:
    text = ".visible .shared .align 8 .b8 _cudapy_smem_1[2048];\n.shared .align 4 .b8 other[64];\n"
    assert usage_of(LOG, text) == Usage(registers=128, spills=84, stack=48, shared=2112)
    assert usage_of(LOG, "") == Usage(registers=128, spills=84, stack=48, shared=0)


@pytest.mark.ptx
def test_ptx_has_the_kernels_own_name_and_its_block_size() -> None:
    text = ptx()
    assert ".entry double(" in text
    assert ".maxntid 256" in text
    assert ".target sm_90" in text


@pytest.mark.ptx
def test_ptx_becomes_machine_code_and_that_is_shown() -> None:
    cubin, used = link(ptx((8, 0)), "sm_80")
    assert cubin.startswith(b"\x7fELF")
    assert used.shared == 2048 and 0 < used.registers < 64 and used.spills == 0
    assert "EXIT" in disassemble(cubin)


@pytest.mark.ptx
def test_functions_of_kernels_compile_without_a_driver_and_leave_numba_as_it_was() -> None:
    module: Any = import_module("numba.cuda.dispatcher")
    before = module.get_current_device
    with_function = function("def k(x, n):\n    x[0] = exp_f32(x[n])\n", "k")
    text = compile_to_ptx(with_function, "k", [kernel_type("f32"), element_type("i64")], (7, 5), 32)
    assert module.get_current_device is before
    assert "call.uni" not in text, "scalar functions are inlined"


@pytest.mark.ptx
def test_arrays_have_the_seven_parameters_that_launches_pass() -> None:
    add = function("def k(x, i):\n    cuda.atomic.add(x, i, i)\n", "k")
    text = compile_to_ptx(add, "k", [kernel_type("i64", is_array=True), element_type("i64")], (8, 0), 32)
    assert "k_param_7" in text and "k_param_8" not in text


def test_programs_are_looked_for_in_wheels_and_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    monkeypatch.setattr(adapter.shutil, "which", lambda name: None)
    assert find_program("nvdisasm") is None
    with pytest.raises(BackendError, match="nvdisasm was not found") as caught:
        disassemble(b"")
    assert caught.value.hint == "pip install nvidia-cuda-nvdisasm"
    monkeypatch.setattr(adapter.shutil, "which", lambda name: str(tmp_path / name))
    assert find_program("nvdisasm") == tmp_path / "nvdisasm"


@pytest.mark.ptx
def test_what_is_no_cubin_is_not_disassembled() -> None:
    with pytest.raises(BackendError, match="nvdisasm failed"):
        disassemble(b"nothing of the kind")


def test_who_looks_for_a_shared_array_waits_for_who_makes_it() -> None:
    arrays, found = adapter.SharedArrays(), []
    assert arrays.get("line") is None
    other = threading.Thread(target=lambda: found.append(arrays.get("line")))
    other.start()
    other.join(0.05)
    assert other.is_alive()
    arrays["line"] = 1
    other.join()
    assert found == [1]
    assert arrays.get("line") == 1
