"""gather, dynamic_slice, dynamic_update_slice: reads and writes at run-time positions, range-checked, a thread an element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import carrier, flattened, linear, row_major_strides
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.dtypes import DType, int64
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType


class Indexed:
    """The text that gather and scatter share: index buffers, their checks, and places in the indexed array.

    A point is (which index, which element of the axes that are not indexed): ``p = s * block + inside``.
    """

    def __init__(self, text: DeviceText, x: TensorType, axes: Sequence[int], first_index: int) -> None:
        self.text, self.axes = text, axes
        self.strides = row_major_strides(x.shape)
        self.others = [axis for axis in range(x.ndim) if axis not in axes]
        self.block: Dim = product(x.shape[axis] for axis in self.others)
        for number in range(len(axes)):
            text.buffer(f"indices{number}", first_index + number, int64)
        for axis in range(x.ndim):
            text.size(f"size{axis}", x.shape[axis])
            if self.strides[axis] != 1:
                text.size(f"stride{axis}", self.strides[axis])
        text.size("block", self.block)

    def _stride(self, axis: int) -> str:
        return "1" if self.strides[axis] == 1 else f"stride{axis}"

    def checked_base(self, when_wrong: str) -> None:
        """Set ``base`` to the place that the indices at ``s`` select; report what is out of range, and ``when_wrong``."""
        text = self.text
        for number, axis in enumerate(self.axes):
            text.line(f"k{number} = indices{number}[s]")
            with text.block(f"if k{number} < 0 or k{number} >= size{axis}:"):
                text.report(f"k{number}", axis, f"size{axis}")
                text.line(when_wrong)
        text.line(f"base = {linear([(f'k{n}', self._stride(axis)) for n, axis in enumerate(self.axes)])}")

    def place(self) -> None:
        """Set ``place`` to where ``inside`` is in the indexed array."""
        self.text.unravel("inside", [f"size{a}" for a in self.others], [f"r{a}" for a in self.others])
        self.text.line(f"place = {linear([('base', '1'), *((f'r{a}', self._stride(a)) for a in self.others)])}")


def copy_kernel(
    dtype: DType, size: Dim, source: int, target: int, geometry: Geometry, scratch: Sequence[TensorType] = ()
) -> DeviceSource:
    """A kernel that copies all elements of one buffer to another; its text depends on their width only."""
    text = DeviceText("copy", geometry)
    text.buffer("x", source, carrier(dtype))
    text.buffer("result", target, carrier(dtype))
    with text.points("p"):
        text.line("result[p] = x[p]")
    return text.finish(size, scratch=scratch)


def lower_gather(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``gather``. For rows of a matrix (a lookup of embeddings)::

        def gather(x, result, indices0, size0, stride0, size1, block, extent, status, number):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                s = p // block
                inside = p % block
                k0 = indices0[s]
                if k0 < 0 or k0 >= size0:
                    if cuda.atomic.cas(status, 0, 0, number) == 0:
                        status[1] = k0
                        status[2] = 0
                        status[3] = size0
                    continue
                base = k0 * stride0
                r1 = inside
                place = base + r1
                result[p] = x[place]
    """
    x, *indices = operands
    text = DeviceText("gather", geometry)
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("result", len(operands), carrier(x.dtype))
    access = Indexed(text, x, attributes["axes"], 1)
    with text.points("p"):
        text.line("s = p // block", "inside = p % block")
        access.checked_base("continue")
        access.place()
        text.line("result[p] = x[place]")
    count: Dim = indices[0].size if indices else 1
    # Indices are checked even where there is nothing to gather.
    if access.block == 0:
        return (_only_checks(x, attributes["axes"], count, geometry),)
    return (text.finish(count * access.block),)


def _only_checks(x: TensorType, axes: Sequence[int], count: Dim, geometry: Geometry) -> DeviceSource:
    text = DeviceText("check_indices", geometry)
    access = Indexed(text, x, axes, 1)
    with text.points("s"):
        access.checked_base("continue")
    return text.finish(count)


def _slice(text: DeviceText, whole: Sequence[Dim], part: Sequence[Dim], first: int, copy: str) -> None:
    """Check that the slice lies within the array, and for each element of it ``copy`` between ``place`` and ``p``."""
    axes = range(len(whole))
    for axis in axes:
        text.buffer(f"at{axis}", first + axis, int64)
        text.size(f"whole{axis}", whole[axis])
        text.size(f"part{axis}", part[axis])
    for axis in axes:
        text.line(f"start{axis} = at{axis}[0]")
        with text.block(f"if start{axis} < 0 or start{axis} > whole{axis} - part{axis}:"):
            with text.block("if cuda.grid(1) == 0:"):
                text.report(f"start{axis}", axis, f"whole{axis}")
            text.line("return")
    with text.points("p"):
        text.unravel("p", [f"part{a}" for a in axes], [f"i{a}" for a in axes])
        text.line(f"place = {flattened([f'(start{a} + i{a})' for a in axes], [f'whole{a}' for a in axes])}", copy)


def lower_dynamic_slice(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``dynamic_slice``. For a vector::

        def dynamic_slice(x, result, at0, whole0, part0, extent, status, number):
            start0 = at0[0]
            if start0 < 0 or start0 > whole0 - part0:
                if cuda.grid(1) == 0:
                    ...
                return
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                i0 = p
                place = (start0 + i0)
                result[p] = x[place]
    """
    x, (result,) = operands[0], results
    text = DeviceText("dynamic_slice", geometry)
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("result", len(operands), carrier(x.dtype))
    _slice(text, x.shape, result.shape, 1, "result[p] = x[place]")
    return (text.finish(result.size),)


def lower_dynamic_update_slice(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``dynamic_update_slice``: a copy of the array, then the elements of the update, as in `lower_dynamic_slice`."""
    x, update = operands[:2]
    target = len(operands)
    text = DeviceText("dynamic_update_slice", geometry)
    text.buffer("update", 1, carrier(x.dtype))
    text.buffer("result", target, carrier(x.dtype))
    _slice(text, x.shape, update.shape, 2, "result[place] = update[p]")
    return copy_kernel(x.dtype, x.size, 0, target, geometry), text.finish(update.size)


INDEXING: Final[dict[str, DeviceLowering]] = {
    "gather": lower_gather,
    "dynamic_slice": lower_dynamic_slice,
    "dynamic_update_slice": lower_dynamic_update_slice,
}
