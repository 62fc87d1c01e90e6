"""Which elements count as different."""

import numpy as np
import pytest

from graphc.dtypes import bfloat16
from graphc.frontends.debug.agreement import differing

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, bfloat16.numpy])
def test_floats_may_differ_by_rounding_and_other_values_not_at_all(dtype: type) -> None:
    actual = np.array([1.0, 1.0, NAN, NAN, 1.0, INF, INF, 2.0, -INF, 0.0], dtype)
    expected = np.array([1.0, 1.5, NAN, 1.0, NAN, INF, -INF, INF, 2.0, -0.0], dtype)
    assert differing(actual, expected, 1e-2, 1e-2).tolist() == [
        False, True, False, True, True, False, True, True, True, False,
    ]  # fmt: skip


def test_integers_and_bools_must_be_equal() -> None:
    assert differing(np.array([1, 2]), np.array([1, 3]), 10.0, 10.0).tolist() == [False, True]
    assert differing(np.array([True]), np.array([False]), 10.0, 10.0).tolist() == [True]
