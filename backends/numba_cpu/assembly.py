"""Plans → one program: kernels are emitted and compiled, values get slots, and regions become loops and jumps.

All regions share the slots of the program. The parameters of a branch are the slots of its operands, and its results are made
where the results of the ``cond`` are. What a loop carries is reached through *registers*: addresses that change from step to
step, so that two buffers take turns without being copied, and slices are read and written where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from graphc.dtypes import int64
from graphc.errors import BackendError
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.types import TensorType
from graphc.loops.plan import KernelStep, OpStep, Plan, ViewStep, make_plan
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.program import (
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    GoTo,
    Instruction,
    NativeKernel,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
)

from .emit import emit
from .library import LibraryMaker
from .structural.indexing import CHECKED, UPDATES, starts_inside
from .walker import walk

_COUNTER: Final = TensorType(int64, ())
Slots = dict[Value, int]


class Assembly:
    """Makes the program of one graph. ``compile_kernel(source, shown=…)`` compiles; ``lowerings``: of the structural ops, by
    name; ``library``: what runs through NumPy."""

    def __init__(
        self,
        compile_kernel: Callable[..., NativeKernel],
        lowerings: Mapping[str, Lowering],
        library: Mapping[str, LibraryMaker],
    ) -> None:
        self.compile_kernel, self.lowerings, self.library = compile_kernel, lowerings, library
        self.separate = frozenset(library)
        self.types: list[TensorType] = []
        self.literals: dict[int, np.ndarray] = {}
        self.instructions: list[Instruction] = []
        self.registers: set[int] = set()
        self.fixed: set[int] = set()
        self.plans: list[Plan] = []

    def program(self, graph: Graph) -> Program:
        parameters = [self.slot(p.type) for p in graph.parameters]
        outputs = self.block(graph, parameters)
        return Program(
            slots=tuple(self.types),
            parameters=tuple(parameters),
            outputs=tuple(outputs),
            literals=self.literals,
            instructions=tuple(self.instructions),
            aliases=dict(graph.aliases),
            walk=walk(),
            texts={"kernels": lambda: "\n\n".join(plan.describe() for plan in self.plans)},
            registers=frozenset(self.registers),
            fixed=frozenset(self.fixed),
        )

    # Slots

    def slot(self, type_: TensorType) -> int:
        self.types.append(type_)
        return len(self.types) - 1

    def register(self, type_: TensorType) -> int:
        slot = self.slot(type_)
        self.registers.add(slot)
        self.fixed.add(slot)
        return slot

    def buffer(self, type_: TensorType) -> int:
        """A slot that several instructions write."""
        slot = self.slot(type_)
        self.fixed.add(slot)
        return slot

    # Graphs

    def block(self, graph: Graph, parameters: Sequence[int], destinations: Sequence[int] | None = None) -> list[int]:
        """The instructions of ``graph``; gives the slots of its outputs, which are ``destinations`` where they are given."""
        plan = make_plan(graph, self.separate)
        self.plans.append(plan)
        slots: Slots = dict(zip(graph.parameters, parameters, strict=True))
        for value, array in plan.literals.items():
            slots[value] = self.slot(value.type)
            self.literals[slots[value]] = np.require(array, value.type.dtype.numpy, ["C", "A"])
        left = [] if destinations is None else self._make_in_place(plan, slots, destinations)
        for step in plan.steps:
            self._step(step, slots)
        if destinations is None:
            return [self._of(o, slots) for o in graph.outputs]
        own = [k for k in left if destinations[k] in parameters]  # a carry that stays where it is: what reads it comes first
        for k in (*[k for k in left if k not in own], *own):
            if slots[graph.outputs[k]] != destinations[k]:
                self.instructions.append(Copy(slots[graph.outputs[k]], destinations[k]))
        return list(destinations)

    def _make_in_place(self, plan: Plan, slots: Slots, destinations: Sequence[int]) -> list[int]:
        """Let what makes each output write to its destination; gives the positions of the outputs that have to be copied."""
        views = {v: o for step in plan.steps if _is_view(step) for v, o in zip(step.results, step.operands, strict=True)}
        made = {v for step in plan.steps if not _is_view(step) for v in step.results}
        left: list[int] = []
        for k, (output, destination) in enumerate(zip(plan.graph.outputs, destinations, strict=True)):
            maker = output
            while maker in views:
                maker = views[maker]
            if maker not in made or maker in slots or destination in slots.values():
                left.append(k)
            elif maker == output:
                slots[output] = destination
            else:
                slots[maker] = self.slot(maker.type)
                self.instructions.append(View(destination, slots[maker], maker.type.shape, maker.node.location))
        return left

    def _of(self, value: Value, slots: Slots) -> int:
        if value not in slots:
            slots[value] = self.slot(value.type)
        return slots[value]

    def _step(self, step: KernelStep | OpStep | ViewStep, slots: Slots) -> None:
        operands = tuple([self._of(v, slots) for v in step.operands])
        if isinstance(step, OpStep) and step.node.op.name in _REGIONS:
            for value in step.results:
                self.fixed.add(self._of(value, slots))
            _REGIONS[step.node.op.name](self, step.node, operands, [slots[v] for v in step.results])
            return
        results = tuple([self._of(v, slots) for v in step.results])
        if isinstance(step, OpStep) and _is_view(step):
            for operand, value, result in zip(operands, step.results, results, strict=True):
                self.instructions.append(View(operand, result, value.type.shape, value.node.location))
            return
        self.instructions.append(self._instruction(step, operands, results))

    def _instruction(
        self, step: KernelStep | OpStep | ViewStep, operands: tuple[int, ...], results: tuple[int, ...]
    ) -> Instruction:
        if isinstance(step, KernelStep):
            sources = emit(step.kernel)
            shown = emit(step.kernel, annotate=True)
            kernels = [self.compile_kernel(s, shown=a.source) for s, a in zip(sources, shown, strict=True)]
            return RunKernels(tuple(kernels), operands, results, sources[0].scratch)
        node = step.node
        if isinstance(step, ViewStep):
            return View(operands[0], results[0], node.types[0].shape, node.location)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location)
        if node.op.name in self.library:
            return RunLibrary(node.op.name, self.library[node.op.name](node), operands, results)
        return self._structural(node, operands, results)

    def _structural(self, node: Node, operands: tuple[int, ...], results: tuple[int, ...]) -> RunKernels:
        lowering = self.lowerings.get(node.op.name)
        if lowering is None:
            raise BackendError(f"the cpu backend has no lowering for {node.op.name}", location=node.location)
        lowered = lowering(node.attributes, [v.type for v in node.inputs], node.types)
        sources = (lowered,) if isinstance(lowered, KernelSource) else lowered
        kernels = tuple([self.compile_kernel(source) for source in sources])
        return RunKernels(
            kernels,
            operands,
            results,
            sources[0].scratch,
            checks=node.op.name in CHECKED and not starts_inside(node),
            op=node.op.name,
            location=node.location,
            updates=node.op.name in UPDATES,
        )

    # Jumps, whose targets are known once what lies between is there

    def _reserve(self) -> int:
        self.instructions.append(GoTo(0))
        return len(self.instructions) - 1

    @property
    def here(self) -> int:
        return len(self.instructions)

    def cond(self, node: Node, operands: Sequence[int], results: Sequence[int]) -> None:
        selector, *given = operands
        choose = self._reserve()
        starts: list[int] = []
        ends: list[int] = []
        for branch in node.attributes["branches"]:
            starts.append(self.here)
            self.block(branch, given, results)
            ends.append(self._reserve())
        for end in ends:
            self.instructions[end] = GoTo(self.here)
        self.instructions[choose] = Choose(selector, tuple(starts))

    def while_loop(self, node: Node, operands: Sequence[int], results: Sequence[int]) -> None:
        test, body, constants = node.attributes["cond"], node.attributes["body"], node.attributes["constants"]
        loop = _Loop(self, operands[:constants], node.attributes["max_steps"])
        for k, (first, result) in enumerate(zip(operands[constants:], results, strict=True)):
            loop.carry(first, result, is_updated=_is_update(body.outputs[k], body.parameters[constants + k]))
        loop.begin()
        goes_on = self.buffer(test.outputs[0].type)
        self.block(test, loop.parameters, [goes_on])
        choose = self._reserve()
        self.block(body, loop.parameters, loop.outputs)
        loop.end()
        self.instructions[choose] = Choose(goes_on, (self.here, choose + 1))
        loop.finish()

    def scan(self, node: Node, operands: Sequence[int], results: Sequence[int]) -> None:
        body, constants, carries = (node.attributes[name] for name in ("body", "constants", "carries"))
        loop = _Loop(self, operands[:constants], node.attributes["length"])
        stacked = {body.outputs[k]: k for k in range(len(results) - 1, carries - 1, -1)}
        registers = {k: self.register(body.outputs[k].type) for k in range(carries, len(results))}
        made = {v for v in body.outputs if v not in body.parameters and v.node.op.name != "constant"}
        for k in range(carries):
            output, first = body.outputs[k], operands[constants + k]
            if output in stacked and output in made:
                loop.carry(first, results[k], source=registers[stacked[output]])
            else:
                loop.carry(first, results[k], is_updated=_is_update(output, body.parameters[constants + k]))
        backwards = node.attributes["reverse"]
        for parameter, array in zip(body.parameters[constants + carries :], operands[constants + carries :], strict=True):
            loop.slice(self.register(parameter.type), array, backwards)
        for k, register in registers.items():
            loop.stack(register, results[k], backwards)
        loop.begin()
        self.block(body, loop.parameters, loop.outputs)
        loop.end()
        loop.finish()


_REGIONS: Final[Mapping[str, Callable[[Assembly, Node, Sequence[int], Sequence[int]], None]]] = {
    "cond": Assembly.cond, "while_loop": Assembly.while_loop, "scan": Assembly.scan
}  # fmt: skip


def _is_view(step: KernelStep | OpStep | ViewStep) -> bool:
    """Whether the results are the operands' buffers."""
    return isinstance(step, ViewStep) or (isinstance(step, OpStep) and step.node.op.name == "optimization_barrier")


