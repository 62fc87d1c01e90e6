"""The elementwise primitives: numbers against NumPy and the math module, edge rules, scalar bodies, gradients."""

import math
import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc.ops
from graphc.dtypes import (
    ALL,
    FLOATS,
    INTEGERS,
    DType,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
)
from graphc.errors import GraphcError
from graphc.ir.builder import Builder
from graphc.ir.dims import symbol
from graphc.ir.graph import Value
from graphc.ir.primitive import get_primitive, primitives
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from graphc.passes.differentiate import backpropagate
from tests.op_db_elementwise import RECORDS
from tests.op_record import OpRecord, Sample, assert_same, edge_pairs, edge_values, type_of
from tests.ops.scalar_on_numpy import run_scalar

SIGNED = tuple(d for d in INTEGERS if d.kind == "int")
each_record = pytest.mark.parametrize("record", RECORDS, ids=str)


def rng_for(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def evaluate(name: str, *operands: Any, dtype: DType = float64, **attributes: Any) -> Any:
    arrays = [a if isinstance(a, np.ndarray) else np.array(a, dtype=dtype.numpy) for a in operands]
    return get_primitive(name).evaluate(*arrays, **attributes)


def wrapped(value: int, dtype: DType) -> int:
    """A Python integer as `dtype` holds it, in two's complement."""
    low: int = int(np.iinfo(dtype.numpy).min)
    return int((value - low) % 2**dtype.bits) + low


def samples_of(record: OpRecord) -> Iterator[tuple[DType, Sample]]:
    rng = rng_for(record.name)
    for dtype in record.dtypes:
        for sample in record.samples(rng, dtype):
            yield dtype, sample


def test_every_elementwise_primitive_has_a_record() -> None:
    names = [record.name for record in RECORDS]
    assert len(names) == len(set(names))
    assert set(names) == {name for name, p in primitives().items() if p.elementwise}


def test_names_are_sorted_and_complete() -> None:
    assert list(graphc.ops.names()) == sorted(primitives())


@each_record
def test_evaluate_gives_the_inferred_type_and_changes_no_operand(record: OpRecord) -> None:
    primitive = get_primitive(record.name)
    for _, sample in samples_of(record):
        copies = [a.copy() for a in sample.arrays]
        (inferred,) = primitive.infer(sample.types, **sample.attributes)
        result = primitive.evaluate(*sample.arrays, **sample.attributes)
        assert isinstance(result, np.ndarray), sample
        assert type_of(result) == inferred, sample
        for array, copy in zip(sample.arrays, copies, strict=True):
            assert array.tobytes() == copy.tobytes(), sample
            assert not np.shares_memory(result, array), sample


@each_record
def test_scalar_body_agrees_with_evaluate(record: OpRecord) -> None:
    for _, sample in samples_of(record):
        want = get_primitive(record.name).evaluate(*sample.arrays, **sample.attributes)
        got = run_scalar(record.name, sample.arrays, sample.attributes, as_dtype(want.dtype))
        assert_same(got, want, sample)


@each_record
def test_infer_refuses(record: OpRecord) -> None:
    errors = list(record.error_samples())
    assert errors
    for error in errors:
        with pytest.raises(error.error) as caught:
            get_primitive(record.name).infer(error.types, **error.attributes)
        assert re.search(error.match, caught.value.message), caught.value.message


def test_infer_keeps_symbolic_sizes() -> None:
    n = symbol("n")
    x = TensorType(float32, (n, 2 * n + 1))
    assert get_primitive("add").infer((x, x)) == (x,)
    assert get_primitive("lt").infer((x, x)) == (x.with_dtype(bool_),)
    assert get_primitive("convert_element_type").infer((x,), dtype=int8) == (x.with_dtype(int8),)


NUMPY_NAMES = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.round,
    "trunc": np.trunc, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "is_finite": np.isfinite, "is_nan": np.isnan,
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "floor_divide": np.floor_divide,
    "remainder": np.mod, "atan2": np.arctan2, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.bitwise_not, "shift_left": np.left_shift,
}  # fmt: skip


