"""gather, scatter_*, dynamic_slice, dynamic_update_slice: reads and writes at run-time positions, range-checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from graphc.backends.numba_cpu.structural.template import (
    Element,
    KernelText,
    carrier,
    convert_kernel,
    copy_kernel,
    flattened,
    linear,
    row_major_strides,
)
from graphc.dtypes import float32, int64
from graphc.ir.dims import Dim, product
from graphc.ir.graph import Node
from graphc.ir.types import TensorType
from graphc.loops.expand import Placement
from graphc.loops.placement import literal_starts
from graphc.loops.source import KernelSource, Lowering


class Run(NamedTuple):
    """Neighbouring axes that are not indexed, walked as one: so many elements, so far apart in the indexed array."""

    extent: Dim
    stride: Dim


def runs_of(shape: Sequence[Dim], axes: Sequence[int]) -> list[Run]:
    """The maximal runs of axes of ``shape`` that are not among ``axes``, in order.

    >>> runs_of((2, 3, 5, 7), (1,))
    [Run(extent=2, stride=105), Run(extent=35, stride=1)]
    """
    strides = row_major_strides(shape)
    runs = []
    for indexed, group in groupby(range(len(shape)), key=lambda axis: axis in axes):
        members = list(group)
        if not indexed:
            runs.append(Run(product(shape[a] for a in members), strides[members[-1]]))
    return runs


class _Indexed:
    """The text that gather and scatter share: index buffers, their checks, loops over the axes that are not indexed."""

    def __init__(self, text: KernelText, x: TensorType, axes: Sequence[int], first_index: int) -> None:
        self.text, self.axes = text, axes
        strides = row_major_strides(x.shape)
        self.block = product(d for axis, d in enumerate(x.shape) if axis not in axes)
        self.runs = runs_of(x.shape, axes)
        for number, axis in enumerate(axes):
            text.buffer(f"indices{number}", first_index + number, int64)
            text.size(f"size{number}", x.shape[axis])
            self._stride(f"stride{number}", strides[axis])
        text.size("block", self.block)
        for number, run in enumerate(self.runs):
            text.size(f"run{number}", run.extent)
            self._stride(f"step{number}", run.stride)
        self._steps = ["1" if run.stride == 1 else f"step{number}" for number, run in enumerate(self.runs)]
        self._strides = ["1" if strides[axis] == 1 else f"stride{number}" for number, axis in enumerate(axes)]

    def _stride(self, name: str, stride: Dim) -> None:
        if stride != 1:
            self.text.size(name, stride)

    def checked_base(self) -> None:
        """Check the indices at ``s`` and set ``base`` to the position that they select."""
        for number, axis in enumerate(self.axes):
            self.text.line(f"k{number} = indices{number}[s]")
            self.text.check_index(f"k{number}", axis, f"size{number}")
        self.text.line(f"base = {linear([(f'k{n}', stride) for n, stride in enumerate(self._strides)])}")

    @property
    def loops(self) -> list[str]:
        return [f"for r{number} in range(run{number}):" for number in range(len(self.runs))]

    @property
    def in_x(self) -> str:
        """The position in the indexed array, inside the loops."""
        return linear([("base", "1"), *((f"r{number}", step) for number, step in enumerate(self._steps))])

    @property
    def in_block(self) -> str:
        """The position in the gathered array or the updates, inside the loops."""
        inner = flattened([f"r{n}" for n in range(len(self.runs))], [f"run{n}" for n in range(len(self.runs))])
        return f"s * block + {inner}" if self.runs else "s * block"


def lower_gather(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``gather``, in parallel over the indices. For rows of a matrix (a lookup of embeddings)::

        def gather(buffers, sizes, lo, hi, status):
            x = pointer_u32(buffers[0])
            result = pointer_u32(buffers[2])
            indices0 = pointer_i64(buffers[1])
            size0 = sizes[0]
            stride0 = sizes[1]
            block = sizes[2]
            run0 = sizes[3]
            for s in range(lo, hi):
                k0 = indices0[s]
                if k0 < 0 or k0 >= size0:
                    if status[0] == 0:
                        status[0] = 1
                        status[1] = k0
                        status[2] = 0
                        status[3] = size0
                    continue
                base = k0 * stride0
                for r0 in range(run0):
                    result[s * block + r0] = x[base + r0]

    Axes that are not indexed and lie side by side are walked by one loop.
    """
    x, *indices = operand_types
    text = KernelText("gather", f"Gather elements of {carrier(x.dtype).bits} bits at {len(indices)} indices each.")
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("result", len(operand_types), carrier(x.dtype))
    access = _Indexed(text, x, attributes["axes"], 1)
    with text.block("for s in range(lo, hi):"):
        access.checked_base()
        with text.block(*access.loops):
            text.line(f"result[{access.in_block}] = x[{access.in_x}]")
    return text.finish(indices[0].size if indices else 1)


