"""Operators on plain tensors without the way through dispatch, which costs many times the arithmetic of a small array.

An operator takes the short way where one NumPy function alone is what the general way would compute: both operands of
one dtype (or one a Python scalar that becomes exactly a literal of it), nothing to record, nobody who watches ops.
Everything else goes the general way, which raises all errors, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from graphc.dtypes import ALL, DType, float32, float64, int32, int64
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.execute import SLOW_IN_NUMPY
from graphc.ir.primitive import get_primitive
from graphc.ops.elementwise import Elementwise
from graphc.ops.quiet import quiet_context

T = TypeVar("T", bound="type[Any]")
F = TypeVar("F", bound="Callable[..., Any]")
Operator = Callable[[Any, Any], Any]
Ufuncs = dict["np.dtype[Any]", np.ufunc]

SAFE: Final = 3e38  # floats below it convert to float32 and float64 without overflow
_SMALL: Final = 1 << 31  # ints below it are in range for each dtype of _INTS
_INTS: Final = (float32, float64, int32, int64)  # of tensors that an int yields to
_FLOATS: Final = (float32, float64)  # of tensors that a float yields to

_BINARY: Final = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt",
    "ge": "ge", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
_REFLECTED: Final = {"radd": "add", "rsub": "sub", "rmul": "mul", "rtruediv": "div"}
_UNARY: Final = {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}

# Ufuncs run here. Two threads, or a call within a call, cannot; whoever comes second goes the general way.
_run: Final = quiet_context().run


def quick_operators(tensor: T) -> T:
    """Class decorator: give the class of eager tensors operators that take the short way where there is one."""
    for table, make in ((_BINARY, _binary), (_REFLECTED, _reflected), (_UNARY, _unary)):
        for method, primitive in table.items():
            name = f"__{method}__"
            setattr(tensor, name, make(tensor, name, primitive))
    return tensor


def _binary(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    ways = _ufuncs(primitive, ALL)
    of_float, of_int = _ufuncs(primitive, _FLOATS), _ufuncs(primitive, _INTS)
    new, ndarray = object.__new__, np.ndarray

    def operator(self: Any, other: Any) -> Any:
        if observers or self._reference is not None or self._storage is not None or self.weak:
            return general(self, other)
        x = self._array
        kind = type(other)
        try:
            if kind is tensor:
                y = other._array
                dtype = x.dtype
                if other._reference is not None or other._storage is not None or other.weak or y.dtype is not dtype:
                    return general(self, other)
                array = _run(ways[dtype], x, y)
            elif kind is float and -SAFE < other < SAFE:
                dtype = x.dtype
                array = _run(of_float[dtype], x, np.array(other, dtype))
            elif kind is int and -_SMALL < other < _SMALL:
                dtype = x.dtype
                array = _run(of_int[dtype], x, np.array(other, dtype))
            else:
                return general(self, other)
        except (KeyError, ValueError, RuntimeError):  # another dtype, shapes that do not fit, the context in use
            return general(self, other)
        if type(array) is not ndarray:
            array = np.asarray(array)
        result = new(tensor)
        result._array = array
        result._storage = result._reference = result._grad = result._hooks = result._type = None
        result._chain = ()
        result._seen = 0
        result.weak = False
        return result

    return _named(operator, general)


def _reflected(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    of_float, of_int = _ufuncs(primitive, _FLOATS), _ufuncs(primitive, _INTS)

    def operator(self: Any, other: Any) -> Any:
        if observers or self._reference is not None or self._storage is not None or self.weak:
            return general(self, other)
        kind = type(other)
        try:
            x = self._array
            dtype = x.dtype
            if kind is float and -SAFE < other < SAFE:
                array = _run(of_float[dtype], np.array(other, dtype), x)
            elif kind is int and -_SMALL < other < _SMALL:
                array = _run(of_int[dtype], np.array(other, dtype), x)
            else:
                return general(self, other)
        except (KeyError, RuntimeError):
            return general(self, other)
        return tensor.wrap(np.asarray(array))

    return _named(operator, general)


def _unary(tensor: Any, name: str, primitive: str) -> Callable[[Any], Any]:
    general: Callable[[Any], Any] = getattr(tensor, name)
    ways = _ufuncs(primitive, ALL)

    def operator(self: Any) -> Any:
        if observers or self._reference is not None or self._storage is not None or self.weak:
            return general(self)
        try:
            x = self._array
            array = _run(ways[x.dtype], x)
        except (KeyError, RuntimeError):
            return general(self)
        return tensor.wrap(np.asarray(array))

    return _named(operator, general)


def _named(operator: F, general: F) -> F:
    operator.__name__, operator.__qualname__, operator.__doc__ = general.__name__, general.__qualname__, general.__doc__
    return operator


def _ufuncs(primitive: str, dtypes: tuple[DType, ...]) -> Ufuncs:
    """For which of ``dtypes`` the short way may be taken, and by which function."""
    op = get_primitive(primitive)
    assert isinstance(op, Elementwise) and primitive not in SLOW_IN_NUMPY
    found: Ufuncs = {}
    for dtype in dtypes:
        ufunc = op.ufunc(dtype)
        if ufunc is not None:
            found[dtype.numpy] = ufunc
    return found
