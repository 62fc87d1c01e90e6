"""Small random graphs of ops whose results are defined to the bit, for property tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import DType, bool_, float32, int32
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.locations import Location

Step = tuple[int, int, int, int]

PARAMETERS = (
    TensorType(float32, (2, 3)),
    TensorType(float32, (3,)),
    TensorType(int32, (2, 3)),
    TensorType(int32, (1, 3)),
    TensorType(bool_, (2, 3)),
    TensorType(float32, ()),
)
SYMBOLIC = tuple(t.with_shape(symbol("n") if d == 2 else d for d in t.shape) for t in PARAMETERS)
FLOAT_UNARY = ("neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "cos", "exp")
FLOAT_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
INT_BINARY = (
    "add", "sub", "mul", "floor_divide", "remainder", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor",
    "shift_left", "shift_right", "pow",
)  # fmt: skip
BOOL_BINARY = ("bitwise_and", "bitwise_or", "bitwise_xor", "maximum", "minimum")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
FLOAT_LITERALS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.25, 3.0, np.inf, -np.inf, np.nan)
INT_LITERALS = (0, 1, -1, 2, 3, 8, 31, 32, -5, 2**31 - 1, -(2**31))

steps = st.lists(st.tuples(*[st.integers(0, 99)] * 4), min_size=1, max_size=16)


def build(plan: Sequence[Step], parameters: Sequence[TensorType] = PARAMETERS) -> Graph:
    """The graph that `plan` describes: each step applies an op to values made before, if there are fitting ones."""
    b = Builder("random", location=Location("random.py", 1, 1))
    pool = [b.parameter(t, f"p{i}") for i, t in enumerate(parameters)]
    for kind, first, second, detail in plan:
        x = pool[first % len(pool)]
        made = MAKERS[kind % len(MAKERS)](b, x, [v for v in pool if v.type == x.type], second, detail, pool)
        if made is not None and made.ndim <= 4:
            pool.append(made)
    return b.finish(pool[len(PARAMETERS) :] or pool[:1])


def pick(options: Sequence[Any], number: int) -> Any:
    return options[number % len(options)]


def _unary(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    if x.dtype.is_floating:
        return b.emit_one(pick(FLOAT_UNARY, detail), x)
    if x.dtype.is_bool:
        return b.emit_one("bitwise_not", x)
    return b.emit_one(pick(("neg", "abs", "sign", "bitwise_not"), detail), x)


def _binary_names(dtype: DType) -> tuple[str, ...]:
    return FLOAT_BINARY if dtype.is_floating else BOOL_BINARY if dtype.is_bool else INT_BINARY


def _literal(b: Builder, like: Value, number: int) -> Value:
    options = FLOAT_LITERALS if like.dtype.is_floating else (False, True) if like.dtype.is_bool else INT_LITERALS
    return b.full_like(like, pick(options, number))


def _binary(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    return b.emit_one(pick(_binary_names(x.dtype), detail), x, pick(same, second))


def _with_literal(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    operands = [x, _literal(b, x, second)]
    return b.emit_one(pick(_binary_names(x.dtype), detail), *(operands if detail < 70 else operands[::-1]))


def _compare(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    other = pick(same, second) if second < 50 else _literal(b, x, second)
    return b.emit_one(pick(COMPARE, detail), x, other)


def _select(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    predicates = [v for v in pool if v.dtype.is_bool and v.shape == x.shape]
    if not predicates:
        return None
    return b.emit_one("select", pick(predicates, detail), x, pick(same, second))


def _convert(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    return b.emit_one("convert_element_type", x, dtype=pick((bool_, float32, int32), detail))


def _move(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    axes = tuple(range(x.ndim))
    if second % 5 == 0:
        shift = detail % (x.ndim or 1)
        return b.emit_one("transpose", x, permutation=axes[shift:] + axes[:shift])
    if second % 5 == 1:
        return b.emit_one("reverse", x, axes=tuple(a for a in axes if (detail >> a) & 1))
    if second % 5 == 2:
        return b.emit_one("reshape", x, shape=(1, *x.shape) if detail % 2 else (x.type.size,))
    if second % 5 == 3:
        return b.emit_one("broadcast_in_dim", x, shape=(*x.shape, 2), dims=axes)
    return b.emit_one("broadcast_in_dim", x, shape=(detail % 3, *x.shape), dims=tuple(a + 1 for a in axes))


def _part(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    if x.ndim == 0:
        return None
    sizes = [d for d in x.shape if isinstance(d, int)]
    if second % 4 == 0:
        return b.emit_one("concatenate", x, pick(same, detail), axis=detail % x.ndim)
    if len(sizes) < x.ndim:
        return None
    if second % 4 == 1:
        value = _literal(b, b.full((), 0, x.dtype), detail)
        low = tuple((detail >> a) % 3 - 1 for a in range(x.ndim))
        low = tuple(max(p, -n) for p, n in zip(low, sizes, strict=True))
        return b.emit_one("pad", x, value, low=low, high=(detail % 2,) * x.ndim, interior=(0,) * x.ndim)
    starts = tuple(min((detail >> a) % 2, n) for a, n in enumerate(sizes))
    limits = tuple(max(s, n - (detail >> 3) % 2) for s, n in zip(starts, sizes, strict=True))
    return b.emit_one("slice", x, starts=starts, limits=limits, strides=(1 + detail % 2,) * x.ndim)


def _reduce(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    if x.ndim == 0:
        return None
    axes = tuple(a for a in range(x.ndim) if (detail >> a) & 1)
    if x.dtype.is_bool:
        return b.emit_one(pick(("reduce_any", "reduce_all"), second), x, axes=axes)
    if x.dtype.is_floating:
        return b.emit_one(pick(("reduce_max", "reduce_min"), second), x, axes=axes)
    return b.emit_one(pick(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"), second), x, axes=axes)


def _contract(b: Builder, x: Value, same: list[Value], second: int, detail: int, pool: list[Value]) -> Value | None:
    if x.ndim != 2 or not x.dtype.is_integer:
        return None
    axis = detail % 2
    return b.emit_one("dot_general", x, pick(same, second), contract=((axis,), (axis,)), batch=((), ()))


MAKERS = (
    _unary, _unary, _binary, _binary, _with_literal, _with_literal, _compare, _select, _convert, _move, _move, _part,
    _reduce, _contract,
)  # fmt: skip
