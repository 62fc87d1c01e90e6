"""What a lowering hands to a backend: the text of one kernel, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphc.ir.dims import Dim
from graphc.ir.types import TensorType


class IndentedText:
    """Lines of the body of a function, as they are written one after the other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1

    def line(self, *lines: str) -> None:
        """Write ``lines`` at the present depth."""
        self.lines += ["    " * self.depth + line for line in lines]

    @contextmanager
    def block(self, *headers: str) -> Iterator[None]:
        """Indent what is written inside under ``headers``, each nested in the one before."""
        for header in headers:
            self.line(header)
            self.depth += 1
        yield
        self.depth -= len(headers)


@dataclass(frozen=True)
class KernelSource:
    """One kernel as text, independent of sizes and of where its data lie.

    ``source`` is Python text, self-contained given the namespace of the backend, that defines::

        def NAME(buffers, sizes, lo, hi, status): ...

    ``buffers`` is an i64 array of addresses: operands in order, then results, then scratch, all C-contiguous. bool is
    stored as u8 (0 or 1), f16 and bf16 as u16. ``sizes`` is an i64 array that holds the values of :attr:`sizes` in
    order; no size is a constant in the text (except ranks, axis numbers and windows up to 16). The kernel does the part
    ``[lo, hi)`` of its parallel range ``[0, extent)``, and may be called on any split of it into pieces, in any order
    and at the same time. ``status`` is an i64 array: a failing check sets, only where ``status[0] == 0``, ``status[0]
    = 1`` (index out of range), ``status[1]`` = the index, ``status[2]`` = the axis and ``status[3]`` = the axis's size.

    The outer function unpacks its arguments and calls an inner one, decorated ``@noalias``, whose pointers never
    overlap::

        @noalias
        def double_loop(x, out, lo, hi):
            for i in range(lo, hi):
                out[i] = x[i] + x[i]

        def double(buffers, sizes, lo, hi, status):
            double_loop(pointer_f32(buffers[0]), pointer_f32(buffers[1]), lo, hi)
    """

    name: str
    source: str
    sizes: tuple[Dim, ...]
    extent: Dim
    #: Temporaries that the run time allocates; their addresses follow the results in ``buffers``.
    scratch: tuple[TensorType, ...] = ()
    #: Why the lowering chose this kernel, for people, where there is a choice.
    why: str = ""


#: How a backend lowers one structural op: (attributes, operand types, result types) → kernels that run in order, each
#: with the same buffers.
Lowering: TypeAlias = Callable[
    [Mapping[str, Any], Sequence[TensorType], Sequence[TensorType]], "KernelSource | tuple[KernelSource, ...]"
]
