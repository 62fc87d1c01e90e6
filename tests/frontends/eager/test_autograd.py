"""`backward()` and `gradients_of`: what a PyTorch user expects of values, accumulation, freeing, errors and hooks."""

import sys
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import compile_graph
from graphc.errors import GradientError, InPlaceError, OutOfBoundsError
from graphc.frontends.eager import autograd


def leaf(*values: float, dtype: Any = gc.float64) -> Any:
    return gc.tensor(values if len(values) > 1 else values[0], dtype=dtype, requires_grad=True)


def test_backward_of_a_composition() -> None:
    x, w = leaf(1.0, 2.0, 3.0), leaf(0.5, -1.0, 2.0)
    loss = ((x * w).tanh() + x.exp()).mean()
    loss.backward()
    slope = (1 - np.tanh(np.array([0.5, -2.0, 6.0])) ** 2) / 3
    np.testing.assert_allclose(x.grad.numpy(), slope * w.detach().numpy() + np.exp([1, 2, 3]) / 3, rtol=1e-12)
    np.testing.assert_allclose(w.grad.numpy(), slope * x.detach().numpy(), rtol=1e-12)
    assert loss.grad is None
    assert not x.grad.requires_grad


def test_gradients_accumulate_until_cleared() -> None:
    x = leaf(2.0)
    for expected in (4.0, 8.0):
        (x * x).backward()
        assert x.grad.item() == expected
    x.grad = None
    (3 * x).backward()
    assert x.grad.item() == 3.0


def test_the_gradient_handed_out_is_not_changed_by_the_next_backward() -> None:
    x = leaf(2.0)
    (x * x).backward()
    first = x.grad
    (x * x).backward()
    assert first.item() == 4.0 or first is x.grad


def test_one_tensor_used_many_times() -> None:
    x = leaf(3.0)
    y = x * x * x + x
    y.backward()
    assert x.grad.item() == 28.0


def test_backward_with_a_cotangent() -> None:
    x = leaf(1.0, 2.0)
    (x * x).backward(gc.tensor([1.0, 10.0], dtype=gc.float64))
    assert x.grad.tolist() == [2.0, 40.0]
    with pytest.raises(GradientError, match=r"the gradient is f64\[3\], but this tensor is f64\[2\]"):
        (x * x).backward(gc.ones((3,), dtype=gc.float64))


def test_backward_of_a_non_scalar_needs_a_cotangent() -> None:
    with pytest.raises(GradientError, match=r"needs a scalar, and this tensor has shape \(2,\)") as caught:
        (leaf(1.0, 2.0) * 2).backward()
    assert "mean().backward()" in str(caught.value)


def test_backward_where_nothing_requires_a_gradient() -> None:
    with pytest.raises(GradientError, match="does not depend on any tensor that requires_grad"):
        gc.tensor(1.0).backward()


def test_integers_cannot_require_gradients() -> None:
    with pytest.raises(GradientError, match=r"only floating tensors can require gradients, not int64 \(shape \(2,\)\)"):
        gc.tensor([1, 2], requires_grad=True)
    with pytest.raises(GradientError, match="not bool"):
        gc.tensor(True).requires_grad_()
    x = leaf(1.0, 2.0)
    assert not x.astype(gc.int64).requires_grad
    assert not (x > 1).requires_grad
    assert not x.argmax().requires_grad


def test_a_second_backward_needs_retain_graph() -> None:
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(GradientError, match=r"backward a second time.*freed by the first") as caught:
        loss.backward()
    text = str(caught.value)
    assert "retain_graph=True" in text and "test_autograd.py" in text


def test_a_second_backward_that_needs_nothing_saved_is_fine() -> None:
    x = leaf(1.0, 2.0)
    loss = (x + x).sum()
    loss.backward()
    loss.backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_two_losses_of_one_trunk() -> None:
    x = leaf(1.0, 2.0)
    trunk = x.exp()
    first, second = trunk.sum(), (trunk * trunk).sum()
    first.backward(retain_graph=True)
    second.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1, 2]) + 2 * np.exp([2, 4]))


def test_detach_and_no_grad_cut() -> None:
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2.0
    with gc.no_grad():
        y = x * x
        assert not y.requires_grad and not gc.is_grad_enabled()
        with gc.enable_grad():
            assert (x * x).requires_grad
    assert gc.is_grad_enabled()

    @gc.no_grad()
    def decorated() -> Any:
        return x * x

    assert not decorated().requires_grad
    assert (x * x).requires_grad


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), gc.no_grad():
        raise KeyError
    assert gc.is_grad_enabled()


def test_leaves_and_results() -> None:
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf and not y.is_leaf and gc.tensor(1.0).is_leaf
    assert y.detach().is_leaf and not y.detach().requires_grad
    x.requires_grad_(False)
    assert not x.requires_grad
    with pytest.raises(GradientError, match="only be changed on a leaf"):
        y.requires_grad_(False)


