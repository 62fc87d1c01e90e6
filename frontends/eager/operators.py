"""Operators on plain tensors without the way through dispatch, which costs many times the arithmetic of a small array.

An operator takes the short way where the general way would come down to one function of NumPy arrays: both operands of
one dtype (or one a Python scalar that becomes exactly a literal of it), and nobody who watches ops. What gradients need is
recorded. Everything else goes the general way, which raises all errors, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from graphc import dtypes
from graphc.dtypes import ALL, DType
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.execute import SLOW_IN_NUMPY, THRESHOLD, kernels_are_chosen
from graphc.frontends.eager.recorder import binary_recorder, unary_recorder
from graphc.frontends.eager.recording import is_tracked
from graphc.frontends.eager.scalars import FLOATS, INTS, SAFE, SMALL, holds
from graphc.frontends.grad_mode import mode
from graphc.ir.primitive import get_primitive
from graphc.locations import current_frame
from graphc.ops.elementwise import Elementwise
from graphc.ops.quiet import quiet_context

T = TypeVar("T", bound="type[Any]")
F = TypeVar("F", bound="Callable[..., Any]")
Operator = Callable[[Any, Any], Any]
Ufuncs = dict["np.dtype[Any]", Callable[..., Any]]

_BINARY: Final = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt",
    "ge": "ge", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
_REFLECTED: Final = {"radd": "add", "rsub": "sub", "rmul": "mul", "rtruediv": "div"}
_IN_PLACE: Final = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}
_UNARY: Final = {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}

#: Primitives that are more than one NumPy function.
_COMPUTED: Final = frozenset(("maximum", "minimum", "logistic", "erf", "erfc", "rsqrt"))
_BOOL: Final = np.dtype(np.bool_)

#: The methods that are replaced here; tensors on a device have the general ones.
QUICK: Final = (*[f"__{name}__" for table in (_BINARY, _REFLECTED, _UNARY, _IN_PLACE) for name in table], "__matmul__")

# Ufuncs run here. Two threads, or a call within a call, cannot; whoever comes second goes the general way.
_run: Final = quiet_context().run


def quick_operators(tensor: T) -> T:
    """Class decorator: give the class of eager tensors operators that take the short way where there is one."""
    for table, make in ((_BINARY, _binary), (_REFLECTED, _reflected), (_UNARY, _unary), (_IN_PLACE, _in_place)):
        for method, primitive in table.items():
            name = f"__{method}__"
            setattr(tensor, name, make(tensor, name, primitive))
    tensor.__matmul__ = _product(tensor, "__matmul__")
    return tensor


def _binary(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    return _named(_of_two(tensor, primitive, general), general)


def _of_two(tensor: Any, primitive: str, general: Operator) -> Operator:
    op = get_primitive(primitive)
    ways, of_float, of_int = _ufuncs(primitive, ALL), _ufuncs(primitive, FLOATS), _ufuncs(primitive, INTS)
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
            elif kind is int and -SMALL < other < SMALL:
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
        result._way = ()
        result._seen = 0
        result.weak = False
        if tracked and mode.enabled:
            record(self, other if kind is tensor else tensor.wrap(y), result, current_frame(2))
        return result

    return operator


def _product(tensor: Any, name: str) -> Operator:
    """The product of two matrices."""
    general: Operator = getattr(tensor, name)
    ways = _ufuncs("mul", ALL)
    record = binary_recorder(get_primitive("dot_general"), contract=((1,), (0,)), batch=((), ()))

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
        if mode.enabled and (is_tracked(self) or is_tracked(other)):
            record(self, other, result, current_frame(2))
        return result

    return _named(operator, general)


def _reflected(tensor: Any, name: str, primitive: str) -> Operator:
    general: Operator = getattr(tensor, name)
    of_float, of_int = _ufuncs(primitive, FLOATS), _ufuncs(primitive, INTS)
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
            elif kind is int and -SMALL < other < SMALL:
                ufunc = of_int[dtype]
            else:
                return general(self, other)
            literal = np.array(other, dtype)
            array = _run(ufunc, literal, x)
        except (KeyError, RuntimeError):
            return general(self, other)
        result = tensor.wrap(np.asarray(array))
        if mode.enabled and is_tracked(self):
            record(tensor.wrap(literal), self, result, current_frame(2))
        return result

    return _named(operator, general)


def _in_place(tensor: Any, name: str, primitive: str) -> Operator:
    """An operator that writes, where no gradient follows what is written."""
    general: Operator = getattr(tensor, name)
    ways, of_float, of_int = _ufuncs(primitive, ALL), _ufuncs(primitive, FLOATS), _ufuncs(primitive, INTS)
    ndarray = np.ndarray

    def operator(self: Any, other: Any) -> Any:
        x = self._array
        if observers or self.weak or type(x) is not ndarray or not x.flags.writeable or (mode.enabled and is_tracked(self)):
            return general(self, other)
        dtype = x.dtype
        kind = type(other)
        y: Any = other
        try:
            if kind is tensor:
                y = other._array
                if other.weak or y.dtype is not dtype or is_tracked(other):
                    return general(self, other)
                ufunc = ways[dtype]
            elif kind is float and -SAFE < other < SAFE:
                ufunc = of_float[dtype]
            elif kind is int and -SMALL < other < SMALL:
                ufunc = of_int[dtype]
            else:
                return general(self, other)
            _run(ufunc, x, y, x)
        except (KeyError, ValueError, RuntimeError):  # as for _binary
            return general(self, other)
        storage = self._storage
        if storage is not None:
            storage.version.count += 1
        return self

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
        if mode.enabled and is_tracked(self):
            record(self, result, current_frame(2))
        return result

    return _named(operator, general)


def quick_function(tensor: Any, primitive: str) -> Callable[[Any], Any]:
    """``primitive`` of one operand as a function that gives NOT_ALIKE, with nothing done, where there is no short way."""
    op = get_primitive(primitive)
    assert isinstance(op, Elementwise)
    ways, record = _ufuncs(primitive, dtypes.FLOATS), unary_recorder(op)
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
        if is_tracked(x) and mode.enabled:
            record(x, result, current_frame(2))
        return result

    return function


def quick_function_of_two(tensor: Any, primitive: str) -> Callable[[Any, Any], Any]:
    """:func:`quick_function` for two operands."""
    operator = _of_two(tensor, primitive, lambda x, y: NOT_ALIKE)

    def function(x: Any, y: Any) -> Any:
        return operator(x, y) if type(x) is tensor else NOT_ALIKE

    return function


def quick_select(tensor: Any) -> Callable[[Any, Any, Any], Any]:
    """``where`` of which no gradient wants to know, as such a function."""

    def where(condition: Any, x: Any, y: Any) -> Any:
        if type(condition) is not tensor or is_tracked(condition):
            return NOT_ALIKE
        of_x, of_y = type(x) is tensor, type(y) is tensor
        if not (of_x or of_y):
            return NOT_ALIKE
        dtype = (x if of_x else y)._array.dtype
        arrays = []
        for value in (x, y):
            if type(value) is tensor:
                array = value._array
                if array.dtype is not dtype or value.weak or is_tracked(value):
                    return NOT_ALIKE
            elif holds(dtype, value):
                array = np.array(value, dtype)
            else:
                return NOT_ALIKE
            arrays.append(array)
        mask = condition._array
        if mask.dtype is not _BOOL:
            return NOT_ALIKE
        try:
            return tensor.wrap(np.where(mask, *arrays))
        except ValueError:
            return NOT_ALIKE

    return where


def _named(operator: F, general: F) -> F:
    operator.__name__, operator.__qualname__, operator.__doc__ = general.__name__, general.__qualname__, general.__doc__
    return operator


def _ufuncs(primitive: str, of: tuple[DType, ...]) -> Ufuncs:
    """For which dtypes ``of`` a kind the short way may be taken, and by which function."""
    op = get_primitive(primitive)
    assert isinstance(op, Elementwise)
    found: Ufuncs = {}
    for dtype in of:
        function: Callable[..., Any] | None = op.ufunc(dtype)
        if function is None and primitive in _COMPUTED and dtype.compute is dtype and dtype.kind in op.accepts:
            function = op.compute
        if function is not None:
            found[dtype.numpy] = function
    return found
