"""The database's records of dot_general, conv_general and attention."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.dtypes import FLOATS, INTEGERS, DType, bool_, float32, float64, int32
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.dims import symbol
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from tests.op_record import ErrorSample, OpRecord, Sample, random_array, strided, transposed

NUMBERS = (*INTEGERS, *FLOATS)
# Products up to 9 are added up to a few hundred times, in any order.
PRODUCTS: Mapping[str, tuple[float, float]] = {
    "float64": (1e-12, 1e-12), "float32": (1e-5, 1e-4), "float16": (4e-3, 2e-2), "bfloat16": (3e-2, 1e-1)
}  # fmt: skip
X = TensorType(float32, (3, 4))


def dot_general(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    matrices = {"contract": ((1,), (0,)), "batch": ((), ())}
    yield Sample((x(3, 4), x(4, 5)), matrices, gradient=True, label="matrices")
    yield Sample(
        (x(3, 4), x(5, 4)), {"contract": ((1,), (1,)), "batch": ((), ())}, gradient=True, label="transposed rhs"
    )
    yield Sample(
        (x(4, 3), x(4, 5)), {"contract": ((0,), (0,)), "batch": ((), ())}, gradient=True, label="transposed lhs"
    )
    yield Sample((x(4), x(4)), {"contract": ((0,), (0,)), "batch": ((), ())}, gradient=True, label="vectors")
    yield Sample((x(3, 4), x(4)), matrices, gradient=True, label="matrix and vector")
    yield Sample((x(3), x(4)), {"contract": ((), ()), "batch": ((), ())}, gradient=True, label="outer")
    yield Sample((x(), x()), {"contract": ((), ()), "batch": ((), ())}, gradient=True, label="scalars")
    yield Sample(
        (x(2, 3, 4), x(2, 4, 5)), {"contract": ((2,), (1,)), "batch": ((0,), (0,))}, gradient=True, label="batch"
    )
    yield Sample((x(5), x(5)), {"contract": ((), ()), "batch": ((0,), (0,))}, gradient=True, label="only batch")
    crossed = {"contract": ((2, 3), (3, 0)), "batch": ((1,), (1,))}
    yield Sample((x(2, 3, 4, 5), x(5, 3, 6, 4)), crossed, gradient=True, label="two axes")
    two = {"contract": ((0,), (2,)), "batch": ((3, 1), (0, 1))}
    yield Sample((x(3, 2, 5, 4), x(4, 2, 3)), two, gradient=True, label="two batch axes")
    yield Sample((x(3, 0), x(0, 5)), matrices, label="sum of nothing")
    yield Sample((x(0, 4), x(4, 5)), matrices, label="empty")
    yield Sample((strided(x(3, 7)), transposed(x(7, 5))), matrices, label="strided")
    yield Sample((x(17, 131), x(131, 33)), matrices, label="odd sizes")


def dot_general_errors() -> list[ErrorSample]:
    def axes(contract: Any, batch: Any = ((), ())) -> dict[str, Any]:
        return {"contract": contract, "batch": batch}

    y = X.with_shape((4, 5))
    n = X.with_shape((symbol("n"), 5))
    ok = axes(((1,), (0,)))
    return [
        ErrorSample((X,), ArgumentError, "dot_general: takes 2 operands, got 1", ok),
        ErrorSample((X, y.with_dtype(float64)), DTypeError, "dot_general: operands must have one dtype", ok),
        ErrorSample((X.with_dtype(bool_), y.with_dtype(bool_)), DTypeError, "takes numbers, not bool", ok),
        ErrorSample((X, X), ShapeError, r"axis 1 of f32\[3, 4\] with axis 0 of f32\[3, 4\]: sizes 4 and 3 differ", ok),
        ErrorSample((X, n), ShapeError, "sizes 4 and n differ", ok),
        ErrorSample((X, y), ShapeError, "batch pairs axis 0 of .* with axis 1", axes(((1,), (0,)), ((0,), (1,)))),
        ErrorSample((X, y), AxisError, "axis 2 is out of range", axes(((2,), (0,)))),
        ErrorSample((X, y), AxisError, r"name an axis of f32\[3, 4\] twice", axes(((1,), (0,)), ((1,), (1,)))),
        ErrorSample((X, y), ArgumentError, "more axes of one operand", axes(((0, 1), (0,)))),
        ErrorSample((X, y), ArgumentError, r"contract must be \(axes of lhs, axes of rhs\)", axes((1, 0))),
    ]


def convolution(
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...] | None = None,
    rhs_dilation: tuple[int, ...] | None = None,
    groups: int = 1,
) -> dict[str, Any]:
    ones = (1,) * len(strides)
    return {
        "strides": strides,
        "padding": padding,
        "lhs_dilation": lhs_dilation or ones,
        "rhs_dilation": rhs_dilation or ones,
        "groups": groups,
    }


def conv_general(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape, -2, 2)

    plain = convolution((1,), ((0, 0),))
    yield Sample((x(2, 3, 7), x(4, 3, 3)), plain, gradient=True, label="1-D")
    same = convolution((1, 1), ((1, 1), (1, 1)))
    yield Sample((x(2, 2, 5, 4), x(3, 2, 3, 3)), same, gradient=True, label="same size")
    remainder = convolution((3, 2), ((0, 1), (1, 0)))
    yield Sample((x(1, 2, 8, 6), x(2, 2, 3, 2)), remainder, gradient=True, label="strides with remainder")
    cut = convolution((2, 1), ((-1, 2), (0, -1)), (2, 1), (1, 2))
    yield Sample((x(2, 2, 5, 6), x(4, 2, 3, 2)), cut, gradient=True, label="dilated, negative padding")
    grouped = convolution((2,), ((1, 2),), None, (2,), 2)
    yield Sample((x(2, 4, 7), x(6, 2, 3)), grouped, gradient=True, label="groups")
    depthwise = convolution((1, 1, 1), ((0, 0), (1, 0), (1, 1)), None, None, 3)
    yield Sample((x(1, 3, 3, 4, 2), x(3, 1, 2, 2, 2)), depthwise, gradient=True, label="3-D, depthwise")
    yield Sample((x(0, 3, 7), x(4, 3, 3)), plain, label="no images")
    yield Sample((x(2, 0, 7), x(4, 0, 3)), plain, label="no channels")
    yield Sample((x(2, 3, 2), x(4, 3, 3)), plain, label="no window fits")
    yield Sample((strided(x(2, 3, 7)), transposed(x(4, 3, 2))), plain, label="strided")


def conv_general_errors() -> list[ErrorSample]:
    x, w = TensorType(float32, (2, 4, 7)), TensorType(float32, (6, 2, 3))
    ok = convolution((1,), ((0, 0),), groups=2)
    return [
        ErrorSample((x,), ArgumentError, "conv_general: takes 2 operands, got 1", ok),
        ErrorSample((x, w.with_dtype(float64)), DTypeError, "conv_general: operands must have one dtype", ok),
        ErrorSample((x.with_dtype(bool_), w.with_dtype(bool_)), DTypeError, "takes numbers, not bool", ok),
        ErrorSample((X, X), ShapeError, "1 to 3 spatial dimensions", ok),
        ErrorSample((x, w.with_shape((6, 2, 3, 3))), ShapeError, "1 to 3 spatial dimensions", ok),
        ErrorSample((x, w), ShapeError, "has 4 channels, but w .* with groups=1 takes 2", {**ok, "groups": 1}),
        ErrorSample((x, w.with_shape((5, 2, 3))), ShapeError, "5 kernels .* do not divide into 2 groups", ok),
        ErrorSample((x, w), ArgumentError, "groups must be an int of at least 1", {**ok, "groups": 0}),
        ErrorSample((x, w), ArgumentError, "strides must hold ints of at least 1", {**ok, "strides": (0,)}),
        ErrorSample((x, w), ArgumentError, "rhs_dilation needs 1 entries", {**ok, "rhs_dilation": (1, 1)}),
        ErrorSample((x, w), ArgumentError, r"padding needs 1 \(low, high\) pairs", {**ok, "padding": ()}),
    ]


def attention(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape, -1, 1)

    for causal in (False, True):
        flag = {"causal": causal}
        yield Sample((x(4, 3), x(5, 3), x(5, 2)), flag, gradient=True, label="matrices")
        yield Sample((x(2, 3, 4), x(2, 2, 4), x(2, 2, 3)), flag, gradient=True, label="more queries than keys")
        yield Sample((x(2, 1, 70, 16), x(2, 1, 70, 16), x(2, 1, 70, 32)), flag, label="whole vectors")
        yield Sample((x(130, 5), x(67, 5), x(67, 7)), flag, label="blocks and rests")
        yield Sample((x(3, 2), x(0, 2), x(0, 4)), flag, label="no keys")
        yield Sample((x(0, 2), x(3, 2), x(3, 4)), flag, label="no queries")
        yield Sample((x(3, 0), x(3, 0), x(3, 4)), flag, label="nothing to compare")
        yield Sample((x(0, 3, 2), x(0, 3, 2), x(0, 3, 4)), flag, label="no matrices")
        yield Sample((strided(x(3, 7)), transposed(x(5, 7)), strided(x(5, 6))), flag, label="strided")
        k, v = x(100, 3), x(100, 2)
        k[70, 1], v[99, 0], v[40, 1] = np.nan, np.nan, np.inf
        yield Sample((x(90, 3), k, v), flag, edge=True, label="NaN")
        q = np.ones((3, 2), dtype.numpy)
        q[1], q[2] = -np.inf, np.inf
        yield Sample((q, np.ones((80, 2), dtype.numpy), x(80, 3)), flag, edge=True, label="infinite scores")


def attention_gradient(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    forward = get_primitive("attention")
    for sample in attention(rng, dtype):
        out, lse = forward.evaluate(*sample.arrays, **sample.attributes)
        cotangent = random_array(rng, dtype, out.shape, -1, 1)
        delta = random_array(rng, dtype.compute, lse.shape, -1, 1)
        yield replace(sample, arrays=(*sample.arrays, cotangent, lse, delta))


def attention_errors(name: str, *more: TensorType) -> Callable[[], list[ErrorSample]]:
    q, k, v = TensorType(float32, (2, 4, 3)), TensorType(float32, (2, 5, 3)), TensorType(float32, (2, 5, 6))
    flag = {"causal": False}

    def errors() -> list[ErrorSample]:
        return [
            ErrorSample((q,), ArgumentError, f"{name}: takes {3 + len(more)} operands, got 1", flag),
            ErrorSample((q.with_dtype(int32), k, v, *more), DTypeError, f"{name}: takes floats, not int32", flag),
            ErrorSample((q.with_dtype(float64), k, v, *more), DTypeError, "operands must have one dtype", flag),
            ErrorSample((q, k.with_shape((2, 5, 4)), v, *more), ShapeError, "do not fit", flag),
            ErrorSample((q, k, v.with_shape((2, 4, 6)), *more), ShapeError, "do not fit", flag),
            ErrorSample((q.with_shape((1, 4, 3)), k, v, *more), ShapeError, "do not fit", flag),
            *(
                ErrorSample((q, k, v, *more[:i], X, *more[i + 1 :]), ShapeError, "is f32.3, 4., but .* need", flag)
                for i in range(len(more))
            ),
        ]

    return errors


ATTENDED = (TensorType(float32, (2, 4, 6)), TensorType(float32, (2, 4)), TensorType(float32, (2, 4)))

RECORDS: tuple[OpRecord, ...] = (
    OpRecord("dot_general", dot_general, NUMBERS, dot_general_errors, tolerance=PRODUCTS),
    OpRecord("conv_general", conv_general, NUMBERS, conv_general_errors, tolerance=PRODUCTS),
    OpRecord("attention", attention, FLOATS, attention_errors("attention"), tolerance=PRODUCTS),
    OpRecord(
        "attention_gradient",
        attention_gradient,
        FLOATS,
        attention_errors("attention_gradient", *ATTENDED),
        tolerance=PRODUCTS,
    ),
)