def _is_update(output: Value, parameter: Value) -> bool:
    """Whether a carry is what it was with parts replaced: it is updated where it lies."""
    value = output
    while value.node.op.name in UPDATES or value.node.op.name == "reshape":
        value = value.node.inputs[0]
    return value == parameter


class _Loop:
    """One loop in the making. Its carries are of three kinds.

    * Two buffers take turns: a step reads one and writes the other. One of them is the result's own.
    * A carry that is stacked too is, for the next step, the slice that this one wrote.
    * A carry that a step updates in place, or leaves as it is, stays in the result's buffer.
    """

    def __init__(self, assembly: Assembly, constants: Sequence[int], length: Dim | None) -> None:
        self.assembly = assembly
        self.length = length
        self.counter = assembly.register(_COUNTER)
        self.parameters = list(constants)
        self.outputs: list[int] = []
        self.finals: list[tuple[int, int]] = []
        self.pointers: list[tuple[int, int]] = []
        self.slices: list[tuple[int, int, bool]] = []
        self.writes: list[int] = []
        self.moves: list[tuple[int, int]] = []
        self.swaps: list[tuple[int, int]] = []
        self.reads: list[int] = list(constants)
        self.start = 0
        self.place = 0

    def carry(self, first: int, result: int, *, source: int | None = None, is_updated: bool = False) -> None:
        """``first``: the slot of what the loop begins with; ``source``: the register of the slices that it is stacked in."""
        assembly = self.assembly
        type_ = assembly.types[result]
        current = assembly.register(type_)
        self.parameters.append(current)
        self.reads.append(result)
        if source is not None:
            self.pointers.append((current, first))
            self.moves.append((current, source))
            self.finals.append((current, result))
            self.reads += [first, current]
            self.outputs.append(source)
            return
        assembly.instructions.append(Copy(first, result))
        self.pointers.append((current, result))
        if is_updated:
            self.outputs.append(current)
            return
        other = assembly.buffer(type_)
        following = assembly.register(type_)
        self.pointers.append((following, other))
        self.swaps.append((current, following))
        self.finals.append((current, result))
        self.writes.append(other)
        self.reads.append(other)
        self.outputs.append(following)

    def slice(self, register: int, array: int, backwards: bool) -> None:
        """``register`` goes along the slices of ``array``."""
        self.parameters.append(register)
        self.slices.append((register, array, backwards))
        self.reads += [array, register]

    def stack(self, register: int, result: int, backwards: bool) -> None:
        """``register`` goes along the slices of ``result``, which the steps write."""
        self.outputs.append(register)
        self.slices.append((register, result, backwards))
        self.writes.append(result)
        self.reads.append(result)

    def begin(self) -> None:
        self.place = self.assembly.here
        self.assembly.instructions.append(
            BeginLoop(self.counter, self.length, 0, tuple(self.pointers), tuple(self.slices), tuple(self.writes))
        )
        self.start = self.assembly.here

    def end(self) -> None:
        instructions = self.assembly.instructions
        advances = tuple([(register, backwards) for register, _, backwards in self.slices])
        instructions.append(
            EndLoop(
                self.counter, self.length, self.start, tuple(self.moves), tuple(self.swaps), advances, tuple(self.reads)
            )
        )
        begin: Any = instructions[self.place]
        instructions[self.place] = replace(begin, exit=self.assembly.here)

    def finish(self) -> None:
        """Bring the last carry to where the results are."""
        self.assembly.instructions += [Copy(current, result) for current, result in self.finals]
