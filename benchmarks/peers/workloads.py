"""What is measured: inputs, how results are compared, and the bytes and operations that a machine cannot do without.

A library's module (``in_graphc``, ``in_torch``, …) has one function a workload, of the same name. It takes the inputs and
returns a *call*: a function without arguments that does the work once, waits until it is done, and returns what is to be
compared, or a function that gives it. Training steps return their loss, so the first calls also check gradients and updates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Inputs = dict[str, np.ndarray]

MLP_WIDTHS = (784, 512, 256, 10)
MLP_BATCH = 128
CNN_BATCH = 64
TOKENS, SEQUENCES, WIDTH, HEADS = 128, 8, 256, 4
STEPS, RNN_BATCH, RNN_WIDTH = 128, 32, 128
GRID, SWEEPS = 1300, 100
LEARNING_RATE = 0.01
ADAM = 1e-3


@dataclass(frozen=True)
class Workload:
    """One row of the table. ``bytes`` and ``flops`` are those of an ideal program; ``goal`` is in milliseconds."""

    name: str
    title: str
    inputs: Callable[[], Inputs]
    bytes: float = 0.0
    flops: float = 0.0
    rtol: float = 2e-4
    goal: float | None = None
    steps: int = 1  #: how many results in a row are compared


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (_rng().standard_normal(shape) * scale).astype(np.float32)


def _weights(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = _rng()
    return [
        (rng.standard_normal(s) / np.sqrt(np.prod(s[:-1]) if len(s) == 2 else np.prod(s[1:]))).astype(np.float32)
        if len(s) > 1 else np.zeros(s, np.float32)
        for s in shapes
    ]  # fmt: skip


def _named(arrays: list[np.ndarray]) -> Inputs:
    return {f"w{i}": a for i, a in enumerate(arrays)}


def parameters(inputs: Inputs) -> list[np.ndarray]:
    """The trained arrays among the inputs, in order."""
    return [inputs[f"w{i}"] for i in range(sum(name.startswith("w") for name in inputs))]


def _black_scholes() -> Inputs:
    rng, n = _rng(), 1_000_000
    return {
        "spot": rng.uniform(10, 100, n), "strike": rng.uniform(10, 100, n), "time": rng.uniform(0.1, 2, n),
    }  # fmt: skip


def _mlp() -> Inputs:
    rng = _rng()
    shapes: list[tuple[int, ...]] = []
    for before, after in itertools.pairwise(MLP_WIDTHS):
        shapes += [(before, after), (after,)]
    return {
        "x": rng.random((MLP_BATCH, MLP_WIDTHS[0]), np.float32),
        "y": rng.integers(0, MLP_WIDTHS[-1], MLP_BATCH),
        **_named(_weights(*shapes)),
    }


def _cnn() -> Inputs:
    rng = _rng()
    return {
        "x": rng.random((CNN_BATCH, 1, 28, 28), np.float32),
        "y": rng.integers(0, 10, CNN_BATCH),
        **_named(_weights((16, 1, 5, 5), (16,), (32, 16, 5, 5), (32,), (32 * 7 * 7, 10), (10,))),
    }


def _transformer() -> Inputs:
    w = WIDTH
    return {
        "x": _normal(SEQUENCES, TOKENS, w),
        "target": _normal(SEQUENCES, TOKENS, w)[::-1].copy(),
        **_named(_weights((w, 3 * w), (3 * w,), (w, w), (w,), (w, 4 * w), (4 * w,), (4 * w, w), (w,), (w,), (w,), (w,), (w,))),
    }


def _rnn() -> Inputs:
    w = RNN_WIDTH
    return {
        "x": _normal(STEPS, RNN_BATCH, w, scale=0.5), "target": _normal(RNN_BATCH, w, scale=0.5),
        **_named(_weights((w, w), (w, w), (w,))),
    }  # fmt: skip


def _jacobi() -> Inputs:
    return {"grid": _rng().random((GRID, GRID))}


def _mlp_cost() -> tuple[float, float]:
    weights = sum(a * b + b for a, b in itertools.pairwise(MLP_WIDTHS))
    products = [2.0 * MLP_BATCH * a * b for a, b in itertools.pairwise(MLP_WIDTHS)]
    # Adam reads and writes a weight and its two moments; there is no gradient of the first layer's input.
    return 4.0 * weights * 7, 3 * sum(products) - products[0]


# Operations of training steps: a product costs as much again for each of its two gradients.
_ROW = 4096 * 1024
_CONVOLUTIONS = 2.0 * CNN_BATCH * 16 * 25 * 28 * 28, 2.0 * CNN_BATCH * 32 * 25 * 16 * 14 * 14
_CNN = 2 * _CONVOLUTIONS[0] + 3 * (_CONVOLUTIONS[1] + 2.0 * CNN_BATCH * 32 * 49 * 10)
_BLOCK = 3 * 2.0 * SEQUENCES * TOKENS * WIDTH * (12 * WIDTH + 2 * TOKENS)
_RNN = 3 * 2 * 2.0 * STEPS * RNN_BATCH * RNN_WIDTH**2



def _layer_norm() -> Inputs:
    return {"x": _normal(4096, 1024), "gain": _normal(1024), "shift": _normal(1024)}


def _dense() -> Inputs:
    return {"a": _normal(1024, 1024), "b": _normal(1024, 1024)[::-1].copy(), "c": _normal(1024)}


WORKLOADS: tuple[Workload, ...] = (
    Workload("gelu", "tanh-GELU written out, 10M", lambda: {"x": _normal(10_000_000)}, bytes=8e7, goal=1.5),
    Workload("softmax", "softmax 4096×1024", lambda: {"x": _normal(4096, 1024)}, bytes=8.0 * _ROW, goal=0.55),
    Workload("layer_norm", "layer norm 4096×1024", _layer_norm, bytes=8.0 * _ROW, rtol=1e-3, goal=0.45),
    Workload("total", "sum of 10M", lambda: {"x": _normal(10_000_000) + 1}, bytes=4e7),
    Workload("column_sums", "column sums 4096×1024", lambda: {"x": _normal(4096, 1024) + 1}, bytes=4.0 * _ROW),
    Workload("dense_relu", "relu(A·B + c), 1024³", _dense, 12.0 * 1024**2, 2.0 * 1024**3, rtol=1e-3, goal=4.6),
    Workload("black_scholes", "Black–Scholes, 1M float64", _black_scholes, bytes=4.0 * 8e6, rtol=1e-9, goal=3.5),
    Workload("mlp_step", "MLP 784-512-256-10, batch 128, Adam, step", _mlp, *_mlp_cost(), goal=1.0, steps=5),
    Workload("cnn_step", "CNN (two 5×5 convs), batch 64, SGD, step", _cnn, flops=_CNN, goal=4.5, steps=5),
    Workload("transformer_step", "transformer block, 8×128 tokens, SGD, step", _transformer, flops=_BLOCK, goal=18, steps=5),
    Workload("rnn_step", "tanh RNN, 128 steps, batch 32, SGD, step", _rnn, flops=_RNN, goal=2.8, steps=5),
    Workload("jacobi", f"Jacobi stencil {GRID}² float64, {SWEEPS} sweeps", _jacobi, bytes=SWEEPS * 16.0 * GRID**2, rtol=1e-9),
    Workload("small_call", "compiled x*2+1 on 4 elements, a call", lambda: {"x": _normal(4)}, goal=0.0015),
    Workload("eager_add", "eager add on 4 elements", lambda: {"x": _normal(4), "y": _normal(4) + 1}, goal=0.0008),
)
