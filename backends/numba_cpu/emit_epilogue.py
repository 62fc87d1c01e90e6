"""The epilogue of a product of matrices as Python text for Numba: a map over the part of the result that is done.

A bias and a maximum, stored where the sums were::

    @noalias
    def epilogue_add_maximum_part(out0, in1, s0, s1, matrix, i_lo, i_hi, j_lo, j_hi):
        for i0 in range(i_lo, i_hi):
            p0 = s1*i0
            for i1 in range(j_lo, j_hi):
                v0 = out0[p0 + i1]
                v1 = in1[i1]
                v2 = v0 + v1
                v3 = fmaximum(v2, f32(0.0))
                out0[p0 + i1] = v3


    def epilogue_add_maximum(buffers, sizes, matrix, i_lo, i_hi, j_lo, j_hi):
        epilogue_add_maximum_part(pointer_f32(buffers[3]), pointer_f32(buffers[2]), sizes[0], …, j_hi)

See :class:`.epilogue.Epilogue` for who calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.loops.kernel import Kernel, unrounded
from graphc.loops.source import KernelSource

from .emit_scalar import store
from .emit_text import Region, Text, unravel

SIGNATURE: Final = ("i64*", "i64*", "i64", "i64", "i64", "i64", "i64")
_PART: Final = ("matrix", "i_lo", "i_hi", "j_lo", "j_hi")


def sum_in_result(kernel: Kernel) -> int | None:
    """The result of ``kernel`` in whose buffer the product's sums may be until they are replaced; None if there is none.

    It has their dtype, and each of its elements is stored at the very point where the sum in that place is read.
    """
    sums = kernel.operands[0]
    read = {i.detail[1] for i in kernel.only.body if i.kind == "load" and i.detail[0] == 0}
    if len(read) != 1:
        return None
    for made in kernel.only.body_stores:
        if made.dtype is sums.dtype and made.position in read:
            return made.buffer - len(kernel.operands)
    return None


def emit_epilogue(kernel: Kernel, positions: Sequence[int], *, annotate: bool = False) -> KernelSource:
    """The text of ``kernel``, with the position of each of its buffers in the table of the product's.

    Where the product's result and a result of the kernel are at one position, they are one parameter.
    """
    assert kernel.grid is not None
    text = _EpilogueText(kernel, positions, annotate)
    matrices, rows, columns = kernel.grid
    loops = list(range(len(kernel.loops)))
    over = loops[:matrices], loops[matrices : matrices + rows], loops[matrices + rows :]
    # Of a product that is one column, the rows are what runs through memory.
    inner = over[2] or (over[1] if rows == 1 else [])
    depths = {loop: 1 if loop in over[0] else 3 if loop in inner else 2 for loop in loops}
    body = Region(text, "v", kernel.only.body, kernel.only.body_stores, depths, reduced_depth=3)
    body.write(0)
    unravel(text, over[0], "matrix")
    body.write(1)
    if over[2] or not inner:
        with text.block(f"for {f'i{over[1][0]}' if rows == 1 else 'row'} in range(i_lo, i_hi):"):
            if rows > 1:
                unravel(text, over[1], "row")
            body.write(2)
            with text.block(f"for {f'i{over[2][0]}' if columns else 'column'} in range(j_lo, j_hi):"):
                body.write(3)
    else:
        body.write(2)
        with text.block(f"for i{inner[0]} in range(i_lo, i_hi):"):
            body.write(3)
    return text.finish_part()


def emit_prologue(kernel: Kernel, positions: Sequence[int], *, annotate: bool = False) -> KernelSource:
    """The text of ``kernel``, which computes an operand of a product: it writes to the address ``target``, row by row::

        def prologue_convert_mul_part(in0, in1, s0, target, i_lo, i_hi, j_lo, j_hi):
            for i0 in range(i_lo, i_hi):
                p0 = s0*i0
                row = (i0 - i_lo) * (j_hi - j_lo) - j_lo
                for i1 in range(j_lo, j_hi):
                    …
                    target[row + i1] = v2
    """
    text = _EpilogueText(kernel, positions, annotate, ("target", *_PART[1:]))
    (made,) = kernel.only.body_stores
    value = unrounded(kernel.only.body, made)
    body = Region(text, "v", kernel.only.body, [], {0: 1, 1: 2}, needed=[value])
    body.write(0)
    with text.block("for i0 in range(i_lo, i_hi):"):
        body.write(1)
        text.line("row = (i0 - i_lo) * (j_hi - j_lo) - j_lo")
        with text.block("for i1 in range(j_lo, j_hi):"):
            body.write(2)
            text.line(store("target", "row + i1", body.value(value), made.dtype))
    return text.finish_part()


class _EpilogueText(Text):
    def __init__(
        self, kernel: Kernel, positions: Sequence[int], annotate: bool, part: Sequence[str] = _PART
    ) -> None:
        super().__init__(kernel, kernel.name, annotate)
        self.positions = positions
        self.part = part
        for number, position in enumerate(positions[1:], 1):
            if position == positions[0]:
                self.buffers[0] = self.buffers[number]

    def finish_part(self) -> KernelSource:
        kernel = self.kernel
        types = (*kernel.operands, *kernel.results)[: len(self.positions)]
        pointers = {
            name: f"pointer_{type_.dtype.short}(buffers[{position}])"
            for name, type_, position in zip(self.buffers[: len(types)], types, self.positions, strict=True)
        }
        sizes = [name for name, _ in kernel.sizes]
        arguments = [*pointers.values(), *(f"sizes[{number}]" for number in range(len(sizes))), *self.part]
        arguments = ["pointer_f32(target)" if a == "target" else a for a in arguments]
        source = "\n".join(
            [
                "@noalias",
                f"def {self.name}_part({', '.join([*pointers, *sizes, *self.part])}):",
                *(self.lines or ["    pass"]),
                "",
                "",
                f"def {self.name}(buffers, sizes, {', '.join(self.part)}):",
                f"    {self.name}_part(",
                *(f"        {argument}," for argument in arguments),
                "    )",
                "",
            ]
        )
        return KernelSource(self.name, source, tuple(size for _, size in kernel.sizes), 1)
