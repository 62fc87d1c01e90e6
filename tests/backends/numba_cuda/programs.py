"""The main kernels, as the programs that they are from: their code is compiled, and its resources are kept as a golden file."""

from typing import Any, Final

import graphc as gc
from graphc.ir.graph import Graph


def _graph(name: str, function: Any, *specs: str) -> Graph:
    function.__name__ = name
    graph: Graph = gc.jit(function, name=name).graph(*(gc.spec(s) for s in specs))
    return graph


def _attention(q: Any, k: Any, v: Any) -> Any:
    return gc.softmax(q @ gc.swapaxes(k, -1, -2) / 8.0, axis=-1) @ v


def _layer_norm(x: Any, w: Any, b: Any) -> Any:
    return gc.layer_norm(x, (768,), w, b)


def _mlp_step(x: Any, y: Any, w: Any, v: Any) -> Any:
    gradients = gc.grad(lambda w, v: gc.cross_entropy(gc.relu(x @ w) @ v, y), argnums=(0, 1))(w, v)
    return w - 0.1 * gradients[0], v - 0.1 * gradients[1]


def _cnn_step(x: Any, y: Any, k: Any, w: Any) -> Any:
    def loss(k: Any, w: Any) -> Any:
        features = gc.max_pool2d(gc.relu(gc.conv2d(x, k, padding=1)), 2)
        return gc.cross_entropy(features.reshape(64, -1) @ w, y)

    gradients = gc.grad(loss, argnums=(0, 1))(k, w)
    return k - 0.1 * gradients[0], w - 0.1 * gradients[1]


def _transformer_step(tokens: Any, table: Any, q: Any, w: Any) -> Any:
    def loss(table: Any, q: Any, w: Any) -> Any:
        x = table[tokens]
        mixed = gc.softmax((x @ q) @ gc.swapaxes(x, -1, -2), axis=-1) @ x
        return gc.cross_entropy((gc.layer_norm(mixed + x, (256,)) @ w).reshape(-1, 512), tokens.reshape(-1))

    return gc.grad(loss, argnums=(0, 1, 2))(table, q, w)


def programs() -> dict[str, Graph]:
    return {
        "gelu": _graph("gelu", gc.gelu, "f32[n]"),
        "row sums": _graph("row_sums", lambda x: gc.sum(x, axis=1), "f32[n, m]"),
        "column sums": _graph("column_sums", lambda x: gc.sum(x, axis=0), "f32[n, m]"),
        "sum of all": _graph("sum_of_all", lambda x: gc.sum(x * 2.0), "f32[n]"),
        "softmax": _graph("softmax", lambda x: gc.softmax(x, axis=-1), "f32[n, m]"),
        "layer norm": _graph("layer_norm", _layer_norm, "f32[n, 768]", "f32[768]", "f32[768]"),
        "matrix product": _graph("matmul", lambda x, y: x @ y, "f32[n, k]", "f32[k, m]"),
        "matrix product, f64": _graph("matmul64", lambda x, y: x @ y, "f64[n, k]", "f64[k, m]"),
        "narrow matrix product": _graph("narrow", lambda x, y: x @ y, "f32[n, 784]", "f32[784, 10]"),
        "dense layer": _graph("dense", lambda x, y, b: gc.gelu(x @ y + b), "f32[n, k]", "f32[k, m]", "f32[m]"),
        "step of weights": _graph("step", lambda x, g, w: w - 0.1 * (x.T @ g), "f32[n, k]", "f32[n, m]", "f32[k, m]"),
        "convolution": _graph("conv", lambda x, k: gc.conv2d(x, k, padding=1), "f32[n, 64, h, w]", "f32[128, 64, 3, 3]"),
        "argsort": _graph("argsort", lambda x: gc.argsort(x, axis=-1), "f32[n, m]"),
        "cumulative sum": _graph("cumsum", lambda x: gc.cumulative_sum(x, axis=-1), "f32[n, m]"),
    }


def steps() -> dict[str, Graph]:
    """Training steps, forward and backward."""
    return {
        "attention": _graph("attention", _attention, "f32[b, t, 64]", "f32[b, t, 64]", "f32[b, t, 64]"),
        "mlp": _graph("mlp_step", _mlp_step, "f32[n, 784]", "i64[n]", "f32[784, 256]", "f32[256, 10]"),
        "cnn": _graph("cnn_step", _cnn_step, "f32[64, 1, 28, 28]", "i64[64]", "f32[32, 1, 3, 3]", "f32[6272, 10]"),
        "transformer": _graph("step", _transformer_step, "i64[8, 64]", "f32[512, 256]", "f32[256, 256]", "f32[256, 512]"),
    }


ARCHITECTURES: Final = ("sm_75", "sm_80", "sm_90")
