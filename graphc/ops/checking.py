"""What the structural primitives check of their operands and static arguments: one wording for each kind of error."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from graphc.errors import ArgumentError, AxisError, DTypeError, ShapeError
from graphc.ir.dims import Dim, DimExpr, bounds, dim_max
from graphc.ir.primitive import Primitive

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value
    from graphc.ir.types import TensorType


class OneOperand(Primitive):
    """Base of the ops whose gradient flows from result 0 to operand 0 alone: they write :meth:`pullback`."""

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        """The cotangent of operand 0."""
        raise NotImplementedError

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        gradient = None
        if cotangents[0] is not None and wants_gradient(node, needed, 0):
            gradient = self.pullback(b, node, cotangents[0])
        return (gradient, *(None for _ in node.inputs[1:]))


class NoGradient(Primitive):
    """Base of the ops through which no gradient flows: their results are integers or bools."""

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return tuple(None for _ in node.inputs)


def wants_gradient(node: Node, needed: Sequence[bool], operand: int) -> bool:
    """Whether a gradient of ``operand`` is wanted and can exist."""
    return needed[operand] and bool(node.inputs[operand].dtype.is_inexact)


def as_shape(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """``x`` with the type's shape written as ``shape``: the same sizes, though symbolic arithmetic may not prove it."""
    reshaped: Value = x if x.shape == tuple(shape) else b.reshape(x, shape=tuple(shape))
    return reshaped


def describe(inputs: Sequence[TensorType]) -> str:
    """The types, for an error message."""
    return ", ".join(map(str, inputs)) or "none"


def take(op: str, inputs: Sequence[TensorType], count: int) -> tuple[TensorType, ...]:
    """``inputs``, if there are ``count``; raises ArgumentError otherwise."""
    if len(inputs) != count:
        raise ArgumentError(
            f"{op}: takes {count} operand{'s' * (count != 1)}, got {len(inputs)}: {describe(inputs)}", cause=ArgumentError.COUNT
        )
    return tuple(inputs)


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    return is_int(value) or isinstance(value, DimExpr)


def provably_negative(dim: Dim) -> bool:
    """Whether ``dim`` is below 0 whatever the symbolic sizes are."""
    high = bounds(dim)[1]
    return high is not None and high < 0


def dilated(size: Dim, factor: int) -> Dim:
    """The extent of ``size`` elements that are ``factor`` apart."""
    return size if factor == 1 else size + dim_max(size - 1, 0) * (factor - 1)


def check_axis(op: str, axis: Any, x: TensorType) -> None:
    """Raise AxisError unless ``axis`` is one of the axes of ``x``, counted from 0."""
    if not is_int(axis):
        raise ArgumentError(f"{op}: an axis must be an int, not {axis!r}", cause=ArgumentError.RANGE)
    if not 0 <= axis < x.ndim:
        where = f"its axes are 0 to {x.ndim - 1}" if x.ndim else "a scalar has no axes"
        raise AxisError(f"{op}: axis {axis} is out of range for {x}", hint=where)


def check_axes(op: str, axes: Any, x: TensorType) -> None:
    """Raise AxisError unless ``axes`` are distinct axes of ``x`` in increasing order."""
    if not isinstance(axes, tuple):
        raise ArgumentError(f"{op}: axes must be a tuple of ints, not {axes!r}", cause=ArgumentError.RANGE)
    for axis in axes:
        check_axis(op, axis, x)
    if any(a >= c for a, c in pairwise(axes)):
        raise AxisError(f"{op}: axes {axes} of {x} must be distinct and in increasing order", cause=AxisError.TWICE)


def check_permutation(op: str, permutation: Any, x: TensorType) -> None:
    """Raise AxisError unless ``permutation`` names every axis of ``x`` once."""
    if not isinstance(permutation, tuple) or not all(is_int(p) for p in permutation):
        raise ArgumentError(f"{op}: permutation must be a tuple of ints, not {permutation!r}", cause=ArgumentError.RANGE)
    if sorted(permutation) != list(range(x.ndim)):
        raise AxisError(f"{op}: {permutation} is not a permutation of the {x.ndim} axes of {x}", cause=AxisError.TWICE)


def check_sizes(op: str, name: str, sizes: Any) -> None:
    """Raise unless ``sizes`` is a tuple of dimensions, none of them negative."""
    if not isinstance(sizes, tuple) or not all(is_size(s) for s in sizes):
        raise ArgumentError(f"{op}: {name} must be a tuple of sizes, not {sizes!r}", cause=ArgumentError.RANGE)
    if any(provably_negative(s) for s in sizes):
        raise ShapeError(f"{op}: {name} {sizes} has a negative size", cause=ShapeError.SIZE)


def check_per_axis(op: str, name: str, values: Any, x: TensorType, count: int, minimum: int | None = None) -> None:
    """Raise ArgumentError unless ``values`` has ``count`` entries: sizes, or ints of at least ``minimum`` if given."""
    if not isinstance(values, tuple) or len(values) != count:
        raise ArgumentError(f"{op}: {name} needs {count} entries for {x}, got {values!r}", cause=ArgumentError.COUNT)
    if minimum is None:
        if not all(is_size(v) for v in values):
            raise ArgumentError(f"{op}: {name} must hold sizes, not {values!r}", cause=ArgumentError.RANGE)
    elif not all(is_int(v) and v >= minimum for v in values):
        raise ArgumentError(f"{op}: {name} must hold ints of at least {minimum}, not {values!r}", cause=ArgumentError.RANGE)


def check_padding(op: str, padding: Any, x: TensorType, count: int) -> None:
    """Raise ArgumentError unless ``padding`` is ``count`` pairs (low, high)."""
    if not isinstance(padding, tuple) or len(padding) != count:
        raise ArgumentError(
            f"{op}: padding needs {count} (low, high) pairs for {x}, got {padding!r}", cause=ArgumentError.COUNT
        )
    for pair in padding:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(is_size(p) for p in pair):
            raise ArgumentError(f"{op}: padding must be pairs (low, high) of ints, not {padding!r}", cause=ArgumentError.RANGE)


def check_numeric(op: str, *inputs: TensorType) -> None:
    """Raise DTypeError for a bool operand."""
    if any(x.dtype.is_bool for x in inputs):
        raise DTypeError(
            f"{op}: takes numbers, not bool: {describe(inputs)}", hint="convert with convert_element_type first",
            cause=DTypeError.BOOL,
        )


def check_same_dtype(op: str, *inputs: TensorType) -> None:
    """Raise DTypeError unless all operands have one dtype."""
    if any(x.dtype is not inputs[0].dtype for x in inputs):
        raise DTypeError(
            f"{op}: operands must have one dtype: {describe(inputs)}", hint="convert them to a common dtype first",
            cause=DTypeError.PROMOTION,
        )
