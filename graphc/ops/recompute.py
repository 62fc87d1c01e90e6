"""Gradients that are not derived: what they keep is chosen (``checkpoint``), or all that they do is given (``custom_vjp``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GradientError, ShapeError
from graphc.ir.graph import Graph, Node, Value, cut
from graphc.ir.primitive import ALL, Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.ops.control_flow_batch import checkpoint_batch, custom_vjp_batch
from graphc.ops.core import Run, Runs, WithRegions

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.dims import Dim

Types = tuple[TensorType, ...]
EVERYTHING = "*"


@register
class OptimizationBarrier(Primitive):
    """The operands themselves, as one op: no result is there before all operands are, and none is merged with an operand.

    XLA's op of that name.
    """

    name = "optimization_barrier"

    def infer(self, inputs: Types, /) -> Types:  # type: ignore[override]
        if not inputs:
            raise ArgumentError("optimization_barrier: there must be an operand", cause=ArgumentError.COUNT)
        return inputs

    def evaluate(self, *arrays: Any) -> Any:
        return tuple([np.array(array) for array in arrays])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [c if wanted else None for c, wanted in zip(cotangents, needed, strict=True)]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return b.emit(self, *operands)


@register
class Checkpoint(WithRegions):
    """Apply the region ``graph`` to the operands. Its gradient keeps the operands, and computes the rest again.

    ``saved``: the names of ops whose results are kept nevertheless; ``("*",)`` is all. (T. Chen et al., "Training Deep Nets
    with Sublinear Memory Cost", 2016.)
    """

    name = "checkpoint"
    attributes = ("graph", "saved")
    defaults: ClassVar[dict[str, Any]] = {"saved": ()}
    regions = ("graph",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: Types, /, *, graph: Graph, saved: tuple[str, ...]) -> Types:  # type: ignore[override]
        check_region("checkpoint", graph, inputs)
        return graph.output_types

    def runs(self, *arrays: Any, graph: Graph, saved: tuple[str, ...]) -> Runs:
        return tuple([np.array(value) for value in (yield Run(graph, arrays, "the function"))])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        graph: Graph = node.attributes["graph"]
        saved: tuple[str, ...] = node.attributes["saved"]
        if b.differentiate is None:
            raise GradientError("checkpoint: this builder cannot differentiate the graph it holds")
        seeds = [i for i, c in enumerate(cotangents) if c is not None]
        wrt = [i for i, wanted in enumerate(needed) if wanted]
        gradient = b.differentiate(graph, wrt, seeds)
        given = [c for c in cotangents if c is not None]
        kept = [
            value
            for inner in graph.nodes()
            if inner.op.name != "parameter" and (inner.op.name in saved or EVERYTHING in saved)
            for value in inner.results
        ]
        first = cut(kept, dict(zip(graph.parameters, node.inputs, strict=True)))
        # What is computed again must not be merged with what was computed at first: that would keep it.
        again = b.emit("optimization_barrier", *node.inputs, *given, *first)
        cuts = dict(zip([*gradient.parameters, *kept], again, strict=True))
        flows = iter(cut(gradient.outputs, cuts))
        return [next(flows) if wanted else None for wanted in needed]

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return checkpoint_batch(b, node, operands, size)


@register
class CustomVjp(WithRegions):
    """Apply the region ``graph`` to the operands; the gradient is what ``backward`` says.

    ``forward``: operands → the results, then residuals. ``backward``: the first ``constants`` operands, residuals, and
    cotangents of the floating results → cotangents of the other operands that are floating. No gradient flows to the
    ``constants`` operands.
    """

    name = "custom_vjp"
    attributes = ("graph", "forward", "backward", "constants")
    regions = ("graph", "forward", "backward")
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(  # type: ignore[override]
        self, inputs: Types, /, *, graph: Graph, forward: Graph, backward: Graph, constants: int
    ) -> Types:
        check_region("custom_vjp", graph, inputs)
        check_region("custom_vjp: forward", forward, inputs)
        results = graph.output_types
        if forward.output_types[: len(results)] != results:
            raise ArgumentError("custom_vjp: forward must give what the function gives, and then residuals")
        floating = tuple([t for t in results if t.dtype.is_inexact])
        check_region("custom_vjp: backward", backward, inputs[:constants] + forward.output_types[len(results) :] + floating)
        wanted = tuple([t for t in inputs[constants:] if t.dtype.is_inexact])
        if backward.output_types != wanted:
            have, want = (", ".join(map(str, types)) for types in (backward.output_types, wanted))
            raise ArgumentError(f"custom_vjp: backward gives cotangents of types ({have}), and the operands have ({want})")
        return results

    def runs(
        self, *arrays: Any, graph: Graph, forward: Graph, backward: Graph, constants: int
    ) -> Runs:
        return tuple([np.array(value) for value in (yield Run(graph, arrays, "the function"))])

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        forward, backward, constants = (node.attributes[name] for name in ("forward", "backward", "constants"))
        results = len(node.types)
        residuals = cut(forward.outputs[results:], dict(zip(forward.parameters, node.inputs, strict=True)))
        given = [
            b.full(t.shape, 0, t.dtype) if c is None else c
            for c, t in zip(cotangents, node.types, strict=True)
            if t.dtype.is_inexact
        ]
        values = [*node.inputs[:constants], *residuals, *given]
        flows = iter(cut(backward.outputs, dict(zip(backward.parameters, values, strict=True))))
        found: list[Value | None] = []
        for i, (operand, wanted) in enumerate(zip(node.inputs, needed, strict=True)):
            if i < constants or not operand.dtype.is_inexact:
                found.append(b.zeros_like(operand) if wanted else None)
            else:
                flow = next(flows)
                found.append(flow if wanted else None)
        return found

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        return custom_vjp_batch(b, node, operands, size)


def check_region(what: str, region: Graph, inputs: Types) -> None:
    """Raise an error where ``region`` does not take operands of these types."""
    have = region.parameter_types
    if len(have) != len(inputs):
        raise ArgumentError(f"{what} takes {len(have)} operands, {len(inputs)} were given", cause=ArgumentError.COUNT)
    for position, (declared, given) in enumerate(zip(have, inputs, strict=True)):
        if declared.dtype is not given.dtype:
            raise DTypeError(f"{what}: operand {position} has type {given}, {declared} was declared", cause=DTypeError.DECLARED)
        if declared.shape != given.shape:
            raise ShapeError(f"{what}: operand {position} has type {given}, {declared} was declared", cause=ShapeError.DECLARED)

