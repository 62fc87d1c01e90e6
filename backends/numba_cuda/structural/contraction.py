"""dot_general: a tiled matrix product that reads any layout, for every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, row_major_strides
from graphc.backends.numba_cuda.geometry import Geometry, Tile
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.backends.numba_cuda.structural.fused import ALONE, Fused, Reader
from graphc.backends.numba_cuda.structural.pieces import pieces_of
from graphc.backends.numba_cuda.structural.tiles import tiled_product
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.ops.contraction import free_axes


class _Axes:
    """Some axes of an operand, walked by one flat index; neighbours that lie in memory as one are one."""

    def __init__(self, name: str, shape: Sequence[Dim], axes: Sequence[int]) -> None:
        strides = row_major_strides(shape)
        self.name = name
        self.sizes: list[Dim] = []
        self.strides: list[Dim] = []
        for axis in axes:
            if shape[axis] == 1:
                continue
            if self.sizes and self.strides[-1] == strides[axis] * shape[axis]:
                self.sizes[-1], self.strides[-1] = self.sizes[-1] * shape[axis], strides[axis]
            else:
                self.sizes.append(shape[axis])
                self.strides.append(strides[axis])

    @property
    def is_contiguous(self) -> bool:
        return bool(self.strides) and self.strides[-1] == 1

    def declare(self, text: DeviceText) -> None:
        for number, (size, stride) in enumerate(zip(self.sizes, self.strides, strict=True)):
            if number:
                text.size(f"{self.name}_size{number}", size)
            if stride != 1:
                text.size(f"{self.name}_stride{number}", stride)

    def offset(self, text: DeviceText, index: str, into: str) -> None:
        """Set ``into`` to how far the element at the flat ``index`` is from the first."""
        if not self.sizes:
            text.line(f"{into} = 0")
            return
        terms: list[str] = []
        rest = index if index.isidentifier() else f"({index})"
        for number in range(len(self.sizes) - 1, -1, -1):
            part = rest
            if number:
                size = f"{self.name}_size{number}"
                part, following = f"{rest} % {size}", f"{into}_{number}"
                text.line(f"{following} = {rest} // {size}")
                rest = following
            part = f"({part})" if "%" in part else part
            terms.append(part if self.strides[number] == 1 else f"{part} * {self.name}_stride{number}")
        text.line(f"{into} = {' + '.join(terms)}")


class _Operand:
    """A factor whose elements have a position each, in whatever order of axes."""

    def __init__(
        self, name: str, x: TensorType, batch: Sequence[int], own: Sequence[int], contract: Sequence[int], reader: Reader
    ) -> None:
        self.name, self.reader = name, reader
        self.batch, self.own, self.depth = (
            _Axes(f"{name}_{what}", x.shape, axes) for what, axes in (("batch", batch), ("own", own), ("depth", contract))
        )
        self.runs_along_depth = self.depth.is_contiguous and not self.own.is_contiguous

    def declare(self, text: DeviceText) -> None:
        for axes in (self.batch, self.own, self.depth):
            axes.declare(text)

    def of_index(self, text: DeviceText, index: str, mark: str) -> None:
        self.own.offset(text, index, f"own_{mark}")
        if self.batch.sizes:
            self.batch.offset(text, "batch", f"from_{mark}")
            text.line(f"own_{mark} = own_{mark} + from_{mark}")

    def of_depth(self, text: DeviceText, index: str, mark: str) -> None:
        self.depth.offset(text, index, f"depth_{mark}")

    def read(self, text: DeviceText, into: str, mark: str, depth_mark: str) -> None:
        self.reader.read(text, into, f"own_{mark} + depth_{depth_mark}")


def tile_for(geometry: Geometry, element: Element, rows: Dim, columns: Dim) -> Tile:
    """The tile for a product of that many rows and columns: a small one where either is known to be few."""
    if any(isinstance(size, int) and size <= geometry.narrow.columns for size in (rows, columns)):
        return geometry.narrow
    return geometry.tile_for(element.held.bits // 8)


def resident_for(element: Element) -> int:
    """How many blocks of a tiled product should be on a multiprocessor: while one waits for memory, another works."""
    return 2 if element.held.bits <= 32 else 1


def lower_dot_general(
    attributes: Mapping[str, Any],
    operands: Sequence[TensorType],
    results: Sequence[TensorType],
    geometry: Geometry,
    fused: Fused = ALONE,
) -> tuple[DeviceSource, ...]:
    """``dot_general``, one block for each tile of the result; see `tiles` for how. 16-bit floats are added up in float32.
    What is ``fused`` with it is done in registers."""
    (x, y), (result,) = operands, results
    (x_contract, y_contract), (x_batch, y_batch) = attributes["contract"], attributes["batch"]
    x_free, y_free = free_axes(x.ndim, x_contract, x_batch), free_axes(y.ndim, y_contract, y_batch)
    rows, columns = product(x.shape[a] for a in x_free), product(y.shape[a] for a in y_free)
    element = Element(result.dtype)
    tile = tile_for(geometry, element, rows, columns)
    depth, batches = product(x.shape[a] for a in x_contract), product(x.shape[a] for a in x_batch)
    tiles = batches * tiles_of(rows, tile.rows) * tiles_of(columns, tile.columns)
    elements, is_full = batches * rows * columns, fused.is_full or bool(x_batch)
    pieces = pieces_of(geometry, tile, element, tiles, depth, elements, fused.buffers, is_full)
    name, coordinates, place = fused.name("dot_general"), ("batch", "row", "column"), "(batch * rows + row) * columns + column"
    text = DeviceText(name, geometry, tile.threads, resident_for(element))
    readers = fused.readers(text, ("x", "y"), element)
    ending = fused.ending(text, element, coordinates, place)
    text.size("rows", rows)
    text.size("columns", columns)
    text.size("depth", depth)
    pieces.declare(text)
    left = _Operand("x", x, x_batch, x_free, x_contract, readers[0])
    right = _Operand("y", y, y_batch, y_free, y_contract, readers[1])
    left.declare(text)
    right.declare(text)
    tiled_product(text, tile, element, left, right, ending, pieces)
    first = text.finish(pieces.count * tiles, 1, pieces.scratch)
    if pieces.is_one:
        return (first,)
    total = DeviceText(f"{name}_total", geometry)
    ending = fused.ending(total, element, coordinates, place)
    total.size("rows", rows)
    total.size("columns", columns)
    return first, pieces.total_kernel(total, ending)


def tiles_of(size: Dim, extent: int) -> Dim:
    """How many tiles cover ``size``."""
    return (size + (extent - 1)) // extent


CONTRACTION: Final[dict[str, DeviceLowering]] = {"dot_general": lower_dot_general}
