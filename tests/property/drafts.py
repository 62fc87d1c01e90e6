"""Random well-typed graphs over all families of primitives, with inputs for them.

A graph is described by a list of byte strings, one a step, that a step reads its choices from; what is missing reads as 0, and
0 is the simplest choice. So a failing graph shrinks by losing steps and by making simpler choices.

Two kinds of floats are told apart, by construction. *Exact* values are multiples of a power of two with so few bits that every
correct implementation computes the same bits, in any order of operations; `Draft` keeps their grid and magnitude. Ops that jump
(comparisons, rounding, orders, extremes) get exact values only. All other floats are *rounded*; magnitudes are kept small, and
each op gets operands from where it is smooth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import (
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, evaluate_dim, symbol
from graphc.ir.graph import Graph, Value, topological_order
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import backpropagate, gradient_builder
from tests.property.error_bound import PRECISION

n = symbol("n")
SHAPES: tuple[tuple[Dim, ...], ...] = (
    (3, 4), (n, 3), (n,), (3,), (2, n), (2, 3, 5), (1, 3), (), (n, 2, 2), (0, 3), (40, 70),
)  # fmt: skip
FLOATS = (float32, float64, float32, float16, float64, bfloat16, float32)
OTHERS = (int32, int64, bool_, uint8, int8, uint16, uint32, int16, uint64)
SIZES = (4, 0, 1, 1500)  # of n; 1500 is more than a chunk of the sums, and no multiple of a vector
MOST = 12_000  # elements of a value
LIMIT = 16.0  # rounded values stay below; what exceeds it is made smaller before it is used

step = st.binary(min_size=1, max_size=12)
plans = st.builds(lambda one, other: one + other, st.lists(step, min_size=1, max_size=12), st.lists(step, max_size=6))


class Range(NamedTuple):
    """What is known of a float: |x| ≤ `largest`, and x is a multiple of 2**-grid, if `grid` is not None."""

    largest: float
    grid: int | None = None


@dataclass(frozen=True)
class Case:
    """A graph: parameters → some values, a scalar loss, and the loss's gradient by every float parameter."""

    graph: Graph
    exact: frozenset[Value]  # values that any correct implementation computes to the same bits


