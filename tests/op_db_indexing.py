"""The database's records of gather, scatter, dynamic slices and sorting."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from graphc.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, int32, int64
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.types import TensorType
from tests.op_record import (
    ErrorSample,
    OpRecord,
    Sample,
    distinct_array,
    edge_values,
    random_array,
    strided,
    transposed,
)

NUMBERS = (*INTEGERS, *FLOATS)
X = TensorType(float32, (3, 4))
SCALAR = TensorType(float32, ())
INDEX = TensorType(int64, ())
IDS = TensorType(int64, (5,))
Samples = Callable[[np.random.Generator, DType], Iterable[Sample]]


def index(*values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def at(value: int) -> np.ndarray:
    return np.asarray(value, dtype=np.int64)


def gather(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(5, 3), index(4, 0, 4)), {"axes": (0,)}, gradient=True, label="rows")
    yield Sample((x(4, 3, 5), index([0, 3], [1, 1]), index([4, 0], [2, 2])), {"axes": (0, 2)}, gradient=True)
    yield Sample((x(4, 3), at(2)), {"axes": (1,)}, gradient=True, label="one column")
    yield Sample((x(4, 3), at(2), at(0)), {"axes": (0, 1)}, gradient=True, label="one element")
    yield Sample((x(4, 3), np.zeros((0, 2), np.int64)), {"axes": (0,)}, label="no indices")
    yield Sample((x(0, 3), np.zeros((0,), np.int64)), {"axes": (0,)}, label="empty")
    yield Sample((x(4, 0), index(3, 1)), {"axes": (0,)}, label="empty rows")
    yield Sample((strided(x(4, 6)), strided(index([0, 5], [3, 3]))), {"axes": (1,)}, label="strided")
    yield Sample((transposed(x(7, 5)), index(6, 2, 2)), {"axes": (0,)}, label="transposed")


def gather_errors() -> list[ErrorSample]:
    return [
        ErrorSample((), ArgumentError, "gather: needs an operand", {"axes": (0,)}),
        ErrorSample((X,), ArgumentError, r"axes \(0,\) need one index operand each", {"axes": (0,)}),
        ErrorSample((X, IDS), ArgumentError, r"axes \(0, 1\) need one index operand each", {"axes": (0, 1)}),
        ErrorSample((X,), ArgumentError, "at least one", {"axes": ()}),
        ErrorSample((X, IDS.with_dtype(int32)), DTypeError, "indices must be int64", {"axes": (0,)}),
        ErrorSample((X, IDS, INDEX), ShapeError, "index operands must have one shape", {"axes": (0, 1)}),
        ErrorSample((X, IDS), AxisError, "axis 2 is out of range", {"axes": (2,)}),
        ErrorSample((X, IDS, IDS), AxisError, "distinct and in increasing order", {"axes": (1, 0)}),
        ErrorSample((SCALAR, IDS), AxisError, "a scalar has no axes", {"axes": (0,)}),
    ]


def scatter(smooth: bool) -> Samples:
    """`smooth`: differentiable anywhere; otherwise (max, min) where nothing ties."""

    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        def x(*shape: int) -> np.ndarray:
            return random_array(rng, dtype, shape)

        def pair(shape: tuple[int, ...], updates: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            if smooth or not dtype.is_floating:
                return x(*shape), x(*updates)
            size = int(np.prod(shape))
            values = distinct_array(rng, dtype, (size + int(np.prod(updates)),))
            return values[:size].reshape(shape), values[size:].reshape(updates)

        yield Sample((*pair((4, 3), (3, 3)), index(1, 2, 0)), {"axes": (0,)}, gradient=True)
        yield Sample((*pair((4, 3), (3, 3)), index(1, 2, 1)), {"axes": (0,)}, gradient=True, label="duplicates")
        yield Sample((*pair((4, 3), (2, 4)), index(2, 2)), {"axes": (1,)}, gradient=True, label="columns")
        pairs = (index([1, 2], [1, 0]), index([1, 2], [1, 0]))
        yield Sample((*pair((4, 3), (2, 2)), *pairs), {"axes": (0, 1)}, gradient=True, label="elements")
        yield Sample((*pair((5, 2, 3), (2, 2)), index(4, 4), index(0, 1)), {"axes": (0, 2)}, gradient=True)
        yield Sample((x(4, 3), x(3), at(2)), {"axes": (0,)}, label="one row")
        yield Sample((x(4), x(), at(2)), {"axes": (0,)}, label="one element")
        yield Sample((x(4, 3), x(0, 3), np.zeros((0,), np.int64)), {"axes": (0,)}, label="no updates")
        yield Sample((x(0, 3), x(0, 3), np.zeros((0,), np.int64)), {"axes": (0,)}, label="empty")
        yield Sample((x(4, 0), x(2, 0), index(0, 3)), {"axes": (0,)}, label="empty rows")
        yield Sample((strided(x(4, 5)), strided(x(3, 4)), strided(index(4, 0, 2))), {"axes": (1,)}, label="strided")
        if not smooth:
            values = edge_values(dtype)
            flipped, places = values[::-1].copy(), np.arange(values.size, dtype=np.int64)
            yield Sample((values, flipped, places), {"axes": (0,)}, edge=True)

    return samples


def scatter_errors(name: str, takes_bool: bool) -> Callable[[], list[ErrorSample]]:
    def errors() -> list[ErrorSample]:
        updates = X.with_shape((5, 4))
        axes = {"axes": (0,)}
        found = [
            ErrorSample((X, updates), ArgumentError, f"{name}: needs x, updates and indices", axes),
            ErrorSample((X, updates.with_dtype(int32), IDS), DTypeError, f"{name}: operands must have one dtype", axes),
            ErrorSample((X, updates, IDS.with_dtype(int32)), DTypeError, "indices must be int64", axes),
            ErrorSample((X, X, IDS), ShapeError, r"updates are f32\[3, 4\].*need f32\[5, 4\]", axes),
            ErrorSample((X, updates, IDS), AxisError, "axis 2 is out of range", {"axes": (2,)}),
        ]
        if not takes_bool:
            bools = (X.with_dtype(bool_), updates.with_dtype(bool_), IDS)
            found.append(ErrorSample(bools, DTypeError, f"{name}: takes numbers, not bool", axes))
        return found

    return errors


def dynamic_slice(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(7), at(2)), {"sizes": (3,)}, gradient=True)
    yield Sample((x(4, 5), at(2), at(0)), {"sizes": (2, 5)}, gradient=True)
    yield Sample((x(),), {"sizes": ()})
    yield Sample((x(4, 3), at(4), at(1)), {"sizes": (0, 1)}, label="of nothing")
    yield Sample((x(0, 3), at(0), at(1)), {"sizes": (0, 2)}, label="empty")
    yield Sample((strided(x(4, 5)), at(1), at(2)), {"sizes": (3, 2)}, label="strided")


def dynamic_slice_errors() -> list[ErrorSample]:
    sizes = {"sizes": (2, 2)}
    return [
        ErrorSample((), ArgumentError, "dynamic_slice: needs an operand", {"sizes": ()}),
        ErrorSample((X, INDEX), ArgumentError, "needs one start for each axis", sizes),
        ErrorSample((X, INDEX, INDEX.with_dtype(int32)), DTypeError, "starts must be int64 scalars", sizes),
        ErrorSample((X, INDEX, IDS), ShapeError, "starts must be int64 scalars", sizes),
        ErrorSample((X, INDEX, INDEX), ArgumentError, "sizes needs 2 entries", {"sizes": (2,)}),
        ErrorSample((X, INDEX, INDEX), ShapeError, r"\(2, 5\) does not fit into f32\[3, 4\]", {"sizes": (2, 5)}),
    ]


def dynamic_update_slice(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(7), x(3), at(2)), gradient=True)
    yield Sample((x(4, 5), x(2, 5), at(2), at(0)), gradient=True)
    yield Sample((x(), x()))
    yield Sample((x(4, 3), x(0, 1), at(4), at(1)), label="of nothing")
    yield Sample((x(0, 3), x(0, 2), at(0), at(1)), label="empty")
    yield Sample((strided(x(4, 5)), transposed(x(3, 2)), at(1), at(2)), label="strided")


def dynamic_update_slice_errors() -> list[ErrorSample]:
    return [
        ErrorSample((X,), ArgumentError, "dynamic_update_slice: needs x, update and starts"),
        ErrorSample((X, X, INDEX), ArgumentError, "needs one start for each axis"),
        ErrorSample((X, X.with_dtype(int32), INDEX, INDEX), DTypeError, "operands must have one dtype"),
        ErrorSample((X, X.with_shape((3, 5)), INDEX, INDEX), ShapeError, r"f32\[3, 5\] does not fit into f32\[3, 4\]"),
        ErrorSample((X, X.with_shape((4,)), INDEX, INDEX), ShapeError, r"f32\[4\] does not fit into f32\[3, 4\]"),
        ErrorSample((X, X, INDEX, IDS), ShapeError, "starts must be int64 scalars"),
    ]


def sort(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    for descending in (False, True):
        attributes = {"axis": 0, "descending": descending}
        last = {"axis": 1, "descending": descending}
        yield Sample((distinct_array(rng, dtype, (7,)),), attributes, gradient=True)
        yield Sample((distinct_array(rng, dtype, (3, 5)),), last, gradient=True)
        yield Sample((x(4, 3),), attributes)
        yield Sample((x(131),), attributes, label="ties")
        yield Sample((x(3, 0),), last, label="empty")
        yield Sample((strided(x(3, 8)),), last, label="strided")
        yield Sample((edge_values(dtype),), attributes, edge=True)
    yield Sample((x(5),), {"axis": 0})


def sort_errors(name: str) -> Callable[[], list[ErrorSample]]:
    return lambda: [
        ErrorSample((X, X), ArgumentError, f"{name}: takes 1 operand, got 2", {"axis": 0, "descending": False}),
        ErrorSample((X,), AxisError, f"{name}: axis 2 is out of range", {"axis": 2, "descending": False}),
        ErrorSample((SCALAR,), AxisError, "a scalar has no axes", {"axis": 0, "descending": False}),
    ]


def top_k(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((distinct_array(rng, dtype, (7,)),), {"k": 3}, gradient=True)
    yield Sample((distinct_array(rng, dtype, (3, 5)),), {"k": 2}, gradient=True)
    yield Sample((x(4, 6),), {"k": 6}, label="all")
    yield Sample((x(4, 6),), {"k": 0}, label="none")
    yield Sample((x(0, 6),), {"k": 2}, label="empty")
    yield Sample((strided(x(3, 9)),), {"k": 4}, label="strided")
    yield Sample((edge_values(dtype),), {"k": 2}, edge=True)


def top_k_errors() -> list[ErrorSample]:
    return [
        ErrorSample((X, X), ArgumentError, "top_k: takes 1 operand, got 2", {"k": 1}),
        ErrorSample((SCALAR,), AxisError, "is a scalar and has no last axis", {"k": 0}),
        ErrorSample((X,), ArgumentError, "k must be an int of at least 0", {"k": -1}),
        ErrorSample((X,), ShapeError, r"k is 5, but the last axis of f32\[3, 4\] has size 4", {"k": 5}),
    ]


ADDED = {"float32": (1e-5, 1e-5), "float16": (4e-3, 4e-3), "bfloat16": (3e-2, 3e-2)}

RECORDS: tuple[OpRecord, ...] = (
    OpRecord("gather", gather, ALL, gather_errors),
    OpRecord("scatter_set", scatter(True), ALL, scatter_errors("scatter_set", True)),
    OpRecord("scatter_add", scatter(True), NUMBERS, scatter_errors("scatter_add", False), tolerance=ADDED),
    OpRecord("scatter_max", scatter(False), ALL, scatter_errors("scatter_max", True)),
    OpRecord("scatter_min", scatter(False), ALL, scatter_errors("scatter_min", True)),
    OpRecord("dynamic_slice", dynamic_slice, ALL, dynamic_slice_errors),
    OpRecord("dynamic_update_slice", dynamic_update_slice, ALL, dynamic_update_slice_errors),
    OpRecord("sort", sort, ALL, sort_errors("sort")),
    OpRecord("argsort", sort, ALL, sort_errors("argsort"), differentiable=False),
    OpRecord("top_k", top_k, ALL, top_k_errors),
)
