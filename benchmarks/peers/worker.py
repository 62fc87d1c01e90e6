"""The process of one library: ``python -m peers.worker MODULE THREADS`` takes commands as lines of JSON, answers likewise.

``prepare`` (inputs, first calls, results to compare into a file), ``time`` (a batch of timed calls), ``drop``.
"""

from __future__ import annotations

import gc as garbage
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

import numpy as np

from .workloads import WORKLOADS

_WORKLOADS = {workload.name: workload for workload in WORKLOADS}
_WARM_UP = 0.3  # seconds


def _value(result: Any) -> np.ndarray:
    return np.asarray(result() if callable(result) else result)


class Worker:
    """Answers commands; holds at most one prepared workload."""

    def __init__(self, module: str, threads: int) -> None:
        if hasattr(os, "sched_setaffinity") and threads == 1:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        self.library = importlib.import_module(f"peers.{module}")
        getattr(self.library, "threads", lambda count: None)(threads)
        self.calls = getattr(self.library, "CALLS", self.library)
        self.call: Any = None

    def version(self) -> Any:
        """The library's version."""
        return self.library.version()

    def has(self, workload: str) -> bool:
        """Whether the library has this workload."""
        return hasattr(self.calls, workload)

    def prepare(self, workload: str, path: str) -> Any:
        """Make the call, run it as often as results are compared, save those; seconds of the first call."""
        row = _WORKLOADS[workload]
        begin = time.perf_counter()
        self.call = getattr(self.calls, workload)(row.inputs())
        results = [_value(self.call())]
        first = time.perf_counter() - begin
        results += [_value(self.call()) for _ in range(row.steps - 1)]
        np.save(path, np.stack(results))
        until = time.perf_counter() + _WARM_UP
        while time.perf_counter() < until:
            self.call()
        return first

    def time(self, seconds: float, most: int) -> Any:
        """The seconds of single calls; of short ones, the mean of many, so that the clock is not what is measured."""
        begin = time.perf_counter()
        self.call()
        once = time.perf_counter() - begin
        loops = max(1, int(2e-4 / max(once, 1e-8)))
        taken: list[float] = []
        garbage.disable()
        try:
            until = time.perf_counter() + seconds
            while len(taken) < most and (time.perf_counter() < until or len(taken) < 3):
                begin = time.perf_counter()
                for _ in range(loops):
                    self.call()
                taken.append((time.perf_counter() - begin) / loops)
        finally:
            garbage.enable()
        return taken

    def drop(self) -> None:
        """Forget the workload and its memory."""
        self.call = None
        garbage.collect()


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not an answer
    worker: Worker | None = None
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            if worker is None:
                worker = Worker(sys.argv[1], int(sys.argv[2]))
            answer = {"value": getattr(worker, command)(*arguments)}
        except Exception as error:  # the driver reports it and goes on
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
