"""cumulative_sum, cumulative_prod, cumulative_max, cumulative_min: running reductions along one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, KernelText
from graphc.ir.dims import product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource, Lowering


def _lower_cumulative(operation: str) -> Lowering:
    def lower(
        attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
    ) -> KernelSource:
        (x,) = operand_types
        axis: int = attributes["axis"]
        if product(x.shape[axis + 1 :]) == 1:
            return _along_rows(operation, x, axis, attributes["reverse"])
        return _along_columns(operation, x, axis, attributes["reverse"])

    lower.__name__ = f"lower_cumulative_{operation}"
    lower.__doc__ = f"``cumulative_{operation}``: along contiguous rows, or along columns with vectors across them."
    return lower


def _along_rows(operation: str, x: TensorType, axis: int, reverse: bool) -> KernelSource:
    """Along the contiguous axis, in parallel over rows; the running value is a local variable::

        def cumulative_sum(buffers, sizes, lo, hi, status):
            x = pointer_f16(buffers[0])
            result = pointer_f16(buffers[1])
            n = sizes[0]
            for row in range(lo, hi):
                running = np.float32(0)
                for i in range(row * n, row * n + n):
                    running = running + f16_to_f32(x[i])
                    result[i] = f32_to_f16(running)

    ``reverse`` counts i down.
    """
    element = Element(x.dtype)
    text = KernelText(f"cumulative_{operation}", f"Running {operation} of rows of {x.dtype}.")
    text.buffer("x", 0, x.dtype)
    text.buffer("result", 1, x.dtype)
    text.size("n", x.shape[axis])
    span = "range(row * n + n - 1, row * n - 1, -1)" if reverse else "range(row * n, row * n + n)"
    with text.block("for row in range(lo, hi):"):
        text.line(f"running = {element.identity(operation)}")
        with text.block(f"for i in {span}:"):
            text.line(f"running = {element.combine(operation, 'running', element.load('x', 'i'))}")
            text.line(element.store("result", "i", "running"))
    return text.finish(product(x.shape[:axis]))


def _along_columns(operation: str, x: TensorType, axis: int, reverse: bool) -> KernelSource:
    """Along another axis, in parallel over the columns, which are walked side by side so that the loop over them
    vectorizes; the running values are the row before::

        def cumulative_sum(buffers, sizes, lo, hi, status):
            x = pointer_f32(buffers[0])
            result = pointer_f32(buffers[1])
            n = sizes[0]
            inner = sizes[1]
            at = lo
            while at < hi:
                column = at % inner
                stop = min(inner, column + hi - at)
                lane = at - column
                base = at // inner * (n * inner)
                if n > 0:
                    row = base
                    for t in range(column, stop):
                        result[row + t] = x[row + t]
                for step in range(1, n):
                    row = base + step * inner
                    for t in range(column, stop):
                        result[row + t] = result[row - inner + t] + x[row + t]
                at += stop - column

    ``reverse`` starts with the last row. 16-bit floats keep the running values in a float32 scratch row.
    """
    element = Element(x.dtype)
    text = KernelText(f"cumulative_{operation}", f"Running {operation} of columns of {x.dtype}.")
    text.buffer("x", 0, x.dtype)
    text.buffer("result", 1, x.dtype)
    if element.is_half:
        text.buffer("running", 2, element.held)
    text.size("n", x.shape[axis])
    text.size("inner", product(x.shape[axis + 1 :]))
    text.line("at = lo")
    with text.block("while at < hi:"):
        text.line("column = at % inner", "stop = min(inner, column + hi - at)", "lane = at - column")
        text.line("base = at // inner * (n * inner)")
        with text.block("if n > 0:"):
            text.line(f"row = base{' + (n - 1) * inner' if reverse else ''}")
            with text.block("for t in range(column, stop):"):
                text.line("result[row + t] = x[row + t]")
                if element.is_half:
                    text.line(f"running[lane + t] = {element.load('x', 'row + t')}")
        with text.block("for step in range(1, n):"):
            text.line(f"row = base + {'(n - 1 - step)' if reverse else 'step'} * inner")
            previous = f"result[row {'+' if reverse else '-'} inner + t]"
            with text.block("for t in range(column, stop):"):
                if element.is_half:
                    text.line(
                        f"total = {element.combine(operation, 'running[lane + t]', element.load('x', 'row + t'))}"
                    )
                    text.line("running[lane + t] = total", element.store("result", "row + t", "total"))
                else:
                    text.line(f"result[row + t] = {element.combine(operation, previous, 'x[row + t]')}")
        text.line("at += stop - column")
    columns = product(d for a, d in enumerate(x.shape) if a != axis)
    return text.finish(columns, (TensorType(element.held, (columns,)),) if element.is_half else ())


CUMULATIVE: Final[dict[str, Lowering]] = {
    f"cumulative_{operation}": _lower_cumulative(operation) for operation in ("sum", "prod", "max", "min")
}
