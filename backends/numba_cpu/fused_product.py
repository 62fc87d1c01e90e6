"""A product of matrices whose kernels call its epilogue: where their buffers lie, and their texts."""

from __future__ import annotations

from typing import Final

from graphc.ir.types import TensorType
from graphc.loops.plan import ProductStep
from graphc.loops.source import KernelSource
from graphc.runtime.program import NativeKernel

from .emit_epilogue import emit_epilogue, sum_in_result
from .epilogue import Epilogue
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .product_choice import ProductStepKernels

_LOWERINGS: Final = {"dot_general": lower_dot_general, "conv_general": lower_conv_general}


class FusedProduct:
    """The texts of ``step``. The sums are in a result's buffer, if one can hold them, until the epilogue replaces them.

    ``epilogue`` is called by the others, and ``shown`` is its text with comments. ``scratch``: the scratch of all.
    """

    def __init__(self, step: ProductStep) -> None:
        self.step = step
        kernel, operands = step.epilogue, len(step.operands)
        self.end = operands + len(step.results)
        self.own: tuple[TensorType, ...] = ()
        if step.keeps:
            self.sums = self.end - 1
        elif (place := sum_in_result(kernel)) is not None:
            self.sums = operands + place
        else:
            self.sums, self.own = self.end, (step.node.types[0],)
        positions = [self.sums, *range(2, operands), *range(operands, operands + len(kernel.results))]
        self.epilogue = emit_epilogue(kernel, positions)
        self.shown = emit_epilogue(kernel, positions, annotate=True).source
        self.scratch = (*self.own, *self.kernels(0)[-1].scratch)

    def described(self, kernels: tuple[NativeKernel, ...], address: int) -> ProductStepKernels:
        """The step for a choice of who computes it; ``kernels`` call the epilogue at ``address``."""
        return ProductStepKernels(
            self.step.node,
            kernels,
            tuple(v.type for v in self.step.operands),
            tuple(v.type for v in self.step.results),
            self.scratch,
            Epilogue(address, self.epilogue.sizes),
            self.epilogue.source,
            result=self.sums,
            scratch_at=self.end + len(self.own),
        )

    def kernels(self, address: int) -> tuple[KernelSource, ...]:
        """The kernels, in order, that call the epilogue at ``address``: an argument, so their texts do not depend on it."""
        node = self.step.node
        return _LOWERINGS[node.op.name](
            node.attributes,
            [v.type for v in node.inputs],
            node.types,
            Epilogue(address, self.epilogue.sizes),
            result=self.sums,
            scratch_at=self.end + len(self.own),
        )
