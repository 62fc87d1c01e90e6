"""Transforms of control flow: batches whose examples go different ways, tangents of loops without an end, random draws."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckError, GradientError, InPlaceError
from graphc.frontends.dispatch import bind_all
from tests.frontends.transforms.modes import MODES, Function, array, close


@pytest.fixture(params=["eager", "jit"])
def run(request: pytest.FixtureRequest) -> Iterator[Function]:
    yield MODES[request.param]


def by_loop(function: Function, *arrays: np.ndarray) -> np.ndarray:
    """``function`` on each example by itself."""
    return np.stack([np.asarray(function(*[gc.tensor(a[i]) for a in arrays])) for i in range(len(arrays[0]))])


# Prints


def shown(x: Any) -> Any:
    gc.print(x)
    return x * 2


def printed(capsys: pytest.CaptureFixture[str]) -> list[float]:
    return [float(line) for line in capsys.readouterr().out.split()]


def test_only_examples_that_take_a_branch_print(run: Function, capsys: pytest.CaptureFixture[str]) -> None:
    function = gc.vmap(lambda x: gc.cond(x > 0, lambda: shown(x), lambda: -x))
    np.testing.assert_array_equal(run(function, np.array([0.5, -2.0, 3.0])), [1.0, 2.0, 6.0])
    assert printed(capsys) == [0.5, 3.0]


def test_an_example_that_is_done_prints_no_more(run: Function, capsys: pytest.CaptureFixture[str]) -> None:
    function = gc.vmap(lambda x: gc.while_loop(lambda c: c < 4, shown, x))
    np.testing.assert_array_equal(run(function, np.array([3.0, 5.0, 1.0])), [6.0, 5.0, 4.0])
    assert printed(capsys) == [3.0, 1.0, 2.0]


def test_a_callback_of_each_example_in_a_branch(run: Function) -> None:
    calls: list[float] = []

    def double(x: np.ndarray) -> np.ndarray:
        calls.append(float(x))
        return x * 2

    def called(x: Any) -> Any:
        return gc.callback(double, gc.spec("f64[]"), x)

    function = gc.vmap(lambda x, k: gc.switch(k, [lambda: x, lambda: called(x), lambda: called(x + 1)]))
    got = run(function, np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 0, 2, 1]))
    np.testing.assert_array_equal(got, [2.0, 2.0, 8.0, 8.0])
    assert calls == [1.0, 4.0, 4.0]


@pytest.mark.parametrize("body", [
    lambda x: gc.cond(x > 0, lambda: shown(x) * x, lambda: x),
    lambda x: gc.fori_loop(0, 1, lambda i, c: shown(c) * c, x),
    lambda x: gc.cond(x > 0, lambda: gc.fori_loop(0, 1, lambda i, c: shown(c) * c, x), lambda: x),
], ids=["cond", "loop", "loop in a cond"])  # fmt: skip
@pytest.mark.parametrize("wrap", [
    gc.jit, gc.grad, lambda f: gc.jit(gc.grad(f)), lambda f: gc.grad(gc.jit(f)), lambda f: gc.jit(gc.grad(gc.jit(f))),
], ids=["jit", "grad", "jit of grad", "grad of jit", "both"])  # fmt: skip
def test_a_gradient_prints_no_more_than_its_function(body: Any, wrap: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert float(wrap(body)(gc.tensor(3.0))) == (18.0 if wrap is gc.jit else 12.0)
    assert printed(capsys) == [3.0]


# Branches


def piecewise(x: Any) -> Any:
    return gc.cond(x.sum() > 0, lambda v: gc.log(v.sum()) * v, lambda v: v * v, x)


def test_branches_that_differ(run: Function) -> None:
    x = array(6, 3, dtype=np.float64)
    close(run(gc.vmap(piecewise), x), by_loop(piecewise, x), 1e-12)
    for order in (lambda f: gc.vmap(gc.grad(f)), lambda f: gc.grad(lambda v: gc.vmap(f)(v).sum())):
        got = run(order(lambda v: piecewise(v).sum()), x)
        close(got, by_loop(gc.grad(lambda v: piecewise(v).sum()), x), 1e-10)  # no NaN from the log that was not taken


def test_all_or_none_take_a_branch(run: Function) -> None:
    for x in (np.abs(array(4, 3)), -np.abs(array(4, 3))):
        close(run(gc.vmap(piecewise), x), by_loop(piecewise, x))
    assert gc.vmap(piecewise)(gc.zeros((0, 3))).shape == (0, 3)


def test_a_shared_predicate_stays_one_branch() -> None:
    graph = gc.jit(gc.vmap(lambda x, p: gc.cond(p, gc.sin, gc.cos, x), in_axes=(0, None))).graph(
        gc.spec("f32[n, 2]"), gc.spec("bool[]")
    )
    assert [n.op.name for n in graph.nodes() if n.op.name in ("cond", "select")] == ["cond"]


def test_switch(run: Function) -> None:
    def function(index: Any, x: Any) -> Any:
        return gc.switch(gc.astype(index, gc.int64), [lambda v: v, lambda v: v * 10, gc.exp], x)

    index, x = np.float32([-3, 0, 1, 2, 7]), array(5, 2)
    close(run(gc.vmap(function), index, x), by_loop(function, index, x))


def test_what_a_branch_checks_counts_for_those_that_take_it(run: Function) -> None:
    def checked(x: Any) -> Any:
        bind_all("check", x < 10, message="too large")
        return x

    def guarded(x: Any) -> Any:
        return gc.cond(x > 0, checked, lambda v: v * 2, x)

    def looked_up(i: Any) -> Any:
        index = gc.astype(i, gc.int64)
        return gc.cond(index < 3, lambda j: gc.take(gc.arange(3), j, axis=0), lambda j: j, index)

    close(run(gc.vmap(guarded), np.float32([1, -20, 3])), [1, -40, 3])
    with pytest.raises(CheckError, match="too large"):
        run(gc.vmap(guarded), np.float32([1, -20, 30]))
    np.testing.assert_array_equal(np.asarray(run(gc.vmap(looked_up), np.float32([2, 99, 0]))), [2, 99, 0])


# Loops


def collatz(n: Any) -> Any:
    start = (gc.astype(n, gc.int64), 0)
    step = lambda c: (gc.where(c[0] % 2 == 0, c[0] // 2, 3 * c[0] + 1), c[1] + 1)  # noqa: E731
    return gc.while_loop(lambda c: c[0] > 1, step, start)[1]


def test_each_example_stops_when_it_is_done(run: Function) -> None:
    n = np.float32([1, 2, 7, 27, 0, 6])
    np.testing.assert_array_equal(np.asarray(run(gc.vmap(collatz), n)), [0, 1, 16, 111, 0, 8])


def test_an_example_that_is_done_reads_nothing_out_of_bounds(run: Function) -> None:
    def first_zero(row: Any) -> Any:
        return gc.while_loop(lambda i: gc.take(row, i, axis=0) != 0, lambda i: i + 1, 0)

    rows = np.float32([[1, 1, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0]])
    np.testing.assert_array_equal(np.asarray(run(gc.vmap(first_zero), rows)), [2, 0, 3])

    def total(row: Any, n: Any) -> Any:
        count = gc.astype(n, gc.int64)
        step = lambda c: (c[0] + 1, c[1] + gc.take(row, count - 1 - c[0], axis=0))  # noqa: E731
        return gc.while_loop(lambda c: c[0] < count, step, (0, gc.zeros(())))[1]

    n = np.float32([4, 0, 2])
    close(run(gc.vmap(total), rows, n), [3, 0, 2])


def root(a: Any) -> Any:
    """Newton's method for √a, until it is there."""
    return gc.while_loop(lambda x: gc.abs(x * x - a) > 1e-12 * a, lambda x: (x + a / x) / 2, a)


