"""The database's records of the primitives that move elements, and of random_bits."""

from collections.abc import Iterator

import numpy as np

from graphc.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, int32, int64, uint32, uint64
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from tests.op_record import ErrorSample, OpRecord, Sample, edge_values, random_array, strided, transposed

X = TensorType(float32, (3, 4))
SCALAR = TensorType(float32, ())
N = symbol("n")


def broadcast_in_dim(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(),), {"shape": (2, 3), "dims": ()}, gradient=True)
    yield Sample((x(),), {"shape": (), "dims": ()})
    yield Sample((x(3, 1),), {"shape": (2, 3, 5), "dims": (1, 2)}, gradient=True)
    yield Sample((x(4),), {"shape": (4, 7), "dims": (0,)})
    yield Sample((x(1, 3),), {"shape": (0, 3), "dims": (0, 1)}, label="to nothing")
    yield Sample((x(0, 1),), {"shape": (0, 5), "dims": (0, 1)}, label="empty")
    yield Sample((strided(x(3, 4)),), {"shape": (3, 2, 4), "dims": (0, 2)}, label="strided")
    yield Sample((edge_values(dtype),), {"shape": (2, edge_values(dtype).size), "dims": (1,)}, edge=True)


def broadcast_in_dim_errors() -> list[ErrorSample]:
    return [
        ErrorSample(
            (X, X), ArgumentError, "broadcast_in_dim: takes 1 operand, got 2", {"shape": (3, 4), "dims": (0, 1)}
        ),
        ErrorSample((X,), ArgumentError, "dims needs 2 entries", {"shape": (3, 4), "dims": (0,)}),
        ErrorSample((X,), AxisError, "distinct and in increasing order", {"shape": (4, 3), "dims": (1, 0)}),
        ErrorSample((X,), AxisError, "axis 2 is out of range", {"shape": (3, 4), "dims": (0, 2)}),
        ErrorSample((X,), ShapeError, r"axis 1 of f32\[3, 4\] has size 4", {"shape": (3, 5), "dims": (0, 1)}),
        ErrorSample((X.with_shape((N,)),), ShapeError, r"axis 0 of f32\[n\] has size n", {"shape": (5,), "dims": (0,)}),
        ErrorSample((SCALAR,), ShapeError, "negative size", {"shape": (-1,), "dims": ()}),
    ]


def reshape(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(3, 4),), {"shape": (2, 6)}, gradient=True)
    yield Sample((x(),), {"shape": (1, 1)}, gradient=True)
    yield Sample((x(1),), {"shape": ()})
    yield Sample((x(0, 3),), {"shape": (5, 0, 2)}, label="empty")
    yield Sample((strided(x(3, 5)),), {"shape": (15,)}, label="strided")
    yield Sample((transposed(x(3, 5)),), {"shape": (5, 3)}, label="transposed")
    yield Sample((edge_values(dtype),), {"shape": (1, edge_values(dtype).size, 1)}, edge=True)


def reshape_errors() -> list[ErrorSample]:
    two_n = TensorType(float32, (N, 2))
    return [
        ErrorSample((), ArgumentError, "reshape: takes 1 operand, got 0", {"shape": (3,)}),
        ErrorSample((X,), ShapeError, r"f32\[3, 4\] has 12 elements .* \(5, 2\) takes 10", {"shape": (5, 2)}),
        ErrorSample((two_n,), ShapeError, r"has 2\*n elements", {"shape": (2 * N + 1,)}),
        ErrorSample((X,), ArgumentError, "shape must be a tuple of sizes", {"shape": (3.0, 4)}),
        ErrorSample((X,), ShapeError, "negative size", {"shape": (-1, 12)}),
    ]


def transpose(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(3, 4),), {"permutation": (1, 0)}, gradient=True)
    yield Sample((x(2, 3, 5),), {"permutation": (2, 0, 1)}, gradient=True)
    yield Sample((x(),), {"permutation": ()})
    yield Sample((x(0, 3),), {"permutation": (1, 0)}, label="empty")
    yield Sample((strided(x(3, 5, 2)),), {"permutation": (1, 2, 0)}, label="strided")
    yield Sample((x(33, 17),), {"permutation": (1, 0)})


def transpose_errors() -> list[ErrorSample]:
    return [
        ErrorSample((X, X), ArgumentError, "transpose: takes 1 operand, got 2", {"permutation": (1, 0)}),
        ErrorSample((X,), AxisError, r"\(0, 0\) is not a permutation of the 2 axes", {"permutation": (0, 0)}),
        ErrorSample((X,), AxisError, "is not a permutation", {"permutation": (0, 1, 2)}),
        ErrorSample((X,), ArgumentError, "permutation must be a tuple of ints", {"permutation": (0, "1")}),
    ]


