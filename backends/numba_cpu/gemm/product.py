"""What a product of matrices computes, and the text that every kernel of one shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.backends.numba_cpu.epilogue import Epilogue, Prologues
from graphc.backends.numba_cpu.structural.template import Element
from graphc.dtypes import DType
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.source import KernelSource


@dataclass(frozen=True)
class Strides:
    """How far apart, in elements, neighbours of one operand are along each batch axis, its rows and its columns."""

    batch: tuple[Dim, ...]
    row: Dim
    column: Dim


@dataclass(frozen=True)
class Product:
    """``rows`` × ``depth`` times ``depth`` × ``columns``, for every index of the axes ``batch``; the result is contiguous.

    ``buffers`` are the positions of both operands and of the result; scratch starts at ``scratch``.
    """

    dtype: DType
    batch: tuple[Dim, ...]
    rows: Dim
    columns: Dim
    depth: Dim
    lhs: Strides
    rhs: Strides
    buffers: tuple[int, int, int] = (0, 1, 2)
    scratch: int = 3

    @property
    def matrices(self) -> Dim:
        return product(self.batch)

    @property
    def result_size(self) -> Dim:
        return product((*self.batch, self.rows, self.columns))


@dataclass
class ProductText:
    """Collects the buffers and sizes of a kernel of ``product``, and puts it together.

    Where its buffers lie in the table of addresses is among its sizes, so that the text does not depend on it.
    """

    product: Product
    epilogue: Epilogue
    name: str
    prologues: Prologues | None = None
    buffers: list[tuple[str, DType, int]] = field(default_factory=list)
    sizes: list[tuple[str, Dim]] = field(default_factory=list)

    def __post_init__(self) -> None:
        p = self.product
        self.element = Element(p.dtype)
        self.buffers += [(name, p.dtype, position) for name, position in zip("abc", p.buffers, strict=True)]
        self.sizes += [("m", p.rows), ("n", p.columns), ("k", p.depth)]
        self.sizes += [("a_row", p.lhs.row), ("a_k", p.lhs.column), ("b_k", p.rhs.row), ("b_column", p.rhs.column)]
        self.offsets = self._offsets()

    def _offsets(self) -> list[str]:
        """Lines that set a0 and b0 to where the operands' matrices number ``matrix`` start."""
        lines = ["a0 = b0 = np.int64(0)"]
        rest = "matrix"
        for number, size in reversed(list(enumerate(self.product.batch))):
            strides = (self.product.lhs.batch[number], self.product.rhs.batch[number])
            names = (f"size{number}", f"a_batch{number}", f"b_batch{number}")
            self.sizes += list(zip(names, (size, *strides), strict=True))
            index = rest
            if number:
                lines += [f"rest{number} = {rest} // {names[0]}", f"index{number} = {rest} - rest{number} * {names[0]}"]
                rest, index = f"rest{number}", f"index{number}"
            lines += [f"a0 += {index} * {names[1]}", f"b0 += {index} * {names[2]}"]
        return lines

    def store(self, total: str, position: str) -> str:
        """The line that stores an element of the result."""
        return self.element.store("c", position, total)

    def finished(self, rows: tuple[str, str], columns: tuple[str, str]) -> str:
        """The line that runs the epilogue on ``rows`` and ``columns`` of the matrix ``matrix``."""
        return f"call_epilogue(epilogue, buffers, epilogue_sizes, matrix, {', '.join([*rows, *columns])})"

    def unpacking(self) -> list[str]:
        names = [*(f"buffers[sizes[{number}]]" for number in range(len(self.buffers)))]
        lines = [f"{name} = pointer_{dtype.short}({at})" for (name, dtype, _), at in zip(self.buffers, names, strict=True)]
        first = len(self.buffers)
        sizes = [*(name for name, _ in self.sizes), "epilogue"]
        lines += [f"{name} = sizes[{number}]" for number, name in enumerate(sizes, first)]
        if self.prologues is not None:
            first += len(sizes)
            for side in "ab":
                lines.append(f"prologue_{side} = sizes[{first}]")
                lines.append(f"prologue_{side}_sizes = offset_pointer(sizes, sizes[{first + 1}])")
                first += 2
            sizes = []
        return [*lines, f"epilogue_sizes = offset_pointer(sizes, np.int64({first + len(sizes)}))"]

    def finish(self, body: str, extent: Dim, scratch: Sequence[TensorType] = ()) -> KernelSource:
        """The kernel of ``body``, text that is indented once and may use ``lo`` and ``hi``."""
        source = f"def {self.name}(buffers, sizes, lo, hi, status):\n{indented(self.unpacking(), 1)}\n{body}\n"
        sizes = (*(position for *_, position in self.buffers), *(size for _, size in self.sizes))
        sizes += (self.epilogue.address,)
        if self.prologues is None:
            sizes += self.epilogue.sizes
        else:
            (left, right), (of_left, of_right) = self.prologues.addresses, self.prologues.sizes
            own = len(sizes) + 4 + len(self.epilogue.sizes)  # where those of the prologues begin
            sizes += (left, own, right, own + len(of_left), *self.epilogue.sizes, *of_left, *of_right)
        return KernelSource(self.name, source, sizes, extent, tuple(scratch))


def indented(lines: Sequence[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


def nested(header: str, lines: Sequence[str]) -> list[str]:
    return [header, *(f"    {line}" for line in lines)]
