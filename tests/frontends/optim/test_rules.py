"""Every optimizer, in every form and mode, follows its formula for 50 steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc.frontends.eager.context  # noqa: F401 - registers eager execution
from graphc.frontends import optim
from graphc.frontends.array.creation import asarray
from graphc.frontends.tracing.jit import jit
from tests.frontends.optim import formulas

STEPS = 50
START = np.random.default_rng(0).normal(size=(3, 4))
GRADS = [np.random.default_rng(100 + i).normal(size=(3, 4)) for i in range(STEPS)]

Formula = Callable[..., Any]
CASES: list[tuple[type[optim.Optimizer], Formula, dict[str, Any]]] = [
    (optim.SGD, formulas.sgd, {"lr": 0.05}),
    (optim.SGD, formulas.sgd, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    (optim.SGD, formulas.sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (optim.SGD, formulas.sgd, {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    (optim.Adam, formulas.adam, {"lr": 0.02}),
    (optim.Adam, formulas.adam, {"lr": 0.02, "weight_decay": 0.1, "amsgrad": True, "betas": (0.8, 0.95)}),
    (optim.Adam, formulas.adam, {"lr": 0.02, "betas": (0.0, 0.0), "eps": 1e-3}),
    (optim.RMSprop, formulas.rmsprop, {"lr": 0.01}),
    (optim.RMSprop, formulas.rmsprop, {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.01}),
    (optim.Adagrad, formulas.adagrad, {"lr": 0.1}),
    (optim.Adagrad, formulas.adagrad, {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    (optim.Lion, formulas.lion, {"lr": 0.01, "weight_decay": 0.1}),
]
DECOUPLED = {"lr": 0.02, "weight_decay": 0.1}
IDS = [f"{c.__name__}-{'-'.join(o)}" for c, _, o in CASES] + ["AdamW"]
ALL = [*CASES, (optim.AdamW, lambda *a, **k: formulas.adam(*a, **k, decoupled=True), DECOUPLED)]
over_all = pytest.mark.parametrize(("make", "formula", "options"), ALL, ids=IDS)


def parameter(dtype: str = "float64") -> Any:
    return asarray(START.astype(dtype)).requires_grad_()


@over_all
def test_step_follows_the_formula(make: Any, formula: Formula, options: dict[str, Any]) -> None:
    p = parameter()
    optimizer = make([p], **options)
    for g in GRADS:
        p.grad = asarray(g)
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), formula(START, GRADS, **options), rtol=1e-10, atol=1e-12)


@over_all
def test_update_follows_the_formula_and_changes_nothing(make: Any, formula: Formula, options: dict[str, Any]) -> None:
    optimizer = make(**options)
    params = {"w": asarray(START.astype("float32")), "rest": [asarray(START[0])]}
    first = state = optimizer.init(params)
    for g in GRADS:
        params, state = optimizer.update(params, {"w": asarray(g.astype("float32")), "rest": [asarray(g[0])]}, state)
    np.testing.assert_allclose(params["w"].numpy(), formula(START, GRADS, **options), rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(
        params["rest"][0].numpy(), formula(START[0], [g[0] for g in GRADS], **options), rtol=1e-10, atol=1e-12
    )
    for slots, (name, value) in [(s, item) for s in first for item in optimizer.slots(optimizer.defaults).items()]:
        np.testing.assert_array_equal(slots[name].numpy(), value)


@over_all
def test_a_whole_training_step_in_jit_equals_the_eager_one(make: Any, formula: Formula, options: dict[str, Any]) -> None:
    target = asarray(GRADS[0].astype("float32"))

    def train(p: Any, optimizer: Any) -> Callable[[], Any]:
        def step() -> Any:
            optimizer.zero_grad()
            loss = ((p - target) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return step

    one, two = parameter("float32"), parameter("float32")
    eager, traced = train(one, make([one], **options)), jit(train(two, make([two], **options)))
    for _ in range(8):
        np.testing.assert_allclose(traced().item(), eager().item(), rtol=1e-5)
    np.testing.assert_allclose(two.detach().numpy(), one.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert traced.trace_count == 1


def test_half_precision_parameters_keep_their_state_in_float32() -> None:
    p = parameter("float16")
    optimizer = optim.Adam([p], lr=0.02)
    for g in GRADS:
        p.grad = asarray(g.astype("float16"))
        optimizer.step()
    assert p.dtype.name == "float16"
    assert optimizer.state[id(p)]["exp_avg_sq"].dtype.name == "float32"
    np.testing.assert_allclose(p.detach().numpy(), formulas.adam(START, GRADS, lr=0.02), atol=0.02)
