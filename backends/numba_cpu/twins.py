"""Scalar functions that exist twice: compiled into kernels, and as plain Python for a simulator or a test.

`scalar_function` compiles a Python function over scalars to be inlined wherever a kernel calls it. Its twin is the
same code object run by the interpreter, with every intrinsic it names replaced by that intrinsic's Python twin and
every scalar function by its own.
"""

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from .adapter import linked
from .intrinsics import PYTHON_TWINS

_scalar_functions: dict[str, Any] = {}


def scalar_function(function: Callable[..., Any]) -> Any:
    """Compile `function` for use inside kernels: always inlined, `contract` as its only floating-point licence."""
    if function.__name__ in _scalar_functions:
        raise ValueError(f"two scalar functions are called {function.__name__}")
    dispatcher = linked(function, fastmath={"contract"}, forceinline=True)
    _scalar_functions[function.__name__] = dispatcher
    return dispatcher


def scalar_functions() -> Mapping[str, Any]:
    """Every public scalar function registered so far, by name, as kernels call it."""
    return {name: function for name, function in _scalar_functions.items() if not name.startswith("_")}


def python_twins() -> Mapping[str, Callable[..., Any]]:
    """The interpreter's version of every public scalar function registered so far; takes and returns NumPy scalars."""
    return retargeted(PYTHON_TWINS, _quiet)


def retargeted(intrinsics: Mapping[str, Any], make: Callable[[FunctionType], Any]) -> Mapping[str, Any]:
    """Every public scalar function registered so far, made anew for another target.

    ``make`` gets a plain function with the same code, whose names mean what ``intrinsics`` says, and other scalar functions
    what ``make`` made of them.
    """
    made: dict[str, Any] = {}
    scopes: list[dict[str, Any]] = []
    for name, dispatcher in _scalar_functions.items():
        original: FunctionType = dispatcher.py_func
        scope = {**original.__globals__, **intrinsics}
        scopes.append(scope)
        made[name] = make(FunctionType(original.__code__, scope, name, original.__defaults__))
    replaced = {name: function for name, function in made.items() if name not in intrinsics}
    for scope in scopes:
        scope.update(replaced)
    return {name: function for name, function in replaced.items() if not name.startswith("_")}


def _quiet(function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def quiet(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return quiet
