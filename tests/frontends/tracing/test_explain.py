"""``f.explain()``, and what forbids retraces or warns of them."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import RetraceError, RetraceWarning, ShapeError
from graphc.frontends.tracing import history as history_module


def scaled(x: Any, y: Any) -> Any:
    if x.shape[0] > 2:
        return (x + y) * 2
    return x - y


def masked(text: str) -> str:
    """``text`` with times, paths and kernels' origins replaced."""
    text = re.sub(r"\d+\.\d ms", "T ms", text)
    text = re.sub(r"\d+ (compiled|from disk|in memory)", "N got", text)
    return text.replace(__file__, "FILE")


def test_the_text_of_an_explanation() -> None:
    f = gc.jit(scaled)
    for n in (4, 5, 2):
        f(gc.ones(n), gc.ones(n))
    line = scaled.__code__.co_firstlineno
    assert masked(str(f.explain())) == f"""\
scaled: 3 traces
trace 1: first call
  inputs: x f32[4], y f32[4]
  phases: trace T ms, passes T ms, plan T ms, kernels T ms
  kernels: 1 (N got): map_add_mul
trace 2: x.shape[0]: size 4 → 5, and any from now on
  also y.shape[0]: size 4 → 5, and any from now on
  avoid: declare it from the start: gc.jit(f, dynamic={{"x": 0, "y": 0}})
  inputs: x f32[x_0], y f32[x_0]
  guards:
    2 < x.shape[0]   FILE:{line + 1}: if x.shape[0] > 2:
    x.shape[0] == y.shape[0]   FILE:{line + 2}: return (x + y) * 2
  phases: trace T ms, passes T ms, plan T ms, kernels T ms
  kernels: 1 (N got): map_add_mul
trace 3: 2 < x.shape[0]: held for x.shape[0] = 5 → x.shape[0] = 2
    needed at FILE:{line + 1}, in scaled
        if x.shape[0] > 2:
           ^
  avoid: make the code independent of the size there, or call it with sizes that satisfy the guard
  inputs: x f32[x_0], y f32[x_0]
  guards:
    x.shape[0] <= 2   FILE:{line + 1}: if x.shape[0] > 2:
    x.shape[0] == y.shape[0]   FILE:{line + 3}: return x - y
  phases: trace T ms, passes T ms, plan T ms, kernels T ms
  kernels: 1 (N got): map_sub"""
    assert repr(f.explain()) == str(f.explain())


def test_an_explanation_as_data() -> None:
    f = gc.jit(lambda x, n: x * n if n > 1 else x, name="f")
    f(gc.ones(3), 2)
    data = json.loads(f.explain().to_json())
    assert data == f.explain().to_dict()
    assert (data["name"], data["trace_count"]) == ("f", 1)
    (trace,) = data["traces"]
    assert [cause["kind"] for cause in trace["causes"]] == ["first call"]
    assert trace["inputs"] == [{"name": "x", "type": "f32[3]"}, {"name": "n", "type": "i64[]"}]
    (guard,) = trace["guards"]
    assert guard["condition"] == "n == 2"
    assert guard["location"].startswith(f"{__file__}:")
    assert list(trace["phases"]) == ["trace", "passes", "plan", "kernels"]
    assert all(seconds >= 0 for seconds in trace["phases"].values())
    assert [kernel["name"] for kernel in trace["kernels"]] == ["map_convert_mul"]
    assert trace["kernels"][0]["origin"] in ("compiled", "disk", "memory")


def test_a_kernel_that_is_there_already_is_a_hit() -> None:
    gc.jit(lambda x: gc.sin(x) * 3)(gc.ones(3))
    f = gc.jit(lambda x: gc.sin(x) * 3)
    f(gc.ones(3))
    (trace,) = f.explain().to_dict()["traces"]
    assert trace["cache_hits"] == {"memory": 1, "disk": 0}
    assert "1 in memory" in str(f.explain())


def test_what_was_not_compiled_or_needs_no_kernel_says_so() -> None:
    f = gc.jit(lambda x: x)
    f(gc.ones(3))
    assert "kernels: " in str(f.explain())
    assert str(gc.jit(lambda x: x, name="g").explain()) == "g: 0 traces"


def test_captured_arrays_are_inputs_by_name() -> None:
    weights = {"w": gc.ones(3)}
    f = gc.jit(lambda x: x * weights["w"])
    f(gc.ones(3))
    assert f.explain().traces[0].inputs == (("x", "f32[3]"), ("weights['w']", "f32[3]"))


class Model:
    @gc.jit
    def forward(self, x: Any) -> Any:
        return x + 1


