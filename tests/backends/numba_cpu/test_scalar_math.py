"""The scalar functions: error bounds, special values, NumPy's own accuracy sets, vector code, and the Python twins."""

import csv
import platform
import re
from pathlib import Path

import numpy as np
import pytest

from graphc.backends.numba_cpu.host import has_feature
from graphc.backends.numba_cpu.kernels import compile_kernel
from graphc.backends.numba_cpu.loader import LIBM_SYMBOLS
from graphc.backends.numba_cpu.scalar_namespace import namespace, python_namespace

from .ulp import DTYPES, EXTENDED, FUNCTIONS, Array, Function, apply_unary, measure, ulp_errors, unary_kernel

ROOT = Path(__file__).parents[3]
INF, NAN = np.inf, np.nan
HAS_FMA = has_feature("fma") or platform.machine().lower() in ("aarch64", "arm64")
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
UNARY_NAMES = tuple(dict.fromkeys(function.name for function in FUNCTIONS))


@EACH_DTYPE
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.name}{function.lowest:+g}")
def test_error_stays_within_the_stated_bound(function: Function, dtype: str) -> None:
    count = 30_000 if function.wide is not None and EXTENDED else 900
    error, point = measure(function, dtype, count)
    # The bounds are stated for multiply-adds that round once.
    assert error <= function.bound(dtype) * (1 if HAS_FMA else 1.25), (
        f"{function.name}_{dtype}({point!r}) is {error:.2f} ULP off"
    )


def test_the_documented_bounds_are_the_tested_ones() -> None:
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    documented = [(row[0], float(row[3]), float(row[5])) for row in rows if row[0] in UNARY_NAMES]
    assert documented == [(function.name, function.bound_f32, function.bound_f64) for function in FUNCTIONS]
    assert all(
        float(row[2]) <= float(row[3]) and float(row[4]) <= float(row[5]) for row in rows if row[0] in UNARY_NAMES
    )


HALF_PI, PI = np.pi / 2, np.pi
SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0)],
    "exp2": [(0.0, 1.0), (INF, INF), (-INF, 0.0), (10.0, 1024.0), (-3.0, 0.125)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "log2": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (8.0, 3.0), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "log10": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (1000.0, 3.0), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-2.0, NAN), (INF, INF), (-INF, NAN)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (4.0, 0.5), (INF, 0.0), (-1.0, NAN), (-INF, NAN)],
    "logistic": [(0.0, 0.5), (INF, 1.0), (-INF, 0.0)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "cosh": [(0.0, 1.0), (INF, INF), (-INF, INF)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (INF, INF), (-INF, NAN), (0.0, NAN), (-1e30, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (1e30, NAN), (INF, NAN), (-INF, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.0, HALF_PI), (-1.0, -HALF_PI), (1.5, NAN), (INF, NAN)],
    "acos": [(1.0, 0.0), (0.0, HALF_PI), (-1.0, PI), (1.5, NAN), (-INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, HALF_PI), (-INF, -HALF_PI)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0)],
    "erfc": [(0.0, 1.0), (INF, 0.0), (-INF, 2.0)],
    "lgamma": [(0.0, INF), (-0.0, INF), (1.0, 0.0), (2.0, 0.0), (-3.0, INF), (INF, INF), (-INF, INF)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-3.0, NAN), (INF, INF), (-INF, NAN)],
}


@EACH_DTYPE
@pytest.mark.parametrize("name", UNARY_NAMES)
def test_special_values(name: str, dtype: str) -> None:
    cases = [*SPECIAL[name], (NAN, NAN)]
    x, expected = (np.array(column, DTYPES[dtype]) for column in zip(*cases, strict=True))
    result = apply_unary(f"{name}_{dtype}", x, dtype, dtype, DTYPES[dtype])
    np.testing.assert_array_equal(result, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result)[numbers], np.signbit(expected)[numbers])


@EACH_DTYPE
@pytest.mark.parametrize("name", ["expm1", "log1p", "sinh", "tanh", "asinh", "atanh", "sin", "tan", "asin", "atan"])
def test_the_smallest_denormal_is_its_own_value(name: str, dtype: str) -> None:
    x = np.array([1, -1], DTYPES[dtype]) * np.finfo(DTYPES[dtype]).smallest_subnormal
    np.testing.assert_array_equal(apply_unary(f"{name}_{dtype}", x, dtype, dtype, DTYPES[dtype]), x)


def _binary(name: str, x: Array, y: Array, dtype: str) -> Array:
    text = f"def sweep(x, y, out, n):\n    for i in range(n):\n        out[i] = {name}_{dtype}(x[i], y[i])\n"
    signature = (f"{dtype}*", f"{dtype}*", f"{dtype}*", "i64")
    kernel = compile_kernel(text, "sweep", signature, filename=f"<{name}_{dtype}>", namespace=namespace())
    out = np.empty_like(x)
    assert kernel(x.ctypes.data, y.ctypes.data, out.ctypes.data, x.size) == 0
    return out


