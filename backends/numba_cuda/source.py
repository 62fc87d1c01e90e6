"""What a lowering hands to the CUDA backend: the text of one kernel, and what it is launched with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphc.backends.numba_cpu.structural.template import SMALL
from graphc.dtypes import DType
from graphc.ir.dims import Dim
from graphc.ir.types import TensorType
from graphc.loops.source import IndentedText

from .geometry import Geometry


@dataclass(frozen=True)
class Parameter:
    """A buffer that a kernel takes: ``slot`` is its place among operands, results and scratch, ``short`` what its elements are
    read as. ``is_array``: atomics are applied to it, which need an array instead of a pointer."""

    name: str
    slot: int
    short: str
    is_array: bool = False


@dataclass(frozen=True)
class DeviceSource:
    """One kernel as text, independent of sizes: ``def NAME(buffers…, sizes…, extent[, status, number])``.

    A block of ``threads`` threads works on ``per_block`` of ``extent`` points at a time, and goes on by ``cuda.gridDim``
    until all are done, so any number of blocks gives the same result. Buffers are C-contiguous; bool is stored as u8, float16
    and bfloat16 as u16. ``checks``: the kernel may report an index out of range in ``status``: [which instruction, index,
    axis, size of the axis].
    """

    name: str
    source: str
    parameters: tuple[Parameter, ...]
    sizes: tuple[Dim, ...]
    extent: Dim
    threads: int
    per_block: int
    scratch: tuple[TensorType, ...] = ()
    checks: bool = False
    #: So many blocks should fit on a multiprocessor: what the compiler limits registers by.
    resident: int = 1


#: How one structural op is lowered: (attributes, operand types, result types, geometry) → kernels that run in order, each
#: with the same buffers.
DeviceLowering: TypeAlias = Callable[
    [Mapping[str, Any], Sequence[TensorType], Sequence[TensorType], Geometry], "tuple[DeviceSource, ...]"
]


def stored(dtype: DType) -> str:
    """What elements of ``dtype`` are in memory: ``u8`` for bool, ``u16`` for 16-bit floats."""
    if dtype.is_bool:
        return "u8"
    return "u16" if dtype.is_floating and dtype.bits == 16 else dtype.short


class DeviceText(IndentedText):
    """Collects one kernel.

    >>> text = DeviceText("double", DEVICE)
    >>> text.buffer("x", 0, float32), text.buffer("result", 1, float32)
    >>> with text.points("i"):
    ...     text.line("result[i] = x[i] + x[i]")
    >>> print(text.finish(symbol("n")).source)
    def double(x, result, extent):
        for i in range(cuda.grid(1), extent, cuda.gridsize(1)):
            result[i] = x[i] + x[i]
    """

    def __init__(self, name: str, geometry: Geometry, threads: int | None = None, resident: int = 1) -> None:
        super().__init__()
        self.name, self.geometry, self.resident = name, geometry, resident
        self.threads = geometry.threads if threads is None else threads
        self._parameters: list[Parameter] = []
        self._sizes: dict[str, Dim] = {}
        self._shared: list[str] = []
        self._checks = False

    def buffer(self, name: str, slot: int, dtype: DType | str, *, is_array: bool = False) -> str:
        """Take the buffer at ``slot`` as ``name``."""
        short = dtype if isinstance(dtype, str) else stored(dtype)
        self._parameters.append(Parameter(name, slot, short, is_array))
        return name

    def size(self, name: str, dim: Dim) -> str:
        """Take the run-time value of ``dim`` as ``name``."""
        self._sizes[name] = dim
        return name

    def small_size(self, name: str, dim: Dim) -> str:
        """``dim`` as text: a literal where it is a small constant, else a size called ``name``."""
        return str(dim) if isinstance(dim, int) and 0 <= dim <= SMALL else self.size(name, dim)

    def shared(self, name: str, count: int, short: str) -> str:
        """Declare ``count`` elements that the threads of a block share."""
        self._shared.append(f"    {name} = cuda.shared.array({count}, {short})")
        return name

    @contextmanager
    def points(self, name: str, first: str = "", count: str = "extent") -> Iterator[None]:
        """One thread for each point from ``first`` to ``count``."""
        with self.block(f"for {name} in range({f'{first} + ' if first else ''}cuda.grid(1), {count}, cuda.gridsize(1)):"):
            yield

    @contextmanager
    def blocks(self, name: str) -> Iterator[None]:
        """One block for each point of the extent."""
        with self.block(f"for {name} in range(cuda.blockIdx.x, extent, cuda.gridDim.x):"):
            yield

    def unravel(self, position: str, extents: Sequence[str], names: Sequence[str]) -> None:
        """Split the row-major ``position`` in a shape ``extents`` into its coordinates ``names``."""
        rest = position
        for number in range(len(names) - 1, 0, -1):
            self.line(f"{names[number]} = {rest} % {extents[number]}")
            following = names[0] if number == 1 else f"{names[0]}_{number}"
            self.line(f"{following} = {rest} // {extents[number]}")
            rest = following
        if len(names) == 1:
            self.line(f"{names[0]} = {rest}")

    def report(self, index: str, axis: int, size: str) -> None:
        """Set ``status`` to: ``index`` is out of range in ``axis`` of ``size``, unless something failed already."""
        self._checks = True
        with self.block("if cuda.atomic.cas(status, 0, 0, number) == 0:"):
            self.line(f"status[1] = {index}", f"status[2] = {axis}", f"status[3] = {size}")

    def finish(self, extent: Dim, per_block: int | None = None, scratch: Sequence[TensorType] = ()) -> DeviceSource:
        names = [p.name for p in self._parameters] + list(self._sizes) + ["extent"]
        names += ["status", "number"] if self._checks else []
        source = "\n".join([f"def {self.name}({', '.join(names)}):", *self._shared, *(self.lines or ["    pass"])]) + "\n"
        return DeviceSource(
            self.name,
            source,
            tuple(self._parameters),
            tuple(self._sizes.values()),
            extent,
            self.threads,
            self.threads if per_block is None else per_block,
            tuple(scratch),
            self._checks,
            self.resident,
        )
