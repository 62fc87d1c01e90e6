"""Making eager tensors from data."""

from __future__ import annotations

from typing import Any

from graphc.frontends.array.creation import asarray
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.eager.tensor import Tensor
from graphc.frontends.placement import on
from graphc.locations import current_location


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A new tensor holding a copy of ``data``: numbers, nested sequences, an ndarray or another tensor.

    Python floats become float32, ints int64, bools bool; arrays keep their dtype unless ``dtype`` is given. Raises ShapeError
    for ragged sequences, DTypeError for data that is not numbers, GradientError for ``requires_grad`` on integers.

    >>> gc.tensor([[1, 2], [3, 4]], dtype=gc.float32)
    tensor([[1., 2.],
            [3., 4.]])
    """
    if device is not None:
        with on(device):
            data = data if active_trace() is not None else _carried(data, device)
            return tensor(data, dtype=dtype, requires_grad=requires_grad)
    array: Any = asarray(data, dtype=dtype, copy=True)
    if active_trace() is None and isinstance(array, Tensor):
        if array._reference is not None or array._storage is not None:
            array = type(array).wrap(array._array)
        array._origin = current_location()
    array.weak = False
    return array.requires_grad_() if requires_grad else array


def _carried(data: Any, device: Any) -> Any:
    """``data``, on ``device`` where it is a tensor."""
    return data.to(device) if isinstance(data, Tensor) else data


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is an array of graphc's, eager or symbolic."""
    return isinstance(value, Array)