@EACH_DTYPE
@pytest.mark.parametrize(("name", "ufunc", "bound"), [("pow", np.power, 1.0), ("atan2", np.arctan2, 2.0)])
def test_binary_functions(name: str, ufunc: np.ufunc, bound: float, dtype: str) -> None:
    kind = DTYPES[dtype]
    edge = float(np.finfo(kind).max)
    points = [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, INF, 1e-40, 1e30, 16777217.0, edge]
    grid = np.array([*points, *(-point for point in points), NAN], kind)
    x, y = (np.ascontiguousarray(axis.ravel()) for axis in np.meshgrid(grid, grid))
    result = _binary(name, x, y, dtype)
    with np.errstate(all="ignore"):
        expected = ufunc(x.astype(np.longdouble), y.astype(np.longdouble))
    assert ulp_errors(result, expected).max() <= bound
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result)[numbers], np.signbit(expected)[numbers])

    random = np.random.default_rng(3)
    x = np.exp(random.uniform(-40, 40, 20_000)).astype(kind)
    y = (random.uniform(-80, 80, x.size) / np.log(x) if name == "pow" else random.standard_normal(x.size)).astype(kind)
    expected = ufunc(x.astype(np.longdouble), y.astype(np.longdouble))
    # Without a wider long double, the judge itself is half an ULP off.
    assert ulp_errors(_binary(name, x, y, dtype), expected).max() <= bound + (0 if EXTENDED else 0.5)


ACCURACY_SETS = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
    **{name: name for name in ("cos", "cosh", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2")},
    **{name: name for name in ("sin", "sinh", "tan", "tanh")},
}


@EACH_DTYPE
@pytest.mark.parametrize("set_name", ACCURACY_SETS)
def test_numpy_accuracy_sets(set_name: str, dtype: str) -> None:
    kind, unsigned = (np.float32, np.uint32) if dtype == "f32" else (np.float64, np.uint64)
    path = Path(np.__file__).parent / "_core" / "tests" / "data" / f"umath-validation-set-{set_name}.csv"
    if not path.exists():
        pytest.skip("this NumPy was installed without its test data")
    with path.open(encoding="ascii") as file:
        rows = [row for row in csv.reader(file) if row and row[0] == f"np.{kind.__name__}"]
    x, expected = (np.array([int(row[k], 16) for row in rows], unsigned).view(kind) for k in (1, 2))
    result = apply_unary(f"{ACCURACY_SETS[set_name]}_{dtype}", x, dtype, dtype, kind)
    tolerance = np.array([int(row[3]) for row in rows])
    errors = ulp_errors(result, expected.astype(np.longdouble))
    assert (errors <= tolerance).all(), f"{(errors > tolerance).sum()} of {len(rows)}, worst {errors.max()}"


@EACH_DTYPE
@pytest.mark.parametrize("name", UNARY_NAMES)
def test_a_loop_is_vector_code_without_calls(name: str, dtype: str) -> None:
    if not HAS_FMA or (name == "tan" and dtype == "f64" and not has_feature("avx512f")):
        pytest.skip("this CPU lacks multiply-add or is too narrow for a vector loop to pay")
    kernel = unary_kernel(f"{name}_{dtype}", dtype, dtype)
    lanes = {int(lanes) for lanes in re.findall(rf"<(\d+) x {'float' if dtype == 'f32' else 'double'}>", kernel.llvm())}
    assert lanes
    assert not re.findall(r"^\s+(?:callq?|blr?)\s", kernel.asm(), flags=re.MULTILINE)
    assert not kernel.external_symbols()


def test_only_libm_is_called() -> None:
    text = "def power(x, y, out, n):\n    for i in range(n):\n        out[i] = pow_f64(x[i], y[i])\n"
    kernel = compile_kernel(text, "power", ("f64*", "f64*", "f64*", "i64"), filename="<power>", namespace=namespace())
    assert kernel.external_symbols() == {"pow"} <= LIBM_SYMBOLS


def test_sines_of_arguments_nearest_to_a_multiple_of_half_pi() -> None:
    # The float64 closest of all, relative to its size, to a multiple of pi / 2; 60 of its bits cancel in the reduction.
    x = np.array([6381956970095103.0 * 2.0**797])
    result = apply_unary("cos_f64", x, "f64", "f64", np.float64)
    np.testing.assert_allclose(result, [-4.6871659242546276e-19], rtol=3e-16)


@EACH_DTYPE
@pytest.mark.parametrize("name", UNARY_NAMES)
def test_python_twin_agrees(name: str, dtype: str) -> None:
    kind = DTYPES[dtype]
    random = np.random.default_rng(11)
    spread = [random.standard_normal(12), random.uniform(-30, 30, 8), np.exp(random.uniform(-60, 60, 8))]
    x = np.concatenate([*spread, [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0]]).astype(kind)
    twin = python_namespace()[f"{name}_{dtype}"]
    results = [twin(value) for value in x]
    assert {type(result) for result in results} == {kind}
    compiled = apply_unary(f"{name}_{dtype}", x, dtype, dtype, kind)
    # The interpreter rounds each product that compiled code contracts into a multiply-add.
    floor = 8.0 if name in ("lgamma", "digamma") else 0.0
    assert ulp_errors(np.array(results, kind), compiled.astype(np.longdouble), floor).max() <= 2


@EACH_DTYPE
def test_binary_python_twins_agree(dtype: str) -> None:
    kind = DTYPES[dtype]
    values = np.array([0.0, -0.0, 1.0, -2.0, 3.5, INF, NAN], kind)
    x, y = (np.ascontiguousarray(axis.ravel()) for axis in np.meshgrid(values, values))
    for name in ("pow", "atan2"):
        twin = python_namespace()[f"{name}_{dtype}"]
        results = np.array([twin(a, b) for a, b in zip(x, y, strict=True)], kind)
        assert ulp_errors(results, _binary(name, x, y, dtype).astype(np.longdouble)).max() <= 1
