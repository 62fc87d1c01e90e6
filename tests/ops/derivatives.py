"""VJP rules against central differences in float64, of first and second order, along random directions."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import backpropagate, gradient_builder
from tests.op_record import type_of

Build = Callable[..., Any]


def gradient_graph(build: Build, types: Sequence[TensorType], *, orders: int = 1) -> tuple[Graph, tuple[int, ...]]:
    """The graph of the VJP of `build(b, *operands)`, and the positions of the operands that it gives gradients of.

    Its parameters are the operands and a cotangent for each floating result; for each further order a cotangent for
    each output of the one before.
    """
    b = gradient_builder("gradient")
    operands = [b.parameter(t) for t in types]
    outputs = build(b, *operands)
    results: list[Value] = [outputs] if isinstance(outputs, Value) else list(outputs)
    wrt = tuple(i for i, t in enumerate(types) if t.dtype.is_inexact)
    for _ in range(orders):
        seeds = [(r, b.parameter(r.type)) for r in results if r.dtype.is_inexact]
        gradients = backpropagate(b, seeds, [operands[i] for i in wrt])
        results = [g if g is not None else b.zeros_like(operands[i]) for i, g in zip(wrt, gradients, strict=True)]
    return b.finish(results), wrt


def _difference(run: Callable[[float], list[np.ndarray]]) -> list[np.ndarray]:
    """The central difference of each result of `run(step)` at 0; 0 where both sides are the same, infinite too."""
    step = 1e-5
    with np.errstate(invalid="ignore"):
        pairs = zip(run(step), run(-step), strict=True)
        return [np.where(high == low, 0.0, high - low) / (2 * step) for high, low in pairs]


def check_derivatives(
    build: Build, arrays: Sequence[np.ndarray], *, orders: int = 2, types: Sequence[TensorType] | None = None
) -> None:
    """Compare gradients of `build(b, *operands)` at `arrays` with central differences, up to the given order.

    `types` declares the operands where they have symbolic sizes.
    """
    rng = np.random.default_rng(0)
    declared = list(types) if types is not None else [type_of(a) for a in arrays]
    cotangents: list[np.ndarray] = []
    function = _function_graph(build, declared)
    for order in range(1, orders + 1):
        graph, wrt = gradient_graph(build, declared, orders=order)
        directions = {i: rng.standard_normal(arrays[i].shape) for i in wrt}

        run = partial(_moved, function, arrays, directions, tuple(cotangents))
        seeds = [rng.standard_normal(value.shape) for value in run(0.0)]
        terms = [s * c for s, c in zip(seeds, _difference(run), strict=True)]
        cotangents += seeds
        gradients = evaluate_graph(graph, [*arrays, *cotangents])
        expected = sum(float(np.sum(t)) for t in terms)
        found = sum(float(np.sum(g * directions[i])) for i, g in zip(wrt, gradients, strict=True))
        scale = 1 + sum(float(np.sum(np.abs(t))) for t in terms)
        assert abs(found - expected) <= 1e-7 * scale, f"order {order}: rule {found}, differences {expected}"
        assert [g.shape for g in gradients] == [arrays[i].shape for i in wrt]
        function = graph


def _moved(
    function: Graph,
    arrays: Sequence[np.ndarray],
    directions: Mapping[int, np.ndarray],
    cotangents: Sequence[np.ndarray],
    step: float,
) -> list[np.ndarray]:
    """The float64 results of `function` at `arrays` moved by `step` along `directions`."""
    moved = [a + step * directions[i] if i in directions else a for i, a in enumerate(arrays)]
    return [v for v in evaluate_graph(function, [*moved, *cotangents]) if v.dtype == np.float64]


def _function_graph(build: Build, types: Sequence[TensorType]) -> Graph:
    b = Builder()
    outputs = build(b, *[b.parameter(t) for t in types])
    return b.finish([outputs] if isinstance(outputs, Value) else outputs)


def op(name: str, attributes: Mapping[str, Any]) -> Build:
    """A `build` that applies one primitive."""
    return lambda b, *operands: b.emit(name, *operands, **attributes)
