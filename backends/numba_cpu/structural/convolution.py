"""conv_general: direct convolution over a padded copy of the input, in one of two loop orders chosen at run time.

The padded copy is split into phases, so that both loop orders read contiguous memory whatever the strides and
dilations: along each spatial axis, position p of the padded input lies in phase p % q at p // q.

*Wide* (q = stride): a result channel is summed up in a row as wide as the padded input's rows laid end to end. For
every tap of the window that is one long multiply-and-add of vectors, and the columns between the result's rows are
computed for nothing. It is good where the windows are small.

*Dot* (q = window dilation): every element of the result is a sum of products of rows. It is good where the windows are
large and the result is small, as in the gradient with respect to the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.dtypes import int64
from graphc.ir.dims import Dim, dim_floordiv, dim_max, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering
from graphc.ops.checking import dilated

TAPS: Final = 8
"""Taps that one pass over a row of sums adds up; the sums are then read and written once for all of them."""
CHUNK: Final = 2048
"""Sums that are worked on at a time, few enough to stay in the first-level cache."""
TAP_COST: Final = 36
"""What beginning a tap's pass over the sums costs in the wide order, measured in multiplications of a vector loop."""
ROW_COST: Final = 40
"""What beginning a sum of products of rows costs in the dot order, measured likewise."""


class _Geometry:
    """Sizes of one convolution that its three kernels share."""

    def __init__(self, attributes: Mapping[str, Any], x: TensorType, w: TensorType, result: TensorType) -> None:
        self.x, self.w, self.result = x, w, result
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
        self.rows = product(w.shape[1:-1])
        self.outputs = product(self.out)
        self.element = Element(x.dtype)
        held = self.element.held
        steps = map(max, self.strides, self.gaps)
        room = product(size + step - 1 for size, step in zip(self.padded, steps, strict=True))
        self.scratch = (
            TensorType(int64, (self.taps + self.outputs,)),
            TensorType(held, (*x.shape[:2], room)),
            TensorType(held, (*result.shape[:2], self.width)),
        )

    @property
    def width(self) -> Dim:
        """The sums of a channel in the wide order: the elements of the result and the columns between its rows."""
        pitch: Dim = 1
        total: Dim = 1
        for axis in reversed(self.axes):
            total = total + dim_max(self.out[axis] - 1, 0) * pitch
            pitch = pitch * dim_floordiv(self.padded[axis] + self.strides[axis] - 1, self.strides[axis])
        return total

    def choose(self, text: KernelText) -> None:
        """Set ``wide``, the loop order: the same in all kernels, from sizes alone."""
        text.size("width", self.width)
        text.size("outputs", self.outputs)
        text.size("taps", self.taps)
        text.size("rows", self.rows)
        text.line(f"wide = (width + {TAP_COST}) * taps <= outputs * (taps + {ROW_COST} * rows)")

    def phases(self, text: KernelText) -> None:
        """Set for each axis the number of phases ``q``, the steps from one phase and one element to the next, and
        ``channel``, the size of a channel."""
        for axis in self.axes:
            text.size(f"padded{axis}", self.padded[axis])
            text.size(f"stride{axis}", self.strides[axis])
            text.size(f"gap{axis}", self.gaps[axis])
            text.line(f"q{axis} = stride{axis} if wide else gap{axis}")
        text.line("channel = 1")
        for axis in reversed(self.axes):
            text.line(f"pitch{axis} = channel", f"channel *= (padded{axis} + q{axis} - 1) // q{axis}")
        for axis in reversed(self.axes):
            text.line(f"phase{axis} = channel", f"channel *= q{axis}")

    def offset(self, axis: int, position: str) -> str:
        """The text of what ``position`` in the padded ``axis`` adds to an element's place in its channel."""
        return f"{position} % q{axis} * phase{axis} + {position} // q{axis} * pitch{axis}"


def _table_kernel(geometry: _Geometry) -> KernelSource:
    """The places of the window's taps in the padded input (in the dot order of its rows only), then, from ``taps`` on,
    those of the result's elements. For one spatial axis::

        def conv_table(buffers, sizes, lo, hi, status):
            table = pointer_i64(buffers[3])
            ...
            wide = (width + 36) * taps <= outputs * (taps + 40 * rows)
            q0 = stride0 if wide else gap0
            ...
            at = 0
            for c in range(channels):
                for k0 in range(kernel0 if wide else min(kernel0, 1)):
                    p0 = k0 * gap0
                    table[at] = c * channel + p0 % q0 * phase0 + p0 // q0 * pitch0
                    at += 1
            at = taps
            for o0 in range(out0):
                p0 = o0 * stride0
                table[at] = p0 % q0 * phase0 + p0 // q0 * pitch0
                at += 1
    """
    text = KernelText("conv_table", f"The places of taps and results, {len(geometry.axes)} spatial axes.")
    text.buffer("table", 3, int64)
    geometry.choose(text)
    geometry.phases(text)
    text.size("channels", geometry.w.shape[1])
    last = len(geometry.axes) - 1
    for axis in geometry.axes:
        text.size(f"kernel{axis}", geometry.kernel[axis])
        text.size(f"out{axis}", geometry.out[axis])

    def loops(first: list[str], counts: Sequence[str], name: str, step: str, start: str) -> None:
        headers = first + [f"for {name}{axis} in range({counts[axis]}):" for axis in geometry.axes]
        with text.block(*headers):
            for axis in geometry.axes:
                text.line(f"p{axis} = {name}{axis} * {step}{axis}")
            text.line(f"table[at] = {start}" + " + ".join(geometry.offset(axis, f"p{axis}") for axis in geometry.axes))
            text.line("at += 1")

    kernels = [f"kernel{axis}" for axis in geometry.axes]
    kernels[last] = f"kernel{last} if wide else min(kernel{last}, 1)"
    text.line("at = 0")
    loops(["for c in range(channels):"], kernels, "k", "gap", "c * channel + ")
    text.line("at = taps")
    loops([], [f"out{axis}" for axis in geometry.axes], "o", "stride", "")
    return text.finish(1, geometry.scratch)


