"""Target names ("cpu", "reference") → backends, which are loaded when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from graphc.errors import BackendError
from graphc.ir.graph import Graph

#: Target → the module of the package ``graphc.backends`` that compiles for it.
TARGETS: dict[str, str] = {"cpu": "numba_cpu", "reference": "reference"}


class Compiled(Protocol):
    """What a backend makes of a graph."""

    graph: Graph

    def __call__(self, *arrays: Any) -> list[Any]: ...

    def stages(self) -> Any:
        """Stage → text."""


class Backend(Protocol):
    """A module of ``graphc.backends``, as seen from here."""

    def compile(self, graph: Graph, *, fast_math: bool = False, **options: Any) -> Compiled:
        """``graph``, optimized already, made to run. ``options``: what only one backend has."""


def load_backend(target: str) -> Backend:
    """The backend for ``target``; raises BackendError, naming the known targets, for any other."""
    name = TARGETS.get(target)
    if name is None:
        raise BackendError(f"there is no target {target!r}", hint=f"known targets: {', '.join(TARGETS)}")
    backend: Backend = importlib.import_module(f"graphc.backends.{name}")
    return backend
