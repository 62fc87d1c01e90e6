"""Convolution as an implicit product of matrices that reads the image where it lies, without packing panels of it.

Here the rows of the product are neighbours in a row of the result, at most as many as a tile has, and its columns are the
result's channels. In the image neighbours are a stride apart, one element or two, which is part of the addresses that a tile
reads. It finds the elements of one tap through the table of places, one after the other, and the weights of that tap as whole
vectors. Tiles are turned when all taps are summed, as a result has its channels apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphc.backends.numba_cpu.gemm.blocked import PART, block_sizes
from graphc.backends.numba_cpu.gemm.geometry import STEPS
from graphc.backends.numba_cpu.gemm.host import HOST
from graphc.backends.numba_cpu.structural.convolution import (
    PADDED,
    SUMS,
    ConvolutionGeometry,
    padding_kernel,
    table_kernel,
)
from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

TILES: Final = 16
"""Tiles that are computed one after the other for each block of taps: so often are weights read from the near cache."""

LEAST_RUN: Final = 3
"""Elements in a row of the result, for as many rows of a tile: fewer keep too few sums in flight."""

MOST_CHANNELS: Final = 256
"""Packing a panel once for more channels than this is not worth avoiding."""

LEAST_TAPS: Final = 3
"""Taps for each channel, for turning tiles to take less time than packing panels."""

_TURN_TILE: Final = '''@noalias
def turn_tile(turned, tile, height, full):
    """Put a tile of `height` neighbours, each with its `full` channels in a row, into rows of {step}, one for each channel.

    Vectors are whole: what is beyond a tile's end is overwritten by the next.
    """
    for c in range(0, full, {lanes}):
        for i in range(0, height, {lanes}):
            source, target = offset_pointer(tile, i * {columns} + c), offset_pointer(turned, c * {step} + i)
            transpose_{held}(source, {columns}, min(height - i, {lanes}), target, {step})'''

_PUT_ROWS: Final = '''@noalias
def put_rows(result, turned, channels, count, outputs):
    """Store the rows of channels, `count` elements each, where a channel of the result is `outputs` long."""
    for c in range(channels):
        row, to = offset_pointer(turned, c * {step}), offset_pointer(result, c * outputs)
        for t in range(count):
            {store}'''


def rows_of_neighbours(geometry: ConvolutionGeometry) -> tuple[Dim, Dim]:
    """How the elements of a channel of the result are divided into rows whose elements are a stride apart in the padded copy.

    The number of rows, and the length of each.
    """
    first = len(geometry.axes)
    for axis in reversed(geometry.axes):
        if geometry.strides[axis] != 1 and first < len(geometry.axes):
            break
        first = axis
        if geometry.strides[axis] != 1 or geometry.padded[axis] != geometry.out[axis]:
            break
    return product(geometry.out[:first]), product(geometry.out[first:])


def objection_to_reading_in_place(geometry: ConvolutionGeometry) -> str | None:
    """Why panels of the image had better be packed; None if they need not be.

    A tile is turned for each of its blocks of channels, a panel packed once for all channels; so taps have to be many
    beside channels. Sizes that are not known could be small: tiles of one row take several times as long as panels.
    """
    lanes = HOST.lanes(geometry.element.held.short)
    _, run = rows_of_neighbours(geometry)
    features, taps = geometry.w.shape[0], geometry.taps
    if geometry.strides and geometry.strides[-1] not in STEPS:
        return f"its last stride is {geometry.strides[-1]}, more than {STEPS[-1]}"
    if not isinstance(features, int) or not isinstance(run, int):
        return "sizes are not known"
    channels = features // geometry.groups
    if run < LEAST_RUN:
        return f"rows of the result have {run} elements, fewer than {LEAST_RUN}"
    if channels > MOST_CHANNELS:
        return f"there are {channels} channels, more than {MOST_CHANNELS}, to pack a panel for"
    if channels * 8 < -(-channels // lanes) * lanes * 7:
        return f"{channels} channels leave more than an eighth of vectors of {lanes} empty"
    if isinstance(taps, int) and taps < LEAST_TAPS * channels:
        return f"{taps} taps are fewer than {LEAST_TAPS} for each of {channels} channels"
    return None


class FloatProduct:
    """Emits the kernels of one convolution of floats: what all ways have in common, the register tile and a block's depth."""

    def __init__(self, geometry: ConvolutionGeometry) -> None:
        self.geometry = geometry
        self.element, self.weight = geometry.element, Element(geometry.w.dtype)
        self.held = self.element.held.short
        self.rows, self.columns = HOST.tile(self.held)
        self.lanes = HOST.lanes(self.held)
        self.depth = block_sizes(geometry.x.dtype).depth


