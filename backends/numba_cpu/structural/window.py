"""reduce_window_sum, _max, _min, _argmax, _argmin: pooling.

All of them go over one row of the result at a time and, for each element of the window, over the part of the row whose
windows have that element inside the array. That inner loop is branch-free and vectorizes, whether the last axis is
pooled or holds channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.dtypes import int64
from graphc.ir.dims import product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering


class _Windows:
    """The text of the walk over windows: everything but what is done with an element."""

    def __init__(self, text: KernelText, x: TensorType, result: TensorType, attributes: Mapping[str, Any]) -> None:
        self.text = text
        self.rank = max(1, x.ndim)
        lifted = x.ndim == 0  # a scalar is treated as one row of one element
        shape = (1,) if lifted else x.shape
        self.out_shape = (1,) if lifted else result.shape

        def per_axis(name: str) -> tuple[Any, ...]:
            if lifted:
                return ((0, 0),) if name == "padding" else (1,)
            values: tuple[Any, ...] = attributes[name]
            return values

        self.window, self.stride, self.gap, self.base = [], [], [], []
        for axis in range(self.rank):
            text.size(f"in{axis}", shape[axis])
            text.size(f"out{axis}", self.out_shape[axis])
            text.size(f"low{axis}", per_axis("padding")[axis][0])
            self.window.append(text.small_size(f"window{axis}", per_axis("window")[axis]))
            self.stride.append(text.small_size(f"stride{axis}", per_axis("strides")[axis]))
            self.gap.append(text.small_size(f"gap{axis}", per_axis("window_dilation")[axis]))
            self.base.append(text.small_size(f"base{axis}", per_axis("base_dilation")[axis]))

    def walk(self, begin: Callable[[], None], visit: Callable[[str, str], None], end: Callable[[], None]) -> None:
        """Write the loops around three pieces of text.

        ``begin`` and ``end`` write what is done to a row of the result, which begins at ``start``; ``visit(to, at)``
        what an element at the position ``at`` does to the result at ``to``.
        """
        outer = range(self.rank - 1)
        with self.text.block("for row in range(lo, hi):"):
            self.text.unravel("row", [f"out{a}" for a in outer], [f"o{a}" for a in outer])
            self.text.line(f"start = row * out{self.rank - 1}")
            begin()
            self._axis(0, "0", visit)
            end()

    def _axis(self, axis: int, flat: str, visit: Callable[[str, str], None]) -> None:
        """The loop over the window in ``axis``; ``flat`` is the position so far, in rows of this axis."""
        text = self.text
        single = self.window[axis] == "1"
        headers = [] if single else [f"for w{axis} in range({self.window[axis]}):"]
        inside = ("" if single else f"w{axis} * {self.gap[axis]} ") + f"- low{axis}"
        with text.block(*headers):
            if axis == self.rank - 1:
                self._last(axis, flat, inside.lstrip(), visit)
                return
            text.line(f"p{axis} = o{axis} * {self.stride[axis]} {'+ ' if not single else ''}{inside}")
            condition = f"p{axis} >= 0 and p{axis} < in{axis}"
            if self.base[axis] != "1":
                base = self.base[axis]
                condition = f"p{axis} >= 0 and p{axis} % {base} == 0 and p{axis} // {base} < in{axis}"
            with text.block(f"if {condition}:"):
                here = f"p{axis}" if self.base[axis] == "1" else f"p{axis} // {self.base[axis]}"
                text.line(f"at{axis} = {here if flat == '0' else f'{flat} * in{axis} + {here}'}")
                self._axis(axis + 1, f"at{axis}", visit)

    def _last(self, axis: int, flat: str, inside: str, visit: Callable[[str, str], None]) -> None:
        text, stride = self.text, self.stride[axis]
        text.line(f"shift = {inside}")
        line = "" if flat == "0" else f"{flat} * in{axis}"
        if self.base[axis] != "1":
            text.line(f"line = {line or '0'}")
            with text.block(f"for t in range(out{axis}):"):
                text.line(f"p = t * {stride} + shift")
                with text.block(f"if p >= 0 and p % {self.base[axis]} == 0 and p // {self.base[axis]} < in{axis}:"):
                    visit("start + t", f"line + p // {self.base[axis]}")
            return
        text.line(f"line = {line} + shift" if line else "line = shift")
        if stride == "1":
            text.line("first = max(0, -shift)")
            text.line(f"stop = min(out{axis}, in{axis} - shift)")
        else:
            text.line(
                f"first = max(0, -(shift // {stride}))", f"stop = min(out{axis}, -((shift - in{axis}) // {stride}))"
            )
        with text.block("for t in range(first, stop):"):
            visit("start + t", "line + t" if stride == "1" else f"line + t * {stride}")


def _lower_reduce(operation: str) -> Lowering:
    def lower(
        attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
    ) -> KernelSource:
        (x,), (result,) = operand_types, result_types
        element = Element(x.dtype)
        total = Element(element.held)
        text = KernelText(f"reduce_window_{operation}", f"The {operation} of windows of {x.dtype}, rank {x.ndim}.")
        text.buffer("x", 0, x.dtype)
        text.buffer("result", 1, x.dtype)
        if element.is_half:
            text.buffer("total", 2, element.held)
        else:
            text.line("total = result")
        windows = _Windows(text, x, result, attributes)
        row = f"for t in range(start, start + out{windows.rank - 1}):"

        def begin() -> None:
            with text.block(row):
                text.line(f"total[t] = {element.identity(operation)}")

        def visit(to: str, at: str) -> None:
            text.line(total.store("total", to, total.combine(operation, f"total[{to}]", element.load("x", at))))

        def end() -> None:
            if element.is_half:
                with text.block(row):
                    text.line(element.store("result", "t", "total[t]"))

        windows.walk(begin, visit, end)
        scratch = (TensorType(element.held, result.shape),) if element.is_half else ()
        return text.finish(product(windows.out_shape[:-1]), scratch)

    lower.__name__ = f"lower_reduce_window_{operation}"
    lower.__doc__ = f"""``reduce_window_{operation}``, in parallel over rows of the result.

    For ``reduce_window_max`` with 2×2 windows over a float32 matrix, strides 2::

        def reduce_window_max(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            result = pointer_f32(buffers[1])
            in0 = sizes[0]
            ...
            total = result
            for row in range(lo, hi):
                o0 = row
                start = row * out1
                for t in range(start, start + out1):
                    total[t] = np.float32(-np.inf)
                for w0 in range(2):
                    p0 = o0 * 2 + w0 * 1 - low0
                    if p0 >= 0 and p0 < in0:
                        at0 = p0
                        for w1 in range(2):
                            shift = w1 * 1 - low1
                            line = at0 * in1 + shift
                            first = max(0, -(shift // 2))
                            stop = min(out1, -((shift - in1) // 2))
                            for t in range(first, stop):
                                total[start + t] = fmaximum(total[start + t], x[line + t * 2])

    16-bit floats are reduced in a float32 scratch array and rounded once.
    """
    return lower


def _lower_position(operation: str) -> Lowering:
    def lower(
        attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
    ) -> KernelSource:
        (x,), (result,) = operand_types, result_types
        element = Element(x.dtype)
        text = KernelText(
            f"reduce_window_{operation}", f"The {operation} of windows of {x.dtype}, rank {x.ndim}, as positions."
        )
        text.buffer("x", 0, x.dtype)
        text.buffer("result", 1, int64)
        text.buffer("best", 2, element.held)
        windows = _Windows(text, x, result, attributes)
        order = ">" if operation == "argmax" else "<"

        def begin() -> None:
            with text.block(f"for t in range(start, start + out{windows.rank - 1}):"):
                text.line("result[t] = -1", f"best[t] = {element.literal(0)}")

        def visit(to: str, at: str) -> None:
            text.line(f"value = {element.load('x', at)}", f"old = best[{to}]")
            better = f"value {order} old"
            if element.held.is_floating:
                better = f"((old == old) & (({better}) | (value != value)))"
            else:
                better = f"({better})"
            text.line(f"better = (result[{to}] < 0) | {better}")
            text.line(f"best[{to}] = value if better else old")
            text.line(f"result[{to}] = {at} if better else result[{to}]")

        windows.walk(begin, visit, lambda: None)
        return text.finish(product(windows.out_shape[:-1]), (TensorType(element.held, result.shape),))

    lower.__name__ = f"lower_reduce_window_{operation}"
    lower.__doc__ = f"""``reduce_window_{operation}``: the walk of reduce_window, the best values so far in scratch.

    The innermost loop of ``reduce_window_argmax`` on float32, whose ``result`` starts as -1::

        for t in range(first, stop):
            value = x[line + t * 2]
            old = best[start + t]
            better = (result[start + t] < 0) | ((old == old) & ((value > old) | (value != value)))
            best[start + t] = value if better else old
            result[start + t] = line + t * 2 if better else result[start + t]
    """
    return lower


WINDOW: Final[dict[str, Lowering]] = {
    **{f"reduce_window_{operation}": _lower_reduce(operation) for operation in ("sum", "max", "min")},
    **{f"reduce_window_{operation}": _lower_position(operation) for operation in ("argmax", "argmin")},
}
