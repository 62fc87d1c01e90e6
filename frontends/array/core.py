"""What every array function rests on: lifting operands, promotion and broadcasting.

The IR is strict, so conversion and broadcasting are made explicit here, once, for all modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import numpy as np

from graphc.dtypes import DType, as_dtype, bool_, default_float, default_int, promote, result_dtype
from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.frontends.call_pattern import NOT_ALIKE
from graphc.frontends.dispatch import Array, Context, bind, bind_view, context_of, eager_context, observers
from graphc.frontends.sizes import plain_size
from graphc.ir.dims import Dim, DimExpr, example_size, same_size, settled
from graphc.ir.primitive import get_primitive
from graphc.ir.types import Shape

Scalar = bool | int | float
ArrayLike = Any  # Array, ndarray, NumPy scalar, Python scalar, or nested sequence of them


def is_scalar(value: Any) -> bool:
    """Whether ``value`` is a Python scalar (NumPy's own scalars have a dtype and are strong)."""
    return type(value) in (bool, int, float) or (isinstance(value, (bool, int, float)) and not isinstance(value, np.generic))


def numbers(value: Any) -> np.ndarray:
    """``value`` as an ndarray. Raises DTypeError for what holds no numbers, ShapeError for nested sequences that are not
    rectangular."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        what = f"{shortened(value)} is not a rectangular array of numbers: {error}"
        raise ShapeError(what, cause=ShapeError.RAGGED) from None
    if array.dtype.kind not in "OUSMm" or isinstance(value, (np.ndarray, np.generic)):
        return array
    raise DTypeError(
        f"{shortened(value)} ({type(value).__name__}) is not an array of numbers",
        hint="give an array, a number, or nested lists of numbers",
        cause=DTypeError.OPERAND,
    )


def too_large(value: Any, dtype: DType) -> ArgumentError:
    """The error for a Python int that ``dtype`` cannot hold."""
    return ArgumentError(
        f"the Python int {value} is out of range for {dtype.name}",
        hint="a float holds it approximately: float(value)",
        cause=ArgumentError.INTEGER_RANGE,
    )


def shortened(value: Any) -> str:
    """``repr(value)``, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def scalar_dtype(value: Scalar) -> DType:
    """The weak dtype of a Python scalar."""
    if isinstance(value, bool):
        return bool_
    return default_int if isinstance(value, int) else default_float


def lift(value: ArrayLike, *others: Any) -> Array:
    """``value`` as an array of the context in charge of it and ``others``."""
    return lift_in(context_of((value, *others)), value)


def lift_in(context: Context, value: ArrayLike) -> Array:
    """``value`` as an array of ``context``; a symbolic size becomes its run-time value, which yields as a Python int does."""
    value = plain_size(value)
    if not isinstance(value, DimExpr):
        return context.lift(value)
    size: Any
    (size,) = context.bind(get_primitive("dimension"), (), {"dim": value})
    size.weak = True
    return cast("Array", size)


def promoted(*values: ArrayLike, dtype: DType | None = None, what: str = "") -> tuple[Array, ...]:
    """``values`` as arrays of one dtype (their common one, or ``dtype``) and one shape: ready for an elementwise primitive.

    Errors say that ``what`` was asked to do it.
    """
    context = context_of(values)
    return tuple(broadcast_arrays_in(context, *converted(context, values, dtype, what), what=what))


def aligned(*values: ArrayLike, what: str = "") -> list[Array]:
    """:func:`promoted` for operands that go into one elementwise primitive at once, whose context may repeat them itself."""
    context = context_of(values)
    return aligned_in(context, converted(context, values, None, what), what)


def aligned_in(context: Context, arrays: list[Array], what: str) -> list[Array]:
    """:func:`aligned` for arrays that have their dtypes."""
    first = arrays[0].shape
    if all(a.shape == first for a in arrays):
        return arrays
    shape = broadcast_shapes(context, *[a.shape for a in arrays], what=what)
    return arrays if context.repeats_operands(arrays) else [broadcast_to_shape(a, shape) for a in arrays]


def converted(
    context: Context, values: Sequence[ArrayLike], dtype: DType | None = None, what: str = ""
) -> list[Array]:
    """``values`` as arrays of one dtype. Python scalars become literals of that dtype.

    Raises DTypeError where there is no common dtype, ArgumentError for an int that the dtype cannot hold.
    """
    arrays = [v if is_scalar(v) else lift_in(context, v) for v in values]
    weak_result = False
    if dtype is None:
        dtype = _common_at_sight(arrays)
    if dtype is None:
        operands = [(a.dtype, a.weak) if isinstance(a, Array) else (scalar_dtype(a), True) for a in arrays]
        try:
            dtype, weak_result = result_dtype(operands)
        except DTypeError as error:
            raise DTypeError(
                f"{what}: {error.message}" if what else error.message, hint=error.hint, cause=DTypeError.PROMOTION
            ) from None
    return [
        astype(a, dtype) if isinstance(a, Array) else context.literal(fitted_scalar(a, dtype, what), dtype, weak_result)
        for a in arrays
    ]


def _common_at_sight(values: Sequence[Array | Scalar]) -> DType | None:
    """The dtype of ``values`` where that takes no thought: arrays of one dtype, and scalars that yield to a float."""
    found: DType | None = None
    scalars = False
    for value in values:
        if not isinstance(value, Array):
            scalars = True
        elif found is None:
            found = value.dtype
        elif value.dtype is not found:
            return None
    if scalars and (found is None or not found.is_floating or any(isinstance(v, Array) and v.weak for v in values)):
        return None
    return found


def fitted_scalar(value: Scalar, dtype: DType, what: str = "") -> Scalar:
    """``value`` as a Python scalar that ``dtype`` holds: floats given to integers saturate, NaN gives 0.

    Raises ArgumentError for an int out of range, which would otherwise wrap around silently.
    """
    if not dtype.is_integer or isinstance(value, bool):
        return value
    low, high = integer_range(dtype)
    if isinstance(value, int):
        if low <= value <= high:
            return value
        raise ArgumentError(
            f"{what + ': ' if what else ''}the Python int {value} is out of range for {dtype.name} ({low} to {high})",
            hint="convert the array to a wider dtype first, for example with .astype(gc.int64)",
            cause=ArgumentError.INTEGER_RANGE,
        )
    if math.isnan(value):
        return 0
    return low if value <= low else high if value >= high else int(value)


def integer_range(dtype: DType) -> tuple[int, int]:
    """The least and the greatest integer that ``dtype`` holds."""
    if dtype.kind == "uint":
        return 0, (1 << dtype.bits) - 1
    return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1


P = ParamSpec("P")


def composed(function: Callable[P, Array]) -> Callable[P, Array]:
    """Decorator for a function made of several ops: on small eager tensors they run as one.

    Its result is a new array, and depends on nothing but the arguments.
    """
    prepared: list[Any] = []

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Array:
        if not observers:
            eager: Any = eager_context()
            if not prepared:
                prepared.append(eager.composed(function))
            result = eager.compose(prepared[0], args, kwargs)
            if result is not NOT_ALIKE:
                return cast("Array", result)
        return function(*args, **kwargs)

    return wrapper


def computed_wide(
    function: Callable[Concatenate[Array, P], Array],
) -> Callable[Concatenate[ArrayLike, P], Array]:
    """Decorator: the first argument arrives as floats of at least 32 bits, and the result is given in its own dtype.

    A composition of many 16-bit ops would round after each of them; this rounds once.
    """

    name = function.__code__.co_varnames[0]

    @composed
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Array:
        operand, *rest = args if args else (kwargs.pop(name),)
        array = to_float(operand)
        dtype = array.dtype
        return astype(function(astype(array, dtype.compute), *rest, **kwargs), dtype)

    return cast("Callable[Concatenate[ArrayLike, P], Array]", wrapper)


def astype(x: Array, dtype: DType) -> Array:
    """``x`` converted to ``dtype``; ``x`` itself where it has it already."""
    return x if x.dtype is dtype else bind("convert_element_type", x, dtype=dtype)


def to_float(x: ArrayLike) -> Array:
    """``x`` as a floating array: integers and bools become the default float."""
    array = lift(x)
    return array if array.dtype.is_inexact else astype(array, default_float)


def broadcast_shapes(context: Context | None, *shapes: Shape, what: str = "") -> Shape:
    """The common shape, NumPy's rule: sizes are equal or 1. Symbolic sizes that differ are guarded to be what the example says,
    equal or one of them 1; without an example, to be equal.

    Raises ShapeError where they do not fit.
    """
    ndim = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for axis in range(-ndim, 0):
        size: Dim = 1
        for shape in shapes:
            if len(shape) < -axis or shape[axis] == 1 or shape[axis] == size:
                continue
            other = shape[axis]
            if size == 1:
                size = other
                continue
            common = None if context is None else _common_size(context, size, other)
            if common is None:
                raise ShapeError(
                    f"{what + ': ' if what else ''}shapes {' and '.join(map(show_shape, shapes))} do not broadcast: "
                    f"sizes {size} and {other} in dimension {axis}",
                    hint="aligned from the right, sizes must be equal or one of them 1; reshape() or [:, None] adds axes",
                    cause=ShapeError.BROADCAST,
                )
            size = common
        result.append(size)
    return settled(result)


def _common_size(context: Context, size: Dim, other: Dim) -> Dim | None:
    """What two sizes, of which neither is the literal 1, broadcast to; None where they do not."""
    if isinstance(size, int) and isinstance(other, int):
        return None
    first, second = example_size(size), example_size(other)
    if first is None or second is None:
        context.guard("==", size, other)
        return size if isinstance(size, int) else other if isinstance(other, int) else size
    if first == second:
        same_size(size, other)
        return size if isinstance(size, int) else other
    if first == 1 and same_size(size, 1):
        return other
    return size if second == 1 and same_size(other, 1) else None


def show_shape(shape: Sequence[Dim]) -> str:
    """``(3, n)`` as Python would print it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def broadcast_arrays_in(context: Context, *arrays: Array, what: str = "") -> list[Array]:
    """``arrays`` brought to their common shape."""
    first = arrays[0].shape
    if all(a.shape == first for a in arrays[1:]):
        return list(arrays)
    shape = broadcast_shapes(context, *(a.shape for a in arrays), what=what)
    return [broadcast_to_shape(a, shape) for a in arrays]


def broadcast_to_shape(x: Array, shape: Shape) -> Array:
    """``x`` repeated to ``shape``, to which it is known to broadcast."""
    if x.shape == shape:
        return x
    offset = len(shape) - len(x.shape)
    matched = tuple(
        size if size in (1, target) else target for size, target in zip(x.shape, shape[offset:], strict=True)
    )
    if matched != x.shape:  # sizes that a guard says are equal
        x = bind_view("reshape", x, shape=matched)
    return bind_view("broadcast_in_dim", x, shape=shape, dims=tuple(range(offset, len(shape))))


def with_shape(x: Array, shape: Shape) -> Array | None:
    """``x`` under ``shape``: itself where they are equal, under a guard where only symbols differ, else None."""
    if x.shape == shape:
        return x
    pairs = list(zip(x.shape, shape, strict=True)) if len(x.shape) == len(shape) else []
    if not pairs or any(example_size(a) is not None and same_size(a, b) is False for a, b in pairs):
        return None
    context = context_of((x,))
    for a, b in pairs:
        context.guard("==", a, b)
    shape = settled(shape)
    return x if x.shape == shape else bind_view("reshape", x, shape=shape)


def normalize_axis(axis: int, ndim: int, what: str = "array") -> int:
    """``axis`` counted from 0. Raises AxisError naming the op."""
    position = _as_int(axis, what)
    if not -ndim <= position < ndim:
        raise AxisError(
            f"{what}: axis {axis} is out of range for {ndim} dimensions",
            hint=f"use an axis from {-ndim} to {ndim - 1}" if ndim else "a scalar has no axes",
        )
    return position + ndim if position < 0 else position


def normalize_axes(axes: int | Iterable[int] | None, ndim: int, what: str = "array") -> tuple[int, ...]:
    """``axes`` (one, several, or None for all) sorted and counted from 0. Raises AxisError for one named twice."""
    if axes is None:
        return tuple(range(ndim))
    listed: list[Any] = list(axes) if isinstance(axes, Iterable) and not hasattr(axes, "__index__") else [axes]
    result = sorted(normalize_axis(a, ndim, what) for a in listed)
    if len(set(result)) != len(result):
        raise AxisError(f"{what}: an axis is named twice in {tuple(listed)}", cause=AxisError.TWICE)
    return tuple(result)


def _as_int(value: Any, what: str) -> int:
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        raise AxisError(f"{what}: an axis must be an int, not {value!r}", cause=AxisError.TYPE) from None


def require(condition: bool, x: Array, what: str, needs: str) -> None:
    """Raise DTypeError saying that ``what`` ``needs`` another dtype than that of ``x``."""
    if not condition:
        raise DTypeError(f"{what}: {needs}, not {x.dtype.name} (shape {show_shape(x.shape)})")


def common_dtype(*values: ArrayLike) -> DType:
    """The dtype that ``values`` (arrays, scalars, dtypes) promote to."""
    dtypes = [
        (value, False) if isinstance(value, DType)
        else (scalar_dtype(value), True) if is_scalar(value)
        else (value.dtype, value.weak) if isinstance(value, Array)
        else (as_dtype(getattr(value, "dtype", value)), False)
        for value in values
    ]  # fmt: skip
    return result_dtype(dtypes)[0]


__all__ = [
    "Array", "ArrayLike", "Scalar", "astype", "bind", "broadcast_arrays_in", "broadcast_shapes", "broadcast_to_shape",
    "common_dtype", "computed_wide", "converted", "fitted_scalar", "integer_range", "is_scalar", "lift",
    "lift_in", "normalize_axes", "normalize_axis", "promote", "promoted", "require", "scalar_dtype", "show_shape", "to_float",
    "with_shape",
]  # fmt: skip
