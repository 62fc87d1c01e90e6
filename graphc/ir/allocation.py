"""Building large graphs: while it lasts, Python's collector of cycles has nothing to find and much to look at."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Pause:
    """How many blocks want the collector to rest, and whether it ran before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.was_enabled = False


_pause = _Pause()


@contextmanager
def collection_paused() -> Iterator[None]:
    """Within the block no cycles are collected, in any thread; afterwards as before.

    The collector looks at every object that there is each time their number has grown by a quarter. A pass makes
    millions, all of which live until it ends, so that would make its time grow faster than its graph.
    """
    with _pause.lock:
        if _pause.depth == 0:
            _pause.was_enabled = gc.isenabled()
            gc.disable()
        _pause.depth += 1
    try:
        yield
    finally:
        with _pause.lock:
            _pause.depth -= 1
            if _pause.depth == 0 and _pause.was_enabled:
                gc.enable()
