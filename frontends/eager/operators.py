"""Operators on plain tensors without the way through dispatch, which costs many times the arithmetic of a small array.

An operator takes the short way where one NumPy function alone is what the general way would compute: both operands of
one dtype (or one a Python scalar that becomes exactly a literal of it), and nobody who watches ops. What gradients need is
recorded. Everything else goes the general way, which raises all errors, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from graphc.dtypes import ALL, FLOATS, DType, float32, float64, int32, int64
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.dispatch import eager_context, observers
from graphc.frontends.eager.execute import SLOW_IN_NUMPY, THRESHOLD, kernels_are_chosen
from graphc.frontends.eager.prepared import prepare
from graphc.frontends.eager.recorder import binary_recorder, unary_recorder
from graphc.frontends.grad_mode import mode
from graphc.ir.primitive import Primitive, get_primitive
from graphc.locations import current_frame
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

#: The methods that are replaced here; tensors on a device have the general ones.
QUICK: Final = (*[f"__{name}__" for table in (_BINARY, _REFLECTED, _UNARY) for name in table], "__matmul__")

# Ufuncs run here. Two threads, or a call within a call, cannot; whoever comes second goes the general way.
_run: Final = quiet_context().run


def quick_operators(tensor: T) -> T:
    """Class decorator: give the class of eager tensors operators that take the short way where there is one."""
    for table, make in ((_BINARY, _binary), (_REFLECTED, _reflected), (_UNARY, _unary)):
        for method, primitive in table.items():
            name = f"__{method}__"
            setattr(tensor, name, make(tensor, name, primitive))
    tensor.__matmul__ = _product(tensor, "__matmul__")
    return tensor


def _binary(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    op = get_primitive(primitive)
    ways = _ufuncs(primitive, ALL)
    of_float, of_int = _ufuncs(primitive, _FLOATS), _ufuncs(primitive, _INTS)
    new, ndarray = object.__new__, np.ndarray
    record = binary_recorder(op)

    def operator(self: Any, other: Any) -> Any:
        if observers or self.weak:
            return general(self, other)
        x = self._array
        dtype = x.dtype
        kind = type(other)
        storage = self._storage
        tracked = self._reference is not None or (storage is not None and storage.value is not None)
        try:
            if kind is tensor:
                y = other._array
                if other.weak or y.dtype is not dtype:
                    return general(self, other)
                storage = other._storage
                tracked = tracked or other._reference is not None or (storage is not None and storage.value is not None)
                array = _run(ways[dtype], x, y)
            elif kind is float and -SAFE < other < SAFE:
                ufunc = of_float[dtype]
                y = np.array(other, dtype)
                array = _run(ufunc, x, y)
            elif kind is int and -_SMALL < other < _SMALL:
                ufunc = of_int[dtype]
                y = np.array(other, dtype)
                array = _run(ufunc, x, y)
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
        if tracked and mode.enabled:
            record(self, other if kind is tensor else tensor.wrap(y), result, current_frame(2))
        return result

    return _named(operator, general)


def _is_tracked(x: Any) -> bool:
    """Whether gradients may want to know of ``x``. (A storage without a value has no history, whatever shares it.)"""
    storage = x._storage
    return x._reference is not None or (storage is not None and storage.value is not None)


def _record(op: Primitive, operands: tuple[Any, ...], attributes: dict[str, Any], result: Any) -> None:
    prepared = prepare(op, tuple([t.type for t in operands]), attributes)
    result._type = prepared.types[0]
    eager: Any = eager_context()
    eager.record(prepared, operands, (result,))


def _product(tensor: Any, name: str) -> Operator:
    """The product of two matrices."""
    general: Operator = getattr(tensor, name)
    op, ways = get_primitive("dot_general"), _ufuncs("mul", ALL)
    attributes = {"contract": ((1,), (0,)), "batch": ((), ())}

    def operator(self: Any, other: Any) -> Any:
        if observers or self.weak or type(other) is not tensor:
            return general(self, other)
        x, y = self._array, other._array
        if x.dtype is not y.dtype or x.ndim != 2 or y.ndim != 2 or x.dtype not in ways:
            return general(self, other)
        try:
            result = tensor.wrap(_run(np.matmul, x, y))
        except (ValueError, RuntimeError):
            return general(self, other)
        if mode.enabled and (_is_tracked(self) or _is_tracked(other)):
            _record(op, (self, other), attributes, result)
        return result

    return _named(operator, general)


def _reflected(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    of_float, of_int = _ufuncs(primitive, _FLOATS), _ufuncs(primitive, _INTS)
    record = binary_recorder(get_primitive(primitive))

    def operator(self: Any, other: Any) -> Any:
        if observers or self.weak:
            return general(self, other)
        kind = type(other)
        try:
            x = self._array
            dtype = x.dtype
            if kind is float and -SAFE < other < SAFE:
                ufunc = of_float[dtype]
            elif kind is int and -_SMALL < other < _SMALL:
                ufunc = of_int[dtype]
            else:
                return general(self, other)
            literal = np.array(other, dtype)
            array = _run(ufunc, literal, x)
        except (KeyError, RuntimeError):
            return general(self, other)
        result = tensor.wrap(np.asarray(array))
        if mode.enabled and _is_tracked(self):
            record(tensor.wrap(literal), self, result, current_frame(2))
        return result

    return _named(operator, general)


def _unary(tensor: Any, name: str, primitive: str) -> Callable[[Any], Any]:
    general: Callable[[Any], Any] = getattr(tensor, name)
    ways = _ufuncs(primitive, ALL)
    record = unary_recorder(get_primitive(primitive))

    def operator(self: Any) -> Any:
        if observers or self.weak:
            return general(self)
        try:
            x = self._array
            array = _run(ways[x.dtype], x)
        except (KeyError, RuntimeError):
            return general(self)
        result = tensor.wrap(np.asarray(array))
        if mode.enabled and _is_tracked(self):
            record(self, result, current_frame(2))
        return result

    return _named(operator, general)


def quick_function(tensor: Any, primitive: str) -> Callable[[Any], Any]:
    """``primitive`` of one operand as a function that gives NOT_ALIKE, with nothing done, where there is no short way."""
    op = get_primitive(primitive)
    assert isinstance(op, Elementwise)
    ways, record = _ufuncs(primitive, FLOATS), unary_recorder(op)
    most = THRESHOLD if primitive in SLOW_IN_NUMPY else math.inf

    def function(x: Any) -> Any:
        if type(x) is not tensor or x.weak:
            return NOT_ALIKE
        array = x._array
        ufunc = ways.get(array.dtype)
        if ufunc is None or array.size >= most or (most == THRESHOLD and kernels_are_chosen()):
            return NOT_ALIKE
        try:
            result = tensor.wrap(np.asarray(_run(ufunc, array)))
        except RuntimeError:
            return NOT_ALIKE
        if _is_tracked(x) and mode.enabled:
            record(x, result, current_frame(2))
        return result

    return function


def _named(operator: F, general: F) -> F:
    operator.__name__, operator.__qualname__, operator.__doc__ = general.__name__, general.__qualname__, general.__doc__
    return operator


def _ufuncs(primitive: str, dtypes: tuple[DType, ...]) -> Ufuncs:
    """For which of ``dtypes`` the short way may be taken, and by which function."""
    op = get_primitive(primitive)
    assert isinstance(op, Elementwise)
    found: Ufuncs = {}
    for dtype in dtypes:
        ufunc = op.ufunc(dtype)
        if ufunc is not None:
            found[dtype.numpy] = ufunc
    return found
