"""Plans → one program: values get slots, regions become loops and jumps, kernels are emitted and compiled.

What is in whose memory is known before kernels are made, as they depend on it.

All regions share the slots of the program. The parameters of a branch are the slots of its operands, and its results are made
where the results of the ``cond`` are. What a loop carries is reached through *registers*: addresses that change from step to
step, so that two buffers take turns without being copied, and slices are read and written where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from graphc.dtypes import int64
from graphc.errors import BackendError
from graphc.ir.dims import Dim, product
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location
from graphc.loops.overwrite import Overwrite, overwritable
from graphc.loops.plan import KernelStep, OpStep, Plan, ProductStep, Step, ViewStep, make_plan
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.compile_log import CompileLog, is_logged, logging_into, note_copies, phase
from graphc.runtime.copies import find_copies
from graphc.runtime.program import (
    NOTHING,
    BeginLoop,
    Choose,
    Copy,
    EndLoop,
    GoTo,
    Instruction,
    NativeKernel,
    Permissions,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
)
from graphc.runtime.storage import Memory

from .emit import emit
from .fused_product import FusedProduct
from .library import LibraryMaker
from .structural.indexing import CHECKED, UPDATES, copy_outside, starts_inside
from .walker import walk

_COUNTER: Final = TensorType(int64, ())
Slots = dict[Value, int]


class Compiler(Protocol):
    """What compiles kernels."""

    def prepare(self, sources: Sequence[KernelSource], epilogues: Sequence[KernelSource] = ()) -> None:
        """Compile what will be asked for, several at a time."""

    def epilogue(self, source: KernelSource, shown: str) -> NativeKernel:
        """What the kernels of a product call; ``shown`` as for :meth:`kernel`."""

    def kernel(self, source: KernelSource, shown: str | None = None) -> NativeKernel:
        """``shown``: the text that dumps show, with comments that the compiled one lacks."""


class Assembly:
    """Makes the programs of one graph. ``lowerings``: of the structural ops, by name; ``library``: what runs through NumPy."""

    def __init__(
        self,
        graph: Graph,
        compiler: Compiler,
        lowerings: Mapping[str, Lowering],
        library: Mapping[str, LibraryMaker],
    ) -> None:
        self.compiler, self.lowerings, self.library = compiler, lowerings, library
        self.separate = frozenset(library)
        self.types: list[TensorType] = []
        self.literals: dict[int, np.ndarray] = {}
        self.instructions: list[Instruction] = []
        self.registers: set[int] = set()
        self.fixed: set[int] = set()
        self.plans: list[Plan] = []
        self.steps: dict[int, tuple[int, int]] = {}  # instruction that runs kernels → plan and step
        parameters = [self.slot(p.type) for p in graph.parameters]
        outputs = self.block(graph, parameters)
        with logging_into(CompileLog()):  # what walks the tape is no kernel of this program
            walker = walk()
        self.lines = [UNKNOWN if o.node.op.name == "parameter" else o.node.location for o in graph.outputs]
        self.outline = Program(
            slots=tuple(self.types),
            parameters=tuple(parameters),
            outputs=tuple(outputs),
            literals=self.literals,
            instructions=tuple(self.instructions),
            aliases=dict(graph.aliases),
            walk=walker,
            registers=frozenset(self.registers),
            fixed=frozenset(self.fixed),
            names=tuple([p.node.name or f"input {place}" for place, p in enumerate(graph.parameters)]),
        )

    def program(self, permissions: Permissions = NOTHING) -> Program:
        """The program that does to its parameters what ``permissions`` allow."""
        outline = replace(self.outline, permissions=permissions)
        memory = Memory(outline, permissions)
        chosen = memory.overwrites
        if is_logged() and (permissions.in_place or not outline.aliases):
            note_copies(find_copies(outline, memory, self.lines))
        steps = [list(plan.steps) for plan in self.plans]
        instructions = list(outline.instructions)
        sources: dict[int, tuple[KernelSource, ...]] = {}
        products: dict[int, FusedProduct] = {}
        with phase("kernels"):
            for number, (plan, place) in self.steps.items():
                step = steps[plan][place]
                if isinstance(step, KernelStep):
                    steps[plan][place] = step = replace(step, kernel=replace(step.kernel, overwrites=chosen[number]))
                if isinstance(step, ProductStep):
                    products[number] = FusedProduct(step)
                    sources[number] = products[number].kernels(0)
                else:
                    sources[number] = self._sources(step)
            self.compiler.prepare(
                [source for several in sources.values() for source in several],
                [product.epilogue for product in products.values()],
            )
            for number, (plan, place) in self.steps.items():
                made = instructions[number]
                assert isinstance(made, RunKernels)
                if number in products:
                    instructions[number] = self._with_epilogue(products[number], made)
                else:
                    instructions[number] = self._with_kernels(steps[plan][place], made, sources[number])
        plans = [replace(plan, steps=tuple(new)) for plan, new in zip(self.plans, steps, strict=True)]
        texts = {"kernels": lambda: "\n\n".join(plan.describe() for plan in plans)}
        return replace(outline, instructions=tuple(instructions), texts=texts)

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
        # Fused updates of slices write to other memory than they read; a loop's carries stay where they are.
        plan = make_plan(graph, self.separate, place_updates=not self.plans, epilogues=True)
        self.plans.append(plan)
        number = len(self.plans) - 1
        slots: Slots = dict(zip(graph.parameters, parameters, strict=True))
        for value, array in plan.literals.items():
            slots[value] = self.slot(value.type)
            self.literals[slots[value]] = np.require(array, value.type.dtype.numpy, ["C", "A"])
        left = [] if destinations is None else self._make_in_place(plan, slots, destinations)
        for place, step in enumerate(plan.steps):
            self._step(step, slots, (number, place))
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

    def _step(self, step: Step, slots: Slots, place: tuple[int, int]) -> None:
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
        instruction = self._outline(step, operands, results)
        if isinstance(instruction, RunKernels):
            self.steps[self.here] = place
        self.instructions.append(instruction)

    def _outline(self, step: Step, operands: tuple[int, ...], results: tuple[int, ...]) -> Instruction:
        """The instruction of a step, yet without kernels, and with all that it could overwrite."""
        if isinstance(step, KernelStep):
            updated = _updated(step)
            overwrites = overwritable(step.kernel, updated)
            return RunKernels(
                (), operands, results, location=_location(step), overwrites=overwrites, region_of=updated
            )
        node = step.node
        if isinstance(step, ProductStep):
            return RunKernels((), operands, results, location=node.location, operations=_operations(node))
        if isinstance(step, ViewStep):
            return View(operands[0], results[0], node.types[0].shape, node.location)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location)
        if node.op.name in self.library:
            return RunLibrary(node.op.name, self.library[node.op.name](node), operands, results)
        if node.op.name not in self.lowerings:
            raise BackendError(f"the cpu backend has no lowering for {node.op.name}", location=node.location)
        return RunKernels(
            (),
            operands,
            results,
            checks=node.op.name in CHECKED and not starts_inside(node),
            op=node.op.name,
            location=node.location,
            updates=node.op.name in UPDATES,
            operations=_operations(node),
        )

    def _sources(self, step: KernelStep | OpStep | ViewStep) -> tuple[KernelSource, ...]:
        """The kernels of a step, in order."""
        if isinstance(step, KernelStep):
            sources = emit(step.kernel)
            updated = _updated(step)
            if step.placement is not None and updated is not None and not step.kernel.overwrites:
                sources = (copy_outside(step.placement, updated, len(step.operands)), *sources)
            return sources
        node = step.node
        lowered = self.lowerings[node.op.name](node.attributes, [v.type for v in node.inputs], node.types)
        return (lowered,) if isinstance(lowered, KernelSource) else lowered

    def _with_kernels(self, step: Step, made: RunKernels, sources: Sequence[KernelSource]) -> RunKernels:
        shown: dict[str, str] = {}
        chosen: tuple[Overwrite, ...] = ()
        if isinstance(step, KernelStep):
            shown = {source.name: source.source for source in emit(step.kernel, annotate=True)}
            chosen = tuple([Overwrite(*pair) for pair in step.kernel.overwrites])
        kernels = tuple([self.compiler.kernel(source, shown.get(source.name)) for source in sources])
        return replace(made, kernels=kernels, scratch=sources[-1].scratch, overwrites=chosen)

    def _with_epilogue(self, product: FusedProduct, made: RunKernels) -> RunKernels:
        called = self.compiler.epilogue(product.epilogue, product.shown)
        kernels = tuple([self.compiler.kernel(source) for source in product.kernels(called.address)])
        return replace(made, kernels=kernels, scratch=product.scratch, called=(called,))

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
        cycles = _cycles(body.outputs, body.parameters[constants:])
        for k, (first, result) in enumerate(zip(operands[constants:], results, strict=True)):
            if any(k in cycle for cycle in cycles):
                loop.turn(first, result)
            else:
                loop.carry(first, result, is_updated=_is_update(body.outputs[k], body.parameters[constants + k]))
        loop.take_turns(cycles)
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
        cycles = _cycles(body.outputs[:carries], body.parameters[constants : constants + carries])
        # What is stacked too is written to the stack, and is there for the next step.
        to_stack = made.intersection(stacked)
        cycles = [cycle for cycle in cycles if not any(body.outputs[k] in to_stack for k in cycle)]
        for k in range(carries):
            output, first = body.outputs[k], operands[constants + k]
            if any(k in cycle for cycle in cycles):
                loop.turn(first, results[k])
            elif output in stacked and output in made:
                loop.carry(first, results[k], source=(registers[stacked[output]], results[stacked[output]]))
            else:
                loop.carry(first, results[k], is_updated=_is_update(output, body.parameters[constants + k]))
        loop.take_turns(cycles)
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


def _operations(node: Node) -> Dim:
    """Multiplications of a product or convolution: for each element of the result, as many as the operands hold for it."""
    if node.op.name == "dot_general":
        return node.types[0].size * product(node.inputs[0].shape[axis] for axis in node.attributes["contract"][0])
    if node.op.name == "conv_general":
        return node.types[0].size * product(node.inputs[1].shape[1:])
    return 0


def _updated(step: KernelStep) -> int | None:
    """The operand that the kernel writes a region of."""
    return None if step.placement is None else step.operands.index(step.placement.whole)


def _location(step: KernelStep) -> Location:
    """The line of what the kernel makes."""
    node = step.results[0].node if step.placement is None else step.placement.update
    return node.location


def _is_view(step: Step) -> bool:
    """Whether the results are the operands' buffers."""
    return isinstance(step, ViewStep) or (isinstance(step, OpStep) and step.node.op.name == "optimization_barrier")


