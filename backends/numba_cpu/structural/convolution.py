"""What the kernels of a convolution share, and the direct one: sums over the taps of each window.

A padded copy of the input is made first. In it the element that tap k of the window meets for the result's element p lies
at ``table[k] + places[p]``, whatever the strides, dilations and number of axes. Neighbours in a row of the result are
neighbours in the copy if the stride is 1: ``runs[p]`` says how many elements from p on follow each other, so that inner
loops run over contiguous memory.

The direct kernel is for integers, and for groups of few features, as in depthwise convolutions. For the others a convolution
is a product of matrices: see ``gemm/convolution.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.epilogue import NO_EPILOGUE, Epilogue
from graphc.backends.numba_cpu.structural.template import Element, KernelText, linear
from graphc.dtypes import int64
from graphc.ir.dims import Dim, dim_max, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource
from graphc.ops.checking import dilated

TAPS: Final = 8
"""Taps that one pass over a row of sums adds up; the sums are then read and written once for all of them."""
SLACK: Final = 64
"""Elements after the padded copy that vectors may read."""
TABLE, PADDED, SUMS = 0, 1, 2
"""The scratch buffers, in order."""


class ConvolutionGeometry:
    """The sizes of one convolution, the scratch that its kernels share, and where the buffers lie.

    Operands are the first two buffers. ``result_at`` is the position of the result, ``scratch_at`` of the first scratch.
    """

    def __init__(
        self,
        attributes: Mapping[str, Any],
        x: TensorType,
        w: TensorType,
        result: TensorType,
        epilogue: Epilogue = NO_EPILOGUE,
        result_at: int = 2,
        scratch_at: int = 3,
    ) -> None:
        self.x, self.w, self.result = x, w, result
        self.epilogue, self.result_at, self.scratch_at = epilogue, result_at, scratch_at
        self.axes = range(x.ndim - 2)
        self.strides: tuple[int, ...] = attributes["strides"]
        self.gaps: tuple[int, ...] = attributes["rhs_dilation"]
        self.bases: tuple[int, ...] = attributes["lhs_dilation"]
        self.groups: int = attributes["groups"]
        self.lows = tuple(low for low, _ in attributes["padding"])
        extents = zip(x.shape[2:], self.bases, attributes["padding"], strict=True)
        self.padded: tuple[Dim, ...] = tuple(
            dim_max(dilated(size, base) + low + high, 0) for size, base, (low, high) in extents
        )
        self.kernel, self.out = w.shape[2:], result.shape[2:]
        self.taps = product(w.shape[1:])
        self.outputs = product(self.out)
        self.plane = product(self.padded)
        self.element = Element(x.dtype)
        self.scratch = (
            TensorType(int64, (self.taps + 2 * self.outputs,)),
            TensorType(self.element.held, (x.shape[0] * x.shape[1] * self.plane + SLACK,)),
        )

    def pitches(self, text: KernelText) -> None:
        """Set for each axis ``pitch``, the step from one element of a padded channel to the next."""
        for axis in self.axes:
            text.size(f"pitch{axis}", product(self.padded[axis + 1 :]))

    def tables(self, text: KernelText) -> None:
        """Set ``table``, ``places`` and ``runs``, and the sizes that lead to them."""
        text.buffer_at("table", self.scratch_at + TABLE, int64)
        text.size("taps", self.taps)
        text.size("outputs", self.outputs)
        text.line("places = offset_pointer(table, taps)", "runs = offset_pointer(places, outputs)")


def table_kernel(geometry: ConvolutionGeometry, scratch: Sequence[TensorType]) -> KernelSource:
    """The tables of places and runs. For one spatial axis::

        def conv_table(buffers, sizes, lo, hi, status):
            table = pointer_i64(buffers[sizes[0]])
            ...
            at = 0
            for c in range(channels):
                for k0 in range(kernel0):
                    table[at] = c * plane + k0 * gap0 * pitch0
                    at += 1
            at = 0
            for o0 in range(out0):
                places[at] = o0 * stride0 * pitch0
                at += 1
            for at in range(outputs - 1, -1, -1):
                goes_on = at + 1 < outputs and places[at + 1] == places[at] + 1
                runs[at] = runs[at + 1] + 1 if goes_on else 1
    """
    text = KernelText("conv_table", f"The places of taps and results, {len(geometry.axes)} spatial axes.")
    geometry.tables(text)
    geometry.pitches(text)
    text.size("plane", geometry.plane)
    text.size("channels", geometry.w.shape[1])
    sizes = {"kernel": geometry.kernel, "out": geometry.out, "gap": geometry.gaps, "stride": geometry.strides}
    for name, size in sizes.items():
        for axis in geometry.axes:
            text.size(f"{name}{axis}", size[axis])
    steps = [f"k{axis} * gap{axis} * pitch{axis}" for axis in geometry.axes]
    text.line("at = 0")
    with text.block("for c in range(channels):", *(f"for k{axis} in range(kernel{axis}):" for axis in geometry.axes)):
        text.line("table[at] = " + " + ".join(["c * plane", *steps]), "at += 1")
    steps = [f"o{axis} * stride{axis} * pitch{axis}" for axis in geometry.axes]
    text.line("at = 0")
    with text.block(*(f"for o{axis} in range(out{axis}):" for axis in geometry.axes)):
        text.line("places[at] = " + " + ".join(steps), "at += 1")
    with text.block("for at in range(outputs - 1, -1, -1):"):
        text.line("goes_on = at + 1 < outputs and places[at + 1] == places[at] + 1")
        text.line("runs[at] = runs[at + 1] + 1 if goes_on else 1")
    return text.finish(1, scratch)


def padding_kernel(geometry: ConvolutionGeometry, scratch: Sequence[TensorType]) -> KernelSource:
    """The padded copy of the input, in parallel over its channels. For one spatial axis::

        def conv_pad(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            padded = pointer_f32(buffers[sizes[0]])
            ...
            first = max(0, -(low0 // base0))
            stop = min(in0, -((low0 - padded0) // base0))
            for job in range(lo, hi):
                start = job * plane
                for t in range(start, start + plane):
                    padded[t] = np.float32(0)
                to = start + low0
                source = job * in0
                for t in range(first, stop):
                    padded[to + t * base0] = x[source + t]
    """
    element = geometry.element
    text = KernelText("conv_pad", f"Pad {element.dtype} for a convolution, {len(geometry.axes)} spatial axes.")
    text.buffer("x", 0, element.dtype)
    text.buffer_at("padded", geometry.scratch_at + PADDED, element.held)
    geometry.pitches(text)
    text.size("plane", geometry.plane)
    bases = [text.small_size(f"base{axis}", geometry.bases[axis]) for axis in geometry.axes]
    for axis in geometry.axes:
        text.size(f"in{axis}", geometry.x.shape[axis + 2])
        text.size(f"padded{axis}", geometry.padded[axis])
        text.size(f"low{axis}", geometry.lows[axis])
    last = len(bases) - 1
    text.line(f"first = max(0, -(low{last} // {bases[last]}))")
    text.line(f"stop = min(in{last}, -((low{last} - padded{last}) // {bases[last]}))")
    with text.block("for job in range(lo, hi):"):
        text.line("start = job * plane")
        with text.block("for t in range(start, start + plane):"):
            text.line(f"padded[t] = {element.literal(0)}")
        _padding_axis(text, element, bases, 0, ("start", "job"))
    return text.finish(product(geometry.x.shape[:2]), scratch)


def _padding_axis(text: KernelText, element: Element, bases: Sequence[str], axis: int, at: tuple[str, str]) -> None:
    place, row = at
    if axis < len(bases) - 1:
        with text.block(f"for i{axis} in range(in{axis}):"):
            text.line(f"p{axis} = {linear([(f'i{axis}', bases[axis])], f'low{axis}')}")
            with text.block(f"if p{axis} >= 0 and p{axis} < padded{axis}:"):
                text.line(f"place{axis} = {place} + p{axis} * pitch{axis}")
                text.line(f"row{axis} = {row} * in{axis} + i{axis}")
                _padding_axis(text, element, bases, axis + 1, (f"place{axis}", f"row{axis}"))
        return
    text.line(f"to = {place} + low{axis}", f"source = {row} * in{axis}")
    with text.block("for t in range(first, stop):"):
        text.line(f"padded[to + {linear([('t', bases[axis])])}] = {element.load('x', 'source + t')}")


def direct_kernel(geometry: ConvolutionGeometry) -> KernelSource:
    """The sums, in parallel over batch and result channels; the same text for any number of spatial axes. On int32::

        @noalias
        def accumulate(total, padded, weights, table, taps, count):
            for t in range(count):
                total[t] = np.int32(0)
            k = 0
            while k + 8 <= taps:
                w0 = weights[k + 0]
                p0 = offset_pointer(padded, table[k + 0])
                ...
                for t in range(count):
                    sum = total[t]
                    sum = np.int32(sum + w0 * p0[t])
                    ...
                    total[t] = sum
                k += 8
            while k < taps:
                ...


        def conv(buffers, sizes, lo, hi, status):
            ...
            for job in range(lo, hi):
                o = job % features
                image = job // features * groups + o // (features // groups)
                source = offset_pointer(padded, image * channels * plane)
                weights_of_o = offset_pointer(weights, o * taps)
                p = 0
                while p < outputs:
                    total = offset_pointer(totals, job * outputs + p)
                    accumulate(total, offset_pointer(source, places[p]), weights_of_o, table, taps, runs[p])
                    p += runs[p]
                for p in range(job * outputs, (job + 1) * outputs):
                    result[p] = totals[p]
                if epilogue != 0:
                    call_epilogue(
                        epilogue, buffers, epilogue_sizes, job // features, o, o + 1, np.int64(0), outputs
                    )
    """
    element, weight = geometry.element, Element(geometry.w.dtype)
    text = KernelText("conv", f"Convolve {element.dtype}.")
    text.helper(_accumulate(element, weight))
    text.buffer("weights", 1, weight.dtype)
    text.buffer_at("result", geometry.result_at, element.dtype)
    text.buffer_at("padded", geometry.scratch_at + PADDED, element.held)
    text.buffer_at("totals", geometry.scratch_at + SUMS, element.held)
    geometry.tables(text)
    text.size("plane", geometry.plane)
    text.size("channels", geometry.w.shape[1])
    text.size("features", geometry.w.shape[0])
    text.size("groups", geometry.groups)
    text.epilogue(geometry.epilogue)
    with text.block("for job in range(lo, hi):"):
        text.line("o = job % features", "image = job // features * groups + o // (features // groups)")
        text.line("source = offset_pointer(padded, image * channels * plane)")
        text.line("weights_of_o = offset_pointer(weights, o * taps)")
        text.line("p = 0")
        with text.block("while p < outputs:"):
            text.line("total = offset_pointer(totals, job * outputs + p)")
            text.line("accumulate(total, offset_pointer(source, places[p]), weights_of_o, table, taps, runs[p])")
            text.line("p += runs[p]")
        with text.block("for p in range(job * outputs, (job + 1) * outputs):"):
            text.line(element.store("result", "p", "totals[p]"))
        with text.block("if epilogue != 0:", "call_epilogue("):
            text.line("epilogue, buffers, epilogue_sizes, job // features, o, o + 1, np.int64(0), outputs")
        text.line("    )")
    return text.finish(product(geometry.result.shape[:2]), _direct_scratch(geometry))


def _direct_scratch(geometry: ConvolutionGeometry) -> tuple[TensorType, ...]:
    return (*geometry.scratch, TensorType(geometry.element.held, geometry.result.shape))


def _accumulate(element: Element, weight: Element) -> str:
    def taps(count: int) -> list[str]:
        lines = []
        for tap in range(count):
            lines.append(f"w{tap} = {weight.load('weights', f'k + {tap}')}")
            lines.append(f"p{tap} = offset_pointer(padded, table[k + {tap}])")
        lines += ["for t in range(count):", "    sum = total[t]"]
        lines += [f"    sum = {element.cast(f'sum + w{tap} * p{tap}[t]')}" for tap in range(count)]
        return [*lines, "    total[t] = sum", f"k += {count}"]

    lines = ["for t in range(count):", f"    total[t] = {element.literal(0)}", "k = 0"]
    lines += [f"while k + {TAPS} <= taps:", *(f"    {line}" for line in taps(TAPS))]
    lines += ["while k < taps:", *(f"    {line}" for line in taps(1))]
    header = "def accumulate(total, padded, weights, table, taps, count):"
    return "\n".join(["@noalias", header, *(f"    {line}" for line in lines)])


def direct_convolution(geometry: ConvolutionGeometry) -> tuple[KernelSource, ...]:
    """Three kernels: tables, padded copy, sums. 16-bit floats are added up in float32 and rounded once."""
    scratch = _direct_scratch(geometry)
    return table_kernel(geometry, scratch), padding_kernel(geometry, scratch), direct_kernel(geometry)
