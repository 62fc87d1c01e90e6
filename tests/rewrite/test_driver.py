"""The driver: it reaches the fixed point, keeps types, finds loops, keeps effects, is linear and never recursive."""

import itertools
import sys

import numpy as np
import pytest

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import bool_, float32, int32
from graphc.errors import RewriteError
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.printer import print_graph
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.rewrite.driver import MAX_SWEEPS, Firing, RuleSet, rewrite
from graphc.rewrite.interning import Interner, freeze, has_effect
from graphc.rewrite.pattern import RuleList, Var, integers, op
from tests.call_count import counted

x, y = Var("x"), Var("y")
HERE = Location("user.py", 7, 3)


def builder() -> tuple[Builder, Value]:
    b = Builder("main", location=HERE)
    return b, b.parameter(TensorType(float32, (3,)), "x")


def body(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes() if node.op.name != "parameter"]


def simple() -> RuleList:
    rules = RuleList("simple")

    @rules.rule(op("neg", -x))
    def neg_neg(x: Value) -> Value:
        """-(-x) → x"""
        return x

    @rules.rule(op("sin", x))
    def sine(b: Builder, x: Value) -> Value:
        """sin(x) → cos(-(-(-x)))"""
        return b.emit_one("cos", b.emit_one("neg", b.emit_one("neg", b.emit_one("neg", x))))

    return rules


def test_what_a_rule_builds_is_rewritten_too() -> None:
    b, p = builder()
    graph = b.finish([b.neg(b.neg(b.sin(p)))])
    firings: list[Firing] = []
    after = rewrite(graph, RuleSet(simple()), firings.append)
    assert body(after) == ["neg", "cos"]
    assert [f.rule for f in firings] == ["sine", "neg_neg", "neg_neg"]
    assert str(firings[0]) == "sine on sin at user.py:7:3"


def test_new_nodes_carry_the_location_of_the_node_replaced() -> None:
    b, p = builder()
    b.location = Location("user.py", 9, 1)
    after = rewrite(b.finish([b.sin(p)]), RuleSet(simple()))
    assert {n.location.line for n in after.nodes() if n.op.name != "parameter"} == {9}


def test_a_graph_without_matches_is_the_same_object() -> None:
    b, p = builder()
    graph = b.finish([b.exp(p)])
    assert rewrite(graph, RuleSet(simple())) is graph


def test_equal_nodes_are_merged_on_the_way() -> None:
    b, p = builder()
    graph = b.finish([b.add(b.exp(p), b.exp(p))])
    assert body(rewrite(graph, RuleSet(()))) == ["exp", "add"]


def test_a_rule_that_changes_the_type_is_named() -> None:
    rules = RuleList("wrong")

    @rules.rule(op("exp", x))
    def to_bool(b: Builder, x: Value) -> Value:
        """exp(x) → is_nan(x)"""
        return b.emit_one("is_nan", x)

    b, p = builder()
    with pytest.raises(RewriteError) as caught:
        rewrite(b.finish([b.exp(p)]), RuleSet(rules))
    assert caught.value.message == "rule to_bool (exp(x) → is_nan(x)) changes the type of exp from f32[3] to bool[3]"
    assert caught.value.location == HERE


def test_a_rule_that_fails_is_named() -> None:
    rules = RuleList("wrong")

    @rules.rule(op("exp", x))
    def broken(b: Builder, x: Value) -> Value:
        """exp(x) → transpose(x)"""
        return b.emit_one("transpose", x, permutation=(1, 0))

    b, p = builder()
    with pytest.raises(RewriteError, match=r"rule broken \(exp\(x\) → transpose\(x\)\) failed on exp: transpose"):
        rewrite(b.finish([b.exp(p)]), RuleSet(rules))


def test_rules_that_undo_each_other_are_named() -> None:
    rules = RuleList("loop")

    @rules.rule(op("sin", x))
    def to_cos(b: Builder, x: Value) -> Value:
        """sin(x) → cos(x)"""
        return b.emit_one("cos", x)

    @rules.rule(op("cos", x))
    def to_sin(b: Builder, x: Value) -> Value:
        """cos(x) → sin(x)"""
        return b.emit_one("sin", x)

    b, p = builder()
    with pytest.raises(RewriteError, match="the rules to_cos, to_sin undo each other"):
        rewrite(b.finish([b.sin(p)]), RuleSet(rules))


def test_a_rule_that_grows_forever_is_named() -> None:
    rules = RuleList("growth")

    @rules.rule(op("exp", x))
    def grow(b: Builder, x: Value) -> Value:
        """exp(x) → exp(-x)"""
        return b.emit_one("exp", b.emit_one("neg", x))

    b, p = builder()
    with pytest.raises(RewriteError, match="the rules grow do not settle: 2000 firings on one exp"):
        rewrite(b.finish([b.exp(p)]), RuleSet(rules))


def test_a_rule_around_its_own_node_is_named() -> None:
    rules = RuleList("around")

    @rules.rule((x + y).as_("whole"))
    def wrap(b: Builder, whole: Value) -> Value:
        """x + y → -(-(x + y))"""
        return b.emit_one("neg", b.emit_one("neg", whole))

    b, p = builder()
    with pytest.raises(RewriteError, match="the rules wrap undo each other"):
        rewrite(b.finish([b.add(p, p)]), RuleSet(rules))


