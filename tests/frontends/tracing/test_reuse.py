"""When a traced graph is used again, and what its results say of gradients."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc


def repeated(x: gc.Tensor, times: int | tuple[int, ...]) -> gc.Tensor:
    for _ in range(times[0] if isinstance(times, tuple) else times):
        x = x * 2
    return x


@pytest.mark.parametrize("options", [{"static_argnames": ("times",)}, {"static_argnames": "times"}, {"static_argnums": (1,)}])
def test_a_static_value_is_traced_once(options: dict[str, object]) -> None:
    function = gc.jit(repeated, **options)
    x = gc.ones(3)
    for _ in range(3):
        np.testing.assert_array_equal(function(x, 3).numpy(), [8, 8, 8])
    assert function.trace_count == 1
    np.testing.assert_array_equal(function(x, 1).numpy(), [2, 2, 2])
    function(x, 3)
    assert function.trace_count == 2


def test_static_tuples_are_compared_by_value_and_type() -> None:
    function = gc.jit(lambda x, n: x * n[0], static_argnames="n")
    x = gc.tensor([1, 2])
    for _ in range(3):
        assert function(x, tuple([2])).dtype is gc.int64  # noqa: C409 - a new tuple each time
    assert function.trace_count == 1
    assert function(x, (2.0,)).dtype is gc.float32
    assert function.trace_count == 2


def test_a_static_object_is_traced_once_for_each_object() -> None:
    class Model:
        factor = 3.0

    function = gc.jit(lambda model, x: x * model.factor)
    first, second = Model(), Model()
    for model in (first, first, second, first):
        function(model, gc.ones(2))
    assert function.trace_count == 2


def test_results_require_gradients_as_in_eager_mode() -> None:
    weight = gc.tensor([1.0, 2.0], requires_grad=True)

    def function(x: gc.Tensor) -> tuple[gc.Tensor, ...]:
        with gc.no_grad():
            cut = x * weight
        return x * weight, cut, (x * weight).detach(), x > weight

    x = gc.tensor([3.0, 4.0])
    eager, jitted = function(x), gc.jit(function)(x)
    assert [t.requires_grad for t in eager] == [t.requires_grad for t in jitted] == [True, False, False, False]
    np.testing.assert_array_equal(jitted[1].numpy(), [3, 8])
    jitted[0].sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), [3, 4])


def test_recorded_results_of_a_call_keep_their_gradients_apart() -> None:
    weight = gc.tensor([1.0, 2.0], requires_grad=True)

    @gc.jit
    def function(x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        with gc.no_grad():
            cut = (x * weight).sum()
        return (x * weight).sum(), cut

    with gc.record() as recording:
        through, cut = function(gc.tensor([3.0, 4.0]))
        (through * cut).backward()
    np.testing.assert_array_equal(weight.grad.numpy(), [33, 44])
    assert "call" in str(recording.graph(outputs=[through, cut, weight.grad]))
