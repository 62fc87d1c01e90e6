"""f.verify(): levels of optimization against the reference, with passes and kernels that are broken on purpose."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.debug.verification import verify_levels
from graphc.passes.base import Pass
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.pipeline import Pipeline
from graphc.rewrite.driver import RuleSet, rewrite
from graphc.rewrite.pattern import RuleList, Var, op
from graphc.runtime import targets

WRONG = RuleList("wrong on purpose")
x, y = Var("x"), Var("y")


@WRONG.rule(op("neg", op("neg", x)))
def neg_neg(x):
    """-(-x) → x"""
    return x


@WRONG.rule(op("maximum", x, y))
def maximum_is_minimum(b, x, y):
    """maximum(x, y) → minimum(x, y), which is wrong"""
    return b.minimum(x, y)


@dataclass(frozen=True)
class Wrong(Pass):
    """A pass with a rule that is wrong."""

    name: ClassVar[str] = "wrong"

    def transform(self, graph, record):
        return rewrite(graph, RuleSet(WRONG), record)


@gc.jit
def f(a, b):
    c = gc.negative(gc.negative(a))
    return gc.maximum(c, b) * 2.0


ARGUMENTS = [np.array([1.0, 5.0], np.float32), np.array([3.0, 3.0], np.float32)]


def test_a_right_function_agrees_on_every_level():
    report = f.verify(*ARGUMENTS)
    assert report.agrees
    assert report.difference is None
    assert [level.name for level in report.levels] == [
        "pass inline", "pass drop-stop-gradient", "pass canonicalize", "pass dce", "pass cse", "cpu, no passes",
        "cpu, all passes",
    ]  # fmt: skip
    assert str(report).splitlines()[0] == "f: all levels agree with the reference"


def test_a_wrong_rule_is_named_with_the_line_that_it_spoils():
    graph, arrays = f.traced_call(*ARGUMENTS)
    report = verify_levels(graph, arrays, passes=Pipeline("p", (Canonicalize(), Wrong())))
    assert [(level.name, level.difference is None) for level in report.levels] == [
        ("pass canonicalize", True),
        ("pass wrong", False),
    ]
    difference = report.difference
    assert difference.what == "output 0 differs in 2 of 2 elements, first at [0]: 2.0 instead of 6.0"
    assert difference.culprit == "the rule maximum_is_minimum of wrong changes the results (firing 1 of 1, on maximum)"
    assert "gc.maximum(c, b)" in difference.location.source_line


def test_the_firing_is_found_among_many():
    graph, arrays = f.traced_call(*ARGUMENTS)
    difference = verify_levels(graph, arrays, passes=Pipeline("p", (Wrong(),))).difference
    assert difference.culprit.startswith("the rule maximum_is_minimum of wrong changes the results (firing 2 of 2")


POSITIVE_ONLY = RuleList("wrong for negative numbers")


@POSITIVE_ONLY.rule(op("abs", x))
def abs_is_its_operand(x):
    """|x| → x, which is right for positive numbers alone"""
    return x


@dataclass(frozen=True)
class PositiveOnly(Pass):
    """A pass with a rule that is wrong for negative numbers."""

    name: ClassVar[str] = "positive-only"

    def transform(self, graph, record):
        return rewrite(graph, RuleSet(POSITIVE_ONLY), record)


@gc.jit
def distances(a, b):
    scale = gc.abs(b).sum()
    root = gc.sqrt(gc.abs(a) + 1.0)
    return root * scale


def test_a_rule_that_is_wrong_for_some_values_shows_where_they_meet_it():
    passes = Pipeline("p", (Canonicalize(), PositiveOnly(), Canonicalize()))
    positive = np.array([1.0, 2.0], np.float32)
    assert verify_levels(*distances.traced_call(positive, positive), passes=passes).agrees
    text = str(verify_levels(*distances.traced_call(np.array([1.0, -2.0], np.float32), positive), passes=passes))
    lines = text.splitlines()
    first = distances.__wrapped__.__code__.co_firstlineno
    assert lines[2].split() == ["pass", "positive-only", "DIFFERS"]
    assert lines[3] == "output 0 differs in 1 of 2 elements, first at [1]: nan instead of 5.196152"
    assert lines[4].startswith("  the rule abs_is_its_operand of positive-only changes the results (firing ")
    assert lines[5] == f"  at {__file__}:{first + 3}, in distances"
    assert lines[6] == "    root = gc.sqrt(gc.abs(a) + 1.0)"


class _WrongBackend:
    """Compiles like the reference, but ``maximum`` computes something else: always, or only in longer programs."""

    def __init__(self, longest):
        self.longest = longest

    def compile(self, graph, *, fast_math=False):
        compiled = targets.load_backend("reference").compile(graph)
        if len(graph.nodes()) <= self.longest or not any(n.op.name == "maximum" for n in graph.nodes()):
            return compiled

        def run(*arrays):
            results = compiled(*arrays)
            first = next(i for i, o in enumerate(graph.outputs) if _reads_maximum(o.node))
            return [r + 1 if i >= first else r for i, r in enumerate(results)]

        return run


def _reads_maximum(node):
    return node.op.name == "maximum" or any(_reads_maximum(v.node) for v in node.inputs)


@pytest.mark.parametrize("longest", [0, 5])
def test_a_wrong_kernel_is_traced_to_its_node(monkeypatch, longest):
    backend = _WrongBackend(longest)
    load = targets.load_backend
    monkeypatch.setattr("graphc.compile.load_backend", lambda name: backend if name == "cpu" else load(name))
    report = verify_levels(*f.traced_call(*ARGUMENTS))
    assert report.levels[-1].name == "cpu, no passes"
    assert report.difference.what.startswith("output 0 differs in 2 of 2 elements")
    if longest == 0:
        assert "maximum(" in report.difference.culprit
        assert "first in %" in report.difference.culprit
        assert "gc.maximum(c, b)" in report.difference.location.source_line
        assert f"  at {__file__}:" in str(report)
        assert "\n    return gc.maximum(c, b) * 2.0\n" in str(report)
    text = str(report)
    assert text.startswith("f: results differ\n")
    assert "cpu, no passes           DIFFERS" in text


@pytest.mark.parametrize("wrong", [3.0, -np.inf, np.nan])
def test_a_number_instead_of_an_infinity_is_a_difference(monkeypatch, wrong):
    load = targets.load_backend

    class Backend:
        def compile(self, graph, *, fast_math=False):
            compiled = load("reference").compile(graph)
            return lambda *arrays: [np.where(np.isinf(r), np.float32(wrong), r) for r in compiled(*arrays)]

    backend = Backend()
    monkeypatch.setattr("graphc.compile.load_backend", lambda name: backend if name == "cpu" else load(name))
    report = verify_levels(*f.traced_call(np.array([1.0, np.inf], np.float32), ARGUMENTS[1]))
    assert report.difference.what == f"output 0 differs in 1 of 2 elements, first at [1]: {wrong} instead of inf"


def test_integers_and_types_must_be_equal():
    g = gc.jit(lambda n: n + 1)
    assert g.verify(np.array([1, 2**40])).agrees
    assert g.verify(np.array([True])).agrees


def test_a_training_step_is_verified_with_its_state_untouched():
    w = gc.tensor([1.0, 2.0], requires_grad=True)

    @gc.jit
    def step(a):
        loss = ((w * a) ** 2).sum()
        loss.backward()
        with gc.no_grad():
            w.sub_(0.1 * w.grad)
            w.grad = None
        return loss

    assert step.verify(gc.tensor([1.0, -1.0])).agrees
    assert w.tolist() == [1.0, 2.0]
    assert w.grad is None
