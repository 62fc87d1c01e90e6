"""The real bindings over a driver's library that is made here: names, types and layouts are those of NVIDIA's header."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")
PROGRAM = """
import numpy as np
import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import OutOfMemoryError
from graphc.runtime.devices import find_device

def trace(function):
    return compile_graph(gc.jit(function, name="f").graph(gc.spec("f32[n]")), "cuda")

x = np.arange(300, dtype="f4")
program, device = trace(lambda x: gc.cumulative_sum(x * 2.0, axis=0) * x), find_device("cuda")
for _ in range(3):
    program(x)
print(program.without_graph, device.hardware, device.capability)
def sums(x):
    for _ in range(3):
        x = gc.cumulative_sum(x, axis=0)
    return x

def swaps(x):
    return gc.fori_loop(0, 3, lambda i, c: (c[1], gc.sin(c[0])), (x, x + 1.0))

inputs = [device.upload(x + i) for i in range(4)]
for program in (trace(sums), trace(swaps)):
    for each in inputs * 2:
        program(each)
np.testing.assert_array_equal(device.upload(x).numpy(), x)
lookup = compile_graph(gc.jit(lambda x, i: x[i], name="g").graph(gc.spec("f32[n]"), gc.spec("i64[m]")), "cuda")
lookup(device.upload(x), device.upload(np.array([1])))
device.synchronize()
device.wait_for(device.stream)
try:
    device.empty((1 << 27,), "f4")
except OutOfMemoryError as error:
    print(error.message)
device.empty_cache()
print(device.memory_stats()["frees"] > 0)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library."""
    if COMPILER is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, on Linux")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("stub_driver.c")
    command = [COMPILER, "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), str(source)]
    subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.mark.ptx
def test_the_driver_is_called_as_its_header_says(library: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, full, freed = done.stdout.splitlines()
    assert first == "None a stub (9, 0)"
    assert full.startswith("a stub has no room for 536,870,912 bytes: of its 2,000 bytes 1,000 are free")
    assert freed == "True"
    lines = done.stderr.splitlines()
    assert "function cumulative_sum" in lines
    begun = lines.index("graph")
    launched = [line.removeprefix("launch ") for line in lines[:begun] if line.startswith("launch ")]
    nodes = [line.removeprefix("node ").replace(" after 0", "").replace(" after 1", "") for line in lines if "node " in line]
    assert len(launched) >= 4
    assert [line.partition(":")[0] for line in launched] == [line.partition(":")[0] for line in nodes[: len(launched)]]
    assert lines.count("graph") >= 4 and "update node" in lines
    assert any(line.startswith("copy node after") for line in lines)
