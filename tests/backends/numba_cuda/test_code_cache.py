"""CUDA's code on disk: what is found again, and what makes it another kernel."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.backends.numba_cuda import code_cache, kernels
from graphc.backends.numba_cuda.adapter import Usage
from graphc.backends.numba_cuda.code_cache import code_key, load_code, store_code
from graphc.backends.numba_cuda.geometry import DEVICE
from graphc.backends.numba_cuda.kernels import DeviceKernel
from graphc.backends.numba_cuda.occupancy import ARCHITECTURES
from graphc.backends.numba_cuda.source import DeviceSource, DeviceText
from graphc.dtypes import float32
from graphc.runtime.disk_cache import Entry, disk_cache

USAGE = Usage(registers=10, spills=0, stack=0, shared=64)


def source(line: str = "result[p] = x[p]") -> DeviceSource:
    text = DeviceText("moves", DEVICE)
    text.buffer("x", 0, float32)
    text.buffer("result", 1, float32)
    with text.points("p"):
        text.line(line)
    return text.finish(9)


def key(one: DeviceSource, architecture: str = "sm_90") -> str:
    found = code_key(one, architecture)
    assert found is not None
    return found


def test_what_code_depends_on_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    one = source()
    x, result = one.parameters
    others = [
        key(one, "sm_80"),
        key(source("result[p] = -x[p]")),
        key(dataclasses.replace(one, threads=128)),
        key(dataclasses.replace(one, resident=2)),
        key(dataclasses.replace(one, checks=True)),
        key(dataclasses.replace(one, parameters=(x, dataclasses.replace(result, is_array=True)))),
        key(dataclasses.replace(one, parameters=(x, dataclasses.replace(result, short="i32")))),
    ]
    code_cache._environment_digest.cache_clear()
    monkeypatch.setattr(code_cache, "_version", lambda name: "another")
    others.append(key(one))
    code_cache._environment_digest.cache_clear()
    monkeypatch.undo()
    assert len({key(one), *others}) == len(others) + 1
    assert key(one) == key(dataclasses.replace(one, extent=10)), "sizes are arguments"


def test_code_is_found_as_it_was_stored() -> None:
    one = source("result[p] = x[p] + x[p]")
    assert load_code(key(one)) is None
    store_code(key(one), one, "sm_90", ".version 9.0 é", b"\x7fELF\x00", USAGE)
    assert load_code(key(one)) == (".version 9.0 é", b"\x7fELF\x00", USAGE)


def test_an_entry_of_another_kind_is_a_miss() -> None:
    disk = disk_cache()
    assert disk is not None
    name = key(source("result[p] = x[p] * x[p]"))
    fields = dict.fromkeys(("registers", "spills", "stack", "shared"), "0")
    for entry in (Entry({"name": "moves"}, b"nothing"), Entry({**fields, "ptx": "1"}, b"\xff\xff")):
        disk.store(name, entry)
        assert load_code(name) is None


def test_a_damaged_file_is_a_miss_and_is_replaced() -> None:
    disk = disk_cache()
    assert disk is not None
    one = source("result[p] = x[p] * 3")
    store_code(key(one), one, "sm_90", "ptx", b"cubin", USAGE)
    file = disk.path(key(one))
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:50], b"", whole.replace(b"cubin", b"cubim")):
        file.write_bytes(damaged)
        assert load_code(key(one)) is None
        store_code(key(one), one, "sm_90", "ptx", b"cubin", USAGE)
        assert load_code(key(one)) == ("ptx", b"cubin", USAGE)


RACE = """
import sys
from graphc.compile import compile_graph
from graphc.ir.parser import parse
text = "graph @f(%x: f32[n]) -> (f32[n]) {\\n  %0: f32[n] = mul(%x, %x)\\n  %1: f32[n] = sub(%0, %x)\\n  return %1\\n}"
sys.stdin.readline()
(kernel,) = compile_graph(parse(text), "cuda:" + sys.argv[1]).kernels()
print(kernel.code.cubin.hex())
"""


@pytest.mark.ptx
def test_processes_that_compile_the_same_kernel_at_once_agree(tmp_path: Path) -> None:
    """Two for one architecture and one for another, none of which need be here; then all of it is on disk."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(tmp_path)}

    def start(architecture: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RACE, architecture]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    processes = [start(architecture) for architecture in ("sm_80", "sm_80", "sm_75")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    first, second, other = (process.communicate(timeout=200)[0].strip() for process in processes)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert first == second != other and bytes.fromhex(first).startswith(b"\x7fELF")
    names = [file for file in tmp_path.rglob("*") if file.is_file() and b"sm_" in file.read_bytes()[:4096]]
    assert len(names) == 2


@pytest.mark.ptx
def test_a_kernel_is_compiled_once_and_then_comes_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    one = source("result[p] = x[p] / x[p]")
    first = DeviceKernel(one, ARCHITECTURES["sm_90"]).code
    kernels._codes.clear()

    def refuse(*arguments: object) -> str:
        raise AssertionError("it was compiled again")

    monkeypatch.setattr(kernels, "compile_to_ptx", refuse)
    again = DeviceKernel(one, ARCHITECTURES["sm_90"]).code
    assert (again.ptx, again.cubin, again.usage) == (first.ptx, first.cubin, first.usage)
