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
from typing import Final, Protocol

import numpy as np

from graphc.dtypes import int64
from graphc.errors import BackendError
from graphc.ir.dims import Dim, is_smaller, product
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.operands import operands_of_node
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location
from graphc.loops.divide import divided_values, with_rows
from graphc.loops.overwrite import Overwrite, overwritable
from graphc.loops.plan import KernelStep, OpStep, Plan, ProductStep, Step, ViewStep, make_plan
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.compile_log import CompileLog, is_logged, logging_into, note_copies, phase
from graphc.runtime.copies import find_copies
from graphc.runtime.program import (
    NOTHING,
    Choose,
    Copy,
    Fork,
    GoTo,
    Instruction,
    NativeKernel,
    Permissions,
    Program,
    Rival,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
    describe_rivals,
)
from graphc.runtime.storage import Memory
from graphc.runtime.tape import MOST_PIECES
from graphc.runtime.tape_words import FORK_ROWS, FORK_WORK
from graphc.runtime.threads import get_num_threads

from .emit import emit
from .fused_product import FusedProduct
from .library import LibraryMaker
from .loop import ALL, Loop, Part, Whole, cycles_of
from .product_choice import ProductStepKernels, rival_of
from .structural.indexing import CHECKED, UPDATES, copy_outside, starts_inside
from .walker import branch_runner, walk

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
    """Makes the programs of one graph. ``lowerings``: of the structural ops, by name; ``library``: what runs through NumPy;
    ``measures``: whether BLAS may compute matrix products, where it is faster."""

    def __init__(
        self,
        graph: Graph,
        compiler: Compiler,
        lowerings: Mapping[str, Lowering],
        library: Mapping[str, LibraryMaker],
        measures: bool = False,
    ) -> None:
        self.compiler, self.lowerings, self.library, self.measures = compiler, lowerings, library, measures
        self.separate = frozenset(library)
        self.types: list[TensorType] = []
        self.literals: dict[int, np.ndarray] = {}
        self.instructions: list[Instruction] = []
        self.registers: set[int] = set()
        self.fixed: set[int] = set()
        self.forks: int | None = None
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
            forks=self.forks,
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
                    sources[number] = products[number].kernels([0] * len(products[number].called))
                else:
                    sources[number] = self._sources(step)
                reasons = tuple([source.why for source in sources[number] if source.why])
                if reasons and isinstance(step, ProductStep | OpStep):
                    steps[plan][place] = replace(step, why=(*step.why, *reasons))
            self.compiler.prepare(
                [source for several in sources.values() for source in several],
                [source for product in products.values() for source, _ in product.called],
            )
            for number, (plan, place) in self.steps.items():
                made = instructions[number]
                assert isinstance(made, RunKernels)
                if number in products:
                    instructions[number] = self._with_epilogue(products[number], made)
                else:
                    instructions[number] = self._with_kernels(steps[plan][place], made, sources[number])
        plans = [replace(plan, steps=tuple(new)) for plan, new in zip(self.plans, steps, strict=True)]
        program = replace(outline, instructions=tuple(instructions))
        described = lambda: "\n\n".join([*(plan.describe() for plan in plans), *describe_rivals(program)])  # noqa: E731
        return replace(program, texts={"kernels": described})

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
        plan = make_plan(graph, self.separate, place_updates=not self.plans, epilogues=True, prologues=True)
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
                self.instructions.append(View(destination, slots[maker], maker.type.shape, maker.node.location, maker.node))
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
                self.instructions.append(View(operand, result, value.type.shape, value.node.location, value.node))
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
            return View(operands[0], results[0], node.types[0].shape, node.location, node)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location, node)
        if node.op.name in self.library:
            return RunLibrary(node.op.name, self.library[node.op.name](node), operands, results)
        if node.op.name not in self.lowerings:
            raise BackendError(
                f"the cpu backend has no lowering for {node.op.name}", location=node.location, operands=operands_of_node(node)
            )
        return RunKernels(
            (),
            operands,
            results,
            checks=node.op.name in CHECKED and not starts_inside(node),
            op=node.op.name,
            location=node.location,
            node=node,
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
        scratch = sources[-1].scratch
        rival: Rival | None = None
        if self.measures and isinstance(step, OpStep):
            operands, results = ([v.type for v in values] for values in (step.operands, step.results))
            rival = self._rival(ProductStepKernels(step.node, kernels, tuple(operands), tuple(results), scratch))
        return replace(made, kernels=kernels, scratch=scratch, overwrites=chosen, rival=rival)

    def _with_epilogue(self, product: FusedProduct, made: RunKernels) -> RunKernels:
        called = tuple([self.compiler.epilogue(source, shown) for source, shown in product.called])
        addresses = [function.address for function in called]
        kernels = tuple([self.compiler.kernel(source) for source in product.kernels(addresses)])
        rival: Rival | None = None
        if self.measures and not product.step.prologues:
            rival = self._rival(product.described(kernels, addresses))
        return replace(made, kernels=kernels, scratch=product.scratch, called=called, rival=rival)

    def _rival(self, step: ProductStepKernels) -> Rival | None:
        return rival_of(step, self.compiler.kernel)

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
        loop = Loop(self, node.attributes["max_steps"])
        for constant in operands[:constants]:
            loop.constant(constant)
        cycles = cycles_of(body.outputs, body.parameters[constants:])
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
        divided = self._divided(node)
        if divided is None:
            self._scan(node, operands, results)
            return
        constants, carries = node.attributes["constants"], node.attributes["carries"]
        rows: Dim = node.types[0].shape[0]
        count = _most_branches()
        edges = [rows * number // count for number in range(count + 1)]
        if self.forks is None:
            self.forks = self.register(_COUNTER)
        for first, result in list(zip(operands[constants:], results, strict=False))[:carries]:
            self.instructions.append(Copy(first, result))
        fork = self._reserve()
        starts: list[int] = []
        for low, high in pairwise(edges):
            starts.append(self.here)
            part = Part(low, high - low)
            body = with_rows(node.attributes["body"], divided, part.rows)
            has_rows = [v in divided for v in node.attributes["body"].parameters]
            self._scan(node, operands, results, part, body, has_rows, is_copied=True)
        starts.append(self.here)
        self._scan(node, operands, results, is_copied=True)
        with logging_into(CompileLog()):  # no kernel of this program
            runner = branch_runner()
        self.instructions[fork] = Fork(tuple(pairwise(starts)), starts[-1], self.here, runner, rows // count)

    def _divided(self, node: Node) -> frozenset[Value] | None:
        """What has rows in the steps of a scan whose rows several threads may do at the same time; None where it is not so, or
        not worth it."""
        body: Graph = node.attributes["body"]
        if _most_branches() == 1 or any(n.op.name in self.library or n.op.name in CHECKED for n in body.nodes()):
            return None
        constants, carries = node.attributes["constants"], node.attributes["carries"]
        if not carries or not node.types[0].ndim or _turns(body, constants, carries):
            return None
        rows, steps = node.types[0].shape[0], node.attributes["length"]
        work = sum(_operations(n) + sum(t.size * t.dtype.itemsize for t in n.types) for n in body.nodes())
        if is_smaller(rows, FORK_ROWS * _most_branches()) or is_smaller(work * steps, FORK_WORK):
            return None
        return divided_values(body, constants, carries)

    def _scan(
        self,
        node: Node,
        operands: Sequence[int],
        results: Sequence[int],
        part: Whole = ALL,
        body: Graph | None = None,
        divided: Sequence[bool] = (),
        is_copied: bool = False,
    ) -> None:
        """The loop of a scan, for all rows or for a part of them; ``divided``: which parameters of the body have rows."""
        body = body or node.attributes["body"]
        constants, carries = node.attributes["constants"], node.attributes["carries"]
        loop = Loop(self, node.attributes["length"], part, is_copied=is_copied)
        for k, constant in enumerate(operands[:constants]):
            loop.constant(constant, bool(divided) and divided[k])
        stacked = {body.outputs[k]: k for k in range(len(results) - 1, carries - 1, -1)}
        registers = {k: self.register(body.outputs[k].type) for k in range(carries, len(results))}
        made = _made(body)
        cycles = _turns(body, constants, carries)
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
        for k in range(constants + carries, len(operands)):
            parameter = body.parameters[k]
            loop.slice(self.register(parameter.type), operands[k], backwards, bool(divided) and divided[k])
        for k, register in registers.items():
            loop.stack(register, results[k], backwards)
        loop.begin()
        self.block(body, loop.parameters, loop.outputs)
        loop.end()
        loop.finish()


_REGIONS: Final[Mapping[str, Callable[[Assembly, Node, Sequence[int], Sequence[int]], None]]] = {
    "cond": Assembly.cond, "while_loop": Assembly.while_loop, "scan": Assembly.scan
}  # fmt: skip


def _made(body: Graph) -> set[Value]:
    """The outputs of a body that its steps compute."""
    return {v for v in body.outputs if v not in body.parameters and v.node.op.name != "constant"}


def _turns(body: Graph, constants: int, carries: int) -> list[list[int]]:
    """The carries of a scan that change places. What is stacked too is written to the stack, and is there for the next step."""
    stacked = _made(body).intersection(body.outputs[carries:])
    cycles = cycles_of(body.outputs[:carries], body.parameters[constants : constants + carries])
    return [cycle for cycle in cycles if not any(body.outputs[k] in stacked for k in cycle)]


def _most_branches() -> int:
    """How many threads may do rows of a scan: those that a call may use when it is compiled."""
    return min(get_num_threads(), MOST_PIECES)


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
