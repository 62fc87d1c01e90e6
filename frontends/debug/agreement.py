"""Where two arrays differ by more than rounding."""

from __future__ import annotations

import numpy as np

from graphc.dtypes import as_dtype


def differing(actual: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """A bool for each element of two arrays of one dtype and shape: whether it differs.

    Integers and bools, NaNs and infinities must be equal; other floats may differ by ``atol + rtol * |expected|``.

    >>> differing(np.array([1.0, 2.0]), np.array([1.0, np.inf]), 1e-6, 0.0)
    array([False,  True])
    """
    if not as_dtype(expected.dtype).is_inexact:
        different: np.ndarray = actual != expected
        return different
    mine, theirs = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(mine - theirs) <= atol + rtol * np.abs(theirs)
    wrong: np.ndarray = ~((near & ~np.isinf(theirs)) | (mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))
    return wrong
