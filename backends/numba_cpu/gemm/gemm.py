"""A product of matrices, or of batches of them, as one kernel: blocks, panels and tiles around the register tile.

A task is one block of the result; it loops over the contracted axis in blocks, packs a block of A, and for each panel of
B (packed as well) multiplies it with every panel of A. What a block would be read for only once or twice, or is small
enough to stay in the first cache, is not packed but read in place. Every element of the result is the same sequence of
multiply-adds however large the blocks and whoever computes them, so results do not depend on how the range is split.

Where a tile is whole, it is stored to the result as vectors; else, and where an epilogue follows, it is stored to a
buffer of a tile's size first, which stays in the first cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.numba_cpu.gemm.blocking import Blocking, blocking, cache_sizes
from graphc.backends.numba_cpu.gemm.tiles import HOST
from graphc.backends.numba_cpu.structural.template import Element
from graphc.dtypes import DType, float32
from graphc.ir.dims import Dim, dim_min, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

PADDING: Final = 64
"""Elements after a packed block, for the ends of vectors that packing writes."""


@dataclass(frozen=True)
class Strides:
    """How far apart, in elements, neighbours of one operand are along each batch axis, its rows and its columns."""

    batch: tuple[Dim, ...]
    row: Dim
    column: Dim


@dataclass(frozen=True)
class Product:
    """``rows`` × ``depth`` times ``depth`` × ``columns``, for every index of the axes ``batch``; the result is contiguous.

    ``buffers`` are the positions of both operands and of the result.
    """

    dtype: DType
    batch: tuple[Dim, ...]
    rows: Dim
    columns: Dim
    depth: Dim
    lhs: Strides
    rhs: Strides
    buffers: tuple[int, int, int] = (0, 1, 2)

    @property
    def result_size(self) -> Dim:
        return product((*self.batch, self.rows, self.columns))


@dataclass(frozen=True)
class Epilogue:
    """What is stored in place of the sum: the expression ``value``, in float32 or float64.

    It may use ``total`` (the sum), ``row``, ``column``, ``matrix`` (the number of the matrix in the batch),
    ``position`` (row-major, in the result), what ``lines`` define, and ``buffers``: name, dtype and position of each.

    >>> Epilogue("max(total + bias[column], f32(0))", buffers=(("bias", float32, 2),))
    Epilogue(value='max(total + bias[column], f32(0))', lines=(), buffers=(('bias', float32, 2),))
    """

    value: str
    lines: tuple[str, ...] = ()
    buffers: tuple[tuple[str, DType, int], ...] = ()


def block_sizes(dtype: DType) -> Blocking:
    """The blocks that products of ``dtype`` are cut into on this machine."""
    return blocking(HOST, dtype.compute.short, cache_sizes())


def partial_sums(p: Product) -> tuple[TensorType, ...]:
    """The scratch that a product of 16-bit floats keeps its float32 sums in while the contracted axis has more blocks."""
    if p.dtype.compute is p.dtype:
        return ()
    depth = block_sizes(p.dtype).depth
    has_more = dim_min(1, p.depth // (depth + 1))
    return (TensorType(float32, (has_more * p.result_size,)),)


_LOOP = '''def {name}(buffers, sizes, lo, hi, status):
{unpacking}
    packed_a = stack_{held}({a_room})
    packed_b = stack_{held}({b_room})
    tile = stack_{held}({tile_room})
{room}
    step_rows = ((m + {mr_less}) // {mr} + m_blocks - 1) // m_blocks * {mr}
    task = lo
    while task < hi:
        block = task // n_blocks
        j_block = task - block * n_blocks
        tasks = min(n_blocks - j_block, hi - task)
        task += tasks
        matrix = block // m_blocks
        i_lo = (block - matrix * m_blocks) * step_rows
        i_hi = min(i_lo + step_rows, m)
        j_lo = j_block * {nc}
        j_hi = min(j_lo + tasks * {nc}, n)
        a0 = i_lo * a_row
        b0 = np.int64(0)
{offsets}
        c0 = matrix * m * n
        done = np.int64(0)
        while True:
            depth = min(k - done, {kc})
            is_last = done + depth >= k
{choices}
            if packs_a:
                i = i_lo
                while i < i_hi:
                    height = {height}
                    {pack}(
                        offset_pointer(a, a0 + (i - i_lo) * a_row + done * a_k), a_row, a_k, height, height, depth,
                        offset_pointer(packed_a, (i - i_lo) * depth), room,
                    )
                    i += height
            for j in range(j_lo, j_hi, {nr}):
                count = min(j_hi - j, {nr})
                width = (count + {lanes_less}) // {lanes}
                full = width * {lanes}
                b_part = offset_pointer(b, b0 + j * b_column + done * b_k)
                b_panel, b_step = packed_b, full
                {read_b}
                    {pack}(b_part, b_column, b_k, count, full, depth, packed_b, room)
                i = i_lo
                while i < i_hi:
{multiply}
                    i += height
            done += depth
            if done >= k:
                break
'''

_HEIGHTS = "({mr} if i_hi - i >= {mr} else {rest})"


def _greedy(heights: Sequence[int]) -> str:
    """The text that chooses the greatest of ``heights`` that is at most ``i_hi - i``."""
    text = str(heights[-1])
    for height in reversed(heights[:-1]):
        text = f"{height} if i_hi - i >= {height} else {text}"
    return text


class _Emission:
    def __init__(self, p: Product, epilogue: Epilogue | None, name: str) -> None:
        self.p, self.epilogue, self.name = p, epilogue, name
        self.element = Element(p.dtype)
        self.held = p.dtype.compute.short
        self.is_half = self.element.is_half
        self.blocks = block_sizes(p.dtype)
        self.mr, self.nr = HOST.tile(self.held)
        self.lanes = HOST.lanes(self.held)
        self.sizes: list[tuple[str, Dim]] = []

    def kernel(self) -> KernelSource:
        p, blocks = self.p, self.blocks
        m_blocks = (p.rows + (blocks.rows - 1)) // blocks.rows
        n_blocks = (p.columns + (blocks.columns - 1)) // blocks.columns
        self.sizes += [("m", p.rows), ("n", p.columns), ("k", p.depth), ("m_blocks", m_blocks), ("n_blocks", n_blocks)]
        self.sizes += [("a_row", p.lhs.row), ("a_k", p.lhs.column), ("b_k", p.rhs.row), ("b_column", p.rhs.column)]
        offsets = self._offsets()
        buffers = [(name, p.dtype, position) for name, position in zip("abc", p.buffers, strict=True)]
        scratch = partial_sums(p)
        if scratch:
            buffers.append(("partial", float32, 1 + max(self._positions())))
        if self.epilogue:
            buffers += self.epilogue.buffers
        unpacking = [f"{name} = pointer_{dtype.short}(buffers[{position}])" for name, dtype, position in buffers]
        unpacking += [f"{name} = sizes[{number}]" for number, (name, _) in enumerate(self.sizes)]
        room = max(self.mr, self.nr) * blocks.depth
        source = _LOOP.format(
            name=self.name,
            unpacking=_indent(unpacking, 1),
            held=self.held,
            a_room=blocks.rows * blocks.depth + PADDING,
            b_room=self.nr * blocks.depth + PADDING,
            tile_room=self.mr * self.nr,
            room=f"    room = stack_f32({room})" if self.is_half else "    room = tile",
            mr=self.mr,
            mr_less=self.mr - 1,
            nr=self.nr,
            nc=blocks.columns,
            kc=blocks.depth,
            lanes=self.lanes,
            lanes_less=self.lanes - 1,
            offsets=_indent(offsets, 2),
            choices=_indent(self._choices(), 3),
            height=_greedy(HOST.heights),
            pack=f"pack_{p.dtype.short}",
            read_b=self._read_b(),
            multiply=_indent(self._multiply(), 5),
        )
        extent = product(p.batch) * m_blocks * n_blocks
        return KernelSource(self.name, source, tuple(size for _, size in self.sizes), extent, scratch)

    def _positions(self) -> list[int]:
        extra = [position for _, _, position in self.epilogue.buffers] if self.epilogue else []
        return [*self.p.buffers, *extra]

    def _offsets(self) -> list[str]:
        """Where the operands' matrices number ``matrix`` start: one division a batch axis, the last first."""
        lines: list[str] = []
        rest = "matrix"
        for number, size in reversed(list(enumerate(self.p.batch))):
            strides = (self.p.lhs.batch[number], self.p.rhs.batch[number])
            names = (f"size{number}", f"a_batch{number}", f"b_batch{number}")
            self.sizes += list(zip(names, (size, *strides), strict=True))
            index = rest
            if number:
                lines += [f"rest{number} = {rest} // {names[0]}", f"index{number} = {rest} - rest{number} * {names[0]}"]
                rest, index = f"rest{number}", f"index{number}"
            lines += [f"a0 += {index} * {names[1]}", f"b0 += {index} * {names[2]}"]
        return lines

    def _choices(self) -> list[str]:
        """Whether A is packed, and whether B is: not what is read once or twice, nor what stays in the first cache."""
        if self.is_half:
            return ["packs_a = True"]
        near = 16384 // self.p.dtype.itemsize
        return [
            f"packs_a = j_hi - j_lo > {2 * self.nr} and (i_hi - i_lo) * depth > {near} or a_k != 1 and a_row != 1",
            f"packs_b = b_column != 1 or i_hi - i_lo > {2 * self.mr} and depth * n > {near}",
        ]

    def _read_b(self) -> str:
        if self.is_half:
            return "if True:"
        return "\n                ".join(
            ["if not packs_b and count == full:", "    b_panel, b_step = b_part, b_k", "else:"]
        )

    def _multiply(self) -> list[str]:
        p, held = self.p, self.held
        whole_rows = _greedy(HOST.heights)
        operands = "depth, target, target_step, adds"
        lines = ["c_part = c0 + i * n + j"]
        stores_directly = not self.is_half
        if stores_directly and not self.epilogue:
            lines += ["is_whole = count == full"]
        elif stores_directly:
            lines += ["is_whole = count == full and not is_last"]
        if stores_directly:
            lines += [
                "target, target_step, adds = tile, np.int64(%d), np.int64(0)" % self.nr,
                "if is_whole:",
                "    target, target_step, adds = offset_pointer(c, c_part), n, done",
            ]
        else:
            lines += ["target, target_step, adds = tile, np.int64(%d), np.int64(0)" % self.nr]
        packed = f"multiply_{held}(height, width, offset_pointer(packed_a, (i - i_lo) * depth), height, b_panel, b_step, {operands})"
        if self.is_half:
            lines += [f"height = {whole_rows}", packed]
        else:
            place = "offset_pointer(a, a0 + (i - i_lo) * a_row + done * a_k)"
            lines += [
                "if packs_a:",
                f"    height = {whole_rows}",
                f"    {packed}",
                "elif a_row == 1:",
                f"    height = {whole_rows}",
                f"    multiply_{held}(height, width, {place}, a_k, b_panel, b_step, {operands})",
                "else:",
                f"    height = {_greedy(HOST.short_heights)}",
                f"    multiply_rows_{held}(height, width, {place}, a_row, b_panel, b_step, {operands})",
            ]
        return lines + self._store()

    def _store(self) -> list[str]:
        """From the tile's buffer to the result: sums of the blocks so far, or at last the value to be stored."""
        partial = "partial" if self.is_half else "c"
        loops = ["for r in range(height):", "    for s in range(count):"]
        position = "c_part + r * n + s"
        total = f"tile[r * {self.nr} + s]"

        def body(lines: Sequence[str]) -> list[str]:
            return [*loops, *(f"        {line}" for line in lines)]

        add = body([f"{partial}[{position}] = {total} + {partial}[{position}]"])
        put = body([f"{partial}[{position}] = {total}"])
        unfinished = ["if done:", *_inner(add), "else:", *_inner(put)]
        if not self.epilogue and not self.is_half:
            return ["if not is_whole:", *_inner(unfinished)]
        value = [f"position = {position}", "row = i + r", "column = j + s"]
        if self.epilogue:
            value += [*self.epilogue.lines]
        stored = self.element.store("c", "position", self.epilogue.value if self.epilogue else "total")
        first = body([f"total = {total}", *value, stored])
        after = body([f"total = {total} + {partial}[{position}]", *value, stored])
        finished = ["if done:", *_inner(after), "else:", *_inner(first)]
        return ["if is_last:", *_inner(finished), *(["elif not is_whole:"] if not self.is_half else ["else:"]), *_inner(unfinished)]


def _inner(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _indent(lines: Sequence[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


def emit_product(p: Product, epilogue: Epilogue | None = None, name: str | None = None) -> KernelSource:
    """The kernel of ``p``, whose dtype is a float; 16-bit floats are summed in float32 and rounded once.

    Its scratch, if any, follows the buffers of ``p`` and ``epilogue``.
    """
    return _Emission(p, epilogue, name or f"product_{p.dtype.short}").kernel()
