"""What a traced function reads and writes beside its arguments: closures, globals, objects, views, gradients."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GradientError, InPlaceError

GLOBAL = gc.tensor([10.0])


def vector(*values: float) -> Any:
    return gc.tensor(values)


# Reading


def test_a_captured_tensor_is_read_at_each_call() -> None:
    w = vector(2.0)
    f = gc.jit(lambda x: x * w)
    assert f(vector(3.0)).tolist() == [6.0]
    w.fill_(5.0)
    assert f(vector(3.0)).tolist() == [15.0]
    w = vector(7.0)
    assert f(vector(3.0)).tolist() == [21.0]
    assert f.trace_count == 1
    w = vector(1.0, 2.0)
    assert f(vector(3.0)).tolist() == [3.0, 6.0]
    assert f.trace_count == 2


@pytest.mark.cpu  # where the global was made
def test_a_rebound_global_is_found() -> None:
    global GLOBAL  # noqa: PLW0603 - that is what is tested
    f = gc.jit(lambda x: x + GLOBAL)
    assert f(vector(1.0)).tolist() == [11.0]
    GLOBAL = vector(20.0)
    assert f(vector(1.0)).tolist() == [21.0]
    GLOBAL = vector(10.0)
    assert f.trace_count == 1


def test_captured_ndarrays_are_read_at_each_call() -> None:
    table = np.array([1.0, 2.0, 3.0])
    f = gc.jit(lambda i: gc.asarray(table)[i] * table)
    assert f(gc.tensor(1)).tolist() == [2.0, 4.0, 6.0]
    table[:] = [4.0, 5.0, 6.0]
    assert f(gc.tensor(0)).tolist() == [16.0, 20.0, 24.0]
    assert f.trace_count == 1


def test_captured_containers_and_attributes() -> None:
    class Model:
        def __init__(self) -> None:
            self.layers = [{"w": vector(2.0)}, {"w": vector(3.0)}]

    model = Model()

    @gc.jit
    def f(x: Any) -> Any:
        for layer in model.layers:
            x = x * layer["w"]
        return x

    assert f(vector(1.0)).tolist() == [6.0]
    model.layers[1]["w"] = vector(10.0)
    assert f(vector(1.0)).tolist() == [20.0]
    assert f.trace_count == 1


def test_a_captured_view_follows_its_base() -> None:
    base = gc.zeros((2, 3))
    row = base[1]
    f = gc.jit(lambda: row.sum() * 1)
    assert f().item() == 0.0
    base[1] = 2.0
    assert f().item() == 6.0
    assert f.trace_count == 1


# Writing


def test_in_place_on_an_argument_is_written_back() -> None:
    @gc.jit
    def f(x: Any) -> None:
        x[1:] = x[:-1] * 2
        x += 1

    x, array = vector(1.0, 2.0, 3.0), np.array([1.0, 2.0, 3.0])
    memory = x.numpy()
    f(x)
    assert x.tolist() == [2.0, 3.0, 5.0]
    assert np.shares_memory(memory, x.numpy())
    f(array)
    assert array.tolist() == [2.0, 3.0, 5.0]
    f(x)
    assert x.tolist() == [3.0, 5.0, 7.0]


def test_in_place_on_a_captured_tensor_and_ndarray_is_written_back() -> None:
    count, table = gc.tensor(0), np.zeros(2)

    @gc.jit
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        seen = gc.asarray(table)
        seen[1] = x
        return seen * 1

    for number in (1, 2, 3):
        assert f(float(number)).tolist() == [0.0, float(number)]
        assert isinstance(count, gc.Tensor)
        assert count.item() == number
    assert table.tolist() == [0.0, 3.0]
    assert f.trace_count == 1


def add_one_and_double(x: Any, y: Any) -> Any:
    x += 1
    return y * 2


def test_one_ndarray_passed_twice_is_one_array() -> None:
    f = gc.jit(add_one_and_double)
    array, other = np.zeros(3), np.ones(3)
    assert f(array, other).tolist() == [2.0, 2.0, 2.0]
    assert f(array, array).tolist() == [4.0, 4.0, 4.0]
    assert f(array, other).tolist() == [2.0, 2.0, 2.0]
    assert array.tolist() == [3.0, 3.0, 3.0]
    assert f.trace_count == 2


def test_ndarrays_that_overlap_are_refused_where_one_is_written() -> None:
    f = gc.jit(add_one_and_double)
    array = np.arange(4.0)
    tensor = gc.from_numpy(array)
    for x, y in ((array[:3], array[1:]), (array, tensor), (tensor, array[::-1]), (array[:2], array[1:3].reshape(2))):
        with pytest.raises(InPlaceError, match="shares memory with another one") as caught:
            f(x, y)
        assert "test_state.py" in str(caught.value)
        assert array.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert f(array[:2], array[2:]).tolist() == [4.0, 6.0]
    assert f(array[::2], array[1::2]).tolist() == [4.0, 6.0]
    assert array.tolist() == [2.0, 2.0, 3.0, 3.0]
    assert gc.jit(lambda x, y: x + y)(array[:3], array[1:]).tolist() == [4.0, 5.0, 6.0]


def test_views_of_a_written_argument_see_the_write() -> None:
    x = gc.zeros((2, 2))
    row = x[0]

    @gc.jit
    def f(x: Any) -> None:
        x.T[0] = 5.0

    f(x)
    assert row.tolist() == [5.0, 0.0]


def test_writing_to_a_view_argument_reaches_its_base() -> None:
    x = gc.zeros((2, 2))

    @gc.jit
    def f(v: Any) -> None:
        v += 1

    f(x[:, 1])
    assert x.tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_one_tensor_passed_twice() -> None:
    @gc.jit
    def f(x: Any, y: Any) -> Any:
        x += 1
        return x * y

    x, y = vector(1.0), vector(1.0)
    assert f(x, x).tolist() == [4.0]
    assert f(x, y).tolist() == [3.0]
    assert f(x, x).tolist() == [16.0]
    assert x.tolist() == [4.0]


def test_overlapping_views_as_arguments() -> None:
    @gc.jit
    def f(a: Any, b: Any) -> Any:
        a *= 10
        return b + 0

    x = vector(1.0, 2.0, 3.0)
    assert f(x[:2], x[1:]).tolist() == [20.0, 3.0]
    assert x.tolist() == [10.0, 20.0, 3.0]
    assert f(x[1:], x[:2]).tolist() == [10.0, 200.0]
    assert x.tolist() == [10.0, 200.0, 30.0]


def test_an_argument_that_is_also_captured() -> None:
    w = vector(1.0)

    @gc.jit
    def f(x: Any) -> Any:
        x += 1
        return w * 10

    assert f(w).tolist() == [20.0]
    assert w.tolist() == [2.0]
    assert f(vector(0.0)).tolist() == [20.0]
    assert f(w).tolist() == [30.0]


# Returning


def test_returned_arguments_are_the_same_objects() -> None:
    x = vector(1.0)
    same = gc.jit(lambda x: x)(x)
    assert same is x
    w = vector(2.0)
    assert gc.jit(lambda: w)() is w


def test_returned_views_of_arguments_are_views() -> None:
    x = gc.zeros((2, 3))
    f = gc.jit(lambda x: (x.T, x[0]))
    for _ in range(2):
        turned, row = f(x)
        x += 1
        assert turned[0, 0].item() == x[0, 0].item()
        row[0] = 7.0
        assert x[0, 0].item() == 7.0
        assert np.shares_memory(turned.numpy(), x.numpy())


def test_two_results_that_share_memory_inside_are_values_outside() -> None:
    a, b = gc.jit(lambda x: ((y := x * 2), y[:1]))(vector(1.0, 2.0))
    assert a.tolist() == [2.0, 4.0] and b.tolist() == [2.0]


def test_results_of_two_calls_do_not_share_memory() -> None:
    f = gc.jit(lambda x: x * 2)
    first, second = f(vector(1.0)), f(vector(2.0))
    assert first.tolist() == [2.0] and second.tolist() == [4.0]
    assert not np.shares_memory(first.numpy(), second.numpy())


def test_constants_returned_are_fresh() -> None:
    f = gc.jit(lambda: gc.zeros((2,)))
    f()[0] = 5.0
    assert f().tolist() == [0.0, 0.0]


def test_a_failed_run_changes_nothing() -> None:
    @gc.jit
    def f(x: Any, i: Any) -> Any:
        x += 1
        return x[i]

    x = vector(1.0, 2.0)
    assert f(x, gc.tensor(1)).item() == 3.0
    with pytest.raises(IndexError, match="index 9"):
        f(x, gc.tensor(9))
    assert x.tolist() == [2.0, 3.0]


# Gradients


def leaf(*values: float) -> Any:
    return gc.tensor(values, requires_grad=True)


def test_backward_flows_through_a_jitted_call() -> None:
    w, x = leaf(2.0, 3.0), leaf(5.0, 7.0)
    f = gc.jit(lambda x: (x * w).exp() * 1e-3)
    y = f(x)
    assert y.requires_grad
    (y * y).sum().backward()
    a, b = x.detach().numpy(), w.detach().numpy()
    slope = 2 * 1e-6 * np.exp(a * b) ** 2
    np.testing.assert_allclose(x.grad.numpy(), slope * b, rtol=1e-4)
    np.testing.assert_allclose(w.grad.numpy(), slope * a, rtol=1e-4)


def test_second_order_through_a_jitted_call() -> None:
    f = gc.jit(lambda x: (x**3).sum())
    x = leaf(2.0)
    (first,) = gc.gradients_of(f(x), x, create_graph=True)
    (second,) = gc.gradients_of(first.sum(), x)
    assert first.tolist() == [12.0] and second.tolist() == [12.0]


def test_backward_inside_jit_sets_grad() -> None:
    w = leaf(2.0, 3.0)

    @gc.jit
    def step(x: Any) -> Any:
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    for count in (1, 2, 3):
        loss = step(vector(1.0, 10.0))
        assert w.grad.tolist() == [4.0 * count, 60.0 * count]
    assert loss.item() == 94.0
    w.grad = None
    step(vector(1.0, 10.0))
    assert w.grad.tolist() == [4.0, 60.0]


def test_a_whole_training_step_inside_jit() -> None:
    eager_w, jit_w = leaf(1.0, -1.0), leaf(1.0, -1.0)

    def step(w: Any, x: Any, rate: float) -> Any:
        loss = ((x * w).sum() - 1.0) ** 2
        loss.backward()
        with gc.no_grad():
            w -= rate * w.grad
        w.grad = None
        return loss

    jitted = gc.jit(step)
    for number in range(5):
        x = vector(0.5 + number, 1.0)
        rate = 0.1 / (number + 1)
        np.testing.assert_allclose(jitted(jit_w, x, rate).item(), step(eager_w, x, rate).item(), rtol=1e-5)
        np.testing.assert_allclose(jit_w.tolist(), eager_w.tolist(), rtol=1e-5)
    assert jitted.trace_count == 1
    assert jit_w.is_leaf and jit_w.requires_grad and jit_w.grad is None


def test_no_grad_and_detach_inside_jit() -> None:
    w = leaf(3.0)

    @gc.jit
    def f(x: Any) -> Any:
        with gc.no_grad():
            scale = w * w
        return x * scale + w.detach() + w

    f(vector(2.0)).backward(vector(1.0))
    assert w.grad.tolist() == [1.0]
    with gc.no_grad():
        assert not f(vector(2.0)).requires_grad
    assert not gc.jit(lambda: w.detach() * 2)().requires_grad


def test_an_optimizer_inside_jit() -> None:
    def trained(use_jit: bool) -> list[float]:
        w = gc.tensor([1.0, -2.0], requires_grad=True)
        optimizer = gc.optim.Adam([w], lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = ((w - x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = gc.jit(step) if use_jit else step
        losses = [run(vector(3.0, 3.0)).item() for _ in range(6)]
        return [*losses, *w.detach().tolist()]

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-5)


def test_writing_to_a_leaf_inside_jit_is_refused() -> None:
    w = leaf(1.0)

    @gc.jit
    def f() -> None:
        w.add_(1)

    with pytest.raises(InPlaceError, match="a leaf that requires_grad"):
        f()
    assert w.tolist() == [1.0]


def updated(x: Any) -> Any:
    y = x * 2
    with gc.no_grad():
        x[0] = 9.0
    return (x * x).sum() + y.sum()


@pytest.mark.parametrize("wrap", [lambda f: f, gc.jit], ids=["eager", "jit"])
def test_a_leaf_that_is_updated_stands_for_all_its_values(wrap: Any) -> None:
    x = leaf(1.0, 2.0)
    wrap(lambda: updated(x).backward())()
    assert x.grad.tolist() == [20.0, 6.0]  # 2 for y, and twice the new values


def test_a_result_of_an_updated_leaf_cannot_be_differentiated_from_outside() -> None:
    x = leaf(1.0, 2.0)
    loss = gc.jit(updated)(x)
    assert loss.item() == 91.0
    assert x.tolist() == [9.0, 2.0]
    with pytest.raises(InPlaceError, match="the gradient of call needs"):
        loss.backward()


def test_two_networks_trained_in_one_step_each_after_the_other() -> None:
    def trained(wrap: Any) -> list[float]:
        one, two = leaf(1.0, 2.0), leaf(0.5, -1.0)

        def step() -> Any:
            first = ((one * two.detach()) ** 2).sum()
            first.backward()
            with gc.no_grad():
                one.sub_(0.1 * one.grad)
            one.grad = None
            second = ((one * two - 1) ** 2).sum()
            second.backward()
            with gc.no_grad():
                two.sub_(0.1 * two.grad)
            one.grad = two.grad = None
            return first, second

        run = wrap(step)
        losses = [loss.item() for _ in range(3) for loss in run()]
        return [*losses, *one.tolist(), *two.tolist()]

    assert trained(gc.jit) == pytest.approx(trained(lambda f: f), rel=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, gc.jit], ids=["eager", "jit"])
def test_a_retained_gradient_is_that_of_the_value_it_was_asked_of(wrap: Any) -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y.retain_grad()
        y[0] = 0.0
        y.sum().backward()
        return y.grad

    x = leaf(1.0, 2.0)
    assert wrap(f)(x).tolist() == [0.0, 1.0]
    assert x.grad.tolist() == [0.0, 2.0]


def test_in_place_on_results_inside_jit_is_differentiated() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        y = x * 1
        y[0] = y[1] * 10
        y *= x
        return y

    x = leaf(2.0, 3.0)
    f(x).sum().backward()
    assert x.grad.tolist() == [30.0, 26.0]


def test_backward_inside_is_the_last_use_unless_the_graph_is_retained() -> None:
    w, x = gc.tensor([1.0, 2.0], requires_grad=True), gc.tensor([3.0, 4.0])

    def step(x: Any, retain: bool) -> Any:
        loss = (w * x).sum()
        loss.backward(retain_graph=retain)
        return loss

    jitted = gc.jit(step, static_argnames=("retain",))
    for run in (step, jitted):
        w.grad = None
        retained = run(x, retain=True)
        retained.backward()
        np.testing.assert_array_equal(w.grad.numpy(), [6, 8])
        with pytest.raises(GradientError):
            run(x, retain=False).backward()


def test_what_no_gradient_reads_may_be_overwritten() -> None:
    w, count = gc.tensor([1.0, 2.0], requires_grad=True), gc.tensor([0.0])

    @gc.jit
    def f(x: Any) -> Any:
        count.add_(1)
        return (w * x).sum()

    x = gc.tensor([3.0, 4.0])
    first = f(x)
    f(x)
    first.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [3, 4])
    np.testing.assert_array_equal(count.numpy(), [2])


def test_memory_that_is_met_through_a_view_first_is_one_memory() -> None:
    base = gc.zeros(4)
    head = base[:2]

    @gc.jit
    def write(x: Any) -> Any:
        head[0] = x
        return base.sum()

    assert write(gc.tensor(3.0)).item() == 3.0
    assert base.tolist() == [3.0, 0.0, 0.0, 0.0]
    assert write(gc.tensor(5.0)).item() == 5.0