def _padding_kernel(geometry: _Geometry) -> KernelSource:
    """The padded copy of the input, in parallel over its channels. For one spatial axis::

        def conv_pad(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            padded = pointer_f32(buffers[4])
            ...
            first = max(0, -(low0 // base0))
            stop = min(in0, -((low0 - padded0) // base0))
            for job in range(lo, hi):
                start = job * channel
                for t in range(start, start + channel):
                    padded[t] = np.float32(0)
                for begin in range(first, min(first + q0, stop)):
                    p0 = begin * base0 + low0
                    to = start + p0 % q0 * phase0 + p0 // q0 * pitch0
                    source = job * in0 + begin
                    for t in range((stop - begin + q0 - 1) // q0):
                        padded[to + t * base0] = x[source + t * q0]

    The last axis is filled phase by phase, each phase in one loop.
    """
    element = geometry.element
    text = KernelText("conv_pad", f"Pad {element.dtype} for a convolution, {len(geometry.axes)} spatial axes.")
    text.buffer("x", 0, element.dtype)
    text.buffer("padded", 4, element.held)
    geometry.choose(text)
    geometry.phases(text)
    for axis in geometry.axes:
        text.size(f"in{axis}", geometry.x.shape[axis + 2])
        text.size(f"low{axis}", geometry.lows[axis])
        text.size(f"base{axis}", geometry.bases[axis])
    last = len(geometry.axes) - 1
    text.line(f"first = max(0, -(low{last} // base{last}))")
    text.line(f"stop = min(in{last}, -((low{last} - padded{last}) // base{last}))")
    with text.block("for job in range(lo, hi):"):
        text.line("start = job * channel")
        with text.block("for t in range(start, start + channel):"):
            text.line(f"padded[t] = {element.literal(0)}")
        _padding_axis(text, geometry, 0, "start", "job")
    return text.finish(product(geometry.x.shape[:2]), geometry.scratch)


def _padding_axis(text: KernelText, geometry: _Geometry, axis: int, place: str, line: str) -> None:
    last = len(geometry.axes) - 1
    if axis < last:
        with text.block(f"for i{axis} in range(in{axis}):"):
            text.line(f"p{axis} = i{axis} * base{axis} + low{axis}")
            with text.block(f"if p{axis} >= 0 and p{axis} < padded{axis}:"):
                text.line(f"place{axis} = {place} + {geometry.offset(axis, f'p{axis}')}")
                text.line(f"line{axis} = {line} * in{axis} + i{axis}")
                _padding_axis(text, geometry, axis + 1, f"place{axis}", f"line{axis}")
        return
    with text.block(f"for begin in range(first, min(first + q{last}, stop)):"):
        text.line(f"p{last} = begin * base{last} + low{last}")
        text.line(f"to = {place} + {geometry.offset(last, f'p{last}')}")
        text.line(f"source = {line} * in{last} + begin")
        with text.block(f"for t in range((stop - begin + q{last} - 1) // q{last}):"):
            text.line(f"padded[to + t * base{last}] = {geometry.element.load('x', f'source + t * q{last}')}")


