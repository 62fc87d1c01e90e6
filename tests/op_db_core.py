"""The database's records of the primitives that are not arithmetic."""

from collections.abc import Iterator

import numpy as np

from graphc.dtypes import ALL, DType, bool_, float32, int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType
from graphc.ops.effects import callback_key
from tests.op_record import ErrorSample, OpRecord, Sample, edge_values, random_array, strided

X = TensorType(float32, (3,))
SCALAR = TensorType(bool_, ())


def frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def constant(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for label, shape in (("scalar", ()), ("matrix", (2, 3)), ("empty", (0, 4))):
        yield Sample((), {"value": frozen(random_array(rng, dtype, shape))}, label=label)
    yield Sample((), {"value": frozen(strided(random_array(rng, dtype, (2, 3))))}, label="strided")
    yield Sample((), {"value": frozen(edge_values(dtype))}, edge=True)


def dimension(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield Sample((), {"dim": 7})
    yield Sample((), {"dim": 0})


def stop_gradient(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield Sample((random_array(rng, dtype, (3, 2)),))
    yield Sample((random_array(rng, dtype, ()),), label="scalar")
    yield Sample((random_array(rng, dtype, (0, 2)),), label="empty")
    yield Sample((strided(random_array(rng, dtype, (3, 2))),), label="strided")
    yield Sample((edge_values(dtype),), edge=True)


def check(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield Sample((np.asarray(True),), {"message": "never"})


def check_errors() -> list[ErrorSample]:
    message = {"message": "m"}
    return [
        ErrorSample((X,), DTypeError, r"check: the predicate must be a bool scalar, not f32\[3\]", message),
        ErrorSample((X.with_dtype(bool_),), ShapeError, r"must be a bool scalar, not bool\[3\]", message),
    ]


def print_(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield Sample((random_array(rng, dtype, (2,)), random_array(rng, dtype, ())), {"template": "{} and {}\n"})
    yield Sample((), {"template": "{{}}"}, label="text")


def print_errors() -> list[ErrorSample]:
    message = r"print: the template '\{\} \{\}' does not fit 1 operands"
    return [ErrorSample((X,), ArgumentError, message, {"template": "{} {}"})]


def _double(x: np.ndarray) -> list[np.ndarray]:
    return [x + x]


def callback(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for label, shape in (("matrix", (2, 3)), ("scalar", ()), ("empty", (0,))):
        attributes = {"function": callback_key(_double), "dtypes": (dtype,), "shapes": (shape,)}
        yield Sample((random_array(rng, dtype, shape),), attributes, label=label)


def callback_errors() -> list[ErrorSample]:
    attributes = {"function": callback_key(_double), "dtypes": (float32,), "shapes": ()}
    return [ErrorSample((X,), ArgumentError, "callback: there are 1 dtypes and 0 shapes", attributes)]


def callee(dtype: DType) -> Graph:
    """(x[n], y) → (x with y taken from or added to it, x itself): two results, and a size of its own."""
    b = Builder("callee")
    x = b.parameter(TensorType(dtype, (symbol("n"),)), "x")
    y = b.parameter(TensorType(dtype, ()), "y")
    wide = b.broadcast_in_dim(y, shape=x.shape, dims=())
    return b.finish([b.maximum(x, wide) if dtype.is_bool else b.mul(x, wide), x])


def call(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    graph = callee(dtype)
    for size in (4, 1, 0):
        operands = (random_array(rng, dtype, (size,)), random_array(rng, dtype, ()))
        yield Sample(operands, {"graph": graph}, gradient=size > 0)


def call_errors() -> list[ErrorSample]:
    graph = {"graph": callee(float32)}
    y = X.with_shape(())
    return [
        ErrorSample((X,), ArgumentError, "call: callee takes 2 operands, 1 were given", graph),
        ErrorSample((X, X), ShapeError, "call callee", graph),
        ErrorSample((X, y.with_dtype(int64)), DTypeError, "call callee", graph),
    ]


RECORDS = (
    OpRecord("constant", constant, ALL, differentiable=False),
    OpRecord(
        "dimension", dimension, (int64,), lambda: [ErrorSample((), ArgumentError, "is not a size", {"dim": "n"})],
        differentiable=False,
    ),
    OpRecord("stop_gradient", stop_gradient, ALL, differentiable=False),
    OpRecord("print", print_, (bool_, int64, float32), print_errors, differentiable=False),
    OpRecord("callback", callback, (int64, float32), callback_errors, differentiable=False),
    OpRecord("check", check, (bool_,), check_errors, differentiable=False),
    OpRecord("call", call, ALL, call_errors),
)  # fmt: skip
