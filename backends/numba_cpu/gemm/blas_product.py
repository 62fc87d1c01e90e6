"""A product of float matrices by BLAS, called from the tape: the same buffers and the same epilogue as our own kernel."""

from __future__ import annotations

from typing import Final

from graphc.backends.numba_cpu.blas import Blas
from graphc.backends.numba_cpu.epilogue import Epilogue
from graphc.backends.numba_cpu.gemm.product import Product, ProductText, Strides, indented
from graphc.ir.dims import Dim
from graphc.loops.source import KernelSource

ROWS: Final = 64
"""Rows of the result that the epilogue runs on at a time, for there to be a range to divide."""

_PRODUCT: Final = """    for matrix in range(lo, hi):
{offsets}
        blas_{short}_i{bits}(
            function, turns_a, turns_b, m, n, k,
            offset_pointer(a, a0), a_step, offset_pointer(b, b0), b_step, offset_pointer(c, matrix * m * n), n,
        )"""

_EPILOGUE: Final = """    for part in range(lo, hi):
        matrix = part // parts
        i_lo = (part - matrix * parts) * {rows}
        {finished}"""


def can_be_blas(p: Product) -> bool:
    """Whether BLAS can read both operands: along rows or columns, neighbours are side by side."""
    return p.dtype.short in ("f32", "f64") and all(1 in (side.row, side.column) for side in (p.lhs, p.rhs))


def blas_product(p: Product, epilogue: Epilogue, blas: Blas) -> tuple[KernelSource, ...]:
    """The kernels of ``p``: BLAS, a matrix of the batch at a time, and if there is one the epilogue on all of the result."""
    short = p.dtype.short
    text = ProductText(p, epilogue, f"blas_product_{short}")
    text.sizes.append(("function", blas.addresses[short]))
    for name, side in (("a", p.lhs), ("b", p.rhs)):
        turns, step = _layout(side)
        text.sizes += [(f"turns_{name}", turns), (f"{name}_step", step)]
    body = _PRODUCT.format(short=short, bits=blas.bits, offsets=indented(text.offsets, 2))
    multiply = text.finish(body, p.matrices)
    if epilogue.address == 0:
        return (multiply,)
    text = ProductText(p, epilogue, "after_product")
    parts = (p.rows + (ROWS - 1)) // ROWS
    text.sizes.append(("parts", parts))
    finished = text.finished(("i_lo", f"min(i_lo + {ROWS}, m)"), ("np.int64(0)", "n"))
    return multiply, text.finish(_EPILOGUE.format(rows=ROWS, finished=finished), p.matrices * parts)


def _layout(side: Strides) -> tuple[int, Dim]:
    """Whether BLAS has to read the operand transposed, and how far apart the rows of what lies in memory are."""
    return (0, side.row) if side.column == 1 else (1, side.column)
