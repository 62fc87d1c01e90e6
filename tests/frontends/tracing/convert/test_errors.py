"""What a traced function cannot do, by cause: the whole text of each error."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.errors import CheckError, ConcretizationError, ControlFlowError, SideEffectError, TraceError
from tests.conftest import Golden
from tests.frontends.tracing.convert import wrong, wrong_outside

CAUSES = [
    f for module in (wrong, wrong_outside) for _, f in inspect.getmembers(module, inspect.isfunction)
    if f.__module__ == module.__name__
]  # fmt: skip


@pytest.mark.parametrize("function", CAUSES, ids=lambda f: f.__name__)
def test_each_cause(golden: Golden, function: Callable[..., Any]) -> None:
    others = ([],) if function is wrong.append_to_argument else ()
    with pytest.raises((ControlFlowError, SideEffectError)) as caught:
        gc.jit(function)(gc.tensor([1.0, 2.0]), *others)
    file = inspect.getfile(function)
    text = str(caught.value).replace(file, Path(file).name)
    golden(f"golden/{function.__name__}.txt", text.replace(".<locals>.<listcomp>", ""))  # which Python 3.12 has no frames for
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


def positive(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


class Unconverted:
    """What Python calls without a name."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Any:
        return -key if key.sum() > 0 else key

    @property
    def absolute(self) -> Any:
        return self.x if self.x.sum() > 0 else -self.x


def yields_positive(x: Any) -> Any:
    def items() -> Any:
        for i in range(2):
            if x[i] > 0:
                yield x[i]

    return list(items())


async def waits(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def finishes(x: Any) -> Any:
    try:
        waits(x).send(None)
    except StopIteration as done:
        return done.value


NOT_CONVERTED = [
    (lambda x: positive(x) + 0, r"positive is called from the lambda in line \d+, which is not converted, so neither is"),
    (gc.grad(lambda x: positive(x).sum()), r"positive is called from the lambda in line \d+"),
    (yields_positive, "a generator or coroutine is not converted"),
    (finishes, "a generator or coroutine is not converted"),
]


@pytest.mark.parametrize(("function", "advice"), NOT_CONVERTED)
def test_what_is_not_converted_names_what_it_was_called_by(function: Callable[..., Any], advice: str) -> None:
    with pytest.raises(ConcretizationError, match=advice):
        gc.jit(function)(gc.tensor([1.0, 2.0]))


def test_what_python_calls_by_itself_is_not_converted() -> None:
    def item(x: Any) -> Any:
        return Unconverted(x)[x]

    def attribute(x: Any) -> Any:
        return Unconverted(x).absolute

    with pytest.raises(ConcretizationError, match="Python itself calls __getitem__"):
        gc.jit(item)(gc.tensor([1.0, 2.0]))
    with pytest.raises(ConcretizationError, match=r"absolute was not called by converted code, .* is so of properties"):
        gc.jit(attribute)(gc.tensor([1.0, 2.0]))


def test_a_raise_in_a_branch_is_a_check_of_the_run() -> None:
    @gc.jit
    def checked(x: Any) -> Any:
        if x.sum() > 3:
            raise ValueError("too large")
        return x * 2

    assert checked(gc.tensor([1.0])).tolist() == [2.0]
    with pytest.raises(CheckError, match="ValueError: too large") as caught:
        checked(gc.tensor([4.0]))
    assert 'raise ValueError("too large")' in str(caught.value)


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


def test_copies_and_new_elements_may_change() -> None:
    known: dict[str, Any] = {"a": 1}
    outside = [3, 1, 2]

    def own(x: Any, names: Any, **options: Any) -> Any:
        options.pop("unused", None)
        names = list(names)
        names.sort()
        names.pop()
        mine = dict(known)
        mine["a"] += 1
        del mine["a"]
        known["b"] = 2  # one that a run finds as it is
        known["b"] = 2
        copy = [*outside]
        copy[0] += 5
        copy += [1]
        copy.clear()
        return x * len(names) * known["b"]

    assert gc.jit(own)(gc.tensor([1.0]), ["b", "a"], unused=1).tolist() == [2.0]
    assert outside == [3, 1, 2]
    assert known == {"a": 1, "b": 2}


def test_what_is_within_own_containers_may_change() -> None:
    def own(x: Any) -> Any:
        table: dict[str, Any] = {}
        table["row"] = {}
        table["row"]["cells"] = [0, x]
        table["row"]["cells"][0] += 1
        table["row"]["cells"].append(x * 2)
        table["row"]["scaled"] = x
        table["row"]["scaled"] *= 3
        return table["row"]["cells"][2] + table["row"]["cells"][0] + table["row"]["scaled"]

    assert gc.jit(own)(gc.tensor([1.0])).tolist() == [6.0]
    kept: dict[str, Any] = {"row": {}}

    def outside(x: Any) -> Any:
        kept["row"]["cells"] = [x]
        return x

    with pytest.raises(SideEffectError, match="stored in a dict made outside"):
        gc.jit(outside)(gc.tensor([1.0]))


def test_elements_are_set_where_python_would_set_them() -> None:
    def at(place: Any, value: Any) -> Any:
        return value

    @gc.jit
    def f(x: Any) -> Any:
        rows = [[0, 0], [0, 0]]
        rows[at("row", 1)][at("column", 0)] += at("value", 5)
        table = {}
        table[at("key", "k")] = at("first", x * 2)
        x[0:1] = 7.0
        x[1, ...] = rows[1][0]
        return x, table["k"]

    x, doubled = f(gc.tensor([1.0, 2.0, 3.0]))
    assert x.tolist() == [7.0, 5.0, 3.0]
    assert doubled.tolist() == [2.0, 4.0, 6.0]


def test_a_branch_deletes_nothing_that_was_there_before() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        names = ["a", "b"]
        if x.sum() > 0:
            names.pop()
        return x

    with pytest.raises(SideEffectError, match=r"a list made outside of a branch .* is changed here \(\.pop\)"):
        f(gc.tensor([1.0]))


def test_a_log_of_what_is_known_is_written_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    @gc.jit
    def f(x: Any) -> Any:
        logging.getLogger("traced").warning("of %d axes", x.ndim)
        return x

    f(gc.tensor([1.0]))
    (record,) = caplog.records
    assert record.getMessage() == "of 1 axes"
    assert record.filename == "test_errors.py"


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
