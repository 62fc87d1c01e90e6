"""What an executable runs: instructions over numbered slots, each a buffer. Free of any backend: it gives callables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.ir.dims import Dim
from graphc.ir.types import Shape, TensorType
from graphc.locations import Location
from graphc.runtime.tape import Walk

#: ``call(buffers, sizes, lo, hi, status)`` with addresses of i64 arrays as plain integers; releases the GIL.
NativeCall = Callable[[int, int, int, int, int], int]


@dataclass(frozen=True)
class NativeKernel:
    """A compiled kernel (see :class:`graphc.loops.source.KernelSource`): its arguments and how to look inside.

    ``text(stage)`` gives its "source", "llvm" or "asm".
    """

    name: str
    call: NativeCall = field(repr=False)
    #: Of the native function behind ``call``, for a tape.
    address: int
    sizes: tuple[Dim, ...]
    extent: Dim
    text: Callable[[str], str] = field(repr=False)


@dataclass(frozen=True)
class RunKernels:
    """Call ``kernels`` in order, each with the buffers of operands, results and scratch.

    ``checks``: the kernels may report an index out of range in ``status``. ``op`` and ``location`` are for that error.
    ``updates``: the result may be in the memory of the first operand, whose contents it then replaces. ``called``: compiled
    functions that the kernels call by their address.
    """

    kernels: tuple[NativeKernel, ...]
    operands: tuple[int, ...]
    results: tuple[int, ...]
    scratch: tuple[TensorType, ...] = ()
    checks: bool = False
    op: str = ""
    location: Location | None = None
    updates: bool = False
    called: tuple[NativeKernel, ...] = ()


@dataclass(frozen=True)
class RunLibrary:
    """Call ``function(operands, results)`` on arrays; it writes the results, which are allocated."""

    name: str
    function: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None] = field(repr=False)
    operands: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """``result`` is the buffer of ``operand`` under the shape ``shape``."""

    operand: int
    result: int
    shape: Shape
    location: Location | None = None


@dataclass(frozen=True)
class RunCheck:
    """Raise CheckError with ``message`` unless the bool scalar ``operand`` is true."""

    operand: int
    message: str
    location: Location | None = None


Instruction = RunKernels | RunLibrary | View | RunCheck


@dataclass(frozen=True)
class Program:
    """``slots``: the type of each buffer; ``literals``: slot → constant array; parameters and outputs are slots.

    ``aliases``: output → the parameter whose new contents it is, both by position.
    """

    slots: tuple[TensorType, ...]
    parameters: tuple[int, ...]
    outputs: tuple[int, ...]
    literals: dict[int, np.ndarray]
    instructions: tuple[Instruction, ...]
    aliases: dict[int, int]
    #: The native loop that runs the kernels.
    walk: Walk = field(repr=False)
    #: Text of the whole program by stage ("kernels"), besides what each kernel has.
    texts: dict[str, Callable[[], str]] = field(default_factory=dict)
