"""How large the register tile of a matrix product may be, by instruction set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

ITEMSIZES: Final[Mapping[str, int]] = {"f32": 4, "f64": 8}

STEPS: Final = (1, 2)
"""How far apart the rows of a tile that reads through a table may be: its code has the distance in its addresses."""


@dataclass(frozen=True)
class Geometry:
    """What a tile may use: vectors of ``vector_bytes``, ``registers`` of them, of which it takes ``rows * vectors``.

    The rest hold one row of B (``vectors``) and one element of A. ``has_fma``: multiply-add is one instruction.

    >>> AVX512.tile("f32"), AVX512.tile("f64"), AVX2.tile("f32")
    ((14, 32), (14, 16), (6, 16))
    """

    name: str
    vector_bytes: int
    registers: int
    rows: int
    vectors: int
    has_fma: bool = True

    def __post_init__(self) -> None:
        assert self.rows * self.vectors + self.vectors + 1 <= self.registers, f"{self} spills"

    def lanes(self, short: str) -> int:
        """How many elements of the dtype ``short`` a vector holds."""
        return self.vector_bytes // ITEMSIZES[short]

    def tile(self, short: str) -> tuple[int, int]:
        """Rows and columns of the whole tile."""
        return self.rows, self.vectors * self.lanes(short)

    @property
    def heights(self) -> tuple[int, ...]:
        """The heights that tiles are made in, falling: the whole one and the powers of two below. They add up to any."""
        return tuple(sorted({self.rows, *self.short_heights}, reverse=True))

    @property
    def short_heights(self) -> tuple[int, ...]:
        """The powers of two among the heights: those of tiles whose rows are apart, which need a pointer for each."""
        return tuple(1 << bit for bit in reversed(range(self.rows.bit_length())))


AVX512: Final = Geometry("avx512", vector_bytes=64, registers=32, rows=14, vectors=2)
AVX2: Final = Geometry("avx2", vector_bytes=32, registers=16, rows=6, vectors=2)
NEON: Final = Geometry("neon", vector_bytes=16, registers=32, rows=8, vectors=3)
GENERIC: Final = Geometry("generic", vector_bytes=16, registers=16, rows=4, vectors=2, has_fma=False)


def geometry_for(machine: str, has_feature: Callable[[str], bool]) -> Geometry:
    """The geometry for a processor family (``platform.machine()``) with the LLVM features that ``has_feature`` knows."""
    if machine.lower() in ("aarch64", "arm64"):
        return NEON
    if has_feature("avx512f"):
        return AVX512
    if has_feature("avx2") and has_feature("fma"):
        return AVX2
    return GENERIC
