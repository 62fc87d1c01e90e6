"""The stencil as a hand-written Numba loop: what a person writes who wants no compiler between."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from .workloads import SWEEPS, Inputs


def version() -> str:
    """Numba's."""
    return numba.__version__


@numba.njit(parallel=True, fastmath=True)
def _sweeps(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    rows, columns = a.shape
    for _ in range(count):
        for r in numba.prange(1, rows - 1):
            for c in range(1, columns - 1):
                b[r, c] = 0.25 * (a[r - 1, c] + a[r + 1, c] + a[r, c - 1] + a[r, c + 1])
        a, b = b, a
    return a


def jacobi(i: Inputs) -> Callable[[], object]:
    return lambda: _sweeps(i["grid"].copy(), i["grid"].copy(), SWEEPS)
