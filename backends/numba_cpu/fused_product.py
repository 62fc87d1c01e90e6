"""A product of matrices whose kernels call its epilogue and prologues: where their buffers lie, and their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.ir.types import TensorType
from graphc.loops.plan import ProductStep, others
from graphc.loops.source import KernelSource
from graphc.runtime.program import NativeKernel

from .emit_epilogue import emit_epilogue, emit_prologue, sum_in_result
from .epilogue import NO_EPILOGUE, Epilogue, Prologues
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .product_choice import ProductStepKernels

_LOWERINGS: Final = {"dot_general": lower_dot_general, "conv_general": lower_conv_general}


class FusedProduct:
    """The texts of ``step``. The sums are in a result's buffer, if one can hold them, until the epilogue replaces them.

    ``called``: the texts of the epilogue, if there is one, and of the prologues, and the same with comments. ``scratch``: the
    scratch of all.
    """

    def __init__(self, step: ProductStep) -> None:
        self.step = step
        operands = len(step.operands)
        self.end = operands + len(step.results)
        self.own: tuple[TensorType, ...] = ()
        self.called: list[tuple[KernelSource, str]] = []
        kernel = step.epilogue
        if kernel is None:
            self.sums = operands
        elif step.keeps:
            self.sums = self.end - 1
        elif (place := sum_in_result(kernel)) is not None:
            self.sums = operands + place
        else:
            self.sums, self.own = self.end, (step.node.types[0],)
        more = 2 + len(step.read[1:])
        if kernel is not None:
            positions = [self.sums, *range(2, more), *range(operands, operands + len(kernel.results))]
            shown = emit_epilogue(kernel, positions, annotate=True).source
            self.called.append((emit_epilogue(kernel, positions), shown))
        for prologue in step.prologues:
            rest = iter(range(more, operands))
            positions = [prologue.side if i == prologue.matrix else next(rest) for i in range(len(prologue.read))]
            more += len(others(prologue))
            shown = emit_prologue(prologue.kernel, positions, annotate=True).source
            self.called.append((emit_prologue(prologue.kernel, positions), shown))
        self.scratch = (*self.own, *self.kernels([0] * len(self.called))[-1].scratch)

    def described(self, kernels: tuple[NativeKernel, ...], addresses: Sequence[int]) -> ProductStepKernels:
        """The step for a choice of who computes it; ``kernels`` call the functions at ``addresses``."""
        epilogue, _ = self._functions(addresses)
        return ProductStepKernels(
            self.step.node,
            kernels,
            tuple(v.type for v in self.step.operands),
            tuple(v.type for v in self.step.results),
            self.scratch,
            epilogue,
            "" if self.step.epilogue is None else self.called[0][0].source,
            result=self.sums,
            scratch_at=self.end + len(self.own),
        )

    def kernels(self, addresses: Sequence[int]) -> tuple[KernelSource, ...]:
        """The kernels, in order, that call the functions at ``addresses``: arguments, so their texts do not depend on them."""
        node = self.step.node
        epilogue, prologues = self._functions(addresses)
        types = [v.type for v in node.inputs]
        place, scratch_at = self.sums, self.end + len(self.own)
        if prologues is not None:
            return lower_dot_general(node.attributes, types, node.types, epilogue, place, scratch_at, prologues)
        return _LOWERINGS[node.op.name](node.attributes, types, node.types, epilogue, result=place, scratch_at=scratch_at)

    def _functions(self, addresses: Sequence[int]) -> tuple[Epilogue, Prologues | None]:
        rest = list(zip(addresses, (source.sizes for source, _ in self.called), strict=True))
        epilogue = NO_EPILOGUE if self.step.epilogue is None else Epilogue(*rest.pop(0))
        if not self.step.prologues:
            return epilogue, None
        sides = {p.side: given for p, given in zip(self.step.prologues, rest, strict=True)}
        left, right = (sides.get(side, (0, ())) for side in (0, 1))
        return epilogue, Prologues((left[0], right[0]), (left[1], right[1]))
