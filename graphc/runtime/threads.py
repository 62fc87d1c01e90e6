"""How many threads a kernel may use."""

from __future__ import annotations

import os
from typing import Final

from graphc.errors import ArgumentError
from graphc.runtime.tape import PROCESS, Shared, set_shared

VARIABLE: Final = "GRAPHC_NUM_THREADS"
MOST_THREADS: Final = 1024


def _available() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _checked(count: object, what: str) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
        raise ArgumentError(f"{what} must be an int from 1 to {MOST_THREADS}, not {count!r}", cause=ArgumentError.RANGE)
    return count


def _initial() -> int:
    text = os.environ.get(VARIABLE)
    if text is None:
        return min(_available(), MOST_THREADS)
    return _checked(int(text) if text.strip().isdecimal() else text, VARIABLE)


set_shared(Shared.THREADS, _initial())


def set_num_threads(count: int) -> None:
    """Let each call use at most ``count`` threads, its own included, from the next call on, in the whole process.

    Results are the same bits for every ``count``, but for large matrix products, which BLAS may compute where it is faster;
    under :class:`graphc.deterministic` all are. The number at the start is that of the CPUs that the process may run on, or
    GRAPHC_NUM_THREADS from the environment. Raises ArgumentError unless 1 ≤ ``count`` ≤ 1024.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    """
    set_shared(Shared.THREADS, _checked(count, "the number of threads"))


def get_num_threads() -> int:
    """The number of threads that a call may use, as :func:`set_num_threads` says."""
    return int(PROCESS[Shared.THREADS])
