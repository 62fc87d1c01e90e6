"""Emission helpers that the structural lowerings share: the frame of a kernel's text, and the text of common pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.backends.numba_cpu.epilogue import Epilogue
from graphc.dtypes import DType, as_dtype, bool_
from graphc.ir.dims import Dim, product
from graphc.ir.types import TensorType
from graphc.loops.source import IndentedText, KernelSource

SMALL = 16
"""Windows and strides up to this are constants in the text, so that LLVM unrolls over them."""


@dataclass(frozen=True)
class Element:
    """How the text reads, writes and casts elements of ``dtype``, which arithmetic sees as :attr:`held`.

    >>> half = Element(float16)
    >>> half.load("x", "i"), half.store("result", "i", "total")
    ('f16_to_f32(x[i])', 'result[i] = f32_to_f16(total)')
    """

    dtype: DType

    @property
    def is_half(self) -> bool:
        """Whether the element is a 16-bit float, which arithmetic sees as float32."""
        return self.dtype.is_floating and self.dtype.bits == 16

    @property
    def held(self) -> DType:
        """The dtype of the element in a local variable; bool is a uint8 there."""
        return as_dtype("uint8") if self.dtype is bool_ else self.dtype.compute

    def load(self, buffer: str, index: str) -> str:
        text = f"{buffer}[{index}]"
        return f"{self.dtype.short}_to_f32({text})" if self.is_half else text

    def store(self, buffer: str, index: str, value: str) -> str:
        if self.is_half:
            value = f"f32_to_{self.dtype.short}({value})"
        return f"{buffer}[{index}] = {value}"

    def cast(self, value: str) -> str:
        """``value`` in the held dtype: Numba widens narrow integers, which would change how they wrap."""
        return value if self.held.is_floating else f"np.{self.held.name}({value})"

    def literal(self, value: float | str) -> str:
        return f"np.{self.held.name}({value})"

    @property
    def lowest(self) -> str:
        """The literal of the identity of maximum: -inf, or the least integer."""
        if self.held.is_floating:
            return self.literal("-np.inf")
        return self.literal(-(1 << (self.held.bits - 1)) if self.held.kind == "int" else 0)

    @property
    def highest(self) -> str:
        """The literal of the identity of minimum: inf, or the greatest integer (True for bools)."""
        if self.held.is_floating:
            return self.literal("np.inf")
        if self.dtype is bool_:
            return self.literal(1)
        return self.literal((1 << (self.held.bits - (self.held.kind == "int"))) - 1)

    def combine(self, operation: str, x: str, y: str) -> str:
        """``x`` and ``y`` combined by ``operation``: sum, prod, max or min. NaN propagates; integers wrap."""
        if operation == "sum":
            return self.cast(f"{x} + {y}")
        if operation == "prod":
            return self.cast(f"{x} * {y}")
        if self.held.is_floating:
            return f"f{operation}imum({x}, {y})"
        return self.cast(f"{operation}({x}, {y})")

    def identity(self, operation: str) -> str:
        """The literal that ``operation`` leaves every value unchanged by."""
        return {"sum": self.literal(0), "prod": self.literal(1), "max": self.lowest, "min": self.highest}[operation]


def carrier(dtype: DType) -> DType:
    """The unsigned integer as wide as ``dtype``: a kernel that only moves elements serves every dtype so wide."""
    return as_dtype(f"uint{max(8, dtype.bits)}")


class KernelText(IndentedText):
    """Collects one kernel: buffers and sizes become its first lines, :meth:`line` and :meth:`block` its body.

    >>> text = KernelText("copy", "Copy elements of 32 bits.")
    >>> text.buffer("x", 0, uint32), text.buffer("result", 1, uint32)
    >>> with text.block("for i in range(lo, hi):"):
    ...     text.line("result[i] = x[i]")
    >>> print(text.finish(extent=product((symbol("n"), 3))).source)
    def copy(buffers, sizes, lo, hi, status):
        \"\"\"Copy elements of 32 bits.\"\"\"
        x = pointer_u32(buffers[0])
        result = pointer_u32(buffers[1])
        for i in range(lo, hi):
            result[i] = x[i]
    """

    def __init__(self, name: str, about: str) -> None:
        super().__init__()
        self.name = name
        self._head = [f"def {name}(buffers, sizes, lo, hi, status):", f'    """{about}"""']
        self._sizes: list[Dim] = []
        self._helpers: list[str] = []

    def helper(self, function: str) -> None:
        """Put the text of a ``function`` that the kernel calls before it."""
        self._helpers.append(function)

    def buffer(self, name: str, position: int, dtype: DType) -> str:
        """Declare ``name`` as a pointer to the buffer at ``position``."""
        self._head.append(f"    {name} = pointer_{dtype.short}(buffers[{position}])")
        return name

    def buffer_at(self, name: str, position: int, dtype: DType) -> str:
        """Declare ``name`` as a pointer to the buffer at ``position``, which is an argument: the text is the same for all."""
        self._head.append(f"    {name} = pointer_{dtype.short}(buffers[sizes[{self.add_size(position)}]])")
        return name

    def epilogue(self, epilogue: Epilogue) -> None:
        """Declare ``epilogue``, its address, and ``epilogue_sizes``."""
        self.size("epilogue", epilogue.address)
        self._head.append(f"    epilogue_sizes = offset_pointer(sizes, np.int64({len(self._sizes)}))")
        self._sizes += epilogue.sizes

    def size(self, name: str, dim: Dim) -> str:
        """Declare ``name`` as the run-time value of ``dim``."""
        self._head.append(f"    {name} = sizes[{self.add_size(dim)}]")
        return name

    def small_size(self, name: str, dim: Dim) -> str:
        """The text of ``dim``: a literal where it is a constant up to `SMALL`, else a run-time size called ``name``."""
        return str(dim) if isinstance(dim, int) and 0 <= dim <= SMALL else self.size(name, dim)

    def add_size(self, dim: Dim) -> int:
        """Pass ``dim`` without a name; its position in ``sizes``."""
        self._sizes.append(dim)
        return len(self._sizes) - 1

    def unravel(self, position: str, extents: Sequence[str], names: Sequence[str]) -> None:
        """Split the row-major ``position`` in a shape ``extents`` into its coordinates ``names``."""
        if not names:
            return
        rest = position
        for extent, name in zip(reversed(extents[1:]), reversed(names[1:]), strict=True):
            self.line(f"{name} = {rest} % {extent}", f"rest = {rest} // {extent}")
            rest = "rest"
        self.line(f"{names[0]} = {rest}")

    def check_index(self, index: str, axis: int, size: str) -> None:
        """Report ``index`` and skip the rest of the enclosing loop's round unless 0 <= index < size."""
        with self.block(f"if {index} < 0 or {index} >= {size}:"):
            self.report(index, axis, size)
            self.line("continue")

    def report(self, index: str, axis: int, size: str) -> None:
        """Set ``status`` to: ``index`` is out of range in ``axis`` of ``size``, unless something failed already."""
        with self.block("if status[0] == 0:"):
            self.line("status[0] = 1", f"status[1] = {index}", f"status[2] = {axis}", f"status[3] = {size}")

    def finish(self, extent: Dim, scratch: Sequence[TensorType] = ()) -> KernelSource:
        kernel = "\n".join([*self._head, *self.lines])
        source = "\n\n\n".join([*self._helpers, kernel]) + "\n"
        return KernelSource(self.name, source, tuple(self._sizes), extent, tuple(scratch))


