"""What a random graph is made of: each step applies ops of one family to values made before, if there are fitting ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc.dtypes import DType, bool_, float32, int32, int64, uint32, uint64
from graphc.ir.builder import Builder
from graphc.ir.dims import evaluate_dim
from graphc.ir.graph import Value
from tests.property.drafts import FLOATS, LIMIT, OTHERS, SIZES, Case, Draft

SMOOTH = ("tanh", "sin", "cos", "logistic", "atan", "erf", "erfc", "asinh")
NEAR_ZERO = ("exp", "exp2", "expm1", "sinh", "cosh")
ON_HALF = ("tan", "asin", "acos", "atanh", "log1p")
POSITIVE = ("log", "log2", "log10", "sqrt", "rsqrt", "lgamma", "digamma", "polygamma", "acosh")  # of 2.5 + x²
ROUNDING = ("floor", "ceil", "round", "trunc")
COMPARE = ("lt", "eq", "ne", "le", "gt", "ge")
INTEGER = (
    "add", "sub", "mul", "floor_divide", "remainder", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor",
    "shift_left", "shift_right", "pow",
)  # fmt: skip
LOGICAL = ("bitwise_and", "bitwise_or", "bitwise_xor", "maximum", "minimum", "eq", "ne")

Step = Callable[[Draft, Value], None]


def draft(plan: Sequence[bytes]) -> Case:
    """The graph that `plan` describes: parameters, then steps."""
    d = Draft()
    d.declare(plan[0])
    for choices in plan[1:]:
        d.choices = iter(choices)
        make = STEPS[d.number(len(STEPS))]
        back = d.number(256)  # mostly one of the last four values
        make(d, d.values[-1 - back % 4] if back < 160 else d.values[back % len(d.values)])
    d.choices = iter(())
    return d.finish()


def is_known(x: Value) -> bool:
    """Whether `x` has an axis, and all its sizes are known and above 0."""
    return x.ndim > 0 and all(isinstance(s, int) and s > 0 for s in x.shape)


def terms(d: Draft, x: Value, axis: int) -> int:
    """The most elements along `axis`."""
    return max(evaluate_dim(x.shape[axis], {"n": max(SIZES)}), 1)


def arithmetic(d: Draft, x: Value) -> None:
    y = d.mate(x)
    if x.dtype.is_bool:
        d.keep(d.b.emit_one(d.choose(LOGICAL), x, y))
    elif x.dtype.is_integer:
        d.keep(d.b.emit_one(d.choose(INTEGER), x, y))
    else:
        x, y = d.within(x), d.within(y)
        (a, i), (c, j) = d.ranges[x], d.ranges[y]
        exact = i is not None and j is not None
        name = d.choose(("mul", "add", "sub"))
        if name == "mul":
            d.keep(d.b.mul(x, y), a * c, i + j if exact else None)
        else:
            d.keep(d.b.emit_one(name, x, y), a + c, max(i, j) if exact else None)


def with_literal(d: Draft, x: Value) -> None:
    """Arithmetic with the literals that rules know, among others."""
    if x.dtype.is_bool:
        return
    if x.dtype.is_integer:
        d.keep(d.b.emit_one(d.choose(INTEGER[:7]), x, d.b.full_like(x, d.choose((0, 1, 2, 3, 7)))))
        return
    x = d.within(x)
    largest, grid = d.ranges[x]
    name = d.choose(("mul", "add", "sub", "div", "pow"))
    literal = d.choose((0.0, 1.0, 2.0, 0.5, 3.0)) if name in ("mul", "add", "sub") else d.choose((1.0, 2.0, 3.0))
    y = d.b.full_like(x, literal)
    operands = (x, y) if name in ("div", "pow") or d.number(2) else (y, x)
    made = d.b.emit_one(name, *operands)
    if name == "mul":
        d.keep(made, largest * literal, None if grid is None else grid + (literal == 0.5))
    elif name in ("add", "sub"):
        d.keep(made, largest + literal, None if grid is None else max(grid, 1))
    else:
        d.keep(made, largest if name == "div" else max(largest, 1.0) ** literal)


def smooth(d: Draft, x: Value) -> None:
    if x.dtype.is_floating:
        d.keep(d.b.emit_one(d.choose(SMOOTH), d.within(x)), 2.0 if d.ranges[x].largest < 3 else 3.5)


def steep(d: Draft, x: Value) -> None:
    """Functions that are smooth on a part of the line only, or too steep elsewhere."""
    if not x.dtype.is_floating:
        return
    kind = d.number(3)
    if kind == 0:
        d.keep(d.b.emit_one(d.choose(NEAR_ZERO), d.within(x, 2.0)), 8.0)
    elif kind == 1:
        d.keep(d.b.emit_one(d.choose(ON_HALF), d.within(x, 0.5)), 2.1)
    else:
        x = d.within(x, 4.0)
        positive = d.b.add(d.b.mul(x, x), d.b.full_like(x, 2.5))
        name = d.choose(POSITIVE)
        options = {"n": 1 + d.number(2)} if name == "polygamma" else {}
        d.keep(d.b.emit_one(name, positive, **options), 36.0 if name == "lgamma" else 4.5)


def quotient(d: Draft, x: Value) -> None:
    """Two operands, one of them kept away from zero."""
    if not x.dtype.is_floating:
        return
    y = d.within(d.mate(x), 2.0)
    name = d.choose(("div", "atan2", "pow"))
    if name == "pow":
        d.keep(d.b.pow(d.b.add(d.b.logistic(d.within(x)), d.b.full_like(x, 0.5)), y), 4.0)
        return
    away = d.b.add(d.b.mul(y, y), d.b.full_like(y, 1.5))
    x = d.within(x)
    d.keep(d.b.emit_one(name, x, away), d.ranges[x].largest if name == "div" else 1.6)


def whole(d: Draft, x: Value) -> None:
    """Ops on one operand that jump, and their relatives."""
    if x.dtype.is_bool:
        d.keep(d.b.bitwise_not(x))
    elif x.dtype.is_integer:
        d.keep(d.b.emit_one(d.choose(("neg", "abs", "sign", "bitwise_not")), x))
    elif not d.is_exact(x):
        d.move(d.b.neg(x), x)
    else:
        name = d.choose(("neg", "abs", "sign", "is_nan", "is_finite", "stop_gradient", "remainder", "floor_divide", *ROUNDING))
        if name in ("remainder", "floor_divide"):
            y = d.b.add(d.b.abs(d.mate(x)), d.b.full_like(x, 1.0))
            if not d.is_exact(y.node.inputs[0].node.inputs[0]):
                return
            largest, grid = d.ranges[y.node.inputs[0].node.inputs[0]]
            _, own = d.ranges[x]
            if name == "remainder":
                d.keep(d.b.remainder(x, y), largest + 1, max(own or 0, grid or 0))
            else:
                d.keep(d.b.floor_divide(x, y), d.ranges[x].largest + 1, 0)
        elif name in ("is_nan", "is_finite"):
            d.keep(d.b.emit_one(name, x))
        elif name in ("neg", "abs", "stop_gradient"):
            d.move(d.b.emit_one(name, x), x)
        else:
            d.keep(d.b.emit_one(name, x), d.ranges[x].largest + 1, 0)


def compare(d: Draft, x: Value) -> None:
    y = d.mate(x)
    if not (d.is_exact(x) and d.is_exact(y)):
        return
    largest, grid = (max(a, c) for a, c in zip(_range(d, x), _range(d, y), strict=True))
    kind = d.number(4)
    if kind == 0:
        d.keep(d.b.emit_one(d.choose(("maximum", "minimum")), x, y), largest, grid)
    elif kind == 1 and not x.dtype.is_bool:
        d.keep(d.b.clamp(d.b.full_like(x, 0), x, d.b.full_like(x, 2)), 2.0, grid)
    else:
        d.keep(d.b.emit_one(d.choose(COMPARE), x, y))


def _range(d: Draft, x: Value) -> tuple[float, int]:
    largest, grid = d.ranges[x]
    return largest, grid or 0


def select(d: Draft, x: Value) -> None:
    predicates = [v for v in d.values if v.dtype.is_bool and v.shape == x.shape]
    if not predicates:
        numbers = [v for v in d.values if v.shape == x.shape and d.is_exact(v) and not v.dtype.is_bool]
        if not numbers:
            return
        number = d.choose(numbers)
        predicates = [d.b.gt(number, d.b.full_like(number, 1))]
    y = d.mate(x)
    (a, i), (c, j) = d.ranges[x], d.ranges[y]
    grid = None if i is None or j is None else max(i, j)
    d.keep(d.b.select(predicates[-1 - d.number(len(predicates))], x, y), max(a, c), grid)


def convert(d: Draft, x: Value) -> None:
    dtype: DType = d.choose((d.parameters[0].dtype, int32, bool_, *FLOATS, *OTHERS))
    if x.dtype.is_floating and not dtype.is_floating and not d.is_exact(x):
        return
    largest, grid = d.ranges[x]
    if dtype.is_floating and not x.dtype.is_floating:
        largest, grid = 1.0, 0
        if not x.dtype.is_bool:
            x, largest = d.b.clamp(d.b.full_like(x, 0), x, d.b.full_like(x, 7)), 7.0
    d.keep(d.b.convert_element_type(x, dtype=dtype), largest, grid)


def move(d: Draft, x: Value) -> None:
    axes = tuple(range(x.ndim))
    kind = d.number(5)
    if kind == 0:
        turn = d.number(max(x.ndim, 1))
        d.move(d.b.transpose(x, permutation=(*axes[turn:], *axes[:turn])[::-1]), x)
    elif kind == 1:
        d.move(d.b.reverse(x, axes=axes[d.number(max(x.ndim, 1)) :]), x)
    elif kind == 2 and x.ndim < 4:
        d.move(d.b.broadcast_in_dim(x, shape=(d.choose((2, 3, d.n)), *x.shape), dims=tuple(a + 1 for a in axes)), x)
    elif kind == 3:
        d.move(d.b.reshape(x, shape=d.choose(((x.type.size,), (*x.shape, 1), (1, *x.shape)))), x)
    elif kind == 4 and x.ndim:
        y = d.mate(x)
        (a, i), (c, j) = d.ranges[x], d.ranges[y]
        grid = None if i is None or j is None else max(i, j)
        d.keep(d.b.concatenate(x, y, axis=d.number(x.ndim)), max(a, c), grid)


def part(d: Draft, x: Value) -> None:
    if not x.ndim:
        return
    known = [s if isinstance(s, int) else 0 for s in x.shape]
    if d.number(2):
        starts = tuple(d.number(2) if s > 1 else 0 for s in known)
        limits = tuple(s - d.number(2) if k > 2 else s for s, k in zip(x.shape, known, strict=True))
        d.move(d.b.slice(x, starts=starts, limits=limits, strides=tuple(1 + d.number(2) for _ in known)), x)
        return
    low, high = (tuple(d.number(3) - (1 if k > 1 else 0) for k in known) for _ in range(2))
    zero = d.b.full((), d.number(2), x.dtype)
    largest, grid = d.ranges[x]
    made = d.b.pad(x, zero, low=low, high=high, interior=tuple(d.number(4) // 3 for _ in known))
    d.keep(made, max(largest, 1.0), grid)


def reduce(d: Draft, x: Value) -> None:
    if not x.ndim:
        return
    axis = d.number(x.ndim)
    axes = (axis,) if d.number(3) else tuple(range(axis + 1))
    count = int(np.prod([terms(d, x, a) for a in axes]))
    if x.dtype.is_bool:
        d.keep(d.b.emit_one(d.choose(("reduce_any", "reduce_all")), x, axes=axes))
        return
    names = ["reduce_sum", "reduce_sum", "reduce_prod"]
    if d.is_exact(x):
        names += ["reduce_max", "reduce_min"] + (["argmax"] if x.shape[axis] != 0 else [])
    name = d.choose(names)
    if not x.dtype.is_floating:
        d.keep(d.b.argmax(x, axis=axis) if name == "argmax" else d.b.emit_one(name, x, axes=axes))
    elif name == "reduce_sum":
        x = d.within(x, 4.0)
        largest, grid = d.ranges[x]
        d.keep(d.b.reduce_sum(x, axes=axes), largest * count, grid)
    elif name == "reduce_prod":
        d.keep(d.b.reduce_prod(d.within(x, 1.0), axes=axes), 1.0)
    elif name == "argmax":
        d.keep(d.b.emit_one(d.choose(("argmax", "argmin")), x, axis=axis))
    else:
        made = d.b.emit_one(name, x, axes=axes)
        largest, grid = d.ranges[x]
        if any(x.shape[a] == 0 or not isinstance(x.shape[a], int) for a in axes):  # of nothing, the result is infinite
            made = d.b.clamp(d.b.full_like(made, -2.0), made, d.b.full_like(made, 2.0))
        d.keep(made, max(largest, 2.0), grid)


def scan(d: Draft, x: Value) -> None:
    if not x.ndim or x.dtype.is_bool:
        return
    axis, options = d.number(x.ndim), {"reverse": bool(d.number(2))}
    name = d.choose(("cumulative_sum", "cumulative_max", "cumulative_min", "cumulative_prod"))
    if not x.dtype.is_floating:
        d.keep(d.b.emit_one(name, x, axis=axis, **options))
    elif name in ("cumulative_max", "cumulative_min"):
        if d.is_exact(x):
            d.move(d.b.emit_one(name, x, axis=axis, **options), x)
    elif name == "cumulative_sum":
        x = d.within(x, 2.0)
        largest, grid = d.ranges[x]
        d.keep(d.b.cumulative_sum(x, axis=axis, **options), largest * terms(d, x, axis), grid)
    elif isinstance(x.shape[axis], int):  # of a symbolic size, the gradient has a table of its square
        d.keep(d.b.cumulative_prod(d.within(x, 1.0), axis=axis, **options), 1.0)


def positions(d: Draft, x: Value, axis: int) -> Value:
    """Indices of `axis`: an order, literal ones, or clamped integers."""
    size = x.shape[axis]
    if not isinstance(size, int):
        return d.b.reverse(d.b.iota(dtype=int64, shape=(size,), axis=0), axes=(0,))
    integers = [v for v in d.values if v.dtype.is_integer and v.ndim == 1]
    if integers and d.number(2):
        i = d.b.convert_element_type(d.choose(integers), dtype=int64)
        return d.b.clamp(d.b.full_like(i, 0), i, d.b.full_like(i, size - 1))
    return d.b.constant([d.number(size) for _ in range(3)], int64)


def index(d: Draft, x: Value) -> None:
    if not x.ndim or 0 in x.shape:
        return
    axis = d.number(x.ndim)
    where = positions(d, x, axis)
    if d.number(2):
        d.move(d.b.gather(x, where, axes=(axis,)), x)
        return
    y = d.mate(x)
    updates = d.b.gather(y, where, axes=(axis,))
    exact = d.is_exact(x) and d.is_exact(y)
    names = ["scatter_set"] + ([] if x.dtype.is_bool else ["scatter_add"])
    name = d.choose([*names, "scatter_max", "scatter_min"] if exact and not x.dtype.is_bool else names)
    (a, i), (c, j) = d.ranges[x], d.ranges[y]
    grid = max(i, j) if i is not None and j is not None else None
    count = terms(d, where, 0)
    d.keep(d.b.emit_one(name, x, updates, where, axes=(axis,)), a + c * count if name == "scatter_add" else max(a, c), grid)


def dynamic(d: Draft, x: Value) -> None:
    if not is_known(x):
        return
    sizes = tuple(1 + d.number(s) for s in x.shape)
    starts = [d.b.constant(d.number(s - k + 1), int64) for s, k in zip(x.shape, sizes, strict=True)]
    y = d.mate(x)
    piece = d.b.dynamic_slice(y, *starts, sizes=sizes)
    if d.number(2):
        d.move(piece, y)
        return
    (a, i), (c, j) = d.ranges[x], d.ranges[y]
    grid = None if i is None or j is None else max(i, j)
    d.keep(d.b.dynamic_update_slice(x, piece, *starts), max(a, c), grid)


def order(d: Draft, x: Value) -> None:
    if not x.ndim or not d.is_exact(x):
        return
    axis, descending = d.number(x.ndim), bool(d.number(2))
    name = d.choose(("sort", "argsort", "top_k"))
    if name == "top_k":
        size = x.shape[-1]
        best, where = d.b.emit("top_k", x, k=1 + d.number(size) if isinstance(size, int) and size else 0)
        d.keep(where)
        d.move(best, x)
    elif name == "sort":
        d.move(d.b.sort(x, axis=axis, descending=descending), x)
    else:
        d.keep(d.b.argsort(x, axis=axis, descending=descending))


def contract(d: Draft, x: Value) -> None:
    if x.ndim not in (1, 2, 3) or x.dtype.is_bool:
        return
    axis, batch = d.number(x.ndim), (0,) if x.ndim == 3 else ()
    if axis in batch or any(not isinstance(s, int) for a, s in enumerate(x.shape) if a != axis):
        axis = x.ndim - 1 if x.ndim == 3 else 0
    y = d.mate(x)
    if not x.dtype.is_floating:
        d.keep(d.b.dot_general(x, y, contract=((axis,), (axis,)), batch=(batch, batch)))
        return
    x, y = d.within(x, 2.0), d.within(y, 2.0)
    (a, i), (c, j) = d.ranges[x], d.ranges[y]
    grid = i + j if i is not None and j is not None else None
    made = d.b.dot_general(x, y, contract=((axis,), (axis,)), batch=(batch, batch))
    d.keep(made, a * c * terms(d, x, axis), grid)


def convolve(d: Draft, x: Value) -> None:
    if x.ndim not in (1, 2) or not x.dtype.is_floating or 0 in x.shape:
        return
    x = d.within(x, 2.0)
    channels = x.shape[0] if x.ndim == 2 and isinstance(x.shape[0], int) else 1
    if x.ndim == 2 and channels == 1 and x.shape[0] != 1:
        return
    if channels > 8:
        return
    literal = d.b.constant([[[0.5, -1.0]] * channels, [[1.5, d.number(3)]] * channels], x.dtype)
    scalars = [v for v in d.values if v.dtype is x.dtype and v.ndim == 0]
    kernel, largest, grid = literal, 2.0, 1
    if scalars:
        weight = d.within(scalars[0], 2.0)
        kernel = d.b.mul(literal, d.b.broadcast_in_dim(weight, shape=literal.shape, dims=()))
        largest, grid = 2 * d.ranges[weight].largest, None
    image = d.b.reshape(x, shape=(1, channels, x.shape[-1]))
    options = {"strides": (1 + d.number(2),), "padding": ((1, d.number(3)),)}
    options |= {"lhs_dilation": (1 + d.number(3) // 2,), "rhs_dilation": (1 + d.number(2),), "groups": 1}
    a, i = d.ranges[x]
    made = d.b.conv_general(image, kernel, **options)
    d.keep(made, a * largest * 2 * channels, None if i is None or grid is None else i + grid)


def window(d: Draft, x: Value) -> None:
    if not x.ndim or x.dtype.is_bool or x.ndim > 3 or 0 in x.shape:
        return
    ones = (1,) * x.ndim
    sizes = tuple(1 + d.number(3) for _ in ones)
    options = {"window": sizes, "strides": tuple(1 + d.number(2) for _ in ones), "padding": tuple((0, s - 1) for s in sizes)}
    options |= {"base_dilation": ones, "window_dilation": ones}
    name = d.choose(("sum", "max", "min", "argmax", "argmin") if d.is_exact(x) else ("sum",))
    largest, grid = d.ranges[x]
    made = d.b.emit_one(f"reduce_window_{name}", x, **options)
    d.keep(made, largest * int(np.prod(sizes)) if name == "sum" else largest, grid)


def make(d: Draft, x: Value) -> None:
    kind = d.number(3)
    if kind == 0:
        key, counter = (d.b.constant(np.uint64(d.number(256))) for _ in range(2))
        dtype = d.choose((uint32, uint64))
        bits = d.b.random_bits(key, counter, shape=x.shape, dtype=dtype)
        top = d.b.shift_right(bits, d.b.full_like(bits, dtype.bits - 4))
        target = d.parameters[0].dtype
        uniform = d.b.mul(d.b.convert_element_type(top, dtype=target), d.b.full(x.shape, 0.0625, target))
        d.keep(uniform, 1.0, 4)
    elif kind == 1 and x.ndim:
        axis = d.number(x.ndim)
        d.keep(d.b.iota(dtype=d.choose((int32, int64, float32, *FLOATS)), shape=x.shape, axis=axis), terms(d, x, axis), 0)
    else:
        d.keep(d.b.dimension(dim=d.n + d.number(2)))


def call(d: Draft, x: Value) -> None:
    """A graph held by an op, and an effect."""
    if not x.dtype.is_floating:
        return
    y, x = d.within(d.mate(x)), d.within(x)
    inner = Builder("inner", location=d.b.location)
    one, two = inner.parameter(x.type, "a"), inner.parameter(y.type, "b")
    held = inner.finish([inner.mul(inner.sin(one), two), inner.add(one, two)])
    product, total = d.b.emit("call", x, y, graph=held)
    d.b.check(d.b.reduce_all(d.b.is_finite(x), axes=tuple(range(x.ndim))), message="a value is not finite")
    d.keep(product, LIMIT)
    d.keep(total, 2 * LIMIT)


STEPS: tuple[Step, ...] = (
    arithmetic, smooth, arithmetic, reduce, move, compare, select, with_literal, steep, part, quotient, whole, convert,
    reduce, contract, index, scan, order, dynamic, convolve, window, make, call, smooth,
)  # fmt: skip
