"""The names that the text of matrix products may use, besides those of every kernel."""

from __future__ import annotations

from typing import Any, Final

from graphc.backends.numba_cpu.gemm.packing import PACK_FUNCTIONS
from graphc.backends.numba_cpu.gemm.tiles import TILE_FUNCTIONS

GEMM_FUNCTIONS: Final[dict[str, Any]] = {**TILE_FUNCTIONS, **PACK_FUNCTIONS}