def slices(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(7, 5),), {"starts": (1, 0), "limits": (6, 5), "strides": (2, 3)}, gradient=True)
    yield Sample((x(7),), {"starts": (2,), "limits": (7,), "strides": (1,)}, gradient=True)
    yield Sample((x(),), {"starts": (), "limits": (), "strides": ()})
    yield Sample((x(4, 3),), {"starts": (4, 1), "limits": (4, 2), "strides": (2, 1)}, gradient=True, label="to nothing")
    yield Sample((x(0, 3),), {"starts": (0, 1), "limits": (0, 3), "strides": (1, 2)}, label="empty")
    yield Sample((strided(x(4, 9)),), {"starts": (0, 2), "limits": (3, 9), "strides": (1, 3)}, label="strided")


def slice_errors() -> list[ErrorSample]:
    def attributes(start: object, limit: object, stride: object = 1) -> dict[str, object]:
        return {"starts": (start, 0), "limits": (limit, 4), "strides": (stride, 1)}

    symbolic = TensorType(float32, (N, 4))
    return [
        ErrorSample((X, X), ArgumentError, "slice: takes 1 operand, got 2", attributes(0, 3)),
        ErrorSample((X,), ShapeError, r"0:5 is not within axis 0 of f32\[3, 4\], of size 3", attributes(0, 5)),
        ErrorSample((X,), ShapeError, "2:1 is not within axis 0", attributes(2, 1)),
        ErrorSample((X,), ShapeError, "-1:2 is not within axis 0", attributes(-1, 2)),
        ErrorSample((symbolic,), ShapeError, r"0:n\+1 is not within axis 0", attributes(0, N + 1)),
        ErrorSample((X,), ArgumentError, "strides must hold ints of at least 1", attributes(0, 3, 0)),
        ErrorSample(
            (X,), ArgumentError, "starts needs 2 entries", {"starts": (0,), "limits": (3, 4), "strides": (1, 1)}
        ),
    ]


def pad(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    def by(low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]) -> dict[str, object]:
        return {"low": low, "high": high, "interior": interior}

    yield Sample((x(3, 4), x()), by((1, 2), (0, 3), (0, 0)), gradient=True)
    yield Sample((x(5, 4), x()), by((-1, -2), (0, -1), (0, 0)), gradient=True, label="removing")
    yield Sample((x(3, 4), x()), by((1, -1), (-2, 3), (2, 1)), gradient=True, label="interior")
    yield Sample((x(2), x()), by((-3,), (4,), (0,)), label="nothing of x left")
    yield Sample((x(), x()), by((), (), ()))
    yield Sample((x(0, 3), x()), by((1, 0), (1, 0), (2, 1)), label="empty")
    yield Sample((strided(x(3, 5)), x()), by((0, 1), (2, 0), (1, 0)), label="strided")


def pad_errors() -> list[ErrorSample]:
    ok = {"low": (0, 0), "high": (0, 0), "interior": (0, 0)}
    return [
        ErrorSample((X,), ArgumentError, "pad: takes 2 operands, got 1", ok),
        ErrorSample(
            (X, TensorType(int32, ())), DTypeError, r"pad: operands must have one dtype: f32\[3, 4\], i32\[\]", ok
        ),
        ErrorSample((X, X), ShapeError, "the padding value must be a scalar", ok),
        ErrorSample((X, SCALAR), ArgumentError, "low needs 2 entries", {**ok, "low": (0,)}),
        ErrorSample((X, SCALAR), ArgumentError, "interior must hold ints of at least 0", {**ok, "interior": (0, -1)}),
        ErrorSample((X, SCALAR), ShapeError, "remove more than axis 0", {**ok, "low": (-2, 0), "high": (-2, 0)}),
    ]


def concatenate(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(3, 4), x(3, 1), x(3, 2)), {"axis": 1}, gradient=True)
    yield Sample((x(2, 3), x(5, 3)), {"axis": 0}, gradient=True)
    yield Sample((x(5),), {"axis": 0}, label="one operand")
    yield Sample((x(2, 0), x(2, 3), x(2, 0)), {"axis": 1}, label="empty")
    yield Sample((strided(x(3, 4)), transposed(x(3, 5))), {"axis": 1}, label="strided")


def concatenate_errors() -> list[ErrorSample]:
    return [
        ErrorSample((), ArgumentError, "concatenate: needs at least one operand", {"axis": 0}),
        ErrorSample((X, X.with_dtype(int32)), DTypeError, "concatenate: operands must have one dtype", {"axis": 0}),
        ErrorSample((X, X.with_shape((3, 5))), ShapeError, "operands may differ in axis 0 alone", {"axis": 0}),
        ErrorSample((X, X.with_shape((4,))), ShapeError, "operands may differ in axis 1 alone", {"axis": 1}),
        ErrorSample((X, X), AxisError, r"axis 2 is out of range for f32\[3, 4\]", {"axis": 2}),
        ErrorSample((SCALAR, SCALAR), AxisError, "a scalar has no axes", {"axis": 0}),
    ]


