"""Which functions are converted, and that a converted one is the original in all but its control flow."""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.tracing.convert.operators import new_converter
from graphc.frontends.tracing.convert.source import convert, is_users

UP, DOWN = gc.tensor([1.0, 2.0]), gc.tensor([-1.0, -2.0])
scale = 2.0


def convert_one(function: Any) -> Any:
    return new_converter().convert(function)


def sign(x: Any) -> Any:
    if x.sum() > 0:
        return x * scale
    return -x


def paths(function: Callable[..., Any]) -> list[Any]:
    return [gc.jit(function)(x).tolist() for x in (UP, DOWN)]


def test_globals_cells_defaults_and_names_are_the_original_ones() -> None:
    count = 1

    def original(x: Any, /, y: int = 3, *rest: Any, z: int = 4, **more: Any) -> Any:
        """Of the original."""
        nonlocal count
        if x:
            count += y
        return count + z + len(rest) + len(more)

    new = convert_one(original)
    assert new is not original
    assert new.__globals__ is original.__globals__
    assert any(cell is original.__closure__[0] for cell in new.__closure__)  # type: ignore[index]
    assert (new.__defaults__, new.__kwdefaults__) == (original.__defaults__, original.__kwdefaults__)
    assert (new.__name__, new.__qualname__, new.__doc__) == (original.__name__, original.__qualname__, original.__doc__)
    assert new.__code__.co_filename == original.__code__.co_filename
    assert new(True) == original(False) == 8
    assert count == 4


def test_a_function_is_converted_once() -> None:
    assert convert_one(sign).__code__ is convert_one(sign).__code__
    inner = [c for c in convert_one(sign).__code__.co_consts if isinstance(c, types.CodeType)]
    assert {c.co_name for c in inner if c.co_name != "<lambda>"} == {"sign"}  # as tracebacks and locations show its parts


def test_what_needs_no_conversion_or_is_not_the_users_stays() -> None:
    def plain(x: Any) -> Any:
        return x * 2 + 1

    def generator(x: Any) -> Any:
        if x:
            yield x

    operators = object()
    for function in (plain, generator, json.dumps, np.linspace, gc.exp, len, convert_one(sign)):
        assert convert(function, operators) is function  # type: ignore[arg-type]
    assert is_users(sign.__code__)
    assert not is_users(json.dumps.__code__)
    assert not is_users(pytest.approx.__code__)


def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        result = function(*args)
        if result.sum() > 100:
            result = result * 0
        return result

    return wrapper


@decorate
def decorated(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return -x


class Base:
    """A callable object."""

    def __init__(self) -> None:
        self.__hidden = 2.0

    def __call__(self, x: Any) -> Any:
        return self.chosen(x)

    def chosen(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * self.__hidden
        return -x

    @staticmethod
    def fixed(x: Any) -> Any:
        return sign(x)

    @classmethod
    def made(cls, x: Any) -> Any:
        return cls()(x)


class Derived(Base):
    """One that calls its base."""

    def chosen(self, x: Any) -> Any:
        if x.ndim == 1:
            return super().chosen(x)
        return x


def calls_a_local_one(x: Any) -> Any:
    def local(v: Any) -> Any:
        return v * 2 if v.sum() > 0 else -v

    return local(x)


def through_transforms(x: Any) -> Any:
    return gc.vjp(sign, x)[0]


def through_control_flow(x: Any) -> Any:
    return gc.cond(x.ndim == 1, sign, lambda v: v, x)


@pytest.mark.parametrize(
    "function",
    [
        sign, decorated, Base(), Derived(), Base().chosen, Base.fixed, Derived.made, functools.partial(sign), calls_a_local_one,
        through_transforms, through_control_flow, gc.jit(sign),
    ],
)  # fmt: skip
def test_it_follows_calls(function: Callable[..., Any]) -> None:
    assert paths(function) == [[2.0, 4.0], [1.0, 2.0]]


def test_a_changed_global_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "scale", 5.0)
    assert gc.jit(sign)(UP).tolist() == [5.0, 10.0]


def test_locations_are_the_users_lines() -> None:
    graph = gc.jit(decorated).graph(UP)
    lines = {n.op.name: (n.location.function, n.location.source_line.strip()) for n in graph.nodes() if n.op.name == "cond"}
    assert lines["cond"] in {("decorated", "if x.sum() > 0:"), ("decorate.<locals>.wrapper", "if result.sum() > 100:")}
    column = next(n.location.column for n in graph.nodes() if n.op.name == "gt")
    assert column == len("    if ") + 1
