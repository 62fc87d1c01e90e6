"""What passes do to control flow: merging, shrinking, simplifying, hoisting. Each keeps what a graph computes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.frontends.dispatch import bind_all
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify
from graphc.ops.core import evaluate_graph
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.hoist import Hoist
from graphc.passes.merge_regions import MergeRegions
from graphc.passes.pipeline import Pipeline, pipeline
from graphc.passes.simplify_regions import SimplifyRegions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
W = RNG.normal(size=(3, 3)) / 2
FLAG = np.asarray(True)


def traced(function: Callable[..., Any], *arrays: Any) -> Graph:
    return gc.jit(function).graph(*[gc.tensor(a) for a in arrays])


def through(passes: Any, graph: Graph, *arrays: Any) -> Graph:
    """``graph`` after ``passes``, once it is known that they keep what it gives."""
    after = Pipeline("test", passes).run(graph, verify=True)
    verify(after)
    for got, want in zip(evaluate_graph(after, arrays), evaluate_graph(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    return after


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph.nodes() if node.op.name not in ("parameter", "constant", "broadcast_in_dim"))


def only(graph: Graph, op: str) -> Any:
    (node,) = [node for node in graph.nodes() if node.op.name == op]
    return node


def recurrence(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = gc.tanh(h @ w + x)
        return h, None

    return (gc.scan(step, xs[0], xs)[0] ** 2).sum()


def test_a_gradient_has_one_loop_forward_and_one_back() -> None:
    graph = traced(gc.value_and_grad(recurrence, (0, 1)), W, X)
    assert ops(graph)["scan"] == 3
    assert ops(through((MergeRegions(),), graph, W, X))["scan"] == 2


def test_loops_in_loops_are_merged_too() -> None:
    def nested(x: Any) -> Any:
        def outer(c: Any, _: Any) -> Any:
            return gc.scan(lambda d, v: (gc.sin(d * v), None), c, x)[0], None

        return gc.scan(outer, x[0], length=2)[0].sum()

    after = through((MergeRegions(),), traced(gc.value_and_grad(nested), X), X)
    scans = [node for node in after.nodes() if node.op.name == "scan"]
    assert [ops(node.attributes["body"])["scan"] for node in scans] == [1, 1]


def test_conds_on_one_selector_are_merged() -> None:
    def both(x: Any, p: Any) -> Any:
        return gc.cond(p, lambda: gc.exp(x), lambda: x), gc.cond(p, lambda: gc.exp(x) * 2, lambda: gc.sin(x))

    after = through((MergeRegions(),), traced(both, X, FLAG), X, FLAG)
    node = only(after, "cond")
    assert [ops(branch)["exp"] for branch in node.attributes["branches"]] == [0, 1]


def test_ops_with_effects_are_not_merged() -> None:
    def twice(x: Any, p: Any) -> Any:
        def checked() -> Any:
            bind_all("check", (x < 99).all(), message="m")
            return x

        return gc.cond(p, checked, lambda: -x), gc.cond(p, checked, lambda: x)

    after = through((MergeRegions(),), traced(twice, X, FLAG), X, FLAG)
    assert ops(after)["cond"] == 2 and len(after.effects) == 2


def test_what_nobody_reads_is_dropped_with_what_it_needs() -> None:
    def run(x: Any, w: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            a, b, unread = carry
            return (a + v, b, unread @ w), (a * b, unread.sum(), a * b)

        (a, b, _), (first, _, again) = gc.scan(step, (x[0], x[1], x[2]), x)
        return a, b, first, again

    node = only(through((Cse(), Dce()), traced(run, X, W), X, W), "scan")
    assert (len(node.inputs), len(node.types)) == (3, 2)
    assert node.attributes["constants"] == 1, "the carry that stays the same"


def test_what_a_loops_condition_needs_is_kept() -> None:
    def run(x: Any) -> Any:
        return gc.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 2, c[2]), (0, x, x + 1))[1]

    node = only(through((Dce(),), traced(run, X), X), "while_loop")
    assert len(node.types) == 2


def test_results_of_branches_that_nobody_reads_are_dropped() -> None:
    def run(x: Any, w: Any, p: Any) -> Any:
        return gc.cond(p, lambda: (x @ w, gc.sin(x)), lambda: (x, x * 2))[1]

    node = only(through((Dce(),), traced(run, X, W, FLAG), X, W, FLAG), "cond")
    assert len(node.inputs) == 2 and len(node.types) == 1


def test_a_check_keeps_what_it_reads() -> None:
    def run(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            bind_all("check", (c < 99).all(), message="m")
            return c + 1

        gc.fori_loop(0, 3, body, x)
        return x

    node = only(through((Dce(),), traced(run, X), X), "scan")
    assert node.attributes["carries"] == 1


def test_a_selector_that_is_known_leaves_the_branch_and_its_checks() -> None:
    def run(x: Any) -> Any:
        def checked() -> Any:
            bind_all("check", (x < 99).all(), message="m")
            return gc.exp(x)

        return gc.cond(gc.full((), 3) > 2, checked, lambda: x)

    after = through((Canonicalize(), SimplifyRegions()), traced(run, X), X)
    assert not ops(after)["cond"] and len(after.effects) == 1


@pytest.mark.parametrize("length", [0, 1])
def test_a_scan_of_no_step_or_one_is_no_loop(length: int) -> None:
    def run(x: Any) -> Any:
        return gc.scan(lambda c, v: (c + v, c * v), x[0], x[:length])

    assert not ops(through((SimplifyRegions(),), traced(run, X), X))["scan"]


def test_a_choice_between_cheap_values_is_a_select() -> None:
    after = through((SimplifyRegions(),), traced(lambda x, p: gc.cond(p, lambda: x * 2, lambda: (x + 1)), X, FLAG), X, FLAG)
    assert ops(after)["select"] == 1 and not ops(after)["cond"]
    for costly in (gc.exp, lambda v: v @ v.T @ v, lambda v: v[v.argmax(axis=0)] * v[0]):
        graph = traced(lambda x, p: gc.cond(p, lambda: costly(x), lambda: x * 1.5), X[:3], FLAG)  # noqa: B023
        assert ops(through((SimplifyRegions(),), graph, X[:3], FLAG))["cond"] == 1


def test_what_is_the_same_in_each_step_is_computed_once() -> None:
    def run(x: Any, w: Any) -> Any:
        return gc.fori_loop(0, 4, lambda i, c: gc.sin(c @ (w @ w)) + gc.exp(w[0]).sum(), x)

    after = through((Canonicalize(), Hoist()), traced(run, X, W), X, W)
    body = only(after, "scan").attributes["body"]
    assert ops(body)["dot_general"] == 1 and not ops(body)["exp"] and not ops(body)["reduce_sum"]
    assert ops(after)["dot_general"] == 1 and ops(after)["exp"] == 1


def test_what_can_fail_stays_in_the_loop() -> None:
    def run(x: Any, i: Any) -> Any:
        return gc.while_loop(lambda c: c.sum() < 1, lambda c: c + gc.exp(x[i]).sum(), x[0, 0])

    i = np.asarray([1])
    after = through((Canonicalize(), Hoist()), traced(run, X, i), X, i)
    assert ops(only(after, "while_loop").attributes["body"])["gather"] == 1


def test_products_of_slices_are_one_product() -> None:
    def run(w: Any, x: Any) -> Any:
        return gc.scan(lambda h, v: (gc.tanh(h + v @ w), w @ v), x[0], x)

    after = through((Canonicalize(), Hoist()), traced(run, W, X), W, X)
    assert not ops(only(after, "scan").attributes["body"])["dot_general"]
    assert ops(after)["dot_general"] == 2


def test_sums_over_steps_are_made_after_the_loop() -> None:
    def run(w: Any, x: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            h, total, mean = carry
            h = gc.tanh(h @ w + v)
            return (h, total + h[:, None] @ v[None, :], mean + (h * v).sum()), h @ w

        return gc.scan(step, (x[0], w, 1.5), x)

    after = through((Canonicalize(), Hoist(), Canonicalize(again=True)), traced(run, W, X), W, X)
    node = only(after, "scan")
    assert node.attributes["carries"] == 1
    assert ops(node.attributes["body"])["dot_general"] == 1
    assert ops(after)["dot_general"] == 2


def test_a_sum_that_is_read_in_between_stays() -> None:
    def run(w: Any, x: Any) -> Any:
        def step(total: Any, v: Any) -> Any:
            return total + gc.sin(v)[:, None] @ v[None, :], total.sum()

        return gc.scan(step, w, x)

    after = through((Canonicalize(), Hoist()), traced(run, W, X), W, X)
    assert only(after, "scan").attributes["carries"] == 1


def test_a_training_step_of_a_recurrence_has_one_product_a_step() -> None:
    def loss(w: Any, u: Any, x: Any) -> Any:
        return (gc.scan(lambda h, v: (gc.tanh(h @ w + v @ u), None), x[0], x)[0] ** 2).sum()

    x = RNG.normal(size=(6, 4, 3))
    after = through(pipeline("cpu").passes, traced(gc.grad(loss, (0, 1)), W, W, x), W, W, x)
    bodies = [node.attributes["body"] for node in after.nodes() if node.op.name == "scan"]
    assert [ops(body)["dot_general"] for body in bodies] == [1, 1]


def test_every_pass_goes_into_regions() -> None:
    def run(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            return gc.cond(c.sum() > 0, lambda: gc.exp(c) + gc.exp(c) * 1.0, lambda: gc.exp(c) + 0 * c)

        return gc.fori_loop(0, 3, body, x)

    after = through(pipeline("cpu").passes, traced(run, X), X)
    (branches,) = [n.attributes["branches"] for n in only(after, "scan").attributes["body"].nodes() if n.op.name == "cond"]
    assert [ops(branch) for branch in branches] == [Counter(exp=1, add=1, mul=1), Counter(exp=1, add=1)]


def test_graphs_without_control_flow_are_not_touched() -> None:
    graph = traced(lambda x: gc.exp(x) + x, X)
    for each in (MergeRegions(), SimplifyRegions(), Hoist()):
        assert not each.applies(graph) and each.run(graph) is graph
    assert not Canonicalize(again=True).applies(graph)
    within = traced(lambda x: gc.fori_loop(0, 3, lambda i, c: c * 2, x), X)
    assert all(each.applies(within) for each in (MergeRegions(), SimplifyRegions(), Hoist(), Canonicalize(again=True)))
