"""What a traced function remembers of its traces, and when one more is an error or worth a warning."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from graphc.errors import ArgumentError, RetraceError, RetraceWarning
from graphc.frontends.tracing.causes import CLEARED, FIRST, FORGOTTEN, OTHER, Cause, differences
from graphc.frontends.tracing.explanation import Explanation, Trace
from graphc.frontends.tracing.families import Family
from graphc.frontends.tracing.program import TracedProgram
from graphc.frontends.tracing.signature import Signature
from graphc.locations import current_location

#: A function is warned about once, at this many traces after the first.
WARN_AT = 5
_MOST_RECORDS = 1000
_MOST_COMPARED = 64  # signatures that a new one is compared with
_MOST_FORGOTTEN = 4096


class _Forbidden(threading.local):
    depth = 0


_forbidden = _Forbidden()


@contextmanager
def no_retrace() -> Iterator[None]:
    """Within the block, in this thread, a call of a traced function that needs another trace raises RetraceError, which says
    why it does. The first trace of a function is not a retrace.

    >>> with gc.no_retrace():
    ...     step(x)
    """
    _forbidden.depth += 1
    try:
        yield
    finally:
        _forbidden.depth -= 1


class History:
    """The traces of one function."""

    def __init__(self, name: str, most: int | None) -> None:
        if most is not None and most < 1:
            raise ArgumentError(f"max_traces must be a positive int, not {most!r}", cause=ArgumentError.RANGE)
        self.name = name
        self.count = 0
        self._most = most
        self._records: deque[Trace] = deque(maxlen=_MOST_RECORDS)
        self._forgotten: dict[int, None] = {}  # hashes of signatures
        self._is_cleared = False

    def causes_of(self, key: Signature, labels: Sequence[str], families: Iterable[Family]) -> list[Cause]:
        """Why the signature ``key`` is new: how it differs from the most similar of ``families``, of the latest ones."""
        if hash(key) in self._forgotten:
            return [FORGOTTEN]
        compared = [differences(each.key, key, each.labels, labels) for each in islice(families, _MOST_COMPARED)]
        if not compared:
            return [CLEARED if self._is_cleared else FIRST]
        nearest = min(compared, key=lambda causes: (any(c.kind == "structure" for c in causes), len(causes)))
        return nearest or [OTHER]

    def begin(self, causes: Sequence[Cause]) -> None:
        """A trace is about to be made. Raises RetraceError where it may not be."""
        if self.count and _forbidden.depth:
            raise RetraceError(
                f"{self.name} would be traced again within no_retrace(), for the {_ordinal(self.count + 1)} time\n"
                + _indented(causes),
                hint=_advice(causes),
                cause=RetraceError.FORBIDDEN,
            )
        if self._most is not None and self.count >= self._most:
            raise RetraceError(
                f"{self.name} would be traced again, and max_traces={self._most} were made already\n" + _indented(causes),
                hint=_advice(causes),
            )

    def add(self, causes: Sequence[Cause], program: TracedProgram, family: Family, seconds: float) -> None:
        """A trace was made."""
        self.count += 1
        program.log.phases["trace"] = seconds
        self._records.append(Trace.of(self.count, causes, program, family))

    def warn(self) -> None:
        """Warn where the latest trace was one too many."""
        if self.count != WARN_AT + 1:
            return
        retraces = [record for record in self._records if record.number > 1]
        lines = [f"{self.name} was traced {self.count} times; each trace after the first is costly. Why:"]
        for record in retraces[-WARN_AT:]:
            lines.append(f"  trace {record.number}: " + "; ".join(cause.summary for cause in record.causes))
        needed = dict.fromkeys(str(c.location.render()) for r in retraces for c in r.causes if c.location.line)
        for place in needed:
            lines += [f"  {line}" for line in f"needed at {place}".splitlines()]
        advice = dict.fromkeys(cause.advice for record in retraces for cause in record.causes if cause.advice)
        lines += [f"  avoid: {each}" for each in advice]
        lines.append(f"  print({self.name}.explain()) says more; gc.no_retrace() and max_traces= forbid it")
        where = current_location()
        warnings.warn_explicit("\n".join(lines), RetraceWarning, where.filename, where.line)

    def cleared(self) -> None:
        """All programs were dropped."""
        self._is_cleared = True
        self._forgotten.clear()

    def forgotten(self, key: Signature) -> None:
        """The programs for ``key`` were dropped to bound their number."""
        if len(self._forgotten) >= _MOST_FORGOTTEN:
            self._forgotten.clear()
        self._forgotten[hash(key)] = None

    def explanation(self) -> Explanation:
        """What there is to know."""
        return Explanation(self.name, self.count, tuple(self._records))


def _indented(causes: Sequence[Cause]) -> str:
    lines = []
    for cause in causes:
        lines.append(f"  {cause.summary}")
        if cause.location.line:
            lines += [f"    {line}" for line in f"needed at {cause.location.render()}".splitlines()]
    return "\n".join(lines)


def _advice(causes: Sequence[Cause]) -> str | None:
    return "; ".join(dict.fromkeys(cause.advice for cause in causes if cause.advice)) or None


def _ordinal(number: int) -> str:
    suffix = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