def test_writing_to_a_leaf_in_place_is_refused() -> None:
    x = leaf(1.0, 2.0)
    for write in (lambda: x.add_(1), lambda: x.__setitem__(0, 5.0), lambda: x.__setitem__(..., 3.0), x.zero_):
        with pytest.raises(InPlaceError, match="a leaf tensor that requires_grad is changed in place") as caught:
            write()
        assert "gc.no_grad()" in str(caught.value)
    with pytest.raises(InPlaceError, match="a view of a leaf tensor"):
        x[:1].add_(1)
    assert x.tolist() == [1.0, 2.0]
    with gc.no_grad():
        x -= 0.5
    assert x.tolist() == [0.5, 1.5] and x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [1.0, 3.0]
    with gc.no_grad():
        x[...] = 3.0
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_changing_what_backward_needs_is_found() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    loss = (y * y).sum()
    y.add_(1)
    with pytest.raises(InPlaceError, match=r"the gradient of mul needs.*version 0 and is now at version 1") as caught:
        loss.backward()
    assert "loss = (y * y).sum()" in str(caught.value)


def test_changing_through_a_view_is_found() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    loss = y.sum()
    y.detach()[0] = 5.0
    with pytest.raises(InPlaceError, match="the gradient of exp needs"):
        loss.backward()


def test_changing_what_backward_does_not_need_is_fine() -> None:
    x = leaf(1.0, 2.0)
    y = x + 1
    x_copy = y * 3
    y.add_(1)
    (x_copy.sum() + y.sum()).backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_in_place_in_the_middle_of_a_computation() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1
    y *= x
    y[0] = y[1] * 10
    y.sum().backward()
    assert y.tolist() == [40.0, 4.0]
    assert x.grad.tolist() == [0.0, 44.0]


def test_masked_and_fancy_assignment() -> None:
    x, v = leaf(1.0, 2.0, 3.0, 4.0), leaf(10.0, 20.0)
    y = x * 2
    y[y > 5] = v
    y[[0, 0]] = v
    (y * gc.tensor([1.0, 2.0, 3.0, 4.0], dtype=gc.float64)).sum().backward()
    assert x.grad.tolist() == [0.0, 4.0, 0.0, 0.0]
    assert v.grad.tolist() == [3.0, 5.0]


def test_higher_orders() -> None:
    x = leaf(1.5)
    y = x**4
    (first,) = gc.gradients_of(y, x, create_graph=True)
    (second,) = gc.gradients_of(first, x, create_graph=True)
    (third,) = gc.gradients_of(second, x)
    np.testing.assert_allclose([first.item(), second.item(), third.item()], [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5])
    assert x.grad is None
    assert not third.requires_grad


def test_double_backward_into_grad() -> None:
    """A gradient penalty: the gradient of a norm of a gradient."""
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    output = (x * w).tanh().sum()
    (gradient,) = gc.gradients_of(output, x, create_graph=True)
    (gradient * gradient).sum().backward()
    at = np.array([3.0, 8.0])
    t = np.tanh(at)
    slope = 1 - t * t
    w_np, x_np = np.array([3.0, 4.0]), np.array([1.0, 2.0])
    expected = 2 * (slope * w_np) * (slope + w_np * (-2 * t * slope) * x_np)
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-9)


def test_backward_with_create_graph_accumulates_a_differentiable_gradient() -> None:
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = gc.gradients_of(x.grad, x)
    assert second.item() == 18.0


def test_gradients_of_results_several_outputs_and_unused_inputs() -> None:
    x, unused = leaf(1.0, 2.0), leaf(5.0)
    y = x * 3
    z = y * y
    dy, dx = gc.gradients_of([z.sum(), y.sum()], [y, x])
    assert dy.tolist() == [7.0, 13.0]
    assert dx.tolist() == [21.0, 39.0]
    with pytest.raises(GradientError, match=r"input 1 \(shape \(\)\) does not influence the outputs"):
        gc.gradients_of((x * x).sum(), [x, unused])
    gradients = gc.gradients_of((x * x).sum(), [x, unused], allow_unused=True)
    assert gradients[1] is None


def test_gradients_of_with_cotangents() -> None:
    x = leaf(1.0, 2.0)
    (gradient,) = gc.gradients_of(x * x, x, gc.tensor([1.0, 3.0], dtype=gc.float64))
    assert gradient.tolist() == [2.0, 12.0]


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]
    assert x.grad.tolist() == [18.0, 36.0]
    x.retain_grad()


def test_hooks_on_leaves_see_and_replace() -> None:
    x = leaf(1.0, 2.0)
    seen: list[Any] = []
    first = x.register_hook(lambda g: seen.append(g.tolist()))
    second = x.register_hook(lambda g: g * 10)
    (x * x).sum().backward()
    assert seen == [[2.0, 4.0]]
    assert x.grad.tolist() == [20.0, 40.0]
    first.remove()
    second.remove()
    first.remove()
    x.grad = None
    (x * x).sum().backward()
    assert seen == [[2.0, 4.0]]
    assert x.grad.tolist() == [2.0, 4.0]


