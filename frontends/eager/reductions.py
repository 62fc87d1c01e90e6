"""``x.sum()`` and its like on plain tensors, without the way through dispatch; see :mod:`graphc.frontends.eager.operators`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from graphc.dtypes import float32, float64, int64
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.recorder import unary_recorder
from graphc.frontends.grad_mode import mode
from graphc.ir.primitive import get_primitive
from graphc.locations import current_frame
from graphc.ops.quiet import quiet_context

T = TypeVar("T", bound="type[Any]")

#: Method → its primitive, and what computes it. Their dtypes are reduced as they are, without a wider one in between.
_METHODS: Final = {"sum": ("reduce_sum", np.add), "max": ("reduce_max", np.maximum), "min": ("reduce_min", np.minimum)}
#: The methods that are replaced here.
QUICK: Final = (*_METHODS, "mean")
_DTYPES: Final = frozenset(d.numpy for d in (float32, float64, int64))
_FLOATS: Final = frozenset(d.numpy for d in (float32, float64))
_ALL_AXES: Final = tuple([tuple(range(ndim)) for ndim in range(33)])
_run: Final = quiet_context().run  # see graphc.frontends.eager.operators


def quick_reductions(tensor: T) -> T:
    """Class decorator: give the class of eager tensors reductions that take the short way where there is one."""
    for name, (primitive, ufunc) in _METHODS.items():
        setattr(tensor, name, _reduction(tensor, name, primitive, ufunc))
    tensor.mean = _mean(tensor)
    return tensor


def _reduction(tensor: Any, name: str, primitive: str, ufunc: np.ufunc) -> Callable[..., Any]:
    general: Callable[..., Any] = getattr(tensor, name)
    record = unary_recorder(get_primitive(primitive))
    reduce = ufunc.reduce

    def method(self: Any, axis: Any = None, **options: Any) -> Any:
        if options or observers or self.weak:
            return general(self, axis, **options)
        x = self._array
        ndim = x.ndim
        if axis is None:
            axes = _ALL_AXES[ndim]
        elif type(axis) is int and -ndim <= axis < ndim:
            axes = (axis + ndim if axis < 0 else axis,)
        else:
            return general(self, axis)
        if x.dtype not in _DTYPES or not ndim:
            return general(self, axis)
        try:
            result = tensor.wrap(np.asarray(_run(reduce, x, axes)))
        except (RuntimeError, ValueError):  # the context in use, a maximum of nothing
            return general(self, axis)
        storage = self._storage
        if mode.enabled and (self._reference is not None or (storage is not None and storage.value is not None)):
            record(self, result, current_frame(2), axes)
        return result

    method.__name__, method.__qualname__, method.__doc__ = general.__name__, general.__qualname__, general.__doc__
    return method


def _mean(tensor: Any) -> Callable[..., Any]:
    general: Callable[..., Any] = tensor.mean

    def mean(self: Any, axis: Any = None, **options: Any) -> Any:
        x = self._array
        if options or observers or self.weak or x.dtype not in _FLOATS or not x.size:
            return general(self, axis, **options)
        if axis is not None and not (type(axis) is int and -x.ndim <= axis < x.ndim):
            return general(self, axis)  # whose errors name the mean
        total = self.sum(axis)
        return total / float(x.size // max(1, total._array.size))

    mean.__name__, mean.__qualname__, mean.__doc__ = general.__name__, general.__qualname__, general.__doc__
    return mean