def reverse(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(3, 4),), {"axes": (1,)}, gradient=True)
    yield Sample((x(3, 2, 5),), {"axes": (0, 2)}, gradient=True)
    yield Sample((x(),), {"axes": ()})
    yield Sample((x(0, 3),), {"axes": (0, 1)}, label="empty")
    yield Sample((strided(x(3, 5)),), {"axes": (0,)}, label="strided")


def reverse_errors() -> list[ErrorSample]:
    return [
        ErrorSample((X, X), ArgumentError, "reverse: takes 1 operand, got 2", {"axes": (0,)}),
        ErrorSample((X,), AxisError, "axis 2 is out of range", {"axes": (2,)}),
        ErrorSample((X,), AxisError, "axis -1 is out of range", {"axes": (-1,)}),
        ErrorSample((X,), AxisError, "distinct and in increasing order", {"axes": (1, 1)}),
    ]


def iota(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield Sample((), {"dtype": dtype, "shape": (7,), "axis": 0})
    yield Sample((), {"dtype": dtype, "shape": (3, 5), "axis": 0})
    yield Sample((), {"dtype": dtype, "shape": (3, 5, 2), "axis": 1})
    yield Sample((), {"dtype": dtype, "shape": (0, 3), "axis": 0})
    yield Sample((), {"dtype": dtype, "shape": (3, 0), "axis": 0})
    yield Sample((), {"dtype": dtype, "shape": (300,), "axis": 0}, label="past 8 bits")


def iota_errors() -> list[ErrorSample]:
    return [
        ErrorSample((X,), ArgumentError, "iota: takes 0 operands, got 1", {"dtype": int32, "shape": (3,), "axis": 0}),
        ErrorSample(
            (), DTypeError, "counts in an integer or floating dtype", {"dtype": bool_, "shape": (3,), "axis": 0}
        ),
        ErrorSample((), AxisError, "axis 1 is out of range", {"dtype": int32, "shape": (3,), "axis": 1}),
        ErrorSample((), AxisError, "a scalar has no axes", {"dtype": int32, "shape": (), "axis": 0}),
        ErrorSample((), ShapeError, "negative size", {"dtype": int32, "shape": (-3,), "axis": 0}),
    ]


def random_bits(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for result in (uint32, uint64):
        for shape in ((), (5,), (3, 4), (0, 2), (131,)):
            key, counter = rng.integers(0, 2**64, 2, dtype=np.uint64)
            yield Sample((np.asarray(key), np.asarray(counter)), {"shape": shape, "dtype": result})
        last = np.asarray(2**64 - 2, dtype=np.uint64)
        yield Sample((last, last), {"shape": (7,), "dtype": result}, label="wrapping counter")
        yield Sample((np.zeros((), np.uint64),) * 2, {"shape": (9,), "dtype": result}, label="zero")


def random_bits_errors() -> list[ErrorSample]:
    key = TensorType(uint64, ())
    ok = {"shape": (3,), "dtype": uint32}
    return [
        ErrorSample((key,), ArgumentError, "random_bits: takes 2 operands, got 1", ok),
        ErrorSample((key, TensorType(int64, ())), DTypeError, "key and counter must be uint64 scalars", ok),
        ErrorSample((key, key.with_shape((1,))), ShapeError, "key and counter must be uint64 scalars", ok),
        ErrorSample((key, key), DTypeError, "makes uint32 or uint64, not float32", {"shape": (3,), "dtype": float32}),
        ErrorSample((key, key), ShapeError, "negative size", {"shape": (-3,), "dtype": uint32}),
    ]


RECORDS: tuple[OpRecord, ...] = (
    OpRecord("broadcast_in_dim", broadcast_in_dim, ALL, broadcast_in_dim_errors),
    OpRecord("reshape", reshape, ALL, reshape_errors),
    OpRecord("transpose", transpose, ALL, transpose_errors),
    OpRecord("slice", slices, ALL, slice_errors),
    OpRecord("pad", pad, ALL, pad_errors),
    OpRecord("concatenate", concatenate, ALL, concatenate_errors),
    OpRecord("reverse", reverse, ALL, reverse_errors),
    OpRecord("iota", iota, (*INTEGERS, *FLOATS), iota_errors, differentiable=False),
    OpRecord("random_bits", random_bits, (uint64,), random_bits_errors, differentiable=False),
)
