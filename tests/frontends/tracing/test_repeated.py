"""Repeated calls of a jitted function: they take the short way where, and only where, they are like the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.frontends.dispatch import observers
from tests.call_count import counted

SHORT = 60  # function calls; a simple call makes 12, the general way hundreds


def is_short(call: Callable[[], Any]) -> bool:
    """Whether the second of two such calls takes the short way."""
    call()
    return counted(call) <= SHORT


def same(got: Any, want: Any) -> None:
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_calls_that_are_alike() -> None:
    f = gc.jit(lambda x, y: x * 2 + y)
    x, y = gc.tensor([1.0, 2.0]), gc.tensor([3.0, 4.0])
    for _ in range(3):
        same(f(x, y), [5, 8])
    assert is_short(lambda: f(x, y))
    assert is_short(lambda: f(y, x))
    assert is_short(lambda: f(np.ones(2, np.float32), x))
    same(f(y, x), [7, 10])
    assert f.trace_count == 1


def test_numbers_are_passed_as_they_come() -> None:
    f = gc.jit(lambda x, scale, shift: x * scale + shift)
    x = gc.tensor([1.0, 2.0])
    assert is_short(lambda: f(x, 2.0, 1))
    same(f(x, 3.0, 5), [8, 11])
    assert is_short(lambda: f(x, 3.0, 7))
    assert f.trace_count == 1
    same(f(x, 3, 1), [4, 7])  # an int where a float was
    same(f(x, True, 1), [2, 3])
    assert f.trace_count == 3
    with pytest.raises(errors.ArgumentError, match="is out of range for int64"):
        f(x, 3, 1 << 80)


def test_a_number_whose_value_was_needed() -> None:
    f = gc.jit(lambda x, n: x * 2 if n > 2 else x * 3)
    x = gc.tensor([1.0])
    assert is_short(lambda: f(x, 5))
    same(f(x, 1), [3])
    same(f(x, 5), [2])


def test_structured_results() -> None:
    f = gc.jit(lambda x: {"a": x + 1, "b": [x * 2, None, "text"]})
    x = gc.tensor([1.0])
    assert is_short(lambda: f(x))
    first, second = f(x), f(x)
    same(second["a"], [2])
    same(second["b"][0], [2])
    assert second["b"][1:] == [None, "text"]
    assert first["a"] is not second["a"]
    first["a"].zero_()
    same(second["a"], [2])


def test_weak_results_stay_weak() -> None:
    f = gc.jit(lambda n: n * 2)
    for _ in range(3):
        assert f(3).weak
    assert (gc.tensor([1.0], dtype="f16") + f(2)).dtype is gc.float16


@pytest.mark.filterwarnings("ignore::graphc.errors.RetraceWarning")
def test_other_types_go_the_general_way() -> None:
    f = gc.jit(lambda x: x * 2 + 1)
    x = gc.tensor([1.0, 2.0])
    assert is_short(lambda: f(x))
    same(f(gc.tensor([1.0])), [3])
    assert f.trace_count == 2
    same(f(x), [3, 5])
    assert f(gc.tensor([1.0, 2.0], dtype="f64")).dtype is gc.float64
    assert f(gc.tensor([1, 2])).dtype is gc.int64
    same(f(gc.tensor([[1.0], [2.0]]).T), [[3, 5]])
    strided = gc.tensor([1.0, 0.0, 2.0, 0.0])[::2]
    same(f(strided), [3, 5])
    weak = gc.asarray(1.0)
    same(f(gc.tensor(1.0)), 3)
    weak.weak = True
    assert f(weak).weak
    assert not f(gc.tensor(1.0)).weak
    swapped = np.array([1.0, 2.0], np.dtype(np.float32).newbyteorder())
    same(f(swapped), [3, 5])


def test_other_sizes_that_were_seen_go_the_short_way() -> None:
    f = gc.jit(lambda x, y, n: (x * 2 + y.sum(), x * n), dynamic=True)
    calls = [(gc.full((n,), 3.0), np.full(m, 2.0, np.float32), n) for n in (1, 4, 0) for m in (2, 5)]
    for _ in range(2):
        for x, y, n in calls:
            f(x, y, n)
    for x, y, n in calls * 2:
        assert is_short(lambda: f(x, y, n))  # noqa: B023 - called at once
        first, second = f(x, y, n)
        same(first, np.full(x.shape, 6 + 2 * len(y)))
        same(second, np.full(x.shape, 3 * n))
    assert f.trace_count == 1
    assert not is_short(lambda: f(gc.ones(7), y, 1))
    same(f(gc.ones(7), y, 1)[1], np.ones(7))


def test_gradients_are_recorded() -> None:
    f = gc.jit(lambda x: (x * x).sum())
    x = gc.tensor([1.0, 2.0])
    assert is_short(lambda: f(x))
    w = gc.tensor([3.0, 4.0], requires_grad=True)
    y = f(w)
    assert y.requires_grad
    y.backward()
    same(w.grad, [6, 8])
    assert not f(x).requires_grad
    x.requires_grad_()
    assert f(x).requires_grad
    with gc.no_grad():
        assert not f(x).requires_grad


def test_the_gradient_mode() -> None:
    f = gc.jit(lambda x: x * 2 if gc.is_grad_enabled() else x * 3)
    x = gc.tensor([1.0])
    assert is_short(lambda: f(x))
    with gc.no_grad():
        same(f(x), [3])
        assert is_short(lambda: f(x))
        same(f(x), [3])
    same(f(x), [2])


def test_captured_tensors_may_change_and_be_rebound() -> None:
    weight = gc.tensor([2.0, 3.0])
    f = gc.jit(lambda x: x * weight)
    x = gc.tensor([1.0, 1.0])
    assert is_short(lambda: f(x))
    weight += 1
    same(f(x), [3, 4])
    weight = gc.tensor([5.0, 6.0])
    same(f(x), [5, 6])
    weight = gc.tensor([5.0, 6.0], requires_grad=True)
    assert f(x).requires_grad
    weight = gc.tensor([7, 8])
    same(f(x), [7, 8])


def test_a_captured_tensor_that_comes_to_require_a_gradient() -> None:
    weight = gc.tensor([2.0])
    f = gc.jit(lambda x: x * weight)
    x = gc.tensor([1.0])
    f(x)
    f(x)
    weight.requires_grad_()
    assert f(x).requires_grad
    weight.requires_grad_(False)
    assert not f(x).requires_grad


def test_methods_and_static_arguments() -> None:
    class Model:
        def __init__(self, factor: float) -> None:
            self.weight = gc.tensor([factor])

        @gc.jit
        def __call__(self, x: Any, double: bool = False) -> Any:
            return x * self.weight * (2 if double else 1)

    first, second = Model(2.0), Model(3.0)
    x = gc.tensor([1.0])
    assert is_short(lambda: first(x))
    same(second(x), [3])
    same(first(x), [2])
    assert is_short(lambda: first(x, True))
    same(first(x, True), [4])
    same(first(x, False), [2])
    same(first(x, double=True), [4])
    first.weight = gc.tensor([10.0])
    same(first(x), [10])

    power = gc.jit(lambda x, n: x**n, static_argnums=1)
    y = gc.tensor([2.0])
    assert is_short(lambda: power(y, 3))
    same(power(y, 2), [4])
    same(power(y, 3), [8])


def test_arguments_that_share_memory() -> None:
    f = gc.jit(lambda x, y: x is y)
    x, y = gc.tensor([1.0, 2.0]), gc.tensor([1.0, 2.0])
    assert f(x, y) is False
    assert f(x, y) is False
    assert f(x, x) is True
    g = gc.jit(lambda x, y, z: x + y + z)
    views = [y[:1], y[1:], x[:1]]
    before = g.trace_count
    same(g(gc.ones(1), gc.ones(1), gc.ones(1)), [3])
    same(g(*views), [4])
    assert g.trace_count == before + 2


def test_writes_reach_the_arguments_each_time() -> None:
    def add_one(x: Any) -> Any:
        x += 1
        return x

    f, x = gc.jit(add_one), gc.tensor([1.0])
    for expected in (2, 3, 4):
        assert f(x) is x
        same(x, [expected])


def test_views_of_arguments_are_views_each_time() -> None:
    f, x = gc.jit(lambda x: x[1:]), gc.tensor([1.0, 2.0])
    for value in (5.0, 6.0):
        f(x).fill_(value)
        same(x, [1, value])


def test_pending_views_are_seen() -> None:
    base = gc.zeros(2)
    view = base[:1]
    f = gc.jit(lambda x: x * 2)
    f(view)
    f(view)
    base += gc.tensor([3.0, 3.0], requires_grad=True)
    assert f(view).requires_grad
    same(f(view).detach(), [6])


def test_inside_another_trace() -> None:
    f = gc.jit(lambda x: x * 2)
    x = gc.tensor([1.0])
    f(x)
    f(x)
    graph = gc.jit(lambda y: y + f(x)).graph(x)
    assert [n.op.name for n in graph.nodes()].count("mul") == 1
    with gc.record() as recording:
        y = f(x)
    assert "call" in str(recording.graph(outputs=[y]))
    assert not observers


def test_the_environment_is_looked_at_in_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def function(x: Any) -> Any:
        seen.append(type(x))
        return x * 2

    f, x = gc.jit(function, convert=False), gc.tensor([1.0])
    f(x)
    assert is_short(lambda: f(x))
    assert len(seen) == 1
    monkeypatch.setenv("GRAPHC_MODE", "eager")
    f(x)
    assert seen[-1] is gc.Tensor
    monkeypatch.delenv("GRAPHC_MODE")
    f(x)
    assert len(seen) == 2


def test_subclasses_and_lists() -> None:
    class Mine(gc.Tensor):
        __slots__ = ()

    f, x = gc.jit(lambda x: x * 2), gc.tensor([1.0])
    f(x)
    mine = Mine.wrap(np.ones(1, np.float32))
    assert not is_short(lambda: f(mine))
    same(f(mine), [2])
    g = gc.jit(lambda xs: xs[0] + xs[1])
    same(g([x, x * 2]), [3])
    same(g([x, x * 3]), [4])


def test_errors_name_what_they_did() -> None:
    f = gc.jit(lambda x, i: x[i])
    x = gc.tensor([1.0, 2.0])
    same(f(x, gc.tensor(1)), 2)
    same(f(x, gc.tensor(0)), 1)
    for _ in range(2):
        with pytest.raises(errors.OutOfBoundsError, match="index 5 is out of range"):
            f(x, gc.tensor(5))
    same(f(x, gc.tensor(1)), 2)
    with pytest.raises(TypeError):
        f(x)


def test_forgotten_programs_are_not_used() -> None:
    factor = [2.0]
    f, x = gc.jit(lambda x: x * factor[0]), gc.tensor([1.0])
    f(x)
    factor[0] = 3.0
    f.clear_cache()
    same(f(x), [3])


def test_threads_call_at_once() -> None:
    f = gc.jit(lambda x, n: x * 2 + n)
    failures: list[Any] = []

    def work(number: int) -> None:
        x = gc.full((number + 1,), float(number))
        for step in range(200):
            got = f(x, step).numpy()
            if got.shape != (number + 1,) or not (got == 2 * number + step).all():
                failures.append((number, step, got))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert f.trace_count == 2
