"""The instructions of a loop: what its steps read and write is reached through registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

from graphc.dtypes import int64
from graphc.ir.dims import Dim, product
from graphc.ir.graph import Value
from graphc.ir.types import TensorType
from graphc.loops.divide import part_of
from graphc.runtime.program import BeginLoop, Copy, EndLoop, Instruction

from .structural.indexing import UPDATES

_COUNTER: Final = TensorType(int64, ())


class Slots(Protocol):
    """What a loop is made in: it gives slots, and takes instructions."""

    types: list[TensorType]
    instructions: list[Instruction]

    def register(self, type_: TensorType) -> int: ...

    def buffer(self, type_: TensorType) -> int: ...


class Whole:
    """All rows of what a loop works on."""

    def type(self, whole: TensorType) -> TensorType:
        """The type of what a step has of an array of the type ``whole``."""
        return whole

    def offset(self, whole: TensorType) -> Dim:
        """Where in the array that begins, in bytes."""
        return 0


@dataclass(frozen=True)
class Part(Whole):
    """As many of the rows as ``rows``, from row ``first`` on."""

    first: Dim
    rows: Dim

    def type(self, whole: TensorType) -> TensorType:
        return part_of(whole, self.rows)

    def offset(self, whole: TensorType) -> Dim:
        return self.first * product(whole.shape[1:]) * whole.dtype.itemsize


ALL: Final = Whole()


class _Turning(NamedTuple):
    """A carry that changes places: the registers of what it is in a step and after the last one, and its first buffer."""

    current: int
    last: int
    buffer: int
    result: int


def cycles_of(outputs: Sequence[Value], parameters: Sequence[Value]) -> list[list[int]]:
    """Carries that change places: each becomes what the next one in the list was, and the last one what the first was, perhaps
    with parts replaced."""
    places = {parameter: k for k, parameter in enumerate(parameters)}
    follows: dict[int, int] = {}
    for k, output in enumerate(outputs):
        value = output
        while value.node.op.name in UPDATES:
            value = value.node.inputs[0]
        source = places.get(value, k)
        if source != k and source not in follows.values():
            follows[k] = source
    cycles: list[list[int]] = []
    for k in range(len(outputs)):
        cycle = [k]
        while (following := follows.get(cycle[-1], k)) not in cycle:
            cycle.append(following)
        if len(cycle) > 1 and k == min(cycle) and follows.get(cycle[-1]) == k:
            cycles.append(cycle)
    return cycles


class Loop:
    """One loop in the making. Its carries are of four kinds.

    * Two buffers take turns: a step reads one and writes the other. One of them is the result's own.
    * A carry that is stacked too is, for the next step, the slice that this one wrote.
    * A carry that a step updates in place, or leaves as it is, stays in the result's buffer.
    * Carries that change places, as the buffers of a simulation do, each have one of several buffers, which take turns.
    """

    def __init__(self, assembly: Slots, length: Dim | None, part: Whole = ALL, *, is_copied: bool = False) -> None:
        """``is_copied``: carries that stay in the result's buffer have been brought there."""
        self.assembly = assembly
        self.length, self.part, self.is_copied = length, part, is_copied
        self.counter = assembly.register(_COUNTER)
        self.parameters: list[int] = []
        self.outputs: list[int] = []
        self.finals: list[Copy] = []
        self.pointers: list[tuple[int, int, Dim]] = []
        self.slices: list[tuple[int, int, bool, Dim, Dim]] = []
        self.writes: list[int] = []
        self.moves: list[tuple[int, int]] = []
        self.swaps: list[tuple[int, int]] = []
        self.reads: list[int] = []
        self.turning: dict[int, _Turning] = {}  # by carry
        self.start = 0
        self.place = 0

    def constant(self, slot: int, is_divided: bool = False) -> None:
        """What every step reads; of what is divided the loop's part."""
        self.reads.append(slot)
        self.parameters.append(self._part_of(slot) if is_divided else slot)

    def _part_of(self, slot: int) -> int:
        """A register that points to the loop's part of a buffer."""
        whole = self.assembly.types[slot]
        register = self.assembly.register(self.part.type(whole))
        self.pointers.append((register, slot, self.part.offset(whole)))
        return register

    def carry(
        self, first: int, result: int, *, source: tuple[int, int] | None = None, is_updated: bool = False
    ) -> None:
        """``first``: the slot of what the loop begins with; ``source``: the register of the slices that it is stacked in, and
        the stack."""
        assembly = self.assembly
        type_ = self.part.type(assembly.types[result])
        self.reads.append(result)
        if source is not None:
            current = self._part_of(first)
            self.parameters.append(current)
            register, stack = source
            self.moves.append((current, register))
            self._finally(current, result, (first, stack))
            self.reads += [first, current]
            self.outputs.append(register)
            return
        if not self.is_copied:
            assembly.instructions.append(Copy(first, result))
        current = self._part_of(result)
        self.parameters.append(current)
        if is_updated:
            self.outputs.append(current)
            return
        other = assembly.buffer(type_)
        following = assembly.register(type_)
        self.pointers.append((following, other, 0))
        self.swaps.append((current, following))
        self._finally(current, result, (result, other))
        self.writes.append(other)
        self.reads.append(other)
        self.outputs.append(following)

    def turn(self, first: int, result: int) -> None:
        """A carry that changes places with others; see :meth:`take_turns`."""
        assembly = self.assembly
        buffer = assembly.buffer(assembly.types[result])
        current, last = assembly.register(assembly.types[result]), assembly.register(assembly.types[result])
        assembly.instructions.append(Copy(first, buffer))
        self.pointers += [(current, buffer, 0), (last, buffer, 0)]
        self.parameters.append(current)
        self.turning[len(self.outputs)] = _Turning(current, last, buffer, result)
        self.outputs.append(current)
        self.reads.append(buffer)

    def take_turns(self, cycles: Sequence[Sequence[int]]) -> None:
        """All carries are known. Those of a cycle become what the next one's memory holds, which is updated where it lies.
        Registers of their own say where they are after the last step: if the others were read then, that would forbid it."""
        for cycle in cycles:
            members = [self.turning[k] for k in cycle]
            buffers = tuple([member.buffer for member in members])
            for k, member, following in zip(cycle, members, [*members[1:], members[0]], strict=True):
                self.outputs[k] = following.current
                self.moves.append((member.last, following.current))
                self.finals.append(Copy(member.last, member.result, buffers))
            self.swaps += [(one.current, other.current) for one, other in pairwise(members)]

    def _finally(self, current: int, result: int, behind: tuple[int, ...]) -> None:
        if self.part is not ALL:
            self.writes.append(result)
            result = self._part_of(result)
        self.finals.append(Copy(current, result, behind))

    def slice(self, register: int, array: int, backwards: bool, is_divided: bool) -> None:
        """``register`` goes along the slices of ``array``, or its parts along the loop's part of them."""
        self.parameters.append(register)
        self._along(register, array, backwards, self.part if is_divided else ALL)
        self.reads += [array, register]

    def stack(self, register: int, result: int, backwards: bool) -> None:
        """``register`` goes along the slices of ``result``, which the steps write."""
        self.outputs.append(register)
        self._along(register, result, backwards, self.part)
        self.writes.append(result)
        self.reads.append(result)

    def _along(self, register: int, array: int, backwards: bool, part: Whole) -> None:
        type_ = self.assembly.types[array]
        slice_ = type_.with_shape(type_.shape[1:])
        self.slices.append((register, array, backwards, part.offset(slice_), slice_.size * slice_.dtype.itemsize))

    def begin(self) -> None:
        self.place = len(self.assembly.instructions)
        self.assembly.instructions.append(
            BeginLoop(self.counter, self.length, 0, tuple(self.pointers), tuple(self.slices), tuple(self.writes))
        )
        self.start = len(self.assembly.instructions)

    def end(self) -> None:
        instructions = self.assembly.instructions
        advances = tuple([(register, -size if backwards else size) for register, _, backwards, _, size in self.slices])
        instructions.append(
            EndLoop(
                self.counter, self.length, self.start, tuple(self.moves), tuple(self.swaps), advances, tuple(self.reads)
            )
        )
        begin: Any = instructions[self.place]
        instructions[self.place] = replace(begin, exit=len(self.assembly.instructions))

    def finish(self) -> None:
        """Bring the last carry to where the results are."""
        self.assembly.instructions += self.finals
