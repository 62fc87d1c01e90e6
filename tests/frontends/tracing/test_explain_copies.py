"""What ``f.explain()`` says of arrays that could not be updated in place: one message for each reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.tracing import program
from graphc.runtime import copies


def later_part(a: Any) -> Any:
    before = a.copy()
    a[0] = 7.0  # updated
    return before * a.sum()  # cause


def later_whole(a: Any) -> Any:
    before = a.copy()
    a *= 2  # updated
    return before * a.sum()  # cause


def a_result_too(a: Any) -> Any:
    before = a.copy()
    a[0] = 7.0  # updated
    return before


def stencil(a: Any) -> None:
    a[1:-1] = 0.5 * (a[:-2] + a[2:])  # updated


def reversal(a: Any) -> None:
    a[:] = a[::-1]  # updated


def twice(a: Any) -> None:
    a[gc.arange(6)] = a  # updated


def may_fail_itself(a: Any) -> None:
    a[gc.argmax(a) - 5] = 7.0  # updated, cause


def may_fail_later(a: Any) -> None:
    a += 1.0  # updated
    gc.assert_(gc.isfinite(a).all(), "finite")  # cause


def loop(a: Any, n: Any) -> None:
    for _ in range(n):  # updated
        a[1:-1] += 0.25 * (a[:-2] + a[2:])


def branch(a: Any, n: Any) -> None:
    if n > 2:
        a[0] = 7.0  # updated


def made_in_a_step(a: Any, n: Any) -> Any:
    y = gc.zeros(6) + a
    for _ in range(n):
        y = y * 2
        y[0] = 1.0  # updated
    return y


def of_another(a: Any, b: Any) -> None:
    a[:] = b


def not_changed(a: Any) -> Any:
    b = a.copy()
    b[0] = 7.0  # updated
    return b


def constant(a: Any) -> Any:
    b = gc.tensor([1.0, 2.0, 3.0])
    b[1] = a[0]  # updated
    return b


def another_shape(a: Any) -> None:
    a.reshape(2, 3)[...] = gc.cumsum(a.reshape(2, 3), axis=0)  # updated


def summed(a: Any) -> Any:
    a[1:3] = 2.0  # updated
    a += 1.0
    return a.sum()  # cause: one kernel adds and sums, piece by piece


def line_of(function: Callable[..., Any], mark: str) -> int | None:
    """The number of the line of ``function`` that is marked, or None."""
    code = function.__code__
    lines = Path(__file__).read_text().splitlines()
    last = max(line for *_, line in code.co_lines() if line is not None)
    return next((n for n in range(code.co_firstlineno, last + 1) if re.search(rf"# .*{mark}", lines[n - 1])), None)


N, B = gc.tensor(3), np.ones(6)


@pytest.mark.parametrize(
    ("function", "others", "name", "why"),
    [
        (later_part, (), "a", copies.READ_LATER),
        (later_whole, (), "a", copies.READ_LATER),
        (a_result_too, (), "a", copies.RETURNED),
        (stencil, (), "a", copies.BESIDE),
        (reversal, (), "a", copies.BESIDE),
        (twice, (), "a", copies.TWICE),
        (may_fail_itself, (), "a", copies.MAY_FAIL),
        (may_fail_later, (), "a", copies.MAY_FAIL),
        (loop, (N,), "a", copies.LOOP),
        (branch, (N,), "a", copies.LOOP),
        (made_in_a_step, (N,), "an array", copies.APART),
        (of_another, (B,), "a", copies.OTHER),
        (not_changed, (), "a", copies.KEPT.format(name="a")),
        (constant, (), "an array", copies.CONSTANT),
        (summed, (), "a", copies.STEP),
        (another_shape, (), "a", copies.SHAPE),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_why_an_array_is_copied(function: Any, others: tuple[Any, ...], name: str, why: str) -> None:
    jitted = gc.jit(function)
    got, want = np.arange(6.0), gc.arange(6, dtype="float64")
    result = jitted(got, *others)
    expected = function(want, *others)
    if expected is not None:
        np.testing.assert_allclose(np.asarray(result), np.asarray(expected))
    np.testing.assert_allclose(got, np.asarray(want))
    (copied,) = jitted.explain().traces[0].log.copies
    assert (copied.array, copied.why) == (name, why)
    updated, cause = line_of(function, "updated"), line_of(function, "cause")
    assert (copied.location.line or None, copied.cause.line or None) == (updated, cause)
    text = f"  not in place: {name}: {why}"
    text += f", at {copied.cause.filename}:{cause}: {copied.cause.source_line.strip()}" if cause else ""
    text += f"   {copied.location.filename}:{updated}: {copied.location.source_line.strip()}" if updated else ""
    assert text in str(jitted.explain()).splitlines()
    told = jitted.explain().to_dict()["traces"][0]["copies"]
    assert told == [
        {
            "array": name,
            "why": why,
            "location": str(copied.location) if updated else None,
            "cause": str(copied.cause) if cause else None,
        }
    ]


def in_place(a: Any, b: Any) -> Any:
    a[1:3] = b[:2] * 2
    a += b
    return a * 2


@pytest.mark.parametrize("function", [in_place, lambda a, b: a.sum() + b], ids=["updated", "nothing to update"])
def test_nothing_is_said_of_what_is_in_place(function: Any) -> None:
    jitted = gc.jit(function)
    jitted(np.arange(6.0), np.ones(6))
    assert not jitted.explain().traces[0].log.copies
    assert "not in place" not in str(jitted.explain())


def test_calls_that_may_not_change_memory() -> None:
    jitted = gc.jit(in_place)
    a, b = np.arange(6.0), gc.ones(6, dtype="float64").requires_grad_()
    jitted(a, b)
    jitted(a, b)
    shared = np.ones(6)
    jitted(shared, shared)
    told = [[copied.why for copied in trace.log.copies] for trace in jitted.explain().traces]
    assert told[0] == [program.RECORDED]
    plain = gc.jit(in_place)
    tensor = gc.ones(8, dtype="float64")
    plain(tensor[2:], np.ones(6))
    plain(np.arange(6.0), np.ones(6))
    locked = np.broadcast_to(np.ones(6), (1, 6))[0]
    with pytest.raises(ValueError, match="read-only"):
        plain(locked, np.ones(6))
    assert program.SHARED in [copied.why for trace in plain.explain().traces for copied in trace.log.copies]
    assert f"not in place: all arrays: {program.SHARED}" in str(plain.explain())
