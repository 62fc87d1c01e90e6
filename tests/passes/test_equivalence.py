"""Random graphs before and after optimization: the same results to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.errors import GraphcError
from graphc.ir.printer import print_graph
from graphc.ir.types import TensorType
from graphc.ops.core import evaluate_graph
from graphc.passes.base import Pass
from graphc.passes.pipeline import Pipeline, pipeline
from graphc.passes.registry import PASSES
from tests.passes.random_graphs import PARAMETERS, SYMBOLIC, Step, build, steps
from tests.passes.rule_example import random_array
from tests.passes.test_rules import assert_same_bits


@pytest.mark.parametrize("parameters", [PARAMETERS, SYMBOLIC], ids=["concrete", "symbolic"])
@given(plan=steps, seed=st.integers(0, 2**32 - 1))
def test_the_pipeline_keeps_every_bit(parameters: tuple[TensorType, ...], plan: list[Step], seed: int) -> None:
    before = build(plan, parameters)
    after = pipeline("cpu").run(before, verify=True)
    rng = np.random.default_rng(seed)
    inputs = [random_array(rng, t, {}, benign=False) for t in PARAMETERS]
    try:
        want = evaluate_graph(before, inputs)
    except GraphcError as error:
        with pytest.raises(type(error)):
            evaluate_graph(after, inputs)
        return
    for expected, result in zip(want, evaluate_graph(after, inputs), strict=True):
        assert result.shape == expected.shape and result.dtype == expected.dtype
        assert_same_bits(result, expected)


@given(plan=steps)
def test_the_pipeline_settles(plan: list[Step]) -> None:
    once = pipeline("cpu").run(build(plan))
    assert print_graph(pipeline("cpu").run(once)) == print_graph(once)


@given(plan=steps)
def test_fast_math_settles_in_a_valid_graph(plan: list[Step]) -> None:
    fast = pipeline("cpu", fast_math=True)
    once = fast.run(build(plan), verify=True)
    assert print_graph(fast.run(once)) == print_graph(once)


@pytest.mark.parametrize("cls", PASSES.values(), ids=PASSES)
@given(plan=steps)
def test_each_pass_by_itself_gives_a_valid_graph(cls: type[Pass], plan: list[Step]) -> None:
    Pipeline("one", (cls(),)).run(build(plan), verify=True)
