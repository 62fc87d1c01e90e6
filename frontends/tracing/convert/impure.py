"""Python's own functions that act, or give something else at each call: what converted code calls instead, or an error."""

from __future__ import annotations

import builtins
import datetime
import functools
import logging
import os
import random
import secrets
import time
import types
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

import numpy as np

from graphc.errors import SideEffectError
from graphc.frontends.pytree import flatten
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.convert.traps import Watch, attribute, changes

_CLOCKS = ("time", "perf_counter", "monotonic", "process_time", "time_ns", "perf_counter_ns", "monotonic_ns", "process_time_ns")
_LEVELS: Final = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))
_RANDOM: Final[frozenset[Any]] = frozenset((
    uuid.uuid1, uuid.uuid4, secrets.token_bytes, secrets.token_hex, secrets.token_urlsafe, secrets.randbelow,
))  # fmt: skip


def is_looked_at(function: Any) -> bool:
    """Whether :func:`safe` has something to say about a function that is written in Python."""
    return function in _RANDOM or _logs(function) or changes(function)


def safe(function: Any, watch: Watch) -> Any:
    """``function``, a builtin or one that :func:`is_looked_at`, or what to call instead of it.

    Raises SideEffectError for one that is a trap.
    """
    owner = getattr(function, "__self__", None)
    if function is builtins.print:
        return functools.partial(_print, watch.is_in_region)
    if owner is time and function.__name__ in _CLOCKS:
        _raise_clock(function.__name__)
    if isinstance(owner, type) and issubclass(owner, datetime.date) and function.__name__ in ("now", "today", "utcnow"):
        _raise_clock(f"{owner.__name__}.{function.__name__}", "")
    if function is os.urandom:
        _raise_random("os.urandom")
    if isinstance(function, types.FunctionType) and function in _RANDOM:
        _raise_random(f"{function.__module__}.{function.__name__}", "make it outside of the traced function, and use it there")
    if _logs(function):
        return functools.partial(_log, function, watch.is_in_region)
    if function is builtins.setattr:
        return _setattr
    if isinstance(owner, random.Random):
        _raise_random(f"random.{function.__name__}")
    if isinstance(owner, (np.random.RandomState, np.random.Generator)):
        _raise_random(f"np.random.{function.__name__}")
    if changes(function):
        watch.changes(owner, function.__name__)
    return function


def _print(is_in_region: bool, *values: Any, **options: Any) -> None:
    if is_in_region:
        raise SideEffectError(
            "print() in a branch or loop that is traced prints once, while tracing, whatever a run does",
            hint="gc.print(...) prints where a run comes by",
            cause=SideEffectError.PRINT,
        )
    if any(isinstance(leaf, Tracer) for value in values for leaf in flatten(value)[0]):
        raise SideEffectError(
            "print() of a traced array prints its type, once, while tracing, and no value",
            hint="gc.print(...) prints at every run; print(repr(x)) prints what is known while tracing",
            cause=SideEffectError.PRINT,
        )
    print(*values, **options)


def _logs(function: Any) -> bool:
    """Whether ``function`` writes a message to a log."""
    owner = getattr(function, "__self__", None)
    is_logger = isinstance(owner, (logging.Logger, logging.LoggerAdapter))
    return (is_logger or getattr(function, "__module__", None) == "logging") and function.__name__ in _LEVELS


def _log(function: Callable[..., Any], is_in_region: bool, *values: Any, **options: Any) -> Any:
    if is_in_region:
        name = function.__name__
        raise SideEffectError(
            f"{name}() in a branch or loop that is traced logs once, while tracing, whatever a run does",
            hint=f"gc.callback(lambda: logging.{name}(...), None) logs where a run comes by; gc.print(...) prints",
            cause=SideEffectError.PRINT,
        )
    if any(isinstance(leaf, Tracer) for value in values for leaf in flatten(value)[0]):
        name = function.__name__
        raise SideEffectError(
            f"{name}() of a traced array logs its type, once, while tracing, and no value",
            hint=f"gc.callback(lambda x: logging.{name}(\"x is %s\", x), None, x) logs at every run; gc.print(...) prints",
            cause=SideEffectError.PRINT,
        )
    # The record says which line logged: not this one.
    return function(*values, **{**options, "stacklevel": options.get("stacklevel", 1) + 1})


def _setattr(target: Any, name: str, value: Any, /) -> None:
    setattr(attribute(target, name, False), name, value)


def _raise_clock(name: str, module: str = "time.") -> NoReturn:
    raise SideEffectError(
        f"{module}{name}() is called while tracing: it would be the same constant in every run",
        hint="take the time outside of the traced function, or by gc.callback at run time",
        cause=SideEffectError.CLOCK,
    )


_DRAW: Final = "draw with gc.random, which gives new numbers in every run, or pass the numbers as an argument"


def _raise_random(name: str, hint: str = _DRAW) -> NoReturn:
    raise SideEffectError(
        f"{name}() is called while tracing: it would be the same constant in every run",
        hint=hint,
        cause=SideEffectError.RANDOM,
    )
