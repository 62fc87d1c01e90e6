"""What this machine can do: bandwidth of memory and operations a second, measured like everything else in the run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numba
import numpy as np

from .workloads import Workload


@dataclass(frozen=True)
class Limits:
    """Bytes a second that two threads read or write; floating-point operations (float32) a second."""

    bandwidth: float
    flops: float

    def milliseconds(self, workload: Workload) -> float:
        """The least that the workload can take; 0 where neither limit says anything."""
        return 1e3 * max(workload.bytes / self.bandwidth, workload.flops / self.flops)


@numba.njit(parallel=True, fastmath=True)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    for i in numba.prange(a.size):
        a[i] = b[i] + np.float32(3) * c[i]


@numba.njit(parallel=True, fastmath={"contract"})
def _multiply_add(out: np.ndarray, rounds: int) -> None:
    """Chains of dependent FMAs, many beside each other, so that only the units are the limit."""
    for piece in numba.prange(out.shape[0]):
        lanes = np.zeros(256, np.float32)
        for _ in range(rounds):
            for lane in range(256):
                x = lanes[lane]
                for _step in range(32):
                    x = x * np.float32(0.999) + np.float32(0.001)
                lanes[lane] = x
        out[piece] = lanes.sum()


def measure(threads: int, repeat: int = 7) -> Limits:
    """Run the two loops a few times, on ``threads`` threads; the best counts, since a limit is a limit."""
    numba.set_num_threads(threads)
    size = 16_000_000
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    out, rounds = np.zeros(threads, np.float32), 4000
    _triad(a, b, c)
    _multiply_add(out, 1)
    moved, computed = [], []
    for _ in range(repeat):
        begin = time.perf_counter()
        _triad(a, b, c)
        moved.append(12 * size / (time.perf_counter() - begin))
        begin = time.perf_counter()
        _multiply_add(out, rounds)
        computed.append(2.0 * threads * rounds * 256 * 32 / (time.perf_counter() - begin))
    return Limits(max(moved), max(computed))
