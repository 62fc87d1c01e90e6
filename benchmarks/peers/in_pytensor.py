"""The array workloads in PyTensor, compiled by its default mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from .workloads import Inputs

Call = Callable[[], object]


def version() -> str:
    """PyTensor's."""
    return pytensor.__version__


def _plain(function: Callable[..., Any], *inputs: np.ndarray) -> Call:
    symbols = [pt.tensor(f"x{i}", dtype=a.dtype.name, shape=a.shape) for i, a in enumerate(inputs)]
    compiled = pytensor.function([pytensor.In(s, borrow=True) for s in symbols], pytensor.Out(function(*symbols), borrow=True))
    compiled.trust_input = True
    return lambda: compiled(*inputs)


def gelu(i: Inputs) -> Call:
    def function(x: Any) -> Any:
        inner = np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + pt.tanh(inner))

    return _plain(function, i["x"])


def softmax(i: Inputs) -> Call:
    return _plain(lambda x: pt.special.softmax(x, axis=-1), i["x"])


def layer_norm(i: Inputs) -> Call:
    def function(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / pt.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5)) * gain + shift

    return _plain(function, i["x"], i["gain"], i["shift"])


def total(i: Inputs) -> Call:
    return _plain(pt.sum, i["x"])


def column_sums(i: Inputs) -> Call:
    return _plain(lambda x: x.sum(0), i["x"])


def dense_relu(i: Inputs) -> Call:
    return _plain(lambda a, b, c: pt.maximum(a @ b + c, 0), i["a"], i["b"], i["c"])


def black_scholes(i: Inputs) -> Call:
    def function(spot: Any, strike: Any, time: Any) -> Any:
        deviation = 0.3 * pt.sqrt(time)
        d1 = (pt.log(spot / strike) + (0.02 + 0.045) * time) / deviation
        d2 = d1 - deviation
        half = 0.5**0.5
        return spot * 0.5 * (1 + pt.erf(d1 * half)) - strike * pt.exp(-0.02 * time) * 0.5 * (1 + pt.erf(d2 * half))

    return _plain(function, i["spot"], i["strike"], i["time"])


def small_call(i: Inputs) -> Call:
    return _plain(lambda x: x * np.float32(2) + np.float32(1), i["x"])
