"""Calls from several threads, within other thread pools, with Python's threads instead of TBB's, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import graphc as gc
from graphc.backends.numba_cpu import python_threads, tbb, walker
from graphc.compile import compile_graph
from graphc.runtime import tape_words
from graphc.runtime.tape import PROCESS, Shared

X = np.random.default_rng(0).random((1000, 700), np.float32)


def program(x):
    y = gc.exp(x * 0.5) - x
    return y, y.sum(axis=1), (y @ y.T[:, :64]).sum(), gc.sort(y, axis=1)


@pytest.fixture(params=["tbb", "python"])
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """Ranges are divided by each of the two loops."""
    walker.walk()
    before = PROCESS[Shared.PARALLEL_FOR], gc.get_num_threads()
    address = tbb.parallel_for_address() if request.param == "tbb" else python_threads.parallel_for_address()
    if not address:
        pytest.skip("TBB is not installed")
    PROCESS[Shared.PARALLEL_FOR] = address
    gc.set_num_threads(2)
    yield request.param
    PROCESS[Shared.PARALLEL_FOR] = before[0]
    gc.set_num_threads(before[1])


def expected() -> list[np.ndarray]:
    gc.set_num_threads(1)
    results = [r.copy() for r in compile_graph(gc.jit(program).graph(X))(X)]
    gc.set_num_threads(2)
    return results


def assert_same(results: list[np.ndarray], want: list[np.ndarray]) -> None:
    for got, wanted in zip(results, want, strict=True):
        assert np.asarray(got).tobytes() == wanted.tobytes()


def test_the_loops_give_the_same_bits(loop: str) -> None:
    want = expected()
    executable = compile_graph(gc.jit(program).graph(X))
    for threads in (2, 3, 8):
        gc.set_num_threads(threads)
        assert_same(executable(X), want)


def test_pieces_run_on_other_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    names: set[str] = set()
    done = python_threads._do_pieces

    def watched(*arguments: object) -> None:
        names.add(threading.current_thread().name)
        done(*arguments)

    monkeypatch.setattr(python_threads, "_do_pieces", watched)
    walker.walk()
    before = PROCESS[Shared.PARALLEL_FOR], gc.get_num_threads()
    PROCESS[Shared.PARALLEL_FOR] = python_threads.parallel_for_address()
    try:
        gc.set_num_threads(2)
        executable = compile_graph(gc.jit(lambda x: gc.exp(gc.sin(x))).graph(X))
        for _ in range(50):
            executable(X)
    finally:
        PROCESS[Shared.PARALLEL_FOR] = before[0]
        gc.set_num_threads(before[1])
    assert threading.current_thread().name in names
    assert any(name.startswith("graphc") for name in names)


def test_one_executable_in_several_threads(loop: str) -> None:
    want = expected()
    executable = compile_graph(gc.jit(program).graph(X))
    with ThreadPoolExecutor(6) as pool:
        for results in pool.map(lambda _: executable(X), range(24)):
            assert_same(results, want)


def test_one_jitted_function_in_several_threads() -> None:
    """Calls of new kinds (which trace and compile) and of known ones, with captured and written state of each thread."""

    def work(number: int) -> float:
        state = gc.zeros(1000)
        x = gc.full((10 + number % 3,), float(number))

        @gc.jit
        def step(x):
            state.add_(x.sum())
            return state.sum()

        return [float(step(x)) for _ in range(3)][-1]

    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(work, range(18)))
    assert got == [3 * 1000.0 * number * (10 + number % 3) for number in range(18)]


NESTED = """
import sys
import numpy as np, numba
from concurrent.futures import ThreadPoolExecutor
import graphc as gc
numba.config.THREADING_LAYER = sys.argv[1]
gc.set_num_threads(2)
f = gc.jit(lambda x: (gc.exp(x) * x).sum())
@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i]
    return s
x = np.linspace(0, 1, 400_000)
want = float(f(x))
def work(n):
    return float(f(x)), total(x)
total(x)
if sys.argv[1] == "tbb":  # Numba's other layers are not for several threads at once
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(12)))
else:
    done = [work(n) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        done += [(value, done[0][1]) for value in pool.map(lambda n: float(f(x)), range(12))]
assert {value for value, _ in done} == {want}
assert np.allclose([s for _, s in done], x.sum())
print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["tbb", "workqueue"])
def test_beside_loops_of_numba(layer: str) -> None:
    if layer == "tbb" and not tbb.parallel_for_address():
        pytest.skip("TBB is not installed")
    done = subprocess.run([sys.executable, "-c", NESTED, layer], capture_output=True, text=True, check=False, timeout=200)
    assert done.stderr == ""
    assert done.stdout.strip() == layer


PROCESSES = """
import multiprocessing, sys
import numpy as np
import graphc as gc
from graphc.backends.numba_cpu import python_threads, walker
from graphc.runtime.tape import PROCESS, Shared
gc.set_num_threads(2)
walker.walk()
PROCESS[Shared.PARALLEL_FOR] = python_threads.parallel_for_address()
x = np.linspace(0, 1, 500_000)
f = gc.jit(lambda x: gc.exp(x) * x)
def work(n):
    return float(f(x).numpy().sum())
if __name__ == "__main__":
    want = work(0)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        got = pool.map(work, range(9))
    print(set(got) == {want}, work(0) == want)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_pools_of_forked_processes() -> None:
    ignored = "ignore:This process:DeprecationWarning"
    done = subprocess.run(
        [sys.executable, "-W", ignored, "-c", PROCESSES], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "True True"


def products(x):
    for _ in range(300):
        x = x @ x * 0.001
    return x


def maps(x):
    for _ in range(200):
        x = gc.cumsum(gc.exp(x * 0.1), axis=1)
    return x


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt: whoever is started in the background of a script inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("function", [products, maps])
def test_an_interrupt_ends_a_long_call(function, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call would take far longer than what it takes until Python looks for signals."""
    monkeypatch.setattr(tape_words, "SEGMENT_BYTES", 1 << 24)
    x = np.full((400, 400), 0.5, np.float32)
    executable = compile_graph(gc.jit(function, convert=False).graph(x))  # unrolled: many kernels in a row
    small = np.zeros((400, 400), np.float32)
    first = executable(small)[0].copy()
    segments = executable._latest._segments
    assert len(segments) > 20
    begun = time.monotonic()
    executable(x)
    whole = time.monotonic() - begun
    timer = threading.Timer(whole / 10, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            executable(x)
    timer.join()
    np.testing.assert_array_equal(executable(small)[0], first)
