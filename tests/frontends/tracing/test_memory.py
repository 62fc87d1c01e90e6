"""What a traced function keeps is bounded, whatever it is called with; many calls of one kind leave nothing behind."""

import gc as garbage
import weakref
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.tracing import jit as jit_module

pytestmark = pytest.mark.filterwarnings("ignore::graphc.errors.RetraceWarning")
STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * 4096


def kept(function: object) -> list[int]:
    programs = [program for each in function._families.values() for program in each.programs]  # type: ignore[attr-defined]
    assert sorted(program.size for program in programs) == sorted(function._sizes)  # type: ignore[attr-defined]
    return [program.graph.parameter_types[0].shape[0] for program in programs]


def test_programs_are_forgotten_least_recently_used_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MAX_PROGRAMS", 3)
    f = gc.jit(lambda x: x * 2, static_shapes=True)
    for size in (1, 2, 3, 1, 4, 5):
        np.testing.assert_array_equal(f(np.ones(size)).numpy(), np.full(size, 2))
    assert kept(f) == [1, 4, 5]
    assert f.trace_count == 5
    f(np.ones(2))
    assert f.trace_count == 6


def test_large_graphs_leave_room_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MAX_NODES", 50)

    @gc.jit(static_shapes=True)
    def f(x):  # type: ignore[no-untyped-def]
        for _ in range(20):
            x = gc.sin(x)
        return x

    for size in (1, 2, 3):
        f(np.ones(size))
    assert kept(f) == [2, 3]
    monkeypatch.setattr(jit_module, "MAX_NODES", 5)  # the latest is kept in any case
    f(np.ones(4))
    assert kept(f) == [4]


def test_guards_on_values_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MAX_PROGRAMS", 4)

    @gc.jit
    def power(x, n):  # type: ignore[no-untyped-def]
        y = x
        for _ in range(n):
            y = y * x
        return y

    for n in range(10):
        assert power(np.array([2.0]), n).item() == 2.0 ** (n + 1)
    assert len(kept(power)) == 4
    assert power.trace_count == 10


def test_arguments_are_not_kept() -> None:
    f = gc.jit(lambda x, y: x * 2 + y["a"])
    x, y = np.ones(3), {"a": gc.ones(3)}
    f(x, y)
    array, tensor = weakref.ref(x), weakref.ref(y["a"])
    del x, y
    garbage.collect()
    assert array() is None
    assert tensor() is None


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc")
def test_memory_is_flat_over_many_steps_and_many_shapes() -> None:
    w = gc.tensor(np.full((16, 16), 0.1, np.float32), requires_grad=True)
    optimizer = gc.optim.SGD([w], lr=1e-3)

    @gc.jit
    def step(x):  # type: ignore[no-untyped-def]
        loss = (gc.tanh(x @ w) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    x = gc.tensor(np.ones((8, 16), np.float32))
    for _ in range(1_000):
        step(x)
    before = resident()
    for _ in range(100_000):
        step(x)
    assert resident() - before < 8 << 20

    f = gc.jit(lambda x: (gc.tanh(x) * 2 + x).sum())
    for size in range(1, 2_001):
        f(np.ones(size, np.float32))
    before = resident()
    for size in range(2_001, 10_001):
        f(np.ones(size, np.float32))
    assert resident() - before < 24 << 20