def test_methods_explain_too() -> None:
    model = Model()
    model.forward(gc.ones(3))
    assert str(model.forward.explain()) == str(Model.forward.explain())  # type: ignore[attr-defined]


def test_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_MOST_RECORDS", 3)
    f = gc.jit(lambda x, n: x * int(n), name="f")
    for n in range(5):
        f(gc.ones(2), n)
    explanation = f.explain()
    assert explanation.count == 5
    assert [trace.number for trace in explanation.traces] == [3, 4, 5]


# no_retrace, max_traces


def test_no_retrace_allows_what_is_no_retrace() -> None:
    f = gc.jit(lambda x: x + 1)
    with gc.no_retrace():
        f(gc.ones(3))
        f(gc.ones(3))
        with pytest.raises(RetraceError):
            f(gc.ones(4))
    f(gc.ones(4))
    with gc.no_retrace():
        f(gc.ones(5))
    assert f.trace_count == 2


def test_the_error_of_no_retrace_explains() -> None:
    f = gc.jit(lambda x: x + 1, name="f")
    f(gc.ones(3))
    with gc.no_retrace(), pytest.raises(RetraceError) as caught:
        f(gc.ones(3, dtype="float64"))
    assert caught.value.message == (
        "f would be traced again within no_retrace(), for the 2nd time\n"
        "  x: dtype float32 → float64"
    )  # fmt: skip
    assert caught.value.hint == 'convert it before the call: x.astype("float32")'
    assert caught.value.location.filename == __file__


def test_the_error_shows_the_line_of_a_guard() -> None:
    f = gc.jit(scaled, dynamic=True)
    f(gc.ones(3), gc.ones(3))
    with gc.no_retrace(), pytest.raises(RetraceError) as caught:
        f(gc.ones(2), gc.ones(2))
    assert "    needed at " in caught.value.message
    assert "if x.shape[0] > 2:" in caught.value.message


def test_no_retrace_is_of_its_thread_and_nests() -> None:
    f = gc.jit(lambda x: x + 1)
    f(gc.ones(3))
    with gc.no_retrace():
        with gc.no_retrace():
            pass
        thread = threading.Thread(target=lambda: f(gc.ones(3, dtype="int32")))
        thread.start()
        thread.join()
        assert f.trace_count == 2
        with pytest.raises(RetraceError):
            f(gc.ones(3, dtype="int64"))
    assert f.trace_count == 2


def test_max_traces() -> None:
    f = gc.jit(lambda x: x + 1, max_traces=2, name="f")
    for n in (3, 4, 5):
        f(gc.ones(n))
    with pytest.raises(RetraceError) as caught:
        f(gc.ones((3, 3)))
    assert caught.value.message == (
        "f would be traced again, and max_traces=2 were made already\n"
        "  x: rank 1 → 2"
    )  # fmt: skip
    f(gc.ones(6))
    assert f.trace_count == 2


# The warning


def test_the_fifth_retrace_is_warned_about_once() -> None:
    f = gc.jit(lambda x, n: x * int(n), name="f")
    line = f.function.__code__.co_firstlineno
    for n in range(5):
        f(gc.ones(2), n)
    with pytest.warns(RetraceWarning) as caught:
        f(gc.ones(2), 5)
    f(gc.ones(2), 6)
    (warning,) = caught
    assert str(warning.message).splitlines() == [
        "f was traced 6 times; each trace after the first is costly. Why:",
        *(f"  trace {i + 1}: n: value {i - 1} → {i}" for i in range(1, 6)),
        f"  needed at {__file__}:{line}, in {f.function.__qualname__}",
        '      f = gc.jit(lambda x, n: x * int(n), name="f")',
        "                                  ^",
        "  avoid: use it in arithmetic on arrays only, where it is a run-time number",
        "  print(f.explain()) says more; gc.no_retrace() and max_traces= forbid it",
    ]
    assert warning.filename == __file__


def test_where_the_warning_is_an_error_the_program_is_kept() -> None:
    f = gc.jit(lambda x, n: x * int(n))
    for n in range(5):
        f(gc.ones(2), n)
    with pytest.raises(RetraceWarning):
        f(gc.ones(2), 5)
    np.testing.assert_array_equal(f(gc.ones(2), 5).numpy(), [5, 5])
    assert f.trace_count == 6


def test_a_trace_that_fails_is_not_counted() -> None:
    f = gc.jit(lambda x, y: x + y)
    f(gc.ones(3), gc.ones(3))
    for _ in range(8):
        with pytest.raises(ShapeError):
            f(gc.ones(3), gc.ones(4))
    assert f.trace_count == 1