class InPlaceProduct(FloatProduct):
    """The way that reads the image where it lies."""

    def __init__(self, geometry: ConvolutionGeometry) -> None:
        super().__init__(geometry)
        self.apart = geometry.strides[-1] if geometry.strides else 1
        self.features: Dim = geometry.w.shape[0] // geometry.groups
        self.blocks = (self.features + (self.columns - 1)) // self.columns
        lines, self.run = rows_of_neighbours(geometry)
        self.cuts = (self.run + (self.rows - 1)) // self.rows
        self.tiles = lines * self.cuts
        room = geometry.groups * self.blocks * self.columns * geometry.taps + self.lanes
        self.scratch: tuple[TensorType, ...] = (*geometry.scratch, TensorType(self.element.held, (room,)))

    def _sizes(self, text: KernelText) -> None:
        text.size("groups", self.geometry.groups)
        text.size("rows", self.features)
        text.size("blocks", self.blocks)

    def _block(self, text: KernelText) -> None:
        """Set ``f``, the first channel of block ``block``, how many ``channels`` it has, and how wide it is."""
        text.line(f"f = block * {self.columns}", f"channels = min(rows - f, {self.columns})")
        text.line(f"width = (channels + {self.lanes - 1}) // {self.lanes}", f"full = width * {self.lanes}")

    def weights_kernel(self) -> KernelSource:
        """The weights of each tap as vectors, in parallel over groups, blocks of channels and blocks of taps. On float32::

            def conv_vectors(buffers, sizes, lo, hi, status):
                ...
                for job in range(lo, hi):
                    part = job // depths
                    first = (job - part * depths) * 384
                    depth = min(taps - first, 384)
                    g = part // blocks
                    block = part - g * blocks
                    ...
                    source = offset_pointer(weights, (g * rows + f) * taps + first)
                    panel = offset_pointer(packed, part * taps * 32 + first * full)
                    pack_f32(source, taps, np.int64(1), channels, full, depth, panel, room)
        """
        depths = (self.geometry.taps + (self.depth - 1)) // self.depth
        text = KernelText("conv_vectors", f"Pack weights of {self.weight.dtype} as vectors of channels.")
        text.buffer("weights", 1, self.weight.dtype)
        text.buffer_at("packed", self.geometry.scratch_at + SUMS, self.element.held)
        text.size("taps", self.geometry.taps)
        text.size("depths", depths)
        self._sizes(text)
        text.line(f"room = stack_f32({self.columns * self.depth})" if self.weight.is_half else "room = packed")
        with text.block("for job in range(lo, hi):"):
            text.line("part = job // depths", f"first = (job - part * depths) * {self.depth}")
            text.line(f"depth = min(taps - first, {self.depth})", "g = part // blocks", "block = part - g * blocks")
            self._block(text)
            text.line("source = offset_pointer(weights, (g * rows + f) * taps + first)")
            text.line(f"panel = offset_pointer(packed, part * taps * {self.columns} + first * full)")
            text.line(f"pack_{self.weight.dtype.short}(source, taps, np.int64(1), channels, full, depth, panel, room)")
        return text.finish(self.geometry.groups * self.blocks * depths, self.scratch)

    def product_kernel(self) -> KernelSource:
        """The product, in parallel over images, groups, blocks of channels and tiles. On float32::

            def conv_in_place(buffers, sizes, lo, hi, status):
                ...
                while task < hi:
                    number = task // tiles
                    first = task - number * tiles
                    last = min(first + min(hi - task, 16), tiles)
                    ...
                    while True:
                        depth = min(taps - done, 384)
                        ...
                        while t < last:
                            height = short + 1 if piece < longer else short
                            at = offset_pointer(source, places[p])
                            multiply_places1_f32(height, width, at, rest, panel, full, depth, tile, np.int64(32), done)
                            if done + depth >= taps:
                                turn_tile(offset_pointer(turned, p - start), tile, height, full)
                            tile = offset_pointer(tile, 448)
                            p += height
                            piece = piece + 1 if piece + 1 < cuts else 0
                            t += 1
                        done += depth
                        if done >= taps:
                            break
                    ...
                    put_rows(rows_of_part, turned, channels, p - start, outputs)
                    ...
                    task += last - first
        """
        size = self.rows * self.columns
        text = KernelText("conv_in_place", f"Convolve {self.element.dtype} as a product that reads the image in place.")
        step = TILES * self.rows + self.lanes
        text.helper(_TURN_TILE.format(held=self.held, lanes=self.lanes, columns=self.columns, step=step))
        text.helper(_PUT_ROWS.format(step=step, store=self.element.store("to", "t", "row[t]")))
        text.buffer_at("result", self.geometry.result_at, self.element.dtype)
        text.buffer_at("padded", self.geometry.scratch_at + PADDED, self.element.held)
        text.buffer_at("packed", self.geometry.scratch_at + SUMS, self.element.held)
        self.geometry.tables(text)
        self._sizes(text)
        text.size("group", self.geometry.w.shape[1] * self.geometry.plane)
        text.size("run", self.run)
        text.size("cuts", self.cuts)
        text.size("tiles", self.tiles)
        text.epilogue(self.geometry.epilogue)
        text.line(f"sums = stack_{self.held}({TILES * size})", f"turned = stack_{self.held}({self.columns * step})")
        text.line("begun = np.int64(0)", "short = run // max(cuts, 1)", "longer = run - short * cuts", "task = lo")
        with text.block("while task < hi:"):
            text.line("number = task // tiles", "first = task - number * tiles")
            text.line(f"last = min(first + min(hi - task, {TILES}), tiles)")
            text.line("matrix = number // blocks", "block = number - matrix * blocks")
            text.line("image = matrix // groups", "g = matrix - image * groups")
            self._block(text)
            text.line("source = offset_pointer(padded, matrix * group)")
            text.line(f"vectors = offset_pointer(packed, (g * blocks + block) * taps * {self.columns})")
            text.line("row = first // cuts", "from_piece = first - row * cuts")
            text.line("start = row * run + from_piece * short + min(from_piece, longer)")
            text.line("p, done = start, np.int64(0)")
            with text.block("while True:"):
                text.line(f"depth = min(taps - done, {self.depth})", "rest = offset_pointer(table, done)")
                text.line("panel = offset_pointer(vectors, done * full)")
                text.line("t, piece, p, tile = first, from_piece, start, sums")
                with text.block("while t < last:"):
                    text.line("height = short + 1 if piece < longer else short", "at = offset_pointer(source, places[p])")
                    arguments = f"height, width, at, rest, panel, full, depth, tile, np.int64({self.columns}), done"
                    text.line(f"multiply_places{self.apart}_{self.held}({arguments})")
                    with text.block("if done + depth >= taps:"):
                        text.line("turn_tile(offset_pointer(turned, p - start), tile, height, full)")
                    text.line(f"tile = offset_pointer(tile, {size})", "p += height")
                    text.line("piece = piece + 1 if piece + 1 < cuts else 0", "t += 1")
                text.line("done += depth")
                with text.block("if done >= taps:"):
                    text.line("break")
            text.line("rows_of_part = offset_pointer(result, (matrix * rows + f) * outputs + start)")
            text.line("put_rows(rows_of_part, turned, channels, p - start, outputs)")
            self._finish_part(text)
            text.line("task += last - first")
        tasks = self.geometry.result.shape[0] * self.geometry.groups * self.blocks * self.tiles
        return text.finish(tasks, self.scratch)

    def _finish_part(self, text: KernelText) -> None:
        """Run the epilogue on the elements from ``begun`` on of these channels, once they are many or the last."""
        part = PART // self.element.dtype.itemsize
        with text.block("if task == lo or first == 0:"):
            text.line("begun = start")
        is_part = f"task + last - first == hi or last == tiles or (p - begun) * channels >= {part}"
        with text.block(f"if epilogue != 0 and ({is_part}):"):
            text.line("c = g * rows + f")
            text.line("call_epilogue(epilogue, buffers, epilogue_sizes, image, c, c + channels, begun, p)")
            text.line("begun = p")

    def kernels(self) -> tuple[KernelSource, ...]:
        tables, padding = table_kernel(self.geometry, self.scratch), padding_kernel(self.geometry, self.scratch)
        sizes = f"rows of {self.run} elements, {self.geometry.taps} taps for {self.features} channels"
        why = f"conv_general reads the image in place: {sizes}"
        return tables, padding, self.weights_kernel(), replace(self.product_kernel(), why=why)


