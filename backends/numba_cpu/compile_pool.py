"""Processes that compile kernels beside this one, where there are several and more than one core.

Numba compiles one function at a time in a process, mostly in Python. So other processes take some of the kernels, keep them
on disk, and this one loads them from there. Nothing depends on them: whatever is not on disk in the end is compiled here.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from graphc.errors import ArgumentError

VARIABLE: Final = "GRAPHC_COMPILE_PROCESSES"
#: A process takes a second to start: with fewer kernels than so many this one is done before.
FEWEST: Final = 4
_MOST: Final = 8
_PATIENCE: Final = 120.0  # seconds that one kernel may take in another process
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from graphc.backends.numba_cpu.compile_worker import main; main()"
)


class Request(NamedTuple):
    """The arguments of :func:`~graphc.backends.numba_cpu.kernels.compile_kernel`; ``module`` is that of its names."""

    source: str
    name: str
    signature: tuple[str, ...]
    filename: str
    fast_math: bool
    module: str


class Worker:
    """One process. Whatever goes wrong with it, :meth:`compile` gives False."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.process = subprocess.Popen(
            command or [sys.executable, "-c", _START],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._send(sys.path)

    def compile(self, request: Request) -> bool:
        """Whether the kernel has been compiled."""
        timer = threading.Timer(_PATIENCE, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert self.process.stdout is not None
            return self._send(request) and self.process.stdout.readline().strip() == "1"
        except (OSError, ValueError):
            return False
        finally:
            timer.cancel()

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End the process, at once."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass
        self.process.wait()

    def _send(self, message: object) -> bool:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True


class _Pool:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[Worker] = []
        self.taken: list[Worker] = []
        self.is_ending = False

    def forget(self) -> None:
        """A forked child leaves the processes to its parent."""
        self.lock = threading.Lock()
        self.workers, self.taken = [], []

    def take(self, count: int) -> list[Worker]:
        """Up to ``count`` processes, for one caller at a time."""
        with self.lock:
            taken = [worker for worker in self.workers if worker.is_alive()][:count]
            self.workers = [worker for worker in self.workers if worker not in taken]
            while len(taken) < count and not self.is_ending:
                try:
                    taken.append(Worker())
                except OSError:
                    break
            self.taken += taken
        return taken

    def give_back(self, workers: Sequence[Worker], healthy: Sequence[Worker]) -> None:
        """The caller needs ``workers`` no more; those that are not ``healthy`` end."""
        with self.lock:
            self.taken = [worker for worker in self.taken if worker not in workers]
            kept = [] if self.is_ending else [worker for worker in workers if worker in healthy]
            self.workers += kept
        for worker in workers:
            if worker not in kept:
                worker.close()

    def close(self) -> None:
        with self.lock:
            workers, self.workers = self.workers, []
        for worker in workers:
            worker.close()

    def end(self) -> None:
        """This process ends, perhaps while another thread of it waits for a kernel."""
        with self.lock:
            self.is_ending = True
            taken = list(self.taken)
        for worker in taken:
            worker.process.kill()  # who waits for it reads the end of its pipe
            worker.process.wait()
        self.close()


_pool: Final = _Pool()
atexit.register(_pool.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def processes() -> int:
    """How many processes may compile beside this one: GRAPHC_COMPILE_PROCESSES, else one for each other core."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        if not chosen.strip().isdecimal():
            raise ArgumentError(
                f"{VARIABLE} is {chosen!r}", hint="set it to a number; 0 compiles in one process", cause=ArgumentError.SETTING
            )
        return int(chosen)
    if getattr(sys, "frozen", False) or not sys.executable or "PYTEST_XDIST_WORKER" in os.environ:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST, cores - 1)


def compile_ahead(requests: Sequence[Request], compile_here: Callable[[Request], object]) -> int:
    """Compile all of ``requests``, some in other processes; how many of those there were.

    What another process fails at is left to the caller, who compiles what is not on disk. Raises what ``compile_here`` does.
    """
    count = min(processes(), len(requests) // 2) if len(requests) >= FEWEST else 0
    return _compile(requests, count, compile_here) if count else 0


def compile_elsewhere(requests: Sequence[Request]) -> int:
    """Compile all of ``requests`` in other processes, and wait for them; how many of those there were.

    For a thread beside which another one has work to do: Numba would keep it from Python's interpreter.
    """
    count = min(processes(), len(requests))
    return _compile(requests, count, None) if count else 0


def _compile(requests: Sequence[Request], count: int, compile_here: Callable[[Request], object] | None) -> int:
    waiting = deque(sorted(requests, key=lambda request: len(request.source)))
    workers = _pool.take(count)
    healthy: list[Worker] = []
    threads = [threading.Thread(target=_feed, args=(worker, waiting, healthy), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        while waiting and compile_here is not None:
            try:
                request = waiting.popleft()  # the others take the longest ones
            except IndexError:
                break
            compile_here(request)
        if compile_here is None:
            for thread in threads:
                thread.join()
    finally:
        waiting.clear()
        for thread in threads:
            thread.join()
        _pool.give_back(workers, healthy)
    return len(workers)


def _feed(worker: Worker, waiting: deque[Request], healthy: list[Worker]) -> None:
    while waiting:
        try:
            request = waiting.pop()
        except IndexError:
            break
        if not worker.compile(request) and not worker.is_alive():
            return
    healthy.append(worker)
