"""Reading and writing at indices that are known at run time: gather, scatter, dynamic_slice, dynamic_update_slice.

Every index must be within its dimension: an index outside raises OutOfBoundsError, it is never clamped or wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.dtypes import int64
from graphc.errors import ArgumentError, DTypeError, OutOfBoundsError, ShapeError
from graphc.ir.dims import Dim, product
from graphc.ir.primitive import ALL, Primitive, Residuals, register
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.operands import Operand
from graphc.ops.batching import all_mapped, are_mapped, behind, counted, from_front, repeated, to_front
from graphc.ops.checking import (
    OneOperand,
    check_axes,
    check_numeric,
    check_per_axis,
    check_same_dtype,
    describe,
    provably_negative,
    wants_gradient,
)
from graphc.ops.reduction import in_compute_dtype, is_winner, kept_axes, split_equally

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Node, Value


def check_indices(op: str, x: TensorType, indices: Sequence[TensorType], axes: Any) -> tuple[Dim, ...]:
    """The shape that all index operands have; raises where they do not fit ``axes`` of ``x``."""
    check_axes(op, axes, x)
    if not axes or len(indices) != len(axes):
        raise ArgumentError(
            f"{op}: axes {axes} need one index operand each, at least one: {describe(indices)}", cause=ArgumentError.RANGE
        )
    if any(i.dtype is not int64 for i in indices):
        raise DTypeError(
            f"{op}: indices must be int64: {describe(indices)}", hint="convert them to int64", cause=DTypeError.INDEX
        )
    if any(i.shape != indices[0].shape for i in indices):
        raise ShapeError(f"{op}: index operands must have one shape: {describe(indices)}")
    return indices[0].shape


def check_bounds(op: str, indices: Sequence[Any], axes: Sequence[int], shape: Sequence[int]) -> None:
    """Raise OutOfBoundsError naming the first index, in row-major order, that is outside its axis."""
    found: list[tuple[int, int]] = []
    for number, (index, axis) in enumerate(zip(indices, axes, strict=True)):
        outside = index.view(np.uint64) >= shape[axis]  # a negative index is a huge one
        if outside.any():
            found.append((int(np.argmax(outside)), number))
    if found:
        position, number = min(found)
        axis = axes[number]
        raise out_of_bounds(op, int(np.ravel(indices[number])[position]), axis, shape[axis])


def out_of_bounds(
    op: str, index: int, axis: int, size: int, location: Location | None = None, operands: Sequence[Operand] = ()
) -> OutOfBoundsError:
    """The error of ``op`` for ``index`` on an axis of ``size`` elements."""
    return OutOfBoundsError(
        f"{op}: index {index} is out of range for axis {axis}, which has size {size}",
        hint=f"indices must be in [0, {size})" if size else "the axis is empty",
        location=location,
        operands=operands,
    )


def _axes_first(x: Any, axes: Sequence[int]) -> Any:
    if axes == tuple(range(len(axes))):
        return x
    return np.transpose(x, (*axes, *kept_axes(x.ndim, axes)))


@register
class Gather(OneOperand):
    """Elements of ``x`` at ``indices``, one int64 array for each of ``axes`` (increasing), all of one shape S.

    The result has the shape S followed by the axes of ``x`` that are not indexed: NumPy's ``x[i, j]`` where the indexed
    axes come first. Raises OutOfBoundsError for an index outside [0, size).

    >>> b.gather(table, ids, axes=(0,))  # f32[vocabulary, 64], i64[batch] -> f32[batch, 64]
    """

    name = "gather"
    attributes = ("axes",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        if not inputs:
            raise ArgumentError(f"{self.name}: needs an operand to read from", cause=ArgumentError.COUNT)
        x, *indices = inputs
        shape = check_indices(self.name, x, indices, axes)
        return (x.with_shape((*shape, *(x.shape[a] for a in kept_axes(x.ndim, axes)))),)

    def evaluate(self, x: Any, *indices: Any, axes: tuple[int, ...]) -> Any:
        check_bounds(self.name, indices, axes, x.shape)
        found = _axes_first(x, axes)[tuple(indices)]  # by scalars, it may be a view
        return np.asarray(found, order="C") if np.ndim(indices[0]) else np.array(found, order="C")

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(range(1, len(needed))))

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        x, *indices = node.inputs
        gradient: Value = b.scatter_add(b.zeros_like(x), cotangent, *indices, axes=node.attributes["axes"])
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        x, *indices = operands
        axes = node.attributes["axes"]
        x_is_mapped, *mapped = are_mapped(node, operands)
        if not any(mapped):
            found = b.emit_one(self, x, *indices, axes=behind(axes))
            return (to_front(b, found, indices[0].ndim),)
        indices = [i if is_mapped else repeated(b, i, size) for i, is_mapped in zip(indices, mapped, strict=True)]
        if not x_is_mapped:
            return b.emit(self, x, *indices, axes=axes)
        return b.emit(self, x, counted(b, indices[0].shape), *indices, axes=(0, *behind(axes)))


class Scatter(Primitive):
    """Base of the scatters: ``updates``, shaped S followed by the axes not indexed, go into ``x`` at ``indices``."""

    attributes = ("axes",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def check_dtype(self, x: TensorType) -> None:
        """Raise DTypeError for a dtype that the scatter does not take."""

    def combine(self, target: Any, index: Any, updates: Any) -> None:
        """Put rows of ``updates`` into the rows ``index`` of ``target``, in place and in order."""
        raise NotImplementedError

    def infer(self, inputs: tuple[TensorType, ...], /, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        if len(inputs) < 3:
            raise ArgumentError(f"{self.name}: needs x, updates and indices: {describe(inputs)}", cause=ArgumentError.COUNT)
        x, updates, *indices = inputs
        self.check_dtype(x)
        check_same_dtype(self.name, x, updates)
        shape = check_indices(self.name, x, indices, axes)
        expected = (*shape, *(x.shape[a] for a in kept_axes(x.ndim, axes)))
        if updates.shape != expected:
            raise ShapeError(
                f"{self.name}: updates are {updates}, but indices {indices[0]} into axes {axes} of {x} need "
                f"{x.with_shape(expected)}",
                cause=ShapeError.WRITTEN,
            )
        return (x,)

    def evaluate(self, x: Any, updates: Any, *indices: Any, axes: tuple[int, ...]) -> Any:
        check_bounds(self.name, indices, axes, x.shape)
        rest = kept_axes(x.ndim, axes)
        sizes = [x.shape[a] for a in axes]
        moved = np.array(_axes_first(in_compute_dtype(x), axes), order="C")
        columns = product(x.shape[a] for a in rest)
        rows = np.zeros(np.shape(indices[0]), dtype=np.int64)
        for index, size in zip(indices, sizes, strict=True):
            rows = rows * size + index
        target = moved.reshape(product(sizes), columns)
        with np.errstate(all="ignore"):
            self.combine(target, rows.ravel(), in_compute_dtype(updates).reshape(rows.size, columns))
            target = target.astype(x.dtype, copy=False)
        return np.ascontiguousarray(np.transpose(target.reshape(moved.shape), np.argsort((*axes, *rest))))

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        axes = node.attributes["axes"]
        x, updates, *indices = all_mapped(b, node, operands, size)
        if any(are_mapped(node, operands)[2:]):
            return b.emit(self, x, updates, counted(b, indices[0].shape), *indices, axes=(0, *behind(axes)))
        shared = operands[2:]
        return b.emit(self, x, from_front(b, updates, shared[0].ndim), *shared, axes=behind(axes))


def positions_in_order(b: Builder, indices: Sequence[Value]) -> Value:
    """0, 1, 2, … in row-major order over the shape of the index operands."""
    shape = indices[0].shape
    positions: Value = b.reshape(b.iota(dtype=int64, shape=(product(shape),), axis=0), shape=shape)
    return positions


@register
class ScatterSet(Scatter):
    """``x`` with ``updates`` written at ``indices``. Of several at one place the last in row-major order of S wins."""

    name = "scatter_set"

    def combine(self, target: Any, index: Any, updates: Any) -> None:
        last = np.full(target.shape[0], -1, dtype=np.int64)
        np.maximum.at(last, index, np.arange(index.size))
        written = last >= 0
        target[written] = updates[last[written]]

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(range(2, len(needed))))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        x, updates, *indices = node.inputs
        axes = node.attributes["axes"]
        for_x: Value | None = None
        for_updates: Value | None = None
        if wants_gradient(node, needed, 0):
            for_x = b.scatter_set(cotangent, b.zeros_like(updates), *indices, axes=axes)
        if wants_gradient(node, needed, 1):
            every = tuple(range(len(axes)))
            positions = positions_in_order(b, indices)
            none = b.full(tuple(x.shape[a] for a in axes), -1, int64)
            winners = b.gather(b.scatter_set(none, positions, *indices, axes=every), *indices, axes=every)
            won = b.broadcast_in_dim(b.eq(winners, positions), shape=updates.shape, dims=tuple(range(positions.ndim)))
            for_updates = b.select(won, b.gather(cotangent, *indices, axes=axes), b.zeros_like(updates))
        return (for_x, for_updates, *(None for _ in indices))


@register
class ScatterAdd(Scatter):
    """``x`` with ``updates`` added at ``indices``; several at one place are all added. 16-bit floats add in float32."""

    name = "scatter_add"

    def check_dtype(self, x: TensorType) -> None:
        check_numeric(self.name, x)

    def combine(self, target: Any, index: Any, updates: Any) -> None:
        np.add.at(target, index, updates)

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(range(2, len(needed))) if needed[1] else ())

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        _, _, *indices = node.inputs
        for_updates: Value | None = None
        if wants_gradient(node, needed, 1):
            for_updates = b.gather(cotangent, *indices, axes=node.attributes["axes"])
        return (cotangent if wants_gradient(node, needed, 0) else None, for_updates, *(None for _ in indices))


class ScatterExtreme(Scatter):
    """Base of scatter_max and scatter_min. All that tie at a place (``x`` too) share the gradient equally."""

    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,), results=(0,))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        x, updates, *indices = node.inputs
        axes, best = node.attributes["axes"], node.results[0]
        kept = is_winner(b, x, best)
        taken = is_winner(b, updates, b.gather(best, *indices, axes=axes))
        wide = x.dtype.compute
        ones = (b.convert_element_type(kept, dtype=wide), b.convert_element_type(taken, dtype=wide))
        share = split_equally(b, cotangent, b.scatter_add(*ones, *indices, axes=axes))
        for_x: Value | None = None
        for_updates: Value | None = None
        if wants_gradient(node, needed, 0):
            for_x = b.select(kept, share, b.zeros_like(x))
        if wants_gradient(node, needed, 1):
            for_updates = b.select(taken, b.gather(share, *indices, axes=axes), b.zeros_like(updates))
        return (for_x, for_updates, *(None for _ in indices))


@register
class ScatterMax(ScatterExtreme):
    """The greater of ``x`` and all ``updates`` at each place; NaN wins."""

    name = "scatter_max"

    def combine(self, target: Any, index: Any, updates: Any) -> None:
        np.maximum.at(target, index, updates)


@register
class ScatterMin(ScatterExtreme):
    """The lesser of ``x`` and all ``updates`` at each place; NaN wins."""

    name = "scatter_min"

    def combine(self, target: Any, index: Any, updates: Any) -> None:
        np.minimum.at(target, index, updates)


def check_starts(op: str, x: TensorType, starts: Sequence[TensorType]) -> None:
    """Raise unless ``starts`` are one int64 scalar for each axis of ``x``."""
    if len(starts) != x.ndim:
        raise ArgumentError(f"{op}: needs one start for each axis of {x}: {describe(starts)}", cause=ArgumentError.COUNT)
    if any(s.dtype is not int64 for s in starts):
        raise DTypeError(
            f"{op}: starts must be int64 scalars: {describe(starts)}", hint="convert them to int64", cause=DTypeError.INDEX
        )
    if any(s.shape != () for s in starts):
        raise ShapeError(f"{op}: starts must be int64 scalars: {describe(starts)}", cause=ShapeError.DIMENSIONS)


def window_at(op: str, starts: Sequence[Any], sizes: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """The window of ``sizes`` at ``starts``; raises OutOfBoundsError where it is not within ``shape``."""
    for axis, (start, size, extent) in enumerate(zip(starts, sizes, shape, strict=True)):
        if not 0 <= int(start) <= extent - size:
            raise OutOfBoundsError(
                f"{op}: start {int(start)} is out of bounds: a window of {size} along axis {axis} of size {extent}",
                hint=f"the start must be in [0, {extent - size}]",
            )
    return tuple(slice(int(start), int(start) + size) for start, size in zip(starts, sizes, strict=True))


@register
class DynamicSlice(OneOperand):
    """The window of ``sizes`` in ``x`` that begins at ``starts``, an int64 scalar for each axis.

    Raises OutOfBoundsError where the window is not wholly inside (StableHLO and XLA clamp it silently).
    """

    name = "dynamic_slice"
    attributes = ("sizes",)
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: tuple[TensorType, ...], /, *, sizes: tuple[Dim, ...]) -> tuple[TensorType, ...]:  # type: ignore[override]
        if not inputs:
            raise ArgumentError(f"{self.name}: needs an operand to read from", cause=ArgumentError.COUNT)
        x, *starts = inputs
        check_starts(self.name, x, starts)
        check_per_axis(self.name, "sizes", sizes, x, x.ndim)
        if any(provably_negative(s) or provably_negative(n - s) for s, n in zip(sizes, x.shape, strict=True)):
            raise ShapeError(f"{self.name}: a window of sizes {sizes} does not fit into {x}", cause=ShapeError.WINDOW)
        return (x.with_shape(sizes),)

    def evaluate(self, x: Any, *starts: Any, sizes: tuple[int, ...]) -> Any:
        return np.array(x[window_at(self.name, starts, sizes, x.shape)], order="C")

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(range(1, len(needed))))

    def pullback(self, b: Builder, node: Node, cotangent: Value) -> Value:
        x, *starts = node.inputs
        gradient: Value = b.dynamic_update_slice(b.zeros_like(x), cotangent, *starts)
        return gradient

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        x, *starts = operands
        sizes = node.attributes["sizes"]
        x_is_mapped, *mapped = are_mapped(node, operands)
        whole = [_is_whole(start, n, extent) for start, n, extent in zip(starts, sizes, node.inputs[0].shape, strict=True)]
        zero = b.full((), 0, int64)
        # First the windows that all examples share; then each example takes its own out of what is left.
        shared = [zero if is_mapped else start for start, is_mapped in zip(starts, mapped, strict=True)]
        kept = [
            extent if is_mapped else n for n, extent, is_mapped in zip(sizes, node.inputs[0].shape, mapped, strict=True)
        ]
        if not all(w or m for w, m in zip(whole, mapped, strict=True)):
            x = b.emit_one(self, x, *[zero] * x_is_mapped, *shared, sizes=(*[size] * x_is_mapped, *kept))
        own = [axis for axis, is_mapped in enumerate(mapped) if is_mapped]
        if not own:
            return (x,)
        shape = (size, *(sizes[axis] for axis in own))
        indices = [window_positions(b, starts[axis], shape, place + 1) for place, axis in enumerate(own)]
        if x_is_mapped:
            found = b.gather(x, counted(b, shape), *indices, axes=(0, *behind(own)))
        else:
            found = b.gather(x, *indices, axes=own)
        order = [*own, *kept_axes(len(sizes), own)]
        permutation = (0, *(order.index(axis) + 1 for axis in range(len(sizes))))
        return (found if permutation == tuple(range(found.ndim)) else b.transpose(found, permutation=permutation),)


@register
class DynamicUpdateSlice(Primitive):
    """``x`` with ``update`` written over the window that begins at ``starts``, an int64 scalar for each axis.

    Raises OutOfBoundsError where the window is not wholly inside.
    """

    name = "dynamic_update_slice"
    residuals: ClassVar[Residuals] = Residuals(operands=(ALL,))

    def infer(self, inputs: tuple[TensorType, ...], /) -> tuple[TensorType, ...]:  # type: ignore[override]
        if len(inputs) < 2:
            raise ArgumentError(f"{self.name}: needs x, update and starts: {describe(inputs)}", cause=ArgumentError.COUNT)
        x, update, *starts = inputs
        check_same_dtype(self.name, x, update)
        check_starts(self.name, x, starts)
        fits = update.ndim == x.ndim
        if not fits or any(provably_negative(n - s) for s, n in zip(update.shape, x.shape, strict=True)):
            raise ShapeError(f"{self.name}: the update {update} does not fit into {x}", cause=ShapeError.WRITTEN)
        return (x,)

    def evaluate(self, x: Any, update: Any, *starts: Any) -> Any:
        window = window_at(self.name, starts, update.shape, x.shape)
        result = np.array(x, order="C")
        result[window] = update
        return result

    def residuals_for(self, node_types: tuple[TensorType, ...], needed: Sequence[bool]) -> Residuals:
        return Residuals(operands=tuple(range(2, len(needed))))

    def vjp(
        self, b: Builder, node: Node, cotangents: Sequence[Value | None], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        _, update, *starts = node.inputs
        for_x: Value | None = None
        for_update: Value | None = None
        if wants_gradient(node, needed, 0):
            for_x = b.dynamic_update_slice(cotangent, b.zeros_like(update), *starts)
        if wants_gradient(node, needed, 1):
            for_update = b.dynamic_slice(cotangent, *starts, sizes=update.shape)
        return (for_x, for_update, *(None for _ in starts))

    def batch(self, b: Builder, node: Node, operands: Sequence[Value], size: Dim) -> Sequence[Value]:
        x, update, *starts = operands
        x_is_mapped, update_is_mapped, *mapped = are_mapped(node, operands)
        x, update = x if x_is_mapped else repeated(b, x, size), update if update_is_mapped else repeated(b, update, size)
        if not any(mapped):
            return b.emit(self, x, update, b.full((), 0, int64), *starts)
        sizes = node.inputs[1].shape
        whole = [_is_whole(start, n, extent) for start, n, extent in zip(starts, sizes, node.inputs[0].shape, strict=True)]
        own = [axis for axis, is_whole in enumerate(whole) if not is_whole]
        order = (0, *behind(own), *behind(kept_axes(len(sizes), own)))
        if order != tuple(range(len(order))):
            update = b.transpose(update, permutation=order)
        shape = (size, *(sizes[axis] for axis in own))
        indices = [
            window_positions(b, starts[axis] if mapped[axis] else repeated(b, starts[axis], size), shape, place + 1)
            for place, axis in enumerate(own)
        ]
        return (b.scatter_set(x, update, counted(b, shape), *indices, axes=(0, *behind(own))),)


def _is_whole(start: Value, size: Dim, extent: Dim) -> bool:
    """Whether a window along an axis of ``extent`` is all of it: there is one place for it, which is literally 0."""
    return size == extent and start.node.op.name == "constant" and bool(start.node.attributes["value"] == 0)


def window_positions(b: Builder, starts: Value, shape: Sequence[Dim], axis: int) -> Value:
    """The indices of windows that begin at ``starts``, one for each example, and run along ``axis`` of ``shape``."""
    first = b.broadcast_in_dim(starts, shape=tuple(shape), dims=(0,))
    positions: Value = b.add(first, counted(b, shape, axis))
    return positions
