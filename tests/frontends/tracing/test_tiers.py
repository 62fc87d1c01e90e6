"""``jit(tier="auto")``: what is the same before kernels are there and after, and how calls go over to them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import ArgumentError, BackendError, CheckError, DonatedError, OutOfBoundsError
from graphc.frontends.tracing import program as program_module
from graphc.runtime import background


class Gate:
    """Compilations in other threads wait until it is open; ``failing``: what they raise then."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.failing: Exception | None = None

    def compile_graph(self, *args: Any, **kwargs: Any) -> Any:
        if background.in_background():
            assert self.is_open.wait(60)
        if self.failing is not None:
            raise self.failing
        return compile_graph(*args, **kwargs)

    def open(self) -> None:
        """Let compilations go on, and wait for them."""
        self.is_open.set()
        until = time.monotonic() + 60
        while background._background.thread is not None:
            assert time.monotonic() < until
            time.sleep(0.001)

    def both(self, run: Callable[[], Any]) -> tuple[Any, Any]:
        """What ``run`` gives on the reference path, and compiled."""
        before = run()
        self.open()
        return before, run()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(program_module, "compile_graph", made.compile_graph)
    yield made
    made.failing = None
    made.open()


def tier_of(function: Any, trace: int = 0) -> Any:
    return function.explain().traces[trace].tier


def test_calls_go_over_to_compiled_code(gate: Gate) -> None:
    f = gc.jit(lambda x: gc.exp(x) * 2, tier="auto")
    x = gc.linspace(0.0, 1.0, 5)
    first = [f(x) for _ in range(3)]
    record = tier_of(f)
    assert (record.reference_calls, record.first_compiled, record.seconds) == (3, None, None)
    assert "tier: 3 calls on the reference path so far; none has run compiled" in str(f.explain())
    assert "kernels: not compiled yet" in str(f.explain())
    gate.open()
    later = [f(x) for _ in range(3)]
    for result in first + later:
        np.testing.assert_allclose(np.asarray(result), 2 * np.exp(np.asarray(x)), rtol=1e-6)
    assert f.trace_count == 1
    assert (record.reference_calls, record.first_compiled) == (3, 4)
    assert record.seconds > 0
    assert f"tier: 3 calls on the reference path; compiled from call 4 on, after {record.seconds:.3f} s" in str(f.explain())
    told = f.explain().to_dict()["traces"][0]["tier"]
    assert told == {"reference_calls": 3, "first_compiled": 4, "seconds": record.seconds, "error": None, "reverse": None}
    assert f._repeated is not None  # the short way of a warm call


def test_without_it_the_first_call_compiles() -> None:
    f = gc.jit(lambda x: x + 1)
    f(gc.ones(2))
    assert tier_of(f) is None
    assert "tier" not in str(f.explain())
    assert f.explain().to_dict()["traces"][0]["tier"] is None
    assert gc.jit(lambda x: x + 1, tier="compiled")(1.0).item() == 2.0


def test_an_unknown_tier() -> None:
    with pytest.raises(ArgumentError, match=r"tier='fast' is no way to start") as caught:
        gc.jit(lambda x: x, tier="fast")
    assert 'tier="auto"' in (caught.value.hint or "")


