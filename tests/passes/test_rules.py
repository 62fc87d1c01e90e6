"""Every rule: an exact graph in and out, the same numbers, and no change of bits without fast_math."""

import numpy as np
import pytest

from graphc.ir.graph import Graph
from graphc.ir.printer import print_graph
from graphc.ir.types import symbols_in
from graphc.ir.verifier import verify
from graphc.ops import names
from graphc.ops.core import evaluate_graph
from graphc.passes.canonicalize import GRADIENT_MARKS
from graphc.passes.fold import FOLDING
from graphc.passes.rules import FAMILIES
from graphc.rewrite.driver import Firing, RuleSet, rewrite
from graphc.rewrite.pattern import Rule
from tests.conftest import Golden
from tests.passes import rule_examples_elementwise, rule_examples_structural
from tests.passes.rule_example import Example, random_array

ALL_FAMILIES = (*FAMILIES, FOLDING, GRADIENT_MARKS)
RULES: dict[str, Rule] = {rule.name: rule for family in ALL_FAMILIES for rule in family}
EXAMPLES = [*rule_examples_elementwise.EXAMPLES, *rule_examples_structural.EXAMPLES]


def ids(examples: list[Example]) -> list[str]:
    return [f"{e.rule}-{i}" for i, e in enumerate(examples)]


def apply(example: Example, *, fast_math: bool = True) -> tuple[Graph, Graph, list[Firing]]:
    graph = example.graph()
    firings: list[Firing] = []
    after = rewrite(graph, RuleSet([RULES[example.rule]], fast_math=fast_math), firings.append)
    return graph, after, firings


def is_exact(example: Example) -> bool:
    _, _, firings = apply(example, fast_math=False)
    return bool(firings)


def test_every_rule_has_an_example() -> None:
    assert set(RULES) == {e.rule for e in EXAMPLES}


def test_rules_for_fast_math_have_an_example_that_needs_it() -> None:
    inexact = {e.rule for e in EXAMPLES if not is_exact(e)}
    assert inexact == {rule.name for rule in RULES.values() if rule.needs_fast_math}


def test_names_are_unique_over_all_families() -> None:
    assert len(RULES) == sum(len(family) for family in ALL_FAMILIES)


def test_patterns_name_only_primitives_that_exist() -> None:
    known = set(names())
    assert {o for rule in RULES.values() for o in rule.primitives()} <= known


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_docstring_is_one_line_with_an_arrow(rule: Rule) -> None:
    assert "\n" not in rule.summary and "→" in rule.summary


@pytest.mark.parametrize("example", EXAMPLES, ids=ids(EXAMPLES))
def test_fires_and_keeps_the_numbers(example: Example) -> None:
    before, after, firings = apply(example)
    assert firings and {f.rule for f in firings} == {example.rule}
    verify(before)
    verify(after, when=f"after {example.rule}")
    assert all(n.location.filename == "example.py" for n in after.nodes() if n.op.name != "parameter")
    exact = is_exact(example)
    rng = np.random.default_rng(7)
    sizes = dict(example.sizes)
    assert set(symbols_in(before.parameter_types)) == set(sizes)
    for _ in range(4):
        inputs = [random_array(rng, t, sizes, benign=not exact) for t in before.parameter_types]
        for want, got in zip(evaluate_graph(before, inputs), evaluate_graph(after, inputs), strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            if exact and not example.ulps:
                assert_same_bits(got, want)
            elif exact:
                np.testing.assert_array_max_ulp(got[np.isfinite(want)], want[np.isfinite(want)], example.ulps)
                np.testing.assert_array_equal(got[~np.isfinite(want)], want[~np.isfinite(want)])
            else:
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal including the signs of zeros; NaNs are equal whatever their payload."""
    got, want = np.asarray(got), np.asarray(want)
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    both_nan = np.isnan(got) & np.isnan(want)
    raw = f"u{got.dtype.itemsize}"
    same = np.ascontiguousarray(got).view(raw) == np.ascontiguousarray(want).view(raw)
    assert np.all(same | both_nan), (got[~(same | both_nan)], want[~(same | both_nan)])


@pytest.mark.parametrize("family", ALL_FAMILIES, ids=lambda f: f.family)
def test_exact_graphs(family: object, golden: Golden) -> None:
    parts: list[str] = []
    for example in EXAMPLES:
        if example.rule in {rule.name for rule in family}:  # type: ignore[attr-defined]
            before, after, _ = apply(example)
            parts.append(f"// {RULES[example.rule]}\n{print_graph(before)}\n// becomes\n{print_graph(after)}\n")
    name = family.family.replace(" ", "_")  # type: ignore[attr-defined]
    golden(f"golden/rules_{name}.gir", "\n".join(parts))
