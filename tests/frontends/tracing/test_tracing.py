"""What tracing itself answers for: unknown values, leaked arrays, threads, specs, the eager mode."""

import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ConcretizationError, GraphcError, LeakedTracerError, ParseError, ShapeError
from graphc.ir.verifier import verify


def vector(*values: float) -> Any:
    return gc.tensor(values)


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda x: 1 if x.sum() > 0 else 2, "if"), (lambda x: int(x.sum()), r"int\(\)"),
        (lambda x: float(x.sum()), r"float\(\)"),
        (lambda x: x.sum().item(), "item"), (lambda x: x.tolist(), "tolist"), (lambda x: x.numpy(), "numpy"),
        (np.asarray, "np.asarray"), (lambda x: range(x.astype(gc.int64)[0]), "index, size or range"),
        (lambda x: x[x > 0], "mask"), (gc.nonzero, "nonzero"),
    ],
)  # fmt: skip
def test_values_that_only_a_run_knows(use: Any, what: str) -> None:
    def function(x: Any) -> Any:
        return use(x)

    with pytest.raises(GraphcError, match=what) as caught:
        gc.jit(function)(vector(1.0, 2.0))
    assert "test_tracing.py" in str(caught.value)
    assert isinstance(caught.value, ShapeError if what in ("mask", "nonzero") else ConcretizationError)
    assert "fix:" in str(caught.value)
    assert (vector(1.0) + 1).tolist() == [2.0]


def test_the_error_says_where_the_array_was_made_and_what_to_do() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        total = x.sum()
        if total > 0:
            return x
        return -x

    with pytest.raises(ConcretizationError) as caught:
        f(vector(1.0))
    text = str(caught.value)
    assert "if total > 0:" in text
    assert "gc.where(condition, a, b)" in text


def test_a_leaked_array_says_who_made_it() -> None:
    kept: list[Any] = []

    @gc.jit
    def leak(x: Any) -> Any:
        kept.append(x * 2)
        return x + 1

    leak(vector(1.0))
    for use in (kept[0].sum, lambda: gc.exp(kept[0]), lambda: gc.jit(lambda y: y + kept[0])(vector(1.0))):
        with pytest.raises(LeakedTracerError, match="traced function leak") as caught:
            use()
        assert f"test_tracing.py:{leak.function.__code__.co_firstlineno + 2}" in str(caught.value)
        assert "of type f32[1]" in str(caught.value)
    for mixed in (lambda: kept[0] + 1, lambda: vector(1.0, 2.0) + kept[0]):
        with pytest.raises(LeakedTracerError, match="was kept from the traced function leak"):
            mixed()
    assert "traced" in repr(kept[0])


def test_side_effects_happen_while_tracing_only() -> None:
    calls: list[int] = []

    @gc.jit
    def f(x: Any) -> Any:
        calls.append(1)
        return x * 2

    for _ in range(3):
        f(vector(1.0))
    assert calls == [1]
    assert f.trace_count == 1
    f.clear_cache()
    f(vector(1.0))
    assert len(calls) == 2


def test_a_tracer_shows_its_type() -> None:
    seen: list[str] = []
    gc.jit(lambda x: seen.append(f"{x!r} {x.shape} {x.dtype} {x.ndim}"))(vector(1.0, 2.0))
    assert "f32[2]" in seen[0] and "(2,)" in seen[0]


def test_threads_call_and_trace_at_once() -> None:
    f = gc.jit(lambda x, n: (x * n).sum())
    failures: list[Any] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        for size in (3, 4, 5):
            for factor in (1.0, 2.0):
                got = f(gc.ones((size,)) * float(number), factor).item()
                if got != size * number * factor:
                    failures.append((number, size, got))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert f.trace_count == 2


def test_a_thread_started_while_tracing_is_not_traced() -> None:
    results: list[Any] = []

    @gc.jit
    def f(x: Any) -> Any:
        thread = threading.Thread(target=lambda: results.append((gc.ones((2,)) + 1).tolist()))
        thread.start()
        thread.join()
        return x + 1

    assert f(vector(1.0)).tolist() == [2.0]
    assert results == [[2.0, 2.0]]


def test_eager_mode_runs_op_by_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_MODE", "eager")

    @gc.jit
    def f(x: Any) -> Any:
        if x.sum() > 0:  # allowed: nothing is traced
            return x * 2
        return x

    assert f(vector(1.0)).tolist() == [2.0]
    assert f(vector(-1.0)).tolist() == [-1.0]
    assert f.trace_count == 0