def _is_update(output: Value, parameter: Value) -> bool:
    """Whether a carry is what it was with parts replaced: it is updated where it lies."""
    value = output
    while value.node.op.name in UPDATES or value.node.op.name == "reshape":
        value = value.node.inputs[0]
    return value == parameter


class _Turning(NamedTuple):
    """A carry that changes places: the registers of what it is in a step and after the last one, and its first buffer."""

    current: int
    last: int
    buffer: int
    result: int


def _cycles(outputs: Sequence[Value], parameters: Sequence[Value]) -> list[list[int]]:
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


class _Loop:
    """One loop in the making. Its carries are of four kinds.

    * Two buffers take turns: a step reads one and writes the other. One of them is the result's own.
    * A carry that is stacked too is, for the next step, the slice that this one wrote.
    * A carry that a step updates in place, or leaves as it is, stays in the result's buffer.
    * Carries that change places, as the buffers of a simulation do, each have one of several buffers, which take turns.
    """

    def __init__(self, assembly: Assembly, constants: Sequence[int], length: Dim | None) -> None:
        self.assembly = assembly
        self.length = length
        self.counter = assembly.register(_COUNTER)
        self.parameters = list(constants)
        self.outputs: list[int] = []
        self.finals: list[Copy] = []
        self.pointers: list[tuple[int, int]] = []
        self.slices: list[tuple[int, int, bool]] = []
        self.writes: list[int] = []
        self.moves: list[tuple[int, int]] = []
        self.swaps: list[tuple[int, int]] = []
        self.reads: list[int] = list(constants)
        self.turning: dict[int, _Turning] = {}  # by carry
        self.start = 0
        self.place = 0

    def carry(
        self, first: int, result: int, *, source: tuple[int, int] | None = None, is_updated: bool = False
    ) -> None:
        """``first``: the slot of what the loop begins with; ``source``: the register of the slices that it is stacked in, and
        the stack."""
        assembly = self.assembly
        type_ = assembly.types[result]
        current = assembly.register(type_)
        self.parameters.append(current)
        self.reads.append(result)
        if source is not None:
            self.pointers.append((current, first))
            register, stack = source
            self.moves.append((current, register))
            self.finals.append(Copy(current, result, (first, stack)))
            self.reads += [first, current]
            self.outputs.append(register)
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
        self.finals.append(Copy(current, result, (result, other)))
        self.writes.append(other)
        self.reads.append(other)
        self.outputs.append(following)

    def turn(self, first: int, result: int) -> None:
        """A carry that changes places with others; see :meth:`take_turns`."""
        assembly = self.assembly
        buffer = assembly.buffer(assembly.types[result])
        current, last = assembly.register(assembly.types[result]), assembly.register(assembly.types[result])
        assembly.instructions.append(Copy(first, buffer))
        self.pointers += [(current, buffer), (last, buffer)]
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
        self.assembly.instructions += self.finals