def test_tangents_through_loops_of_any_length(run: Function) -> None:
    a = np.array([4.0, 2.0, 900.0])
    tangents = gc.vmap(lambda v: gc.jvp(root, (v,), (gc.ones_like(v),))[1])
    close(run(tangents, a), 0.5 / np.sqrt(a), 1e-9)
    close(run(lambda v: gc.jvp(gc.vmap(root), (v,), (gc.ones_like(v),))[1], a), 0.5 / np.sqrt(a), 1e-9)
    close(run(gc.vmap(gc.jacfwd(root)), a), 0.5 / np.sqrt(a), 1e-9)
    with pytest.raises(GradientError, match="no reverse-mode gradient"):
        gc.jit(gc.grad(root))(2.0)


def test_gradients_of_loops_with_a_bound(run: Function) -> None:
    def power(x: Any, n: Any) -> Any:
        step = lambda c: (c[0] + 1, c[1] * x)  # noqa: E731
        return gc.while_loop(lambda c: c[0] < n, step, (gc.zeros((), dtype=gc.float64), x * 0 + 1), max_steps=6)[1]

    x, n = np.array([2.0, 3.0, 0.5]), np.array([3.0, 0.0, 5.0])
    want = np.where(n == 0, 0, n * x ** np.maximum(n - 1, 0))
    close(run(gc.vmap(gc.grad(power)), x, n), want, 1e-12)
    close(run(gc.grad(lambda v, m: gc.vmap(power)(v, m).sum()), x, n), want, 1e-12)