def _lower_scatter(operation: str) -> Lowering:
    def lower(
        attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
    ) -> tuple[KernelSource, ...]:
        x, _, *indices = operand_types
        result = len(operand_types)
        element = Element(x.dtype)
        if operation == "sum" and element.is_half:
            scratch = (TensorType(float32, x.shape),)
            return (
                convert_kernel(x.dtype, float32, x.size, 0, result + 1, scratch),
                _scatter_kernel(operation, attributes["axes"], x, indices, result + 1, scratch),
                convert_kernel(float32, x.dtype, x.size, result + 1, result, scratch),
            )
        return (
            copy_kernel(x.dtype, x.size, 0, result),
            _scatter_kernel(operation, attributes["axes"], x, indices, result),
        )

    lower.__name__ = f"lower_scatter_{operation}"
    lower.__doc__ = _scatter_kernel.__doc__
    return lower


def _scatter_kernel(
    operation: str,
    axes: Sequence[int],
    x: TensorType,
    indices: Sequence[TensorType],
    target: int,
    scratch: Sequence[TensorType] = (),
) -> KernelSource:
    """``scatter_set``, ``_add``, ``_max`` or ``_min``, after ``x`` was copied: the indices in order, so that duplicates
    behave; in parallel over the last run of axes that are not indexed. For rows of a matrix::

        def scatter_add(buffers, sizes, lo, hi, status):
            result = pointer_f32(buffers[3])
            updates = pointer_f32(buffers[1])
            indices0 = pointer_i64(buffers[2])
            ...
            count = sizes[4]
            for s in range(count):
                k0 = indices0[s]
                if k0 < 0 or k0 >= size0:
                    ...
                    continue
                base = k0 * stride0
                for r0 in range(lo, hi):
                    result[base + r0] = result[base + r0] + updates[s * block + r0]

    16-bit floats are added up in a float32 copy of the array, which is then rounded once.
    """
    name = {"set": "scatter_set", "sum": "scatter_add", "max": "scatter_max", "min": "scatter_min"}[operation]
    moves = operation == "set"
    update = Element(carrier(x.dtype) if moves else x.dtype)
    into = Element(scratch[0].dtype) if scratch else update
    text = KernelText(name, f"Scatter {update.dtype} at {len(indices)} indices each.")
    text.buffer("result", target, into.dtype)
    text.buffer("updates", 1, update.dtype)
    access = _Indexed(text, x, axes, 2)
    text.size("count", indices[0].size if indices else 1)
    loops = access.loops
    if loops:
        loops[-1] = f"for r{len(loops) - 1} in range(lo, hi):"
    with text.block("for s in range(count):"):
        access.checked_base()
        with text.block(*loops):
            value = update.load("updates", access.in_block)
            if not moves:
                value = into.combine(operation, into.load("result", access.in_x), value)
            text.line(into.store("result", access.in_x, value))
    return text.finish(access.runs[-1].extent if loops else 1, scratch)


def _check_starts(text: KernelText, whole: Sequence[Dim], part: Sequence[Dim], first: int) -> None:
    """Read the start of a slice in each axis as ``start{axis}``; stop unless the slice lies within the array."""
    for axis, (size, taken) in enumerate(zip(whole, part, strict=True)):
        text.buffer(f"at{axis}", first + axis, int64)
        text.size(f"whole{axis}", size)
        text.size(f"part{axis}", taken)
        text.line(f"start{axis} = at{axis}[0]")
        with text.block(f"if start{axis} < 0 or start{axis} > whole{axis} - part{axis}:"):
            text.report(f"start{axis}", axis, f"whole{axis}")
            text.line("return")


def _slice_rows(text: KernelText, whole: Sequence[Dim], part: Sequence[Dim], copy: str) -> Dim:
    """Loops over the rows of the slice that write ``copy`` in terms of ``outside`` and ``inside``; the number of rows.

    Trailing axes that are taken whole belong to the row.
    """
    rank = len(whole)
    last = rank - 1
    while last > 0 and whole[last] == part[last]:
        last -= 1
    text.size("row", product(part[last:]))
    text.size("inner", product(whole[last + 1 :]))
    outer = range(last)
    with text.block("for line in range(lo, hi):"):
        text.unravel("line", [f"part{a}" for a in outer], [f"i{a}" for a in outer])
        at = [*(f"start{a} + i{a}" for a in outer), f"start{last}"]
        begin = flattened([f"({x})" if " " in x else x for x in at], [f"whole{a}" for a in range(last + 1)])
        text.line(f"outside = ({begin}) * inner", "inside = line * row")
        with text.block("for j in range(row):"):
            text.line(copy)
    return product(part[:last])


