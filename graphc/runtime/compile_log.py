"""What a compilation took: its phases with their times, and where its kernels came from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, NamedTuple

#: Where a kernel's code came from: compiled now, kept on disk by a process before, or in this process already.
COMPILED: Final = "compiled"
DISK: Final = "disk"
MEMORY: Final = "memory"


class KernelOrigin(NamedTuple):
    """One kernel of a program: its name, where its code came from, and the seconds that getting it took."""

    name: str
    origin: str
    seconds: float


@dataclass
class CompileLog:
    """``phases``: name → seconds, in order; ``kernels``: in the order in which they were got."""

    phases: dict[str, float] = field(default_factory=dict)
    kernels: list[KernelOrigin] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the phase ``name``."""
        start = perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + perf_counter() - start


class _Logs(threading.local):
    current: CompileLog | None = None


_logs = _Logs()


@contextmanager
def logging_into(log: CompileLog) -> Iterator[None]:
    """Within the block, compilations in this thread write to ``log``."""
    saved, _logs.current = _logs.current, log
    try:
        yield
    finally:
        _logs.current = saved


@contextmanager
def phase(name: str) -> Iterator[None]:
    """The block is the phase ``name`` of the compilation that is being logged in this thread, if one is."""
    if _logs.current is None:
        yield
    else:
        with _logs.current.phase(name):
            yield


def note_kernel(name: str, origin: str, seconds: float) -> None:
    """A kernel was got for the compilation that is being logged in this thread, if one is."""
    if _logs.current is not None:
        _logs.current.kernels.append(KernelOrigin(name, origin, seconds))
