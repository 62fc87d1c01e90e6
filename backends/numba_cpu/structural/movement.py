"""pad and concatenate: kernels that move elements and compute nothing, written for the element's width only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import KernelText, carrier, flattened
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering


def lower_pad(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``pad``, in parallel over the rows of the result. For a matrix with interior padding of the first axis::

        def pad(buffers, sizes, lo, hi, status):
            x = pointer_u32(buffers[0])
            values = pointer_u32(buffers[1])
            result = pointer_u32(buffers[2])
            out0 = sizes[0]
            ...
            value = values[0]
            begin = min(max(low1, 0), out1)
            end = max(begin, min(low1 + in1, out1))
            for row in range(lo, hi):
                i0 = row
                inside = True
                i0 = i0 - low0
                inside = inside and i0 >= 0 and i0 // step0 < in0 and i0 % step0 == 0
                i0 = i0 // step0
                target = row * out1
                if inside:
                    source = (i0) * in1 - low1
                    for j in range(0, begin):
                        result[target + j] = value
                    for j in range(begin, end):
                        result[target + j] = x[source + j]
                    for j in range(end, out1):
                        result[target + j] = value
                else:
                    for j in range(out1):
                        result[target + j] = value

    Interior padding of the last axis fills the row first and then puts the elements in, a step apart.
    """
    x, result = operand_types[0], result_types[0]
    interior: tuple[int, ...] = attributes["interior"]
    text = KernelText("pad", f"Pad an array of rank {x.ndim} with elements of {carrier(x.dtype).bits} bits.")
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("values", 1, carrier(x.dtype))
    text.buffer("result", 2, carrier(x.dtype))
    if x.ndim == 0:
        text.line("result[0] = x[0]")
        return text.finish(1)
    axes = range(x.ndim)
    for axis in axes:
        text.size(f"out{axis}", result.shape[axis])
        text.size(f"in{axis}", x.shape[axis])
        text.size(f"low{axis}", attributes["low"][axis])
        if interior[axis]:
            text.size(f"step{axis}", interior[axis] + 1)
    last = x.ndim - 1
    text.line("value = values[0]")
    if interior[last]:
        text.line(f"begin = max(0, -(low{last} // step{last}))")
        text.line(f"end = min(in{last}, -((low{last} - out{last}) // step{last}))")
    else:
        text.line(f"begin = min(max(low{last}, 0), out{last})")
        text.line(f"end = max(begin, min(low{last} + in{last}, out{last}))")
    outer = axes[:-1]
    with text.block("for row in range(lo, hi):"):
        text.unravel("row", [f"out{a}" for a in outer], [f"i{a}" for a in outer])
        text.line("inside = True")
        for a in outer:
            text.line(f"i{a} = i{a} - low{a}")
            if interior[a]:
                text.line(f"inside = inside and i{a} >= 0 and i{a} // step{a} < in{a} and i{a} % step{a} == 0")
                text.line(f"i{a} = i{a} // step{a}")
            else:
                text.line(f"inside = inside and i{a} >= 0 and i{a} < in{a}")
        text.line(f"target = row * out{last}")
        with text.block("if inside:"):
            skipped = "0" if interior[last] else f"low{last}"
            line = flattened([f"i{a}" for a in outer], [f"in{a}" for a in outer])
            text.line(f"source = ({line}) * in{last} - {skipped}")
            if interior[last]:
                with text.block(f"for j in range(out{last}):"):
                    text.line("result[target + j] = value")
                with text.block("for j in range(begin, end):"):
                    text.line(f"result[target + low{last} + j * step{last}] = x[source + j]")
            else:
                with text.block("for j in range(0, begin):"):
                    text.line("result[target + j] = value")
                with text.block("for j in range(begin, end):"):
                    text.line("result[target + j] = x[source + j]")
                with text.block(f"for j in range(end, out{last}):"):
                    text.line("result[target + j] = value")
        with text.block("else:", f"for j in range(out{last}):"):
            text.line("result[target + j] = value")
    return text.finish(product(result.shape[:-1]))


def lower_concatenate(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``concatenate`` of any number of operands: the text depends on the element's width only.

    Seen from the axis, the result is rows of ``row`` elements and operand k fills the columns ``sizes[2 + k]`` up to
    ``sizes[3 + k]`` of each; the kernel copies one such segment after the other::

        def concatenate(buffers, sizes, lo, hi, status):
            count = sizes[0]
            row = sizes[1]
            result = pointer_u32(buffers[count])
            if row > 0:
                line = lo // row
                column = lo % row
                k = 0
                at = lo
                while at < hi:
                    while column >= sizes[3 + k]:
                        k += 1
                    x = pointer_u32(buffers[k])
                    begin = sizes[2 + k]
                    stop = min(sizes[3 + k], column + hi - at)
                    source = line * (sizes[3 + k] - begin) - begin
                    target = at - column
                    for j in range(column, stop):
                        result[target + j] = x[source + j]
                    at += stop - column
                    column = stop
                    if column == row:
                        line += 1
                        column = 0
                        k = 0
    """
    axis: int = attributes["axis"]
    (result,) = result_types
    pointer = f"pointer_{carrier(result.dtype).short}"
    block = product(result.shape[axis + 1 :])
    text = KernelText("concatenate", f"Concatenate arrays with elements of {carrier(result.dtype).bits} bits.")
    text.size("count", len(operand_types))
    text.size("row", result.shape[axis] * block)
    start: Dim = 0
    text.add_size(start)
    for operand in operand_types:
        start = start + operand.shape[axis] * block
        text.add_size(start)
    text.line(f"result = {pointer}(buffers[count])")
    with text.block("if row > 0:"):
        text.line("line = lo // row", "column = lo % row", "k = 0", "at = lo")
        with text.block("while at < hi:"):
            with text.block("while column >= sizes[3 + k]:"):
                text.line("k += 1")
            text.line(
                f"x = {pointer}(buffers[k])", "begin = sizes[2 + k]", "stop = min(sizes[3 + k], column + hi - at)"
            )
            text.line("source = line * (sizes[3 + k] - begin) - begin", "target = at - column")
            with text.block("for j in range(column, stop):"):
                text.line("result[target + j] = x[source + j]")
            text.line("at += stop - column", "column = stop")
            with text.block("if column == row:"):
                text.line("line += 1", "column = 0", "k = 0")
    return text.finish(result.size)


MOVEMENT: Final[dict[str, Lowering]] = {"pad": lower_pad, "concatenate": lower_concatenate}
