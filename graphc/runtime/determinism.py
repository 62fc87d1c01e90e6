"""Whether results must repeat bit for bit: one setting for all backends."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

from graphc.errors import ArgumentError
from graphc.runtime.tape import PROCESS, Shared, set_shared

VARIABLE: Final = "GRAPHC_DETERMINISTIC"


class deterministic:
    """Let results repeat bit for bit from now on, in the whole process; or no more. As a context manager, for a block.

    On the CPU nothing is chosen by measurement then: matrix products are computed by our own kernels, whose results are the
    same for any number of threads, in every process on this machine. On a GPU, sums that race (``scatter`` of floats)
    are added up in order in all that is compiled from then on, slower. GRAPHC_DETERMINISTIC=1 in the environment is the
    same from the start. The setting belongs to the process, not to a thread. Raises ArgumentError unless ``enabled`` is a
    bool.

    >>> with deterministic():
    ...     y = x @ w  # the same bits in every run
    >>> is_deterministic()
    False
    """

    def __init__(self, enabled: bool = True) -> None:
        if not isinstance(enabled, bool):
            raise ArgumentError(f"deterministic takes True or False, not {enabled!r}")
        self._before = is_deterministic()
        set_shared(Shared.DETERMINISTIC, enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        set_shared(Shared.DETERMINISTIC, self._before)


def is_deterministic() -> bool:
    """Whether results repeat bit for bit, as :class:`deterministic` says."""
    return bool(PROCESS[Shared.DETERMINISTIC])


def _initial() -> bool:
    chosen = os.environ.get(VARIABLE, "0")
    if chosen not in ("0", "1"):
        raise ArgumentError(f"{VARIABLE} is {chosen!r}", hint="set it to 0 or 1")
    return chosen == "1"


set_shared(Shared.DETERMINISTIC, _initial())
