"""The workloads that a NumPy user would write in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf

from .workloads import SWEEPS, Inputs

Call = Callable[[], object]


def version() -> str:
    """NumPy's."""
    return np.__version__


def gelu(i: Inputs) -> Call:
    x = i["x"]
    return lambda: 0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)))


def softmax(i: Inputs) -> Call:
    x = i["x"]

    def call() -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return call


def layer_norm(i: Inputs) -> Call:
    x, gain, shift = i["x"], i["gain"], i["shift"]

    def call() -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5)) * gain + shift

    return call


def total(i: Inputs) -> Call:
    return i["x"].sum


def column_sums(i: Inputs) -> Call:
    return lambda: i["x"].sum(0)


def dense_relu(i: Inputs) -> Call:
    return lambda: np.maximum(i["a"] @ i["b"] + i["c"], 0)


def black_scholes(i: Inputs) -> Call:
    spot, strike, time = i["spot"], i["strike"], i["time"]

    def call() -> np.ndarray:
        deviation = 0.3 * np.sqrt(time)
        d1 = (np.log(spot / strike) + (0.02 + 0.045) * time) / deviation
        d2 = d1 - deviation
        return spot * 0.5 * (1 + erf(d1 * np.sqrt(0.5))) - strike * np.exp(-0.02 * time) * 0.5 * (1 + erf(d2 * np.sqrt(0.5)))

    return call


def jacobi(i: Inputs) -> Call:
    def call() -> np.ndarray:
        a = i["grid"].copy()
        for _ in range(SWEEPS):
            a[1:-1, 1:-1] = 0.25 * (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:])
        return a

    return call


def eager_add(i: Inputs) -> Call:
    x, y = i["x"], i["y"]
    return lambda: x + y
