"""The checker of VJP rules finds rules that are wrong."""

from typing import Any

import numpy as np
import pytest

import graphc.ops  # noqa: F401
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from tests.ops.derivatives import check_derivatives, op

X = np.random.default_rng(0).standard_normal((3, 4))


def half_the_gradient(b: Builder, x: Value) -> Any:
    """x + stop_gradient(x): the rule gives 1, differences give 2."""
    return b.add(x, b.stop_gradient(x))


def wrong_second_order(b: Builder, x: Value) -> Any:
    """x² with one factor's gradient cut in the second order only: its first derivative 2x is right."""
    return b.mul(x, b.stop_gradient(b.mul(x, b.full_like(x, 2.0))))


def test_right_rules_pass() -> None:
    check_derivatives(op("reduce_sum", {"axes": (0,)}), [X])


@pytest.mark.parametrize("build", [half_the_gradient, wrong_second_order])
def test_wrong_rules_fail(build: Any) -> None:
    with pytest.raises(AssertionError, match=r"rule .*, differences"):
        check_derivatives(build, [X])
