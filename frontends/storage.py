"""Views and in-place writes, in functional terms.

Memory that several arrays share is one *storage*. An array is the storage's base value seen through a chain of view ops.
The IR is functional, so a write through a view makes a new base value: the view op's inverse, applied from the inside out.
Views taken earlier are then stale, and are derived anew from the base when they are next read. Eager tensors use this for
what autograd records (their bytes are simply shared); graphs under construction use it for the values themselves.

``emit`` stands for whoever applies primitives: ``emit(op, *values, **attributes) -> value`` where values have ``.shape``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import dtype_of, int64
from graphc.errors import InPlaceError
from graphc.ir.dims import Dim, DimExpr
from graphc.ir.types import TensorType

Emit = Callable[..., Any]

# The ops whose results share memory with their operand, in every mode.
VIEW_OPS = frozenset(("reshape", "transpose", "slice", "reverse", "broadcast_in_dim", "stop_gradient"))


class ViewStep(NamedTuple):
    """One view op with its attributes, and the type it is applied to."""

    op: str
    attributes: tuple[tuple[str, Any], ...]
    operand: TensorType

    @classmethod
    def of(cls, op: str, attributes: dict[str, Any], operand: TensorType) -> ViewStep:
        return cls(op, tuple(attributes.items()), operand)


Chain = tuple[ViewStep, ...]


class Version:
    """Counts the writes to one storage; autograd compares it with the count when it saved the memory."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Storage:
    """Shared memory: ``value`` is what the base stands for now (a graph value, or an autograd reference), ``written`` counts
    the writes that changed it. ``base_type`` may be left to the ``base_array``."""

    __slots__ = ("_base_type", "base_array", "value", "version", "written")

    def __init__(self, value: Any, base_type: TensorType | None, base_array: Any = None) -> None:
        self.value = value
        self.base_array = base_array
        self._base_type = base_type
        self.version = Version()
        self.written = 0

    @property
    def base_type(self) -> TensorType:
        """The type of the base."""
        if self._base_type is None:
            self._base_type = TensorType(dtype_of(self.base_array), self.base_array.shape)
        return self._base_type


def apply_chain(base: Any, chain: Chain, emit: Emit) -> Any:
    """The value seen through ``chain``."""
    for step in chain:
        base = emit(step.op, base, **dict(step.attributes))
    return base


def write_through(base: Any, chain: Chain, new: Any, emit: Emit) -> Any:
    """The new base value after the view ``chain`` of ``base`` was given the contents ``new``."""
    inner = [base]
    for step in chain[:-1]:
        inner.append(emit(step.op, inner[-1], **dict(step.attributes)))
    for step, value in zip(reversed(chain), reversed(inner[: len(chain)]), strict=True):
        new = _inverse(step, value, new, emit)
    return new


def _inverse(step: ViewStep, inner: Any, new: Any, emit: Emit) -> Any:
    attributes = dict(step.attributes)
    if step.op == "stop_gradient":
        return new
    if step.op == "reshape":
        return emit("reshape", new, shape=step.operand.shape)
    if step.op == "transpose":
        permutation = attributes["permutation"]
        return emit("transpose", new, permutation=tuple(permutation.index(i) for i in range(len(permutation))))
    if step.op == "reverse":
        return emit("reverse", new, axes=attributes["axes"])
    if step.op == "slice":
        return _write_slice(attributes, step.operand, inner, new, emit)
    raise InPlaceError(
        "this view repeats elements of its base (broadcast), so a write to it has no single meaning",
        hint="write to the base, or take a copy() first",
    )


def _write_slice(attributes: dict[str, Any], operand: TensorType, inner: Any, new: Any, emit: Emit) -> Any:
    starts: Sequence[Dim] = attributes["starts"]
    strides: Sequence[int] = attributes["strides"]
    limits: Sequence[Dim] = attributes["limits"]
    if all(s == 0 for s in starts) and tuple(limits) == operand.shape and all(s == 1 for s in strides):
        return new
    strided = [axis for axis, stride in enumerate(strides) if stride != 1]
    if not strided:
        return emit("dynamic_update_slice", inner, new, *(_index(start, emit) for start in starts))
    # A strided axis is written by its indices; an offset of the other axes first narrows to the slice, then is written back.
    plain = tuple(axis not in strided for axis in range(operand.ndim))
    narrow_starts = tuple(s if is_plain else 0 for s, is_plain in zip(starts, plain, strict=True))
    narrow_limits = tuple(
        limit if is_plain else size for limit, size, is_plain in zip(limits, operand.shape, plain, strict=True)
    )
    ones = (1,) * operand.ndim
    window = emit("slice", inner, starts=narrow_starts, limits=narrow_limits, strides=ones)
    sizes = tuple(new.shape[axis] for axis in strided)
    indices = []
    for position, axis in enumerate(strided):
        iota = emit("iota", dtype=int64, shape=sizes, axis=position)
        stride = emit("broadcast_in_dim", _index(strides[axis], emit), shape=sizes, dims=())
        start = emit("broadcast_in_dim", _index(starts[axis], emit), shape=sizes, dims=())
        indices.append(emit("add", emit("mul", iota, stride), start))
    order = (*strided, *(axis for axis in range(operand.ndim) if axis not in strided))
    updates = emit("transpose", new, permutation=order)
    window = emit("scatter_set", window, updates, *indices, axes=tuple(strided))
    if narrow_limits == operand.shape and all(s == 0 for s in narrow_starts):
        return window
    return emit("dynamic_update_slice", inner, window, *(_index(start, emit) for start in narrow_starts))


def _index(value: Dim, emit: Emit) -> Any:
    if isinstance(value, DimExpr):
        return emit("dimension", dim=value)
    index = np.array(value, dtype=np.int64)
    index.setflags(write=False)
    return emit("constant", value=index)