@pytest.mark.parametrize("record", [r for r in RECORDS if r.name in NUMPY_NAMES], ids=str)
def test_evaluate_agrees_with_the_numpy_function(record: OpRecord) -> None:
    function: Any = NUMPY_NAMES[record.name]
    for dtype, sample in samples_of(record):
        arrays = [a.astype(np.float32) if dtype.compute is not dtype else a for a in sample.arrays]
        got = get_primitive(record.name).evaluate(*sample.arrays)
        with np.errstate(all="ignore"):
            want = np.asarray(function(*arrays)).astype(got.dtype)
        assert_same(got, want, sample)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rsqrt", lambda x: 1.0 / math.sqrt(x)),
        ("logistic", lambda x: 1.0 / (1.0 + math.exp(-x))),
        ("erf", math.erf),
        ("erfc", math.erfc),
        ("lgamma", math.lgamma),
    ],
)
def test_evaluate_agrees_with_the_math_module(name: str, function: Any) -> None:
    x = rng_for(name).uniform(0.05, 6.0, 50)
    np.testing.assert_allclose(evaluate(name, x), [function(v) for v in x], rtol=4e-16, atol=1e-16)
    x32 = x.astype(np.float32)
    np.testing.assert_allclose(evaluate(name, x32), [function(float(v)) for v in x32], rtol=3e-7)


def test_digamma_and_polygamma_at_known_values() -> None:
    euler = 0.5772156649015329
    np.testing.assert_allclose(
        evaluate("digamma", [1.0, 2.0, 0.5, -0.5]),
        [-euler, 1.0 - euler, -euler - 2.0 * math.log(2.0), 2.0 - euler - 2.0 * math.log(2.0)],
        rtol=2e-14,
    )
    np.testing.assert_allclose(
        evaluate("polygamma", [1.0, 0.5, -0.5], n=1), [math.pi**2 / 6, math.pi**2 / 2, math.pi**2 / 2 + 4], rtol=4e-16
    )
    zeta3 = 1.2020569031595942
    np.testing.assert_allclose(evaluate("polygamma", [1.0, 0.5], n=2), [-2 * zeta3, -14 * zeta3], rtol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 11, 40])
def test_polygamma_satisfies_its_recurrence(n: int) -> None:
    x = np.concatenate([np.linspace(0.05, 20.0, 60), np.linspace(-3.9, -0.1, 30) + 0.003])
    step = (-1.0) ** n * math.factorial(n) / x ** (n + 1)
    difference = evaluate("polygamma", x + 1.0, n=n) - evaluate("polygamma", x, n=n)
    size = np.abs(evaluate("polygamma", x, n=n)) + np.abs(step)
    assert np.all(np.abs(difference - step) <= 1e-12 * size)


def test_poles_and_limits_of_the_gamma_family() -> None:
    x = np.array([0.0, -0.0, -1.0, -2.0, np.inf, -np.inf, np.nan, -1e17])
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(evaluate("lgamma", x), [inf, inf, inf, inf, inf, inf, nan, inf])
    np.testing.assert_array_equal(evaluate("digamma", x), [-inf, inf, nan, nan, inf, nan, nan, nan])
    np.testing.assert_array_equal(evaluate("polygamma", x, n=1), [inf, inf, inf, inf, 0, nan, nan, inf])
    np.testing.assert_array_equal(evaluate("polygamma", x, n=2), [-inf, inf, nan, nan, 0, nan, nan, nan])


def test_rounding_is_half_to_even() -> None:
    got = evaluate("round", [0.5, 1.5, 2.5, -0.5, -2.5, 2.4999])
    np.testing.assert_array_equal(got, [0, 2, 2, -0.0, -2, 2])
    assert np.signbit(got[3])


def test_neg_of_zero_has_its_sign() -> None:
    assert np.signbit(evaluate("neg", 0.0)) and not np.signbit(evaluate("neg", -0.0))


def test_sign_of_nan_and_zeros() -> None:
    np.testing.assert_array_equal(evaluate("sign", [np.nan, -0.0, 0.0, -np.inf, 2.0]), [np.nan, 0, 0, -1, 1])