def test_integers_and_random_bits_are_the_same_bit_for_bit(gate: Gate) -> None:
    generator = gc.random.Generator(7)

    @gc.jit(tier="auto")
    def f(x: Any) -> Any:
        return x * 3 // 2, (x << 2) ^ 5, generator.randint(0, 1000, (4,)), generator.uniform((3,))

    @gc.jit
    def compiled(x: Any) -> Any:
        return x * 3 // 2, (x << 2) ^ 5, other.randint(0, 1000, (4,)), other.uniform((3,))

    other = gc.random.Generator(7)
    x = gc.arange(-4, 4)
    before, after = gate.both(lambda: f(x))
    assert f.trace_count == 1
    for results in (before, after):  # the draws go on where the other path left them
        for got, want in zip(results, compiled(x), strict=True):
            assert got.dtype is want.dtype
            np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_writes_to_arguments_and_state(gate: Gate) -> None:
    state = gc.zeros(3)
    plain = np.zeros(4)

    @gc.jit(tier="auto")
    def f(x: Any, a: Any) -> Any:
        nonlocal state
        x[1:] += 1.0
        a *= 2.0
        a += 1.0
        state += x[:3]
        return x[::2]

    x = gc.zeros(4)
    view = f(x, plain)
    gate.open()
    same = f(x, plain)
    assert tier_of(f).first_compiled == 2
    np.testing.assert_array_equal(np.asarray(x), [0, 2, 2, 2])
    np.testing.assert_array_equal(plain, [3, 3, 3, 3])
    np.testing.assert_array_equal(np.asarray(state), [0, 3, 3])
    for each in (view, same):
        each[0] = 9.0  # views of x, both
        assert x[0].item() == 9.0
        x[0] = 0.0


