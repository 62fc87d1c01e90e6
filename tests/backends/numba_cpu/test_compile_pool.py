"""Kernels that other processes compile, and what happens when those die or fail."""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cpu import compile_pool, kernels
from graphc.backends.numba_cpu.compile_pool import Request, Worker, compile_ahead
from graphc.backends.numba_cpu.kernels import compile_several
from graphc.compile import compile_graph
from graphc.errors import ArgumentError
from graphc.runtime.disk_cache import disk_cache


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(compile_pool.VARIABLE, "1")
    yield
    compile_pool._pool.close()


def requests(count: int, mark: str) -> list[Request]:
    """Kernels that nobody has compiled yet: ``mark`` tells one test's from another's."""
    return [
        Request(
            f"def add_{mark}{n}(buffers, sizes, lo, hi, status):\n    x = pointer_f32(buffers[0])\n"
            f"    for i in range(lo, hi):\n        x[i] = x[i] + f32({n + 0.5})\n",
            f"add_{mark}{n}", ("i64*", "i64*", "i64", "i64", "i64*"), "<test>", False, "kernel_names",
        )
        for n in range(count)
    ]  # fmt: skip


def kept(request: Request) -> bool:
    source, name, signature, _, fast_math, module = request
    key, cache = kernels.kernel_key(source, name, signature, fast_math, module), disk_cache()
    assert key is not None
    assert cache is not None
    return cache.path(key).exists()


def run(request: Request) -> float:
    source, name, signature, filename, fast_math, module = request
    compiled = kernels.compile_kernel(
        source, name, signature, filename=filename, fast_math=fast_math, namespace=kernels.ModuleNames(module)
    )
    x = np.zeros(3, np.float32)
    buffers, status = np.array([x.ctypes.data]), np.zeros(4, np.int64)
    compiled(buffers.ctypes.data, status.ctypes.data, 0, 3, status.ctypes.data)
    return float(x.sum())


def test_another_process_compiles_what_this_one_loads() -> None:
    todo = requests(4, "other")
    done_here: list[Request] = []

    def slowly(request: Request) -> None:
        done_here.append(request)
        kernels._compile_request(request)
        while len(done_here) == 1 and not all(map(kept, todo[2:])):  # leave the rest to the other one
            pass

    assert compile_ahead(todo, slowly) == 1
    assert all(map(kept, todo))
    assert len(done_here) < len(todo)
    assert [run(request) for request in todo] == [3 * (n + 0.5) for n in range(4)]


def test_a_few_kernels_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_pool, "Worker", None)
    assert compile_ahead(requests(3, "few"), lambda _: None) == 0
    compile_several(requests(3, "few"))
    assert not any(map(kept, requests(3, "few")))


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-c", "pass"],  # ends at once
        [sys.executable, "-c", "input(); input(); print('no')"],  # says something else and ends
        [sys.executable, "-c", "input()\nwhile True:\n    input(); print(0, flush=True)"],  # fails at everything
    ],
    ids=["dead", "confused", "failing"],
)
def test_without_help_this_process_compiles_everything(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_pool, "Worker", lambda: Worker(command))
    todo = requests(5, f"alone{len(command[-1])}")
    compile_several(todo)
    assert [run(request) for request in todo] == [3 * (n + 0.5) for n in range(5)]


def test_a_process_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_pool, "_PATIENCE", 0.2)
    worker = Worker([sys.executable, "-c", "import time; time.sleep(100)"])
    assert not worker.compile(requests(1, "silent")[0])
    worker.close()
    assert not worker.is_alive()


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Worker:
        raise OSError("no more processes")

    monkeypatch.setattr(compile_pool, "Worker", refuse)
    todo = requests(4, "none")
    compile_several(todo)
    assert all(map(kept, todo))


def test_what_fails_here_is_raised_and_ends_the_others() -> None:
    def fail(request: Request) -> None:
        raise ArgumentError("no")

    with pytest.raises(ArgumentError, match="no"):
        compile_ahead(requests(6, "fail"), fail)
    assert all(worker.is_alive() for worker in compile_pool._pool.workers)


def test_processes_are_used_again() -> None:
    compile_several(requests(4, "first"))
    before = [worker.process.pid for worker in compile_pool._pool.workers]
    compile_several(requests(4, "second"))
    assert [worker.process.pid for worker in compile_pool._pool.workers] == before
    assert before


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({compile_pool.VARIABLE: "3"}, 3), ({compile_pool.VARIABLE: "0"}, 0), ({"PYTEST_XDIST_WORKER": "gw0"}, 0)],
)
def test_how_many(variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compile_pool.VARIABLE)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert compile_pool.processes() == expected


def test_no_more_than_the_other_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compile_pool.VARIABLE)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert compile_pool.processes() == 2
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert compile_pool.processes() == 0


def test_a_wrong_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compile_pool.VARIABLE, "many")
    with pytest.raises(ArgumentError, match="GRAPHC_COMPILE_PROCESSES is 'many'"):
        compile_pool.processes()


def test_without_a_cache_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    monkeypatch.setattr(compile_pool, "Worker", None)
    compile_several(requests(9, "off"))


PROGRAM = """
import os, sys
import numpy as np
import graphc as gc
from graphc.backends.numba_cpu import compile_pool
f = gc.jit(lambda x: (gc.sort(x), gc.cumsum(x, axis=0), x.sum(), gc.exp(x).max(axis=1), x @ x.T))
x = np.arange(12, dtype=np.float32).reshape(3, 4)
results = f(x)
if hasattr(os, "fork") and (child := os.fork()) == 0:
    gc.jit(lambda x: (gc.sort(x, axis=0), x.min(), gc.cumprod(x, axis=0), gc.log(x + 1).sum(axis=1)))(x)
    print("child", len(compile_pool._pool.workers), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent", len(compile_pool._pool.workers), float(results[2]))
"""


def test_a_script_and_its_forked_child(tmp_path: object) -> None:
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(tmp_path), compile_pool.VARIABLE: "1"}
    ignored = "ignore:This process:DeprecationWarning"
    done = subprocess.run(
        [sys.executable, "-W", ignored, "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "parent 1 66.0"
    assert compile_graph(gc.jit(lambda x: x + 1).graph(np.ones(2)))(np.ones(2))[0].tolist() == [2, 2]
