"""Calls in converted code: they go to converted functions."""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.frontends.dispatch import active_trace
from graphc.frontends.symbolic import as_traced
from graphc.frontends.tracing.convert.impure import is_looked_at, safe
from graphc.frontends.tracing.convert.python_builtins import replaced
from graphc.frontends.tracing.convert.source import GENERATES, convert, is_convertible, is_users
from graphc.frontends.tracing.convert.transform import OPERATORS
from graphc.frontends.tracing.convert.traps import Watch, watch_of
from graphc.locations import current_frame, is_internal_code

_BUILTIN = (types.BuiltinFunctionType, types.MethodWrapperType)
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_GENERATORS = (random.Random, np.random.RandomState, np.random.Generator)
_CALLABLES = (types.FunctionType, types.MethodType, functools.partial)


def call(function: Any) -> Any:
    """What to call instead of ``function``: its converted form where it is the user's; one of graphc's is given converted
    functions where it takes functions."""
    if isinstance(function, types.FunctionType) and is_internal_code(function.__code__):
        return functools.partial(_call_with_converted, function)
    if isinstance(function, _BUILTIN) or isinstance(getattr(function, "__self__", None), _GENERATORS):
        watch = watch_of(active_trace())
        return function if watch is None else replaced(function) or safe(function, watch)
    if isinstance(function, (types.FunctionType, types.MethodType)) and is_looked_at(function):
        watch = watch_of(active_trace())
        return function if watch is None else safe(function, watch)
    if function is bool:
        return function if active_trace() is None else replaced(function)
    return as_traced(function)


def _call_with_converted(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    args = tuple([as_traced(a) if isinstance(a, _CALLABLES) else a for a in args])
    return function(*args, **{k: as_traced(v) if isinstance(v, _CALLABLES) else v for k, v in kwargs.items()})


class SourceConverter:
    """Converts functions for one trace, and what is called like one: methods, partials, objects with ``__call__``."""

    def __init__(self, operators: Any) -> None:
        self._operators = operators
        self.watch = Watch()

    def convert(self, function: Any) -> Any:
        if isinstance(function, types.FunctionType):
            new = convert(function, self._operators)
            if new is not function:
                self.watch.calls(function)
            return new
        if isinstance(function, types.MethodType):
            new = self.convert(function.__func__)
            return function if new is function.__func__ else types.MethodType(new, function.__self__)
        if isinstance(function, functools.partial):
            new = self.convert(function.func)
            return function if new is function.func else functools.partial(new, *function.args, **function.keywords)
        if isinstance(function, (type, types.BuiltinFunctionType)):
            return function
        method = vars(type(function)).get("__call__") or next(
            (vars(cls)["__call__"] for cls in type(function).__mro__ if "__call__" in vars(cls)), None
        )
        if isinstance(method, types.FunctionType) and is_users(method.__code__):
            new = self.convert(method)
            return function if new is method else types.MethodType(new, function)
        return function

    def advice(self, array: Any) -> str:
        frame = current_frame()
        code = None if frame is None else frame.f_code
        if any(size != 1 for size in array.shape):
            return "reduce it with .any() or .all(), or choose elementwise with gc.where(condition, a, b)"
        if code is not None and code.co_name == "<lambda>":
            return "a lambda is not converted: write it as a function (def), whose `if` on arrays is, or call gc.cond in it"
        if code is not None and code.co_flags & GENERATES and code.co_name not in _COMPREHENSIONS:
            return "a generator or coroutine is not converted: write it as a function (def), or choose with gc.where or gc.cond"
        if frame is not None and OPERATORS not in frame.f_code.co_freevars and is_convertible(frame.f_code):
            return _why_not_converted(frame)
        if code is not None and (code.co_name in _COMPREHENSIONS or is_convertible(code)):
            return "choose with gc.where(condition, a, b), or write it as an `if` statement of its own, which is converted"
        return (
            "the source of this code is not to be had, so it was not converted; write\n"
            "         if condition: y = f(x)\n"
            "         else: y = g(x)\n"
            "       as y = gc.cond(condition, f, g, x)"
        )


def _why_not_converted(frame: types.FrameType) -> str:
    """Advice for a function that was called by code that is not converted, or by Python itself."""
    name, caller = frame.f_code.co_name, frame.f_back
    while caller is not None and is_internal_code(caller.f_code):
        caller = caller.f_back
    if caller is not None and caller.f_code.co_name == "<lambda>":
        return (
            f"{name} is called from the lambda in line {caller.f_lineno}, which is not converted, so neither is what it calls: "
            "write the lambda as a function (def)"
        )
    if name.startswith("__") and name.endswith("__"):
        return f"Python itself calls {name}, so it is not converted: move the `if` into a method that you call by its name"
    return (
        f"{name} was not called by converted code, so it is not converted, which is so of properties and of what an installed "
        "package calls: call it by its name, or choose with gc.where or gc.cond"
    )
