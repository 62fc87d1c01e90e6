"""Target names ("cpu", "reference", "cuda:sm_90") → backends, which are loaded when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from graphc.errors import BackendError
from graphc.ir.graph import Graph

#: Target → the module of the package ``graphc.backends`` that compiles for it.
TARGETS: dict[str, str] = {"cpu": "numba_cpu", "reference": "reference", "cuda": "numba_cuda"}


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


def split_target(target: str) -> tuple[str, str]:
    """The name of a target and the machine that it is for, "" where that is the present one.

    Raises BackendError, naming the known targets, for an unknown one.

    >>> split_target("cuda:sm_90")
    ('cuda', 'sm_90')
    """
    name, _, machine = str(target).partition(":")
    if name not in TARGETS:
        raise BackendError(
            f"there is no target {target!r}", hint=f"known targets: {', '.join(TARGETS)}", cause=BackendError.TARGET
        )
    return name, machine


def load_backend(target: str) -> Backend:
    """The backend for ``target``; raises BackendError, naming the known targets, for any other.

    A target with a machine is compiled for that by what the backend's ``for_machine`` returns.
    """
    name, machine = split_target(target)
    module: Any = importlib.import_module(f"graphc.backends.{TARGETS[name]}")
    if not machine:
        backend: Backend = module
        return backend
    if not hasattr(module, "for_machine"):
        what = f"the target {name} compiles for the present machine only, not for {machine!r}"
        raise BackendError(what, hint=f"use {name!r}")
    made: Backend = module.for_machine(machine)
    return made
