"""The number of threads: what it may be, where it comes from, and that results do not depend on it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cpu.tbb import parallel_for_address
from graphc.compile import compile_graph
from graphc.dtypes import float32, int64
from graphc.errors import ArgumentError, OutOfBoundsError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.runtime.tape import PROCESS, Shared
from graphc.runtime.threads import get_num_threads, set_num_threads

N = symbol("n")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def built(function: Any, *types: TensorType) -> Any:
    b = Builder("g")
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    return compile_graph(b.finish(outputs if isinstance(outputs, list) else [outputs]))


def test_the_number_is_set_and_read() -> None:
    gc.set_num_threads(3)
    assert gc.get_num_threads() == 3


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", None, 10**6])
def test_other_numbers_are_refused(count: Any) -> None:
    with pytest.raises(ArgumentError, match="the number of threads must be an int from 1 to 1024"):
        set_num_threads(count)


def in_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_environment_gives_the_first_number() -> None:
    code = "import graphc as gc; print(gc.get_num_threads())"
    assert in_process(code, GRAPHC_NUM_THREADS="7").stdout.strip() == "7"
    refused = in_process(code, GRAPHC_NUM_THREADS="many")
    assert refused.returncode != 0
    assert "GRAPHC_NUM_THREADS must be an int from 1 to 1024, not 'many'" in refused.stderr


def everything(b: Builder, x: Any, i: Any) -> list[Any]:
    """Kernels of each family, over a size that no piece divides."""
    rows = b.broadcast_in_dim(x, shape=(7, N), dims=(1,))
    return [
        b.exp(b.tanh(b.mul(x, x))),
        b.reduce_sum(rows, axes=(1,)),
        b.reduce_sum(rows, axes=(0,)),
        b.reduce_max(x, axes=(0,)),
        b.cumulative_sum(rows, axis=1, reverse=False),
        b.gather(x, i, axes=(0,)),
        b.scatter_add(x, x, i, axes=(0,)),
        b.sort(rows, axis=1, descending=False),
        b.reverse(rows, axes=(0,)),
        b.concatenate(x, x, axis=0),
    ]


@pytest.mark.skipif(not parallel_for_address(), reason="TBB is not installed")
def test_results_are_the_same_bits_for_any_number_of_threads() -> None:
    executable = built(everything, TensorType(float32, (N,)), TensorType(int64, (N,)))
    rng = np.random.default_rng(0)
    n = 300_007
    x, i = rng.normal(size=n).astype(np.float32), rng.integers(0, n, n)
    set_num_threads(1)
    expected = [array.copy() for array in executable(x, i)]
    for count in (2, 3, 16):
        set_num_threads(count)
        for got, want in zip(executable(x, i), expected, strict=True):
            assert got.tobytes() == want.tobytes()
    assert PROCESS[Shared.USED]


def test_the_first_index_out_of_range_is_the_one_that_is_told() -> None:
    executable = built(lambda b, x, i: b.gather(x, i, axes=(0,)), TensorType(float32, (N,)), TensorType(int64, (N,)))
    n = 400_000
    x, i = np.zeros(n, np.float32), np.zeros(n, np.int64)
    i[n // 3 :: 1000] = n + np.arange(len(i[n // 3 :: 1000]))
    set_num_threads(4)
    for _ in range(5):
        with pytest.raises(OutOfBoundsError, match=f"index {n} is out of range for axis 0, which has size {n}"):
            executable(x, i)
    assert executable(x, np.zeros(n, np.int64))[0].tolist() == [0] * n


def test_python_threads_may_each_use_all_threads() -> None:
    executable = built(lambda b, x: b.mul(b.exp(x), x), TensorType(float32, (N,)))
    set_num_threads(2)
    failures: list[int] = []

    def work(number: int) -> None:
        x = np.full(200_000 + number, 1 + number, np.float32)
        want = executable(x)[0].copy()
        for _ in range(20):
            if not np.array_equal(executable(x)[0], want):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


FORK = """
import os, sys, threading
import numpy as np
import graphc as gc
gc.set_num_threads(2)
f = gc.jit(lambda x: gc.exp(x) * x)
x = gc.tensor(np.linspace(0, 1, 500_000, dtype=np.float32))
before = f(x).numpy().copy() if "used" in sys.argv[1] else None
def fork():
    child = os.fork()
    if child == 0:
        got = f(x).numpy()
        again = f(x).numpy()
        os._exit(0 if np.array_equal(got, again) and (before is None or np.array_equal(got, before)) else 1)
    statuses.append(os.waitpid(child, 0)[1])
statuses = []
if "thread" in sys.argv[1]:
    running = threading.Thread(target=fork)
    running.start()
    while running.is_alive():
        f(x)
    running.join()
else:
    for _ in range(3):
        fork()
        f(x)
print(statuses, f(x).shape)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("case", ["used", "fresh", "used thread"])
def test_a_forked_child_and_its_parent_go_on(case: str) -> None:
    ignored = "ignore:This process:DeprecationWarning"  # what Python 3.12 says of every fork with threads
    command = [sys.executable, "-W", ignored, "-c", FORK, case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    assert done.stdout.strip() == f"{[0] if 'thread' in case else [0, 0, 0]} (500000,)"
