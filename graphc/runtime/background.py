"""Work for another thread: compilations that nobody waits for yet.

The thread begins with the first piece of work, ends with the last one, and is a daemon: nobody waits for it at the end of the
process. What may not be torn down in the middle of its work sees to that itself, by :mod:`atexit`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final


class _Background:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: deque[Callable[[], None]] = deque()
        self.thread: threading.Thread | None = None

    def forget(self) -> None:
        """In a forked child: the thread is its parent's, and so is the work."""
        self.__init__()  # type: ignore[misc]

    def submit(self, work: Callable[[], None]) -> bool:
        with self.lock:
            self.waiting.append(work)
            if self.thread is None:
                thread = threading.Thread(target=self._run, name="graphc-background", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is about to end, or has no thread left
                    self.waiting.pop()
                    return False
                self.thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self.lock:
                if not self.waiting:
                    self.thread = None
                    return
                work = self.waiting.popleft()
            work()


_background: Final = _Background()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.forget)


def submit(work: Callable[[], None]) -> bool:
    """Let another thread do ``work``, which raises nothing, after what it was given before; False where there is no thread to
    be had. A forked child inherits no work."""
    return _background.submit(work)


def in_background() -> bool:
    """Whether the caller is such work."""
    return threading.current_thread() is _background.thread
