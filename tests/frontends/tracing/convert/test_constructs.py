"""Each construct of Python's has the same values and gradients traced as eagerly, on several paths."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckError, GradientError
from graphc.ops.core import evaluate_graph
from tests.frontends.tracing.convert import constructs, iteration, objects
from tests.frontends.tracing.convert.table import Case

CASES = [*constructs.TABLE.cases, *iteration.TABLE.cases, *objects.TABLE.cases]


def variants(case: Case) -> list[tuple[Any, ...]]:
    """The arguments, and others for which another path is taken: negated where no loop of any length waits for growth."""
    factor = -1.0 if case.grad else 0.25
    return [
        case.arguments,
        tuple([a * factor if isinstance(a, gc.Tensor) and a.dtype.is_inexact else a for a in case.arguments]),
    ]


def traced(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of the graph of a call, run by the reference."""
    return evaluate_graph(*gc.jit(function).traced_call(*arguments))[0]


def result(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """The value, or "raised"."""
    try:
        return function(*arguments)
    except (ValueError, CheckError):
        return "raised"


@pytest.mark.parametrize("case", CASES, ids=[case.function.__name__ for case in CASES])
def test_values_and_gradients(case: Case) -> None:
    def total(*arguments: Any) -> Any:
        return case.function(*arguments).sum()

    place = next(i for i, a in enumerate(case.arguments) if isinstance(a, gc.Tensor) and a.dtype.is_inexact)
    for arguments in variants(case):
        want, got = result(case.function, arguments), result(functools.partial(traced, case.function), arguments)
        if isinstance(want, str):
            assert got == want
            continue
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-5)
        assert got.dtype == want.numpy().dtype
        if case.grad:
            gradient = gc.grad(total, place)(*arguments).numpy()
            np.testing.assert_allclose(traced(gc.grad(total, place), *arguments), gradient, rtol=1e-4)
    if not case.grad:
        with pytest.raises(GradientError, match="max_steps"):
            traced(gc.grad(total, place), *case.arguments)