def test_hooks_on_results_change_what_flows_on() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y * y
    order: list[str] = []

    def on_z(g: Any) -> Any:
        order.append("z")
        return g * 2

    def on_y(g: Any) -> None:
        order.append("y")
        assert g.tolist() == [12.0, 24.0]

    y.register_hook(on_y)
    handle = z.register_hook(on_z)
    z.sum().backward(retain_graph=True)
    assert order == ["z", "y"]
    assert x.grad.tolist() == [36.0, 72.0]
    handle.remove()
    x.grad = None
    y.retain_grad()
    with pytest.raises(AssertionError):
        z.sum().backward()


def test_a_hook_sees_the_whole_gradient_of_a_tensor_used_twice() -> None:
    x = leaf(2.0)
    y = x * 1
    seen: list[float] = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y * y).backward()
    assert seen == [7.0]
    assert x.grad.item() == 7.0


def test_an_exception_in_a_hook_reaches_the_caller_and_the_next_backward_works() -> None:
    x = leaf(2.0)

    def bad(g: Any) -> None:
        raise ZeroDivisionError

    handle = x.register_hook(bad)
    with pytest.raises(ZeroDivisionError):
        (x * x).backward()
    handle.remove()
    x.grad = None
    (x * x).backward()
    assert x.grad.item() == 4.0


def test_a_long_chain_needs_no_recursion() -> None:
    """Of 20,000 ops; tests/test_scaling.py goes to 100,000."""
    limit = sys.getrecursionlimit()
    assert limit < 20_000
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = -y
    y.backward()
    assert x.grad.item() == 1.0
    del y
    assert sys.getrecursionlimit() == limit


def test_the_backward_program_is_built_once_for_one_structure() -> None:
    x = leaf(*range(1, 8))

    def step() -> None:
        loss = ((x * 2).sin() * x).sum()
        loss.backward()

    step()
    built = dict(autograd._plans)
    for _ in range(5):
        step()
    assert list(autograd._plans) == list(built)
    assert all(autograd._plans[key] is plan for key, plan in built.items())


@pytest.mark.parametrize("kernels", ["never", "always"])
def test_compiled_and_interpreted_backward_agree(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_EAGER_KERNELS", kernels)
    monkeypatch.setattr(autograd, "_plans", type(autograd._plans)())
    x = gc.tensor(np.linspace(-2, 2, 12).reshape(3, 4), requires_grad=True)
    w = gc.tensor(np.linspace(1, 2, 8).reshape(4, 2), requires_grad=True)
    (gc.softmax(x @ w, axis=-1) * gc.tensor([[1.0, 2.0]], dtype=gc.float64)).sum().backward()
    logits = x.detach().numpy() @ w.detach().numpy()
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    flow = p * (np.array([[1.0, 2.0]]) - (p * [[1.0, 2.0]]).sum(-1, keepdims=True))
    np.testing.assert_allclose(x.grad.numpy(), flow @ w.detach().numpy().T, atol=1e-12)
    np.testing.assert_allclose(w.grad.numpy(), x.detach().numpy().T @ flow, atol=1e-12)


def test_gradients_of_16_bit_floats_keep_their_dtype() -> None:
    for dtype in (gc.float16, gc.bfloat16):
        x = leaf(1.0, 2.0, dtype=dtype)
        (x * x).sum().backward()
        assert x.grad.dtype is dtype
        assert x.grad.astype(gc.float32).tolist() == [2.0, 4.0]


def test_mixed_dtypes_give_each_leaf_its_own() -> None:
    half, double = leaf(2.0, dtype=gc.float16), leaf(3.0)
    (half * double).backward()
    assert half.grad.dtype is gc.float16 and half.grad.item() == 3.0
    assert double.grad.dtype is gc.float64 and double.grad.item() == 2.0


def test_setting_grad_of_another_shape_is_refused() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(GradientError, match="the gradient has shape"):
        x.grad = gc.ones((3,))


def test_an_op_that_fails_leaves_the_recording_usable() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    with pytest.raises(OutOfBoundsError):
        y[7]
    with pytest.raises(gc.errors.ShapeError):
        y @ gc.ones((3, 3), dtype=gc.float64)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_hooks_whose_handles_nobody_keeps_are_all_called() -> None:
    x = leaf(1.0)
    seen: list[int] = []
    for number in range(50):
        x.register_hook(lambda g, number=number: seen.append(number))
    (x * 2).backward()
    assert seen == list(range(50))


def test_in_place_product_of_an_element() -> None:
    x = leaf(2.0, 3.0)
    y = x * 1
    y[0] *= x[1]
    y[1] **= 2.0
    y.sum().backward()
    assert y.tolist() == [6.0, 9.0]
    assert x.grad.tolist() == [3.0, 8.0]


@pytest.mark.cpu
def test_a_long_chain_on_few_elements_is_not_compiled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(autograd, "compile_graph", lambda graph: compiled.append(graph) or compile_graph(graph))
    x, scale = gc.tensor([1.0, 2.0, 3.0], requires_grad=True), gc.tensor([1.0, 0.5, 1.0])
    y = x
    for _ in range(6000):
        y = y * scale
    y.sum().backward()
    assert not compiled
    large = gc.ones(20_000).requires_grad_()
    (large * large).sum().backward()
    assert len(compiled) == 1
