"""The workloads in PyTorch, op by op; ``in_torch_compiled`` compiles the same functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .workloads import ADAM, HEADS, LEARNING_RATE, SWEEPS, Inputs, parameters

Call = Callable[[], object]


def version() -> str:
    """PyTorch's."""
    return torch.__version__


def threads(count: int) -> None:
    """Use so many."""
    torch.set_num_threads(count)


class Torch:
    """The functions, with ``wrap`` around each that a user would compile."""

    def __init__(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.wrap = wrap

    def _plain(self, function: Callable[..., Tensor], *inputs: Any) -> Call:
        arrays = [torch.from_numpy(a) for a in inputs]
        compiled = self.wrap(function)

        def call() -> Any:
            with torch.no_grad():
                result = compiled(*arrays)
            return result.numpy

        return call

    def gelu(self, i: Inputs) -> Call:
        def function(x: Tensor) -> Tensor:
            return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))

        return self._plain(function, i["x"])

    def softmax(self, i: Inputs) -> Call:
        return self._plain(lambda x: torch.softmax(x, -1), i["x"])

    def layer_norm(self, i: Inputs) -> Call:
        def function(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
            return functional.layer_norm(x, (x.shape[-1],), gain, shift)

        return self._plain(function, i["x"], i["gain"], i["shift"])

    def total(self, i: Inputs) -> Call:
        return self._plain(torch.sum, i["x"])

    def column_sums(self, i: Inputs) -> Call:
        return self._plain(lambda x: x.sum(0), i["x"])

    def dense_relu(self, i: Inputs) -> Call:
        return self._plain(lambda a, b, c: torch.relu(a @ b + c), i["a"], i["b"], i["c"])

    def black_scholes(self, i: Inputs) -> Call:
        def function(spot: Tensor, strike: Tensor, time: Tensor) -> Tensor:
            deviation = 0.3 * torch.sqrt(time)
            d1 = (torch.log(spot / strike) + (0.02 + 0.045) * time) / deviation
            d2 = d1 - deviation
            half = math.sqrt(0.5)
            return spot * 0.5 * (1 + torch.erf(d1 * half)) - strike * torch.exp(-0.02 * time) * 0.5 * (1 + torch.erf(d2 * half))

        return self._plain(function, i["spot"], i["strike"], i["time"])

    def _training(self, i: Inputs, loss: Callable[..., Tensor], optimizer: Callable[..., Any], *names: str) -> Call:
        weights = [torch.from_numpy(a.copy()).requires_grad_() for a in parameters(i)]
        data = [torch.from_numpy(i[name]) for name in names]
        update = optimizer(weights)
        compiled = self.wrap(loss)

        def step() -> float:
            update.zero_grad()
            value = compiled(weights, *data)
            value.backward()
            update.step()
            return value.item()

        return step

    def mlp_step(self, i: Inputs) -> Call:
        def loss(w: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
            x = torch.relu(x @ w[0] + w[1])
            x = torch.relu(x @ w[2] + w[3])
            return functional.cross_entropy(x @ w[4] + w[5], y)

        return self._training(i, loss, lambda w: torch.optim.Adam(w, lr=ADAM), "x", "y")

    def cnn_step(self, i: Inputs) -> Call:
        def loss(w: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
            x = functional.max_pool2d(torch.relu(functional.conv2d(x, w[0], w[1], padding=2)), 2)
            x = functional.max_pool2d(torch.relu(functional.conv2d(x, w[2], w[3], padding=2)), 2)
            return functional.cross_entropy(x.flatten(1) @ w[4] + w[5], y)

        return self._training(i, loss, lambda w: torch.optim.SGD(w, lr=LEARNING_RATE), "x", "y")

    def transformer_step(self, i: Inputs) -> Call:
        def loss(w: list[Tensor], x: Tensor, target: Tensor) -> Tensor:
            batch, tokens, width = x.shape
            h = functional.layer_norm(x, (width,), w[8] + 1, w[9])
            q, k, v = (h @ w[0] + w[1]).view(batch, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
            h = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + h.transpose(1, 2).reshape(batch, tokens, width) @ w[2] + w[3]
            h = functional.layer_norm(x, (width,), w[10] + 1, w[11])
            x = x + functional.gelu(h @ w[4] + w[5], approximate="tanh") @ w[6] + w[7]
            return ((x - target) ** 2).mean()

        return self._training(i, loss, lambda w: torch.optim.SGD(w, lr=LEARNING_RATE), "x", "target")

    def rnn_step(self, i: Inputs) -> Call:
        def loss(w: list[Tensor], x: Tensor, target: Tensor) -> Tensor:
            inputs = x @ w[0] + w[2]
            h = torch.zeros_like(target)
            for t in range(x.shape[0]):
                h = torch.tanh(inputs[t] + h @ w[1])
            return ((h - target) ** 2).mean()

        return self._training(i, loss, lambda w: torch.optim.SGD(w, lr=LEARNING_RATE), "x", "target")

    def jacobi(self, i: Inputs) -> Call:
        def sweep(a: Tensor) -> Tensor:
            a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:])
            return a

        compiled = self.wrap(sweep)

        def call() -> Any:
            a = torch.from_numpy(i["grid"].copy())
            with torch.no_grad():
                for _ in range(SWEEPS):
                    compiled(a)
            return a.numpy

        return call


class _Eager(Torch):
    def eager_add(self, i: Inputs) -> Call:
        x, y = torch.from_numpy(i["x"]), torch.from_numpy(i["y"])
        return lambda: (x + y).numpy


CALLS = _Eager(lambda function: function)
