"""while_loop and fori_loop: values, gradients, writes and errors, in every mode."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, CheckError, DTypeError, GradientError, ShapeError, TraceError
from tests.frontends.control.modes import agree

X = np.array([1.0, -2.0, 3.0], np.float32)


def test_steps_go_on_while_the_condition_holds() -> None:
    x, n = agree(lambda x: gc.while_loop(lambda c: c[0].max() < 50, lambda c: (c[0] * 2, c[1] + 1), (x, 0)), X)
    np.testing.assert_array_equal(x, X * 32)
    assert n == 5 and n.dtype == np.int64


def test_no_step_at_all() -> None:
    x, total = agree(lambda x: gc.while_loop(lambda c: c[0].sum() > 99, lambda c: (c[0] * 2, c[1] + c[0][0]), (x, 0)), X)
    np.testing.assert_array_equal(x, X)
    assert total == 0 and total.dtype == np.float32, "the dtype that the body would have given"


@pytest.mark.parametrize("count", [0, 1, 6])
def test_fori_loop_with_bounds_known_or_not(count: int) -> None:
    want = X + sum(range(2, count))
    (got,) = agree(lambda x: gc.fori_loop(2, count, lambda i, c: c + i, x), X)
    np.testing.assert_array_equal(got, want)
    (got,) = agree(lambda x, n: gc.fori_loop(2, n, lambda i, c: c + i, x), X, np.asarray(count))
    np.testing.assert_array_equal(got, want)


def test_a_python_int_as_bound_does_not_retrace() -> None:
    f = gc.jit(lambda x, n: gc.fori_loop(0, n, lambda i, c: c * 2, x))
    for n in range(5):
        np.testing.assert_array_equal(f(gc.tensor(X), n).numpy(), X * 2**n)
    assert f.trace_count == 1


def test_a_bounded_loop_has_gradients() -> None:
    def loss(x: Any, w: Any) -> Any:
        return gc.while_loop(lambda c: c.sum() < 100, lambda c: c * w + x, x, max_steps=12).sum()

    x, w = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 1.0])
    gradients = agree(gc.grad(loss, (0, 1)), x, w, tolerance=1e-9)
    for place, gradient in enumerate(gradients):
        for i in range(3):
            step = np.eye(3)[i] * 1e-6
            low, high = ([a + sign * step * (p == place) for p, a in enumerate((x, w))] for sign in (-1, 1))
            want = (loss(*map(gc.tensor, high)).item() - loss(*map(gc.tensor, low)).item()) / 2e-6
            np.testing.assert_allclose(gradient[i], want, rtol=1e-5)
    agree(gc.grad(lambda x: gc.grad(loss)(x, w).sum()), x, tolerance=1e-8)


def test_a_loop_that_goes_on_after_max_steps_fails() -> None:
    def endless(x: Any) -> Any:
        return gc.while_loop(lambda c: c[0] > 0, lambda c: c + 1, x, max_steps=7)

    for run in (endless, gc.jit(endless)):
        with pytest.raises(CheckError, match="still holds after max_steps=7 steps"):
            run(gc.tensor(X))


def test_a_gradient_without_max_steps_is_an_error_at_the_users_line() -> None:
    def loop(x: Any) -> Any:
        return gc.while_loop(lambda c: c.sum() < 9, lambda c: c * 2, x).sum()

    with pytest.raises(GradientError, match="any number of steps has no reverse-mode gradient") as caught:
        gc.jit(gc.grad(loop))(gc.tensor(X))
    assert caught.value.location.line == loop.__code__.co_firstlineno + 1
    assert "max_steps=100" in str(caught.value)
    np.testing.assert_array_equal(gc.grad(loop)(gc.tensor(X)).numpy(), [8, 8, 8])  # eagerly the steps are known


def test_bodies_write_to_memory_around_them() -> None:
    def update(x: Any) -> Any:
        y = x * 1
        last = y[2]

        def body(i: Any, c: Any) -> Any:
            y[i] = y[i] * 2 + c
            return c + y[0]

        c = gc.fori_loop(0, 3, body, 0.0)
        return y, last, c

    y, last, c = agree(update, X)
    np.testing.assert_array_equal(y, [2, -2, 10])
    assert last == 10 and c == 6

    (gradient,) = agree(gc.grad(lambda x: update(x)[2] * update(x)[0].sum()), X)
    assert np.all(np.isfinite(gradient))


def test_random_draws_differ_from_step_to_step() -> None:
    def walk(x: Any) -> Any:
        return gc.fori_loop(0, 5, lambda i, c: c + gc.random.normal((3,)), x)

    gc.random.seed(3)
    want = walk(gc.tensor(X)).numpy()
    gc.random.seed(3)
    np.testing.assert_array_equal(gc.jit(walk)(gc.tensor(X)).numpy(), want)
    after = gc.random.normal((2,)).numpy()
    gc.random.seed(3)
    walk(gc.tensor(X))
    np.testing.assert_array_equal(gc.random.normal((2,)).numpy(), after)


def test_the_first_carry_is_not_written() -> None:
    def loop(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            c[0] = 7.0
            return c

        return gc.fori_loop(0, 2, body, x), x

    result, x = agree(loop, X)
    np.testing.assert_array_equal(x, X)
    assert result[0] == 7


def test_loops_in_loops_and_branches() -> None:
    def nested(x: Any) -> Any:
        def outer(i: Any, c: Any) -> Any:
            return gc.cond(i % 2 == 0, lambda: gc.fori_loop(0, 3, lambda j, d: d + j * x, c), lambda: c * 0.5)

        return gc.fori_loop(0, 4, outer, x).sum()

    agree(nested, X)
    agree(gc.grad(nested), X)


def test_symbolic_sizes() -> None:
    graph = gc.jit(lambda x: gc.fori_loop(0, 3, lambda i, c: c * 2 + x, x)).graph(gc.spec("f32[n]"))
    run = gc.compile_graph(graph)
    for size in (1, 4, 0):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(run(x)[0], 15 * x)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            lambda x: gc.while_loop(lambda c: c["h"].sum() < 3, lambda c: {"h": c["h"][:1]}, {"h": x}), ShapeError,
            r"carry\['h'\] has type f32\[3\] before the first step, and f32\[1\] after it",
        ),
        (
            lambda x: gc.fori_loop(0, 3, lambda i, c: c.astype(gc.float64), x), DTypeError,
            r"scan: carry has type f32\[3\] before the first step, and f64\[3\] after it",
        ),
        (lambda x: gc.while_loop(lambda c: True, lambda c: c[0], (x, x)), ArgumentError, r"the first carry has \(\*, \*\)"),
        (lambda x: gc.while_loop(lambda c: c < 3, lambda c: c, x), ShapeError, r"the condition gives bool\[3\]"),
        (lambda x: gc.while_loop(lambda c: c[0], lambda c: c, x), DTypeError, r"the condition gives f32\[\]"),
        (lambda x: gc.while_loop(lambda c: False, lambda c: c, x, max_steps=-1), ArgumentError, "max_steps is -1"),
        (lambda x: gc.fori_loop(0.5, 3, lambda i, c: c, x), DTypeError, "a bound must be an integer scalar"),
        (
            lambda x: gc.while_loop(lambda c: gc.random.uniform(()) < 0.5, lambda c: c, x), TraceError,
            "the condition writes to memory, draws random numbers",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_leaf_the_types_and_the_line(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        gc.jit(function)(gc.tensor(X))
    assert caught.value.location.filename == __file__  # type: ignore[attr-defined]
    assert caught.value.location.line == function.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_a_python_float_in_a_loop_is_a_float64_that_yields_to_arrays() -> None:
    x = np.array([1.0, 2.0])

    def growth(x: Any) -> Any:
        rate, y = gc.fori_loop(0, 40, lambda i, c: (c[0] * 1.1, c[1] + c[0] * x), (0.1, x * 0))
        return rate, y

    want_rate, want = 0.1, np.zeros(2)
    for _ in range(40):
        want, want_rate = want + want_rate * x, want_rate * 1.1
    rate, y = agree(growth, x)
    np.testing.assert_allclose(y, want, rtol=1e-15)  # not what float32 makes of it
    assert rate.dtype == np.float32 and y.dtype == np.float64
    rate, y = agree(growth, x.astype(np.float32))
    assert rate.dtype == y.dtype == np.float32

    def converted(x: Any) -> Any:
        t = 0.1
        for _ in range(40):
            t = t * 1.1 + 0.1
        return t * x

    np.testing.assert_allclose(gc.jit(converted)(gc.tensor(x)).numpy(), converted(x), rtol=1e-15)
    assert gc.jit(converted)(gc.ones(2)).dtype is gc.float32
