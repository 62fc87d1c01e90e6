"""dot_general: against einsum, accumulation, and gradients."""

import ml_dtypes
import numpy as np
import pytest

from graphc.dtypes import float64
from graphc.ir.dims import symbol
from graphc.ir.primitive import get_primitive
from graphc.ir.types import TensorType
from tests.op_db_contraction import RECORDS
from tests.op_record import Sample
from tests.ops.derivatives import check_derivatives, op
from tests.ops.evaluation import apply

RNG = np.random.default_rng(0)
RECORD = next(r for r in RECORDS if r.name == "dot_general")
NO_BATCH: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
MATRICES = {"contract": ((1,), (0,)), "batch": NO_BATCH}


def gradient_cases() -> list[Sample]:
    return list(RECORD.gradient_samples(np.random.default_rng(1), float64))


@pytest.mark.parametrize("sample", gradient_cases(), ids=str)
def test_gradients_match_differences(sample: Sample) -> None:
    check_derivatives(op("dot_general", sample.attributes), sample.arrays)


@pytest.mark.parametrize(
    ("lhs", "rhs", "contract", "batch", "einsum"),
    [
        ((3, 4), (4, 5), ((1,), (0,)), NO_BATCH, "ij,jk->ik"),
        ((3, 4), (5, 3), ((0,), (1,)), NO_BATCH, "ji,kj->ik"),
        ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,)), "bij,bjk->bik"),
        ((2, 3, 4, 5), (5, 3, 6, 4), ((2, 3), (3, 0)), ((1,), (1,)), "abcd,dbec->bae"),
        ((3, 2, 5, 4), (4, 2, 3), ((0,), (2,)), ((3, 1), (0, 1)), "abcd,dba->dbc"),
        ((3,), (4,), ((), ()), NO_BATCH, "i,j->ij"),
        ((3,), (3,), ((0,), (0,)), NO_BATCH, "i,i->"),
        ((3, 4), (3, 4), ((), ()), ((1, 0), (1, 0)), "ij,ij->ji"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_dot_general_is_einsum(
    lhs: tuple[int, ...],
    rhs: tuple[int, ...],
    contract: tuple[tuple[int, ...], ...],
    batch: tuple[tuple[int, ...], ...],
    einsum: str,
    dtype: type,
) -> None:
    x, y = ((RNG.standard_normal(s) * 4).astype(dtype) for s in (lhs, rhs))
    out = apply("dot_general", x, y, contract=contract, batch=batch)
    np.testing.assert_allclose(out, np.einsum(einsum, x, y), rtol=1e-12, atol=1e-12)


def test_16_bit_floats_accumulate_in_float32_and_round_once() -> None:
    ones = np.ones((1, 1000), ml_dtypes.bfloat16)
    assert float(apply("dot_general", ones, ones.T, **MATRICES)[0, 0]) == 1000.0
    big = np.full((1, 2), 300.0, np.float16)
    assert apply("dot_general", big, big.T, **MATRICES)[0, 0] == np.inf
    cancelling = np.array([[300.0, -300.0]], np.float16)
    assert apply("dot_general", cancelling, big.T, **MATRICES)[0, 0] == 0


def test_integers_wrap() -> None:
    x = np.full((1, 3), 100, np.int8)
    assert int(apply("dot_general", x, x.T, **MATRICES)[0, 0]) == (30_000 + 128) % 256 - 128


def test_a_sum_of_nothing_is_zero() -> None:
    assert apply("dot_general", np.ones((2, 0)), np.ones((0, 3)), **MATRICES).tolist() == [[0] * 3] * 2


def test_only_the_other_operand_is_kept_for_the_gradient() -> None:
    dot = get_primitive("dot_general")
    types = (TensorType(float64, (2, 2)),)
    assert dot.residuals_for(types, [True, False]).operands == (1,)
    assert dot.residuals_for(types, [False, True]).operands == (0,)
    assert set(dot.residuals_for(types, [True, True]).operands) == {0, 1}


def test_gradients_with_symbolic_sizes() -> None:
    n, m, k = symbol("n"), symbol("m"), symbol("k")
    types = [TensorType(float64, (n, 3, m, 5)), TensorType(float64, (5, 3, k, m))]
    arrays = [RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((5, 3, 6, 4))]
    check_derivatives(op("dot_general", {"contract": ((2, 3), (3, 0)), "batch": ((1,), (1,))}), arrays, types=types)
