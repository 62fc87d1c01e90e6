"""Sizes that vary: one trace serves them, guards say for which, and everything that a traced function does works with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GraphcError, InPlaceError, LeakedTracerError, ShapeError, SizeDivisionError
from graphc.frontends.tracing import jit as jit_module
from graphc.ops.core import evaluate_graph

BATCHES = [7, 0, 1, *range(2, 50)]


def random(*shape: int, seed: int = 0) -> gc.Tensor:
    return gc.tensor(np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32))


def same(actual: Any, expected: Any) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def agree(function: Callable[..., Any], *calls: tuple[Any, ...], traces: int, **options: Any) -> Any:
    """``function``, jitted, gives what it gives eagerly in each of ``calls``, with so many traces."""
    jitted = gc.jit(function, **options)
    for call in calls:
        same(jitted(*call), function(*call))
    assert jitted.trace_count == traces, jitted.explain()
    return jitted


# Batch sizes


def network(x: Any, w: Any, b: Any) -> Any:
    return gc.softmax(gc.relu(x @ w + b), -1)


def test_fifty_batch_sizes_and_0_and_1_take_two_traces() -> None:
    w, b = random(3, 4), random(4)
    agree(network, *[(random(n, 3), w, b) for n in BATCHES], traces=2)


def test_losses_with_means_over_a_varying_batch() -> None:
    targets = {n: gc.tensor(np.arange(n) % 4) for n in BATCHES}
    calls = [(random(n, 4), targets[n]) for n in BATCHES if n]
    agree(gc.cross_entropy, *calls, traces=2)
    agree(lambda x, t: gc.mse_loss(x, x * 2) + x.var(0).mean(), *calls[1:], traces=2)


def test_a_thousand_learning_rates_take_one_trace() -> None:
    @gc.jit
    def step(x: Any, rate: float) -> Any:
        return x - rate * x.mean()

    x = gc.tensor([1.0, 3.0])
    for rate in np.linspace(0.0, 1.0, 1000).tolist():
        np.testing.assert_allclose(step(x, rate).numpy(), [1 - 2 * rate, 3 - 2 * rate], rtol=1e-5, atol=1e-6)
    assert step.trace_count == 1


def test_what_ten_thousand_shapes_leave_behind_is_bounded() -> None:
    f = gc.jit(lambda x: x * 2)
    for n in range(100):
        for m in range(100):
            f(np.empty((n, m), np.float32))
    assert f.trace_count <= 3
    (family,) = f._families.values()
    for program in family.programs:
        executable = program.executable()
        assert len(executable._frames) <= 64
        assert executable.known_runs.keys() == {shapes for shapes, _ in executable._frames}
        assert len(program._fitting) <= 256


def test_many_axes_generalize_one_after_the_other() -> None:
    agree(
        lambda x: x.sum(1) * x.shape[2],
        (random(2, 3, 4),), (random(5, 3, 4),), (random(5, 6, 4),), (random(5, 6, 7),), (random(1, 0, 9),),
        traces=4,
    )  # fmt: skip


def test_static_shapes_opt_out() -> None:
    f = agree(lambda x: x + 1, (random(2),), (random(3),), (random(4),), (random(2),), traces=3, static_shapes=True)
    assert all(trace.inputs[0][1].startswith("f32[") and trace.note == "static_shapes=True" for trace in f.explain().traces)


# Guards


def test_sizes_that_met_must_meet_again() -> None:
    f = agree(
        lambda x, y: x + y,
        (random(3), random(3, seed=1)), (random(4), random(4, seed=1)), (random(1), random(1, seed=1)),
        (random(0), random(0, seed=1)), traces=2,
    )  # fmt: skip
    same(f(random(5), random(1)), random(5) + random(1))
    same(f(random(6), random(1)), random(6) + random(1))
    same(f(random(1), random(6)), random(1) + random(6))
    assert f.trace_count == 4
    with pytest.raises(ShapeError, match=r"shapes \(3,\) and \(4,\) do not broadcast"):
        f(random(3), random(4))


def test_a_fixed_size_that_a_varying_one_meets() -> None:
    agree(
        lambda x: x * gc.arange(3),
        (random(3),), (random(1),), (random(3, seed=4),), (random(1, seed=5),), traces=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("compare", "holding", "violating"),
    [
        (lambda n: n == 3, [3], [4, 0]),
        (lambda n: n != 3, [4, 0, 1, 7], [3]),
        (lambda n: n < 3, [2, 0, 1], [3, 9]),
        (lambda n: n <= 3, [3, 0], [4]),
        (lambda n: n > 3, [4, 100], [3, 0]),
        (lambda n: n >= 3, [3, 5], [2]),
        (lambda n: n > 2.5, [3, 5], [2]),
        (lambda n: n <= 2.5, [2, 0], [3]),
        (lambda n: 2 * n + 1 == 7, [3], [4]),
        (lambda n: n % 2 == 0, [4, 0, 2], [3, 1]),
        (lambda n: n // 2 > 1, [4, 5], [3]),
        (bool, [4, 1], [0]),
        (lambda n: n == 2.5, [3, 4, 2], []),
        (lambda n: n < float("inf"), [3, 0], []),
        (lambda n: min(n, 4) == 4, [5, 9], [3]),
        (lambda n: n in (3, 4), [4], [5]),
        (lambda n: abs(n - 5) < 2, [6, 5], [9, 4]),
        (lambda n: divmod(n, 4) == (1, 2), [6], [7]),
    ],
)
def test_comparisons_are_decided_by_the_example_and_guarded(
    compare: Callable[[Any], Any], holding: list[int], violating: list[int]
) -> None:
    f = gc.jit(lambda x: x + 1 if compare(x.shape[0]) else x - 1, dynamic=True)
    for n in holding:
        same(f(random(n)), random(n) + 1 if compare(n) else random(n) - 1)
    assert f.trace_count == 1
    for n in violating:
        same(f(random(n)), random(n) + 1 if compare(n) else random(n) - 1)
    assert f.trace_count > 1 or not violating


def test_shapes_are_compared_as_tuples() -> None:
    f = gc.jit(lambda x, y: x + 1 if x.shape == y.shape else x.sum() + y.sum(), dynamic=True)
    for n, m in ((3, 3), (5, 5)):
        same(f(random(n), random(m, seed=2)), random(n) + 1)
    assert f.trace_count == 1
    for n, m in ((3, 4), (5, 6)):
        same(f(random(n), random(m)), random(n).sum() + random(m).sum())
    assert f.trace_count == 2


def test_guards_that_say_less_than_others_are_dropped() -> None:
    f = gc.jit(lambda x: x[1:] if x.shape[0] > 0 and x.shape[0] > 3 and x.shape[0] > 1 else x, dynamic=True)
    f(random(6))
    assert [guard.condition for guard in f.explain().traces[0].guards] == ["3 < x.shape[0]"]


def test_what_is_known_already_is_no_guard() -> None:
    f = gc.jit(lambda x: x if x.shape[0] >= 0 and x.shape[0] + 1 > x.shape[0] else -x, dynamic=True)
    f(random(3))
    assert f.explain().traces[0].guards == ()


# x.shape[0] as an integer


def test_arithmetic_on_sizes() -> None:
    agree(
        lambda x: gc.zeros((2 * x.shape[0] + 1, x.shape[1] // 2, x.shape[0] % 3 + 1)) + x.shape[0] - x.shape[1],
        *[(random(n, m),) for n, m in ((2, 4), (3, 6), (5, 7), (0, 0))],
        traces=2,
    )


def test_sizes_as_numbers() -> None:
    calls = [(random(n),) for n in (4, 5, 9, 1)]
    agree(lambda x: x / x.shape[0] + 1 / x.shape[0] + x.shape[0] / 2, *calls, traces=2)
    agree(lambda x: x * x.shape[0] ** 0.5 + x.shape[0] ** 2 + 0.5 * x.shape[0] - (-x.shape[0]), *calls, traces=2)
    agree(lambda x: gc.full((2,), x.shape[0]) + gc.asarray(x.size), *calls, traces=2)


def test_a_size_is_an_int_in_promotion() -> None:
    f = gc.jit(lambda x: x * x.shape[0], dynamic=True)
    for dtype in ("int8", "float16", "float64"):
        assert f(gc.ones(3, dtype=dtype)).dtype.name == dtype


def test_sizes_in_reshape_slicing_and_ranges() -> None:
    calls = [(random(n, 4),) for n in (4, 6, 8, 2)]
    agree(lambda x: x.reshape(x.shape[0] * 2, -1) + x.reshape(-1, 2), *calls, traces=2)
    agree(lambda x: x[x.shape[0] // 2 :] - x[: x.shape[0] // 2], *calls, traces=2)
    agree(lambda x: x[x.shape[0] - 1] + x[-1], *calls, traces=2)
    agree(lambda x: gc.arange(x.shape[0]) * 2 + gc.arange(1, x.shape[0] + 1), *calls, traces=2)
    agree(lambda x: gc.eye(x.shape[0], 4, k=1) @ x.T + gc.eye(x.shape[0]), *calls, traces=2)
    agree(lambda x: gc.pad(x, [(0, 8 - x.shape[0]), (1, 0)]).reshape(4, -1), *calls, traces=2)
    agree(lambda x: gc.arange(x.shape[0], 0, -1) + gc.arange(0, 2 * x.shape[0], 2), *calls, traces=2)


def test_python_that_needs_the_number_guards_it() -> None:
    def total(x: Any) -> Any:
        result = x[0] * 0
        for i in range(x.shape[0]):
            result = result + [i * x[i]][0 if i < 9 else 1]  # a list, so that the steps are not one loop
        return result

    f = agree(total, *[(random(n),) for n in (3, 4, 3, 4, 5)], traces=3)
    assert [g.condition for g in f.explain().traces[-1].guards] == ["x.shape[0] == 5"]
    agree(lambda x: x * [10, 20, 30, 40][x.shape[0]], (random(2),), (random(3),), (random(1),), traces=3)
    agree(lambda x: x * float(x.shape[0]) + int(x.shape[0]) + len(x), (random(2),), (random(3),), traces=2)
    agree(lambda x: x * {2: 5, 3: 6}[x.shape[0]] + round(x.shape[0]), (random(2),), (random(3),), traces=2)


def test_sizes_and_numpy() -> None:
    calls = [(random(n, 3),) for n in (2, 4, 5)]
    agree(lambda x: x * np.prod(x.shape) + np.int64(3) * x.shape[0] - np.int32(2), *calls, traces=2)
    agree(lambda x: x if x.shape[0] > np.int64(1) else -x, *calls, traces=2)
    for needs_value in (
        lambda x: x / np.sqrt(x.shape[0]),
        lambda x: x * np.float32(x.shape[0]),
        lambda x: x.sum() * gc.asarray([x.shape[0], 1.5]),
        lambda x: x.sum() * gc.arange(0.0, x.shape[0]),
    ):
        f = agree(needs_value, *calls, traces=3)
        assert [g.condition for g in f.explain().traces[-1].guards] == ["x.shape[0] == 5"]


def test_dividing_by_a_size_that_is_0() -> None:
    with pytest.raises(ZeroDivisionError):
        gc.jit(lambda x: x + 6 // x.shape[0], dynamic=True)(random(0))
    for divide in (lambda x: x[: x.shape[0] // 0], lambda x: x[: x.shape[0] % 0]):
        with pytest.raises(SizeDivisionError, match="a size is divided by 0") as caught:
            gc.jit(divide, dynamic=True)(random(3))
        assert "x.shape[0]" in caught.value.location.source_line


def test_sizes_as_text() -> None:
    seen: list[str] = []

    @gc.jit(dynamic=True, convert=False)  # which lets a list grow
    def f(x: Any) -> Any:
        seen.append(f"{x.shape} {x.shape[0] + 1} {x.size}")
        return x

    f(random(3, 2))
    assert seen == ["(x_0, x_1) x_0+1 x_0*x_1"]


def test_a_size_that_was_kept_is_an_error() -> None:
    kept: list[Any] = []
    gc.jit(lambda x: kept.append(x.shape[0]) or x, dynamic=True)(random(3))
    with pytest.raises(LeakedTracerError, match=r"the size x\.shape\[0\] was kept"):
        assert kept[0] == 3


# Declared sizes


def test_dynamic_from_the_start() -> None:
    forms = [0, (0,), [-2], True, {0: "batch"}, gc.spec("f32[batch, 3]"), "f32[batch, 3]"]
    for dynamic in (True, *({"x": form} for form in forms)):
        agree(lambda x: x.mean(0), *[(random(n, 3),) for n in (4, 1, 0, 9)], traces=1, dynamic=dynamic)


def test_dynamic_within_containers() -> None:
    agree(
        lambda batch: batch["x"].sum(0) + batch["y"].sum(0),
        *[({"x": random(n, 2), "y": random(n + 1, 2)},) for n in (3, 4, 5)],
        traces=1,
        dynamic={"batch": 0},
    )


def test_sizes_of_one_name_are_equal() -> None:
    f = gc.jit(lambda x, y: x + y, dynamic={"x": {0: "batch"}, "y": gc.spec("f32[batch]")})
    same(f(random(3), random(3)), random(3) * 2)
    same(f(random(5), random(5)), random(5) * 2)
    assert f.trace_count == 1
    assert f.explain().traces[0].inputs == (("x", "f32[batch]"), ("y", "f32[batch]"))
    with pytest.raises(ShapeError) as caught:
        f(random(3), random(1))
    first, second = caught.value.message.splitlines()[:2]
    assert first == "y.shape[0] is 1, but x.shape[0] is 3, and both are declared to be 'batch'"
    assert second.startswith(f"  declared at {__file__}:")


def test_arrays_that_are_not_as_declared() -> None:
    f = gc.jit(lambda x: x + 1, dynamic={"x": gc.spec("f32[batch, 3]")})
    f(random(2, 3))
    with pytest.raises(ShapeError, match=r"x\.shape\[1\] is 4, but dynamic= declares x to be f32\[batch, 3\]"):
        f(random(2, 4))
    with pytest.raises(ShapeError, match=r"x has shape \(2,\), but dynamic= declares it f32\[batch, 3\]"):
        f(random(2))
    with pytest.raises(DTypeError, match="x has dtype float64, but dynamic= declares it"):
        f(np.ones((2, 3)))
    assert f.trace_count == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamic": 3}, "dynamic=3 does not say which sizes vary"),
        ({"dynamic": {"y": 0}}, "the function has no parameter 'y'"),
        ({"dynamic": {"x": 1.5}}, "1.5 does not say which sizes of x vary"),
        ({"dynamic": {"x": {0: "f32"}}}, "'f32' cannot name a size"),
        ({"dynamic": True, "static_shapes": True}, "static_shapes=True fixes all sizes"),
        ({"max_traces": 0}, "max_traces must be a positive int"),
    ],
)
def test_declarations_that_say_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        gc.jit(lambda x: x, **options)


def test_a_declared_size_that_cannot_vary_is_an_error() -> None:
    def f(x: Any) -> Any:
        if type(x.shape[0]) is not int:
            raise ValueError("wants an int")
        return x

    same(gc.jit(f)(random(3)), random(3))
    with pytest.raises(ValueError, match="wants an int"):
        gc.jit(f, dynamic=True)(random(3))


# What cannot be traced with sizes that vary


def test_a_function_that_wants_ints_keeps_fixed_sizes_and_says_so() -> None:
    def f(x: Any) -> Any:
        assert type(x.shape[0]) is int
        return x * 2

    jitted = agree(f, (random(3),), (random(4),), (random(5),), traces=3)
    notes = [trace.note for trace in jitted.explain().traces]
    assert notes[0] == ""
    assert notes[1].startswith("it cannot be traced with sizes that vary")


def test_errors_name_the_sizes_of_the_call() -> None:
    f = gc.jit(lambda x, y: x @ y)
    f(random(2, 3), random(3, 2))
    with pytest.raises(ShapeError, match=r"shapes \(4, 3\) and \(5, 2\) do not fit"):
        f(random(4, 3), random(5, 2))


def test_errors_of_a_run_name_the_line() -> None:
    f = gc.jit(lambda x: x.max(), dynamic=True)
    f(random(3))
    with pytest.raises(GraphcError) as caught:
        f(random(0))
    assert "x.max()" in caught.value.location.source_line


def test_an_index_out_of_range_is_the_error_that_it_is_eagerly() -> None:
    f = gc.jit(lambda x: x[2], dynamic=True)
    same(f(random(3)), random(3)[2])
    same(f(random(9)), random(9)[2])
    assert f.trace_count == 1
    with pytest.raises(gc.errors.OutOfBoundsError, match="index 2 is out of bounds for axis 0 with size 2"):
        f(random(2))


# State, gradients, views


def train(jit: bool, optimizer: Callable[[Any], Any]) -> tuple[list[float], list[np.ndarray], int]:
    parameters = [random(3, 8).requires_grad_(), gc.zeros(8).requires_grad_(), random(8, 4).requires_grad_()]
    updates = optimizer(parameters)

    def step(x: Any, y: Any) -> Any:
        loss = gc.cross_entropy(gc.relu(x @ parameters[0] + parameters[1]) @ parameters[2], y)
        updates.zero_grad()
        loss.backward()
        updates.step()
        return loss

    run: Any = gc.jit(step) if jit else step
    losses = [run(random(n, 3), gc.tensor(np.arange(n) % 4)).item() for n in (8, 8, 5, 1, 7, 8, 2, 13)]
    return losses, [p.detach().numpy() for p in parameters], run.trace_count if jit else 0


@pytest.mark.parametrize(
    "optimizer", [lambda p: gc.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: gc.optim.Adam(p, lr=0.01)]
)
def test_a_training_step_with_a_varying_batch(optimizer: Callable[[Any], Any]) -> None:
    losses, parameters, _ = train(False, optimizer)
    jitted_losses, jitted_parameters, traces = train(True, optimizer)
    np.testing.assert_allclose(jitted_losses, losses, rtol=1e-4)
    for actual, expected in zip(jitted_parameters, parameters, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)
    assert traces == 2


def test_backward_through_calls_of_varying_size() -> None:
    def loss(x: Any, w: Any) -> Any:
        return ((x * w).sum(1) ** 2).mean()

    jitted, w = gc.jit(loss), random(3).requires_grad_()
    for n in (4, 5, 1, 9, 2):
        (expected,) = gc.gradients_of(loss(random(n, 3), w), [w])
        (actual,) = gc.gradients_of(jitted(random(n, 3), w), [w])
        same(actual, expected)
    assert jitted.trace_count == 2


def test_gradients_of_arguments_that_vary() -> None:
    gradient = gc.grad(lambda x: (x * x).mean() * x.shape[0])
    agree(gradient, *[(random(n, 2),) for n in (3, 4, 1, 8)], traces=2)
    second = gc.grad(lambda x: gc.grad(lambda y: (y**3).sum())(x).sum())
    agree(second, *[(random(n),) for n in (3, 4, 0, 8)], traces=2)


def test_gradients_of_sizes_that_met() -> None:
    gradient = gc.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))
    jitted = gc.jit(lambda x, y: gc.concat(gradient(x, y)))
    for n in (3, 4, 1, 7):
        same(jitted(random(n), random(n, seed=3)), gc.concat([random(n, seed=3), random(n)]))
    assert jitted.trace_count == 2


def stencil(x: Any, y: Any) -> Any:
    x[1:-1] += y[2:] - y[:-2]
    x[0] = 5.0
    return x[::2]


def test_arguments_that_vary_are_written_back() -> None:
    jitted = gc.jit(stencil)
    for n in (5, 6, 9, 3, 12):
        x, expected = random(n), random(n)
        result, view = jitted(x, random(n, seed=1)), stencil(expected, random(n, seed=1))
        same(x, expected)
        same(result, view)
        result += 1  # the result is a view of the argument
        assert x.numpy()[0] == 6.0
    assert jitted.trace_count == 2
    with pytest.raises(GraphcError):
        jitted(random(0), random(0))


def test_numpy_arguments_that_vary_are_written_back() -> None:
    @gc.jit
    def double(x: Any) -> Any:
        x *= 2
        return x.sum()

    for n in (3, 4, 5, 0):
        array = np.ones(n, np.float32)
        assert double(array).item() == 2 * n
        assert (array == 2).all()
    assert double.trace_count == 2


def test_writes_through_reshapes_that_depend_on_sizes() -> None:
    def write(x: Any) -> Any:
        x.T.reshape(-1)[:] = 7.0  # a view where one axis has size 1, else a copy
        return x * 1

    jitted = gc.jit(write)
    for shape in ((2, 3), (3, 4), (1, 4), (4, 1), (1, 5), (6, 2)):
        same(jitted(random(*shape)), write(random(*shape)))


def test_writes_through_reshapes_of_sizes_that_met() -> None:
    def write(x: Any, y: Any) -> Any:
        z = x + y
        z.T.reshape(-1)[:] = 7.0
        return z

    jitted = gc.jit(write)
    for shape in ((2, 3), (3, 4), (1, 4), (5, 1), (1, 5), (6, 2)):
        same(jitted(random(*shape), random(*shape)), write(random(*shape), random(*shape)))


def test_arguments_that_are_one_object_vary() -> None:
    f = gc.jit(lambda x, y: x * y)
    for n in (3, 4, 5):
        x = random(n)
        same(f(x, x), x * x)
    assert f.trace_count == 2


def test_views_of_one_memory_keep_their_sizes() -> None:
    @gc.jit
    def f(x: Any, y: Any) -> Any:
        x += y
        return x * 2

    for n in (4, 6, 4):
        base = random(n)
        expected = base.numpy().copy()
        f(base[: n // 2], base[n // 2 :])
        expected[: n // 2] += expected[n // 2 :]
        np.testing.assert_allclose(base.numpy(), expected)
    assert f.trace_count == 2


class Cache:
    def __init__(self) -> None:
        self.rows = gc.zeros((0, 2))

    @gc.jit
    def with_row(self, row: Any) -> Any:
        return gc.concat([self.rows, row[None]])


def test_captured_arrays_grow() -> None:
    cache = Cache()
    for i in range(8):
        cache.rows = cache.with_row(gc.full((2,), float(i)))
    np.testing.assert_array_equal(cache.rows.numpy()[:, 0], np.arange(8))
    assert Cache.with_row.trace_count == 2


def test_static_arguments_beside_sizes_that_vary() -> None:
    f = gc.jit(lambda x, mode, n: x.sum(0) * n if mode else x.mean(0), static_argnames=("mode", "n"))
    for n in (3, 4, 5):
        same(f(random(n, 2), True, 3), random(n, 2).sum(0) * 3)
    assert f.trace_count == 2
    same(f(random(6, 2), False, 3), random(6, 2).mean(0))
    assert f.trace_count == 3


def test_random_numbers_of_a_varying_number() -> None:
    f = gc.jit(lambda x: x + gc.random.normal(x.shape))
    for n in (3, 4, 5, 2):
        gc.random.manual_seed(n)
        actual = f(gc.zeros(n))
        gc.random.manual_seed(n)
        same(actual, gc.random.normal((n,)))
    assert f.trace_count == 2


def test_one_jitted_function_within_another() -> None:
    inner = gc.jit(lambda x: x * x.shape[0])
    agree(lambda x: inner(x) + 1, *[(random(n),) for n in (3, 4, 0, 1)], traces=2)


def test_shapes_that_are_returned() -> None:
    f = gc.jit(lambda x: (x + 1, {"double": gc.concat([x, x])}))
    for n in (2, 3, 4):
        plus, rest = f(random(n))
        assert plus.shape == (n,)
        assert rest["double"].shape == (2 * n,)
    assert f.trace_count == 2


def test_programs_are_still_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MAX_PROGRAMS", 2)
    f = gc.jit(lambda x: x * int(x.shape[0]))
    for n in (3, 4, 3):
        same(f(random(n)), random(n) * n)
    assert len(f._sizes) == 2


def test_an_in_place_result_of_another_size_is_refused() -> None:
    @gc.jit(dynamic=True)
    def f(x: Any, y: Any) -> Any:
        x += y
        return x

    with pytest.raises((InPlaceError, ShapeError)):
        f(random(1), random(3))


def test_the_graph_with_declared_sizes() -> None:
    text = str(gc.jit(lambda x, y: x * y, name="f", dynamic=True).graph(random(3), random(3)))
    assert text.splitlines()[0] == "graph @f(%x: f32[x_0], %y: f32[x_0]) -> (f32[x_0]) {"


def test_what_is_asked_about_a_declared_size_is_a_guard_for_large_ones() -> None:
    def halves(x: Any) -> Any:
        if x.shape[0] > 10 and x.shape[0] % 2 == 0:
            return x.reshape(2, -1).sum(axis=0)
        return x

    graph = gc.jit(halves).graph(gc.spec("f32[n]"))
    assert [str(guard) for guard in graph.guards] == ["10 < n", "n%2 == 0"]
    values = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(evaluate_graph(graph, [values])[0], values[:6] + values[6:])
    with pytest.raises(ShapeError, match=r"the sizes must satisfy 10 < n, but n is 4\n.*test_shapes.py"):
        evaluate_graph(graph, [values[:4]])

    def either(x: Any, y: Any) -> Any:
        return x + y if x.shape[0] == y.shape[0] else gc.concat([x, y])

    graph = gc.jit(either).graph(gc.spec("f32[n]"), gc.spec("f32[m]"))
    assert [str(guard) for guard in graph.guards] == ["n != m"]
    with pytest.raises(ShapeError, match="the size n is symbolic: its value is not known"):
        gc.jit(lambda x: [x, -x][x.shape[0]]).graph(gc.spec("f32[n]"))


def test_loops_over_a_size_are_one_trace_for_all_sizes() -> None:
    def horner(x: Any) -> Any:
        t = 0.0
        for i in range(x.shape[0]):
            t = t * 0.5 + x[i] * i
        return t

    def backwards(x: Any) -> Any:
        t = gc.zeros(())
        for i, (a, b) in enumerate(zip(x, reversed(x), strict=True), 2):
            t = t * 0.5 + a * i + b
        return t

    def until(x: Any) -> Any:
        t = gc.zeros(())
        for i in range(len(x) - 1, -1, -1):
            if x[i] > 0.9:
                break
            t = t + x[i]
        return t

    def last(x: Any) -> Any:
        i = -1
        for i in range(0, x.shape[0], 3):
            x = x + 0 * i
        return x.sum() + i

    sizes = [(random(n),) for n in (5, 7, 40, 1, 3)]
    for f in (horner, gc.grad(horner), backwards, until):
        agree(f, *sizes, traces=2)
    agree(last, *sizes, (random(0),), traces=3)


def test_arange_between_sizes() -> None:
    agree(lambda x: x.sum() + gc.arange(x.shape[0], 2 * x.shape[0]), (random(3),), (random(5),), (random(2),), traces=2)
