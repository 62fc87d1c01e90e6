"""f.step(): the nodes of a call with their values."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, OutOfBoundsError


@gc.jit
def _scaled(x, w):
    h = x @ w
    return gc.tanh(h).sum()


X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.ones((3, 2), np.float32)


def test_steps_show_each_node_with_its_values_and_line():
    walk = _scaled.step(X, W)
    steps = list(walk)
    assert [step.op for step in steps] == ["dot_general", "tanh", "reduce_sum"]
    assert np.array_equal(steps[0].results[0], X @ W)
    assert np.array_equal(steps[0].operands[1], W)
    assert walk.results is not None and np.allclose(walk.results[0], np.tanh(X @ W).sum())
    lines = str(steps[1]).splitlines()
    assert lines[0] == "1: %1: f32[2, 2] = tanh(%0)"
    assert lines[1] == "     = f32[2, 2] = [[0.995055, 0.995055], [1.      , 1.      ]]"
    assert lines[2].endswith("return gc.tanh(h).sum()")


def test_nothing_runs_before_its_turn():
    @gc.jit
    def pick(table, i):
        return gc.take(table * 2, i, axis=0)

    walk = pick.step(gc.arange(3), gc.tensor([7]))
    assert walk.until("mul").results[0].tolist() == [0, 2, 4]
    with pytest.raises(OutOfBoundsError, match="index 7 is out of range"):
        for _ in walk:
            pass


def test_until_stops_at_an_op_a_line_or_a_condition():
    step = _scaled.step(X, W).until("tanh")
    assert step.number == 1
    assert _scaled.step(X, W).until(step.location.line).op == "tanh"
    assert _scaled.step(X, W).until(lambda s: bool((s.results[0] > 3).any())).op == "dot_general"
    with pytest.raises(ArgumentError, match="has no step 'exp' after this one"):
        _scaled.step(X, W).until("exp")


def test_gradients_inside_are_marked():
    @gc.jit
    def step(w):
        (w * w).sum().backward()
        return w.grad

    texts = [str(s) for s in step.step(gc.tensor([1.0, 2.0], requires_grad=True))]
    assert any("gradient of " in text for text in texts)
    assert "gradient of " not in texts[0]


def test_captured_tensors_and_calls_of_other_functions_are_shown():
    scale = gc.tensor([2.0, 3.0])

    @gc.jit
    def inner(x):
        return x * scale

    @gc.jit
    def outer(x):
        return inner(x) + 1.0

    walk = outer.step(gc.tensor([1.0, 1.0]))
    assert [s.op for s in walk if s.op not in ("constant", "broadcast_in_dim")] == ["mul", "add"]
    assert walk.results[0].tolist() == [3.0, 4.0]


def test_methods_are_stepped_through():
    class Model:
        def __init__(self):
            self.w = gc.tensor([2.0])

        @gc.jit
        def __call__(self, x):
            return x * self.w

    assert next(Model().__call__.step(gc.tensor([4.0]))).results[0].tolist() == [8.0]