@pytest.mark.parametrize("dtype", SIGNED, ids=str)
def test_the_lowest_integer_wraps(dtype: DType) -> None:
    lowest = int(np.iinfo(dtype.numpy).min)
    for name in ("abs", "neg"):
        assert evaluate(name, lowest, dtype=dtype) == lowest
    assert evaluate("floor_divide", lowest, -1, dtype=dtype) == lowest
    assert evaluate("remainder", lowest, -1, dtype=dtype) == 0


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_division_follows_python_and_zero_divisors_give_zero(dtype: DType) -> None:
    x, y = edge_pairs(dtype)
    pairs = list(zip(x.tolist(), y.tolist(), strict=True))
    assert evaluate("floor_divide", x, y).tolist() == [wrapped(a // b, dtype) if b else 0 for a, b in pairs]
    assert evaluate("remainder", x, y).tolist() == [wrapped(a % b, dtype) if b else 0 for a, b in pairs]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts_follow_python_and_give_zero_beyond_the_width(dtype: DType) -> None:
    x = edge_values(dtype)
    for count in (0, 1, dtype.bits - 1, dtype.bits, dtype.bits + 1, 100, *((-1, -100) if dtype.kind == "int" else ())):
        inside = 0 <= count < dtype.bits
        counts = np.full_like(x, count)
        left = [wrapped(v << count, dtype) if inside else 0 for v in x.tolist()]
        right = [v >> count if inside else 0 for v in x.tolist()]
        assert evaluate("shift_left", x, counts).tolist() == left
        assert evaluate("shift_right", x, counts).tolist() == right


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_powers(dtype: DType) -> None:
    bases = [0, 1, 2, 3, 7] + ([-1, -2] if dtype.kind == "int" else [])
    for base in bases:
        for exponent in (0, 1, 2, 5, 70):
            assert evaluate("pow", base, exponent, dtype=dtype) == wrapped(base**exponent, dtype)
    if dtype.kind == "int":
        for base, want in ((1, 1), (-1, -1), (2, 0), (0, 0), (-5, 0)):
            assert evaluate("pow", base, -3, dtype=dtype) == want
        assert evaluate("pow", -1, -2, dtype=dtype) == 1


def test_float_division_rules() -> None:
    x, y = [7.0, -7.0, 7.0, -7.0, 1.0, -1.0, 1.0], [2.0, 2.0, -2.0, -2.0, np.inf, np.inf, 0.0]
    np.testing.assert_array_equal(evaluate("floor_divide", x, y), [3, -4, -4, 3, 0, -1, np.inf])
    np.testing.assert_array_equal(evaluate("remainder", x, y), [1, 1, -1, -1, 1, np.inf, np.nan])
    zeros = evaluate("remainder", [4.0, 4.0, -4.0], [2.0, -2.0, 2.0])
    assert np.signbit(zeros).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_extrema_keep_nan_and_order_the_zeros(dtype: DType) -> None:
    nan, inf = np.nan, np.inf
    x = np.array([nan, 1.0, -0.0, 0.0, -0.0, -inf], dtype=dtype.numpy)
    y = np.array([1.0, nan, 0.0, -0.0, -0.0, 2.0], dtype=dtype.numpy)
    assert_same(evaluate("maximum", x, y), np.array([nan, nan, 0.0, 0.0, -0.0, 2.0], dtype=dtype.numpy))
    assert_same(evaluate("minimum", x, y), np.array([nan, nan, -0.0, -0.0, -0.0, -inf], dtype=dtype.numpy))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_extrema_of_all_pairs(dtype: DType) -> None:
    x, y = edge_pairs(dtype)
    for name, function in (("maximum", max), ("minimum", min)):
        got = evaluate(name, x, y)
        for a, b, value in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
            assert math.isnan(value) if math.isnan(a) or math.isnan(b) else value == function(a, b)


def test_clamp_keeps_nan_and_high_wins() -> None:
    got = evaluate("clamp", [0.0, 0.0, np.nan, 0.0, 3.0], [np.nan, 5.0, 1.0, -1.0, 2.0], [1.0, 1.0, 2.0, np.nan, 1.0])
    np.testing.assert_array_equal(got, [np.nan, 1.0, np.nan, np.nan, 1.0])


@pytest.mark.parametrize("target", INTEGERS, ids=str)
@pytest.mark.parametrize("source", FLOATS, ids=str)
def test_float_to_integer_saturates(source: DType, target: DType) -> None:
    x = edge_values(source)
    limits = np.iinfo(target.numpy)

    def expected(value: float) -> int:
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return int(limits.max if value > 0 else limits.min)
        return min(max(int(value), int(limits.min)), int(limits.max))

    got = get_primitive("convert_element_type").evaluate(x, dtype=target)
    assert got.tolist() == [expected(float(v)) for v in x]


def test_conversion_next_to_the_largest_integers() -> None:
    convert = get_primitive("convert_element_type")
    x = np.array([2.0**63, np.nextafter(2.0**63, 0), -(2.0**63), 2.0**31 - 1, 2.0**31])
    assert convert.evaluate(x, dtype=as_dtype("int64")).tolist() == [
        2**63 - 1, 2**63 - 1024, -(2**63), 2**31 - 1, 2**31,
    ]  # fmt: skip
    assert convert.evaluate(x, dtype=int32).tolist() == [2**31 - 1, 2**31 - 1, -(2**31), 2**31 - 1, 2**31 - 1]
    assert convert.evaluate(np.array([-0.9, 255.9, 256.0]), dtype=as_dtype("uint8")).tolist() == [0, 255, 255]


def test_conversions_to_bool_and_between_integers() -> None:
    convert = get_primitive("convert_element_type")
    assert convert.evaluate(np.array([0.0, -0.0, np.nan, 0.1]), dtype=bool_).tolist() == [False, False, True, True]
    assert convert.evaluate(np.array([300, -1, 128]), dtype=int8).tolist() == [44, -1, -128]
    assert convert.evaluate(np.array([True, False]), dtype=bfloat16).tolist() == [1.0, 0.0]


def test_16_bit_floats_are_computed_in_float32_and_rounded_once() -> None:
    for dtype in (float16, bfloat16):
        x = np.array([1.0, 3.0, 0.1], dtype=dtype.numpy)
        wide = x.astype(np.float32)
        got = evaluate("logistic", x)
        np.testing.assert_array_equal(got, (1 / (1 + np.exp(-wide))).astype(dtype.numpy))
        assert got.dtype == dtype.numpy
    # 60000 + 60000 - 60000 would not survive rounding in between, but each op rounds its own result
    assert np.isinf(evaluate("add", np.array(60000, np.float16), np.array(60000, np.float16)))


def test_logistic_does_not_overflow() -> None:
    np.testing.assert_array_equal(evaluate("logistic", [-np.inf, np.inf, np.nan, 0.0]), [0, 1, np.nan, 0.5])
    assert evaluate("logistic", -740.0) > 0


# --- gradients -------------------------------------------------------------------------------------------------------


def gradients(record: OpRecord, sample: Sample) -> list[np.ndarray | None]:
    """What the VJP rule gives for a cotangent of ones."""
    b = Builder()
    operands = [b.parameter(t) for t in sample.types]
    result = b.emit_one(record.name, *operands, **sample.attributes)
    ct = b.parameter(result.type)
    needed = [i in record.differentiable_operands(sample) for i in range(len(operands))]
    flows = result.node.op.vjp(b, result.node, [ct], needed)
    kept = [i for i, flow in enumerate(flows) if flow is not None]
    values = evaluate_graph(b.finish(f for f in flows if f is not None), [*sample.arrays, np.ones(result.shape)])
    found: list[np.ndarray | None] = [None] * len(operands)
    for i, value in zip(kept, values, strict=True):
        found[i] = value
    return found


def difference_quotient(record: OpRecord, sample: Sample, operand: int) -> np.ndarray:
    step = 1e-6
    op = get_primitive(record.name)
    ends = []
    for sign in (1.0, -1.0):
        moved = list(sample.arrays)
        moved[operand] = moved[operand] + sign * step
        ends.append(op.evaluate(*moved, **sample.attributes))
    return np.asarray((ends[0] - ends[1]) / (2 * step))


@pytest.mark.parametrize("record", [r for r in RECORDS if r.differentiable], ids=str)
def test_first_derivative_by_finite_differences(record: OpRecord) -> None:
    samples = list(record.gradient_samples(rng_for(record.name), float64))
    assert samples
    for sample in samples:
        found = gradients(record, sample)
        for operand in record.differentiable_operands(sample):
            got = found[operand]
            assert got is not None, f"no gradient of operand {operand}"
            want = difference_quotient(record, sample, operand)
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7, err_msg=f"{sample}, operand {operand}")


@pytest.mark.parametrize("record", [r for r in RECORDS if r.differentiable], ids=str)
def test_vjp_reads_the_declared_residuals_only_and_skips_what_is_not_needed(record: OpRecord) -> None:
    (sample, *_) = record.gradient_samples(rng_for(record.name), float64)
    wanted = record.differentiable_operands(sample)
    for subset in {*((i,) for i in wanted), wanted}:
        needed = [i in subset for i in range(len(sample.arrays))]
        b = Builder()
        operands = [b.parameter(t) for t in sample.types]
        node = b.emit_one(record.name, *operands, **sample.attributes).node
        ct = b.parameter(node.types[0])
        flows = node.op.vjp(b, node, [ct], needed)
        assert [f is not None for f in flows] == needed
        allowed = node.op.residuals_for(node.types, needed)
        readable = {operands[i] for i in allowed.operands} | {node.results[i] for i in allowed.results} | {ct}
        assert reads([f for f in flows if f is not None], {*operands, *node.results, ct}) <= readable


def reads(outputs: list[Value], forward: set[Value]) -> set[Value]:
    """The values of `forward` that `outputs` are computed from, without looking behind them."""
    found: set[Value] = set()
    pending = list(outputs)
    seen: set[Value] = set()
    while pending:
        value = pending.pop()
        if value in forward:
            found.add(value)
        elif value not in seen:
            seen.add(value)
            pending.extend(value.node.inputs)
    return found


@pytest.mark.parametrize("record", [r for r in RECORDS if not r.differentiable and float32 in r.dtypes], ids=str)
def test_step_functions_have_no_gradient(record: OpRecord) -> None:
    b = Builder()
    (sample, *_) = record.samples(rng_for(record.name), float32)
    node = b.emit_one(record.name, *(b.parameter(t) for t in sample.types)).node
    flows = node.op.vjp(b, node, [b.parameter(node.types[0])], [True] * len(sample.arrays))
    assert list(flows) == [None] * len(sample.arrays)


def derivative(name: str, points: tuple[float, ...], order: tuple[int, ...], **attributes: Any) -> float:
    """A mixed partial derivative at a point; `order` lists the operands to differentiate for, one after the other."""
    b = Builder()
    operands = [b.parameter(TensorType(float64, ())) for _ in points]
    value = b.emit_one(name, *operands, **attributes)
    for operand in order:
        (flow,) = backpropagate(b, [(value, b.full_like(value, 1.0))], [operands[operand]])
        if flow is None:
            return 0.0
        value = flow
    return float(evaluate_graph(b.finish([value]), [np.array(p) for p in points])[0])


@pytest.mark.parametrize(
    ("name", "points", "order", "want"),
    [
        ("sin", (0.7,), (0, 0), -math.sin(0.7)),
        ("exp", (0.7,), (0, 0, 0), math.exp(0.7)),
        ("tanh", (0.3,), (0, 0), -2 * math.tanh(0.3) * (1 - math.tanh(0.3) ** 2)),
        ("sqrt", (2.0,), (0, 0), -0.25 * 2.0**-1.5),
        ("rsqrt", (2.0,), (0, 0), 0.75 * 2.0**-2.5),
        ("log", (2.0,), (0, 0, 0), 0.25),
        ("div", (3.0, 2.0), (1, 1), 2 * 3 / 8),
        ("div", (3.0, 2.0), (0, 1), -0.25),
        ("mul", (3.0, 2.0), (0, 1), 1.0),
        ("pow", (3.0, 2.0), (0, 0), 2.0),
        ("pow", (3.0, 2.0), (1, 1), 9 * math.log(3.0) ** 2),
        ("pow", (3.0, 2.0), (0, 1), 3.0 + 2 * 3 * math.log(3.0)),
        ("lgamma", (1.0,), (0, 0), math.pi**2 / 6),
        ("lgamma", (1.0,), (0, 0, 0), -2 * 1.2020569031595942),
        ("erf", (0.5,), (0, 0), -2 * 0.5 * 2 / math.sqrt(math.pi) * math.exp(-0.25)),
    ],
)
def test_higher_derivatives(name: str, points: tuple[float, ...], order: tuple[int, ...], want: float) -> None:
    assert derivative(name, points, order) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "points", "order", "want"),
    [
        ("pow", (0.0, 0.0), (0,), 0.0),
        ("pow", (0.0, 0.0), (0, 0), 0.0),
        ("pow", (0.0, 1.0), (0,), 1.0),
        ("pow", (0.0, 1.0), (0, 0), 0.0),
        ("pow", (0.0, 2.0), (0, 0), 2.0),
        ("pow", (0.0, 2.0), (1,), 0.0),
        ("pow", (0.0, 0.0), (1,), 0.0),
        ("pow", (0.0, 2.0), (1, 1), 0.0),
        ("pow", (-2.0, 3.0), (0,), 12.0),
        ("pow", (-2.0, 3.0), (1,), math.nan),
        ("abs", (0.0,), (0,), 0.0),
        ("abs", (-2.0,), (0,), -1.0),
        ("maximum", (1.0, 1.0), (0,), 0.5),
        ("minimum", (1.0, 1.0), (1,), 0.5),
        ("clamp", (0.0, 0.0, 1.0), (1,), 1.0),
        ("clamp", (0.0, 0.0, 1.0), (0,), 0.0),
        ("clamp", (0.0, 1.0, 1.0), (1,), 1.0),
        ("clamp", (2.0, 0.0, 1.0), (0,), 0.0),
        ("clamp", (2.0, 0.0, 1.0), (2,), 1.0),
        ("floor", (1.5,), (0,), 0.0),
    ],
)
def test_gradients_at_kinks_and_corners(
    name: str, points: tuple[float, ...], order: tuple[int, ...], want: float
) -> None:
    assert derivative(name, points, order) == pytest.approx(want, nan_ok=True)


