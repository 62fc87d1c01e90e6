"""Calls without NumPy's warnings."""

import threading
import warnings

import numpy as np
import pytest

from graphc.ops.quiet import quiet_context, quietly


def test_nothing_is_said_and_the_callers_settings_stay() -> None:
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quietly(np.divide, np.float64(1), 0.0) == np.inf
        assert quietly(np.multiply, np.full(3, 3e38, np.float32), np.float32(10))[0] == np.inf
        with pytest.raises(FloatingPointError):
            np.divide(np.float64(1), 0.0)


def test_calls_within_calls() -> None:
    assert quietly(lambda x: quietly(np.divide, x, 0.0) + np.log(np.float64(0)), np.float64(1)) != 0


def test_errors_come_through_and_the_context_is_used_again() -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="broadcast"):
            quietly(np.add, np.ones(2), np.ones(3))
    assert quietly(np.add, 1, 1) == 2


def test_threads() -> None:
    barrier = threading.Barrier(4)
    results: list[float] = []

    def wait(x: float) -> float:
        barrier.wait(timeout=30)
        return float(np.divide(np.float64(x), 0.0))

    threads = [threading.Thread(target=lambda: results.append(quietly(wait, 1.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [np.inf] * 4


def test_a_context_is_for_one_call_at_a_time() -> None:
    context = quiet_context()
    with pytest.raises(RuntimeError, match="already entered"):
        context.run(context.run, int)
