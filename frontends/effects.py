"""What a program does besides computing, in every mode and in order: print, call Python, assert.

Eagerly it happens at once; in a traced function or a static graph it is an op, which does it in each run, also within branches
and loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dtypes import bool_
from graphc.errors import ArgumentError
from graphc.frontends.array.core import astype, lift
from graphc.frontends.array.reduction import all as all_
from graphc.frontends.dispatch import Array, bind_all
from graphc.frontends.pytree import flatten, unflatten
from graphc.frontends.spec import Spec, spec
from graphc.ops.effects import callback_key


def print(*values: Any, sep: str = " ", end: str = "\n") -> None:
    """Print at run time what ``values`` are then; arrays as NumPy shows them, all else as ``print`` does.

    >>> gc.print("x is", gc.tensor([1.0, 2.0]))
    x is [1. 2.]
    """
    arrays: list[Array] = []
    parts: list[str] = []
    for value in values:
        if isinstance(value, (Array, np.ndarray)):
            arrays.append(lift(value))
            parts.append("{}")
        else:
            parts.append(str(value).replace("{", "{{").replace("}", "}}"))
    escaped = [text.replace("{", "{{").replace("}", "}}") for text in (sep, end)]
    bind_all("print", *arrays, template=escaped[0].join(parts) + escaped[1])


def callback(function: Callable[..., Any], result_types: Any, *args: Any) -> Any:
    """``function(*args)`` called at run time with NumPy arrays, which it may keep. An effect: called in each run, in order.

    ``result_types``: a nested structure of specs (``gc.spec("f32[3]")``, or such a text), which the results have; None where
    there are none. ``args`` are nested structures of arrays. It has no gradient.

    Raises ShapeError or DTypeError at run time for a result of another type.

    >>> gc.callback(lambda x: np.sort(x)[::-1], "f32[3]", gc.tensor([1.0, 3.0, 2.0]))
    tensor([3., 2., 1.])
    """
    leaves, tree = flatten(args)
    types, result_tree = flatten(() if result_types is None else result_types)
    specs = [_spec(type_) for type_ in types]
    called = callback_key(_Callback(function, tree, result_tree))
    results = bind_all(
        "callback", *[lift(leaf) for leaf in leaves], function=called, dtypes=tuple([s.type.dtype for s in specs]),
        shapes=tuple([s.type.shape for s in specs]),
    )  # fmt: skip
    return None if result_types is None else unflatten(result_tree, list(results))


class _Callback:
    """A function on structures as one on leaves. Equal for equal functions and structures, so that a trace adds none."""

    def __init__(self, function: Callable[..., Any], tree: Any, result_tree: Any) -> None:
        self._parts = (function, tree, result_tree)
        self.__qualname__ = str(getattr(function, "__qualname__", type(function).__name__))

    def __call__(self, *arrays: np.ndarray) -> list[Any]:
        function, tree, result_tree = self._parts
        results, its_tree = flatten(function(*unflatten(tree, list(arrays))))
        if result_tree.leaves and its_tree != result_tree:
            raise ArgumentError(
                f"callback: {self.__qualname__} gave another structure than result_types declares",
                cause=ArgumentError.STRUCTURE,
            )
        return results if result_tree.leaves else []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Callback) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)


def _spec(type_: Any) -> Spec:
    if isinstance(type_, Spec):
        return type_
    if isinstance(type_, str):
        return spec(type_)
    raise ArgumentError(f"callback: result_types has {type_!r}, and takes specs", hint='write gc.spec("f32[3]"), or "f32[3]"')


def assert_(predicate: Any, message: str = "assertion failed") -> None:
    """Raise CheckError with ``message`` at run time unless ``predicate`` (all of it) is true.

    >>> gc.assert_(gc.tensor([1.0, 2.0]) > 0, "must be positive")
    """
    array = lift(predicate)
    bind_all("check", all_(array if array.dtype.is_bool else astype(array, bool_)), message=message)

