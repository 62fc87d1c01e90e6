"""What a compilation took: its phases with their times, and where its kernels came from."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, NamedTuple

from graphc.locations import Location

#: Where a kernel's code came from: compiled now, kept on disk by a process before, or in this process already.
COMPILED: Final = "compiled"
DISK: Final = "disk"
MEMORY: Final = "memory"


class KernelOrigin(NamedTuple):
    """One kernel of a program: its name, where its code came from, and the seconds that getting it took."""

    name: str
    origin: str
    seconds: float


class Copied(NamedTuple):
    """An array that is not updated in place: its name, ``why`` not, the line that updates it, and the line that stands in the
    way, where one does."""

    array: str
    why: str
    location: Location
    cause: Location

    def __str__(self) -> str:
        return f"{self.array}: {self.why}" + (f", at {_place(self.cause)}" if self.cause.line else "")

    def render(self) -> str:
        """With the line that updates it."""
        return f"{self}   {_place(self.location)}" if self.location.line else str(self)

    def to_dict(self) -> dict[str, str | None]:
        """Plain data."""
        location, cause = (str(where) if where.line else None for where in (self.location, self.cause))
        return {"array": self.array, "why": self.why, "location": location, "cause": cause}


def _place(location: Location) -> str:
    source = location.source_line.strip()
    return f"{location.filename}:{location.line}" + (f": {source}" if source else "")


@dataclass
class CompileLog:
    """``phases``: name → seconds, in order; ``kernels``: in the order in which they were got; ``copies``: of what is meant to
    be updated in place."""

    phases: dict[str, float] = field(default_factory=dict)
    kernels: list[KernelOrigin] = field(default_factory=list)
    copies: list[Copied] = field(default_factory=list)

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


def is_logged() -> bool:
    """Whether the compilation in this thread is being logged."""
    return _logs.current is not None


def note_copies(copies: Iterable[Copied]) -> None:
    """Arrays that the compilation that is being logged in this thread could not update in place."""
    if _logs.current is not None:
        _logs.current.copies += copies
