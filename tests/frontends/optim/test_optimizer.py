"""What all optimizers share: groups, gradients, learning rates, saved state, and errors."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.errors import ArgumentError, CheckError, DTypeError, GradientError, ShapeError
from graphc.frontends import optim
from graphc.frontends.array.creation import asarray
from graphc.frontends.tracing.jit import jit


def leaf(*values: float) -> Any:
    return asarray(np.array(values, np.float32)).requires_grad_()


def with_grad(values: list[float], grad: list[float]) -> Any:
    p = leaf(*values)
    p.grad = asarray(np.array(grad, np.float32))
    return p


def test_parameters_without_a_gradient_are_left_alone() -> None:
    used, unused = with_grad([1.0], [1.0]), leaf(5.0)
    optimizer = optim.Adam([used, unused], lr=0.5)
    optimizer.step()
    assert used.item() == pytest.approx(0.5)
    assert unused.item() == 5.0
    assert optimizer.state[id(unused)]["step"].item() == 0
    unused.grad = asarray(np.array([2.0], np.float32))
    optimizer.step()
    assert unused.item() == pytest.approx(4.5), "its first step is corrected as a first step"


def test_zero_grad() -> None:
    p = with_grad([1.0, 2.0], [3.0, 4.0])
    optimizer = optim.SGD([p], lr=0.1)
    shared = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.numpy().tolist() == [0.0, 0.0]
    assert shared.numpy().tolist() == [3.0, 4.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_a_closure_computes_the_loss_with_gradients_on() -> None:
    p = leaf(3.0)
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.item() == 1.5


def test_groups_have_their_own_options() -> None:
    a, b, c = with_grad([1.0], [1.0]), with_grad([1.0], [1.0]), with_grad([1.0], [1.0])
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": {"c": c}, "lr": 0.25, "weight_decay": 1.0})
    optimizer.step()
    assert [round(p.item(), 6) for p in (a, b, c)] == [0.9, 0.5, 0.5]
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.25]


def test_params_may_be_any_structure_or_a_generator() -> None:
    params = {"w": leaf(1.0), "layers": [leaf(2.0), leaf(3.0)]}
    assert len(optim.SGD(params).param_groups[0]["params"]) == 3
    assert len(optim.SGD(p for p in (leaf(1.0), leaf(2.0))).param_groups[0]["params"]) == 2


def test_a_new_learning_rate_reaches_a_traced_step_without_a_new_trace() -> None:
    p = leaf(1.0)
    optimizer = optim.SGD([p], lr=0.5)

    @jit
    def step() -> None:
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    step()
    assert p.item() == 0.5
    optimizer.param_groups[0]["lr"] = 0.25
    step()
    assert p.item() == 0.25
    optimizer.lr = 0.0
    step()
    assert p.item() == 0.25
    assert step.trace_count == 1


def test_the_learning_rate_may_be_a_tensor_or_an_argument() -> None:
    p = with_grad([1.0], [1.0])
    rate = asarray(0.5)
    optimizer = optim.SGD([p], lr=rate)
    optimizer.step()
    rate.fill_(0.25)
    optimizer.step()
    assert p.item() == 0.25
    assert optimizer.lr is rate
    optimizer.lr = 1.0
    assert rate.item() == 1.0

    @jit
    def step(lr: float) -> None:
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step(lr=lr)

    step(0.125)
    step(0.0625)
    assert p.item() == 0.0625
    assert step.trace_count == 1


def test_update_in_jit_takes_the_learning_rate_when_it_runs() -> None:
    optimizer = optim.Adam(lr=0.5)
    params = (asarray(np.ones(2, np.float32)),)
    state = optimizer.init(params)
    update = jit(lambda p, s: optimizer.update(p, p, s))
    (first,), state = update(params, state)
    np.testing.assert_allclose(first.numpy(), [0.5, 0.5], rtol=1e-5)
    optimizer.lr = 0.0
    (second,), state = update((first,), state)
    np.testing.assert_array_equal(second.numpy(), first.numpy())
    assert state[0]["step"].item() == 2
    assert update.trace_count == 1


def test_state_dict_continues_where_it_was_taken() -> None:
    def run(p: Any, optimizer: Any, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (p * p * p).sum().backward()
            optimizer.step()

    one = leaf(1.0, 2.0)
    first = optim.Adam([one], lr=0.1)
    run(one, first, 3)
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    two = asarray(one.detach().numpy().copy()).requires_grad_()
    second = optim.Adam([two], lr=0.7)
    second.load_state_dict(saved)
    run(one, first, 3)
    run(two, second, 3)
    np.testing.assert_array_equal(one.detach().numpy(), two.detach().numpy())
    assert saved["state"][0]["step"].item() == 3, "a saved state is a copy"
    assert saved["param_groups"][0]["params"] == [0]


def test_a_pickled_optimizer_comes_with_its_parameters() -> None:
    p = with_grad([1.0], [1.0])
    optimizer = optim.Adam([p], lr=0.5)
    optimizer.step()
    for again in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        (q,) = again.param_groups[0]["params"]
        assert q is not p
        q.grad = p.grad
        again.lr = 0.25
        again.step()
        assert q.item() == pytest.approx(0.25)
        assert again.state[id(q)]["step"].item() == 2
    assert p.item() == pytest.approx(0.5)
    assert optimizer.lr == 0.5


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    source = optim.Adam([leaf(1.0, 2.0)])
    with pytest.raises(ArgumentError, match=r"groups of \[1\] parameters, this optimizer of \[2\]"):
        optim.Adam([leaf(1.0), leaf(2.0)]).load_state_dict(source.state_dict())
    with pytest.raises(ArgumentError, match=r"exp_avg of parameter 0 has shape \(2,\) .* and \(3,\) here"):
        optim.Adam([leaf(1.0, 2.0, 3.0)]).load_state_dict(source.state_dict())
    other = optim.SGD([leaf(1.0, 2.0)], momentum=0.9)
    with pytest.raises(ArgumentError, match="not one of SGD"):
        other.load_state_dict(source.state_dict())
    assert other.lr == 1e-3


def test_clip_grad_norm() -> None:
    a, b = with_grad([0.0, 0.0], [3.0, 0.0]), with_grad([0.0], [4.0])
    assert optim.clip_grad_norm_([a, b, leaf(1.0)], 10.0).item() == pytest.approx(5.0)
    assert a.grad.numpy().tolist() == [3.0, 0.0]
    optim.clip_grad_norm_([a, b], 1.0)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0.0], rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), [0.8], rtol=1e-5)
    assert optim.clip_grad_norm_([a, b], 9.0, float("inf")).item() == pytest.approx(0.8, rel=1e-5)
    assert optim.clip_grad_norm_([leaf(1.0)], 1.0).item() == 0.0


def test_clip_grad_norm_reports_what_is_not_finite() -> None:
    with pytest.raises(CheckError, match="not finite"):
        optim.clip_grad_norm_([with_grad([1.0], [float("nan")])], 1.0, error_if_nonfinite=True)


def test_clip_grad_value_in_jit() -> None:
    p = leaf(1.0, 1.0)
    optimizer = optim.SGD([p], lr=1.0)

    @jit
    def step() -> None:
        optimizer.zero_grad()
        (p * asarray(np.array([-9.0, 0.25], np.float32))).sum().backward()
        optim.clip_grad_value_([p], 0.5)
        optimizer.step()

    step()
    assert p.detach().numpy().tolist() == [1.5, 0.75]


def test_wrong_parameters() -> None:
    with pytest.raises(ArgumentError, match="empty list of parameters"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ArgumentError, match=r"pass the rate as lr="):
        optim.SGD(0.1)
    with pytest.raises(ArgumentError, match="parameter 1 is a str"):
        optim.SGD([leaf(1.0), "w"])
    with pytest.raises(GradientError, match=r"parameter 0 \(shape \(1,\)\) is the result of an op"):
        optim.SGD([leaf(1.0) * 2])
    with pytest.raises(GradientError, match=r"parameter 0 \(shape \(2,\), float32\) does not require a gradient"):
        optim.SGD([asarray([1.0, 2.0])])
    p = leaf(1.0)
    with pytest.raises(ArgumentError, match="given twice"):
        optim.SGD([p, p])
    optimizer = optim.SGD([p])
    with pytest.raises(ArgumentError, match="given twice"):
        optimizer.add_param_group({"params": p})
    with pytest.raises(ArgumentError, match="SGD has no option 'betas'"):
        optimizer.add_param_group({"params": leaf(1.0), "betas": (0.9, 0.9)})
    with pytest.raises(ArgumentError, match="made without parameters"):
        optim.SGD().step()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (optim.SGD, {"lr": -0.1}, "learning rate must be at least 0, not -0.1"),
        (optim.SGD, {"lr": float("nan")}, "learning rate must be at least 0, not nan"),
        (optim.SGD, {"lr": "fast"}, "a learning rate is a number"),
        (optim.SGD, {"momentum": -1}, "momentum must be at least 0"),
        (optim.SGD, {"nesterov": True}, "Nesterov momentum needs"),
        (optim.Adam, {"betas": (0.9, 1.0)}, "betas must be two numbers"),
        (optim.Adam, {"eps": -1}, "eps must be at least 0"),
        (optim.RMSprop, {"alpha": 1.0}, "alpha must be at least 0 and below 1"),
        (optim.Adagrad, {"lr_decay": -1}, "lr_decay must be at least 0"),
        (optim.Lion, {"weight_decay": -1}, "weight_decay must be at least 0"),
    ],
)
def test_options_out_of_range(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make([leaf(1.0)], **options)


def test_wrong_learning_rate_tensors_and_gradients() -> None:
    with pytest.raises(ShapeError, match=r"not of shape \(2,\)"):
        optim.SGD([leaf(1.0)], lr=asarray([0.1, 0.2]))
    with pytest.raises(DTypeError, match="not int64"):
        optim.SGD([leaf(1.0)], lr=asarray(1))
    optimizer = optim.SGD(lr=0.1)
    params = {"a": leaf(1.0)}
    with pytest.raises(ArgumentError, match="differ in structure"):
        optimizer.update(params, [leaf(1.0)], optimizer.init(params))
    with pytest.raises(ArgumentError, match="the state is of 0 parameters, and there are 1"):
        optimizer.update(params, params, ())
    with pytest.raises(ShapeError, match=r"the gradient has shape \(2,\), its parameter \(1,\)"):
        optimizer.update(params, {"a": asarray([1.0, 2.0])}, optimizer.init(params))
