"""Copies between arrays that lie in memory in any way: one kernel for each width of elements and number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from graphc.ir.dims import symbol
from graphc.runtime.layout import Layout

from .geometry import Geometry
from .kernels import DeviceKernel
from .occupancy import Architecture
from .source import DeviceText


@cache
def copy_kernel(itemsize: int, ndim: int, geometry: Geometry, architecture: Architecture | None) -> DeviceKernel:
    """The kernel; its numbers are those of :func:`copy_numbers`. For two axes::

        def copy_strided(x, result, from0, to0, n0, from1, to1, n1, extent):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                i1 = p % n1
                i0 = p // n1
                result[to + i0 * to0 + i1 * to1] = x[begin + i0 * from0 + i1 * from1]
    """
    text = DeviceText("copy_strided", geometry)
    carrier = f"u{8 * itemsize}"
    text.buffer("x", 0, carrier)
    text.buffer("result", 1, carrier)
    text.size("first", symbol("first"))
    text.size("target", symbol("target"))
    for axis in range(ndim):
        for name in (f"n{axis}", f"from{axis}", f"to{axis}"):
            text.size(name, symbol(name))
    axes = range(ndim)
    with text.points("p"):
        text.unravel("p", [f"n{a}" for a in axes], [f"i{a}" for a in axes])
        source = " + ".join(["first", *[f"i{a} * from{a}" for a in axes]])
        target = " + ".join(["target", *[f"i{a} * to{a}" for a in axes]])
        text.line(f"result[{target}] = x[{source}]")
    return DeviceKernel(text.finish(symbol("extent")), architecture)


def copy_numbers(source: Layout, target: Layout) -> tuple[int, tuple[int, ...]]:
    """How many axes a copy has once those are merged that follow each other in both layouts, and the kernel's numbers: both
    offsets, for each axis its size and strides, and the number of elements."""
    axes: list[tuple[int, int, int]] = []
    for size, near, far in zip(source.shape, source.strides, target.strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == near * size and axes[-1][2] == far * size:
            axes[-1] = (axes[-1][0] * size, near, far)
        else:
            axes.append((size, near, far))
    axes = axes or [(1, 1, 1)]
    numbers: Sequence[int] = [number for axis in axes for number in axis]
    return len(axes), (source.offset, target.offset, *numbers, source.size)
