"""An array in half a line: type, range, and what is not finite."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.dtypes import as_dtype
from graphc.ir.types import TensorType

_SHOWN: Final = 6


def summarize_array(value: Any) -> str:
    """``f32[2, 3] in [-1.5, 4], 1 NaN``; an array of few elements with its values: ``i64[3] = [1, 2, 5]``.

    >>> summarize_array(np.arange(12.0).reshape(3, 4))
    'f64[3, 4] in [0, 11]'
    """
    array = np.asarray(value)
    dtype = as_dtype(array.dtype)
    head = str(TensorType(dtype, array.shape))
    if not array.size:
        return head
    if array.size <= _SHOWN:
        return f"{head} = {_compact(array)}"
    if not dtype.is_inexact:
        if array.dtype == np.bool_:
            return f"{head}, {int(array.sum())} true"
        return f"{head} in [{array.min()}, {array.max()}]"
    wide = array.astype(np.float64)
    nans, infinities = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    finite = wide[np.isfinite(wide)]
    text = f"{head} in [{finite.min():.6g}, {finite.max():.6g}]" if finite.size else head
    if nans:
        text += f", {nans} NaN"
    if infinities:
        text += f", {infinities} infinite"
    return text


def _compact(array: np.ndarray) -> str:
    if array.dtype.kind not in "biu":
        array = array.astype(np.float64)
    return np.array2string(array, separator=", ", precision=6, floatmode="maxprec", max_line_width=1000).replace("\n", "")
