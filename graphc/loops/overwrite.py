"""Which results of a kernel may be written over an operand, point by point.

A kernel's buffers never overlap: without that promise LLVM vectorizes nothing. So a result that takes the memory of an
operand is one buffer with it (:attr:`~graphc.loops.kernel.Kernel.overwrites`), and its kernel another kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from graphc.loops.affine import Affine
from graphc.loops.kernel import Kernel

_BODY: Final = 0
_EPILOGUE: Final = 1


class Overwrite(NamedTuple):
    """Result ``result`` of a kernel is written over its operand ``operand``, both by position."""

    result: int
    operand: int


def overwritable(kernel: Kernel, updated: int | None = None) -> tuple[Overwrite, ...]:
    """Every pair that is possible, if nobody else needs the operand.

    ``updated``: the operand that the only result has outside of the region that the kernel writes; then no other operand will
    do, and this one may not be read at all.

    An operand is read for the last time at the very point at which the result is written there: all loads are at the
    position of the store, in the same stage or an earlier one. Points are distinct positions, so however the range is
    divided, no point sees what another one wrote.
    """
    if kernel.reductions and not kernel.kept:
        return ()  # two kernels, one after the other
    loads = list(_loads(kernel))
    pairs: list[Overwrite] = []
    for result, (written, position) in enumerate(_stores(kernel)):
        for operand, type_ in enumerate(kernel.operands):
            target = kernel.results[result]
            if type_.dtype is not target.dtype or type_.size != target.size:
                continue
            of_operand = [(part, where) for buffer, part, where in loads if buffer == operand]
            if operand != updated if updated is not None else not of_operand:
                continue
            if all(where == position and part <= written for part, where in of_operand):
                pairs.append(Overwrite(result, operand))
    return tuple(pairs)


def _loads(kernel: Kernel) -> Iterator[tuple[int, tuple[int, int], Affine]]:
    """Buffer, part of the kernel (stage, body or epilogue), and position."""
    for number, stage in enumerate(kernel.stages):
        for part, instructions in ((_BODY, stage.body), (_EPILOGUE, stage.epilogue)):
            for instruction in instructions:
                if instruction.kind == "load":
                    buffer, position, _ = instruction.detail
                    yield buffer, (number, part), position


def _stores(kernel: Kernel) -> list[tuple[tuple[int, int], Affine]]:
    """For each result the part of the kernel that writes it, and the position."""
    found: dict[int, tuple[tuple[int, int], Affine]] = {}
    for number, stage in enumerate(kernel.stages):
        for part, stores in ((_BODY, stage.body_stores), (_EPILOGUE, stage.epilogue_stores)):
            for store in stores:
                found[store.buffer] = ((number, part), store.position)
    first = len(kernel.operands)
    return [found[first + result] for result in range(len(kernel.results))]
