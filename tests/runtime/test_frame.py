"""What the tape and the planned memory must not change: results, errors, and who owns which memory."""

import gc as garbage
import resource
import threading
from typing import Any

import numpy as np
import pytest

from graphc.compile import compile_graph
from graphc.dtypes import bool_, float32, int64
from graphc.errors import CheckError, OutOfBoundsError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.runtime.arena import ARENAS
from graphc.runtime.executable import Executable
from graphc.runtime.result_pool import SMALLEST

N = symbol("n")
VECTOR = TensorType(float32, (N,))


def built(function: Any, *types: TensorType, **options: Any) -> Executable:
    b = Builder("g")
    outputs = function(b, *[b.parameter(t, f"x{i}") for i, t in enumerate(types)])
    executable = compile_graph(b.finish(outputs if isinstance(outputs, list) else [outputs]), **options)
    assert isinstance(executable, Executable)
    return executable


def chain(b: Builder, x: Any) -> Any:
    """Kernels that do not fuse, each with a temporary."""
    for _ in range(6):
        x = b.cumulative_sum(x, axis=0, reverse=False)
        x = b.reverse(x, axes=(0,))
    return x


def chain_by_numpy(x: np.ndarray) -> np.ndarray:
    for _ in range(6):
        x = np.cumsum(x, axis=0, dtype=np.float32)[::-1]
    return x


@pytest.mark.parametrize("n", [0, 1, 5, 300, 2000])
def test_temporaries_are_kept_apart(n: int) -> None:
    executable = built(chain, VECTOR)
    x = np.ones(n, np.float32)
    for _ in range(3):
        np.testing.assert_allclose(executable(x)[0], chain_by_numpy(x), rtol=1e-5)


def test_sizes_may_alternate() -> None:
    executable = built(chain, VECTOR)
    for n in (3, 5000, 0, 3, 700, 5000, 700):
        x = np.ones(n, np.float32)
        np.testing.assert_allclose(executable(x)[0], chain_by_numpy(x), rtol=1e-5)


def test_the_plan_needs_two_temporaries_at_a_time() -> None:
    executable = built(chain, VECTOR)
    executable(np.ones(10_000, np.float32))
    (frame,) = executable._frames.values()
    assert frame.arena_bytes <= 2 * 40_064


def test_results_that_are_held_are_not_written_again() -> None:
    executable = built(lambda b, x: [b.exp(x), b.reshape(b.neg(x), shape=(1, N))], VECTOR)
    n = SMALLEST // 2
    held = []
    for number in range(6):
        first, second = executable(np.full(n, number, np.float32))
        held.append((number, first[5:7], second))
        del first
    for number, part, second in held:
        np.testing.assert_allclose(part, np.exp(np.float32(number)), rtol=1e-6)
        assert np.all(second == -number)
        assert second.shape == (1, n)
    executable(held[0][1].repeat(n // 2))
    assert not np.shares_memory(held[0][1], held[1][1])


def test_a_result_given_back_as_an_input_is_read_correctly() -> None:
    executable = built(lambda b, x: b.add(x, b.full_like(x, 1.0)), VECTOR)
    x = np.zeros(SMALLEST, np.float32)
    for step in range(1, 8):
        (x,) = executable(x)
        assert x[0] == x[-1] == step


def test_an_error_in_the_middle_leaves_the_next_call_whole() -> None:
    line = Location("model.py", 3)

    def graph(b: Builder, x: Any, i: Any, p: Any) -> list[Any]:
        b.location = line
        y = b.cumulative_sum(x, axis=0, reverse=False)
        b.check(p, message="p must hold")
        z = b.gather(y, i, axes=(0,))
        return [b.cumulative_sum(z, axis=0, reverse=False), b.exp(y)]

    executable = built(graph, VECTOR, TensorType(int64, (symbol("k"),)), TensorType(bool_, ()))
    for n in (4, 4000, 100_000):
        x, good, bad = np.ones(n, np.float32), np.array([0, n - 1]), np.array([0, n])
        yes, no = np.array(True), np.array(False)
        for _ in range(3):
            with pytest.raises(OutOfBoundsError, match=f"gather: index {n} is out of range") as caught:
                executable(x, bad, yes)
            assert (caught.value.location.filename, caught.value.location.line) == ("model.py", 3)
            with pytest.raises(CheckError, match="p must hold"):
                executable(x, bad, no)
            first, second = executable(x, good, yes)
            assert first.tolist() == [1, n + 1]
            np.testing.assert_allclose(second[0], np.exp(1.0), rtol=1e-6)


class Marked(np.ndarray):
    """A subclass, whose layout native code cannot know."""


def test_inputs_that_are_no_plain_arrays_are_taken_after_those_that_are() -> None:
    executable = built(lambda b, x: b.add(x, x), TensorType(float32, (2, 2)))
    plain = np.arange(4, dtype=np.float32).reshape(2, 2)
    equal_dtype = np.frombuffer(plain.tobytes(), np.dtype(np.float32).newbyteorder("<")).reshape(2, 2)
    others: list[Any] = [
        plain.tolist(), plain.T.copy().T, np.asfortranarray(plain), plain.view(Marked), plain.astype(">f4"), equal_dtype,
        np.zeros((4, 4), np.float32)[::2, ::2], plain[::-1][::-1],
    ]  # fmt: skip
    others[0] = np.array(others[0], np.float32)
    for given in others:
        assert np.array_equal(executable(plain)[0], plain * 2)
        assert np.array_equal(executable(given)[0], np.asarray(given) * 2)
    scalar = built(lambda b, x: b.add(x, x), TensorType(float32, ()))
    for value in (np.array(1.5, np.float32), np.float32(1.5)):
        assert scalar(value)[0] == 3


def test_threads_have_their_own_temporaries() -> None:
    executable, failures = built(chain, VECTOR), []

    def work(number: int) -> None:
        for n in (10, 3000, 3001):
            x = np.full(n, number, np.float32)
            want = chain_by_numpy(x)
            for _ in range(20):
                if not np.allclose(executable(x)[0], want, rtol=1e-5):
                    failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_memory_is_flat_over_calls_and_over_shapes() -> None:
    executable = built(chain, VECTOR)

    def grow(calls: int, n: int, step: int) -> int:
        for call in range(calls):
            executable(np.ones(n + call * step, np.float32))
        garbage.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    grow(400, 50_000, 1)
    before = grow(300, 50_000, 0)
    assert grow(3000, 50_000, 0) - before < 4096  # KiB
    assert grow(2000, 48_000, 1) - before < 32768
    assert ARENAS.idle_bytes < 1 << 27
