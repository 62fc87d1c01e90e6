"""Convolution as an implicit product of matrices: weights times a matrix that packing reads out of the image.

In the product the rows are result channels, the columns are the elements of the result in one image after the other, and
what is summed over are the taps: channels and places in the window. The second matrix, which holds every element of the image
as many times as windows do, is never in memory: a panel of it is packed for a few columns at a time, from the padded copy of
the input (`structural/convolution.py`), and stays in the first cache while all the weights are multiplied with it. This serves
the gradients as well: with respect to the weights the images are the taps.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue
from graphc.backends.numba_cpu.gemm.blocked import PART
from graphc.backends.numba_cpu.gemm.convolution_in_place import FloatProduct, InPlaceProduct, objection_to_reading_in_place
from graphc.backends.numba_cpu.gemm.product import nested
from graphc.backends.numba_cpu.structural.convolution import (
    PADDED,
    SLACK,
    SUMS,
    ConvolutionGeometry,
    direct_convolution,
    padding_kernel,
    table_kernel,
)
from graphc.backends.numba_cpu.structural.template import KernelText
from graphc.dtypes import float32
from graphc.ir.dims import product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource

FEW_FEATURES: Final = 4
"""Groups of fewer result channels than this are not worth packing a panel for."""
PARTIAL: Final = SUMS + 1

_FIND_PIECES: Final = '''@noalias
def find_pieces(froms, tos, step, places, runs, p, outputs, count, longest):
    """Where the pieces of one row of a panel come from and go to, each at most `longest` neighbours; how many there are.

    The row has `count` columns, from the place `p` of an image on; the next image is `step` further.
    """
    pieces = j = base = 0
    while j < count:
        run = min(runs[p], count - j)
        for t in range(0, run, longest):
            froms[pieces] = base + places[p] + t
            tos[pieces] = j + t
            pieces += 1
        j += run
        p += run
        if p == outputs:
            p = 0
            base += step
    return pieces'''

_OVER_TILE: Final = '''
    for r in range(height):
        at, s, room = to + r * outputs + p, 0, outputs - p
        while s < count:
            part = min(room, count - s)
            {lines}
            s += part
            at += room + apart - outputs
            room = outputs'''


def _over_tile(head: str, *lines: str) -> str:
    """The function ``head`` that runs ``lines`` for each part of a row of a tile that lies in one image.

    The part has ``part`` elements from column ``s`` of row ``r`` on, which belong at ``at``.
    """
    return f"@noalias\ndef {head}:" + _OVER_TILE.format(lines="\n            ".join(lines))


_PACK_PIECES: Final = '''
        for k in range(depth):
            row, to = offset_pointer(source, table[k]), offset_pointer(target, k * full)
            for q in range(pieces):
                part, place = offset_pointer(row, froms[q]), offset_pointer(to, tos[q])
                for t in range({longest}):
                    place[t] = part[t]'''


def _pack_pieces(lengths: Sequence[int]) -> str:
    """The function that packs the rows of a panel, with a loop for pieces of each of ``lengths`` elements.

    Rows and pieces are in ascending order and copied whole: what is beyond the end of one is overwritten by the next.
    """
    text = "@noalias\ndef pack_pieces(target, source, table, froms, tos, pieces, full, depth, longest):"
    for length in lengths:
        text += f"\n    if longest == {length}:{_PACK_PIECES.format(longest=length)}"
    return text


class _ImplicitProduct(FloatProduct):
    """The way that packs panels of the image."""

    def __init__(self, geometry: ConvolutionGeometry) -> None:
        super().__init__(geometry)
        self.lengths = sorted({1, max(1, self.lanes // 2), self.lanes}, reverse=True)
        self.blocks = (geometry.taps + (self.depth - 1)) // self.depth
        self.panels = (geometry.result.shape[0] * geometry.outputs + (self.columns - 1)) // self.columns
        weights = product(geometry.w.shape) + geometry.groups * self.blocks * SLACK
        self.scratch: tuple[TensorType, ...] = (*geometry.scratch, TensorType(self.element.held, (weights,)))
        if self.element.is_half:
            self.scratch += (TensorType(float32, geometry.result.shape),)

    def _sizes(self, text: KernelText) -> None:
        """Sizes, and the ``rows`` of each group."""
        text.size("features", self.geometry.w.shape[0])
        text.size("groups", self.geometry.groups)
        text.size("blocks", self.blocks)
        text.line("rows = features // groups")

    def weights_kernel(self) -> KernelSource:
        """The weights as panels as high as tiles, in parallel over groups and blocks of taps. On float32::

            def conv_weights(buffers, sizes, lo, hi, status):
                ...
                for job in range(lo, hi):
                    g = job // blocks
                    first = job % blocks * 384
                    depth = min(taps - first, 384)
                    panel = offset_pointer(packed, (g * taps + first) * rows + job * 64)
                    i = 0
                    while i < rows:
                        height = tile_height(rows - i)
                        part = offset_pointer(weights, (g * rows + i) * taps + first)
                        pack_f32(part, taps, np.int64(1), height, height, depth, panel, room)
                        panel = offset_pointer(panel, height * depth)
                        i += height
        """
        text = KernelText("conv_weights", f"Pack weights of {self.weight.dtype}.")
        text.buffer("weights", 1, self.weight.dtype)
        text.buffer_at("packed", self.geometry.scratch_at + SUMS, self.element.held)
        text.size("taps", self.geometry.taps)
        self._sizes(text)
        text.line(f"room = stack_f32({self.rows * self.depth})" if self.weight.is_half else "room = packed")
        with text.block("for job in range(lo, hi):"):
            text.line("g = job // blocks", f"first = job % blocks * {self.depth}", f"depth = min(taps - first, {self.depth})")
            text.line(f"panel = offset_pointer(packed, (g * taps + first) * rows + job * {SLACK})")
            text.line("i = 0")
            with text.block("while i < rows:"):
                text.line("height = tile_height(rows - i)")
                text.line("part = offset_pointer(weights, (g * rows + i) * taps + first)")
                text.line(f"pack_{self.weight.dtype.short}(part, taps, np.int64(1), height, height, depth, panel, room)")
                text.line("panel = offset_pointer(panel, height * depth)", "i += height")
        return text.finish(self.geometry.groups * self.blocks, self.scratch)

    def product_kernel(self) -> KernelSource:
        """The product, in parallel over groups and panels of columns. On float32::

            def conv_product(buffers, sizes, lo, hi, status):
                ...
                for task in range(lo, hi):
                    g = task // panels
                    first = (task - g * panels) * 32
                    count = min(images * outputs - first, 32)
                    ...
                    while True:
                        depth = min(taps - done, 384)
                        ...
                        while i < rows:
                            height = tile_height(rows - i)
                            ...
                            multiply_f32(height, width, part, height, panel, full, depth, target, step, adds)
                            ...
                            i += height
                        done += depth
                        if done >= taps:
                            break
                    ...
                    if epilogue != 0 and (task + 1 == hi or end == images * outputs or (end - begun) * rows >= 524288):
                        while begun < end:
                            ...
                            call_epilogue(epilogue, buffers, epilogue_sizes, image, g * rows, (g + 1) * rows, p, p + run)
                            begun += run
        """
        text = KernelText("conv_product", f"Convolve {self.element.dtype} as a product of matrices.")
        text.helper(_FIND_PIECES)
        text.helper(_pack_pieces(self.lengths))
        tile = f"tile[r * {self.columns} + s + t]"
        parts = "for t in range(part):"
        add = ["if done:", f"    {parts}", f"        sums[at + t] = sums[at + t] + {tile}"]
        put = ["else:", f"    {parts}", f"        sums[at + t] = {tile}"]
        text.helper(_over_tile("add_tile(sums, tile, to, height, outputs, p, count, apart, done)", *add, *put))
        if self.element.is_half:
            store = self.element.store("result", "at + t", "sums[at + t]")
            head = f"{self.element.dtype.short}_tile(result, sums, to, height, outputs, p, count, apart)"
            text.helper(_over_tile(head, parts, f"    {store}"))
        text.buffer_at("result", self.geometry.result_at, self.element.dtype)
        text.buffer_at("padded", self.geometry.scratch_at + PADDED, self.element.held)
        text.buffer_at("packed", self.geometry.scratch_at + SUMS, self.element.held)
        if self.element.is_half:
            text.buffer_at("partial", self.geometry.scratch_at + PARTIAL, float32)
        self.geometry.tables(text)
        self._sizes(text)
        text.size("plane", self.geometry.plane)
        text.size("channels", self.geometry.w.shape[1])
        text.size("images", self.geometry.result.shape[0])
        text.size("panels", self.panels)
        text.epilogue(self.geometry.epilogue)
        text.line(f"panel = stack_{self.held}({self.columns * self.depth + self.lanes})")
        text.line(f"froms = stack_i64({self.columns})", f"tos = stack_i64({self.columns})")
        text.line(f"tile = stack_{self.held}({self.rows * self.columns})")
        text.line("group = channels * plane", "apart = features * outputs", "begun = np.int64(0)")
        with text.block("for task in range(lo, hi):"):
            text.line("g = task // panels", f"first = (task - g * panels) * {self.columns}")
            text.line(f"count = min(images * outputs - first, {self.columns})", "end = first + count")
            with text.block("if task == lo or first == 0:"):
                text.line("begun = first")
            text.line(f"width = (count + {self.lanes - 1}) // {self.lanes}", f"full = width * {self.lanes}")
            text.line("image = first // outputs", "p = first - image * outputs")
            text.line("source = offset_pointer(padded, (image * groups + g) * group)")
            text.line("is_whole = count == full and p + count <= outputs")
            text.line("longest = " + self._longest())
            text.line("pieces = find_pieces(froms, tos, groups * group, places, runs, p, outputs, count, longest)")
            text.line("done = np.int64(0)")
            with text.block("while True:"):
                text.line(f"depth = min(taps - done, {self.depth})", "rest = offset_pointer(table, done)")
                text.line("pack_pieces(panel, source, rest, froms, tos, pieces, full, depth, longest)")
                text.line(f"slack = (g * blocks + done // {self.depth}) * {SLACK}")
                text.line("part = offset_pointer(packed, (g * taps + done) * rows + slack)")
                text.line("i = 0")
                with text.block("while i < rows:"):
                    text.line("height = tile_height(rows - i)", "to = image * apart + (g * rows + i) * outputs")
                    text.line(*self._multiply())
                    text.line("part = offset_pointer(part, height * depth)", "i += height")
                text.line("done += depth")
                with text.block("if done >= taps:"):
                    text.line("break")
            self._finish_part(text)
        return text.finish(self.geometry.groups * self.panels, self.scratch)

    def _finish_part(self, text: KernelText) -> None:
        """Run the epilogue, image by image, on the columns from ``begun`` to ``end``, once they are many or the last."""
        part = PART // self.element.dtype.itemsize
        is_part = f"task + 1 == hi or end == images * outputs or (end - begun) * rows >= {part}"
        with text.block(f"if epilogue != 0 and ({is_part}):", "while begun < end:"):
            text.line("image = begun // outputs", "p = begun - image * outputs", "run = min(outputs - p, end - begun)")
            text.line("call_epilogue(epilogue, buffers, epilogue_sizes, image, g * rows, (g + 1) * rows, p, p + run)")
            text.line("begun += run")

    def _longest(self) -> str:
        """The text of how long pieces are, by the longest run: runs within a row of the result are all alike."""
        text = str(self.lengths[-1])
        for length, shorter in reversed(list(itertools.pairwise(self.lengths))):
            text = f"{length} if runs[0] > {shorter} else {text}"
        return text

    def _multiply(self) -> list[str]:
        """Multiply into the result where the tile is whole, else into ``tile``, which is then added to it."""
        lines = [f"target, step, adds = tile, np.int64({self.columns}), np.int64(0)"]
        if not self.element.is_half:
            lines += nested("if is_whole:", ["target, step, adds = offset_pointer(result, to + p), outputs, done"])
        lines.append(f"multiply_{self.held}(height, width, part, height, panel, full, depth, target, step, adds)")
        if self.element.is_half:
            sums = "add_tile(partial, tile, to, height, outputs, p, count, apart, done)"
            rounds = f"{self.element.dtype.short}_tile(result, partial, to, height, outputs, p, count, apart)"
            return [*lines, sums, *nested("if done + depth >= taps:", [rounds])]
        return lines + nested("if not is_whole:", ["add_tile(result, tile, to, height, outputs, p, count, apart, done)"])

    def kernels(self, why: str) -> tuple[KernelSource, ...]:
        tables, padding = table_kernel(self.geometry, self.scratch), padding_kernel(self.geometry, self.scratch)
        return tables, padding, self.weights_kernel(), replace(self.product_kernel(), why=why)


def lower_conv_general(
    attributes: Mapping[str, Any],
    operand_types: Sequence[TensorType],
    result_types: Sequence[TensorType],
    epilogue: Epilogue = NO_EPILOGUE,
    result: int = 2,
    scratch_at: int = 3,
) -> tuple[KernelSource, ...]:
    """``conv_general``: floats as a product of matrices, integers and groups of few features directly. The product reads the
    image in place or packs panels of it, as sizes say: see `objection_to_reading_in_place`.

    16-bit floats are padded as float32, added up in float32 and rounded once. Buffers lie as in ``lower_dot_general``; the
    matrices of the ``epilogue`` are the images, their rows the channels.
    """
    (x, w), (type_,) = operand_types, result_types
    geometry = ConvolutionGeometry(attributes, x, w, type_, epilogue, result, scratch_at)
    is_narrow = geometry.groups > 1 and _is_few(w.shape[0], geometry.groups)
    if not x.dtype.is_floating or is_narrow:
        return direct_convolution(geometry)
    objection = objection_to_reading_in_place(geometry)
    if objection is None:
        return InPlaceProduct(geometry).kernels()
    return _ImplicitProduct(geometry).kernels(f"conv_general packs panels of the image: {objection}")


def _is_few(features: Any, groups: int) -> bool:
    return isinstance(features, int) and features // groups < FEW_FEATURES
