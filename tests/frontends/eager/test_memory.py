"""Eager code frees what nothing needs: intermediate values, recordings, gradients; and threads do not disturb each other."""

import gc as collector
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import graphc as gc


def test_a_value_that_no_gradient_needs_is_freed_at_once() -> None:
    x = gc.tensor(np.ones(1000), requires_grad=True)
    shifted = x + 1
    watch = weakref.ref(shifted.detach().numpy())
    kept = shifted * 2  # the gradient of a product with a literal reads the literal only
    del shifted
    assert watch() is None
    kept.sum().backward()
    assert x.grad[0].item() == 2.0


def test_residuals_are_freed_by_backward() -> None:
    x = gc.tensor(np.ones(1000), requires_grad=True)
    y = x.exp()
    watch = weakref.ref(y.detach().numpy())
    loss = y.sum()
    del y
    collector.collect()
    assert watch() is not None
    loss.backward()
    collector.collect()
    assert watch() is None


def test_a_dropped_recording_is_freed_without_backward() -> None:
    x = gc.tensor(np.ones(1000), requires_grad=True)
    y = x.exp()
    watch = weakref.ref(y.detach().numpy())
    z = (y * y).sum()
    del y, z
    assert watch() is None


def test_no_grad_keeps_nothing() -> None:
    x = gc.tensor(np.ones(1000), requires_grad=True)
    with gc.no_grad():
        y = x.exp()
        watch = weakref.ref(y.numpy())
        z = y * y
    del y
    assert watch() is None
    assert z[0].item() == pytest.approx(np.exp(2))


def train(parameters: list[Any], x: Any, y: Any) -> float:
    w1, w2 = parameters
    loss = (((x @ w1).tanh() @ w2 - y) ** 2).mean()
    loss.backward()
    with gc.no_grad():
        for p in parameters:
            p -= 0.01 * p.grad
            p.grad = None
    return float(loss.item())


def test_a_training_loop_uses_no_more_memory_over_time() -> None:
    rng = np.random.default_rng(0)
    parameters = [gc.tensor(rng.normal(size=s), requires_grad=True) for s in ((8, 16), (16, 1))]
    x, y = gc.tensor(rng.normal(size=(32, 8))), gc.tensor(rng.normal(size=(32, 1)))
    losses = [train(parameters, x, y) for _ in range(30)]
    collector.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        losses += [train(parameters, x, y) for _ in range(100)]
        collector.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 40_000, f"100 steps kept {after - before} bytes"
    assert losses[-1] < losses[0]


def test_in_place_updates_under_no_grad_leave_no_history() -> None:
    x = gc.tensor(np.ones(4), requires_grad=True)
    for _ in range(1000):
        with gc.no_grad():
            x *= 1.0
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0] * 4


def test_threads_record_and_differentiate_independently() -> None:
    failures: list[str] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for step in range(25):
            x = gc.tensor(np.full(5, float(number + 1)), requires_grad=True)
            if (number + step) % 2:
                with gc.no_grad():
                    if (x * x).requires_grad:
                        failures.append("no_grad of another thread is missing here")
            (x * x * x).sum().backward()
            if x.grad.tolist() != [3.0 * (number + 1) ** 2] * 5:
                failures.append(f"thread {number}: {x.grad}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_recording_in_one_thread_does_not_see_another() -> None:
    with gc.record() as recorder:
        thread = threading.Thread(target=lambda: gc.ones((3,)) * 2)
        thread.start()
        thread.join()
        y = gc.ones((2,)) + 1
    assert "add" in [r.op.name for r in recorder.records]
    assert "mul" not in [r.op.name for r in recorder.records]
    assert y.tolist() == [2.0, 2.0]
