"""Structural ops on the CPU: generators of kernel text, by the name of the primitive that they lower.

The two contractions are in `gemm`, which builds on this.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numba_cpu.structural.cumulative import CUMULATIVE
from graphc.backends.numba_cpu.structural.indexing import INDEXING
from graphc.backends.numba_cpu.structural.movement import MOVEMENT
from graphc.backends.numba_cpu.structural.random_bits import RANDOM_BITS
from graphc.backends.numba_cpu.structural.select_and_scatter import SELECT_AND_SCATTER
from graphc.backends.numba_cpu.structural.sorting import SORTING
from graphc.backends.numba_cpu.structural.window import WINDOW
from graphc.loops.source import Lowering

LOWERINGS: Final[dict[str, Lowering]] = {
    **MOVEMENT,
    **INDEXING,
    **SORTING,
    **CUMULATIVE,
    **WINDOW,
    **SELECT_AND_SCATTER,
    **RANDOM_BITS,
}
"""Primitive name → lowering. Every kernel of one lowering declares the same scratch buffers."""
