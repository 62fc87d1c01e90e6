"""What the kernels of a product are told of the map that runs on its result, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphc.ir.dims import Dim


@dataclass(frozen=True)
class Epilogue:
    """What runs on each finished part of the result: the ``address`` of a native function, and the ``sizes`` it reads.

    The function is ``f(buffers, sizes, matrix, i_lo, i_hi, j_lo, j_hi)``: rows ``[i_lo, i_hi)`` and columns ``[j_lo,
    j_hi)`` of the matrix number ``matrix`` of the batch. ``buffers`` are those of the product's kernels. It is an
    argument of those kernels, not text in them, so that all products share the few that there are, which take long to
    compile.
    """

    address: int = 0
    sizes: tuple[Dim, ...] = ()


NO_EPILOGUE: Final = Epilogue()


@dataclass(frozen=True)
class Prologues:
    """What computes the operands of a product while they are packed: the addresses of native functions, 0 where there is none,
    and the sizes they read.

    Each is ``f(buffers, sizes, target, i_lo, i_hi, j_lo, j_hi)``: it writes rows ``[i_lo, i_hi)`` and columns ``[j_lo, j_hi)``
    of the operand to the address ``target``, row by row.
    """

    addresses: tuple[int, int]
    sizes: tuple[tuple[Dim, ...], tuple[Dim, ...]]
