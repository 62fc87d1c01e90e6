"""What a traced function cannot do, by cause: the whole text of each error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import graphc as gc
from graphc.errors import CheckError, ConcretizationError, ControlFlowError, SideEffectError, TraceError
from tests.conftest import Golden
from tests.frontends.tracing.convert import wrong

CAUSES = [f for _, f in inspect.getmembers(wrong, inspect.isfunction) if f.__module__ == wrong.__name__]


@pytest.mark.parametrize("function", CAUSES, ids=lambda f: f.__name__)
def test_each_cause(golden: Golden, function: Callable[..., Any]) -> None:
    others = ([],) if function is wrong.append_to_argument else ()
    with pytest.raises((ControlFlowError, SideEffectError)) as caught:
        gc.jit(function)(gc.tensor([1.0, 2.0]), *others)
    golden(f"golden/{function.__name__}.txt", str(caught.value).replace(wrong.__file__, "wrong.py"))
    assert (gc.tensor([1.0]) + 1).tolist() == [2.0]  # nothing is left active


def test_what_is_not_converted_says_why() -> None:
    x = gc.tensor([1.0, 2.0])
    with pytest.raises(ConcretizationError, match=r"a lambda is not converted: write it as a function \(def\)"):
        gc.jit(lambda x: x if x.sum() > 0 else -x)(x)
    namespace: dict[str, Any] = {}
    exec("def f(x):\n    if x.sum() > 0:\n        x = -x\n    return x", namespace)
    with pytest.raises(ConcretizationError, match=r"y = gc.cond\(condition, f, g, x\)"):
        gc.jit(namespace["f"])(x)
    with pytest.raises(ConcretizationError, match=r"choose with gc.where\(condition, a, b\), do it outside"):
        gc.jit(wrong.branch_undefined, convert=False)(x)


def test_what_the_function_makes_for_itself_may_change() -> None:
    def own(x: Any) -> Any:
        parts, table, counter = [], {}, wrong.Counter()
        for k in range(3):
            parts.append(x * k)
            table[k] = x
        counter.value = x

        def again(n: int) -> Any:  # a cycle, which holds what is around it until it is collected
            return parts[n] if n == 2 else again(n + 1)

        parts.append(again(0))
        return gc.stack(parts), table, counter.value

    stacked, table, value = gc.jit(own)(gc.tensor([1.0, 2.0]))
    assert stacked.tolist() == [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [2.0, 4.0]]
    assert table[2].tolist() == value.tolist() == [1.0, 2.0]


def test_assert_is_checked_in_each_run() -> None:
    @gc.jit
    def root(x: Any) -> Any:
        assert x.sum() >= 0, "no negative numbers"
        return gc.sqrt(x)

    assert root(gc.tensor([4.0])).tolist() == [2.0]
    with pytest.raises(CheckError, match="assertion failed: no negative numbers") as caught:
        root(gc.tensor([-4.0]))
    assert "assert x.sum() >= 0" in str(caught.value)
    with pytest.raises(AssertionError, match="is known while tracing"):
        gc.jit(known_assertion)(gc.tensor([1.0]))


def known_assertion(x: Any) -> Any:
    assert x.ndim == 2, "is known while tracing"
    return x


def test_the_errors_are_trace_errors() -> None:
    assert issubclass(ControlFlowError, TraceError)
    assert issubclass(ControlFlowError, TypeError)
    assert issubclass(SideEffectError, TraceError)
