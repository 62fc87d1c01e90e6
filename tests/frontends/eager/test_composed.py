"""Functions of many ops that run as one: the same bits, gradients and errors as the ops one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.dtypes import bfloat16, float16, float32, float64
from graphc.errors import ArgumentError, GradientError, OutOfBoundsError, ShapeError
from graphc.frontends.eager.composed import MOST_ELEMENTS, Composed
from graphc.frontends.eager.recording import Record
from tests.call_count import counted

LABELS = gc.tensor([0, 2, 1])
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": gc.relu,
    "leaky_relu": gc.leaky_relu,
    "elu": lambda x: gc.elu(x, 0.5),
    "gelu": gc.gelu,
    "gelu_tanh": lambda x: gc.gelu(x, approximate="tanh"),
    "silu": gc.silu,
    "hardtanh": lambda x: gc.hardtanh(x, min_val=-0.5, max_val=0.25),
    "softmax": lambda x: gc.softmax(x, 1),
    "log_softmax": lambda x: gc.log_softmax(x, axis=0),
    "mean": gc.mean,
    "mean_rows": lambda x: gc.mean(x, axis=1, keepdims=True),
    "var": lambda x: gc.var(x, axis=(0, 1), correction=1),
    "mse_loss": lambda x: gc.mse_loss(x, gc.astype(gc.full((3, 3), 0.5), x.dtype)),
    "cross_entropy": lambda x: gc.cross_entropy(x, LABELS),
    "smoothed": lambda x: gc.cross_entropy(x, LABELS, label_smoothing=0.25, reduction="sum"),
    "nll_loss": lambda x: gc.nll_loss(x, LABELS, reduction="none"),
}
DATA = [[0.0, -0.0, 1.5], [-2.0, 3.0, 0.25], [1e-3, -7.0, 2.0]]


def one_by_one(function: Callable[[Any], Any], x: Any) -> Any:
    """What the ops give; a recorder wants to see each of them."""
    with gc.record():
        return function(x)


def bits(x: Any) -> Any:
    array = x.detach().numpy()
    return x.dtype, x.shape, x.weak, np.where(array == array, array, np.full_like(array, np.nan)).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64], ids=lambda d: d.short)
def test_the_bits_are_those_of_the_ops(name: str, dtype: gc.DType) -> None:
    function = FUNCTIONS[name]
    for data in (DATA, np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.array(DATA).T):
        x = gc.tensor(data, dtype=dtype)
        want = one_by_one(function, x)
        x = gc.tensor(data, dtype=dtype)
        with np.errstate(all="raise"):
            for _ in range(2):
                assert bits(function(x)) == bits(want)
    strided = gc.from_numpy(np.repeat(np.asarray(DATA), 2, axis=1)).astype(dtype)[:, ::2]
    for _ in range(3):
        assert bits(function(strided)) == bits(one_by_one(function, strided))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradients_are_those_of_the_ops(name: str) -> None:
    function = FUNCTIONS[name]
    x, y = (gc.tensor(DATA, dtype=float64, requires_grad=True) for _ in range(2))
    result = [function(x) for _ in range(2)][1]
    assert isinstance(result.reference().source, Record)
    assert result.reference().source.op.name == "call"
    weights = gc.asarray(np.cos(np.arange(result.size)).reshape(result.shape))
    (result * weights).sum().backward()
    (one_by_one(function, y) * weights).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_second_derivatives() -> None:
    x = gc.tensor([0.5, -0.25], requires_grad=True)
    (first,) = gc.gradients_of(gc.silu(x).sum(), x, create_graph=True)
    (second,) = gc.gradients_of(first.sum(), x)
    sigmoid = 1 / (1 + np.exp(-x.detach().numpy()))
    slope = sigmoid * (1 - sigmoid)
    np.testing.assert_allclose(second.numpy(), slope * (2 + x.detach().numpy() * (1 - 2 * sigmoid)), rtol=1e-5)


def test_operands_may_be_written_afterwards() -> None:
    x = gc.tensor([1.0, -1.0], requires_grad=True)
    hidden = x * 2
    gc.relu(hidden), gc.mean(hidden)
    loss = gc.relu(hidden).sum() + gc.mean(hidden)
    hidden.zero_()
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 1])


def test_results_are_arrays_of_their_own() -> None:
    x = gc.tensor([1.0, 2.0])
    for function in (gc.relu, gc.mean, lambda t: gc.hardtanh(t, -5.0, 5.0), lambda t: gc.var(t, 0, keepdims=True)):
        function(x)
        first, second = function(x), function(x)
        first += 1
        assert not np.may_share_memory(first.numpy(), x.numpy())
        np.testing.assert_array_equal(second.numpy() + 1, first.numpy())
    np.testing.assert_array_equal(x.numpy(), [1, 2])


def test_messages_name_the_function() -> None:
    x = gc.tensor([1.0], requires_grad=True)
    y = [gc.relu(x) for _ in range(2)][1]
    assert repr(y) == "tensor([1.], made_by=relu)"
    y.sum().backward()
    with pytest.raises(GradientError, match="the gradient of relu needs were freed"):
        y.sum().backward()


def test_errors_have_the_line_of_this_call() -> None:
    logits = gc.zeros((3, 3))
    for _ in range(3):
        gc.cross_entropy(logits, LABELS)
    wrong = gc.tensor([0, 5, 1])
    with pytest.raises(OutOfBoundsError) as first:
        gc.cross_entropy(logits, wrong)
    with pytest.raises(OutOfBoundsError) as second:
        gc.cross_entropy(logits, wrong)
    assert second.value.location.line == first.value.location.line + 2
    with pytest.raises(ShapeError, match="one class number an example"):
        gc.cross_entropy(logits, gc.tensor([0, 1]))
    with pytest.raises(ArgumentError, match="unknown reduction"):
        gc.mse_loss(logits, 0.0, reduction="no")


def test_values_of_plain_arguments_are_told_apart() -> None:
    x = gc.tensor([-1.0, 4.0])
    for slope in (0.5, 0.25, 0, False, 1, True):
        want = [-1.0 * slope, 4.0]
        for _ in range(3):
            np.testing.assert_array_equal(gc.leaky_relu(x, slope).numpy(), want)
    assert gc.sum(gc.hardtanh(x, -0.0)).item() == gc.sum(gc.hardtanh(x, 0.0)).item()


def test_signs_of_zeros_are_told_apart() -> None:
    x = gc.tensor([-2.0])
    for slope, sign in [(0.0, -0.0), (-0.0, 0.0)] * 3:
        result = gc.leaky_relu(x, negative_slope=slope).numpy()
        np.testing.assert_array_equal(np.signbit(result), np.signbit([sign]))


def test_large_arrays_and_other_operands_go_op_by_op() -> None:
    calls: list[int] = []

    def function(x: Any) -> Any:
        calls.append(1)
        return x * 2 + 1

    eager: Any = gc.Tensor.context
    composed = eager.composed(function)

    def run(x: Any) -> Any:
        return eager.compose(composed, (x,), {})

    small, large = gc.ones(4), gc.ones(MOST_ELEMENTS + 1)
    assert not isinstance(run(small), gc.Tensor)
    assert not calls
    for _ in range(3):
        np.testing.assert_array_equal(run(small).numpy(), [3] * 4)
    assert len(calls) == 1
    for other in (large, large, np.ones(4), 2.0, [small], [small]):
        assert not isinstance(run(other), gc.Tensor)
    assert len(calls) == 1
    with gc.record():
        assert not isinstance(run(small), gc.Tensor)


def test_what_reads_other_tensors_is_not_composed() -> None:
    weight = gc.tensor([2.0])
    composed = Composed(lambda x: x * weight)
    assert [composed.program((gc.ones(1),), {}) for _ in range(3)] == [None] * 3
    for function in (lambda x: x, lambda x: x[:1], lambda x: gc.broadcast_to(x * 2, (3, 2)), lambda x: x.add_(1)):
        composed = Composed(function)
        assert [composed.program((gc.ones(2),), {}) for _ in range(3)] == [None] * 3


def test_programs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.frontends.eager.composed._MOST_PROGRAMS", 4)
    composed = Composed(lambda x, n: x * n)
    x = gc.ones(2)
    for n in range(10):
        assert composed.program((x, n), {}) is None
        found = composed.program((x, n), {})
        assert found is not None
        np.testing.assert_array_equal(found[0].run([x.numpy()])[0], [n, n])
        assert len(composed.programs) <= 4


def test_gradient_mode_and_constants() -> None:
    x = gc.tensor([1.0, -1.0], requires_grad=True)
    with gc.no_grad():
        assert not gc.relu(x).requires_grad
    assert gc.relu(x).requires_grad
    assert not gc.relu(x.detach()).requires_grad
    assert not gc.argmax(gc.softmax(x, 0)).requires_grad


def test_it_takes_few_calls() -> None:
    x, logits = gc.ones((4, 3)), gc.ones((3, 3)).requires_grad_()
    for call in (lambda: gc.relu(x), lambda: gc.cross_entropy(logits, LABELS)):
        call()
        call()
    assert counted(lambda: gc.relu(x)) <= 60
    assert counted(lambda: gc.cross_entropy(logits, LABELS)) <= 300  # it was 6000