def test_sweeps_are_bounded() -> None:
    rules = RuleList("restless")
    every_other_time = itertools.cycle((True, False))

    @rules.rule(op("neg", x), when=lambda: next(every_other_time))
    def once_a_sweep(b: Builder, x: Value) -> Value:
        """-x → -|x|, once a sweep"""
        return b.emit_one("neg", b.emit_one("abs", x))

    b, p = builder()
    with pytest.raises(RewriteError, match=f"the rules once_a_sweep still fire after {MAX_SWEEPS} sweeps over main"):
        rewrite(b.finish([b.neg(p)]), RuleSet(rules))


def test_fast_math_rules_are_off_by_default() -> None:
    rules = RuleList("inexact")

    @rules.rule(x - x, exact=integers)
    def sub_itself(b: Builder, x: Value) -> Value:
        """x - x → 0"""
        return b.zeros_like(x)

    b, p = builder()
    n = b.parameter(TensorType(int32, (3,)), "n")
    graph = b.finish([b.sub(p, p), b.sub(n, n)])
    assert body(rewrite(graph, RuleSet(rules))).count("sub") == 1
    assert "sub" not in body(rewrite(graph, RuleSet(rules, fast_math=True)))


def test_one_use_sees_uses_that_end() -> None:
    rules = RuleList("uses")

    @rules.rule(op("cos", op("exp", x).once()))
    def inner_once(b: Builder, x: Value) -> Value:
        """cos(exp(x)) → sin(x)"""
        return b.emit_one("sin", x)

    @rules.rule(op("tan", op("exp", x)))
    def forget(b: Builder, x: Value) -> Value:
        """tan(exp(x)) → x"""
        return x

    b, p = builder()
    e = b.exp(p)
    tangent, cosine = b.tan(e), b.cos(e)
    assert body(rewrite(b.finish([cosine, e]), RuleSet(rules))) == ["exp", "cos"]
    assert body(rewrite(b.finish([cosine, tangent]), RuleSet(rules))) == ["sin"]


def test_effects_keep_their_order_and_number() -> None:
    b, p = builder()
    truth = b.reduce_all(b.is_finite(b.neg(b.neg(p))), axes=(0,))
    b.emit("check", truth, message="finite")
    b.emit("check", truth, message="finite")
    after = rewrite(b.finish([p]), RuleSet(simple()))
    assert [e.attributes["message"] for e in after.effects] == ["finite", "finite"]
    assert body(after) == ["is_finite", "reduce_all", "check", "check"]


def test_a_rule_cannot_make_an_effect() -> None:
    rules = RuleList("effects")

    @rules.rule(op("reduce_all", x))
    def check_it(b: Builder, root: object, x: Value) -> Value:
        """all(x) → check(true)"""
        b.emit("check", b.constant(True, bool_), message="no")
        return x

    b, p = builder()
    with pytest.raises(RewriteError, match="a rule cannot make the effect check"):
        rewrite(b.finish([b.reduce_all(b.is_nan(p), axes=(0,))]), RuleSet(rules))


def test_rules_of_one_name_are_refused() -> None:
    with pytest.raises(RewriteError, match="two rules are named"):
        RuleSet([*simple(), *simple()])


def chain(length: int) -> Graph:
    b, p = builder()
    value = p
    for _ in range(length):
        value = b.neg(b.neg(b.abs(value)))
    return b.finish([value])


def test_a_hundred_thousand_nodes_in_a_chain() -> None:
    assert sys.getrecursionlimit() < 100_000
    after = rewrite(chain(100_000 // 3), RuleSet(simple()))
    assert len(after.nodes()) == 100_000 // 3 + 1


def test_work_is_linear() -> None:
    def calls(length: int) -> int:
        graph = chain(length)
        return counted(lambda: rewrite(graph, RuleSet(simple())))

    assert calls(8000) < 10 * calls(1000)  # a quadratic walk makes 64 times as many


def test_deeply_nested_replacements_do_not_recurse() -> None:
    rules = RuleList("deep")

    @rules.rule(op("exp", x))
    def unroll(b: Builder, x: Value) -> Value:
        """exp(x) → -(-(… x))"""
        for _ in range(5001):
            x = b.emit_one("neg", x)
        return x

    b, p = builder()
    assert len(rewrite(b.finish([b.exp(p)]), RuleSet(rules)).nodes()) == 5002


def test_interner_tells_attributes_apart() -> None:
    b, p = builder()
    interner = Interner()
    zero, negative = b.constant(0.0, float32).node, b.constant(-0.0, float32).node
    again = b.constant(0.0, float32).node
    assert interner.intern(zero) is zero
    assert interner.intern(negative) is negative
    assert interner.intern(again) is zero
    assert interner.intern(p.node) is p.node
    assert freeze(True) != freeze(1) and freeze(0.0) != freeze(-0.0)
    assert freeze((1, (2.0, "a"))) == freeze((1, (2.0, "a")))
    nan = np.array([np.nan], np.float32)
    assert freeze(nan) == freeze(nan.copy())


def test_calls_of_graphs_with_effects_are_effects() -> None:
    inner = Builder("inner")
    q = inner.parameter(TensorType(bool_, ()), "q")
    inner.emit("check", q, message="m")
    noisy = inner.finish([q])
    b = Builder("outer")
    p = b.parameter(TensorType(bool_, ()), "p")
    (result,) = b.emit("call", p, graph=noisy)
    assert has_effect(result.node)
    assert Interner().intern(result.node) is result.node
    quiet = noisy.replace(effects=())
    assert not has_effect(b.emit("call", p, graph=quiet)[0].node)
    assert "call" in print_graph(b.finish([result]))
