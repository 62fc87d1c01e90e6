"""Learning-rate schedules."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.errors import ArgumentError, TraceError
from graphc.frontends import optim
from graphc.frontends.array.creation import asarray
from graphc.frontends.tracing.jit import jit


def optimizer(lr: float = 0.8) -> optim.SGD:
    return optim.SGD([asarray(np.ones(1, np.float32)).requires_grad_()], lr=lr)


SCHEDULES: dict[str, tuple[Callable[[Any], optim.LRScheduler], list[float]]] = {
    "step": (lambda o: optim.StepLR(o, 2, 0.5), [0.8, 0.8, 0.4, 0.4, 0.2]),
    "exponential": (lambda o: optim.ExponentialLR(o, 0.5), [0.8, 0.4, 0.2, 0.1, 0.05]),
    "cosine": (
        lambda o: optim.CosineAnnealingLR(o, 4, 0.2),
        [0.8, 0.5 + 0.3 * math.sqrt(0.5), 0.5, 0.5 - 0.3 * math.sqrt(0.5), 0.2],
    ),
    "warmup": (lambda o: optim.LinearWarmup(o, 4, 0.5), [0.4, 0.5, 0.6, 0.7, 0.8, 0.8]),
    "lambda": (lambda o: optim.LambdaLR(o, lambda epoch: 1 / (1 + epoch)), [0.8, 0.4, 0.8 / 3]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates(name: str) -> None:
    make, expected = SCHEDULES[name]
    target = optimizer()
    schedule = make(target)
    rates = [target.lr]
    for _ in expected[1:]:
        schedule.step()
        rates.append(target.lr)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert schedule.get_last_lr() == [target.lr]


def test_each_group_keeps_its_own_initial_rate() -> None:
    target = optimizer()
    target.add_param_group({"params": asarray(np.ones(1, np.float32)).requires_grad_(), "lr": 0.1})
    schedule = optim.LambdaLR(target, [lambda epoch: 1.0, lambda epoch: 2.0**epoch])
    schedule.step()
    np.testing.assert_allclose(schedule.get_last_lr(), [0.8, 0.2])


def test_a_schedule_can_be_saved() -> None:
    first, second = optimizer(), optimizer(5.0)
    schedule = optim.ExponentialLR(first, 0.5)
    schedule.step()
    resumed = optim.ExponentialLR(second, 0.5)
    resumed.load_state_dict(schedule.state_dict())
    assert second.lr == 0.4
    resumed.step()
    assert second.lr == pytest.approx(0.2)


def test_a_traced_step_follows_the_schedule() -> None:
    target = optimizer(0.5)
    (p,) = target.param_groups[0]["params"]
    schedule = optim.ExponentialLR(target, 0.5)

    @jit
    def step() -> None:
        target.zero_grad()
        p.sum().backward()
        target.step()

    values = []
    for _ in range(3):
        step()
        schedule.step()
        values.append(p.item())
    assert values == [0.5, 0.25, 0.125]
    assert step.trace_count == 1


def test_misuse() -> None:
    with pytest.raises(ArgumentError, match="step_size must be at least 1"):
        optim.StepLR(optimizer(), 0)
    with pytest.raises(ArgumentError, match="2 functions for 1 parameter groups"):
        optim.LambdaLR(optimizer(), [lambda e: 1.0, lambda e: 1.0])
    with pytest.raises(ArgumentError, match="needs an optimizer with parameters"):
        optim.ExponentialLR(optim.SGD(lr=0.1), 0.5)
    schedule = optim.ExponentialLR(optimizer(), 0.5)
    with pytest.raises(TraceError, match="would count only when it is traced"):
        jit(schedule.step)()
