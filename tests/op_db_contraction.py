"""The database's records of dot_general and conv_general."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphc.dtypes import FLOATS, INTEGERS, DType, bool_, float32, float64
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.dims import symbol
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


RECORDS: tuple[OpRecord, ...] = (
    OpRecord("dot_general", dot_general, NUMBERS, dot_general_errors, tolerance=PRODUCTS),
    OpRecord("conv_general", conv_general, NUMBERS, conv_general_errors, tolerance=PRODUCTS),
)
