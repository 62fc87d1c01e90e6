"""gc.check_numerics(): the first op that makes a NaN or an infinity, in every mode."""

import threading

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, NumericsError


def _caught(run):
    with pytest.raises(NumericsError) as caught, gc.check_numerics():
        run()
    return caught.value


def test_the_op_the_line_the_ranges_and_the_fix_are_named():
    x = gc.tensor(np.linspace(-3, 3, 8).astype(np.float32))
    error = _caught(lambda: gc.exp(gc.log(x)))
    assert error.message == (
        "log made 4 NaNs of 8 elements, first at [0]\n"
        "  operand 0: f32[8] in [-3, 3]\n"
        "  in the forward pass"
    )
    assert error.hint == "keep its operand above 0: gc.clip(x, 1e-12, None), or gc.log_softmax for the log of a softmax"
    assert "gc.exp(gc.log(x))" in error.location.source_line
    assert isinstance(error, FloatingPointError)


def test_one_scalar_is_said_in_the_singular():
    assert _caught(lambda: gc.tensor(1.0) / gc.tensor(0.0)).message == (
        "div made an infinity\n  operand 0: f32[] = 1.\n  operand 1: f32[] = 0.\n  in the forward pass"
    )


@pytest.mark.parametrize("mode", ["eager", "jit", "session"])
def test_every_mode_finds_it_in_its_own_line(mode):
    def f(x):
        y = x * 2.0
        return gc.sqrt(y)  # here

    def run():
        if mode == "session":
            with gc.Graph().as_default() as graph:
                x = gc.placeholder(gc.float32, [2], name="x")
                result = f(x)
            with gc.Session(graph) as session:
                session.run(result, {x: np.array([-1.0, 1.0], np.float32)})
        else:
            (gc.jit(f) if mode == "jit" else f)(gc.tensor([-1.0, 1.0]))

    error = _caught(run)
    assert error.message.startswith("sqrt made a NaN of 2 elements, first at [0]")
    assert error.location.source_line.endswith("# here")


@pytest.mark.parametrize("traced", [False, True])
def test_the_backward_pass_is_told_from_the_forward_pass(traced):
    def step(w):
        loss = gc.sqrt(w).sum()
        loss.backward()
        return w.grad

    w = gc.tensor([0.0, 1.0], requires_grad=True)
    error = _caught(lambda: (gc.jit(step) if traced else step)(w))
    assert "in the backward pass, in the gradient of the line below" in error.message
    assert "gc.sqrt(w).sum()" in error.location.source_line


def test_a_function_that_is_warm_is_looked_at_too():
    f = gc.jit(gc.log)
    x = gc.tensor([0.0])
    for _ in range(3):
        f(x)
    assert "log made an infinity" in _caught(lambda: f(x)).message
    assert f(x).item() == -np.inf  # and is itself again afterwards


def test_what_is_handed_on_is_not_made():
    mask = gc.tensor([0.0, -np.inf])
    with gc.check_numerics():
        gc.softmax(gc.tensor([1.0, 2.0]) + mask)
        gc.where(gc.tensor([True, False]), gc.tensor([1.0, 2.0]), -np.inf)
        gc.tensor([np.nan]) * 2.0


def test_only_what_is_asked_for_is_found():
    with gc.check_numerics(nan=False):
        gc.sqrt(gc.tensor([-1.0]))
    with gc.check_numerics(infinity=False):
        gc.log(gc.tensor([0.0]))
    with pytest.raises(ArgumentError, match="nothing to look for"), gc.check_numerics(nan=False, infinity=False):
        pass


def test_other_threads_are_not_looked_at():
    found = []
    with gc.check_numerics():
        thread = threading.Thread(target=lambda: found.append(gc.log(gc.tensor([0.0])).item()))
        thread.start()
        thread.join()
    assert found == [-np.inf]


def test_results_and_state_are_those_of_an_ordinary_run():
    def train():
        w = gc.tensor([0.5, -0.25], requires_grad=True)
        optimizer = gc.optim.Adam([w], lr=0.1)

        @gc.jit
        def step(x):
            optimizer.zero_grad()
            loss = ((w * x - 1.0) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return [step(gc.tensor([1.0, 2.0])).item() for _ in range(4)] + w.tolist()

    plain = train()
    with gc.check_numerics():
        looked_at = train()
    np.testing.assert_allclose(looked_at, plain, rtol=1e-6)
