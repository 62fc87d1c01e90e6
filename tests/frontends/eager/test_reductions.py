"""Reductions that take the short way give what the general way gives: values, types, gradients and errors."""

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.frontends.array.methods import ArrayMethods

NAMES = ["sum", "mean", "max", "min"]
VALUES = np.array([[1.5, -2.0, np.nan], [np.inf, 0.0, -3.25]])


def outcome(call: Any) -> Any:
    try:
        result = call()
    except GraphcError as error:
        return type(error), error.message
    return result.dtype, result.weak, result.shape, result.numpy().tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16", "i64", "i8", "bool"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (), 2, -3, (0, 5), "a", True])
def test_the_short_way_is_the_general_way(name: str, dtype: str, axis: Any) -> None:
    values = VALUES if dtype in ("f32", "f64", "f16", "bf16") else np.nan_to_num(VALUES, posinf=7)
    for x in (gc.tensor(values, dtype=dtype), gc.tensor(values, dtype=dtype).T, gc.tensor(2, dtype=dtype)):
        general = getattr(ArrayMethods, name)
        assert outcome(lambda x=x: getattr(x, name)(axis)) == outcome(lambda x=x, g=general: g(x, axis))


@pytest.mark.parametrize("name", NAMES)
def test_of_nothing(name: str) -> None:
    x = gc.zeros((0, 3))
    for axis in (None, 0, 1):
        assert outcome(lambda a=axis: getattr(x, name)(a)) == outcome(lambda a=axis: getattr(ArrayMethods, name)(x, a))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_gradients(name: str, axis: Any) -> None:
    values = np.array([[1.0, 4.0, 4.0], [2.0, -1.0, 0.5]], np.float32)
    gradients = []
    for way in (gc.Tensor, ArrayMethods):
        x = gc.tensor(values, requires_grad=True)
        (getattr(way, name)(x, axis) * 3.0).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)


def test_errors_name_the_function_that_was_called() -> None:
    with pytest.raises(GraphcError, match=r"^mean: axis 9 is out of range for 2 dimensions"):
        gc.ones((2, 3)).mean(axis=9)
