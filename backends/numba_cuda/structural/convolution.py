"""conv_general as a product of matrices whose second factor is read straight from the image: no copy of its patches is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, flattened
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.backends.numba_cuda.structural.contraction import resident_for, tiles_of
from graphc.backends.numba_cuda.structural.fused import ALONE, Fused, Reader
from graphc.backends.numba_cuda.structural.pieces import pieces_of
from graphc.backends.numba_cuda.structural.tiles import tiled_product
from graphc.ir.dims import product
from graphc.ir.types import TensorType


class _Kernels:
    """The first factor: a row for each feature of a group, along the depth its channels and taps."""

    runs_along_depth = True

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def of_index(self, text: DeviceText, index: str, mark: str) -> None:
        text.line(f"own_{mark} = (batch * rows + {index}) * depth")

    def of_depth(self, text: DeviceText, index: str, mark: str) -> None:
        text.line(f"depth_{mark} = {index}")

    def read(self, text: DeviceText, into: str, mark: str, depth_mark: str) -> None:
        self.reader.read(text, into, f"own_{mark} + depth_{depth_mark}")


class _Patches:
    """The second factor: a column for each place of each image's result, along the depth what its window sees."""

    runs_along_depth = False

    def __init__(self, reader: Reader, sizes: Mapping[str, Sequence[str]], spatial: int) -> None:
        self.reader, self.sizes, self.axes = reader, sizes, range(spatial)

    def of_index(self, text: DeviceText, index: str, mark: str) -> None:
        text.line(f"image_{mark} = ({index}) // places", f"rest_{mark} = ({index}) % places")
        text.unravel(f"rest_{mark}", [f"out{a}" for a in self.axes], [f"o{a}_{mark}" for a in self.axes])
        for axis in self.axes:
            text.line(f"o{axis}_{mark} = o{axis}_{mark} * {self.sizes['stride'][axis]} - low{axis}")
        text.line(f"image_{mark} = (image_{mark} * groups + batch) * channels")

    def of_depth(self, text: DeviceText, index: str, mark: str) -> None:
        text.unravel(index, ["channels", *self.sizes["kernel"]], [f"c_{mark}", *(f"k{a}_{mark}" for a in self.axes)])

    def read(self, text: DeviceText, into: str, mark: str, depth_mark: str) -> None:
        inside: list[str] = []
        for a in self.axes:
            text.line(f"p{a} = o{a}_{mark} + k{a}_{depth_mark} * {self.sizes['gap'][a]}")
            base = self.sizes["base"][a]
            inside.append(f"p{a} >= 0")
            if base == "1":
                inside.append(f"p{a} < in{a}")
            else:
                inside += [f"p{a} % {base} == 0", f"p{a} // {base} < in{a}"]
        with text.block(f"if {' and '.join(inside)}:"):
            places = [f"p{a}" if self.sizes["base"][a] == "1" else f"(p{a} // {self.sizes['base'][a]})" for a in self.axes]
            first = f"(image_{mark} + c_{depth_mark})"
            at = flattened([first, *places], ["1", *(f"in{a}" for a in self.axes)])
            self.reader.read(text, into, at)


def lower_conv_general(
    attributes: Mapping[str, Any],
    operands: Sequence[TensorType],
    results: Sequence[TensorType],
    geometry: Geometry,
    fused: Fused = ALONE,
) -> tuple[DeviceSource, ...]:
    """``conv_general``: for each group, features × (channels and taps) times (channels and taps) × places of all images."""
    (x, w), (result,) = operands, results
    spatial = x.ndim - 2
    element = Element(result.dtype)
    groups: int = attributes["groups"]
    features = w.shape[0] // groups
    places = product(result.shape[2:])
    columns = x.shape[0] * places
    tile = geometry.narrow if isinstance(features, int) and features <= geometry.narrow.rows else geometry.wide_tile
    depth = product(w.shape[1:])
    tiles = groups * tiles_of(features, tile.rows) * tiles_of(columns, tile.columns)
    pieces = pieces_of(geometry, tile, element, tiles, depth, result.size, fused.buffers, fused.is_full or groups > 1)
    name = fused.name("conv_general")
    text = DeviceText(name, geometry, tile.threads, resident_for(element))
    image, kernels = fused.readers(text, ("x", "w"), element)
    # To the epilogue, images are matrices of features × places.
    coordinates = ("column // places", "batch * rows + row", "column % places")
    place = "((column // places * groups + batch) * rows + row) * places + column % places"
    ending = fused.ending(text, element, coordinates, place)
    text.size("rows", features)
    text.size("columns", columns)
    text.size("depth", depth)
    text.size("groups", groups)
    text.size("channels", w.shape[1])
    text.size("places", places)
    for axis in range(spatial):
        text.size(f"in{axis}", x.shape[2 + axis])
        text.size(f"out{axis}", result.shape[2 + axis])
        text.size(f"low{axis}", attributes["padding"][axis][0])
    given = {"kernel": w.shape[2:], "stride": attributes["strides"], "gap": attributes["rhs_dilation"]}
    given["base"] = attributes["lhs_dilation"]
    sizes = {name: [text.small_size(f"{name}{a}", values[a]) for a in range(spatial)] for name, values in given.items()}
    pieces.declare(text)
    tiled_product(text, tile, element, _Kernels(kernels), _Patches(image, sizes, spatial), ending, pieces)
    first = text.finish(pieces.count * tiles, 1, pieces.scratch)
    if pieces.is_one:
        return (first,)
    total = DeviceText(f"{name}_total", geometry)
    ending = fused.ending(total, element, coordinates, place)
    for size, dim in (("rows", features), ("columns", columns), ("groups", groups), ("places", places)):
        total.size(size, dim)
    return first, pieces.total_kernel(total, ending)


CONVOLUTION: Final[dict[str, DeviceLowering]] = {"conv_general": lower_conv_general}
