"""Products of float matrices as one kernel: blocks, panels and tiles around the register tile.

A task is one block of the result; it loops over the contracted axis in blocks, packs a block of A, and for each panel of
B (packed as well) multiplies it with every panel of A. What a block would be read for only once or twice, or is small
enough to stay in the first cache, is not packed but read in place. Every element of the result is the same sequence of
multiply-adds however large the blocks and whoever computes them, so results do not depend on how the range is split.

A whole tile is stored to the result as vectors. A cut one is stored to a buffer of a tile's size first, which stays in
the first cache. An epilogue runs over all that a task has computed, while that is in the caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue, Prologues
from graphc.backends.numba_cpu.gemm.blocking import Blocking, blocking, cache_sizes
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.gemm.product import Product, ProductText, indented, nested
from graphc.dtypes import DType, float32
from graphc.ir.dims import Dim, dim_max, dim_min
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

PADDING: Final = 64
"""Elements after a packed block, for the ends of vectors that packing writes."""

NEAR: Final = 16384
"""What is at most so many bytes stays in the first cache, and is not packed."""

SHARED_ROWS: Final = 64
SHARED_WORK: Final = 1 << 21
"""Blocks that a product is divided into for threads alone have so many rows, and so many multiply-adds: 40 µs."""

PART: Final = 2 << 20
"""An epilogue runs when so many bytes of the result are done, or all columns of a task. It is as fast as the processor can
foresee what it reads: whole rows follow each other in memory, and a residual added to 1024 × 256 × 1024 took 0.1 ms so, but
0.45 in parts of 384 columns that were still in the second cache."""


def block_sizes(dtype: DType) -> Blocking:
    """The blocks that products of ``dtype`` are cut into on this machine."""
    return blocking(HOST, dtype.compute.short, cache_sizes())


def row_blocks(p: Product, blocks: Blocking) -> Dim:
    """How many blocks of rows a product is divided into: as many as there are by size, more where one column of blocks is much
    to compute, so that several threads have some. A thread that gets neighbours computes them as one block."""
    by_size = (p.rows + (blocks.rows - 1)) // blocks.rows
    is_one_column = dim_min(1, blocks.columns // dim_max(p.columns, 1))
    by_work = dim_min((p.rows + (SHARED_ROWS - 1)) // SHARED_ROWS, p.rows * p.columns * p.depth // SHARED_WORK)
    return dim_max(by_size, is_one_column * by_work)


def partial_sums(p: Product) -> tuple[TensorType, ...]:
    """The scratch for the float32 sums of 16-bit floats, while the contracted axis has more blocks."""
    if p.dtype.compute is p.dtype:
        return ()
    has_more = dim_min(1, p.depth // (block_sizes(p.dtype).depth + 1))
    return (TensorType(float32, (has_more * p.result_size,)),)


def blocked_product(p: Product, epilogue: Epilogue = NO_EPILOGUE, prologues: Prologues | None = None) -> KernelSource:
    """The kernel of ``p``, whose dtype is a float; 16-bit floats are summed in float32 and rounded once. With ``prologues``,
    which are for float32 and matrices that are no batch, operands are computed while they are packed."""
    return _Emission(p, epilogue, prologues).kernel()


_BODY: Final = '''    packed_a = stack_{held}({a_room})
    packed_b = stack_{held}({b_room})
    tile = stack_{held}({tile_room})
    room = {room}
    step_rows = ((m + {mr_less}) // {mr} + m_blocks - 1) // m_blocks * {mr}
    task = lo
    block = lo // n_blocks
    j_block = lo - block * n_blocks
    matrix = block // m_blocks
    i_block = block - matrix * m_blocks
    while task < hi:
        tasks = min(n_blocks - j_block, hi - task)
        row_blocks = np.int64(1)
        if n_blocks == 1:
            row_blocks = min(hi - task, m_blocks - i_block, {rows} // step_rows)
        i_lo = i_block * step_rows
        i_hi = min(i_lo + row_blocks * step_rows, m)
        j_lo = j_block * {nc}
        j_hi = min(j_lo + tasks * {nc}, n)
{offsets}
        a0 += i_lo * a_row
        c0 = matrix * m * n
        done = np.int64(0)
        while True:
            depth = min(k - done, {kc})
            is_last = done + depth >= k
            packs_a = {packs_a}
            packs_b = {packs_b}
            i = i_lo if packs_a else i_hi
            while i < i_hi:
                height = tile_height(i_hi - i)
                a_part = offset_pointer(a, a0 + (i - i_lo) * a_row + done * a_k)
                panel = offset_pointer(packed_a, (i - i_lo) * depth)
{pack_a}
                i += height
            j_finished = j_lo
            for j_first in range(j_lo, j_hi, {nc}):
                j_last = min(j_first + {nc}, j_hi)
                j = j_first if packs_b else j_last - (j_last - j_first) % {nr}
{convert_b}                if packs_b and b_column == 1:
                    count = (j_last - j_first) // {nr} * {nr}
                    b_part = {b_columns}
                    pack_{short}(b_part, b_column, {b_step}, count, np.int64({nr}), depth, packed_b, room)
                    j += count
                while j < j_last:
                    count = min(j_last - j, {nr})
                    full = (count + {lanes_less}) // {lanes} * {lanes}
                    if packs_b or count != full:
                        b_part = {b_panel}
                        panel = offset_pointer(packed_b, (j - j_first) * depth)
                        pack_{short}(b_part, {b_across}, {b_step}, count, full, depth, panel, room)
                    j += {nr}
                for j in range(j_first, j_last, {nr}):
                    count = min(j_last - j, {nr})
                    width = (count + {lanes_less}) // {lanes}
                    full = width * {lanes}
                    b_panel, b_step = offset_pointer(packed_b, (j - j_first) * depth), full
                    if not packs_b and count == full:
                        b_panel, b_step = {b_panel}, {b_step}
                    i = i_lo
                    while i < i_hi:
{multiply}
                        i += height
                if is_last and epilogue != 0 and (j_last == j_hi or (i_hi - i_lo) * (j_last - j_finished) >= {part}):
                    {finished}
                    j_finished = j_last
            done += depth
            if done >= k:
                break
        task += tasks * row_blocks
        j_block = np.int64(0)
        i_block += row_blocks
        if i_block == m_blocks:
            i_block = np.int64(0)
            matrix += 1'''


_PACK_A: Final = "pack_{short}(a_part, a_row, a_k, height, height, depth, panel, room)"

_CONVERT_A: Final = '''if prologue_a == 0:
    pack_f32(a_part, a_row, a_k, height, height, depth, panel, room)
elif turns_a == 0:
    call_prologue(prologue_a, buffers, prologue_a_sizes, room, i, i + height, done, done + depth)
    pack_f32(room, depth, np.int64(1), height, height, depth, panel, room)
else:
    call_prologue(prologue_a, buffers, prologue_a_sizes, room, done, done + depth, i, i + height)
    pack_f32(room, np.int64(1), height, height, height, depth, panel, room)'''

_CONVERT_B: Final = '''b_from = offset_pointer(b, b0 + j_first * b_column + done * b_k)
b_across, b_along = b_column, b_k
if prologue_b != 0:
    b_from = room
    if turns_b == 0:
        call_prologue(prologue_b, buffers, prologue_b_sizes, room, done, done + depth, j_first, j_last)
        b_along = j_last - j_first
    else:
        call_prologue(prologue_b, buffers, prologue_b_sizes, room, j_first, j_last, done, done + depth)
        b_across = depth'''

_SOURCE_B: Final = {
    "b_columns": "offset_pointer(b, b0 + j + done * b_k)",
    "b_panel": "offset_pointer(b, b0 + j * b_column + done * b_k)",
    "b_across": "b_column",
    "b_step": "b_k",
}
_CONVERTED_B: Final = {
    "b_columns": "b_from",
    "b_panel": "offset_pointer(b_from, (j - j_first) * b_across)",
    "b_across": "b_across",
    "b_step": "b_along",
}


class _Emission:
    def __init__(self, p: Product, epilogue: Epilogue, prologues: Prologues | None) -> None:
        self.p = p
        self.converts = prologues is not None
        self.text = ProductText(p, epilogue, f"{'converted_' if self.converts else ''}product_{p.dtype.short}", prologues)
        self.is_half = self.text.element.is_half
        self.held = p.dtype.compute.short
        self.rows, self.columns = HOST.tile(self.held)

    def kernel(self) -> KernelSource:
        p, text, blocks = self.p, self.text, block_sizes(self.p.dtype)
        m_blocks = row_blocks(p, blocks)
        n_blocks = (p.columns + (blocks.columns - 1)) // blocks.columns
        text.sizes += [("m_blocks", m_blocks), ("n_blocks", n_blocks)]
        scratch = partial_sums(p)
        if scratch:
            text.buffers.append(("partial", float32, p.scratch))
        near = NEAR // p.dtype.itemsize
        few_columns = f"j_hi - j_lo <= {2 * self.columns} or (i_hi - i_lo) * depth <= {near}"
        few_rows = f"i_hi - i_lo <= {2 * self.rows} or depth * n <= {near}"
        room = f"stack_f32({max(self.rows, self.columns) * blocks.depth})" if self.is_half else "tile"
        packs_a = "True" if self.is_half else f"a_k != 1 and a_row != 1 or not ({few_columns})"
        packs_b = "True" if self.is_half else f"b_column != 1 or not ({few_rows})"
        convert_b: Sequence[str]
        pack_a, source_b, convert_b = _PACK_A.format(short=p.dtype.short), _SOURCE_B, []
        if self.converts:  # strides do not tell how an operand with one row lies in memory
            text.sizes += [("turns_a", int(p.lhs.column != 1)), ("turns_b", int(p.rhs.column != 1))]
            room = f"stack_f32({max(self.rows, blocks.columns) * blocks.depth + PADDING})"
            packs_a = f"prologue_a != 0 or {packs_a}"
            pack_a, source_b, convert_b = _CONVERT_A, _CONVERTED_B, _CONVERT_B.splitlines()
        body = _BODY.format(
            short=p.dtype.short,
            pack_a=indented(pack_a.splitlines(), 4),
            convert_b="".join(f"{line}\n" for line in indented(convert_b, 4).splitlines()),
            **source_b,
            held=self.held,
            a_room=blocks.rows * blocks.depth + PADDING,
            b_room=blocks.columns * blocks.depth + PADDING,
            tile_room=self.rows * self.columns,
            rows=blocks.rows,
            room=room,
            mr=self.rows,
            mr_less=self.rows - 1,
            nr=self.columns,
            nc=blocks.columns,
            kc=blocks.depth,
            lanes=HOST.lanes(self.held),
            lanes_less=HOST.lanes(self.held) - 1,
            offsets=indented(text.offsets, 2),
            packs_a=packs_a,
            packs_b=packs_b,
            multiply=indented(self._multiply() + self._store(), 6),
            part=PART // p.dtype.itemsize,
            finished=text.finished(("i_lo", "i_hi"), ("j_finished", "j_last")),
        )
        return text.finish(body, p.matrices * m_blocks * n_blocks, scratch)

    def _multiply(self) -> list[str]:
        """Multiply into the result where the tile is whole, else into ``tile``."""
        lines = ["c_part = c0 + i * n + j", f"target, target_step, adds = tile, np.int64({self.columns}), np.int64(0)"]
        if not self.is_half:
            lines.append("is_whole = count == full")
            lines += nested("if is_whole:", ["target, target_step, adds = offset_pointer(c, c_part), n, done"])
        tail = "b_panel, b_step, depth, target, target_step, adds)"
        packed = ["height = tile_height(i_hi - i)", "a_part, a_step = offset_pointer(packed_a, (i - i_lo) * depth), height"]
        multiply = f"multiply_{self.held}(height, width, a_part, a_step, {tail}"
        if self.is_half:
            return [*lines, *packed, multiply]
        in_place = "offset_pointer(a, a0 + (i - i_lo) * a_row + done * a_k)"
        adjacent = [*packed, *nested("if not packs_a:", [f"a_part, a_step = {in_place}, a_k"]), multiply]
        apart = [
            "height = short_tile_height(i_hi - i)",
            f"multiply_rows_{self.held}(height, width, {in_place}, a_row, {tail}",
        ]
        return lines + nested("if packs_a or a_row == 1:", adjacent) + nested("else:", apart)

    def _store(self) -> list[str]:
        """From ``tile`` to the result, or to the sums of the blocks so far."""
        partial = "partial" if self.is_half else "c"
        place, total = f"{partial}[c_part + r * n + s]", f"tile[r * {self.columns} + s]"

        def each(lines: Sequence[str]) -> list[str]:
            return nested("for r in range(height):", nested("for s in range(count):", lines))

        add, put = each([f"{place} = {total} + {place}"]), each([f"{place} = {total}"])
        unfinished = nested("if done:", add) + nested("else:", put)
        if not self.is_half:
            return nested("if not is_whole:", unfinished)
        at = "c_part + r * n + s"
        final = nested("if done:", each([self.text.store(f"{total} + {place}", at)]))
        final += nested("else:", each([self.text.store(total, at)]))
        return nested("if is_last:", final) + nested("else:", unfinished)
