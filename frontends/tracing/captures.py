"""Finding captured tensors again: where, in closures, globals and objects, a traced function got them from.

A tensor that a traced function reads without being passed it is an input of the graph. Its *variable* may be bound to another
tensor by the next call (``w = w - lr * g``), so what is remembered is the way to it, not only the object.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

from graphc.frontends.dispatch import Array
from graphc.frontends.tracing.context import Input
from graphc.frontends.tracing.signature import Static, is_dynamic

Getter = Callable[[], Any]
_MAX_OBJECTS = 20_000
_PLAIN = (str, bytes, int, float, bool, complex, type(None), type)


def locate(roots: Sequence[tuple[Getter, Any]], wanted: set[int]) -> dict[int, Getter]:
    """For each object id in ``wanted`` that is reachable from ``roots`` (pairs of getter and object), how to get at it."""
    found: dict[int, Getter] = {}
    seen: set[int] = set()
    queue: deque[tuple[Getter, Any]] = deque(roots)
    while queue and len(found) < len(wanted) and len(seen) < _MAX_OBJECTS:
        getter, value = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if id(value) in wanted:
            found[id(value)] = getter
        if isinstance(value, (Array, *_PLAIN)) or hasattr(value, "__array_interface__"):
            continue
        queue.extend(_parts(getter, value))
    return found


def describe(getter: Getter | None) -> str:
    """How the user's code reaches what ``getter`` gets, as far as that can be told: ``self.weights[0]``."""
    steps: list[str] = []
    while isinstance(getter, partial):
        kind, arguments = getter.func, getter.args
        if kind in (_global, _cell, _root):
            return str(arguments[1]) + "".join(reversed(steps))
        if kind is _item:
            steps.append(f"[{arguments[1]!r}]")
        elif kind is _attribute:
            steps.append(f".{arguments[1]}")
        else:
            break
        getter = arguments[0]
    return "".join(reversed(steps)).removeprefix(".") or "a captured array"


def static_root(holder: Any, label: str) -> Getter:
    """A getter for the object that the argument ``label`` holds."""
    return partial(_root, holder, label)


def function_roots(function: Any) -> list[tuple[Getter, Any]]:
    """Where a search for what ``function`` reads begins."""
    return [(lambda: function, function)]


def _parts(getter: Getter, value: Any) -> Iterator[tuple[Getter, Any]]:
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield (lambda: value.__self__), value.__self__
        yield (lambda: value.__func__), value.__func__
    elif isinstance(value, partial):
        yield (lambda: value.func), value.func
        yield (lambda: value.args), value.args
        yield (lambda: value.keywords), value.keywords
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            yield partial(_item, getter, key), item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield partial(_item, getter, index), item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield partial(_constant, item), item
    elif not isinstance(value, types.ModuleType):
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType):
            yield (lambda: wrapped), wrapped
        for name, item in list(getattr(value, "__dict__", {}).items()):
            yield partial(_attribute, getter, name), item
        for cls in type(value).__mro__:
            for name in getattr(cls, "__slots__", ()):
                if isinstance(name, str) and hasattr(value, name):
                    yield partial(_attribute, getter, name), getattr(value, name)


def _function_parts(function: types.FunctionType) -> Iterator[tuple[Getter, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:  # a name that is not bound yet
            continue
        yield partial(_cell, cell, name), contents
    names = _names(function.__code__)
    namespace = function.__globals__
    for name in names:
        if name in namespace:
            item = namespace[name]
            yield partial(_global, namespace, name), item
            if isinstance(item, types.ModuleType) and not item.__name__.startswith(("graphc", "numpy")):
                for attribute in names:
                    if attribute in vars(item):
                        yield partial(getattr, item, attribute), vars(item)[attribute]
    for default in (function.__defaults__ or ()) + tuple((function.__kwdefaults__ or {}).values()):
        yield partial(_constant, default), default


def _names(code: types.CodeType) -> list[str]:
    """Global and attribute names in ``code`` and the functions defined in it."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return names


def _item(getter: Getter, key: Any) -> Any:
    return getter()[key]


def _attribute(getter: Getter, name: str) -> Any:
    return getattr(getter(), name)


def _root(holder: Any, label: str) -> Any:
    return holder.value


def _cell(cell: types.CellType, name: str) -> Any:
    return cell.cell_contents


def _global(namespace: dict[str, Any], name: str) -> Any:
    return namespace[name]


def _constant(value: Any) -> Any:
    return value


def find_captures(
    inputs: Sequence[Input], function: Callable[..., Any], leaves: Sequence[Any], labels: Sequence[str]
) -> tuple[dict[int, Getter], dict[int, str]]:
    """For each captured input (by position), how to get at it at a call, and what the user's code calls it."""
    captured = {p: e.source for p, e in enumerate(inputs) if e.kind.startswith("captured")}
    if not captured:
        return {}, {}
    roots = function_roots(function)
    for position, leaf in enumerate(leaves):
        if not is_dynamic(leaf):
            roots.append((static_root(Static(leaf), labels[position]), leaf))
    found = locate(roots, {id(source) for source in captured.values()})
    getters = {p: _guarded(found.get(id(source)), source) for p, source in captured.items()}
    return getters, {p: describe(found.get(id(source))) for p, source in captured.items()}


def find_captured_arguments(
    captured: Collection[int], function: Callable[..., Any], leaves: Sequence[Any]
) -> list[tuple[Getter, int]]:
    """How to get at what the function captures and was passed too; a call may use the graph where both are one again."""
    if not captured:
        return []
    found = locate(function_roots(function), {id(leaves[leaf]) for leaf in captured})
    return [(_guarded(found.get(id(leaves[leaf])), leaves[leaf]), leaf) for leaf in sorted(captured)]


def _guarded(getter: Getter | None, source: Any) -> Getter:
    """What ``getter`` finds; the captured object itself where the way to it is gone."""
    if getter is None:
        return lambda: source

    def get() -> Any:
        try:
            return getter()
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            return source

    return get
