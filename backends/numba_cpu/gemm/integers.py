"""Products of integer matrices: plain loops in an order that vectorizes, over blocks that stay in the cache."""

from __future__ import annotations

from typing import Final

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue
from graphc.backends.numba_cpu.gemm.product import Product, ProductText, indented
from graphc.loops.source import KernelSource

COLUMNS: Final = 512
DEPTH: Final = 64

_BODY: Final = '''    task = lo
    while task < hi:
        matrix = task // m
        i_lo = task - matrix * m
        i_hi = min(m, i_lo + hi - task)
        task += i_hi - i_lo
{offsets}
        for j_lo in range(0, n, {columns}):
            j_hi = min(j_lo + {columns}, n)
            for i in range(i_lo, i_hi):
                c_row = offset_pointer(c, (matrix * m + i) * n)
                for j in range(j_lo, j_hi):
                    c_row[j] = 0
            for s_lo in range(0, k, {depth}):
                s_hi = min(s_lo + {depth}, k)
                for i in range(i_lo, i_hi):
                    c_row = offset_pointer(c, (matrix * m + i) * n)
                    a_row_i = offset_pointer(a, a0 + i * a_row)
                    if b_column == 1:
                        for s in range(s_lo, s_hi):
                            x = a_row_i[s * a_k]
                            b_row = offset_pointer(b, b0 + s * b_k)
                            for j in range(j_lo, j_hi):
                                c_row[j] = {add_row}
                    else:
                        for j in range(j_lo, j_hi):
                            y = offset_pointer(b, b0 + j * b_column)
                            total = c_row[j]
                            for s in range(s_lo, s_hi):
                                total = {add}
                            c_row[j] = total
            if epilogue != 0:
                {finished}'''


def integer_product(p: Product, epilogue: Epilogue = NO_EPILOGUE) -> KernelSource:
    """The kernel of ``p``, a product of integers, which wrap; any of its sizes may be 1."""
    text = ProductText(p, epilogue, f"product_{p.dtype.short}")
    cast = text.element.cast
    body = _BODY.format(
        columns=COLUMNS,
        depth=DEPTH,
        offsets=indented(text.offsets, 2),
        add_row=cast("c_row[j] + x * b_row[j]"),
        finished=text.finished(("i_lo", "i_hi"), ("j_lo", "j_hi")),
        add=cast("total + a_row_i[s * a_k] * y[s * b_k]"),
    )
    return text.finish(body, p.matrices * p.rows)
