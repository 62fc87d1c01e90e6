"""Products with a vector, and products that sum nothing: one pass over the larger operand, at the speed of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue
from graphc.backends.numba_cpu.gemm.product import Product, ProductText, Strides, indented
from graphc.backends.numba_cpu.structural.template import Element
from graphc.dtypes import float64
from graphc.ir.dims import Dim
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

CHUNK: Final = 1024
"""So many products are summed in the dtype, in any order; such sums are added up in float64."""

COLUMNS: Final = 2048
BLOCK: Final = 16384
PART: Final = 8192
"""About so many elements of an outer product are written before its epilogue reads them, from the cache."""

_SUM: Final = '''total64 = 0.0
for first in range({start}, {stop}, {chunk}):
    partial = {zero}
    for s in range(first, min(first + {chunk}, {stop})):
        partial = add_reassoc(partial, {x} * {y})
    total64 += np.float64(partial)'''


def _sum(element: Element, start: str, stop: str, x: str, y: str) -> list[str]:
    zero = element.literal(0)
    return _SUM.format(start=start, stop=stop, chunk=CHUNK, zero=zero, x=x, y=y).splitlines()


def transposed(p: Product) -> Product:
    """The same numbers as the product of the transposes: columns by one row, or one column by rows, are stored alike."""
    lhs, rhs = p.lhs, p.rhs
    return replace(
        p,
        rows=p.columns,
        columns=p.rows,
        lhs=Strides(rhs.batch, rhs.column, rhs.row),
        rhs=Strides(lhs.batch, lhs.column, lhs.row),
        buffers=(p.buffers[1], p.buffers[0], p.buffers[2]),
    )


def _finished(text: ProductText, is_transposed: bool, first: str, last: str) -> str:
    """The line that runs the epilogue on the elements from ``first`` to ``last`` of the vector number ``matrix``."""
    whole, one = (first, last), ("np.int64(0)", "np.int64(1)")
    return text.finished(one, whole) if is_transposed else text.finished(whole, one)


def matrix_vector(p: Product, epilogue: Epilogue = NO_EPILOGUE) -> tuple[KernelSource, ...]:
    """Kernels of ``p``, a product of floats whose ``columns``, or ``rows``, are 1 (it was a vector).

    A row of the matrix with neighbours in memory is one sum; where columns have neighbours, many rows are summed at a
    time, column by column. One sum alone is split into blocks.
    """
    is_transposed = p.columns != 1
    if is_transposed:
        p = transposed(p)
    name = f"matrix_vector_{p.dtype.short}"
    if p.rows == 1 and not p.batch:
        return _one_sum(p, epilogue, name)
    if is_transposed:
        name = f"vector_matrix_{p.dtype.short}"
    if p.lhs.row == 1 and p.rows != 1:
        return (_by_columns(p, epilogue, name, is_transposed),)
    return (_by_rows(p, epilogue, name, is_transposed),)


_ROWS: Final = '''    task = lo
    while task < hi:
        matrix = task // m
        i_lo = task - matrix * m
        i_hi = min(m, i_lo + hi - task)
{offsets}
        for i in range(i_lo, i_hi):
            x = offset_pointer(a, a0 + i * a_row)
            y = offset_pointer(b, b0)
            if a_k == 1 and b_k == 1:
{near}
            else:
{far}
            {store}
        if epilogue != 0:
            {finished}
        task += i_hi - i_lo'''


def _by_rows(p: Product, epilogue: Epilogue, name: str, is_transposed: bool) -> KernelSource:
    text = ProductText(p, epilogue, f"{name}_rows")
    element = text.element
    near = _sum(element, "0", "k", element.load("x", "s"), element.load("y", "s"))
    far = _sum(element, "0", "k", element.load("x", "s * a_k"), element.load("y", "s * b_k"))
    total = f"np.{element.held.name}(total64)"
    body = _ROWS.format(
        offsets=indented(text.offsets, 2),
        near=indented(near, 4),
        far=indented(far, 4),
        store=text.store(total, "matrix * m + i"),
        finished=_finished(text, is_transposed, "i_lo", "i_hi"),
    )
    return text.finish(body, p.matrices * p.rows)


_COLUMNS: Final = '''    sums = stack_{held}({columns})
    for task in range(lo, hi):
        matrix = task // m_blocks
        first = (task - matrix * m_blocks) * {columns}
        count = min(m - first, {columns})
{offsets}
        x = offset_pointer(a, a0 + first)
        y = offset_pointer(b, b0)
        for i in range(count):
            sums[i] = 0
        whole = k - k % 4
        for s in range(0, whole, 4):
            x0, x1 = offset_pointer(x, s * a_k), offset_pointer(x, (s + 1) * a_k)
            x2, x3 = offset_pointer(x, (s + 2) * a_k), offset_pointer(x, (s + 3) * a_k)
            y0, y1, y2, y3 = {y0}, {y1}, {y2}, {y3}
            for i in range(count):
                sums[i] = (({x0} * y0 + {x1} * y1) + ({x2} * y2 + {x3} * y3)) + sums[i]
        for s in range(whole, k):
            x0 = offset_pointer(x, s * a_k)
            y0 = {y0}
            for i in range(count):
                sums[i] = {x0} * y0 + sums[i]
        for i in range(count):
            {store}
        if epilogue != 0:
            {finished}'''


def _by_columns(p: Product, epilogue: Epilogue, name: str, is_transposed: bool) -> KernelSource:
    text = ProductText(p, epilogue, f"{name}_columns")
    element = text.element
    m_blocks = (p.rows + (COLUMNS - 1)) // COLUMNS
    text.sizes.append(("m_blocks", m_blocks))
    loads = {f"x{number}": element.load(f"x{number}", "i") for number in range(4)}
    loads |= {f"y{number}": element.load("y", f"(s + {number}) * b_k") for number in range(4)}
    body = _COLUMNS.format(
        held=element.held.short,
        columns=COLUMNS,
        offsets=indented(text.offsets, 2),
        store=text.store("sums[i]", "matrix * m + first + i"),
        finished=_finished(text, is_transposed, "first", "first + count"),
        **loads,
    )
    return text.finish(body, p.matrices * m_blocks)


_BLOCKS: Final = '''    for task in range(lo, hi):
        start, stop = task * {block}, min(k, (task + 1) * {block})
{total}
        blocks[task] = total64'''

_TOTAL: Final = '''    for task in range(lo, hi):
        matrix = np.int64(0)
        total64 = 0.0
        for s in range((k + {less}) // {block}):
            total64 += blocks[s]
        {store}
        if epilogue != 0:
            {finished}'''


def _one_sum(p: Product, epilogue: Epilogue, name: str) -> tuple[KernelSource, ...]:
    count: Dim = (p.depth + (BLOCK - 1)) // BLOCK
    scratch = (TensorType(float64, (count,)),)
    first = ProductText(p, NO_EPILOGUE, f"{name}_blocks")
    first.buffers.append(("blocks", float64, p.scratch))
    element = first.element
    step_a, step_b = ("s" if stride == 1 else f"s * {by}" for stride, by in ((p.lhs.column, "a_k"), (p.rhs.row, "b_k")))
    total = _sum(element, "start", "stop", element.load("a", step_a), element.load("b", step_b))
    blocks = first.finish(_BLOCKS.format(block=BLOCK, total=indented(total, 2)), count, scratch)
    last = ProductText(p, epilogue, f"{name}_total")
    last.buffers.append(("blocks", float64, p.scratch))
    store = last.store(f"np.{element.held.name}(total64)", "0")
    finished = _finished(last, False, "np.int64(0)", "np.int64(1)")
    body = _TOTAL.format(block=BLOCK, less=BLOCK - 1, store=store, finished=finished)
    return blocks, last.finish(body, 1, scratch)


_OUTER: Final = '''    most = max({part} // max(n, 1), 1)
    task = lo
    while task < hi:
        matrix = task // m
        i_lo = task - matrix * m
        i_hi = min(m, i_lo + min(most, hi - task))
{offsets}
        y = offset_pointer(b, b0)
        for i in range(i_lo, i_hi):
            x = {x}
            row = (matrix * m + i) * n
            if b_column == 1:
                for j in range(n):
                    {near}
            else:
                for j in range(n):
                    {far}
        if epilogue != 0:
            {finished}
        task += i_hi - i_lo'''


def outer_product(p: Product, epilogue: Epilogue = NO_EPILOGUE) -> KernelSource:
    """The kernel of ``p``, a product of any numbers whose ``depth`` is 1: nothing is summed."""
    text = ProductText(p, epilogue, f"outer_product_{p.dtype.short}")
    element = text.element

    def store(index: str) -> str:
        return text.store(element.cast(f"x * {element.load('y', index)}"), "row + j")

    body = _OUTER.format(
        part=PART,
        offsets=indented(text.offsets, 2),
        x=element.load("a", "a0 + i * a_row"),
        near=store("j"),
        far=store("j * b_column"),
        finished=text.finished(("i_lo", "i_hi"), ("np.int64(0)", "n")),
    )
    return text.finish(body, p.matrices * p.rows)
