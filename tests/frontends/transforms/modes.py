"""One function in every mode, for the tests of transforms."""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc

Function = Callable[..., Any]


def array(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def static(function: Function, *arrays: np.ndarray) -> Any:
    """``function`` built into a static graph and run in a Session."""
    graph = gc.Graph()
    with graph:
        inputs = [gc.placeholder(gc.spec(f"{gc.tensor(a).dtype.short}[{', '.join(map(str, a.shape))}]")) for a in arrays]
        result = function(*inputs)
    with gc.Session(graph) as session:
        return session.run(result, dict(zip(inputs, arrays, strict=True)))


MODES: dict[str, Callable[..., Any]] = {
    "eager": lambda f, *arrays: f(*map(gc.tensor, arrays)),
    "jit": lambda f, *arrays: gc.jit(f)(*arrays),
    "static": static,
}


def close(got: Any, want: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=tolerance, atol=tolerance)
