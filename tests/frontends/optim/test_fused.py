"""A step of all parameters at once: the same bits as one parameter after the other, and only where it may be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import InPlaceError, ShapeError
from tests.call_count import counted

SHAPES: list[tuple[int, ...]] = [(3, 4), (4,), (), (2, 1, 3)]
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: gc.optim.SGD(p, lr=0.1),
    "momentum": lambda p: gc.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01),
    "nesterov": lambda p: gc.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: gc.optim.Adam(p, lr=0.01),
    "adamw": lambda p: gc.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: gc.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: gc.optim.Adagrad(p, lr=0.01),
    "lion": lambda p: gc.optim.Lion(p, lr=0.01),
}


def parameters(dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(0)
    return [gc.tensor(rng.standard_normal(s), dtype=dtype, requires_grad=True) for s in SHAPES]


def give_gradients(params: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for param in params:
        param.grad = gc.tensor(rng.standard_normal(param.shape), dtype=param.dtype)


def one_by_one(optimizer: Any, **options: Any) -> None:
    with gc.record():  # who records sees each op
        optimizer.step(**options)


def same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.detach().numpy().tobytes() == y.detach().numpy().tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_bits_are_those_of_one_by_one(name: str, dtype: str) -> None:
    fused, plain = parameters(dtype), parameters(dtype)
    optimizers = OPTIMIZERS[name](fused), OPTIMIZERS[name](plain)
    for step in range(4):
        give_gradients(fused, step)
        give_gradients(plain, step)
        optimizers[0].step()
        one_by_one(optimizers[1])
        same(fused, plain)
        for x, y in zip(fused, plain, strict=True):
            slots = [list(o.state[id(p)].values()) for o, p in zip(optimizers, (x, y), strict=True)]
            same(*slots)


def test_changes_between_steps_are_seen() -> None:
    fused, plain = parameters(), parameters()
    optimizers = [gc.optim.SGD(p, lr=0.1, momentum=0.5) for p in (fused, plain)]
    changes: list[Callable[[Any], None]] = [
        lambda o: None,
        lambda o: setattr(o, "lr", 0.5),
        lambda o: o.param_groups[0].update(momentum=0.25, weight_decay=0.1),
        lambda o: o.add_param_group({"params": [gc.ones(2).requires_grad_()], "lr": 0.3}),
        lambda o: setattr(o.param_groups[0]["params"][1], "grad", None),
        lambda o: o.param_groups[0]["params"].reverse(),
    ]
    for step, change in enumerate(changes):
        give_gradients(fused, step)
        give_gradients(plain, step)
        for optimizer in optimizers:
            change(optimizer)
            for group in optimizer.param_groups[1:]:
                give_gradients(group["params"], step)
        optimizers[0].step()
        one_by_one(optimizers[1])
        same(fused, plain)
        for again in range(2):  # a step is fused when it comes again
            give_gradients(optimizers[0].param_groups[0]["params"], 10 + again)
            give_gradients(optimizers[1].param_groups[0]["params"], 10 + again)
            optimizers[0].step()
            one_by_one(optimizers[1])
            same(fused, plain)
    for rate in (0.1, gc.tensor(0.25), 1):
        optimizers[0].step(lr=rate)
        one_by_one(optimizers[1], lr=rate)
        same(fused, plain)


def test_parameters_that_share_memory_are_updated_in_order() -> None:
    results = []
    for step in (lambda o: o.step(), one_by_one):
        memory = np.array([1.0, 2.0, 3.0], np.float32)
        params = [gc.from_numpy(memory[:2]).requires_grad_(), gc.from_numpy(memory[1:]).requires_grad_()]
        optimizer = gc.optim.SGD(params, lr=0.5, weight_decay=1.0)
        for seed in range(3):
            give_gradients(params, seed)
            step(optimizer)
        results.append(memory.copy())
    np.testing.assert_array_equal(*results)


def test_writes_are_counted_and_gradients_kept() -> None:
    params = parameters()
    optimizer = gc.optim.Adam(params, lr=0.1)
    give_gradients(params, 0)
    optimizer.step()
    optimizer.step()
    gradients = [p.grad for p in params]
    y = (params[0] * params[0]).sum()
    optimizer.step()
    assert all(p.grad is g for p, g in zip(params, gradients, strict=True))
    assert all(p.requires_grad and p.is_leaf for p in params)
    with pytest.raises(InPlaceError, match="changed in place"):
        y.backward()


def test_gradients_of_another_shape_are_refused() -> None:
    param = gc.ones(3).requires_grad_()
    optimizer = gc.optim.SGD([param], lr=0.1)
    param._grad = gc.ones(2)
    for _ in range(4):
        with pytest.raises(ShapeError, match="the gradient has shape"):
            optimizer.step()


def test_copies_and_traced_steps_work() -> None:
    params = parameters()
    optimizer = gc.optim.Adam(params, lr=0.1)
    give_gradients(params, 0)
    optimizer.step()
    copied = copy.deepcopy(optimizer)
    for group in copied.param_groups:
        give_gradients(group["params"], 1)
    copied.step()

    @gc.jit
    def step(x: Any) -> Any:
        loss = (params[0] * x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    before = params[0].detach().numpy().copy()
    step(gc.tensor(2.0))
    assert (params[0].detach().numpy() != before).any()


def test_a_step_takes_few_calls() -> None:
    params = [gc.ones((4, 4)).requires_grad_() for _ in range(20)]
    optimizer = gc.optim.SGD(params, lr=0.1)
    give_gradients(params, 0)
    optimizer.step()
    optimizer.step()
    assert counted(optimizer.step) <= 40 * len(params)
