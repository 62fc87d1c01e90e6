"""How far two correct implementations of a graph may be apart, from how rounding errors spread through that very graph.

The graph is evaluated in float64 with every rounding replaced by a random error as large as the rounding of the value's own
dtype may be (Monte Carlo arithmetic: D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997). Operands are disturbed at
each use as well, since a compiler may compute them once for each use, or fuse the operation that made them with the one that
reads them. The largest deviation from the undisturbed evaluation is the spread: about an ulp for a well-conditioned result, and
as much more as cancellation and steepness make of it. What does not round, and every exact value, is left undisturbed. Where
a disturbance leads out of a function's domain, nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from graphc.dtypes import DType, bfloat16, float16, float32, float64
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Graph, Node, Value
from graphc.ops.core import concrete_attributes

PRECISION = {float16: 11, bfloat16: 8, float32: 24, float64: 53}
LOWEST_EXPONENT = {float16: -14, bfloat16: -126, float32: -126, float64: -1022}
LARGEST = {float16: 65504.0, bfloat16: 3.3e38, float32: 3.4e38, float64: 1.7e308}
# float64 is evaluated in float64, so its errors are drawn larger and the deviations made smaller by the same factor.
ENLARGED = 2.0**12

COPYING = frozenset((
    "parameter", "constant", "stop_gradient", "broadcast_in_dim", "reshape", "transpose", "slice", "pad", "concatenate",
    "reverse", "select", "clamp", "gather", "scatter_set", "scatter_max", "scatter_min", "dynamic_slice",
    "dynamic_update_slice", "sort", "top_k", "reduce_max", "reduce_min", "maximum", "minimum", "neg", "abs",
    "cumulative_max", "cumulative_min", "reduce_window_max", "reduce_window_min", "iota", "sign", "floor", "ceil", "round",
    "trunc", "is_finite", "is_nan",
))  # fmt: skip
ACCUMULATING = frozenset((
    "reduce_sum", "reduce_prod", "dot_general", "conv_general", "cumulative_sum", "cumulative_prod", "reduce_window_sum",
    "scatter_add", "select_and_scatter", "attention", "attention_gradient", "call",
))  # fmt: skip
ARITHMETIC = frozenset(("add", "sub", "mul", "div", "sqrt", "convert_element_type", "remainder", "floor_divide"))
EXACTLY = frozenset(("add", "sub", "mul"))  # without any error where operands and result are such numbers as 1 and 0.5
# Of NumPy's and of our own; the bounds in docs/accuracy.md are 1 to 5. The reference for lgamma is Python's, whose relative
# error grows towards the roots at 1 and 2: 14 ulp at 2.5.
FUNCTION_ULPS = 4.0


class Evaluation:
    """`graph` in float64, undisturbed if `rng` is None. `results`: the outputs; `overflows`: something left its dtype's range.

    With `float64s` the float64 values are disturbed, and only they, by `ENLARGED` errors; without it all others are.
    `together`: the elements of an array are disturbed alike, as by a function whose errors have a bias.
    """

    def __init__(
        self,
        graph: Graph,
        arrays: Sequence[np.ndarray],
        bindings: Mapping[str, int],
        exact: Set[Value],
        rng: np.random.Generator | None = None,
        *,
        float64s: bool = False,
        together: bool = False,
    ) -> None:
        self.rng, self.float64s, self.together, self.overflows = rng, float64s, together, False
        self.bindings = bindings
        self.exact: set[Value] = set(exact)
        self.values: dict[Value, Any] = {}
        with np.errstate(all="ignore"):
            for parameter, array in zip(graph.parameters, arrays, strict=True):
                self.set(parameter, array)
                self.exact.add(parameter)
            for node in graph.nodes():
                if node.op.name != "parameter":
                    self.run(node)
        self.results: list[np.ndarray] = [self.values[o] for o in graph.outputs]

    def run(self, node: Node) -> None:
        name = node.op.name
        attributes = concrete_attributes(node.op, node.attributes, self.bindings)
        operands = [self.values[v] for v in node.inputs]
        copying = name in COPYING
        rounds = [not copying and r.dtype.is_floating and r not in self.exact for r in node.results]
        if self.rng is not None and any(rounds):
            operands = [self.used(node, v, x) for v, x in zip(node.inputs, operands, strict=True)]
        if name == "convert_element_type" and node.results[0].dtype.is_floating:
            made = np.asarray(operands[0]).astype(np.float64)
        else:
            made = node.op.evaluate(*operands, **attributes)
        inherits = all(v in self.exact or not v.dtype.is_floating for v in node.inputs)
        for result, array, is_rounded in zip(node.results, made if isinstance(made, tuple) else (made,), rounds, strict=True):
            if inherits and (copying or (name in EXACTLY and is_rounded and _is_representable(array, result.dtype))):
                self.exact.add(result)
                is_rounded = False
            if self.rng is not None and is_rounded:
                ulps = 1.0 if name in ARITHMETIC or name in ACCUMULATING else FUNCTION_ULPS
                array = self.disturbed(array, result.dtype, ulps, 1.0 if name == "lgamma" else 0.0)
            self.set(result, array)

    def set(self, value: Value, array: Any) -> None:
        array = np.asarray(array)
        if value.dtype.is_floating:
            array = array.astype(np.float64)
            if array.size and not np.max(np.abs(array)) < LARGEST[value.dtype]:
                self.overflows = True
        self.values[value] = array

    def used(self, node: Node, operand: Value, array: np.ndarray) -> np.ndarray:
        """An operand as one reader may see it; the partial results of an accumulation round as well."""
        if not operand.dtype.is_floating:
            return array
        if operand not in self.exact:
            array = self.disturbed(array, operand.dtype, 1.0)
        if node.op.name in ACCUMULATING:
            array = self.disturbed(array, operand.dtype.compute, float(np.sqrt(max(self.terms(node, array), 1.0))))
        return array

    def terms(self, node: Node, operand: np.ndarray) -> float:
        """How many elements go into one of the result."""
        if node.op.name.startswith("cumulative"):
            return float(operand.shape[node.attributes["axis"]])
        if node.op.name == "scatter_add":
            return float(self.values[node.inputs[2]].size)
        return operand.size / max(evaluate_dim(node.results[0].type.size, self.bindings), 1)

    def disturbed(self, array: Any, dtype: DType, ulps: float, least: float = 0.0) -> np.ndarray:
        """``array`` with errors of so many units in its last places; values below ``least`` have those of ``least``."""
        array = np.asarray(array)
        if self.rng is None or (dtype is float64) != self.float64s:
            return array
        unit = ulps * 2.0 ** -PRECISION[dtype] * (ENLARGED if dtype is float64 else 1.0)
        error = self.rng.uniform(-1, 1) if self.together else self.rng.uniform(-1, 1, array.shape)
        tiny = max(2.0 ** LOWEST_EXPONENT[dtype], least)
        return np.asarray(array + error * unit * np.maximum(np.abs(array), tiny))


def _is_representable(array: Any, dtype: DType) -> bool:
    """Of float64 as of float32: it is evaluated in itself, where every result is representable."""
    dtype = float32 if dtype is float64 else dtype
    return bool(np.array_equal(np.asarray(array).astype(dtype.numpy).astype(np.float64), array))


def spreads(
    graph: Graph, arrays: Sequence[np.ndarray], bindings: Mapping[str, int], exact: Set[Value]
) -> Iterator[list[np.ndarray] | None]:
    """Ever better estimates of the spread of each output, from more and more samples; None: something overflows."""
    base = Evaluation(graph, arrays, bindings, exact)
    if base.overflows:
        yield None
        return
    dtypes = {r.dtype for node in graph.nodes() for r in node.results if r.dtype.is_floating}
    kinds = {dtype is float64 for dtype in dtypes}
    deviations = {kind: [np.zeros(r.shape) for r in base.results] for kind in kinds}
    for samples in (4, 12, 48):
        for kind, spread in deviations.items():
            for number in range(samples):
                rng = np.random.default_rng([samples, number])
                sample = Evaluation(graph, arrays, bindings, exact, rng, float64s=kind, together=number % 2 == 1)
                for position, (one, other) in enumerate(zip(sample.results, base.results, strict=True)):
                    if graph.outputs[position].dtype.is_floating:
                        away = np.where(np.isnan(one) & ~np.isnan(other), np.inf, np.abs(one - other))
                        spread[position] = np.fmax(spread[position], away / (ENLARGED if kind else 1.0))
        yield [sum(parts) for parts in zip(*deviations.values(), strict=True)]