# Scans


def recurrent(w: Any, xs: Any) -> Any:
    final, outputs = gc.scan(lambda h, x: (gc.tanh(w @ h + x), h * x), gc.zeros_like(xs[0]), xs)
    return (final * outputs.sum(axis=0)).sum()


def test_a_recurrent_network(run: Function) -> None:
    w, xs = array(3, 3, dtype=np.float64), array(4, 5, 3, seed=1, dtype=np.float64)
    close(run(gc.vmap(recurrent, in_axes=(None, 0)), w, xs), [recurrent(gc.tensor(w), gc.tensor(x)).item() for x in xs], 1e-12)
    each = run(gc.vmap(gc.grad(recurrent), in_axes=(None, 0)), w, xs)
    for got, x in zip(each, xs, strict=True):
        close(got, gc.grad(recurrent)(gc.tensor(w), gc.tensor(x)), 1e-12)
    whole = run(gc.grad(lambda w, xs: gc.vmap(recurrent, in_axes=(None, 0))(w, xs).sum()), w, xs)
    close(whole, np.asarray(each).sum(axis=0), 1e-12)


def test_a_recurrent_networks_tangents_and_second_derivatives(run: Function) -> None:
    w, xs, dw = array(2, 2, dtype=np.float64), array(3, 2, seed=1, dtype=np.float64), array(2, 2, seed=2, dtype=np.float64)
    step = 1e-6
    above, below = (recurrent(gc.tensor(w + s * dw), gc.tensor(xs)).item() for s in (step, -step))
    tangent = run(lambda w, xs, dw: gc.jvp(lambda v: recurrent(v, xs), (w,), (dw,))[1], w, xs, dw)
    close(tangent, (above - below) / (2 * step), 1e-7)
    above, below = (gc.grad(recurrent)(gc.tensor(w + s * dw), gc.tensor(xs)).numpy() for s in (step, -step))
    product = run(lambda w, xs, dw: gc.hvp(lambda v: recurrent(v, xs), (w,), (dw,))[0], w, xs, dw)
    close(product, (above - below) / (2 * step), 1e-6)


def test_the_scan_stays_one_scan() -> None:
    graph = gc.jit(gc.vmap(recurrent, in_axes=(None, 0))).graph(gc.spec("f32[3, 3]"), gc.spec("f32[n, t, 3]"))
    scans = [n for n in graph.nodes() if n.op.name == "scan"]
    assert len(scans) == 1
    assert [str(t) for t in scans[0].types] == ["f32[n, 3]", "f32[t, n, 3]"]


# Random draws


def test_draws_within_a_scan_differ_between_examples_and_steps(run: Function) -> None:
    def walk(x: Any) -> Any:
        return gc.scan(lambda c, _: (c + gc.random.normal(()), c), x, length=4)[1]

    gc.random.manual_seed(5)
    steps = np.diff(np.asarray(run(gc.vmap(walk), np.zeros(3, np.float32))), axis=1)
    assert len(np.unique(steps)) == 9
    before = gc.random.get_state()[1].item()
    run(gc.vmap(walk), np.zeros(3, np.float32))
    assert gc.random.get_state()[1].item() == before + 12


def test_draws_that_only_some_examples_make_need_generators_of_their_own() -> None:
    with pytest.raises(InPlaceError, match="all examples share is written in place"):
        gc.vmap(lambda x: gc.cond(x > 0, lambda v: v + gc.random.uniform(()), lambda v: v, x))(gc.tensor([1.0, -1.0]))
