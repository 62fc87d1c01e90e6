"""select_and_scatter: the gradient of pooling by maxima.

Windows that lie side by side do not meet, so that each writes its own elements, and what is chosen never leaves a register.
Others take turns: first the positions of all winners, then sums, in the order of the windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.backends.numba_cpu.structural.window import Windows, position_kernel
from graphc.dtypes import float32, float64, int64
from graphc.ir.dims import Dim, dim_min, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering

POSITIONS, BESTS, TOTALS = 3, 4, 5
"""Scratch buffers, after two operands and a result."""


def lower_select_and_scatter(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> tuple[KernelSource, ...]:
    """``select_and_scatter``. For the maxima of 2×2 windows, strides 2::

        def zeros(buffers, sizes, lo, hi, status):
            ...
        def select_and_scatter(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            source = pointer_f32(buffers[1])
            result = pointer_f32(buffers[2])
            ...
            for row in range(lo, hi):
                o0 = row
                start = row * out1
                line = o0 * 2 * pitch0
                window_select_max_f32(2, 2, offset_pointer(x, line), 1 * pitch0, offset_pointer(source, start), offset_pointer(result, line), out1)
    """  # noqa: E501
    x, source = operand_types
    select = attributes["select"]
    text = KernelText("select_and_scatter", f"Put {x.dtype} where windows of rank {x.ndim} have their {select}imum.")
    for position, name in enumerate(("x", "source", "result")):
        text.buffer(name, position, x.dtype)
    windows = Windows(text, x, source, attributes)
    shape = windows.side_by_side
    apart = all(size <= stride for size, stride in zip(attributes["window"], attributes["strides"], strict=True))
    if shape is None or not apart or set(attributes["window_dilation"]) != {1} or x.dtype not in (float32, float64):
        return _in_turn(attributes, x, source)
    function = f"window_select_{select}_{x.dtype.short}({shape[1]}, {shape[2]}"
    places = "offset_pointer(x, {0}), {1}, offset_pointer(source, start), offset_pointer(result, {0}), {2})"
    windows.walk_side_by_side(lambda *row: f"{function}, {places.format(*row)}")
    kernel = text.finish(product(source.shape[:-1]))
    left_out = dim_min(1, x.size - source.size * (shape[1] * shape[2]))
    return (kernel,) if left_out == 0 else (_zeros(x, left_out * x.size), kernel)


def _zeros(x: TensorType, extent: Dim) -> KernelSource:
    """A kernel that sets the first ``extent`` elements of the result to 0: none, where windows leave nothing out."""
    text = KernelText("zeros", f"Fill {x.dtype} with 0.")
    text.buffer("result", 2, x.dtype)
    with text.block("for i in range(lo, hi):"):
        text.line(f"result[i] = {Element(x.dtype).literal(0)}")
    return text.finish(extent)


def _in_turn(attributes: Mapping[str, Any], x: TensorType, source: TensorType) -> tuple[KernelSource, ...]:
    """Two kernels: positions, and sums, in parallel over the leading axes along which windows have one element::

        def scatter_windows(buffers, sizes, lo, hi, status):
            source = pointer_f32(buffers[1])
            result = pointer_f32(buffers[2])
            positions = pointer_i64(buffers[3])
            total = result
            ...
            for plane in range(lo, hi):
                for i in range(plane * elements, (plane + 1) * elements):
                    total[i] = np.float32(0)
                for s in range(plane * windows, (plane + 1) * windows):
                    if positions[s] >= 0:
                        total[positions[s]] = total[positions[s]] + source[s]
    """
    element = Element(x.dtype)
    scratch: tuple[TensorType, ...] = (TensorType(int64, source.shape), TensorType(element.held, source.shape))
    if element.is_half:
        scratch += (TensorType(element.held, x.shape),)
    arguments = {name: value for name, value in attributes.items() if name != "select"}
    position = position_kernel(f"arg{attributes['select']}", arguments, x, source.with_dtype(int64), POSITIONS, scratch)
    text = KernelText("scatter_windows", f"Add up {x.dtype} at the positions that windows chose.")
    text.buffer("source", 1, x.dtype)
    text.buffer("result", 2, x.dtype)
    text.buffer("positions", POSITIONS, int64)
    if element.is_half:
        text.buffer("total", TOTALS, element.held)
    else:
        text.line("total = result")
    apart = len(list(takewhile(lambda axis: _is_apart(attributes, axis), range(x.ndim))))
    text.size("elements", product(x.shape[apart:]))
    text.size("windows", product(source.shape[apart:]))
    held = Element(element.held)
    with text.block("for plane in range(lo, hi):"):
        with text.block("for i in range(plane * elements, (plane + 1) * elements):"):
            text.line(f"total[i] = {element.literal(0)}")
        with text.block("for s in range(plane * windows, (plane + 1) * windows):", "if positions[s] >= 0:"):
            value = held.combine("sum", "total[positions[s]]", element.load("source", "s"))
            text.line(held.store("total", "positions[s]", value))
        if element.is_half:
            with text.block("for i in range(plane * elements, (plane + 1) * elements):"):
                text.line(element.store("result", "i", "total[i]"))
    return position, text.finish(product(x.shape[:apart]), scratch)


def _is_apart(attributes: Mapping[str, Any], axis: int) -> bool:
    """Whether windows have one element along ``axis``, and that of the same index."""
    ones = ("window", "strides", "base_dilation", "window_dilation")
    return all(attributes[name][axis] == 1 for name in ones) and attributes["padding"][axis] == (0, 0)


SELECT_AND_SCATTER: Final[dict[str, Lowering]] = {"select_and_scatter": lower_select_and_scatter}