def linear(terms: Sequence[tuple[str, str]], *more: str) -> str:
    """The text of a sum of products; factors that are the literal 1 are left out, an empty sum is 0.

    >>> linear([("i", "n"), ("j", "1")], "base")
    'i * n + j + base'
    """
    parts = [a if b == "1" else f"{a} * {b}" for a, b in terms] + list(more)
    return " + ".join(parts) if parts else "0"


def flattened(coordinates: Sequence[str], extents: Sequence[str]) -> str:
    """The text of the row-major position of ``coordinates`` in a shape ``extents``.

    >>> flattened(["i", "j", "k"], ["a", "b", "c"])
    '(i * b + j) * c + k'
    """
    text = ""
    for number, (coordinate, extent) in enumerate(zip(coordinates, extents, strict=True)):
        if number == 0:
            text = coordinate
        else:
            outer = text if number == 1 else f"({text})"
            text = f"{outer} * {extent} + {coordinate}"
    return text or "0"


def row_major_strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """The elements that one step along each axis of a contiguous array of ``shape`` skips."""
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def copy_kernel(dtype: DType, size: Dim, source: int, target: int, scratch: Sequence[TensorType] = ()) -> KernelSource:
    """A kernel that copies all elements of one buffer to another, or does nothing where both are the same memory::

        def copy(buffers, sizes, lo, hi, status):
            x = pointer_u32(buffers[0])
            result = pointer_u32(buffers[2])
            if buffers[0] != buffers[2]:
                for i in range(lo, hi):
                    result[i] = x[i]

    The text depends on the width of the elements only.
    """
    text = KernelText("copy", f"Copy elements of {max(8, dtype.bits)} bits.")
    text.buffer("x", source, carrier(dtype))
    text.buffer("result", target, carrier(dtype))
    with text.block(f"if buffers[{source}] != buffers[{target}]:", "for i in range(lo, hi):"):
        text.line("result[i] = x[i]")
    return text.finish(size, scratch)


def convert_kernel(
    from_dtype: DType, to_dtype: DType, size: Dim, source: int, target: int, scratch: Sequence[TensorType] = ()
) -> KernelSource:
    """A kernel that widens a 16-bit float buffer to f32, or narrows an f32 buffer to 16 bits::

        def widen(buffers, sizes, lo, hi, status):
            x = pointer_f16(buffers[0])
            result = pointer_f32(buffers[3])
            for i in range(lo, hi):
                result[i] = f16_to_f32(x[i])

    Narrowing rounds to nearest, ties to even.
    """
    name = "widen" if Element(from_dtype).is_half else "narrow"
    text = KernelText(name, f"Convert {from_dtype} to {to_dtype}.")
    text.buffer("x", source, from_dtype)
    text.buffer("result", target, to_dtype)
    with text.block("for i in range(lo, hi):"):
        text.line(Element(to_dtype).store("result", "i", Element(from_dtype).load("x", "i")))
    return text.finish(size, scratch)
