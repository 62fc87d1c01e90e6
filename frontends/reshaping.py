"""Whether a reshape in a graph under construction is a view, as it would be eagerly: what strides can express."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import GraphcError
from graphc.frontends.sizes import Sizes
from graphc.ir.dims import Dim, evaluate_dim, symbol, symbols_of
from graphc.ir.primitive import get_primitive
from graphc.ops.core import concrete_attributes


def reshapes_in_place(x: Any, shape: Sequence[Dim]) -> bool:
    """Whether eager execution would make this reshape a view, given the views that ``x`` is seen through.

    An axis of size 1 makes more reshapes views. Where that decides, which size it was is a guard.
    """
    if all(step.op in ("reshape", "stop_gradient") for step in x._chain):
        return True
    if [d for d in x.shape if d != 1] == [d for d in shape if d != 1]:  # axes of size 1 come and go, as for x[0]
        return True
    sizes: Sizes | None = x.context.sizes
    symbols = set(symbols_of((*x._storage.base_type.shape, *x.shape, *shape)))
    if sizes is None or not symbols <= sizes.examples.keys():
        return not symbols and bool(_has_strides(x, shape, {}))
    answer = _has_strides(x, shape, sizes.examples)
    for name in sorted(symbols - sizes.equal.keys()):
        for other in (2, 3) if sizes.examples[name] == 1 else (1,):
            if _has_strides(x, shape, _with(sizes, name, other)) not in (answer, None):
                sizes.decide("==", symbol(name), 1)
    return bool(answer)


def _with(sizes: Sizes, name: str, value: int) -> dict[str, int]:
    """The examples with another value of one symbol, and of those that are written in terms of it."""
    changed = {**sizes.examples, name: value}
    return {each: evaluate_dim(sizes.settled(symbol(each)), changed) for each in changed}


def _has_strides(x: Any, shape: Sequence[Dim], sizes: Mapping[str, int]) -> bool | None:
    """Whether strides can express ``x`` under ``shape``; None where ``sizes`` do not fit the views."""
    try:
        base = [evaluate_dim(d, sizes) for d in x._storage.base_type.shape]
        strides: list[int] = []
        step = 1
        for size in reversed(base):
            strides.insert(0, step)
            step *= max(size, 1)
        array: Any = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), base, strides)
        for view in x._chain:
            attributes = concrete_attributes(get_primitive(view.op), dict(view.attributes), sizes)
            array = (
                array.reshape(attributes["shape"])
                if view.op == "reshape"
                else get_primitive(view.op).evaluate(array, **attributes)
            )
        wanted = tuple([evaluate_dim(d, sizes) for d in shape])
        if array.size != math.prod(wanted):
            return None
    except (ValueError, GraphcError):
        return None
    try:
        np.reshape(array, wanted, copy=False)
    except ValueError:
        return False
    return True
