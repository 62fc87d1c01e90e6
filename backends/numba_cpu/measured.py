"""Which of two ways to do the same work is faster here: measured once, then remembered in the process and on disk.

A record is kept under a digest of what was compared, on what processor, with which libraries and how many threads, in the
cache of compiled kernels: whole or not there, private to the user, evicted with what is not used. What cannot be read is
measured again, and of two processes that measure at once one record stays; each goes on with what it found itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from graphc.backends.numba_cpu.fingerprint import digest, environment_digest
from graphc.runtime.disk_cache import CHOICE, Entry, disk_cache

VERSION: Final = "1"
ADVANTAGE: Final = 0.95
"""The rival must take at most this share of our time. Ours is preferred where they are about equal: results repeat."""

FEWEST, MOST = 4, 40  # runs of each
ENOUGH: Final = 2e-3  # seconds of measuring, after which the fewest runs will do
AT_MOST: Final = 0.1  # seconds, after which two runs will do

Run = Callable[[], object]


class Times(NamedTuple):
    """Seconds that each of both took at best."""

    ours: float
    rival: float

    @property
    def prefers_rival(self) -> bool:
        return self.rival < ADVANTAGE * self.ours


def compare(ours: Run, rival: Run, clock: Callable[[], float]) -> Times:
    """Time both, taking turns, so that whatever else the machine does slows both. What else there is only ever adds to a run:
    the least of several is what counts, and the rival must be better twice."""
    ours()
    rival()
    first = _round(ours, rival, clock)
    if not first.prefers_rival:
        return first
    second = _round(ours, rival, clock)
    return Times(min(first.ours, second.ours), min(first.rival, second.rival)) if second.prefers_rival else second


def _round(ours: Run, rival: Run, clock: Callable[[], float]) -> Times:
    best, started = [float("inf")] * 2, time.perf_counter()
    for done in range(1, MOST + 1):
        for place, run in enumerate((ours, rival)):
            begin = clock()
            run()
            best[place] = min(best[place], clock() - begin)
        passed = time.perf_counter() - started
        if (passed > ENOUGH and done >= FEWEST) or (passed > AT_MOST and done >= 2):
            break
    return Times(*best)


class _Process:
    """What this process knows, and the lock that it measures under: two measurements at once would disturb each other."""

    def __init__(self) -> None:
        self.known: dict[str, Times] = {}
        self.lock = threading.Lock()

    def renew_lock(self) -> None:
        self.lock = threading.Lock()


_process: Final = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew_lock)


def remembered(label: str, parts: tuple[str, ...], measure: Callable[[], Times]) -> Times:
    """The times of what ``parts`` describe: known, or read from the disk, or measured now and kept. ``label`` is for people."""
    key = CHOICE + digest((VERSION, environment_digest() or "", str(os.cpu_count()), *parts))
    times = _process.known.get(key)
    if times is not None:
        return times
    with _process.lock:
        times = _process.known.get(key) or _read(key)
        if times is None:
            times = measure()
            _keep(key, label, times)
        _process.known[key] = times
    return times


def _read(key: str) -> Times | None:
    cache = disk_cache()
    entry = cache.load(key) if cache is not None and environment_digest() is not None else None
    try:
        return None if entry is None else Times(float(entry.fields["ours"]), float(entry.fields["blas"]))
    except (KeyError, ValueError):
        return None


def _keep(key: str, label: str, times: Times) -> None:
    cache = disk_cache()
    if cache is not None and environment_digest() is not None:
        chosen = "blas" if times.prefers_rival else "ours"
        fields = {"name": label, "chosen": chosen, "ours": repr(times.ours), "blas": repr(times.rival)}
        cache.store(key, Entry(fields, b""))