def lower_dynamic_slice(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> KernelSource:
    """``dynamic_slice``, in parallel over rows; trailing axes that are taken whole make one long row. For a matrix::

        def dynamic_slice(buffers, sizes, lo, hi, status):
            x = pointer_u32(buffers[0])
            result = pointer_u32(buffers[3])
            ...
            start0 = at0[0]
            if start0 < 0 or start0 > whole0 - part0:
                ...
                return
            for line in range(lo, hi):
                i0 = line
                outside = ((start0 + i0) * whole1 + start1) * inner
                inside = line * row
                for j in range(row):
                    result[inside + j] = x[outside + j]

    A slice that is not wholly inside is reported with its start.
    """
    x, (result,) = operand_types[0], result_types
    text = KernelText(
        "dynamic_slice", f"Slice an array of rank {x.ndim} with elements of {carrier(x.dtype).bits} bits."
    )
    text.buffer("x", 0, carrier(x.dtype))
    text.buffer("result", len(operand_types), carrier(x.dtype))
    if x.ndim == 0:
        text.line("result[0] = x[0]")
        return text.finish(1)
    _check_starts(text, x.shape, result.shape, 1)
    return text.finish(_slice_rows(text, x.shape, result.shape, "result[inside + j] = x[outside + j]"))


def lower_dynamic_update_slice(
    attributes: Mapping[str, Any], operand_types: Sequence[TensorType], result_types: Sequence[TensorType]
) -> tuple[KernelSource, ...]:
    """``dynamic_update_slice``: a copy of the array, then the rows of the update, as in `lower_dynamic_slice`, with::

        result[outside + j] = update[inside + j]

    A slice that is not wholly inside is reported, and nothing is written over the copy.
    """
    x, update = operand_types[:2]
    target = len(operand_types)
    text = KernelText(
        "dynamic_update_slice", f"Update a slice, rank {x.ndim}, with elements of {carrier(x.dtype).bits} bits."
    )
    text.buffer("update", 1, carrier(x.dtype))
    text.buffer("result", target, carrier(x.dtype))
    copy = copy_kernel(x.dtype, x.size, 0, target)
    if x.ndim == 0:
        text.line("result[0] = update[0]")
        return copy, text.finish(1)
    _check_starts(text, x.shape, update.shape, 2)
    return copy, text.finish(_slice_rows(text, x.shape, update.shape, "result[outside + j] = update[inside + j]"))


INDEXING: Final[dict[str, Lowering]] = {
    "gather": lower_gather,
    "scatter_set": _lower_scatter("set"),
    "scatter_add": _lower_scatter("sum"),
    "scatter_max": _lower_scatter("max"),
    "scatter_min": _lower_scatter("min"),
    "dynamic_slice": lower_dynamic_slice,
    "dynamic_update_slice": lower_dynamic_update_slice,
}
CHECKED: Final = frozenset({*INDEXING, "top_k"})
"""The ops whose kernels may report an index out of range."""

UPDATES: Final = frozenset({*(name for name in INDEXING if name.startswith("scatter")), "dynamic_update_slice"})
"""Those that may write into the memory of their first operand: what they copy then is where it belongs already."""


def starts_inside(node: Node) -> bool:
    """Whether ``node`` is a slice whose starts are literals and that lies within the array, so its checks cannot fail."""
    return node.op.name.startswith("dynamic_") and literal_starts(node) is not None


def copy_outside(placement: Placement, source: int, target: int) -> KernelSource:
    """A kernel that copies what is outside of the region of ``placement``, in parallel over rows. For a matrix::

        def copy_outside(buffers, sizes, lo, hi, status):
            ...
            for line in range(lo, hi):
                i0 = line
                begin = line * row
                if i0 >= start0 and i0 < end0:
                    for j in range(before):
                        result[begin + j] = x[begin + j]
                    for j in range(after, row):
                        result[begin + j] = x[begin + j]
                else:
                    for j in range(row):
                        result[begin + j] = x[begin + j]
    """
    whole, part = placement.whole.type, placement.part.type
    last = whole.ndim - 1
    while last > 0 and whole.shape[last] == part.shape[last]:
        last -= 1
    inner = product(whole.shape[last + 1 :])
    text = KernelText("copy_outside", f"Copy what lies around a region, rank {last + 1}, {carrier(whole.dtype).bits} bits.")
    text.buffer("x", source, carrier(whole.dtype))
    text.buffer("result", target, carrier(whole.dtype))
    for axis in range(last):
        text.size(f"whole{axis}", whole.shape[axis])
        text.size(f"start{axis}", placement.starts[axis])
        text.size(f"end{axis}", placement.starts[axis] + part.shape[axis])
    text.size("row", product(whole.shape[last:]))
    text.size("before", placement.starts[last] * inner)
    text.size("after", (placement.starts[last] + part.shape[last]) * inner)
    with text.block("for line in range(lo, hi):"):
        text.unravel("line", [f"whole{a}" for a in range(last)], [f"i{a}" for a in range(last)])
        text.line("begin = line * row")
        is_inside = " and ".join(f"i{a} >= start{a} and i{a} < end{a}" for a in range(last)) or "True"
        copied = [("range(before)", True), ("range(after, row)", True), ("range(row)", False)]
        for header, inside in ((f"if {is_inside}:", True), ("else:", False)):
            with text.block(header):
                for rows in [rows for rows, where in copied if where is inside]:
                    with text.block(f"for j in {rows}:"):
                        text.line("result[begin + j] = x[begin + j]")
    return text.finish(product(whole.shape[:last]))
