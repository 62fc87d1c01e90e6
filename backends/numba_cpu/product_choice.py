"""Who computes a product of matrices: kernels of our own or BLAS, by measurement when sizes are first known.

It is decided when the tape for those sizes is made, before anything of it has run: so all calls with those sizes, as long as
the process has the same settings, run the same code. What is measured is the step as it is, with its epilogue, on memory of
its own. Shapes are sorted into classes, half a power of two wide, each of which is measured once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np

from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Node
from graphc.ir.types import Bindings, TensorType
from graphc.loops.source import KernelSource
from graphc.ops.core import concrete_attributes
from graphc.runtime.determinism import is_deterministic
from graphc.runtime.frame import Frame
from graphc.runtime.program import NativeKernel, Program, RunKernels
from graphc.runtime.storage import assign_storage
from graphc.runtime.threads import get_num_threads

from .blas import Blas, find_blas
from .epilogue import NO_EPILOGUE, Epilogue
from .fingerprint import digest
from .gemm.blas_product import blas_product, can_be_blas
from .gemm.lowering import arrange, is_blocked, lower_dot_general
from .gemm.product import Product
from .measured import Times, compare, remembered
from .walker import walk

WORTH: Final = 1 << 20
"""Multiplications from which on it is asked. Smaller products take some microseconds, and ours have less to prepare."""
MOST_OPERATIONS: Final = 1 << 32
"""A product of more multiplications is compared by a smaller one, without its epilogue: the first call should not wait."""
MOST_BYTES: Final = 1 << 28
_MOST_SHOWN: Final = 8


@dataclass(frozen=True)
class ProductStepKernels:
    """What computes a step: a ``dot_general``, after it an ``epilogue`` (see :class:`.fused_product.FusedProduct`).

    ``operands`` and ``results`` are the types of its buffers, ``result`` the place of the product's, ``scratch_at`` of scratch.
    """

    node: Node
    kernels: tuple[NativeKernel, ...]
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    scratch: tuple[TensorType, ...] = ()
    epilogue: Epilogue = NO_EPILOGUE
    epilogue_text: str = ""
    result: int = 2
    scratch_at: int = 3


Compile = Callable[[KernelSource], NativeKernel]


def rival_of(step: ProductStepKernels, compile_kernel: Compile) -> ProductRival | None:
    """What may compute ``step`` in place of its kernels; None where only these can, or sizes are known and too small."""
    node = step.node
    if node.op.name != "dot_general":
        return None
    p, copies, _ = arrange(node.attributes, [v.type for v in node.inputs], step.result, step.scratch_at)
    operations = p.result_size * p.depth
    if not is_blocked(p) or not can_be_blas(p) or (isinstance(operations, int) and operations < WORTH):
        return None
    return ProductRival(step, p, copies, compile_kernel)


@dataclass
class ProductRival:
    """BLAS for ``step``; see :class:`graphc.runtime.program.Rival`."""

    step: ProductStepKernels
    product: Product
    copies: Sequence[KernelSource]
    compile_kernel: Compile
    _found: dict[str, str] = field(default_factory=dict)  # sizes → what was chosen, for people
    _made: tuple[NativeKernel, ...] | None = None

    def kernels(self, bindings: Bindings) -> tuple[NativeKernel, ...] | None:
        p = self.product
        sizes = [evaluate_dim(dim, bindings) for dim in (p.matrices, p.rows, p.depth, p.columns)]
        label = _label(p, sizes)
        chosen, why = self._choose(bindings, sizes, label)
        self._found.pop(label, None)
        self._found[label] = f"{'blas' if chosen is not None else 'ours'}: {why}"
        while len(self._found) > _MOST_SHOWN:
            del self._found[next(iter(self._found))]
        return None if chosen is None else self._blas_kernels(chosen)

    def describe(self, bindings: Bindings | None) -> list[str]:
        if bindings is not None:
            self.kernels(bindings)
        return [f"{label}: {text}" for label, text in self._found.items()] or ["chosen once sizes are known"]

    def _choose(self, bindings: Bindings, sizes: Sequence[int], label: str) -> tuple[Blas | None, str]:
        if is_deterministic():
            return None, "results have to repeat bit for bit (gc.deterministic)"
        if prod(sizes) < WORTH or 1 in sizes[1:]:
            return None, "it is too small to be worth measuring"
        blas, threads = find_blas(), get_num_threads()
        if blas is None:
            return None, "no BLAS can be called"
        if blas.threads is None or blas.threads > threads:
            return None, f"BLAS would use {blas.threads or 'any number of'} threads, {threads} are allowed (gc.set_num_threads)"
        if blas.bits < 64 and max(t.substitute(bindings).size for t in self.step.operands) >= 1 << 31:
            return None, "BLAS counts in 32 bits"
        times = self._times(blas, bindings, sizes, label)
        reason = f"{times.ours * 1e3:.3g} ms by our kernels, {times.rival * 1e3:.3g} ms by BLAS"
        if times.prefers_rival:
            return blas, reason
        return None, reason + (", which is too little to give up results that repeat" if times.rival < times.ours else "")

    def _times(self, blas: Blas, bindings: Bindings, sizes: Sequence[int], label: str) -> Times:
        p, step, threads = self.product, self.step, get_num_threads()
        types = [t.substitute(bindings) for t in (*step.operands, *step.results)]
        is_large = prod(sizes) > MOST_OPERATIONS or sum(_bytes(t) for t in types) > MOST_BYTES
        operands = _smaller(step.node, types[:2]) if is_large else None
        parts = (
            "dot_general", p.dtype.short, f"{p.lhs.column == 1} {p.rhs.column == 1} {len(self.copies)} {len(p.batch)}",
            " ".join(map(str, map(size_class, sizes))) if operands is None else str(operands),
            digest([step.epilogue_text]) if operands is None else "", blas.name, f"{blas.threads} {threads}",
        )  # fmt: skip
        fused = " and its epilogue" if step.epilogue_text and operands is None else ""
        label = f"product {label}{fused}, {threads} thread{'s' if threads > 1 else ''}"
        clock = time.thread_time if threads == 1 else time.perf_counter

        def measure() -> Times:
            if operands is None:
                ours = self._run(step.kernels, step, bindings)
                return compare(ours, self._run(self._blas_kernels(blas), step, bindings), clock)
            ours, rival = self._run_smaller(blas, operands)
            return compare(ours, rival, clock)

        return remembered(label, parts, measure)

    def _blas_kernels(self, blas: Blas) -> tuple[NativeKernel, ...]:
        if self._made is None:
            sources = (*self.copies, *blas_product(self.product, self.step.epilogue, blas))
            self._made = tuple([self.compile_kernel(source) for source in sources])
        return self._made

    def _run(self, kernels: tuple[NativeKernel, ...], step: ProductStepKernels, bindings: Bindings) -> Callable[[], object]:
        """What runs ``kernels`` as the tape does, on memory of its own."""
        slots = [t.substitute(bindings) for t in (*step.operands, *step.results)]
        count = len(step.operands)
        places = tuple(range(len(slots)))
        instruction = RunKernels(
            kernels, places[:count], places[count:], scratch=tuple([t.substitute(bindings) for t in step.scratch])
        )
        program = Program(tuple(slots), places[:count], places[count:], {}, (instruction,), {}, walk())
        run = Frame(program, assign_storage(program), bindings).runner()
        arrays = [_sample(t) for t in slots[:count]]
        return lambda: run(arrays)

    def _run_smaller(self, blas: Blas, operands: Sequence[TensorType]) -> tuple[Callable[[], object], Callable[[], object]]:
        node = self.step.node
        results = node.op.infer(tuple(operands), **concrete_attributes(node.op, node.attributes, {}))
        p, copies, _ = arrange(node.attributes, operands)
        sources = (
            lower_dot_general(node.attributes, operands, results), (*copies, *blas_product(p, NO_EPILOGUE, blas))
        )  # fmt: skip
        step = ProductStepKernels(node, (), tuple(operands), tuple(results), sources[0][-1].scratch)
        ours, rival = (self._run(tuple(map(self.compile_kernel, each)), step, {}) for each in sources)
        return ours, rival


def size_class(size: int) -> int:
    """The largest 2^i or 3·2^i that is at most ``size``: those alike are measured once.

    >>> [size_class(n) for n in (1, 5, 6, 7, 8, 100, 128)]
    [1, 4, 6, 6, 8, 96, 128]
    """
    power = 1 << max(0, size.bit_length() - 1)
    return power + power // 2 if power > 1 and size >= power + power // 2 else power


def _label(p: Product, sizes: Sequence[int]) -> str:
    matrices, rows, depth, columns = sizes
    batch = f"{matrices} × " if p.batch else ""
    turned = [f"{name} transposed" for name, side in (("a", p.lhs), ("b", p.rhs)) if side.column != 1]
    return f"{p.dtype.short} {batch}({rows}, {depth}) @ ({depth}, {columns})" + "".join(f", {text}" for text in turned)


def _smaller(node: Node, operands: Sequence[TensorType]) -> list[TensorType]:
    """The operands with their longest axes halved until the product is small enough to be measured."""
    contract, batch = node.attributes["contract"], node.attributes["batch"]
    shapes = [[int(size) for size in t.shape if isinstance(size, int)] for t in operands]
    joint = [*zip(*contract, strict=True), *zip(*batch, strict=True)]
    axes = [((0, left), (1, right)) for left, right in joint]
    for side in (0, 1):
        taken = (*contract[side], *batch[side])
        axes += [((side, axis),) for axis in range(len(shapes[side])) if axis not in taken]  # type: ignore[misc]

    def size(axis: tuple[tuple[int, int], ...]) -> int:
        side, place = axis[0]
        return shapes[side][place]

    def is_small() -> bool:
        bytes_ = sum(prod(shape) for shape in shapes) * operands[0].dtype.itemsize
        return prod(map(size, axes)) <= MOST_OPERATIONS and bytes_ <= MOST_BYTES // 2

    while not is_small():
        for side, place in max(axes, key=size):
            shapes[side][place] = (shapes[side][place] + 1) // 2
    return [t.with_shape(tuple(shape)) for t, shape in zip(operands, shapes, strict=True)]


def _bytes(type_: TensorType) -> int:
    return evaluate_dim(type_.size, {}) * type_.dtype.itemsize


def _sample(type_: TensorType) -> np.ndarray:
    """An array to measure with: numbers near 1, as zeros and denormals may take other times; no index that could be wrong."""
    shape = tuple(evaluate_dim(dim, {}) for dim in type_.shape)
    dtype = type_.dtype.numpy
    return np.full(shape, 0.5 if type_.dtype.is_floating else 0, dtype)
