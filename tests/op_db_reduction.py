"""The database's records of the reductions over axes and over windows, and of the running reductions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from graphc.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, float64
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.primitive import get_primitive
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
    type_of,
)

NUMBERS = (*INTEGERS, *FLOATS)
# Two orders of adding n numbers of size 1 differ by about n roundings, relative to the terms, not to their sum.
SUMS: Mapping[str, tuple[float, float]] = {
    "float64": (1e-12, 1e-12), "float32": (1e-5, 1e-5), "float16": (4e-3, 4e-3), "bfloat16": (3e-2, 3e-2)
}  # fmt: skip
X = TensorType(float32, (3, 4))
Samples = Callable[[np.random.Generator, DType], Iterable[Sample]]


def over_axes(smooth: bool, low: float = -3.0, high: float = 3.0) -> Samples:
    """`smooth`: differentiable anywhere; otherwise (max, min) where no two elements tie."""

    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        def x(*shape: int) -> np.ndarray:
            return random_array(rng, dtype, shape, low, high)

        def y(*shape: int) -> np.ndarray:
            return x(*shape) if smooth or not dtype.is_floating else distinct_array(rng, dtype, shape)

        yield Sample((y(3, 4),), {"axes": (0,)}, gradient=True)
        yield Sample((y(3, 4),), {"axes": (1,)}, gradient=True)
        yield Sample((y(2, 3, 4),), {"axes": (0, 2)}, gradient=True)
        yield Sample((y(5),), {"axes": (0,)}, gradient=True, label="to a scalar")
        yield Sample((y(3, 2),), {"axes": ()}, gradient=True, label="no axes")
        yield Sample((x(),), {"axes": ()}, label="scalar")
        yield Sample((x(3, 0),), {"axes": (1,)}, label="of nothing")
        yield Sample((x(0, 3),), {"axes": (1,)}, label="empty")
        yield Sample((strided(x(3, 7)),), {"axes": (1,)}, label="strided")
        yield Sample((transposed(x(5, 3)),), {"axes": (0,)}, label="transposed")
        yield Sample((x(131, 3),), {"axes": (0,)})
        yield Sample((x(3, 257),), {"axes": (1,)})
        values = edge_values(dtype)
        if not smooth:
            yield Sample((values,), {"axes": (0,)}, edge=True)
            yield Sample((np.stack([values, values[::-1]]),), {"axes": (0,)}, edge=True)

    return samples


def over_axes_errors(name: str, refused: DType | None = None) -> Callable[[], list[ErrorSample]]:
    def errors() -> list[ErrorSample]:
        x = X if refused is not float32 else X.with_dtype(bool_)
        found = [
            ErrorSample((x, x), ArgumentError, f"{name}: takes 1 operand, got 2", {"axes": (0,)}),
            ErrorSample((x,), AxisError, f"{name}: axis 2 is out of range for", {"axes": (2,)}),
            ErrorSample((x,), AxisError, f"{name}: axis -1 is out of range", {"axes": (-1,)}),
            ErrorSample((x,), AxisError, "distinct and in increasing order", {"axes": (1, 0)}),
            ErrorSample((x,), ArgumentError, "axes must be a tuple", {"axes": 1}),
        ]
        if refused is not None:
            found.append(ErrorSample((X.with_dtype(refused),), DTypeError, f"{name}: takes ", {"axes": (0,)}))
        return found

    return errors


def arg_extreme(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def x(*shape: int) -> np.ndarray:
        return random_array(rng, dtype, shape)

    yield Sample((x(7),), {"axis": 0})
    yield Sample((x(3, 5),), {"axis": 0})
    yield Sample((x(2, 3, 4),), {"axis": 1})
    yield Sample((x(0, 3),), {"axis": 1}, label="empty")
    yield Sample((strided(x(3, 9)),), {"axis": 1}, label="strided")
    yield Sample((np.zeros((4, 3), dtype.numpy),), {"axis": 0}, label="all tie")
    values = edge_values(dtype)
    yield Sample((np.stack([values, values[::-1]]),), {"axis": 1}, edge=True)
    yield Sample((np.stack([values, values[::-1]]),), {"axis": 0}, edge=True)


def arg_extreme_errors(name: str) -> Callable[[], list[ErrorSample]]:
    return lambda: [
        ErrorSample((), ArgumentError, f"{name}: takes 1 operand, got 0", {"axis": 0}),
        ErrorSample((X,), AxisError, f"{name}: axis 2 is out of range", {"axis": 2}),
        ErrorSample((X.with_shape(()),), AxisError, "a scalar has no axes", {"axis": 0}),
        ErrorSample((X.with_shape((3, 0)),), ArgumentError, r"axis 1 of f32\[3, 0\] is empty", {"axis": 1}),
    ]


def running(smooth: bool) -> Samples:
    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        def x(*shape: int) -> np.ndarray:
            return random_array(rng, dtype, shape, -1.5, 1.5)

        def y(*shape: int) -> np.ndarray:
            return x(*shape) if smooth or not dtype.is_floating else distinct_array(rng, dtype, shape)

        for reverse in (False, True):
            yield Sample((y(6),), {"axis": 0, "reverse": reverse}, gradient=True)
            yield Sample((y(3, 4),), {"axis": 0, "reverse": reverse}, gradient=True)
            yield Sample((y(2, 3, 4),), {"axis": 1, "reverse": reverse})
            yield Sample((x(3, 0),), {"axis": 1, "reverse": reverse}, label="empty")
            yield Sample((x(0, 3),), {"axis": 1, "reverse": reverse}, label="empty")
            yield Sample((strided(x(3, 7)),), {"axis": 1, "reverse": reverse}, label="strided")
            yield Sample((y(1),), {"axis": 0, "reverse": reverse}, gradient=True)
            if not smooth:
                yield Sample((edge_values(dtype),), {"axis": 0, "reverse": reverse}, edge=True)
        yield Sample((x(77),), {"axis": 0})

    return samples


def running_errors(name: str, takes_bool: bool) -> Callable[[], list[ErrorSample]]:
    def errors() -> list[ErrorSample]:
        found = [
            ErrorSample((X, X), ArgumentError, f"{name}: takes 1 operand, got 2", {"axis": 0, "reverse": False}),
            ErrorSample((X,), AxisError, f"{name}: axis 2 is out of range", {"axis": 2, "reverse": False}),
            ErrorSample((X.with_shape(()),), AxisError, "a scalar has no axes", {"axis": 0, "reverse": False}),
        ]
        if not takes_bool:
            bools = (X.with_dtype(bool_),)
            found.append(
                ErrorSample(bools, DTypeError, f"{name}: takes numbers, not bool", {"axis": 0, "reverse": False})
            )
        return found

    return errors


def windows(
    window: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    padding: tuple[tuple[int, int], ...] | None = None,
    base: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    ones = (1,) * len(window)
    return {
        "window": window,
        "strides": strides or ones,
        "padding": padding or ((0, 0),) * len(window),
        "base_dilation": base or ones,
        "window_dilation": dilation or ones,
    }


def over_windows(smooth: bool) -> Samples:
    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        def x(*shape: int) -> np.ndarray:
            return random_array(rng, dtype, shape)

        def y(*shape: int) -> np.ndarray:
            return x(*shape) if smooth or not dtype.is_floating else distinct_array(rng, dtype, shape)

        yield Sample((y(7),), windows((3,)), gradient=True)
        yield Sample((y(2, 6, 5),), windows((1, 2, 2), (1, 2, 2)), gradient=True, label="pooling")
        yield Sample((y(7, 5),), windows((3, 3), (2, 2), ((1, 1), (1, 1))), gradient=True, label="padded")
        yield Sample(
            (y(6, 4),), windows((2, 2), (1, 2), ((1, 0), (-1, 2)), (1, 2), (2, 1)), gradient=True, label="dilated"
        )
        yield Sample((x(),), windows(()), label="scalar")
        yield Sample((x(0, 4),), windows((1, 2)), label="empty")
        yield Sample((x(3, 2),), windows((1, 3)), label="no window fits")
        yield Sample((x(2),), windows((2,), (1,), ((3, 3),)), edge=True, label="windows of padding")
        yield Sample((strided(x(5, 6)),), windows((2, 3), (1, 2)), label="strided")
        if not smooth:
            yield Sample((edge_values(dtype),), windows((2,), (1,), ((1, 1),)), edge=True)

    return samples


def over_windows_errors(name: str) -> Callable[[], list[ErrorSample]]:
    ok = windows((2, 2))
    return lambda: [
        ErrorSample((X, X), ArgumentError, f"{name}: takes 1 operand, got 2", ok),
        ErrorSample((X.with_dtype(bool_),), DTypeError, f"{name}: takes numbers, not bool", ok),
        ErrorSample((X,), ArgumentError, "window needs 2 entries", {**ok, "window": (2,)}),
        ErrorSample((X,), ArgumentError, "window must hold ints of at least 1", {**ok, "window": (0, 2)}),
        ErrorSample((X,), ArgumentError, "strides must hold ints of at least 1", {**ok, "strides": (0, 1)}),
        ErrorSample((X,), ArgumentError, r"padding needs 2 \(low, high\) pairs", {**ok, "padding": ((0, 0),)}),
        ErrorSample((X,), ArgumentError, r"padding must be pairs \(low, high\)", {**ok, "padding": (0, 0)}),
    ]


def record(name: str, samples: Samples, dtypes: tuple[DType, ...], errors: Any, **fields: Any) -> OpRecord:
    return OpRecord(name, samples, dtypes, errors, **fields)


def select_and_scatter(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    op = get_primitive("reduce_window_max")

    def sample(x: np.ndarray, select: str, attributes: Mapping[str, Any], **fields: Any) -> Sample:
        (windows_type,) = op.infer((type_of(x),), **attributes)
        source = random_array(rng, dtype, [int(n) for n in windows_type.shape])
        return Sample((x, source), {"select": select, **attributes}, **fields)

    for select in ("max", "min"):
        for case in over_windows(False)(rng, dtype):
            fields = {"edge": case.edge, "gradient": case.gradient, "label": case.label}
            yield sample(case.arrays[0], select, case.attributes, **fields)
    beside = windows((1, 1, 2, 2), (1, 1, 2, 2))
    yield sample(random_array(rng, dtype, (2, 3, 4, 38)), "max", beside, label="side by side, many")
    yield sample(random_array(rng, dtype, (1, 2, 7, 23)), "min", windows((1, 1, 3, 3), (1, 1, 3, 3)), label="a rest")
    yield sample(random_array(rng, dtype, (4, 10), 0, 2).round(), "max", windows((2, 2), (2, 2)), label="ties")
    if dtype.is_floating:
        yield sample(np.resize(edge_values(dtype), (6, 18)), "max", windows((2, 2), (2, 2)), edge=True)
        yield sample(np.resize(edge_values(dtype), (6, 18)), "min", windows((3, 1), (3, 1)), edge=True)


def select_and_scatter_errors() -> list[ErrorSample]:
    ok = {"select": "max", **windows((2, 2))}
    source = X.with_shape((2, 3))
    return [
        ErrorSample((X,), ArgumentError, "select_and_scatter: takes 2 operands, got 1", ok),
        ErrorSample((X, source), ArgumentError, 'select must be "max" or "min"', {**ok, "select": "sum"}),
        ErrorSample((X, X), ShapeError, r"source is f32\[3, 4\], but the windows over .* need f32\[2, 3\]", ok),
        ErrorSample((X, source.with_dtype(float64)), ShapeError, "source is f64", ok),
        ErrorSample((X, source), ArgumentError, "window needs 2 entries", {**ok, "window": (2,)}),
    ]


def window_record(name: str, samples: Samples, **fields: Any) -> OpRecord:
    return OpRecord(name, samples, NUMBERS, over_windows_errors(name), **fields)


SUM, EXTREME = over_axes(True), over_axes(False)
RECORDS: tuple[OpRecord, ...] = (
    record("reduce_sum", SUM, NUMBERS, over_axes_errors("reduce_sum", bool_), tolerance=SUMS),
    record("reduce_prod", over_axes(True, -1.5, 1.5), NUMBERS, over_axes_errors("reduce_prod", bool_), tolerance=SUMS),
    record("reduce_max", EXTREME, ALL, over_axes_errors("reduce_max")),
    record("reduce_min", EXTREME, ALL, over_axes_errors("reduce_min")),
    record("reduce_any", EXTREME, (bool_,), over_axes_errors("reduce_any", float32), differentiable=False),
    record("reduce_all", EXTREME, (bool_,), over_axes_errors("reduce_all", float32), differentiable=False),
    record("argmax", arg_extreme, ALL, arg_extreme_errors("argmax"), differentiable=False),
    record("argmin", arg_extreme, ALL, arg_extreme_errors("argmin"), differentiable=False),
    record("cumulative_sum", running(True), NUMBERS, running_errors("cumulative_sum", False), tolerance=SUMS),
    record("cumulative_prod", running(True), NUMBERS, running_errors("cumulative_prod", False), tolerance=SUMS),
    record("cumulative_max", running(False), ALL, running_errors("cumulative_max", True)),
    record("cumulative_min", running(False), ALL, running_errors("cumulative_min", True)),
    window_record("reduce_window_sum", over_windows(True), tolerance=SUMS),
    window_record("reduce_window_max", over_windows(False)),
    window_record("reduce_window_min", over_windows(False)),
    window_record("reduce_window_argmax", over_windows(False), differentiable=False),
    window_record("reduce_window_argmin", over_windows(False), differentiable=False),
    OpRecord(
        "select_and_scatter",
        select_and_scatter,
        NUMBERS,
        select_and_scatter_errors,
        tolerance=SUMS,
        gradient_operands=(1,),
    ),
)
