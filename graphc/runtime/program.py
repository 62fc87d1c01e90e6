"""What an executable runs: instructions over numbered slots, each a buffer. Free of any backend: it gives callables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from graphc.ir.dims import Dim
from graphc.ir.graph import Node
from graphc.ir.types import Bindings, Shape, TensorType
from graphc.locations import Location
from graphc.loops.overwrite import Overwrite
from graphc.runtime.tape import PROCESS, Shared, Walk

#: ``call(buffers, sizes, lo, hi, status)`` with addresses of i64 arrays as plain integers; releases the GIL.
NativeCall = Callable[[int, int, int, int, int], int]


class AnyKernel(Protocol):
    """What all backends' kernels have. ``text(stage)`` gives the "source" and what was made of it."""

    @property
    def name(self) -> str: ...

    @property
    def sizes(self) -> tuple[Dim, ...]: ...

    @property
    def extent(self) -> Dim: ...

    @property
    def text(self) -> Callable[[str], str]: ...


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


class Rival(Protocol):
    """Other kernels for the same work on the same buffers. Which ones are faster depends on the sizes, and is measured."""

    def kernels(self, bindings: Bindings) -> tuple[AnyKernel, ...] | None:
        """Those to run for these sizes, and the present settings of the process; None: those that there are anyway."""

    def describe(self, bindings: Bindings | None) -> list[str]:
        """What was chosen and why: for these sizes, or if they are not known, so far."""


@dataclass(frozen=True)
class RunKernels:
    """Call ``kernels`` in order, each with the buffers of operands, results and scratch.

    ``checks``: the kernels may report an index out of range in ``status``. ``op``, ``location`` and ``node``
    are for that error.
    ``updates``: the result may be in the memory of the first operand, whose contents it then replaces. ``overwrites``:
    results that are in the memory of an operand, and that the kernels have no buffers of their own for; before the kernels
    are made, those that could be. ``operations``: arithmetic that takes longer than reading and writing the buffers.
    ``called``: compiled functions that the kernels call by their address. ``rival``: what may run in place of ``kernels``.
    ``region_of``: the operand that the result is equal to outside of the region which the kernels write.
    """

    kernels: tuple[AnyKernel, ...]
    operands: tuple[int, ...]
    results: tuple[int, ...]
    scratch: tuple[TensorType, ...] = ()
    checks: bool = False
    op: str = ""
    location: Location | None = None
    node: Node | None = field(default=None, repr=False, compare=False)
    updates: bool = False
    overwrites: tuple[Overwrite, ...] = ()
    operations: Dim = 0
    called: tuple[AnyKernel, ...] = ()
    rival: Rival | None = None
    region_of: int | None = None


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
    node: Node | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class RunCheck:
    """Raise CheckError with ``message`` unless the bool scalar ``operand`` is true."""

    operand: int
    message: str
    location: Location | None = None
    node: Node | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Copy:
    """The contents of ``operand`` are copied to ``result``; nothing is done where both are one buffer.

    ``behind``: the buffers that a register ``operand`` may point to.
    """

    operand: int
    result: int
    behind: tuple[int, ...] = ()


@dataclass(frozen=True)
class Choose:
    """Go on at the instruction ``targets[selector]``; the scalar ``selector`` (a bool or an integer) is clamped."""

    selector: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class GoTo:
    """Go on at the instruction ``target``."""

    target: int


@dataclass(frozen=True)
class BeginLoop:
    """Set registers to addresses, and ``counter`` to 0. Go on at ``exit`` if ``length`` is 0.

    ``pointers``: (register, buffer, offset in bytes). ``slices``: (register, buffer, whether from the end, offset, bytes of a
    slice): the register gets the address of the buffer's first (last) slice, plus the offset. ``writes``: buffers that the loop
    writes.
    """

    counter: int
    length: Dim | None
    exit: int
    pointers: tuple[tuple[int, int, Dim], ...]
    slices: tuple[tuple[int, int, bool, Dim, Dim], ...]
    writes: tuple[int, ...]


@dataclass(frozen=True)
class EndLoop:
    """Count a step, and go on at the instruction ``start`` unless that was step number ``length``.

    Before that ``moves`` (register, register): the first gets the other's address; ``swaps``: two registers change addresses;
    ``advances`` (register, bytes): to the next slice. ``reads``: what must be as it is until the last step.
    """

    counter: int
    length: Dim | None
    start: int
    moves: tuple[tuple[int, int], ...]
    swaps: tuple[tuple[int, int], ...]
    advances: tuple[tuple[int, Dim], ...]
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Fork:
    """Run the instructions of each of ``branches`` (from, to) at the same time, as there are threads, and go on at ``done``.

    From ``alone`` to ``done`` the same is done at once: for a call that has one thread, or where the sizes make the branches
    too short to be worth it, or so long that Ctrl-C would have to wait for them. ``runner``: the address of what runs branches.
    ``rows``: what a branch has at least.
    """

    branches: tuple[tuple[int, int], ...]
    alone: int
    done: int
    runner: int
    rows: Dim


Jump = Choose | GoTo | BeginLoop | EndLoop | Fork
Instruction = RunKernels | RunLibrary | View | RunCheck | Copy | Jump


@dataclass(frozen=True)
class Permissions:
    """What a program may do to the memory of its parameters: by default nothing.

    ``in_place``: outputs may be written into the memory of the parameters whose new contents they are, where nothing that is
    still needed is lost and nothing can fail once that has begun. ``donated``: the positions of parameters whose contents
    nobody needs after the call, or after its failure.
    """

    in_place: bool = False
    donated: frozenset[int] = frozenset()


NOTHING: Final = Permissions()


@dataclass(frozen=True)
class Program:
    """``slots``: the type of each buffer; ``literals``: slot → constant array; parameters and outputs are slots.

    ``aliases``: output → the parameter whose new contents it is, both by position. ``registers``: slots without memory, which
    hold an address (or a count) that instructions change; ``fixed``: slots whose memory several instructions write.
    ``forks``: the slot, if any, that holds where the branches of a fork find their blocks.
    """

    slots: tuple[TensorType, ...]
    parameters: tuple[int, ...]
    outputs: tuple[int, ...]
    literals: dict[int, np.ndarray]
    instructions: tuple[Instruction, ...]
    aliases: dict[int, int]
    #: The native loop that runs the kernels, where they are native.
    walk: Walk | None = field(repr=False, default=None)
    #: Text of the whole program by stage ("kernels"), besides what each kernel has.
    texts: dict[str, Callable[[], str]] = field(default_factory=dict)
    #: What the program may do to the memory of its parameters.
    permissions: Permissions = NOTHING
    registers: frozenset[int] = frozenset()
    fixed: frozenset[int] = frozenset()
    forks: int | None = None
    #: What the parameters are called, for people.
    names: tuple[str, ...] = ()


def program_settings(program: Program) -> int:
    """The present settings of the process, as one number, if what ``program`` runs depends on them, else 0."""
    depends = any(isinstance(step, RunKernels) and step.rival is not None for step in program.instructions)
    return int(PROCESS[Shared.SETTINGS]) if depends else 0


def describe_rivals(program: Program) -> list[str]:
    """A paragraph that says who runs the instructions for which there are two ways; none where there are none."""
    bindings: Bindings | None = {} if all(type_.is_concrete for type_ in program.slots) else None
    lines: list[str] = []
    for number, step in enumerate(program.instructions):
        if isinstance(step, RunKernels) and step.rival is not None:
            lines += [f"  {number}  {text}" for text in step.rival.describe(bindings)]
    return ["\n".join(["chosen by measurement:", *lines])] if lines else []
