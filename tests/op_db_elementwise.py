"""The database's records of the elementwise primitives."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, float64, int32, int64
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dims import symbol
from graphc.ir.types import TensorType
from tests.op_record import (
    ErrorSample,
    OpRecord,
    Sample,
    distinct_array,
    edge_pairs,
    edge_values,
    random_array,
    strided,
    transposed,
)

Interval = tuple[float, float]
Samples = Callable[[np.random.Generator, DType], Iterable[Sample]]

NUMBERS = (*INTEGERS, *FLOATS)
BITS = (bool_, *INTEGERS)
REALS: Interval = (-3.0, 3.0)
SHAPES: tuple[tuple[int, ...], ...] = ((), (7,), (3, 5), (0,), (2, 0, 3), (131,))
# A zero of the function inside the domain makes relative errors meaningless; the absolute part counts there.
NEAR_ZEROS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"float64": (1e-12, 1e-14), "float32": (4e-6, 4e-6), "float16": (4e-3, 2e-3), "bfloat16": (2e-2, 2e-2)}
)
EXACT: Mapping[str, tuple[float, float]] = MappingProxyType({d.name: (0.0, 0.0) for d in FLOATS})
LOOSE: Mapping[str, tuple[float, float]] = MappingProxyType({"float64": (1e-12, 1e-300), "float32": (4e-6, 1e-37)})


def operand_layouts(make: Callable[[tuple[int, ...]], tuple[np.ndarray, ...]]) -> Iterator[Sample]:
    """Samples of every shape, and of strided and transposed operands; `make` gives operands of a shape."""
    for shape in SHAPES:
        yield Sample(make(shape))
    yield Sample(tuple(strided(a) for a in make((2, 3, 4))), label="strided")
    yield Sample(tuple(transposed(a) for a in make((4, 3))), label="transposed")
    first, *rest = make((5, 6))
    yield Sample((strided(first), *rest), label="mixed layouts")


def unary_samples(domain: Interval, smooth: Interval | None, attributes: Mapping[str, Any]) -> Samples:
    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        for sample in operand_layouts(lambda shape: (random_array(rng, dtype, shape, *domain),)):
            yield Sample(sample.arrays, attributes, label=sample.label)
        yield Sample((edge_values(dtype),), attributes, edge=True)
        if smooth is not None and dtype.is_floating:
            yield Sample((random_array(rng, dtype, (2, 3), *smooth),), attributes, gradient=True)

    return samples


def unary_errors(
    name: str, accepted: tuple[DType, ...], attributes: Mapping[str, Any]
) -> Callable[[], list[ErrorSample]]:
    def errors() -> list[ErrorSample]:
        refused = next((d for d in (int32, bool_, float32) if d not in accepted), None)
        good = TensorType(accepted[-1], (3,))
        found = [ErrorSample((good, good), ArgumentError, f"{name}: takes 1 operand, got 2", attributes)]
        if refused is not None:
            bad = TensorType(refused, (3,))
            found.append(ErrorSample((bad,), DTypeError, rf"{name}: takes .*, not {refused.short}\[3\]", attributes))
        return found

    return errors


def unary(
    name: str,
    domain: Interval = REALS,
    smooth: Interval | None = None,
    *,
    dtypes: tuple[DType, ...] = FLOATS,
    tolerance: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    attributes: Mapping[str, Any] = MappingProxyType({}),
) -> OpRecord:
    """An op on one operand: `domain` of the ordinary samples, `smooth` of those for gradients (None: no gradient)."""
    return OpRecord(
        name,
        unary_samples(domain, smooth, attributes),
        dtypes,
        unary_errors(name, dtypes, attributes),
        tolerance,
        differentiable=smooth is not None,
    )


def random_operands(
    *domains: Interval,
) -> Callable[[np.random.Generator, DType, tuple[int, ...]], tuple[np.ndarray, ...]]:
    return lambda rng, dtype, shape: tuple(random_array(rng, dtype, shape, *domain) for domain in domains)


def binary_errors(name: str, accepted: tuple[DType, ...]) -> Callable[[], list[ErrorSample]]:
    def errors() -> list[ErrorSample]:
        dtype = accepted[-1]
        x, n = TensorType(dtype, (3,)), symbol("n")
        other = TensorType(next(d for d in (float64, int64, int32) if d is not dtype), (3,))
        found = [
            ErrorSample((x,), ArgumentError, f"{name}: takes 2 operands, got 1"),
            ErrorSample((x, x.with_shape((4,))), ShapeError, rf"{name}: operands have shapes \(3,\) and \(4,\)"),
            ErrorSample((x, x.with_shape(())), ShapeError, rf"{name}: operands have shapes \(3,\) and \(\)"),
            ErrorSample((x.with_shape((n,)), x), ShapeError, rf"{name}: operands have shapes \(n,\) and \(3,\)"),
            ErrorSample((x, other), DTypeError, f"{name}: operands have dtypes {dtype.name} and {other.dtype.name}"),
        ]
        refused = next((d for d in (bool_, int32, float32) if d not in accepted), None)
        if refused is not None:
            bad = TensorType(refused, (3,))
            found.append(ErrorSample((bad, bad), DTypeError, f"{name}: takes .*, not {refused.short}"))
        return found

    return errors


def binary(
    name: str,
    dtypes: tuple[DType, ...] = NUMBERS,
    domains: tuple[Interval, Interval] = (REALS, REALS),
    smooth: tuple[Interval, Interval] | None = (REALS, REALS),
    *,
    gradient_arrays: Callable[[np.random.Generator, DType], tuple[np.ndarray, ...]] | None = None,
    tolerance: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> OpRecord:
    """An op on two operands of one type; `gradient_arrays` makes the gradient sample where intervals cannot."""

    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        yield from operand_layouts(lambda shape: random_operands(*domains)(rng, dtype, shape))
        yield Sample(edge_pairs(dtype), edge=True)
        if dtype.is_floating and gradient_arrays is not None:
            yield Sample(gradient_arrays(rng, dtype), gradient=True)
        elif dtype.is_floating and smooth is not None:
            yield Sample(random_operands(*smooth)(rng, dtype, (2, 3)), gradient=True)

    differentiable = smooth is not None or gradient_arrays is not None
    return OpRecord(name, samples, dtypes, binary_errors(name, dtypes), tolerance, differentiable=differentiable)


def without_ties(rng: np.random.Generator, dtype: DType) -> tuple[np.ndarray, ...]:
    both = distinct_array(rng, dtype, (2, 2, 3))
    return both[0], both[1]


def between_multiples(rng: np.random.Generator, dtype: DType) -> tuple[np.ndarray, ...]:
    """x well inside of an interval between two multiples of y, where the remainder is smooth."""
    y = random_array(rng, dtype, (2, 3), 0.5, 2.0) * rng.choice([-1.0, 1.0], (2, 3))
    x = y * (rng.integers(-3, 4, (2, 3)) + rng.uniform(0.2, 0.8, (2, 3)))
    return x.astype(dtype.numpy), y.astype(dtype.numpy)


def shift(name: str) -> OpRecord:
    def samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
        lowest = 0 if dtype.kind == "uint" else -3

        def operands(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
            count = random_array(rng, dtype, shape, lowest, dtype.bits + 3)
            return random_array(rng, dtype, shape, -100, 100), count

        yield from operand_layouts(operands)
        yield Sample(edge_pairs(dtype), edge=True)

    return OpRecord(name, samples, INTEGERS, binary_errors(name, INTEGERS), differentiable=False)


def select_samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def operands(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        values = (random_array(rng, dtype, shape, *REALS) for _ in range(2))
        return (random_array(rng, bool_, shape), *values)

    yield from operand_layouts(operands)
    x, y = edge_pairs(dtype)
    yield Sample((np.arange(x.size) % 3 == 0, x, y), edge=True)
    if dtype.is_floating:
        yield Sample(operands((2, 3)), gradient=True)


def select_errors() -> list[ErrorSample]:
    x, p = TensorType(float32, (3,)), TensorType(bool_, (3,))
    return [
        ErrorSample((p, x), ArgumentError, "select: takes 3 operands, got 2"),
        ErrorSample((x, x, x), DTypeError, "select: the predicate must be bool, not float32"),
        ErrorSample((TensorType(bool_, ()), x, x), ShapeError, r"select: operands have shapes \(\), \(3,\) and \(3,\)"),
        ErrorSample((p, x, x.with_dtype(int32)), DTypeError, "select: operands have dtypes float32 and int32"),
    ]


def clamp_samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    def operands(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        low, x, high = (random_array(rng, dtype, shape, *REALS) for _ in range(3))
        return np.minimum(low, high), x, np.maximum(low, high)

    yield from operand_layouts(operands)
    x, y = edge_pairs(dtype)
    yield Sample((y[::-1].copy(), x, y), edge=True, label="low above high too")
    yield Sample((np.full_like(x, 2), x, np.full_like(x, 7)), edge=True)
    if dtype.is_floating:
        three = distinct_array(rng, dtype, (3, 4, 5), 0.05)
        yield Sample((three[0], three[1], three[2]), gradient=True)


def clamp_errors() -> list[ErrorSample]:
    x, p = TensorType(float32, (3,)), TensorType(bool_, (3,))
    return [
        ErrorSample((x, x), ArgumentError, "clamp: takes 3 operands, got 2"),
        ErrorSample((p, p, p), DTypeError, "clamp: takes integers and floats, not bool"),
        ErrorSample((x, x, x.with_shape((2,))), ShapeError, r"clamp: operands have shapes \(3,\), \(3,\) and \(2,\)"),
    ]


def convert_samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    for target in ALL:
        attributes = {"dtype": target}
        yield Sample((random_array(rng, dtype, (3, 5), -300.0, 300.0),), attributes)
        yield Sample((edge_values(dtype),), attributes, edge=True)
    for sample in operand_layouts(lambda shape: (random_array(rng, dtype, shape, *REALS),)):
        yield Sample(sample.arrays, {"dtype": float32}, label=sample.label)
    if dtype is float64:  # to another float, finite differences would drown in rounding
        yield Sample((random_array(rng, dtype, (2, 3), *REALS),), {"dtype": float64}, gradient=True)


def convert_errors() -> list[ErrorSample]:
    x = TensorType(float32, (3,))
    return [
        ErrorSample((x, x), ArgumentError, "convert_element_type: takes 1 operand, got 2", {"dtype": int32}),
        ErrorSample(
            (x,), DTypeError, "convert_element_type: dtype must be a graphc dtype, not 'int32'", {"dtype": "int32"}
        ),
    ]


def polygamma_errors() -> list[ErrorSample]:
    x = TensorType(float32, (3,))
    return [
        ErrorSample((x,), ArgumentError, "polygamma: n must be an integer from 1 to 150, not 0", {"n": 0}),
        ErrorSample((x,), ArgumentError, "polygamma: n must be an integer from 1 to 150, not 1.5", {"n": 1.5}),
        ErrorSample((x.with_dtype(int32),), DTypeError, "polygamma: takes floats, not i32", {"n": 1}),
    ]


def polygamma_samples(rng: np.random.Generator, dtype: DType) -> Iterator[Sample]:
    yield from unary_samples((0.3, 6.0), (0.5, 4.0), {"n": 1})(rng, dtype)
    yield Sample((random_array(rng, dtype, (7,), -2.9, -2.1),), {"n": 1}, label="negative")
    yield Sample((random_array(rng, dtype, (7,), 0.5, 6.0),), {"n": 2})
    yield Sample((random_array(rng, dtype, (7,), 1.0, 6.0),), {"n": 3})


UNARY = [
    unary("neg", smooth=REALS, dtypes=NUMBERS, tolerance=EXACT),
    unary("abs", smooth=(0.3, 2.0), dtypes=NUMBERS, tolerance=EXACT),
    unary("sign", dtypes=NUMBERS, tolerance=EXACT),
    *(unary(name, tolerance=EXACT) for name in ("floor", "ceil", "round", "trunc", "is_finite", "is_nan")),
    unary("exp", smooth=REALS),
    unary("exp2", smooth=REALS),
    unary("expm1", smooth=REALS),
    unary("log", (0.01, 10.0), (0.3, 5.0), tolerance=NEAR_ZEROS),
    unary("log2", (0.01, 10.0), (0.3, 5.0), tolerance=NEAR_ZEROS),
    unary("log10", (0.01, 10.0), (0.3, 5.0), tolerance=NEAR_ZEROS),
    unary("log1p", (-0.9, 10.0), (-0.6, 5.0)),
    unary("sqrt", (0.0, 10.0), (0.3, 5.0)),
    unary("rsqrt", (0.01, 10.0), (0.3, 5.0)),
    unary("logistic", (-10.0, 10.0), REALS),
    unary("sin", (-10.0, 10.0), REALS, tolerance=NEAR_ZEROS),
    unary("cos", (-10.0, 10.0), REALS, tolerance=NEAR_ZEROS),
    unary("tan", (-1.4, 1.4), (-1.1, 1.1), tolerance=LOOSE),
    unary("asin", (-1.0, 1.0), (-0.8, 0.8)),
    unary("acos", (-1.0, 1.0), (-0.8, 0.8), tolerance=NEAR_ZEROS),
    unary("atan", (-10.0, 10.0), REALS),
    unary("sinh", smooth=REALS, tolerance=LOOSE),
    unary("cosh", smooth=REALS),
    unary("tanh", smooth=REALS, tolerance=LOOSE),
    unary("asinh", (-10.0, 10.0), REALS, tolerance=LOOSE),
    unary("acosh", (1.0, 10.0), (1.3, 5.0), tolerance=NEAR_ZEROS),
    unary("atanh", (-0.95, 0.95), (-0.8, 0.8), tolerance=LOOSE),
    unary("erf", smooth=REALS, tolerance=LOOSE),
    unary("erfc", smooth=REALS, tolerance=LOOSE),
    unary("lgamma", (0.1, 10.0), (0.5, 5.0), tolerance=NEAR_ZEROS),
    unary("digamma", (0.1, 10.0), (0.5, 5.0), tolerance=NEAR_ZEROS),
    OpRecord("polygamma", polygamma_samples, FLOATS, polygamma_errors, LOOSE),
]

BINARY = [
    binary("add", tolerance=EXACT),
    binary("sub", tolerance=EXACT),
    binary("mul", tolerance=EXACT),
    binary("div", FLOATS, (REALS, (0.1, 3.0)), (REALS, (0.5, 3.0))),
    binary("floor_divide", domains=(REALS, (1.0, 3.0)), smooth=None),
    binary("remainder", domains=(REALS, (1.0, 3.0)), smooth=None, gradient_arrays=between_multiples),
    binary("pow", domains=((0.1, 3.0), REALS), smooth=((0.5, 3.0), REALS), tolerance=LOOSE),
    binary("atan2", FLOATS, smooth=((0.5, 3.0), REALS), tolerance=LOOSE),
    binary("maximum", ALL, smooth=None, gradient_arrays=without_ties, tolerance=EXACT),
    binary("minimum", ALL, smooth=None, gradient_arrays=without_ties, tolerance=EXACT),
    *(binary(name, ALL, smooth=None) for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(binary(name, BITS, smooth=None) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")),
    shift("shift_left"),
    shift("shift_right"),
]

RECORDS = [
    *UNARY,
    *BINARY,
    unary("bitwise_not", dtypes=BITS),
    OpRecord("select", select_samples, ALL, select_errors, EXACT),
    OpRecord("clamp", clamp_samples, NUMBERS, clamp_errors, EXACT),
    OpRecord("convert_element_type", convert_samples, ALL, convert_errors, EXACT),
]
