"""attention and its gradient against their `evaluate`: blocks and rests of them, dtypes, pieces, what is skipped."""

import numpy as np
import pytest

from graphc.dtypes import bfloat16, float16, float32, float64
from graphc.ir.primitive import get_primitive
from tests.backends.numba_cpu.structural.running import judge, run, samples

TOLERANCES = {float64: 1e-12, float32: 1e-5, float16: 4e-3, bfloat16: 3e-2}
SHAPES = [  # leading, queries, keys, width, width of values
    ((2,), 64, 64, 16, 16),
    ((2, 2), 70, 33, 5, 7),
    ((), 129, 200, 32, 33),
    ((1,), 200, 77, 40, 24),
    ((9,), 3, 1, 1, 1),
    ((), 1, 130, 8, 4),
    ((3,), 0, 4, 2, 2),
    ((3,), 4, 0, 2, 2),
]


def judge_both(q, k, v, causal, tolerance, **options):
    attributes = {"causal": causal}
    judge("attention", (q, k, v), attributes, rtol=tolerance, atol=tolerance, **options)
    out, lse = get_primitive("attention").evaluate(q, k, v, causal=causal)
    cotangent = np.random.default_rng(5).standard_normal(out.shape).astype(out.dtype)
    with np.errstate(invalid="ignore"):
        delta = np.sum(out.astype(lse.dtype) * cotangent.astype(lse.dtype), axis=-1)
    operands = (q, k, v, cotangent, lse, delta)
    judge("attention_gradient", operands, attributes, rtol=tolerance, atol=8 * tolerance, **options)


def operands(shape, dtype):
    leading, queries, keys, width, of_values = shape
    rng = np.random.default_rng(0)
    sizes = ((queries, width), (keys, width), (keys, of_values))
    return [samples(rng, dtype, (*leading, *size)) for size in sizes]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, causal):
    judge_both(*operands(shape, float32), causal, 2e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_dtypes(dtype, causal):
    judge_both(*operands(((2,), 70, 90, 6, 5), dtype), causal, TOLERANCES[dtype])


@pytest.mark.parametrize("causal", [False, True])
def test_generic_in_sizes(causal):
    judge_both(*operands(((2,), 70, 90, 6, 5), float32), causal, 2e-5, symbolic=True)


@pytest.mark.parametrize("operand", range(3))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_seen_is_skipped_only_where_it_is_finite(operand, value):
    arrays = operands(((), 150, 170, 4, 3), float32)
    arrays[operand][140] = value
    judge_both(*arrays, True, 2e-5)


def test_scores_of_minus_infinity_give_0():
    q, k, v = operands(((), 70, 80, 4, 3), float32)
    q[3], k[:] = -np.inf, np.abs(k)
    judge_both(q, k, v, False, 2e-5)
    (out, lse), _ = run("attention", (q, k, v), {"causal": False})
    assert not out[3].any()
    assert lse[3] == -np.inf


def test_large_scores_do_not_overflow():
    q, k, v = operands(((), 70, 200, 4, 3), float32)
    judge_both(q * 100, k * np.linspace(0, 1, 200, dtype=np.float32)[:, None], v, False, 1e-3)


def test_few_matrices_are_divided_by_keys():
    judge_both(*operands(((), 65, 64 * 9 + 3, 4, 3), float32), False, 5e-5)
