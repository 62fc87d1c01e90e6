"""16-bit floats against NumPy's float16 and ml_dtypes' bfloat16: every stored value, every rounding case."""

import ml_dtypes
import numpy as np
import pytest

from graphc.backends.numba_cpu.scalar_namespace import python_namespace

from .ulp import Array, apply_unary

ALL_BITS = np.arange(1 << 16, dtype=np.uint16)
STORED = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
WIDEN = [("f16_to_f32", "f16"), ("f16_to_f32_by_bits", "f16"), ("bf16_to_f32", "bf16")]
NARROW = [("f32_to_f16", "f16"), ("f32_to_f16_by_bits", "f16"), ("f32_to_bf16", "bf16")]


def rounding_cases(stored: np.dtype[np.generic]) -> Array:
    """All stored values, the midpoints between neighbours and the float32 on either side of those, and random bits."""
    values = ALL_BITS.view(stored).astype(np.float32)
    values = np.sort(values[np.isfinite(values)])
    middles = (values[:-1].astype(np.float64) / 2 + values[1:].astype(np.float64) / 2).astype(np.float32)
    sides = [np.nextafter(middles, np.float32(end)) for end in (-np.inf, np.inf)]
    bits = np.random.default_rng(1).integers(0, 1 << 32, 50_000, np.uint32).view(np.float32)
    ends = np.array([np.inf, -np.inf, 65519.996, 65520, -65520, 3.4028235e38, 0.0, -0.0], np.float32)
    return np.concatenate([values, middles, *sides, bits[~np.isnan(bits)], ends])


@pytest.mark.parametrize(("name", "short"), WIDEN)
def test_widening_is_exact(name: str, short: str) -> None:
    result = apply_unary(name, ALL_BITS, short, "f32", np.float32)
    expected = ALL_BITS.view(STORED[short]).astype(np.float32)
    np.testing.assert_array_equal(result, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize(("name", "short"), NARROW)
def test_narrowing_rounds_to_nearest_even(name: str, short: str) -> None:
    x = rounding_cases(STORED[short])
    with np.errstate(over="ignore"):
        expected = x.astype(STORED[short]).view(np.uint16)
    np.testing.assert_array_equal(apply_unary(name, x, "f32", short, np.uint16), expected)


@pytest.mark.parametrize(("name", "short"), NARROW)
def test_narrowing_keeps_nan(name: str, short: str) -> None:
    x = np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    result = apply_unary(name, x, "f32", short, np.uint16).view(STORED[short])
    assert np.isnan(result.astype(np.float32)).all()


@pytest.mark.parametrize(("name", "short"), WIDEN)
def test_widening_twins(name: str, short: str) -> None:
    bits = ALL_BITS[::97]
    twin = python_namespace()[name]
    results = np.array([twin(h) for h in bits])
    assert results.dtype == np.float32
    np.testing.assert_array_equal(results, apply_unary(name, bits, short, "f32", np.float32))


@pytest.mark.parametrize(("name", "short"), NARROW)
def test_narrowing_twins(name: str, short: str) -> None:
    x = rounding_cases(STORED[short])[::971]
    twin = python_namespace()[name]
    results = np.array([twin(value) for value in x])
    assert results.dtype == np.uint16
    np.testing.assert_array_equal(results, apply_unary(name, x, "f32", short, np.uint16))
