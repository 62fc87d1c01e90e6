"""A jitted call like the one before: from the arguments to the results without asking again what kind of call it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.frontends.call_pattern import NOT_ALIKE, CallPattern, Constant
from graphc.frontends.dispatch import is_placed, observers
from graphc.frontends.eager.tensor import Tensor
from graphc.frontends.grad_mode import mode

Run = Callable[[Sequence[Any]], "list[Any] | None"]


def repeated_call(run: Run, runs: Mapping[tuple[Any, ...], Run], pattern: CallPattern) -> Callable[[tuple[Any, ...]], Any]:
    """A function that runs one program for calls that are alike, and gives NOT_ALIKE, with nothing done, for others.

    ``run`` is tried first; ``runs`` has others, by the shapes that they are for. Alike means: plain tensors and arrays where
    the first call had some (each run itself compares dtypes, shapes and layouts, and gives None for others), Python numbers of
    the same class, the same static objects, captured tensors that are still the same objects, the same gradient mode, nothing
    that has to be recorded and nobody who watches.
    """
    expected, captures, build = pattern
    count, graded = len(expected), mode.enabled
    tensor, ndarray, wrap, as_array = Tensor, np.ndarray, Tensor.wrap, np.array

    def other_sizes(arrays: list[Any]) -> list[Any] | None:
        nonlocal run
        other = runs.get(tuple([array.shape for array in arrays]))
        if other is None or other is run:
            return None
        results = other(arrays)
        if results is not None:
            run = other
        return results

    def call(values: tuple[Any, ...]) -> Any:
        if observers or len(values) != count or mode.enabled is not graded:
            return NOT_ALIKE
        arrays: list[Any] = []
        owners: list[Any] = []
        for value, wanted in zip(values, expected):  # noqa: B905 - of one length, and time matters here
            if wanted is None:
                kind = type(value)
                if kind is tensor:
                    if value._reference is not None or value.weak:
                        return NOT_ALIKE
                    storage = value._storage
                    if storage is None:
                        owners.append(value)
                    elif storage.value is None:
                        owners.append(storage)
                    else:
                        return NOT_ALIKE
                    arrays.append(value._array)
                elif kind is ndarray:
                    arrays.append(value)
                else:
                    return NOT_ALIKE
            elif isinstance(wanted, Constant):
                if wanted.holder.value is not value:
                    return NOT_ALIKE
            elif type(value) is wanted.kind and (wanted.value is None or value == wanted.value):
                arrays.append(as_array(value, wanted.dtype))
            else:
                return NOT_ALIKE
        if not owners and is_placed():  # where it runs is not said by the arguments
            return NOT_ALIKE
        if len(owners) > 1 and (owners[0] is owners[1] if len(owners) == 2 else len(set(map(id, owners))) < len(owners)):
            return NOT_ALIKE  # two are one object, or views of one memory
        for getter, captured, requires_grad in captures:
            if getter() is not captured:
                return NOT_ALIKE
            if type(captured) is tensor:
                if captured.requires_grad is not requires_grad or (graded and requires_grad):
                    return NOT_ALIKE
                arrays.append(captured._array)
            else:
                arrays.append(captured)
        results = run(arrays)
        if results is None and (results := other_sizes(arrays)) is None:
            return NOT_ALIKE
        if build is not None:
            return build([wrap(array) for array in results])
        return wrap(results[0])

    def call_on_arrays(values: tuple[Any, ...]) -> Any:
        """:func:`call` where arrays are all that there is, of tensors whose memory nobody shares."""
        if observers or len(values) != count or mode.enabled is not graded:
            return NOT_ALIKE
        arrays: list[Any] = []
        for value in values:
            if type(value) is not tensor or value._storage is not None:
                return call(values)
            if value._reference is not None or value.weak:
                return NOT_ALIKE
            arrays.append(value._array)
        if count > 1 and (values[0] is values[1] if count == 2 else len(set(map(id, values))) < count):
            return NOT_ALIKE
        results = run(arrays)
        if results is None and (results := other_sizes(arrays)) is None:
            return NOT_ALIKE
        return wrap(results[0])

    return call if captures or build is not None or any(wanted is not None for wanted in expected) else call_on_arrays
