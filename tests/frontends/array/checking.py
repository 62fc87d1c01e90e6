"""Comparing array functions with NumPy, and their gradients with central differences in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.frontends.array.creation import asarray
from graphc.frontends.dispatch import eager_context
from graphc.frontends.eager.context import EAGER

assert eager_context() is EAGER  # importing it registers the mode that executes at once


def numpy_of(x: Any) -> np.ndarray:
    """The values of an eager tensor."""
    array: np.ndarray = x.detach().numpy()
    return array


def assert_same(got: Any, want: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal shapes and dtypes, and values equal to within the tolerance (NaN equals NaN)."""
    array, expected = numpy_of(got), np.asarray(want)
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    np.testing.assert_allclose(array.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


def assert_close(got: Any, want: Any, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """Equal shapes, and values equal to within the tolerance, whatever the dtypes."""
    array, expected = numpy_of(got).astype(np.float64), np.asarray(want).astype(np.float64)
    assert array.shape == expected.shape
    np.testing.assert_allclose(array, expected, rtol=rtol, atol=atol)


def gradients_of(function: Callable[..., Any], arrays: Sequence[np.ndarray], cotangent: np.ndarray) -> list[np.ndarray]:
    """What backward() gives for each of ``arrays``; zeros where no gradient arrives."""
    tensors = [asarray(a.copy()).requires_grad_() for a in arrays]
    function(*tensors).backward(asarray(cotangent))
    return [np.zeros(a.shape) if t.grad is None else t.grad.numpy() for t, a in zip(tensors, arrays, strict=True)]


def check_gradients(function: Callable[..., Any], *arrays: np.ndarray, tolerance: float = 1e-6) -> None:
    """Compare backward() with central differences, element by element, for a random cotangent."""
    arrays = tuple(np.asarray(a, np.float64) for a in arrays)
    cotangent = np.random.default_rng(1).standard_normal(numpy_of(function(*map(asarray, arrays))).shape)
    step = 1e-6
    for position, gradient in enumerate(gradients_of(function, arrays, cotangent)):
        expected = np.zeros(arrays[position].shape)
        for place in np.ndindex(expected.shape):
            sides = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[position][place] += sign * step
                sides.append(float(np.sum(numpy_of(function(*map(asarray, moved))) * cotangent)))
            expected[place] = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance * 10, atol=tolerance, err_msg=f"operand {position}")
