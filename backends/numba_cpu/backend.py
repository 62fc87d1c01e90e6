"""Graph → executable on the CPU: plan, emit, compile with Numba, put together a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from graphc.errors import ArgumentError, BackendError
from graphc.ir.dims import Dim, product
from graphc.ir.graph import Graph, Node, Value
from graphc.loops.overwrite import Overwrite, overwritable
from graphc.loops.plan import KernelStep, Plan, Step, ViewStep, make_plan
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.executable import Executable
from graphc.runtime.program import (
    NOTHING,
    Instruction,
    NativeKernel,
    Permissions,
    Program,
    RunCheck,
    RunKernels,
    RunLibrary,
    View,
)
from graphc.runtime.storage import choose_overwrites

from .compile_pool import Request
from .emit import emit
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .kernels import ModuleNames, compile_kernel, compile_several
from .library import BLAS, LIBRARY, LibraryMaker
from .structural import LOWERINGS as STRUCTURAL
from .structural.indexing import CHECKED, UPDATES, copy_outside, starts_inside
from .walker import walk

SIGNATURE: Final = ("i64*", "i64*", "i64", "i64", "i64*")

NAMESPACE: Final = ModuleNames("kernel_names")
"""What the text of a kernel may name."""

LOWERINGS: Final[dict[str, Lowering]] = {
    **STRUCTURAL,
    "dot_general": lower_dot_general,
    "conv_general": lower_conv_general,
}
"""Primitive name → lowering, of every op that is not elementwise."""


def compile(
    graph: Graph, *, fast_math: bool = False, blas: bool | None = None, permissions: Permissions = NOTHING
) -> Executable:
    """An executable of ``graph``. Kernels with the same text are compiled once, and kept on disk. ``permissions``: what it
    may do to the memory of its inputs (see :meth:`Executable.permitted`).

    ``blas``: matrix products run through NumPy, and so on the BLAS that it was built with, instead of kernels of our own.
    None leaves it to the variable GRAPHC_MATMUL, ``own`` (the default) or ``blas``. Our kernels are as fast as OpenBLAS, and
    small products take half as long, as the tape does not stop for them; they take a second or two to compile, once, where
    there is a cache on disk.

    Raises BackendError for an op that this backend has no lowering for.
    """
    if blas is None:
        blas = _blas_is_chosen()
    library = {**LIBRARY, **BLAS} if blas else LIBRARY
    assembly = _Assembly(make_plan(graph, frozenset(library), place_updates=True), fast_math, library)
    return Executable(graph, assembly.program(permissions), assembly.program)


def _blas_is_chosen() -> bool:
    chosen = os.environ.get("GRAPHC_MATMUL", "own")
    if chosen not in ("blas", "own"):
        raise ArgumentError(f"GRAPHC_MATMUL is {chosen!r}", hint="set it to blas or own")
    return chosen == "blas"


def _request(source: KernelSource, fast_math: bool) -> Request:
    return Request(
        source.source, source.name, SIGNATURE, f"<graphc kernel {source.name}>", fast_math, NAMESPACE.module
    )


def native_kernel(source: KernelSource, *, fast_math: bool = False, shown: str | None = None) -> NativeKernel:
    """Compile one kernel. ``shown`` is the text that dumps show, with comments that the compiled one lacks."""
    text, name, signature, filename, fast_math, _ = _request(source, fast_math)
    compiled = compile_kernel(text, name, signature, filename=filename, fast_math=fast_math, namespace=NAMESPACE)
    texts: dict[str, Callable[[], str]] = {
        "source": lambda: shown or source.source,
        "llvm": compiled.llvm,
        "asm": compiled.asm,
    }
    return NativeKernel(
        source.name, compiled.call, compiled.address, source.sizes, source.extent, lambda stage: texts[stage]()
    )


class _Assembly:
    """Puts programs together from a plan. What is in whose memory is known before kernels are made, as they depend on it."""

    def __init__(self, plan: Plan, fast_math: bool, library: Mapping[str, LibraryMaker]) -> None:
        self.plan, self.fast_math, self.library = plan, fast_math, library
        self.slots: dict[Value, int] = {}
        graph = plan.graph
        parameters = [self._slot(p) for p in graph.parameters]
        literals = {
            self._slot(value): np.require(array, value.type.dtype.numpy, ["C", "A"]) for value, array in plan.literals.items()
        }
        instructions = [self._outline(step) for step in plan.steps]
        outputs = [self._slot(o) for o in graph.outputs]
        self.outline = Program(
            slots=tuple(value.type for value in self.slots),
            parameters=tuple(parameters),
            outputs=tuple(outputs),
            literals=literals,
            instructions=tuple(instructions),
            aliases=dict(graph.aliases),
            walk=walk(),
        )

    def program(self, permissions: Permissions = NOTHING) -> Program:
        outline = replace(self.outline, permissions=permissions)
        steps: list[Step] = []
        for step, overwrites in zip(self.plan.steps, choose_overwrites(outline), strict=True):
            if isinstance(step, KernelStep):
                step = replace(step, kernel=replace(step.kernel, overwrites=overwrites))
            steps.append(step)
        sources = [
            self._sources(step) if isinstance(made, RunKernels) else ()
            for step, made in zip(steps, outline.instructions, strict=True)
        ]
        compile_several([_request(source, self.fast_math) for several in sources for source in several])
        instructions = [
            self._with_kernels(step, made, several) if isinstance(made, RunKernels) else made
            for step, made, several in zip(steps, outline.instructions, sources, strict=True)
        ]
        plan = replace(self.plan, steps=tuple(steps))
        return replace(outline, instructions=tuple(instructions), texts={"kernels": plan.describe})

    def _slot(self, value: Value) -> int:
        return self.slots.setdefault(value, len(self.slots))

    def _slots(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple([self._slot(v) for v in values])

    def _outline(self, step: Step) -> Instruction:
        """The instruction of a step, yet without kernels, and with all that it could overwrite."""
        operands, results = self._slots(step.operands), self._slots(step.results)
        if isinstance(step, KernelStep):
            return RunKernels((), operands, results, overwrites=overwritable(step.kernel, _updated(step)))
        node = step.node
        if isinstance(step, ViewStep):
            return View(operands[0], results[0], node.types[0].shape, node.location)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location)
        if node.op.name in self.library:
            return RunLibrary(node.op.name, self.library[node.op.name](node), operands, results)
        if node.op.name not in LOWERINGS:
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

    def _sources(self, step: Step) -> tuple[KernelSource, ...]:
        """The kernels of a step, in order."""
        if isinstance(step, KernelStep):
            sources = emit(step.kernel)
            updated = _updated(step)
            if step.placement is not None and updated is not None and not step.kernel.overwrites:
                sources = (copy_outside(step.placement, updated, len(step.operands)), *sources)
            return sources
        node = step.node
        lowered = LOWERINGS[node.op.name](node.attributes, [v.type for v in node.inputs], node.types)
        return (lowered,) if isinstance(lowered, KernelSource) else lowered

    def _with_kernels(self, step: Step, made: RunKernels, sources: Sequence[KernelSource]) -> RunKernels:
        shown: dict[str, str] = {}
        chosen: tuple[Overwrite, ...] = ()
        if isinstance(step, KernelStep):
            shown = {source.name: source.source for source in emit(step.kernel, annotate=True)}
            chosen = tuple([Overwrite(*pair) for pair in step.kernel.overwrites])
        return replace(
            made,
            kernels=tuple([native_kernel(s, fast_math=self.fast_math, shown=shown.get(s.name)) for s in sources]),
            scratch=sources[-1].scratch,
            overwrites=chosen,
        )


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