def test_select_stops_what_is_not_chosen() -> None:
    b = Builder()
    predicate, x = b.parameter(TensorType(bool_, (2,))), b.parameter(TensorType(float64, (2,)))
    y = b.select(predicate, b.log(x), b.zeros_like(x))
    (flow,) = backpropagate(b, [(y, b.full_like(y, 1.0))], [x])
    assert flow is not None
    (got,) = evaluate_graph(b.finish([flow]), [np.array([True, False]), np.array([2.0, 4.0])])
    np.testing.assert_array_equal(got, [0.5, 0.0])


def test_conversion_between_floats_converts_the_gradient_back() -> None:
    b = Builder()
    x = b.parameter(TensorType(float32, (3,)))
    y = b.convert_element_type(x, dtype=float64)
    (flow,) = backpropagate(b, [(y, b.full_like(y, 2.0))], [x])
    assert flow is not None and flow.type == x.type
    z = b.convert_element_type(x, dtype=int32)
    assert list(z.node.op.vjp(b, z.node, [z], [True])) == [None]


def test_errors_tell_the_fix() -> None:
    x = TensorType(float32, (3,))
    with pytest.raises(GraphcError) as caught:
        get_primitive("add").infer((x, x.with_dtype(int32)))
    assert "add: operands have dtypes float32 and int32: f32[3], i32[3]" in str(caught.value)
    assert "fix: convert them to one dtype" in str(caught.value)


@pytest.mark.parametrize("name", ["add", "exp", "select", "eq", "erf"])
@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_infer_and_evaluate_accept_the_same_dtypes(name: str, dtype: DType) -> None:
    record = next(r for r in RECORDS if r.name == name)
    predicate = (TensorType(bool_, ()),) if name == "select" else ()
    values = (TensorType(dtype, ()),) * (1 if name in ("exp", "erf") else 2)
    accepted = True
    try:
        get_primitive(name).infer((*predicate, *values))
    except GraphcError:
        accepted = False
    assert accepted == (dtype in record.dtypes)
