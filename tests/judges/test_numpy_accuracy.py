"""NumPy's accuracy sets, against the array functions: eagerly, and compiled for the CPU."""

import csv
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from tests.backends.numba_cpu.ulp import ulp_errors

FOLDER = Path(np.__file__).parent / "_core" / "tests" / "data"
# cbrt has a set too; it is not among graphc's functions.
NAMES = (
    *("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cos", "cosh", "exp", "exp2", "expm1"),
    *("log", "log10", "log1p", "log2", "sin", "sinh", "tan", "tanh"),
)
BITS = {np.float32: np.uint32, np.float64: np.uint64}


def read_set(name: str, kind: type[np.floating]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, correctly rounded outputs, and the error that each point may have, in ULP."""
    path = FOLDER / f"umath-validation-set-{name}.csv"
    if not path.exists():
        pytest.skip("this NumPy was installed without its test data")
    with path.open(encoding="ascii") as file:
        rows = [row for row in csv.reader(file) if row and row[0] == f"np.{kind.__name__}"]
    x, expected = (np.array([int(row[column], 16) for row in rows], BITS[kind]).view(kind) for column in (1, 2))
    return x, expected, np.array([int(row[3]) for row in rows])


@pytest.mark.parametrize("kind", BITS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("name", NAMES)
def test_errors_are_within_the_tolerance_of_every_point(name: str, mode: str, kind: type[np.floating]) -> None:
    x, expected, tolerance = read_set(name, kind)
    assert len(x) > 100
    function = getattr(gc, name)
    result = (gc.jit(function) if mode == "compiled" else function)(gc.asarray(x)).numpy()
    assert result.dtype == kind
    errors = ulp_errors(result, expected.astype(np.longdouble))
    worst = int(np.argmax(errors - tolerance))
    assert (errors <= tolerance).all(), (
        f"{(errors > tolerance).sum()} of {len(x)} points; {name}({x[worst]!r}) gave {result[worst]!r}, "
        f"not {expected[worst]!r}: {errors[worst]} ULP where {tolerance[worst]} are allowed"
    )


def test_every_set_that_numpy_has_is_used() -> None:
    found = {path.stem.removeprefix("umath-validation-set-") for path in FOLDER.glob("umath-validation-set-*.csv")}
    if not found:
        pytest.skip("this NumPy was installed without its test data")
    assert found == {*NAMES, "cbrt"}
