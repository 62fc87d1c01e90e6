"""Training steps of the examples, on a device and on the CPU: losses, gradients and weights agree."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc

pytestmark = pytest.mark.simulator

EXAMPLES = Path(__file__).parents[3] / "examples"
STEPS = 2
Case = tuple[Any, list[Any], Callable[[Any, Any], Any], tuple[np.ndarray, np.ndarray]]


def example(name: str) -> Any:
    for package in ("sklearn", "mlxtend", "tqdm"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mlp() -> Case:
    gc.random.manual_seed(3)
    model = example("mlp_eager").MLP(5, 6, 3)
    rng = np.random.default_rng(0)
    return model, model.parameters(), gc.cross_entropy, (rng.normal(size=(4, 5)).astype("float32"), rng.integers(0, 3, 4))


def cnn() -> Case:
    rng = np.random.default_rng(0)
    model = example("cnn_mnist").CNN(rng)
    model.linear = gc.tensor(rng.normal(0, 0.1, (10, 16)), dtype=gc.float32, requires_grad=True)  # images of 4 × 4
    images = rng.normal(size=(2, 1, 4, 4)).astype("float32")
    return model, model.parameters(), gc.cross_entropy, (images, rng.integers(0, 10, 2))


def transformer() -> Case:
    module = example("transformer_shakespeare")
    module.WIDTH, module.HEADS, module.BLOCKS, module.CONTEXT = 4, 2, 1, 4
    rng = np.random.default_rng(0)
    model = module.Transformer(5, rng)
    tokens = rng.integers(0, 5, (2, 4))

    def loss(logits: Any, y: Any) -> Any:
        return gc.cross_entropy(logits.reshape(-1, 5), y.reshape(-1))

    return model, list(model.params.values()), loss, (tokens, np.roll(tokens, 1))


def train(make: Callable[[], Case], device: str, mode: str) -> Iterator[np.ndarray]:
    """Losses, gradients and weights, step after step."""
    with gc.device(device):
        model, parameters, criterion, (x, y) = make()
        assert all(p.device.type == device for p in parameters)
        optimizer = gc.optim.Adam(parameters, lr=0.01)
        inputs = gc.tensor(x), gc.tensor(y)

    def step(x: Any, y: Any) -> Any:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = gc.jit(step) if mode == "jit" else step
    for _ in range(STEPS):
        loss = run(*inputs)
        assert loss.device == parameters[0].device
        yield loss.detach().cpu().numpy().copy()
        for parameter in parameters:
            assert parameter.grad.device == parameter.device
            yield parameter.grad.cpu().numpy().copy()
            yield parameter.detach().cpu().numpy().copy()


@pytest.mark.parametrize("mode", ["eager", "jit"])
@pytest.mark.parametrize("make", [mlp, cnn, transformer], ids=lambda f: f.__name__)
def test_steps_agree_with_the_cpu(make: Callable[[], Case], mode: str) -> None:
    here, there = list(train(make, "cpu", mode)), list(train(make, "cuda", mode))
    assert len(here) == len(there) > STEPS
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-4, atol=2e-6)
