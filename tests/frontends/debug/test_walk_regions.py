"""Stepping into branches and loop bodies: f.step().into(), out() and until(inside=True)."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, OutOfBoundsError


@gc.jit
def _mixed(x, limit):
    def body(c, v):
        c = gc.tanh(c + v)
        if c.sum() > 1.0:
            c = c * 0.5
        return c, c.sum()

    c, sums = gc.scan(body, gc.zeros(2), x)
    while c.sum() < limit:
        c = c + 1.0
    c = gc.switch(gc.astype(limit, "int32") - 4, [gc.sin, gc.cos, gc.exp], c)
    return c, sums


X = np.arange(6, dtype=np.float32).reshape(3, 2)


def _equal(results, expected):
    return all(np.allclose(one, other.numpy()) for one, other in zip(results, expected, strict=True))


def test_without_into_each_op_is_one_step():
    walk = _mixed.step(X, 5.0)
    steps = list(walk)
    assert not any(step.within for step in steps)
    assert [s.op for s in steps if s.op in ("scan", "while_loop", "cond")] == ["scan", "while_loop", "cond"]
    assert _equal(walk.results, _mixed(X, 5.0))


def test_into_a_scan_goes_through_its_iterations_and_comes_out_with_its_results():
    walk = _mixed.step(X, 5.0)
    first = walk.into("scan")
    assert (first.op, first.iteration) == ("add", 0)
    assert first.operands[1].tolist() == X[0].tolist()
    seen, step = [first.iteration], first
    while step.op != "scan":
        step = next(walk)
        seen.append(step.iteration)
    assert [n for i, n in enumerate(seen) if i == 0 or n != seen[i - 1]] == [0, 1, 2, None]
    assert step.within == ()
    expected = _mixed(X, 5.0)[1].numpy()
    assert np.allclose(step.results[1], expected)
    for _ in walk:
        pass
    assert _equal(walk.results, _mixed(X, 5.0))


def test_only_the_branch_taken_is_gone_into():
    walk = _mixed.step(X, 5.0)
    walk.into("scan")
    walk.until(lambda step: step.iteration == 1)
    step = walk.into("cond")
    assert str(step).splitlines()[0] == "in the body of scan, iteration 1, the true branch of cond:"
    assert "c = c * 0.5" in str(step)
    assert [place.op.name for place in step.within] == ["scan", "cond"]
    out = walk.out()
    assert (out.op, out.iteration) == ("cond", 1)
    assert np.allclose(out.results[0], np.tanh(np.tanh(X[0]) + X[1]) * 0.5)
    assert walk.out().op == "scan"


def test_a_branch_in_which_nothing_is_computed_is_its_own_step():
    walk = _mixed.step(X, 5.0)
    walk.into("scan")
    assert walk.into("cond").op == "cond"  # iteration 0: the sum is small, c stays as it is


def test_into_a_loop_and_a_switch():
    walk = _mixed.step(X, 5.0)
    step = walk.into("while_loop")
    counts = {step.iteration}
    while (step := next(walk)).op != "while_loop":
        counts.add(step.iteration)
    assert counts == {0, 1, 2}
    step = walk.into()
    assert step.op == "cos"
    assert str(step).startswith("in branch 1 of cond:\n")
    assert walk.out().op == "cond"
    with pytest.raises(ArgumentError, match="has no op with a branch or body after this one"):
        walk.into()


def test_until_looks_inside_where_asked():
    assert _mixed.step(X, 5.0).until("tanh", inside=True).iteration == 0
    step = _mixed.step(X, 5.0).until(lambda s: s.op == "tanh" and bool((s.results[0] > 0.9).all()), inside=True)
    assert step.iteration == 1
    with pytest.raises(ArgumentError, match="has no step 'tanh' after this one"):
        _mixed.step(X, 5.0).until("tanh")
    with pytest.raises(ArgumentError, match="has no op 'while' with a branch or body"):
        _mixed.step(X, 5.0).into("while")


def test_after_until_inside_the_walk_steps_over_again():
    walk = _mixed.step(X, 5.0)
    walk.until("tanh", inside=True)
    rest = list(walk)
    assert max(len(step.within) for step in rest) == 1
    assert _equal(walk.results, _mixed(X, 5.0))


def test_out_needs_something_to_come_out_of():
    walk = _mixed.step(X, 5.0)
    next(walk)
    with pytest.raises(ArgumentError, match="is not inside of an op"):
        walk.out()


def test_the_condition_of_a_loop_a_reverse_scan_and_symbolic_sizes():
    @gc.jit(dynamic=True)
    def f(x):
        n = gc.while_loop(lambda n: n * 2 < 10, lambda n: n * 2, gc.tensor(1))
        c, _ = gc.scan(lambda c, v: (c + v, c), gc.tensor(0.0), x, reverse=True)
        return n, c

    x = gc.tensor([1.0, 2.0, 3.0])
    walk = f.step(x)
    assert str(walk.into("while_loop")).startswith("in the condition of while_loop, iteration 0:")
    assert walk.until(lambda s: s.iteration == 2 and s.op == "mul").operands[0].tolist() == 4
    step = walk.into("scan")
    assert str(step).startswith("in the body for slice 2 of scan, iteration 0:")
    assert step.operands[1].tolist() == 3.0
    list(walk)
    assert _equal(walk.results, f(x))


def test_gradients_and_what_loops_call_are_stepped_through():
    @gc.jit
    def inner(x):
        return gc.exp(x)

    @gc.jit
    def f(x):
        c, _ = gc.scan(lambda c, v: (inner(c) * v, None), x, gc.tensor([0.5, 0.25]))
        return gc.grad(lambda y: gc.fori_loop(0, 2, lambda _, c: gc.sin(c), y))(c)

    x = gc.tensor(0.3)
    walk = f.step(x)
    steps = [walk.until(lambda _: True, inside=True)]
    try:
        while True:
            steps.append(walk.until(lambda _: True, inside=True))
    except ArgumentError:
        pass
    assert [s.op for s in steps if s.op == "exp"] == ["exp", "exp"]
    assert any(s.within and s.location.is_gradient for s in steps)
    assert _equal(walk.results, [f(x)])


def test_what_fails_inside_has_its_line_and_effects_run_once(capsys):
    @gc.jit
    def f(table):
        def body(i, c):
            gc.print("at", i)
            return c + gc.take(table, i * 2, axis=0)

        return gc.fori_loop(0, 3, body, gc.tensor(0.0))

    walk = f.step(gc.tensor([1.0, 2.0, 3.0]))
    walk.into()
    with pytest.raises(OutOfBoundsError) as caught:
        list(walk)
    assert "gc.take(table, i * 2" in caught.value.location.source_line
    assert capsys.readouterr().out.split() == ["at", "0", "at", "1", "at", "2"]
