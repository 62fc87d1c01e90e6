"""sort, argsort and top_k: a network of comparisons on positions. NaN is greater than every number, -0.0 equals 0.0.

The network is Batcher's bitonic sort in the form whose comparisons all point the same way (the first step of each round
compares mirror images): elements beyond the end would never move, so any length can do without them. Positions are sorted
rather than elements; of two that tie the lower one comes first, which makes the sort stable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.dtypes import int64
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType


def _before(element: Element, a: str, b: str, descending: bool) -> str:
    """The condition that ``a`` must come before ``b``; false where they tie."""
    order = ">" if descending else "<"
    if not element.held.is_floating:
        return f"{a} {order} {b}"
    of_nan = f"({a} != {a}) & ({b} == {b})" if descending else f"({b} != {b}) & ({a} == {a})"
    return f"({a} {order} {b}) | ({of_nan})"


def _sort_rows(text: DeviceText, element: Element, descending: bool) -> None:
    """Sort the ``positions`` from ``place`` to ``place + n`` by the elements of ``x`` at ``base + position * inner``."""
    threads = text.threads
    with text.block(f"for j in range(t, n, {threads}):"):
        text.line("positions[place + j] = j")
    text.line("cuda.syncthreads()", "size = 2")
    with text.block("while size < 2 * n:"):
        text.line("step = size // 2", "mask = size - 1")
        with text.block("while step > 0:"):
            with text.block(f"for j in range(t, n, {threads}):"):
                text.line("k = j ^ mask")
                with text.block("if k > j and k < n:"):
                    text.line("left = positions[place + j]", "right = positions[place + k]")
                    text.line(f"a = {element.load('x', 'base + left * inner')}")
                    text.line(f"b = {element.load('x', 'base + right * inner')}")
                    text.line(f"ahead = {_before(element, 'b', 'a', descending)}")
                    text.line(f"behind = {_before(element, 'a', 'b', descending)}")
                    with text.block("if ahead or (not behind and right < left):"):
                        text.line("positions[place + j] = right", "positions[place + k] = left")
            text.line("cuda.syncthreads()", "step = step // 2", "mask = step")
        text.line("size = 2 * size")


def _lower(
    name: str, x: TensorType, axis: int, descending: bool, k: Dim | None, geometry: Geometry
) -> tuple[DeviceSource, ...]:
    element = Element(x.dtype)
    text = DeviceText(name, geometry)
    text.buffer("x", 0, x.dtype)
    has_values, has_places = name != "argsort", name != "sort"
    if has_values:
        text.buffer("values", 1, x.dtype)
    if has_places:
        text.buffer("places", 1 + has_values, int64)
    text.buffer("positions", 1 + has_values + has_places, int64)
    text.size("n", x.shape[axis])
    text.size("inner", product(x.shape[axis + 1 :]))
    if k is not None:
        text.size("k_taken", k)
    taken = "n" if k is None else "k_taken"
    text.line("t = cuda.threadIdx.x")
    if k is not None:
        with text.block("if k_taken > n:"):
            with text.block("if t == 0:"):
                text.report("k_taken - 1", x.ndim - 1, "n")
            text.line("return")
    with text.blocks("row"):
        text.line("base = row // inner * (n * inner) + row % inner", "place = row * n")
        _sort_rows(text, element, descending)
        with text.block(f"for j in range(t, {taken}, {text.threads}):"):
            text.line("found = positions[place + j]")
            to = "base + j * inner" if k is None else "row * k_taken + j"
            if has_values:
                text.line(f"values[{to}] = x[base + found * inner]")
            if has_places:
                text.line(f"places[{to}] = found")
    rows = product(d for a, d in enumerate(x.shape) if a != axis)
    return (text.finish(rows, 1, (TensorType(int64, x.shape),)),)


def lower_sort(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``sort``, one block for each row::

        def sort(x, values, positions, n, inner, extent):
            t = cuda.threadIdx.x
            for row in range(cuda.blockIdx.x, extent, cuda.gridDim.x):
                base = row // inner * (n * inner) + row % inner
                place = row * n
                for j in range(t, n, 256):
                    positions[place + j] = j
                cuda.syncthreads()
                size = 2
                while size < 2 * n:
                    step = size // 2
                    mask = size - 1
                    while step > 0:
                        for j in range(t, n, 256):
                            k = j ^ mask
                            if k > j and k < n:
                                left = positions[place + j]
                                ...
                        cuda.syncthreads()
                        step = step // 2
                        mask = step
                    size = 2 * size
                ...
    """
    return _lower("sort", operands[0], attributes["axis"], attributes["descending"], None, geometry)


def lower_argsort(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``argsort``: as `lower_sort`; the result is the positions."""
    return _lower("argsort", operands[0], attributes["axis"], attributes["descending"], None, geometry)


def lower_top_k(
    attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``top_k``: the first k of a descending sort of each row. A k that is greater than the row is reported."""
    return _lower("top_k", operands[0], operands[0].ndim - 1, True, attributes["k"], geometry)


SORTING: Final[dict[str, DeviceLowering]] = {"sort": lower_sort, "argsort": lower_argsort, "top_k": lower_top_k}
