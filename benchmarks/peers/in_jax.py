"""The workloads in JAX, under ``jax.jit``; training steps donate their state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .workloads import ADAM, HEADS, LEARNING_RATE, SWEEPS, Inputs, parameters

jax.config.update("jax_enable_x64", True)

Call = Callable[[], object]


def version() -> str:
    """JAX's."""
    return jax.__version__


def _plain(function: Callable[..., Any], *inputs: Any) -> Call:
    arrays = [jnp.asarray(a) for a in inputs]
    compiled = jax.jit(function)
    return lambda: compiled(*arrays).block_until_ready()


def gelu(i: Inputs) -> Call:
    return _plain(lambda x: 0.5 * x * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x * x * x))), i["x"])


def softmax(i: Inputs) -> Call:
    return _plain(lambda x: jax.nn.softmax(x, -1), i["x"])


def _layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * gain + shift


def layer_norm(i: Inputs) -> Call:
    return _plain(_layer_norm, i["x"], i["gain"], i["shift"])


def total(i: Inputs) -> Call:
    return _plain(jnp.sum, i["x"])


def column_sums(i: Inputs) -> Call:
    return _plain(lambda x: x.sum(0), i["x"])


def dense_relu(i: Inputs) -> Call:
    return _plain(lambda a, b, c: jax.nn.relu(a @ b + c), i["a"], i["b"], i["c"])


def black_scholes(i: Inputs) -> Call:
    def function(spot: Any, strike: Any, time: Any) -> Any:
        deviation = 0.3 * jnp.sqrt(time)
        d1 = (jnp.log(spot / strike) + (0.02 + 0.045) * time) / deviation
        d2 = d1 - deviation
        half = 0.5**0.5
        return spot * 0.5 * (1 + jax.lax.erf(d1 * half)) - strike * jnp.exp(-0.02 * time) * 0.5 * (1 + jax.lax.erf(d2 * half))

    return _plain(function, i["spot"], i["strike"], i["time"])


def _training(i: Inputs, loss: Callable[..., Any], update: Callable[..., Any], state: Any, *names: str) -> Call:
    weights = [jnp.array(a) for a in parameters(i)]
    data = [jnp.asarray(i[name]) for name in names]

    def step(weights: Any, state: Any, *data: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(weights, *data)
        return value, *update(weights, gradients, state)

    compiled = jax.jit(step, donate_argnums=(0, 1))
    held = [weights, state(weights)]

    def call() -> float:
        value, *held[:] = compiled(*held, *data)
        jax.block_until_ready(held)
        return float(value)

    return call


def _sgd(weights: Any, gradients: Any, state: Any) -> Any:
    return [w - LEARNING_RATE * g for w, g in zip(weights, gradients, strict=True)], state


def _adam(weights: Any, gradients: Any, state: Any) -> Any:
    count, means, squares = state
    count = count + 1
    means = [0.9 * m + 0.1 * g for m, g in zip(means, gradients, strict=True)]
    squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, gradients, strict=True)]
    weights = [
        w - ADAM * (m / (1 - 0.9**count)) / (jnp.sqrt(s / (1 - 0.999**count)) + 1e-8)
        for w, m, s in zip(weights, means, squares, strict=True)
    ]
    return weights, (count, means, squares)


def _zeros(weights: Any) -> Any:
    return jnp.float32(0), [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights]


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def mlp_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, y: Any) -> Any:
        x = jax.nn.relu(x @ w[0] + w[1])
        x = jax.nn.relu(x @ w[2] + w[3])
        return _cross_entropy(x @ w[4] + w[5], y)

    return _training(i, loss, _adam, _zeros, "x", "y")


def cnn_step(i: Inputs) -> Call:
    def layer(x: Any, w: Any, b: Any) -> Any:
        x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME") + b[:, None, None]
        return jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss(w: Any, x: Any, y: Any) -> Any:
        x = layer(layer(x, w[0], w[1]), w[2], w[3])
        return _cross_entropy(x.reshape(x.shape[0], -1) @ w[4] + w[5], y)

    return _training(i, loss, _sgd, lambda w: (), "x", "y")


def transformer_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, target: Any) -> Any:
        batch, tokens, width = x.shape
        h = _layer_norm(x, w[8] + 1, w[9])
        q, k, v = (h @ w[0] + w[1]).reshape(batch, tokens, 3, HEADS, width // HEADS).transpose(2, 0, 1, 3, 4)
        h = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + h.reshape(batch, tokens, width) @ w[2] + w[3]
        h = _layer_norm(x, w[10] + 1, w[11])
        x = x + jax.nn.gelu(h @ w[4] + w[5], approximate=True) @ w[6] + w[7]
        return ((x - target) ** 2).mean()

    return _training(i, loss, _sgd, lambda w: (), "x", "target")


def rnn_step(i: Inputs) -> Call:
    def loss(w: Any, x: Any, target: Any) -> Any:
        inputs = x @ w[0] + w[2]
        h, _ = jax.lax.scan(lambda h, a: (jnp.tanh(a + h @ w[1]), None), jnp.zeros_like(target), inputs)
        return ((h - target) ** 2).mean()

    return _training(i, loss, _sgd, lambda w: (), "x", "target")


def jacobi(i: Inputs) -> Call:
    def function(a: Any) -> Any:
        def sweep(_: Any, a: Any) -> Any:
            return a.at[1:-1, 1:-1].set(0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]))

        return jax.lax.fori_loop(0, SWEEPS, sweep, a)

    return _plain(function, i["grid"])


def small_call(i: Inputs) -> Call:
    x = jnp.asarray(i["x"])
    compiled = jax.jit(lambda x: x * 2 + 1)
    return lambda: compiled(x)


def eager_add(i: Inputs) -> Call:
    x, y = jnp.asarray(i["x"]), jnp.asarray(i["y"])
    return lambda: x + y
