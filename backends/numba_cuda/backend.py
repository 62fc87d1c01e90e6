"""Graph → executable on a GPU: plan, emit, put together a program; kernels are compiled when they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphc.backends.numba_cpu.library import CONTROL, LIBRARY
from graphc.dtypes import bool_
from graphc.errors import ArgumentError, BackendError
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Node, Value
from graphc.locations import Location
from graphc.loops.kernel import Kernel
from graphc.loops.plan import KernelStep, OpStep, Plan, Step, ViewStep, make_plan
from graphc.runtime.executable import Executable
from graphc.runtime.program import Instruction, Program, RunCheck, RunKernels, RunLibrary, View

from .emit import emit
from .executable import CudaExecutable
from .geometry import DEVICE, SIMULATOR, Geometry
from .kernels import DeviceKernel
from .machine import present_machine
from .occupancy import Architecture, architecture
from .regions import control_flow
from .source import DeviceLowering, DeviceText
from .structural import LOWERINGS

#: What is no kernel: rare functions, which run on the host, and control flow, which the host launches as it goes along.
SEPARATE = frozenset([*LIBRARY, *CONTROL])


def compile(graph: Graph, *, fast_math: bool = False) -> Executable:
    """An executable of ``graph`` for the GPU here, or for the simulator where ``NUMBA_ENABLE_CUDASIM=1``.

    ``fast_math`` has done its work in the passes: numba-cuda's own licences would let tests for NaN fold to false.

    Raises DeviceError where there is neither; BackendError for an op that this backend has no lowering for.
    """
    return _compile(graph, present_machine().architecture)


@dataclass(frozen=True)
class ForMachine:
    """The backend for one architecture, which need not be here."""

    architecture: Architecture

    def compile(self, graph: Graph, *, fast_math: bool = False) -> Executable:
        """An executable of ``graph`` whose code can be looked at, and that runs where there is such a GPU."""
        return _compile(graph, self.architecture)


def for_machine(name: str) -> ForMachine:
    """The backend for an architecture such as ``sm_90``; raises BackendError for one that it has no code for."""
    return ForMachine(architecture(name))


def _compile(graph: Graph, target: Architecture | None) -> Executable:
    assembly = _Assembly(make_plan(graph, SEPARATE), target)
    return CudaExecutable(graph, assembly.program(), target, assembly.check_kernel())


def _is_deterministic() -> bool:
    chosen = os.environ.get("GRAPHC_DETERMINISTIC", "0")
    if chosen not in ("0", "1"):
        raise ArgumentError(f"GRAPHC_DETERMINISTIC is {chosen!r}", hint="set it to 0 or 1")
    return chosen == "1"


class _Assembly:
    def __init__(self, plan: Plan, target: Architecture | None) -> None:
        self.plan, self.target = plan, target
        self.geometry: Geometry = replace(SIMULATOR if target is None else DEVICE, deterministic=_is_deterministic())
        self.slots: dict[Value, int] = {}

    def program(self) -> Program:
        graph = self.plan.graph
        parameters = [self._slot(p) for p in graph.parameters]
        literals = {
            self._slot(value): np.require(array, value.type.dtype.numpy, ["C", "A"])
            for value, array in self.plan.literals.items()
        }
        instructions = [made for step in self.plan.steps for made in self._instructions(step)]
        outputs = [self._slot(o) for o in graph.outputs]
        return Program(
            slots=tuple(value.type for value in self.slots),
            parameters=tuple(parameters),
            outputs=tuple(outputs),
            literals=literals,
            instructions=tuple(instructions),
            aliases=dict(graph.aliases),
            texts={"kernels": self.plan.describe},
        )

    def check_kernel(self) -> DeviceKernel:
        """The kernel of a run-time check, which reports a scalar that is false."""
        text = DeviceText("check", self.geometry, threads=1)
        text.buffer("holds", 0, bool_)
        with text.block("if holds[0] == 0:"):
            text.report("0", 0, "0")
        return DeviceKernel(text.finish(1, 1), self.target)

    def _slot(self, value: Value) -> int:
        return self.slots.setdefault(value, len(self.slots))

    def _slots(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple([self._slot(v) for v in values])

    def _region(self, graph: Graph) -> Program:
        return _Assembly(make_plan(graph, SEPARATE), self.target).program()

    def _instructions(self, step: Step) -> list[Instruction]:
        if isinstance(step, KernelStep):
            return [self._kernel(step.kernel, step.operands, step.results)]
        if isinstance(step, ViewStep):
            operand, result = self._slot(step.operands[0]), self._slot(step.results[0])
            return [View(operand, result, step.node.types[0].shape, step.node.location)]
        if isinstance(step, OpStep):
            return [self._op(step.node)]
        raise BackendError(f"the cuda backend has no steps of the kind {type(step).__name__}")

    def _kernel(self, kernel: Kernel, operands: Sequence[Value], results: Sequence[Value]) -> RunKernels:
        sources = emit(kernel, self.geometry)
        shown = [source.source for source in emit(kernel, self.geometry, annotate=True)]
        moved = _moved((*operands, *results))
        made = [DeviceKernel(s, self.target, moved, text) for s, text in zip(sources, shown, strict=True)]
        scratch, location = sources[0].scratch, _location(kernel)
        return RunKernels(tuple(made), self._slots(operands), self._slots(results), scratch, location=location)

    def _op(self, node: Node) -> Instruction:
        operands, results = self._slots(node.inputs), self._slots(node.results)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location)
        if node.op.name in CONTROL:
            return RunLibrary(node.op.name, control_flow(node, self._region), operands, results)
        if node.op.name in LIBRARY:
            return RunLibrary(node.op.name, LIBRARY[node.op.name](node), operands, results)
        lowering: DeviceLowering | None = LOWERINGS.get(node.op.name)
        if lowering is None:
            raise BackendError(f"the cuda backend has no lowering for {node.op.name}", location=node.location)
        lowered = lowering(node.attributes, [v.type for v in node.inputs], node.types, self.geometry)
        moved = _moved((*node.inputs, *node.results))
        return RunKernels(
            tuple([DeviceKernel(source, self.target, moved) for source in lowered]),
            operands,
            results,
            lowered[0].scratch,
            checks=any(source.checks for source in lowered),
            op=node.op.name,
            location=node.location,
        )


def _location(kernel: Kernel) -> Location | None:
    """The user's line that the last of what the kernel computes is from."""
    instructions = [each for stage in kernel.stages for each in (*stage.body, *stage.epilogue)]
    return next((each.location for each in reversed(instructions) if each.location.line), None)


def _moved(values: Sequence[Value]) -> Dim:
    """The bytes of ``values``, each counted once."""
    total: Dim = 0
    for value in dict.fromkeys(values):
        total = total + value.type.size * value.type.dtype.numpy.itemsize
    return total
