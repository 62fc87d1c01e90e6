"""One step of all parameters of a group as one op: what an eager step costs is dispatching dozens of small ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.dispatch import Array, eager_context, observers

Slots = dict[str, Any]
Apply = Callable[[Any, Any, Slots, Any], tuple[Array, Slots]]
_OWN = frozenset(("params", "lr", "initial_lr"))  # options that the rule does not read


class Update(NamedTuple):
    """A parameter that has a gradient, and what is remembered of it."""

    param: Any
    grad: Any
    slots: Slots


class FusedStep:
    """The last step that was made of a group, for others like it."""

    def __init__(self) -> None:
        self._params: list[Any] = []
        self._options: Any = None
        self._composed: Any = None
        self._changed: list[tuple[str, ...]] = []  # for each parameter the slots that the rule gave

    def run(self, updates: list[Update], rate: Any, options: dict[str, Any], apply: Apply) -> bool:
        """Make the step; False, with nothing done, where it has to be made one parameter after the other: where
        somebody watches ops, where parameters share memory, and for what is not a plain tensor."""
        if observers or not updates or any(getattr(u.grad, "_storage", self) is not None for u in updates):
            return False
        eager: Any = eager_context()
        if any(u.param.context is not eager for u in updates):
            return False
        plain = {name: value for name, value in options.items() if name not in _OWN}
        params = [u.param for u in updates]
        known = list(map(id, params)) == list(map(id, self._params))
        if not known or plain != self._options:
            self._params, self._options = params, plain
            self._composed = eager.composed(self._rule(updates, apply), None) if _are_apart(params, plain) else None
        if self._composed is None:
            return False
        arrays = [eager.lift(rate if isinstance(rate, Array) else np.array(rate))]
        for update in updates:
            arrays += [update.param, update.grad, *update.slots.values()]
        results = eager.compose(self._composed, tuple(arrays), {})
        if results is NOT_ALIKE:
            return False
        made = iter(results)
        for update, names in zip(updates, self._changed, strict=True):
            eager.write(update.param, next(made))
            for name in names:
                eager.write(update.slots[name], next(made))
        return True

    def _rule(self, updates: list[Update], apply: Apply) -> Callable[..., list[Any]]:
        names = [tuple(update.slots) for update in updates]

        def step(rate: Any, *arrays: Any) -> list[Any]:
            given = iter(arrays)
            results: list[Any] = []
            self._changed = []
            for slots in names:
                param, grad = next(given), next(given)
                new, changed = apply(param, grad, {name: next(given) for name in slots}, rate)
                results += [new, *changed.values()]
                self._changed.append(tuple(changed))
            return results

        return step


def _are_apart(params: list[Any], options: dict[str, Any]) -> bool:
    """Whether no write to one parameter changes another, and no option is an array, whose value may change."""
    arrays = [getattr(p, "_array", None) for p in params]
    if any(a is None for a in arrays) or any(p._chain for p in params):
        return False
    if any(isinstance(value, (Array, np.ndarray)) for value in options.values()):
        return False
    bounds = sorted(np.lib.array_utils.byte_bounds(a) for a in arrays if a is not None and a.size)
    return all(end <= begin for (_, end), (begin, _) in itertools.pairwise(bounds))