def test_effects_happen_in_order_once_a_call(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    def keep(value: Any) -> None:
        seen.append(float(value))

    @gc.jit(tier="auto")
    def f(x: Any) -> Any:
        gc.print("x is", x)
        gc.callback(keep, None, x)
        gc.print("twice", x * 2)
        return x + 1

    f(gc.tensor(1.0))
    gate.open()
    f(gc.tensor(2.0))
    assert capsys.readouterr().out.split("\n")[:4] == ["x is 1.0", "twice 2.0", "x is 2.0", "twice 4.0"]
    assert seen == [1.0, 2.0]


def test_errors_name_the_same_line(gate: Gate) -> None:
    @gc.jit(tier="auto")
    def f(x: Any, i: Any) -> Any:
        x += 1.0
        gc.assert_(x[0] > 0, "x must be positive")
        return x[i]

    line = inspect.getsourcelines(f.function)[1] + 3

    def fail(x: Any, i: int) -> Exception:
        with pytest.raises((CheckError, OutOfBoundsError)) as caught:
            f(x, gc.tensor(i))
        return caught.value

    x = gc.tensor([-5.0, 1.0])
    before, after = gate.both(lambda: fail(x, 0))
    assert type(before) is type(after) is CheckError
    assert str(before) == str(after)
    assert before.location.line == line
    np.testing.assert_array_equal(np.asarray(x), [-5.0, 1.0])  # nothing is written by a call that fails
    assert tier_of(f).first_compiled == 2


def test_an_index_out_of_bounds(gate: Gate) -> None:
    f = gc.jit(lambda x, i: x[i], tier="auto")

    def fail() -> Exception:
        with pytest.raises(OutOfBoundsError) as caught:
            f(gc.ones(3), gc.tensor([1, 7]))
        return caught.value

    before, after = gate.both(fail)
    assert str(before) == str(after)


def test_donation(gate: Gate) -> None:
    f = gc.jit(lambda x: x * 2 + 1, donate="x", tier="auto")

    def run() -> list[float]:
        x = gc.ones(3)
        result = f(x)
        with pytest.raises(DonatedError):
            x.sum()
        return result.tolist()  # type: ignore[no-any-return]

    assert gate.both(run) == ([3.0, 3.0, 3.0], [3.0, 3.0, 3.0])
    assert tier_of(f).first_compiled == 2


def test_backward_through_and_within(gate: Gate) -> None:
    w = gc.tensor([1.0, 2.0], requires_grad=True)
    optimizer = gc.optim.SGD([w], lr=0.25)

    @gc.jit(tier="auto")
    def f(x: Any) -> Any:
        return (x * x).sum()

    @gc.jit(tier="auto")
    def step(x: Any) -> Any:
        loss = ((w - x) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def outside() -> list[float]:
        v = gc.tensor([1.0, 3.0], requires_grad=True)
        (f(v) * 2).backward()
        return v.grad.tolist()  # type: ignore[union-attr, no-any-return]

    before = outside()
    step(gc.zeros(2))
    assert w.tolist() == [0.5, 1.0]
    step(gc.zeros(2))
    assert w.tolist() == [0.25, 0.5]
    gate.open()
    assert before == outside() == [4.0, 12.0]
    step(gc.zeros(2))
    assert w.tolist() == [0.125, 0.25]
    assert w.grad.tolist() == [0.5, 1.0]  # type: ignore[union-attr]


def test_where_gradients_are_recorded_nothing_is_updated_in_place(gate: Gate) -> None:
    @gc.jit(tier="auto")
    def f(x: Any, y: Any) -> Any:
        x[1:] = y[1:] * 2
        return x * y

    def run(requires_grad: bool) -> list[float]:
        x, y = gc.ones(3), gc.tensor([1.0, 2.0, 3.0], requires_grad=requires_grad)
        result = f(x, y)
        if requires_grad:
            result.sum().backward()
            return y.grad.tolist()  # type: ignore[union-attr, no-any-return]
        return x.tolist()  # type: ignore[no-any-return]

    assert run(True) == [1.0, 8.0, 12.0]
    gate.open()
    assert run(True) == [1.0, 8.0, 12.0]  # the way that writes to x is compiled, and this call needs the other one
    gate.open()
    assert run(True) == [1.0, 8.0, 12.0]
    record = tier_of(f)
    assert (record.reference_calls, record.first_compiled) == (1, 2)
    assert (record.reverse.reference_calls, record.reverse.first_compiled) == (1, 2)
    assert "tier where gradients are recorded: 1 call on the reference path; compiled from call 2 on" in str(f.explain())
    g = gc.jit(f.function, tier="auto")
    g(gc.ones(3), gc.tensor([1.0, 2.0, 3.0]))
    gate.open()
    x = gc.ones(3)
    g(x, gc.tensor([1.0, 2.0, 3.0]))
    assert x.tolist() == [1.0, 4.0, 6.0]
    assert tier_of(g).reverse is None


def test_each_trace_starts_for_itself(gate: Gate) -> None:
    f = gc.jit(lambda x: (x * 2).sum(), tier="auto")
    assert [f(gc.ones(n)).item() for n in (3, 4, 7, 0, 1)] == [6.0, 8.0, 14.0, 0.0, 2.0]
    assert f.trace_count == 2
    gate.open()
    assert [f(gc.ones(n)).item() for n in (3, 4, 7, 0, 1)] == [6.0, 8.0, 14.0, 0.0, 2.0]
    assert tier_of(f).reference_calls == 1
    assert (tier_of(f, 1).reference_calls, tier_of(f, 1).first_compiled) == (4, 5)


def test_arrays_in_other_byte_orders_and_layouts(gate: Gate) -> None:
    f = gc.jit(lambda x: x.T + 1, tier="auto")
    swapped = np.arange(6, dtype=">f4").reshape(2, 3)
    strided = np.arange(12, dtype="float32").reshape(2, 6)[:, ::2]
    before, after = gate.both(lambda: [f(a) for a in (swapped, strided)])
    for got, want in zip(before, after, strict=True):
        assert got.dtype is want.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_a_compilation_that_fails_is_an_error_of_the_next_call(gate: Gate) -> None:
    f = gc.jit(lambda x: x * 3, tier="auto")
    gate.failing = BackendError("no room for kernels")
    assert f(gc.ones(())).item() == 3.0
    gate.open()
    with pytest.raises(BackendError, match="no room for kernels"):
        f(gc.ones(()))
    assert "tier: 1 call on the reference path, then compiling failed: no room for kernels" in str(f.explain())
    with pytest.raises(BackendError, match="no room for kernels"):
        f(gc.ones(()))  # compiles, and fails, by itself
    gate.failing = None
    assert f(gc.ones(())).item() == 3.0


def test_an_error_of_the_other_thread_is_at_the_users_line(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MATMUL", "none")
    f = gc.jit(lambda x: x * 3, tier="auto")
    f(gc.ones(2))
    gate.open()
    with pytest.raises(ArgumentError, match="GRAPHC_MATMUL") as caught:
        f(gc.ones(2))
    assert caught.value.location.filename == __file__


def test_many_threads_at_once(gate: Gate) -> None:
    f = gc.jit(lambda x: gc.cumsum(x * 2, axis=0), tier="auto")
    wrong: list[Any] = []
    counted = [0] * 8

    def work(number: int) -> None:
        x = gc.arange(100) + number
        want = np.cumsum(2 * np.asarray(x))
        while counted[number] < 50 or tier_of(f).first_compiled is None:
            if not np.array_equal(np.asarray(f(x)), want):
                wrong.append(number)
                return
            counted[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    gate.is_open.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert f.trace_count == 1
    record = tier_of(f)
    assert record.first_compiled == record.reference_calls + 1
    assert record.reference_calls <= sum(counted)


def test_transforms_of_tiered_functions(gate: Gate) -> None:
    inner = gc.jit(lambda x: (x * x).sum(), tier="auto")
    outer = gc.jit(gc.grad(inner), tier="auto")
    x = gc.tensor([1.0, 2.0])

    def run() -> list[Any]:
        value, gradient = gc.value_and_grad(inner)(x)
        rows = gc.vmap(inner)(gc.tensor([[1.0, 2.0], [3.0, 4.0]]))
        return [value.item(), gradient.tolist(), gc.grad(inner)(x).tolist(), outer(x).tolist(), rows.tolist()]

    want = [5.0, [2.0, 4.0], [2.0, 4.0], [2.0, 4.0], [5.0, 25.0]]
    assert gate.both(run) == (want, want)
    assert tier_of(outer).first_compiled == 2


def test_methods_and_check_numerics(gate: Gate) -> None:
    class Model:
        def __init__(self) -> None:
            self.w = gc.tensor(2.0)

        @gc.jit(tier="auto")
        def __call__(self, x: Any) -> Any:
            return x * self.w

    model = Model()
    assert model(3.0).item() == 6.0
    with gc.check_numerics():
        assert model(4.0).item() == 8.0
    model.w = gc.tensor(3.0)
    assert gate.both(lambda: model(3.0).item()) == (9.0, 9.0)
    assert "compiled from call 3 on" in str(Model.__call__.explain())  # check_numerics has a way of its own


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_compiles_for_itself() -> None:
    code = """
import os, time
import graphc as gc
f = gc.jit(lambda x: gc.tanh(x) + 1.5, tier="auto")
x = gc.zeros(3)
f(x)
pid = os.fork()
until = time.monotonic() + 100
while f.explain().traces[0].tier.first_compiled is None:
    assert f(x).tolist() == [1.5, 1.5, 1.5]
    assert time.monotonic() < until
assert f(x).tolist() == [1.5, 1.5, 1.5]
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run_python(code) == "7"


@pytest.mark.parametrize("processes", ["0", "1"])
@pytest.mark.parametrize("wait", [0.0, 0.3, 1.0])
def test_a_process_may_end_while_compiling(processes: str, wait: float, tmp_path: Any) -> None:
    code = f"""
import time
import graphc as gc
f = gc.jit(lambda x: gc.softmax(x @ x, axis=-1), tier="auto")
print(f(gc.zeros((2, 2))).shape)
time.sleep({wait})
"""
    assert run_python(code, GRAPHC_COMPILE_PROCESSES=processes, GRAPHC_CACHE_DIR=str(tmp_path)) == "(2, 2)"


def run_python(code: str, **variables: str) -> str:
    """What a process that runs ``code`` prints; it ends well, and says nothing on stderr."""
    ignored = "ignore:This process:DeprecationWarning"  # what Python 3.12 says of every fork with threads
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-W", ignored, "-c", code],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ | variables,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
