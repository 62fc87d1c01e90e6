"""What the text of a kernel may name: scalar functions, typed pointers, casts (``f32(x)``), ``inf`` and ``nan``."""

from __future__ import annotations

from typing import Final

from graphc.dtypes import ALL, float32, float64

from .adapter import noalias
from .arithmetic import ARITHMETIC
from .gemm.blas_call import BLAS_CALLS
from .gemm.functions import GEMM_FUNCTIONS
from .native_calls import CALL_EPILOGUE, CALL_PROLOGUE
from .pointers import POINTERS
from .scalar_namespace import namespace
from .window_rows import WINDOW_FUNCTIONS

NAMES: Final[dict[str, object]] = {
    **namespace(),
    **ARITHMETIC,
    **POINTERS,
    **GEMM_FUNCTIONS,
    **BLAS_CALLS,
    **WINDOW_FUNCTIONS,
    "noalias": noalias,
    "call_epilogue": CALL_EPILOGUE,
    "call_prologue": CALL_PROLOGUE,
    **{dtype.short: dtype.numpy.type for dtype in ALL if dtype.kind in ("int", "uint") or dtype in (float32, float64)},
    "inf": float("inf"),
    "nan": float("nan"),
}
