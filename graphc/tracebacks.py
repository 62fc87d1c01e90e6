"""Tracebacks of graphc's errors without graphc's own frames.

Who reads one wants to see their own code. Frames of graphc are left out when the interpreter (or IPython) prints an
uncaught GraphcError; what code sees that catches it stays whole, and GRAPHC_TRACEBACK=full shows all.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

from graphc.errors import GraphcError
from graphc.locations import is_internal_code


def without_internal_frames(traceback: TracebackType | None) -> TracebackType | None:
    """``traceback`` without the frames of graphc; unchanged where there are no others."""
    entries: list[TracebackType] = []
    while traceback is not None:
        if not is_internal_code(traceback.tb_frame.f_code):
            entries.append(traceback)
        traceback = traceback.tb_next
    result: TracebackType | None = None
    for entry in reversed(entries):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def show_users_frames(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """An exception hook: the one that was there before, given the user's frames of a GraphcError."""
    if isinstance(error, GraphcError):
        traceback = _shown(traceback)
        error.__traceback__ = traceback  # the hook of Python 3.13 looks there
        error.__suppress_context__ |= _hides()  # what graphc caught on the way is inside of it too
    _previous(kind, error, traceback)


def _show_in_ipython(
    shell: Any, kind: type[BaseException], error: BaseException, traceback: TracebackType | None, tb_offset: int | None = None
) -> None:
    shell.showtraceback((kind, error, _shown(traceback)), tb_offset=tb_offset)


def _shown(traceback: TracebackType | None) -> TracebackType | None:
    return without_internal_frames(traceback) if _hides() else traceback


def _hides() -> bool:
    return os.environ.get("GRAPHC_TRACEBACK") != "full"


def install() -> None:
    """Put :func:`show_users_frames` in front of the present ``sys.excepthook``, once."""
    global _previous  # noqa: PLW0603
    if sys.excepthook is not show_users_frames:
        _previous = sys.excepthook
        sys.excepthook = show_users_frames
    ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if ipython is not None:
        ipython.set_custom_exc((GraphcError,), _show_in_ipython)


_previous = sys.__excepthook__
