"""reduce_window_sum, _max, _min, _argmax, _argmin: pooling, one thread for each window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, flattened
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.dtypes import int64
from graphc.ir.types import TensorType


def _lower_window(operation: str) -> DeviceLowering:
    def lower(
        attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
    ) -> tuple[DeviceSource, ...]:
        (x,), (result,) = operands, results
        element = Element(x.dtype)
        seeks = operation.startswith("arg")
        text = DeviceText(f"reduce_window_{operation}", geometry)
        text.buffer("x", 0, x.dtype)
        text.buffer("result", 1, int64 if seeks else x.dtype)
        axes = range(x.ndim)
        for axis in axes:
            text.size(f"in{axis}", x.shape[axis])
            text.size(f"out{axis}", result.shape[axis])
            text.size(f"low{axis}", attributes["padding"][axis][0])
        sizes = {
            name: [text.small_size(f"{short}{axis}", attributes[name][axis]) for axis in axes]
            for name, short in (
                ("window", "window"), ("strides", "stride"), ("window_dilation", "gap"), ("base_dilation", "base"),
            )
        }  # fmt: skip
        with text.points("p"):
            text.unravel("p", [f"out{a}" for a in axes], [f"o{a}" for a in axes])
            text.line("found = i64(-1)" if seeks else f"total = {element.identity(operation)}")
            if seeks:
                text.line(f"best = {element.literal(0)}")
            _walk(text, element, operation, sizes, x.ndim, 0)
            text.line("result[p] = found" if seeks else element.store("result", "p", "total"))
        return (text.finish(result.size),)

    lower.__name__ = f"lower_reduce_window_{operation}"
    lower.__doc__ = f"""``reduce_window_{operation}``. For windows of 2 elements, strides 2, of a padded vector::

        def reduce_window_max(x, result, in0, out0, low0, extent):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                o0 = p
                total = np.float32(-np.inf)
                for w0 in range(2):
                    p0 = o0 * 2 + w0 * 1 - low0
                    if p0 >= 0 and p0 < in0:
                        at0 = p0
                        total = fmaximum(total, x[at0])
                result[p] = total
    """
    return lower


def _walk(text: DeviceText, element: Element, operation: str, sizes: Mapping[str, Sequence[str]], rank: int, axis: int) -> None:
    """The loops over the window from ``axis`` on, and what is done with an element that is inside."""
    if axis == rank:
        at = flattened([f"at{a}" for a in range(rank)], [f"in{a}" for a in range(rank)])
        if not operation.startswith("arg"):
            text.line(f"total = {element.combine(operation, 'total', element.load('x', at))}")
            return
        is_better = f"value {'>' if operation == 'argmax' else '<'} best"
        if element.held.is_floating:
            is_better = f"(best == best) & (({is_better}) | (value != value))"
        text.line(f"value = {element.load('x', at)}", f"better = (found < 0) | ({is_better})")
        text.line("best = value if better else best", f"found = i64({at}) if better else found")
        return
    base = sizes["base_dilation"][axis]
    with text.block(f"for w{axis} in range({sizes['window'][axis]}):"):
        text.line(f"p{axis} = o{axis} * {sizes['strides'][axis]} + w{axis} * {sizes['window_dilation'][axis]} - low{axis}")
        inside = f"p{axis} >= 0 and p{axis} < in{axis}"
        if base != "1":
            inside = f"p{axis} >= 0 and p{axis} % {base} == 0 and p{axis} // {base} < in{axis}"
        with text.block(f"if {inside}:"):
            text.line(f"at{axis} = p{axis}" if base == "1" else f"at{axis} = p{axis} // {base}")
            _walk(text, element, operation, sizes, rank, axis + 1)


WINDOW: Final[dict[str, DeviceLowering]] = {
    f"reduce_window_{operation}": _lower_window(operation) for operation in ("sum", "max", "min", "argmax", "argmin")
}
