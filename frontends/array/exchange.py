"""Arrays of other libraries, without copies: NumPy, DLPack and the CUDA array interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError
from graphc.frontends.dispatch import Array, active_trace, context_of, eager_context
from graphc.frontends.placement import context_on, noted, on
from graphc.runtime import dlpack
from graphc.runtime.layout import Layout


def from_numpy(array: np.ndarray, *, device: Any = None) -> Array:
    """An array over the memory of an ndarray: writes to one are seen in the other. On another ``device``, a copy.

    >>> gc.from_numpy(np.ones(2))
    tensor([1., 1.], dtype=float64)
    """
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy takes an ndarray, not {type(array).__name__}", hint="use asarray()")
    lifted: Any = noted((active_trace() or eager_context()).lift(array))
    return _moved(lifted, device)


def from_dlpack(x: Any, *, device: Any = None, copy: bool | None = None) -> Array:
    """An array over the memory of ``x``, any object of the DLPack protocol: an array of another library, on the CPU or a GPU.

    ``device``: where the result is to be, by default where ``x`` is. Raises ArgumentError for an object without the protocol
    or on a device of another kind, DTypeError for a dtype that graphc does not have.
    """
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise ArgumentError(f"from_dlpack takes an object with __dlpack__, not {type(x).__name__}", hint="use asarray()")
    kind, index = x.__dlpack_device__()
    array: Any
    if kind == dlpack.CUDA:
        context: Any = context_on(f"cuda:{index}")
        foreign = dlpack.from_capsule(x.__dlpack__(stream=context.on.stream))
        array = context.adopt(foreign.address, foreign.layout, foreign.dtype.numpy, foreign)
    elif kind == dlpack.CPU:
        array = (active_trace() or eager_context()).lift(np.from_dlpack(x))
    else:
        raise ArgumentError(f"from_dlpack: an array on a device of DLPack's kind {kind}", hint="copy it to the CPU first")
    moved = _moved(array, device)
    return context_of((moved,)).copy(moved) if copy and moved is array else moved


def is_foreign(data: Any) -> bool:
    """Whether ``data`` is another library's array on a GPU."""
    return not isinstance(data, (Array, np.ndarray)) and hasattr(data, "__cuda_array_interface__")


def from_cuda_array(x: Any) -> Array:
    """An array over the memory of ``x``, an object with ``__cuda_array_interface__``."""
    described = x.__cuda_array_interface__
    dtype = as_dtype(np.dtype(described["typestr"])).numpy
    shape, strides = tuple(described["shape"]), described.get("strides")
    layout = Layout.contiguous(shape) if strides is None else Layout(shape, tuple([s // dtype.itemsize for s in strides]))
    context: Any = context_on("cuda")
    if described.get("stream") is not None:
        context.on.wait_for(described["stream"])
    array: Array = context.adopt(described["data"][0], layout, dtype, x)
    return array


def _moved(array: Any, device: Any) -> Array:
    if device is None:
        return array  # type: ignore[no-any-return]
    with on(device):
        return array.to(device)  # type: ignore[no-any-return]
