"""How large the blocks of a matrix product are: from the sizes of the caches, for the processor at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphc.backends.numba_cpu.gemm.geometry import ITEMSIZES, Geometry

#: Where Linux says what caches a core has. Elsewhere, and where a container hides it, the sizes below are assumed.
CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
ASSUMED: Final[Mapping[int, int]] = {1: 32 << 10, 2: 512 << 10}

#: A block of A is in the frame of the thread that computes with it, so it stays far below a thread's stack.
MOST_STACK: Final = 384 << 10
#: Bytes of one row of a block of A at most, and elements.
LONGEST: Final = 2048
DEEPEST: Final = 384


@dataclass(frozen=True)
class Blocking:
    """``rows`` × ``depth`` of A are packed at once, and a panel of ``depth`` × (a tile's columns) of B.

    A task computes ``rows`` × ``columns`` of the result, all of the contracted axis.
    """

    rows: int
    columns: int
    depth: int


def cache_sizes(folder: Path = CACHES) -> Mapping[int, int]:
    """The bytes of the data caches of one core, by level; `ASSUMED` for a level that is unknown."""
    sizes = dict(ASSUMED)
    for index in folder.glob("index*") if folder.is_dir() else ():
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return sizes


def blocking(geometry: Geometry, short: str, caches: Mapping[int, int]) -> Blocking:
    """Blocks for the dtype ``short``: a panel of B about fills the first cache, a block of A half of the second.

    >>> from graphc.backends.numba_cpu.gemm.geometry import AVX512
    >>> blocking(AVX512, "f32", {1: 32 << 10, 2: 1 << 20})
    Blocking(rows=252, columns=128, depth=384)
    """
    itemsize = ITEMSIZES[short]
    rows, columns = geometry.tile(short)
    depth = min(DEEPEST, LONGEST // itemsize, max(64, (3 * caches[1] // 2) // (columns * itemsize) // 64 * 64))
    block = min(caches[2] // 2, MOST_STACK + (16 << 10))
    tiles = max(1, block // (depth * itemsize * rows))
    return Blocking(rows=rows * tiles, columns=4 * columns, depth=depth)