# Graphs without data


def test_a_graph_from_specs() -> None:
    f = gc.jit(lambda x, w: gc.relu(x @ w).sum(axis=0))
    graph = f.graph(gc.spec("f32[batch, 3]"), gc.spec("f32[3, 2]"))
    verify(graph)
    assert [str(t) for t in graph.parameter_types] == ["f32[batch, 3]", "f32[3, 2]"]
    assert f.trace_count == 0
    run = f.lower(gc.spec("f32[batch, 3]"), gc.spec("f32[3, 2]")).compile()
    w = np.array([[1, -1], [0, 1], [2, 0]], np.float32)
    for batch in (1, 4, 9, 0):
        x = np.arange(batch * 3, dtype=np.float32).reshape(batch, 3) - 4
        (got,) = run(x, w)
        np.testing.assert_allclose(got, np.maximum(x @ w, 0).sum(0), rtol=1e-6)
    with pytest.raises(ShapeError):
        run(np.zeros((2, 4), np.float32), w)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: gc.softmax(x, axis=-1) + y, lambda x, y: gc.concat([x, y[None]]).mean(axis=0),
        lambda x, y: (x - x.mean(axis=0)) / (x.std(axis=0) + 1) * y, lambda x, y: x.reshape(-1)[2:].sum() + y.max(),
        lambda x, y: gc.cumsum(x, axis=0)[-1] * y, lambda x, y: x[1:] - x[:-1], lambda x, y: gc.sort(x, axis=0) @ y,
        lambda x, y: gc.where(x > y, x, 0.0).T, lambda x, y: x.shape[0] * y + x.size,
        lambda x, y: gc.einsum("ij,j->i", x, y), lambda x, y: gc.stack([x, x * 2]).sum(axis=0) + gc.zeros_like(x),
        lambda x, y: gc.grad(lambda a: (gc.tanh(a) * y).sum())(x),
    ],
)  # fmt: skip
def test_one_symbolic_graph_runs_at_every_size(function: Any) -> None:
    run = gc.jit(function).lower(gc.spec("f64[n, m]"), gc.spec("f64[m]")).compile()
    rng = np.random.default_rng(0)
    for n, m in ((3, 4), (5, 2), (2, 7)):
        x, y = rng.normal(size=(n, m)), rng.normal(size=m)
        (got,) = run(x, y)
        want = function(gc.tensor(x), gc.tensor(y))
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-10, atol=1e-12)


def test_symbolic_sizes_that_must_be_equal_are_guarded() -> None:
    lowered = gc.jit(lambda x, y: x + y).lower(gc.spec("f32[n]"), gc.spec("f32[m]"))
    assert "n == m" in lowered.as_text() or "m == n" in lowered.as_text()
    run = lowered.compile()
    assert run(np.ones(3, np.float32), np.ones(3, np.float32))[0].tolist() == [2.0] * 3
    with pytest.raises(ShapeError):
        run(np.ones(3, np.float32), np.ones(4, np.float32))


def test_a_spec_of_an_array_and_bad_specs() -> None:
    assert gc.spec(np.zeros((2, 3))) == gc.spec("f64[2, 3]")
    assert gc.spec((2, 3), gc.float16) == gc.spec("f16[2, 3]")
    assert repr(gc.spec("f32[n, 784]")) == 'gc.spec("f32[n, 784]")'
    for text in ("f32", "f33[2]", "f32[2", "f32[-1]", "f32[2,,3]"):
        with pytest.raises(ParseError):
            gc.spec(text)


def test_parameters_are_named_after_arguments() -> None:
    graph = gc.jit(lambda params, x: x @ params["w"] + params["b"]).graph(
        {"w": gc.ones((3, 2)), "b": gc.ones((2,))}, gc.spec("f32[n, 3]")
    )
    assert [p.node.name for p in graph.parameters] == ["params_w", "params_b", "x"]


def test_locations_survive_into_the_graph() -> None:
    def f(x: Any) -> Any:
        return gc.exp(x) * 2

    graph = gc.jit(f).graph(vector(1.0))
    exp = next(n for n in graph.nodes() if n.op.name == "exp")
    assert exp.location.line == f.__code__.co_firstlineno + 1
    assert exp.location.filename == __file__