def _main_kernel(geometry: _Geometry) -> KernelSource:
    """The sums, in parallel over batch and result channels; the same text for any number of spatial axes. On float32::

        @noalias
        def accumulate(total, padded, weights, table, taps, begin, stop):
            for t in range(begin, stop):
                total[t] = np.float32(0)
            k = 0
            while k + 8 <= taps:
                w0 = weights[k + 0]
                p0 = offset_pointer(padded, table[k + 0])
                ...
                for t in range(begin, stop):
                    sum = total[t]
                    sum = sum + w0 * p0[t]
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
                source = offset_pointer(padded, image * channels * channel)
                weights_of_o = offset_pointer(weights, o * taps)
                to = offset_pointer(result, job * outputs)
                if wide:
                    total = offset_pointer(totals, job * width)
                    for begin in range(0, width, 2048):
                        stop = min(begin + 2048, width)
                        accumulate(total, source, weights_of_o, table, taps, begin, stop)
                    for p in range(outputs):
                        to[p] = total[places[p]]
                else:
                    dot(to, source, weights_of_o, table, places, rows, line, outputs)

    ``dot`` sums up four elements of the result in one pass over the rows, with sums that LLVM may split into vectors.
    """
    element = geometry.element
    weight = Element(geometry.w.dtype)
    text = KernelText("conv", f"Convolve {element.dtype}.")
    text.helper(_accumulate(element, weight))
    text.helper(_dot(element, weight))
    text.buffer("weights", 1, weight.dtype)
    text.buffer("result", 2, element.dtype)
    text.buffer("table", 3, int64)
    text.buffer("padded", 4, element.held)
    text.buffer("totals", 5, element.held)
    geometry.choose(text)
    geometry.phases(text)
    text.size("channels", geometry.w.shape[1])
    text.size("features", geometry.w.shape[0])
    text.size("groups", geometry.groups)
    text.size("line", geometry.kernel[-1])
    text.line("places = offset_pointer(table, taps)")
    with text.block("for job in range(lo, hi):"):
        text.line("o = job % features", "image = job // features * groups + o // (features // groups)")
        text.line("source = offset_pointer(padded, image * channels * channel)")
        text.line("weights_of_o = offset_pointer(weights, o * taps)")
        text.line("to = offset_pointer(result, job * outputs)")
        with text.block("if wide:"):
            text.line("total = offset_pointer(totals, job * width)")
            with text.block(f"for begin in range(0, width, {CHUNK}):"):
                text.line(f"stop = min(begin + {CHUNK}, width)")
                text.line("accumulate(total, source, weights_of_o, table, taps, begin, stop)")
            with text.block("for p in range(outputs):"):
                text.line(element.store("to", "p", "total[places[p]]"))
        with text.block("else:"):
            text.line("dot(to, source, weights_of_o, table, places, rows, line, outputs)")
    return text.finish(product(geometry.result.shape[:2]), geometry.scratch)


def _accumulate(element: Element, weight: Element) -> str:
    def taps(count: int) -> list[str]:
        lines = []
        for tap in range(count):
            lines.append(f"w{tap} = {weight.load('weights', f'k + {tap}')}")
            lines.append(f"p{tap} = offset_pointer(padded, table[k + {tap}])")
        lines += ["for t in range(begin, stop):", "    sum = total[t]"]
        lines += [f"    sum = {element.cast(f'sum + w{tap} * p{tap}[t]')}" for tap in range(count)]
        return [*lines, "    total[t] = sum", f"k += {count}"]

    lines = ["for t in range(begin, stop):", f"    total[t] = {element.literal(0)}", "k = 0"]
    lines += [f"while k + {TAPS} <= taps:", *(f"    {line}" for line in taps(TAPS))]
    lines += ["while k < taps:", *(f"    {line}" for line in taps(1))]
    header = "def accumulate(total, padded, weights, table, taps, begin, stop):"
    return "\n".join(["@noalias", header, *(f"    {line}" for line in lines)])


def _dot(element: Element, weight: Element) -> str:
    def add(total: str, term: str) -> str:
        return f"add_reassoc({total}, {term})" if element.held.is_floating else element.cast(f"{total} + {term}")

    def results(count: int) -> list[str]:
        each = range(count)
        lines = [f"s{e} = {element.literal(0)}" for e in each]
        lines += ["for r in range(rows):", "    row = offset_pointer(padded, table[r])"]
        lines += [f"    p{e} = offset_pointer(row, places[p + {e}])" for e in each]
        lines += ["    w = offset_pointer(weights, r * line)", "    for t in range(line):"]
        lines += [f"        weight = {weight.load('w', 't')}"]
        lines += [f"        s{e} = {add(f's{e}', f'weight * p{e}[t]')}" for e in each]
        lines += [element.store("result", f"p + {e}", f"s{e}") for e in each]
        return [*lines, f"p += {count}"]

    lines = ["p = 0", "while p + 4 <= outputs:", *(f"    {line}" for line in results(4))]
    lines += ["while p < outputs:", *(f"    {line}" for line in results(1))]
    header = "def dot(result, padded, weights, table, places, rows, line, outputs):"
    return "\n".join(["@noalias", header, *(f"    {line}" for line in lines)])


def lower_conv_general(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> tuple[KernelSource, ...]:
    """``conv_general`` as three kernels: the table of places, the padded copy of the input, the sums.

    16-bit floats are padded as float32, added up in float32 and rounded once. See `_main_kernel` for the text.
    """
    (x, w), (result,) = operand_types, result_types
    geometry = _Geometry(attributes, x, w, result)
    return _table_kernel(geometry), _padding_kernel(geometry), _main_kernel(geometry)


CONVOLUTION: Final[dict[str, Lowering]] = {"conv_general": lower_conv_general}