class Draft:
    """A graph in the making. `choose` reads the next choice of the step at work."""

    def __init__(self) -> None:
        self.b: Builder = gradient_builder("random")
        self.b.location = Location("random.py", 1, 1)
        self.values: list[Value] = []
        self.ranges: dict[Value, Range] = {}
        self.choices: Iterator[int] = iter(())

    def number(self, below: int) -> int:
        return next(self.choices, 0) % below

    def choose(self, options: Sequence[Any]) -> Any:
        return options[self.number(len(options))]

    def declare(self, choices: bytes) -> None:
        """Parameters: a few floats of related shapes, integers, a key."""
        self.choices = iter(choices)
        dtype, shape = self.choose(FLOATS), self.choose(SHAPES)
        others = [TensorType(self.choose(OTHERS), shape)]
        floats = [TensorType(dtype, shape), TensorType(dtype, shape), TensorType(dtype, shape[1:])]
        floats.append(TensorType(self.choose((dtype, *FLOATS)), self.choose((shape, *SHAPES))))
        others.append(TensorType(self.choose(OTHERS), self.choose((shape[:1], *SHAPES))))
        for number, type_ in enumerate((*floats, *others)):
            self.keep(self.b.parameter(type_, f"x{number}"), 2.0 if number < 4 else 4.0, 2 if number < 4 else 0)
        self.parameters = list(self.values)
        # A size that no parameter has is unknown at run time.
        self.n: Dim = n if any(n in v.shape for v in self.parameters) else 3

    def keep(self, value: Value, largest: float = 0.0, grid: int | None = None) -> None:
        """Offer `value` to later steps. `largest` and `grid` of a float as in `Range`; too many bits make it rounded."""
        if _size(value) > MOST or value.ndim > 5:
            return
        self.know(value, largest, grid)
        self.values.append(value)

    def know(self, value: Value, largest: float, grid: int | None = None) -> Value:
        if grid is not None and math.log2(max(largest, 2.0**-grid)) + grid > PRECISION.get(value.dtype, 64):
            grid = None
        self.ranges[value] = Range(largest, grid)
        return value

    def move(self, value: Value, source: Value) -> None:
        """`keep` a value whose elements are those of `source`."""
        self.keep(value, *self.ranges[source])

    def is_exact(self, x: Value) -> bool:
        return not x.dtype.is_floating or self.ranges[x].grid is not None

    def mate(self, x: Value) -> Value:
        """A value of the type of `x`: one that has it, or one that is broadcast to it."""
        same = [v for v in self.values if v.type == x.type]
        smaller = [v for v in self.values if v.dtype is x.dtype and v.ndim < x.ndim and _leads(v, x) is not None]
        y = self.choose([*same, *smaller])
        if y.type == x.type:
            return y
        dims = _leads(y, x)
        return self.know(self.b.broadcast_in_dim(y, shape=x.shape, dims=dims), *self.ranges[y])

    def within(self, x: Value, limit: float = LIMIT) -> Value:
        """`x`, or something smooth of it that is at most `limit` in magnitude."""
        largest, grid = self.ranges[x]
        if largest <= limit:
            return x
        if limit >= 1 and grid is None and self.number(2):
            return self.know(self.b.emit_one(self.choose(("tanh", "sin")), x), 1.0)
        halvings = math.ceil(math.log2(largest / limit))
        scaled = self.b.mul(x, self.b.full_like(x, 2.0**-halvings))
        return self.know(scaled, largest * 2.0**-halvings, None if grid is None else grid + halvings)

    def finish(self) -> Case:
        """Outputs: what no step read, and one thing more; a loss of one or two floats, with its gradients."""
        read = {v for node in topological_order([v.node for v in self.values]) for v in node.inputs}
        unread = [v for v in self.values if v not in read and v not in self.parameters]
        floats = [v for v in self.values if v.dtype.is_floating]
        dtype = self.parameters[0].dtype
        terms = []
        for value in dict.fromkeys([floats[-1], *(v for v in unread[-1:] if v.dtype.is_floating)]):
            x = self.within(value, 2.0)
            total = self.b.reduce_sum(x, axes=tuple(range(x.ndim))) if x.ndim else x
            size = float(_size(x))
            self.know(total, self.ranges[x].largest * size, self.ranges[x].grid)
            total = self.within(total)
            if total.dtype is not dtype:
                total = self.b.convert_element_type(total, dtype=dtype)
            terms.append(total)
        loss = terms[0]
        for term in terms[1:]:
            loss = self.b.add(loss, term)
        wrt = [p for p in self.parameters if p.dtype.is_floating]
        flows = backpropagate(self.b, [(loss, self.b.full((), 1.0, dtype))], wrt)
        gradients = [self.b.zeros_like(p) if f is None else f for p, f in zip(wrt, flows, strict=True)]
        shown = [*unread[-3:], self.values[-1 - len(self.values) % 3]]
        exact = frozenset(v for v in self.ranges if self.is_exact(v))
        return Case(self.b.finish([*dict.fromkeys(shown), loss, *gradients]), exact)


def _size(x: Value) -> int:
    """The number of elements for the largest sizes."""
    return evaluate_dim(x.type.size, {"n": max(SIZES)})


def _leads(y: Value, x: Value) -> tuple[int, ...] | None:
    """The axes of `x` that are those of `y`: the last ones, else the first ones, else None."""
    if y.shape == x.shape[x.ndim - y.ndim :]:
        return tuple(range(x.ndim - y.ndim, x.ndim))
    return tuple(range(y.ndim)) if y.shape == x.shape[: y.ndim] else None


def inputs(graph: Graph, seed: int, size: int) -> list[np.ndarray]:
    """Arrays for the parameters, `n` being `size`: quarters in [-2, 2), small integers, coin tosses."""
    rng = np.random.default_rng(seed)
    arrays = []
    for parameter in graph.parameters:
        shape = [evaluate_dim(d, {"n": size}) for d in parameter.shape]
        dtype = parameter.dtype
        if dtype.is_floating:
            values = rng.integers(-8, 8, shape) / 4
        else:
            values = rng.integers(0, 2 if dtype.is_bool else 5, shape)
        arrays.append(np.asarray(values).astype(dtype.numpy))
    return arrays


def results(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the reference interpreter says."""
    return [np.asarray(a) for a in evaluate_graph(graph, arrays)]
