"""The workloads in graphc, as a user writes them: ``gc.jit`` around a function, or around a whole training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc as gc

from .workloads import ADAM, HEADS, LEARNING_RATE, SWEEPS, Inputs, parameters

Call = Callable[[], object]


def version() -> str:
    """graphc's."""
    return gc.__version__


def threads(count: int) -> None:
    """Use so many."""
    gc.set_num_threads(count)


def _plain(function: Callable[..., Any], *inputs: Any) -> Call:
    arrays = [gc.from_numpy(a) for a in inputs]
    compiled = gc.jit(function)
    return lambda: compiled(*arrays).numpy


def gelu(i: Inputs) -> Call:
    return _plain(lambda x: 0.5 * x * (1 + gc.tanh(0.7978845608 * (x + 0.044715 * x * x * x))), i["x"])


def softmax(i: Inputs) -> Call:
    return _plain(lambda x: gc.softmax(x, -1), i["x"])


def layer_norm(i: Inputs) -> Call:
    return _plain(lambda x, gain, shift: gc.layer_norm(x, x.shape[-1], gain, shift), i["x"], i["gain"], i["shift"])


def total(i: Inputs) -> Call:
    return _plain(gc.sum, i["x"])


def column_sums(i: Inputs) -> Call:
    return _plain(lambda x: x.sum(0), i["x"])


def dense_relu(i: Inputs) -> Call:
    return _plain(lambda a, b, c: gc.relu(a @ b + c), i["a"], i["b"], i["c"])


def black_scholes(i: Inputs) -> Call:
    def function(spot: Any, strike: Any, time: Any) -> Any:
        deviation = 0.3 * gc.sqrt(time)
        d1 = (gc.log(spot / strike) + (0.02 + 0.045) * time) / deviation
        d2 = d1 - deviation
        half = 0.5**0.5
        return spot * 0.5 * (1 + gc.erf(d1 * half)) - strike * gc.exp(-0.02 * time) * 0.5 * (1 + gc.erf(d2 * half))

    return _plain(function, i["spot"], i["strike"], i["time"])


def _training(i: Inputs, loss: Callable[..., Any], optimizer: Callable[..., Any], *names: str) -> Call:
    weights = [gc.tensor(a, requires_grad=True) for a in parameters(i)]
    data = [gc.from_numpy(i[name]) for name in names]
    update = optimizer(weights)

    @gc.jit
    def step(*data: Any) -> Any:
        value = loss(weights, *data)
        update.zero_grad()
        value.backward()
        update.step()
        return value

    return lambda: step(*data).item()


def mlp_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, y: Any) -> Any:
        x = gc.relu(x @ w[0] + w[1])
        x = gc.relu(x @ w[2] + w[3])
        return gc.cross_entropy(x @ w[4] + w[5], y)

    return _training(i, loss, lambda w: gc.optim.Adam(w, lr=ADAM), "x", "y")


def cnn_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, y: Any) -> Any:
        x = gc.max_pool2d(gc.relu(gc.conv2d(x, w[0], w[1], padding=2)), 2)
        x = gc.max_pool2d(gc.relu(gc.conv2d(x, w[2], w[3], padding=2)), 2)
        return gc.cross_entropy(x.reshape(x.shape[0], -1) @ w[4] + w[5], y)

    return _training(i, loss, lambda w: gc.optim.SGD(w, lr=LEARNING_RATE), "x", "y")


def transformer_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, target: Any) -> Any:
        batch, tokens, width = x.shape
        h = gc.layer_norm(x, width, w[8] + 1, w[9])
        qkv = (h @ w[0] + w[1]).reshape(batch, tokens, 3, HEADS, width // HEADS).transpose(2, 0, 3, 1, 4)
        h = gc.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + h.transpose(0, 2, 1, 3).reshape(batch, tokens, width) @ w[2] + w[3]
        h = gc.layer_norm(x, width, w[10] + 1, w[11])
        x = x + gc.gelu(h @ w[4] + w[5], approximate="tanh") @ w[6] + w[7]
        return ((x - target) ** 2).mean()

    return _training(i, loss, lambda w: gc.optim.SGD(w, lr=LEARNING_RATE), "x", "target")


def rnn_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, target: Any) -> Any:
        h, _ = gc.scan(lambda h, x: (gc.tanh(x @ w[0] + w[2] + h @ w[1]), None), gc.zeros_like(target), x)
        return ((h - target) ** 2).mean()

    return _training(i, loss, lambda w: gc.optim.SGD(w, lr=LEARNING_RATE), "x", "target")


def jacobi(i: Inputs) -> Call:
    @gc.jit
    def sweep(a: Any) -> None:
        a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:])

    def call() -> Any:
        a = gc.tensor(i["grid"])
        for _ in range(SWEEPS):
            sweep(a)
        return a.numpy

    return call


def small_call(i: Inputs) -> Call:
    x = gc.from_numpy(i["x"])
    compiled = gc.jit(lambda x: x * 2 + 1)
    return lambda: compiled(x).numpy


def eager_add(i: Inputs) -> Call:
    x, y = gc.from_numpy(i["x"]), gc.from_numpy(i["y"])
    return lambda: (x + y).numpy
