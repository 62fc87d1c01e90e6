"""scatter_set, scatter_add, scatter_max, scatter_min: a copy of the array, then updates by atomics, a thread an element.

What atomics do not know is done in a scratch array of what they know: 16-bit floats are added up in float32, narrow integers
in int32; maxima and minima of floats are those of integers in the same order, with which NaN wins. The last of several
``scatter_set`` to one place wins, as everywhere: a first kernel finds out which that is. All of that gives the same result
each time but sums of floats, whose order is open; GRAPHC_DETERMINISTIC=1 adds them up in order, on as many threads as the
updates are wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.backends.numba_cpu.structural.template import Element, carrier, flattened
from graphc.backends.numba_cuda.geometry import Geometry
from graphc.backends.numba_cuda.source import DeviceLowering, DeviceSource, DeviceText
from graphc.backends.numba_cuda.structural.indexing import Indexed, copy_kernel
from graphc.dtypes import DType, int32, int64
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType


@dataclass(frozen=True)
class _Encoding:
    """How elements of ``dtype`` are held while atomics work on them: ``held``, by the functions ``put`` and ``get``."""

    dtype: DType
    held: DType
    put: str = ""
    get: str = ""

    @property
    def is_direct(self) -> bool:
        return self.held is self.dtype

    def encoded(self, buffer: str, index: str) -> str:
        return f"{self.put}({Element(self.dtype).load(buffer, index)})" if self.put else Element(self.dtype).load(buffer, index)

    def decoded(self, buffer: str, index: str, value: str) -> str:
        return Element(self.dtype).store(buffer, index, f"{self.get}({value})" if self.get else value)


def _encoding(operation: str, dtype: DType) -> _Encoding:
    if dtype.is_floating:
        compute = dtype.compute
        if operation == "sum":
            return _Encoding(dtype, compute)
        keys = int64 if compute.bits == 64 else int32
        return _Encoding(dtype, keys, f"{operation}_key_{compute.short}", f"key_value_{compute.short}")
    if dtype.is_bool or dtype.bits < 32:
        return _Encoding(dtype, int32, "i32", "u8" if dtype.is_bool else dtype.short)
    return _Encoding(dtype, dtype)


def _lower_scatter(operation: str) -> DeviceLowering:
    def lower(
        attributes: Mapping[str, Any], operands: Sequence[TensorType], results: Sequence[TensorType], geometry: Geometry
    ) -> tuple[DeviceSource, ...]:
        x, _, *indices = operands
        axes: Sequence[int] = attributes["axes"]
        if operation == "set":
            return _set(x, axes, indices, len(operands), geometry)
        return _combined(operation, x, axes, indices, len(operands), geometry)

    lower.__name__ = f"lower_scatter_{operation}"
    lower.__doc__ = f"""``scatter_{operation}``. For ``scatter_add`` to rows of a matrix, after the copy::

        def scatter_add(target, updates, indices0, size0, stride0, size1, block, extent, status, number):
            for p in range(cuda.grid(1), extent, cuda.gridsize(1)):
                s = p // block
                inside = p % block
                k0 = indices0[s]
                ...
                place = base + r1
                cuda.atomic.add(target, place, updates[p])
    """
    return lower


def _combined(
    operation: str, x: TensorType, axes: Sequence[int], indices: Sequence[TensorType], result: int, geometry: Geometry
) -> tuple[DeviceSource, ...]:
    encoding = _encoding(operation, x.dtype)
    in_order = operation == "sum" and x.dtype.is_floating and geometry.deterministic
    scratch = () if encoding.is_direct else (TensorType(encoding.held, x.shape),)
    target = result if encoding.is_direct else result + 1
    text = DeviceText({"sum": "scatter_add", "max": "scatter_max", "min": "scatter_min"}[operation], geometry)
    text.buffer("target", target, encoding.held, is_array=not in_order)
    text.buffer("updates", 1, x.dtype)
    access = Indexed(text, x, axes, 2)
    count: Dim = indices[0].size
    if in_order:
        text.size("count", count)
        with text.points("inside"), text.block("for s in range(count):"):
            access.checked_base("continue")
            access.place()
            text.line(f"target[place] = target[place] + {encoding.encoded('updates', 's * block + inside')}")
    else:
        with text.points("p"):
            text.line("s = p // block", "inside = p % block")
            access.checked_base("continue")
            access.place()
            function = {"sum": "add", "max": "max", "min": "min"}[operation]
            text.line(f"cuda.atomic.{function}(target, place, {encoding.encoded('updates', 'p')})")
    kernel = text.finish(access.block if in_order else count * access.block, scratch=scratch)
    if encoding.is_direct:
        return copy_kernel(x.dtype, x.size, 0, result, geometry), kernel
    return _encode(encoding, x, result, geometry, scratch), kernel, _decode(encoding, x, result, geometry, scratch)


def _encode(
    encoding: _Encoding, x: TensorType, result: int, geometry: Geometry, scratch: Sequence[TensorType]
) -> DeviceSource:
    text = DeviceText("encode", geometry)
    text.buffer("x", 0, x.dtype)
    text.buffer("held", result + 1, encoding.held)
    with text.points("p"):
        text.line(f"held[p] = {encoding.encoded('x', 'p')}")
    return text.finish(x.size, scratch=scratch)


def _decode(
    encoding: _Encoding, x: TensorType, result: int, geometry: Geometry, scratch: Sequence[TensorType]
) -> DeviceSource:
    text = DeviceText("decode", geometry)
    text.buffer("result", result, x.dtype)
    text.buffer("held", result + 1, encoding.held)
    with text.points("p"):
        text.line(encoding.decoded("result", "p", "held[p]"))
    return text.finish(x.size, scratch=scratch)


def _set(
    x: TensorType, axes: Sequence[int], indices: Sequence[TensorType], result: int, geometry: Geometry
) -> tuple[DeviceSource, ...]:
    """``last[place]`` is the last of the indices that select a place; only its update is written."""
    rows = product(x.shape[axis] for axis in axes)
    scratch = (TensorType(int64, (rows,)),)
    row = flattened([f"k{n}" for n in range(len(axes))], [f"size{axis}" for axis in axes])

    clear = DeviceText("scatter_clear", geometry)
    clear.buffer("last", result + 1, int64)
    with clear.points("p"):
        clear.line("last[p] = -1")

    find = DeviceText("scatter_last", geometry)
    find.buffer("last", result + 1, int64, is_array=True)
    with_indices = Indexed(find, x, axes, 2)
    with find.points("s"):
        with_indices.checked_base("continue")
        find.line(f"cuda.atomic.max(last, {row}, s)")

    write = DeviceText("scatter_set", geometry)
    write.buffer("result", result, carrier(x.dtype))
    write.buffer("updates", 1, carrier(x.dtype))
    write.buffer("last", result + 1, int64)
    access = Indexed(write, x, axes, 2)
    with write.points("p"):
        write.line("s = p // block", "inside = p % block")
        access.checked_base("continue")
        with write.block(f"if last[{row}] == s:"):
            access.place()
            write.line("result[place] = updates[p]")
    count: Dim = indices[0].size
    return (
        copy_kernel(x.dtype, x.size, 0, result, geometry, scratch),
        clear.finish(rows, scratch=scratch),
        find.finish(count, scratch=scratch),
        write.finish(count * access.block, scratch=scratch),
    )


SCATTER: Final[dict[str, DeviceLowering]] = {
    "scatter_set": _lower_scatter("set"),
    "scatter_add": _lower_scatter("sum"),
    "scatter_max": _lower_scatter("max"),
    "scatter_min": _lower_scatter("min"),
}
