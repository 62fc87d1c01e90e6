"""pad and concatenate: kernels that move elements, one thread for each, written for the element's width only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import carrier, flattened
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType


def lower_pad(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``pad``, one thread for each element of the result. For a vector with interior padding::

        def pad(x, values, result, out0, in0, low0, step0, extent):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                i0 = p
                inside = True
                i0 = i0 - low0
                inside = inside and i0 >= 0 and i0 // step0 < in0 and i0 % step0 == 0
                i0 = i0 // step0
                if inside:
                    result[p] = x[i0]
                else:
                    result[p] = values[0]
    """
    x, (result,) = operands[0], results
    text = DeviceText("pad", geometry)
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("values", 1, carrier(x.dtype))
    text.buffer("result", 2, carrier(x.dtype))
    axes = range(x.ndim)
    for axis in axes:
        text.size(f"out{axis}", result.shape[axis])
        text.size(f"in{axis}", x.shape[axis])
        text.size(f"low{axis}", attributes["low"][axis])
        if attributes["interior"][axis]:
            text.size(f"step{axis}", attributes["interior"][axis] + 1)
    with text.points("p"):
        text.unravel("p", [f"out{a}" for a in axes], [f"i{a}" for a in axes])
        text.line("inside = True")
        for a in axes:
            text.line(f"i{a} = i{a} - low{a}")
            if attributes["interior"][a]:
                text.line(f"inside = inside and i{a} >= 0 and i{a} // step{a} < in{a} and i{a} % step{a} == 0")
                text.line(f"i{a} = i{a} // step{a}")
            else:
                text.line(f"inside = inside and i{a} >= 0 and i{a} < in{a}")
        with text.block("if inside:"):
            text.line(f"result[p] = x[{flattened([f'i{a}' for a in axes], [f'in{a}' for a in axes])}]")
        with text.block("else:"):
            text.line("result[p] = values[0]")
    return (text.finish(result.size),)


def lower_concatenate(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``concatenate``: a launch for each operand, which copies its elements to where they belong::

        def concatenate(x, result, part, row, begin, extent):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                result[p // part * row + begin + p % part] = x[p]

    Seen from the axis, operand k fills ``part`` neighbours of each ``row`` of the result, from ``begin`` on.
    """
    axis: int = attributes["axis"]
    (result,) = results
    block = product(result.shape[axis + 1 :])
    begin: Dim = 0
    sources: list[DeviceSource] = []
    for number, x in enumerate(operands):
        text = DeviceText("concatenate", geometry)
        text.buffer("x", number, carrier(x.dtype))
        text.buffer("result", len(operands), carrier(x.dtype))
        text.size("part", x.shape[axis] * block)
        text.size("row", result.shape[axis] * block)
        text.size("begin", begin)
        with text.points("p"):
            text.line("result[p // part * row + begin + p % part] = x[p]")
        sources.append(text.finish(x.size))
        begin = begin + x.shape[axis] * block
    return tuple(sources)


MOVEMENT: Final[dict[str, DeviceLowering]] = {"pad": lower_pad, "concatenate": lower_concatenate}
