"""The database's records of control flow. A region's main operands have the record's dtype."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.dtypes import ALL, DType, bool_, float32, float64, int32, int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from tests.op_record import ErrorSample, OpRecord, Sample, random_array

ARITHMETIC = tuple(d for d in ALL if not d.is_bool)


def combine(b: Builder, x: Value, y: Value) -> Value:
    """Something smooth of two values that stays bounded for floats, and does not overflow for small integers."""
    if x.dtype.is_floating:
        return b.mul(b.tanh(x), b.cos(y))  # type: ignore[no-any-return]
    return b.maximum(x, y)  # type: ignore[no-any-return]


def branch(kind: int, dtype: DType, size: Dim) -> Graph:
    """(x, y) → (something of both, y)."""
    b = Builder(f"branch{kind}")
    x, y = (b.parameter(TensorType(dtype, (size,)), name) for name in "xy")
    if kind == 0:
        return b.finish([combine(b, x, y), y])
    if kind == 1:
        return b.finish([x, combine(b, y, x)])
    return b.finish([combine(b, combine(b, x, y), y), x])


def cond(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for size in (3, 0):
        x, y = random_array(rng, dtype, (size,)), random_array(rng, dtype, (size,))
        two = {"branches": (branch(0, dtype, size), branch(1, dtype, size))}
        three = {"branches": (*two["branches"], branch(2, dtype, size))}
        for flag in (True, False):
            yield Sample((np.asarray(flag), x, y), two, gradient=size > 0)
        for index in (1, 2, -5, 99):
            yield Sample((np.asarray(index, np.int64), x, y), three, gradient=size > 0)
        yield Sample((np.asarray(0, np.int32), x, y), three)


def cond_errors() -> list[ErrorSample]:
    x, flag = TensorType(float32, (3,)), TensorType(bool_, ())
    two = (branch(0, float32, 3), branch(1, float32, 3))
    return [
        ErrorSample((x, x, x), ShapeError, r"selector must be a scalar, not f32\[3\]", {"branches": two}),
        ErrorSample((x.with_shape(()), x, x), DTypeError, "must be a bool or an integer", {"branches": two}),
        ErrorSample((flag, x, x), ArgumentError, "chooses between two branches, and there are 1", {"branches": two[:1]}),
        ErrorSample((flag, x), ArgumentError, "branch 0 has 2 parameters, and 1 are needed", {"branches": two}),
        ErrorSample((flag, x, x.with_shape((2,))), ShapeError, "branch 0: parameter 1 has type", {"branches": two}),
        ErrorSample(
            (flag, x, x), DTypeError, "branch 1: parameter 0", {"branches": (two[0], branch(0, float64, 3))}
        ),
    ]  # fmt: skip


def counting(dtype: DType, size: Dim, counter: DType = int64) -> tuple[Graph, Graph]:
    """(limit, y, i, x): while i < limit, x becomes a mix of x and y."""
    types = (TensorType(counter, ()), TensorType(dtype, (size,)), TensorType(counter, ()), TensorType(dtype, (size,)))
    b = Builder("goes_on")
    limit, _, i, _ = (b.parameter(t, n) for t, n in zip(types, ("limit", "y", "i", "x"), strict=True))
    test = b.finish([b.lt(i, limit)])
    b = Builder("step")
    limit, y, i, x = (b.parameter(t, n) for t, n in zip(types, ("limit", "y", "i", "x"), strict=True))
    return test, b.finish([b.add(i, b.full_like(i, 1)), combine(b, x, y)])


def while_loop(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for size in (3, 0):
        test, body = counting(dtype, size)
        x, y = random_array(rng, dtype, (size,)), random_array(rng, dtype, (size,))
        for steps, most in ((3, None), (0, None), (3, 5), (3, 2), (0, 1), (3, 0)):
            operands = (np.asarray(steps), y, np.asarray(0), x)
            attributes = {"cond": test, "body": body, "constants": 2, "max_steps": most}
            yield Sample(operands, attributes, edge=most is None, gradient=size > 0 and bool(most))


def while_errors() -> list[ErrorSample]:
    test, body = counting(float32, 3)
    x, i = TensorType(float32, (3,)), TensorType(int64, ())
    good = {"cond": test, "body": body, "constants": 2, "max_steps": None}
    return [
        ErrorSample((i, x, i, x), ArgumentError, "constants is 9, of 4 values", {**good, "constants": 9}),
        ErrorSample((i, x, i, x), ArgumentError, "must not be negative", {**good, "max_steps": -1}),
        ErrorSample((i, x, i), ArgumentError, "cond has 4 parameters, and 3 are needed", good),
        ErrorSample((i, x, i.with_dtype(int32), x), DTypeError, "cond: parameter 2", good),
        ErrorSample((i, x, i, x), ArgumentError, "cond has 2 results, and 1 are needed", {**good, "cond": body}),
    ]


def step(dtype: DType, size: Dim, carries: int = 1) -> Graph:
    """(w, h, x) → (h', y): a recurrence."""
    b = Builder("step")
    w, h, x = (b.parameter(TensorType(dtype, (size,)), name) for name in "whx")
    new = combine(b, combine(b, h, w), x)
    return b.finish([new, combine(b, new, x)] if carries else [combine(b, x, h)])


def scan(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for size, length in ((3, 4), (3, 1), (3, 0), (0, 2)):
        w, h = random_array(rng, dtype, (size,)), random_array(rng, dtype, (size,))
        xs = random_array(rng, dtype, (length, size))
        for reverse in (False, True):
            attributes = {"body": step(dtype, size), "constants": 1, "carries": 1, "length": length, "reverse": reverse}
            yield Sample((w, h, xs), attributes, gradient=size > 0 and length > 0)
    attributes = {"body": step(dtype, 3, 0), "constants": 2, "carries": 0, "length": 4, "reverse": False}
    operands = tuple(random_array(rng, dtype, shape) for shape in ((3,), (3,), (4, 3)))
    yield Sample(operands, attributes, label="only slices")


def scan_errors() -> list[ErrorSample]:
    x, xs = TensorType(float32, (3,)), TensorType(float32, (4, 3))
    good = {"body": step(float32, 3), "constants": 1, "carries": 1, "length": 4, "reverse": False}
    return [
        ErrorSample((x, x, xs), ArgumentError, "carries is 7, of 2 values", {**good, "carries": 7}),
        ErrorSample((x, x, xs), ArgumentError, "the length is -1", {**good, "length": -1}),
        ErrorSample((x, x, xs), ShapeError, r"its first axis must have the length, 5", {**good, "length": 5}),
        ErrorSample((x, x.with_dtype(float64), xs), DTypeError, "body: parameter 1", good),
        ErrorSample(
            (x, x, xs.with_shape((4, 2))), ShapeError, r"body: parameter 2 has type f32\[3\], and f32\[2\] is needed", good
        ),
    ]  # fmt: skip


def barrier(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for shape in ((3,), (), (0, 2)):
        yield Sample((random_array(rng, dtype, shape), random_array(rng, dtype, (2,))), gradient=0 not in shape)


def checkpoint(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for size, saved in ((3, ()), (3, ("tanh", "mul")), (3, ("*",)), (0, ())):
        operands = (random_array(rng, dtype, (size,)), random_array(rng, dtype, (size,)))
        yield Sample(operands, {"graph": branch(2, dtype, size), "saved": saved}, gradient=size > 0)


def checkpoint_errors() -> list[ErrorSample]:
    x, graph = TensorType(float32, (3,)), {"graph": branch(0, float32, 3)}
    return [
        ErrorSample((x,), ArgumentError, "checkpoint takes 2 operands, 1 were given", graph),
        ErrorSample((x, x.with_dtype(float64)), DTypeError, "checkpoint: operand 1 has type", graph),
        ErrorSample((x, x.with_shape((2,))), ShapeError, "checkpoint: operand 1 has type", graph),
    ]


def with_gradient(dtype: DType, size: Dim) -> dict[str, Any]:
    """x · y as a function of (w, x, y), of which w is a constant, with its true gradient."""
    types = [TensorType(dtype, (size,))] * 3

    def begin(name: str, count: int = 3) -> tuple[Builder, list[Value]]:
        b = Builder(name)
        return b, [b.parameter(t) for t in (types * 2)[:count]]

    b, (_, x, y) = begin("product")
    graph = b.finish([b.mul(x, y)])
    b, (_, x, y) = begin("ahead")
    forward = b.finish([b.mul(x, y), x, y])
    if dtype.is_floating:
        b, (_, x, y, g) = begin("back", 4)
        backward = b.finish([b.mul(g, y), b.mul(g, x)])
    else:
        b, _ = begin("back")
        backward = b.finish([])
    return {"graph": graph, "forward": forward, "backward": backward, "constants": 1}


def custom_vjp(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for size in (3, 0):
        operands = tuple(random_array(rng, dtype, (size,)) for _ in range(3))
        yield Sample(operands, with_gradient(dtype, size), gradient=size > 0)


def custom_vjp_errors() -> list[ErrorSample]:
    x, good = TensorType(float32, (3,)), with_gradient(float32, 3)
    back = good["backward"]
    fewer = back.replace(outputs=back.outputs[:1])
    return [
        ErrorSample((x, x), ArgumentError, "custom_vjp takes 3 operands", good),
        ErrorSample((x, x, x), ArgumentError, "backward gives cotangents of types", {**good, "backward": fewer}),
        ErrorSample((x, x, x), ArgumentError, "backward takes 4 operands, 5 were given", {**good, "constants": 2}),
        ErrorSample((x, x, x), ArgumentError, "backward takes 3 operands, 4", {**good, "backward": good["graph"]}),
    ]  # fmt: skip


RECORDS = (
    OpRecord("cond", cond, ARITHMETIC, cond_errors),
    OpRecord("while_loop", while_loop, ARITHMETIC, while_errors),
    OpRecord("scan", scan, ARITHMETIC, scan_errors),
    OpRecord("optimization_barrier", barrier, ARITHMETIC, lambda: [ErrorSample((), ArgumentError, "must be an operand")]),
    OpRecord("checkpoint", checkpoint, ARITHMETIC, checkpoint_errors),
    OpRecord("custom_vjp", custom_vjp, ARITHMETIC, custom_vjp_errors, gradient_operands=(1, 2)),
)
