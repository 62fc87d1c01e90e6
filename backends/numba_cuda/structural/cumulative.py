"""cumulative_sum, cumulative_prod, cumulative_max, cumulative_min: scans along one axis.

Along a contiguous axis a scan takes three kernels: each piece of a line is scanned by a block, the totals of the pieces are
scanned, and each piece takes on what comes before it. Pieces depend on the size only, so results repeat. Along another axis a
thread has a line, and neighbours read neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText, stored
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType


def _lower_cumulative(operation: str) -> DeviceLowering:
    def lower(
        attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
    ) -> tuple[DeviceSource, ...]:
        (x,) = operands
        axis: int = attributes["axis"]
        if product(x.shape[axis + 1 :]) == 1:
            return _along_rows(operation, x, axis, attributes["reverse"], geometry)
        return (_along_columns(operation, x, axis, attributes["reverse"], geometry),)

    lower.__name__ = f"lower_cumulative_{operation}"
    lower.__doc__ = f"``cumulative_{operation}``: in pieces along contiguous lines, or one thread for each other line."
    return lower


def _along_columns(operation: str, x: TensorType, axis: int, reverse: bool, geometry: Geometry) -> DeviceSource:
    """One thread for each line::

        def cumulative_sum(x, result, n, inner, extent):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                base = p // inner * (n * inner) + p % inner
                running = np.float32(0)
                for i in range(n):
                    at = base + i * inner
                    running = running + x[at]
                    result[at] = running
    """
    element = Element(x.dtype)
    text = DeviceText(f"cumulative_{operation}", geometry)
    text.buffer("x", 0, x.dtype)
    text.buffer("result", 1, x.dtype)
    text.size("n", x.shape[axis])
    text.size("inner", product(x.shape[axis + 1 :]))
    with text.points("p"):
        text.line("base = p // inner * (n * inner) + p % inner", f"running = {element.identity(operation)}")
        with text.block("for i in range(n):"):
            text.line(f"at = base + {'(n - 1 - i)' if reverse else 'i'} * inner")
            text.line(f"running = {element.combine(operation, 'running', element.load('x', 'at'))}")
            text.line(element.store("result", "at", "running"))
    return text.finish(product(d for a, d in enumerate(x.shape) if a != axis))


def _along_rows(operation: str, x: TensorType, axis: int, reverse: bool, geometry: Geometry) -> tuple[DeviceSource, ...]:
    """A block for each piece of ``span`` elements of a line; a thread scans its own ``run`` of them, and shared memory what
    the threads have. ``scanned`` holds the pieces' scans, ``totals`` what each piece comes to."""
    element, run = Element(x.dtype), geometry.run
    span = geometry.threads * run
    n, lines = x.shape[axis], product(x.shape[:axis])
    pieces: Dim = (n + (span - 1)) // span
    held = element.held
    scratch = (TensorType(held, (lines * n,)), TensorType(held, (lines * pieces,)))

    def start(name: str) -> DeviceText:
        text = DeviceText(name, geometry)
        text.buffer("x", 0, x.dtype)
        text.buffer("result", 1, x.dtype)
        text.buffer("scanned", 2, held)
        text.buffer("totals", 3, held)
        text.size("n", n)
        text.size("pieces", pieces)
        return text

    at = "line * n + n - 1 - i" if reverse else "line * n + i"
    first = start(f"cumulative_{operation}")
    first.shared("shared", geometry.threads, stored(held))
    first.line("t = cuda.threadIdx.x")
    with first.blocks("block"):
        first.line("line = block // pieces", f"begin = block % pieces * {span} + t * {run}", f"stop = min(begin + {run}, n)")
        first.line(f"running = {element.identity(operation)}")
        with first.block("for i in range(begin, stop):"):
            first.line(f"running = {element.combine(operation, 'running', element.load('x', at))}")
        first.line("shared[t] = running", "cuda.syncthreads()")
        width = 1
        while width < geometry.threads:
            first.line("mine = shared[t]")
            with first.block(f"if t >= {width}:"):
                first.line(f"mine = {element.combine(operation, f'shared[t - {width}]', 'mine')}")
            first.line("cuda.syncthreads()", "shared[t] = mine", "cuda.syncthreads()")
            width *= 2
        first.line(f"running = {element.identity(operation)}")
        with first.block("if t > 0:"):
            first.line("running = shared[t - 1]")
        with first.block("for i in range(begin, stop):"):
            first.line(f"running = {element.combine(operation, 'running', element.load('x', at))}", f"scanned[{at}] = running")
        with first.block(f"if t == {geometry.threads - 1}:"):
            first.line("totals[block] = shared[t]")
        first.line("cuda.syncthreads()")

    second = start(f"cumulative_{operation}_totals")
    with second.points("line"):
        second.line(f"running = {element.identity(operation)}")
        with second.block("for piece in range(pieces):"):
            second.line("mine = totals[line * pieces + piece]", "totals[line * pieces + piece] = running")
            second.line(f"running = {element.combine(operation, 'running', 'mine')}")

    third = start(f"cumulative_{operation}_finish")
    with third.points("p"):
        third.line("line = p // n", "i = p % n")
        third.line(f"piece = line * pieces + i // {span}")
        value = element.combine(operation, "totals[piece]", f"scanned[{at}]")
        third.line(element.store("result", at, value))
    return (
        first.finish(lines * pieces, 1, scratch), second.finish(lines, scratch=scratch), third.finish(x.size, scratch=scratch)
    )  # fmt: skip


CUMULATIVE: Final[dict[str, DeviceLowering]] = {
    f"cumulative_{operation}": _lower_cumulative(operation) for operation in ("sum", "prod", "max", "min")
}
