"""Graph → executable on the CPU: plan, emit, compile with Numba, put together a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from graphc.errors import ArgumentError, BackendError
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.types import TensorType
from graphc.loops.plan import KernelStep, Plan, ProductStep, Step, ViewStep, make_plan
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.executable import Executable
from graphc.runtime.program import Instruction, NativeKernel, Program, RunCheck, RunKernels, RunLibrary, View

from .emit import emit
from .emit_epilogue import SIGNATURE as EPILOGUE_SIGNATURE
from .emit_epilogue import emit_epilogue, sum_in_result
from .epilogue import Epilogue
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .kernels import ModuleNames, compile_kernel
from .library import BLAS, LIBRARY, LibraryMaker
from .structural import LOWERINGS as STRUCTURAL
from .structural.indexing import CHECKED, UPDATES, starts_inside
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


def compile(graph: Graph, *, fast_math: bool = False, blas: bool | None = None) -> Executable:
    """An executable of ``graph``. Kernels with the same text are compiled once, and kept on disk.

    ``blas``: matrix products run through NumPy, and so on the BLAS that it was built with, instead of kernels of our own.
    None leaves it to the variable GRAPHC_MATMUL, ``own`` (the default) or ``blas``. Our kernels are as fast as OpenBLAS, and
    small products take half as long, as the tape does not stop for them; they take a second or two to compile, once, where
    there is a cache on disk.

    Raises BackendError for an op that this backend has no lowering for.
    """
    if blas is None:
        blas = _blas_is_chosen()
    library = {**LIBRARY, **BLAS} if blas else LIBRARY
    plan = make_plan(graph, frozenset(library))
    return Executable(graph, _Assembly(plan, fast_math, library).program())


def _blas_is_chosen() -> bool:
    chosen = os.environ.get("GRAPHC_MATMUL", "own")
    if chosen not in ("blas", "own"):
        raise ArgumentError(f"GRAPHC_MATMUL is {chosen!r}", hint="set it to blas or own")
    return chosen == "blas"


def native_kernel(
    source: KernelSource, *, fast_math: bool = False, shown: str | None = None, signature: Sequence[str] = SIGNATURE
) -> NativeKernel:
    """Compile one kernel. ``shown`` is the text that dumps show, with comments that the compiled one lacks."""
    compiled = compile_kernel(
        source.source,
        source.name,
        signature,
        filename=f"<graphc kernel {source.name}>",
        fast_math=fast_math,
        namespace=NAMESPACE,
    )
    texts: dict[str, Callable[[], str]] = {
        "source": lambda: shown or source.source,
        "llvm": compiled.llvm,
        "asm": compiled.asm,
    }
    return NativeKernel(
        source.name, compiled.call, compiled.address, source.sizes, source.extent, lambda stage: texts[stage]()
    )


class _Assembly:
    def __init__(self, plan: Plan, fast_math: bool, library: Mapping[str, LibraryMaker]) -> None:
        self.plan, self.fast_math, self.library = plan, fast_math, library
        self.slots: dict[Value, int] = {}

    def program(self) -> Program:
        graph = self.plan.graph
        parameters = [self._slot(p) for p in graph.parameters]
        literals = {
            self._slot(value): np.require(array, value.type.dtype.numpy, ["C", "A"])
            for value, array in self.plan.literals.items()
        }
        instructions = [self._instruction(step) for step in self.plan.steps]
        outputs = [self._slot(o) for o in graph.outputs]
        return Program(
            slots=tuple(value.type for value in self.slots),
            parameters=tuple(parameters),
            outputs=tuple(outputs),
            literals=literals,
            instructions=tuple(instructions),
            aliases=dict(graph.aliases),
            walk=walk(),
            texts={"kernels": self.plan.describe},
        )

    def _slot(self, value: Value) -> int:
        return self.slots.setdefault(value, len(self.slots))

    def _slots(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple([self._slot(v) for v in values])

    def _instruction(self, step: Step) -> Instruction:
        operands, results = self._slots(step.operands), self._slots(step.results)
        if isinstance(step, KernelStep):
            sources = emit(step.kernel)
            shown = emit(step.kernel, annotate=True)
            kernels = [
                native_kernel(s, fast_math=self.fast_math, shown=a.source) for s, a in zip(sources, shown, strict=True)
            ]
            return RunKernels(tuple(kernels), operands, results, sources[0].scratch)
        if isinstance(step, ProductStep):
            return self._product(step, operands, results)
        node = step.node
        if isinstance(step, ViewStep):
            return View(operands[0], results[0], node.types[0].shape, node.location)
        if node.op.name == "check":
            return RunCheck(operands[0], node.attributes["message"], node.location)
        if node.op.name in self.library:
            return RunLibrary(node.op.name, self.library[node.op.name](node), operands, results)
        return self._structural(node, operands, results)

    def _product(self, step: ProductStep, operands: tuple[int, ...], results: tuple[int, ...]) -> RunKernels:
        """A product whose kernels call its epilogue. The sums are in a result's buffer until the epilogue replaces them."""
        node, kernel = step.node, step.epilogue
        end = len(operands) + len(results)
        scratch: tuple[TensorType, ...] = ()
        if step.keeps:
            sums = end - 1
        elif (place := sum_in_result(kernel)) is not None:
            sums = len(operands) + place
        else:
            sums, scratch = end, (node.types[0],)
        positions = [sums, *range(2, len(operands)), *range(len(operands), len(operands) + len(kernel.results))]
        shown = emit_epilogue(kernel, positions, annotate=True).source
        text = emit_epilogue(kernel, positions)
        called = native_kernel(text, fast_math=self.fast_math, shown=shown, signature=EPILOGUE_SIGNATURE)
        lower = lower_conv_general if node.op.name == "conv_general" else lower_dot_general
        sources = lower(
            node.attributes, [v.type for v in node.inputs], node.types,
            Epilogue(called.address, text.sizes), result=sums, scratch_at=end + len(scratch),
        )  # fmt: skip
        kernels = tuple([native_kernel(source, fast_math=self.fast_math) for source in sources])
        return RunKernels(kernels, operands, results, (*scratch, *sources[0].scratch), called=(called,))

    def _structural(self, node: Node, operands: tuple[int, ...], results: tuple[int, ...]) -> RunKernels:
        lowering = LOWERINGS.get(node.op.name)
        if lowering is None:
            raise BackendError(f"the cpu backend has no lowering for {node.op.name}", location=node.location)
        lowered = lowering(node.attributes, [v.type for v in node.inputs], node.types)
        sources = (lowered,) if isinstance(lowered, KernelSource) else lowered
        kernels = tuple([native_kernel(source, fast_math=self.fast_math) for source in sources])
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
