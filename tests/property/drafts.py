"""Random well-typed graphs over most primitives, with inputs for them.

A graph is described by a list of numbers, one a step, so that a failing one shrinks by losing steps. Ops whose results jump
(comparisons, rounding, orders, maxima with their gradients) get only values that two correct implementations compute to the
same bit; `Draft.exact` holds those.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import DType, bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint16, uint32, uint64
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim, symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location

SHAPES: tuple[tuple[Dim, ...], ...] = ((), (3,), (3, 4), (2, 3, 5), (1, 3), (0, 3), (symbol("n"), 3))
FLOATS = (float32, float32, float64, float64, float16, bfloat16)
OTHERS = (bool_, int8, int32, int64, uint16)
# Bounded where the operand is, and with a bounded slope.
SMOOTH = ("tanh", "sin", "cos", "logistic", "atan", "erf", "erfc", "asinh")
ON_UNIT = ("exp", "exp2", "expm1", "sinh", "cosh", "tan")  # applied after tanh
POSITIVE = ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "lgamma", "digamma")  # applied to 1 + x²
EXACT_UNARY = ("neg", "abs", "sign", "floor", "ceil", "round", "trunc")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
INTEGER = (
    "add", "sub", "mul", "floor_divide", "remainder", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor",
    "shift_left", "shift_right", "pow",
)  # fmt: skip
N = 4  # what the symbolic size is

plans = st.lists(st.integers(0, 2**20), min_size=1, max_size=3)


class Draft:
    """A graph in the making."""

    def __init__(self, plan: Sequence[int]) -> None:
        self.rng = np.random.default_rng(list(plan))
        self.b = Builder("random", location=Location("random.py", 1, 1))
        self.float = self.pick(FLOATS)
        self.values: list[Value] = []
        self.exact: set[Value] = set()
        for number, shape in enumerate((self.pick(SHAPES[:3]), self.pick(SHAPES), self.pick(SHAPES))):
            self.keep(self.b.parameter(TensorType(self.float, shape), f"x{number}"))
        self.keep(self.b.parameter(TensorType(self.pick(OTHERS), self.pick(SHAPES)), "i"))
        for seed in plan:
            self.rng = np.random.default_rng(seed)
            self.step()
        made = [v for v in self.values[4:] if v.ndim <= 5] or self.values[:1]
        self.graph: Graph = self.b.finish(made)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def keep(self, value: Value, *, exact: bool = True) -> None:
        self.values.append(value)
        if exact or not value.dtype.is_floating:
            self.exact.add(value)

    def step(self) -> None:
        x = self.pick(self.values[-5:] if self.rng.random() < 0.6 else self.values)
        self.pick(STEPS)(self, x)

    def mate(self, x: Value) -> Value:
        """A value of the type of `x`."""
        return self.pick([v for v in self.values if v.type == x.type])

    def index(self, size: int, shape: tuple[int, ...]) -> Value:
        return self.b.constant(np.asarray(self.rng.integers(0, size, shape), np.int64))


Step = Callable[[Draft, Value], None]


def is_known(x: Value, ndim: int = 1) -> bool:
    """Whether `x` has `ndim` axes or more, all of known sizes above 0."""
    return x.ndim >= ndim and all(isinstance(d, int) and d > 0 for d in x.shape)


def smooth(d: Draft, x: Value) -> None:
    if not x.dtype.is_floating:
        return
    kind = int(d.rng.integers(3))
    if kind == 0:
        y = d.b.emit_one(d.pick(SMOOTH), x)
    elif kind == 1:
        y = d.b.emit_one(d.pick(ON_UNIT), d.b.tanh(x))
    else:
        unit = d.b.tanh(x)
        y = d.b.emit_one(d.pick(POSITIVE), d.b.add(d.b.mul(unit, unit), d.b.full_like(x, 1.5)))
    d.keep(y, exact=False)


def exact_unary(d: Draft, x: Value) -> None:
    if x.dtype.is_bool:
        d.keep(d.b.bitwise_not(x))
    elif x.dtype.is_integer:
        d.keep(d.b.emit_one(d.pick(("neg", "abs", "sign", "bitwise_not")), x))
    elif x in d.exact:
        d.keep(d.b.emit_one(d.pick((*EXACT_UNARY, "is_nan", "is_finite")), x))


def binary(d: Draft, x: Value) -> None:
    y = d.mate(x)
    if x.dtype.is_bool:
        d.keep(d.b.emit_one(d.pick(("bitwise_and", "bitwise_or", "bitwise_xor", "maximum")), x, y))
    elif x.dtype.is_integer:
        d.keep(d.b.emit_one(d.pick(INTEGER), x, y))
    else:
        unit = d.b.tanh(y)
        name = d.pick(("add", "sub", "mul", "div", "atan2", "pow"))
        if name in ("div", "atan2"):
            y = d.b.add(d.b.mul(unit, unit), d.b.full_like(x, 1.5))
        elif name == "pow":
            x, y = d.b.add(d.b.logistic(x), d.b.full_like(x, 0.5)), unit
        else:
            y = unit
        d.keep(d.b.emit_one(name, x if name == "pow" else d.b.sin(x), y), exact=False)


def compare(d: Draft, x: Value) -> None:
    y = d.mate(x)
    if x in d.exact and y in d.exact:
        predicate = d.b.emit_one(d.pick(COMPARE), x, y)
        d.keep(predicate)
        d.keep(d.b.select(predicate, y, x))
        if not x.dtype.is_bool:
            d.keep(d.b.clamp(d.b.full_like(x, 0), x, d.b.full_like(x, 2)))
            d.keep(d.b.emit_one(d.pick(("maximum", "minimum")), x, y))


def convert(d: Draft, x: Value) -> None:
    if x.dtype.is_floating and x not in d.exact:
        return
    dtype: DType = d.pick((d.float, d.float, int32, bool_, int64))
    if dtype.is_floating and not x.dtype.is_bool and not x.dtype.is_floating:
        x = d.b.clamp(d.b.full_like(x, 0), x, d.b.full_like(x, 7))
    d.keep(d.b.convert_element_type(x, dtype=dtype))


def move(d: Draft, x: Value) -> None:
    kind = int(d.rng.integers(8))
    axes = tuple(range(x.ndim))
    if kind == 0:
        y = d.b.transpose(x, permutation=tuple(int(a) for a in d.rng.permutation(x.ndim)))
    elif kind == 1:
        y = d.b.reverse(x, axes=axes[:1])
    elif kind == 2 and x.ndim < 4:
        y = d.b.broadcast_in_dim(x, shape=(2, *x.shape), dims=tuple(a + 1 for a in axes))
    elif kind == 3:
        y = d.b.reshape(x, shape=(x.type.size,))
    elif kind == 4 and x.ndim:
        y = d.b.concatenate(x, d.mate(x), axis=d.pick(axes))
        d.keep(y, exact=all(v in d.exact for v in y.node.inputs))
        return
    elif is_known(x) and kind in (5, 6):
        starts = tuple(int(d.rng.integers(n)) for n in x.shape)
        y = d.b.slice(x, starts=starts, limits=x.shape, strides=tuple(int(s) for s in d.rng.integers(1, 3, x.ndim)))
    elif is_known(x):
        low, high = (tuple(int(p) for p in d.rng.integers(-1, 2, x.ndim)) for _ in range(2))
        if any(a + b + n < 0 for a, b, n in zip(low, high, x.shape, strict=True)):
            return
        zero = d.b.full((), 1, x.dtype)
        y = d.b.pad(x, zero, low=low, high=high, interior=tuple(int(p) for p in d.rng.integers(0, 2, x.ndim)))
    else:
        return
    d.keep(y, exact=x in d.exact)


def reduce(d: Draft, x: Value) -> None:
    if not x.ndim:
        return
    axis = int(d.rng.integers(x.ndim))
    if x.dtype.is_bool:
        d.keep(d.b.emit_one(d.pick(("reduce_any", "reduce_all")), x, axes=(axis,)))
    elif x in d.exact and d.rng.random() < 0.4:
        d.keep(d.b.emit_one(d.pick(("reduce_max", "reduce_min")), x, axes=(axis,)))
        if isinstance(x.shape[axis], int) and x.shape[axis]:
            d.keep(d.b.emit_one(d.pick(("argmax", "argmin")), x, axis=axis))
    else:
        if x.dtype.is_floating:
            x = d.b.sin(x)
        d.keep(d.b.emit_one(d.pick(("reduce_sum", "reduce_prod")), x, axes=(axis,)), exact=False)


def scan(d: Draft, x: Value) -> None:
    if not x.ndim or x.dtype.is_bool:
        return
    names = ["cumulative_sum", "cumulative_prod"]
    if x in d.exact:
        names += ["cumulative_max", "cumulative_min"]
    name = d.pick(names)
    bounded = d.b.sin(x) if x.dtype.is_floating and name in names[:2] else x
    axis, reverse = int(d.rng.integers(x.ndim)), bool(d.rng.integers(2))
    d.keep(d.b.emit_one(name, bounded, axis=axis, reverse=reverse), exact=name not in names[:2])


def index(d: Draft, x: Value) -> None:
    if not is_known(x):
        return
    axis = int(d.rng.integers(x.ndim))
    indices = d.index(x.shape[axis], (3,))
    if d.rng.random() < 0.4:
        d.keep(d.b.gather(x, indices, axes=(axis,)), exact=x in d.exact)
        return
    updates = d.b.gather(d.mate(x), indices, axes=(axis,))
    order = (axis, *(a for a in range(x.ndim) if a != axis))
    assert updates.shape == tuple(3 if a == axis else x.shape[a] for a in order)
    is_exact = x in d.exact and updates.node.inputs[0] in d.exact
    names = ["scatter_set"] + ([] if x.dtype.is_bool else ["scatter_add"])
    names += ["scatter_max", "scatter_min"] if is_exact else []
    name = d.pick(names)
    d.keep(d.b.emit_one(name, x, updates, indices, axes=(axis,)), exact=is_exact and name != "scatter_add")


def dynamic(d: Draft, x: Value) -> None:
    if not is_known(x):
        return
    sizes = tuple(int(d.rng.integers(1, n + 1)) for n in x.shape)
    starts = [d.index(n - s + 1, ()) for n, s in zip(x.shape, sizes, strict=True)]
    part = d.b.dynamic_slice(d.mate(x), *starts, sizes=sizes)
    d.keep(part, exact=part.node.inputs[0] in d.exact)
    d.keep(d.b.dynamic_update_slice(x, part, *starts), exact=x in d.exact and part in d.exact)


def order(d: Draft, x: Value) -> None:
    if not is_known(x) or x not in d.exact:
        return
    axis, descending = int(d.rng.integers(x.ndim)), bool(d.rng.integers(2))
    d.keep(d.b.emit_one(d.pick(("sort", "argsort")), x, axis=axis, descending=descending))
    for result in d.b.emit("top_k", x, k=int(d.rng.integers(1, x.shape[-1] + 1))):
        d.keep(result)


def contract(d: Draft, x: Value) -> None:
    if x.ndim not in (1, 2, 3) or x.dtype.is_bool:
        return
    y = d.mate(x)
    if x.dtype.is_floating:
        x, y = d.b.sin(x), d.b.tanh(y)
    batch = (0,) if x.ndim == 3 else ()
    axis = x.ndim - 1
    d.keep(d.b.dot_general(x, y, contract=((axis,), (axis,)), batch=(batch, batch)), exact=False)


def convolve(d: Draft, x: Value) -> None:
    if not is_known(x, 2) or x.ndim != 2 or not x.dtype.is_floating or x.shape[0] > 8 or x.shape[1] > 8:
        return
    image = d.b.reshape(d.b.tanh(x), shape=(1, *x.shape))
    kernel = d.b.reshape(d.b.sin(x), shape=(1, *x.shape))
    strides, padding = (d.pick((1, 2)),), ((x.shape[1] - 1, 1),)
    plain = {"lhs_dilation": (1,), "rhs_dilation": (1,), "groups": 1}
    d.keep(d.b.conv_general(image, kernel, strides=strides, padding=padding, **plain), exact=False)


def window(d: Draft, x: Value) -> None:
    if not is_known(x) or x.dtype.is_bool or x.ndim > 3:
        return
    ones = (1,) * x.ndim
    options = {"window": (2,) * x.ndim, "strides": ones, "padding": ((0, 1),) * x.ndim}
    options |= {"base_dilation": ones, "window_dilation": ones}
    names = ["sum"] + (["max", "min", "argmax", "argmin"] if x in d.exact else [])
    name = d.pick(names)
    bounded = d.b.sin(x) if name == "sum" and x.dtype.is_floating else x
    d.keep(d.b.emit_one(f"reduce_window_{name}", bounded, **options), exact=name != "sum")


def make(d: Draft, x: Value) -> None:
    if d.rng.random() < 0.5:
        key, counter = (d.b.constant(np.uint64(v)) for v in d.rng.integers(0, 99, 2))
        d.keep(d.b.random_bits(key, counter, shape=(3,), dtype=d.pick((uint32, uint64))))
    elif x.ndim:
        d.keep(d.b.iota(dtype=int32, shape=x.shape, axis=0))


STEPS: tuple[Step, ...] = (
    smooth, smooth, exact_unary, binary, binary, compare, convert, move, move, reduce, scan, index, dynamic, order, contract,
    convolve, window, make,
)  # fmt: skip


def inputs(graph: Graph, seed: int) -> list[np.ndarray]:
    """Arrays for the parameters: quarters in [-2, 2), small integers, coin tosses."""
    rng = np.random.default_rng(seed)
    arrays = []
    for parameter in graph.parameters:
        shape = tuple(d if isinstance(d, int) else N for d in parameter.shape)
        dtype = parameter.dtype
        if dtype.is_floating:
            values = rng.integers(-8, 8, shape) / 4
        else:
            values = rng.integers(0, 2 if dtype.is_bool else 5, shape)
        arrays.append(np.asarray(values).astype(dtype.numpy))
    return arrays
