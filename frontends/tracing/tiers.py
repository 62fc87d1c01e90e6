"""The first calls of a trace on the reference path, while its kernels are compiled beside them (``jit(tier="auto")``)."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np

from graphc.errors import ArgumentError, GraphcError
from graphc.ir.graph import Graph
from graphc.locations import current_location
from graphc.ops.core import evaluate_graph
from graphc.runtime.background import submit

AUTO: Final = "auto"
COMPILED: Final = "compiled"


def check_tier(tier: str) -> bool:
    """Whether ``tier`` means a tiered start. Raises ArgumentError for what it does not know."""
    if tier not in (AUTO, COMPILED):
        raise ArgumentError(
            f"tier={tier!r} is no way to start",
            hint=f'tier="{COMPILED}" (the default) compiles at the first call, tier="{AUTO}" while the first calls run',
        )
    return tier == AUTO


@dataclass
class TierRecord:
    """How one trace started. ``reference_calls``: on the reference path; ``first_compiled``: the number of the first call, of
    those of this trace, that ran compiled; ``seconds``: from the first call to that one; ``error``: why compiling failed.
    ``reverse``: the same trace where gradients through the call were recorded, and so nothing is updated in place."""

    reference_calls: int = 0
    first_compiled: int | None = None
    seconds: float | None = None
    error: str | None = None
    reverse: TierRecord | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "reference_calls": self.reference_calls,
            "first_compiled": self.first_compiled,
            "seconds": self.seconds,
            "error": self.error,
            "reverse": None if self.reverse is None else self.reverse.to_dict(),
        }

    def __str__(self) -> str:
        calls = f"{self.reference_calls} call{'' if self.reference_calls == 1 else 's'} on the reference path"
        if self.error is not None:
            text = f"{calls}, then compiling failed: {self.error}"
        elif self.first_compiled is None:
            text = f"{calls} so far; none has run compiled"
        else:
            text = f"{calls}; compiled from call {self.first_compiled} on, after {self.seconds:.3f} s"
        return text if self.reverse is None else f"{text}\n  tier where gradients are recorded: {self.reverse}"


class Tier:
    """One graph that is being compiled in another thread. A call asks :meth:`reference` once, at its beginning, and then runs
    in one way from its first op to its last."""

    def __init__(self, graph: Graph, compile: Callable[[], object], record: TierRecord) -> None:
        self.graph = graph
        self.record = record
        self._compile = compile
        self._lock = threading.Lock()
        self._began: float | None = None
        self._is_submitted = False
        self._is_done = False
        self._error: BaseException | None = None
        self.is_over = False  #: Whether all calls to come run compiled.
        _tiers.add(self)

    def reference(self) -> Callable[..., list[np.ndarray]] | None:
        """What runs this call on the reference path; None where it is to run compiled.

        Raises what compiling raised, once: calls after that compile for themselves.
        """
        if self.is_over:
            return None
        with self._lock:
            if self.is_over:
                return None
            if self._began is None:
                self._began = perf_counter()
            if not self._is_submitted:
                self._is_submitted = True
                self._is_done = not submit(self._work)  # without a thread, the call compiles
            if not self._is_done:
                self.record.reference_calls += 1
                return self._evaluate
            self.is_over, self._compile = True, _nothing
            error, self._error = self._error, None
            if error is None:
                self.record.first_compiled = self.record.reference_calls + 1
                self.record.seconds = perf_counter() - self._began
                return None
            self.record.error = str(error).partition("\n")[0]
        if isinstance(error, GraphcError) and error.location.filename == threading.__file__:
            error.location = current_location()  # of no line of the user's; that thread had none
        raise error

    def _evaluate(self, *arrays: Any) -> list[np.ndarray]:
        native = [
            np.asarray(array, parameter.dtype.numpy) for array, parameter in zip(arrays, self.graph.parameters, strict=True)
        ]
        return [np.array(result, order="C") for result in evaluate_graph(self.graph, native)]

    def _work(self) -> None:
        try:
            self._compile()
        except BaseException as error:  # for the next call to raise
            self._error = error
        self._is_done = True

    def forked(self) -> None:
        """The thread that compiles is the parent's: the next call starts it again."""
        self._lock = threading.Lock()
        self._is_submitted = self._is_done


def _nothing() -> None:
    """What is left to compile."""


_tiers: Final[weakref.WeakSet[Tier]] = weakref.WeakSet()


def _after_fork() -> None:
    for tier in list(_tiers):
        tier.forked()


os.register_at_fork(after_in_child=_after_fork)
