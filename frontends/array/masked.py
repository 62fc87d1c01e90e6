"""``x[mask]`` in a graph: how many elements it has is known only at run time, what is written to it need not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from graphc.errors import ShapeError
from graphc.frontends.array.core import ArrayLike, broadcast_arrays_in, lift, show_shape
from graphc.frontends.array.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    divide,
    floor_divide,
    multiply,
    power,
    remainder,
    subtract,
    where,
)
from graphc.frontends.array.movement import reshape
from graphc.frontends.dispatch import Array, context_of
from graphc.ir.dims import same_sizes
from graphc.locations import current_location

Operation = Callable[[Any, Any], Array]


class Masked:
    """The elements of ``view`` that a mask over its dimensions from ``axis`` on selects, within a graph.

    All it can do is to be changed and written back: ``x[mask] += value`` is ``x[mask]``, ``+=`` on it, and ``x[mask] = …``.
    Whatever needs the elements themselves raises ShapeError, which says what to write instead.
    """

    __slots__ = ("axis", "location", "mask", "source", "view")

    def __init__(self, view: Array, axis: int, mask: Array, source: Any) -> None:
        self.view = view
        self.axis = axis
        self.mask = mask
        self.source = source  # the mask as the user gave it
        self.location = current_location()

    def _updated(self, operation: Operation, value: Any) -> Masked:
        other = self.aligned(value)
        # What is not selected must not make infinities, whose product with a gradient of 0 is NaN.
        safe = where(self.wide(), self.view, 1)
        return Masked(operation(safe, other), self.axis, self.mask, self.source)

    def wide(self) -> Array:
        """The mask with the dimensions after it as ones."""
        after = len(self.view.shape) - self.axis - len(self.mask.shape)
        return reshape(self.mask, (*self.mask.shape, *(1 for _ in range(after))))

    def aligned(self, value: Any) -> Array:
        """``value`` in the dimensions of the view. Raises ShapeError where it would need one for each selected element."""
        if isinstance(value, Masked):
            if value.source is not self.source or len(value.view.shape) != len(self.view.shape):
                raise ShapeError("two selections meet whose masks are not the same object", hint="use one mask for both")
            return where(value.wide(), value.view, 1)
        found = aligned(self.view, self.axis, self.mask, lift(value, self.view))
        if found is None:
            raise ShapeError(
                f"a value of shape {show_shape(lift(value, self.view).shape)} has one element for each that the mask selects, "
                "and how many these are is known only at run time",
                hint="write values that broadcast, or choose with gc.where(mask, values, x), where values has the shape of x",
            )
        return found

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise selects_unknown(self.location)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what protocols look for
            raise AttributeError(name)
        raise selects_unknown(self.location)


_OPERATIONS: dict[str, Operation] = {
    "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "floordiv": floor_divide, "mod": remainder, "pow": power,
    "and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor,
}  # fmt: skip
_REFUSED = (
    "neg pos abs invert len iter bool getitem setitem eq ne lt le gt ge float int index array contains matmul rmatmul "
    "lshift rshift rlshift rrshift array_ufunc array_function"
)


def _in_place(operation: Operation) -> Callable[[Masked, Any], Masked]:
    return lambda self, value: self._updated(operation, value)


def _define_operators() -> None:
    for name, operation in _OPERATIONS.items():
        setattr(Masked, f"__i{name}__", _in_place(operation))
        setattr(Masked, f"__{name}__", Masked._refuse)
        setattr(Masked, f"__r{name}__", Masked._refuse)
    for name in _REFUSED.split():
        setattr(Masked, f"__{name}__", Masked._refuse)
    Masked.__hash__ = object.__hash__  # type: ignore[method-assign]


_define_operators()


def selects_unknown(location: Any = None) -> ShapeError:
    """The error of a selection whose size a graph would have to know."""
    return ShapeError(
        "selecting by a boolean mask gives a size that depends on the mask's values, which a graph cannot know",
        hint="x[mask].sum() is gc.where(mask, x, 0).sum(), and x[mask].mean() that divided by mask.sum(); x[mask] = value and "
        "x[mask] += value work; a bound on the number does for all else: gc.masked_select(x, mask, size=100), or for rows "
        "gc.compress(mask, x, axis=0, size=100)",
        location=location,
        cause=ShapeError.DEPENDS_ON_VALUES,
    )


def aligned(view: Array, axis: int, mask: Array, value: Array) -> Array | None:
    """``value`` in the dimensions of ``view`` if it is the same for every element that ``mask`` selects; else None."""
    after = len(view.shape) - axis - len(mask.shape)
    if len(value.shape) <= after:
        return value
    place = len(value.shape) - after - 1
    if value.shape[place] != 1:
        return None
    return reshape(value, (*value.shape[:place], *(1 for _ in mask.shape), *value.shape[place + 1 :]))


def chosen(view: Array, axis: int, mask: Array, value: ArrayLike) -> Array:
    """``view`` with ``value``, which broadcasts, where ``mask`` is true."""
    wide = Masked(view, axis, mask, None).wide()
    context = context_of((view, value))
    selector, new, old = broadcast_arrays_in(context, wide, value, view)
    if not same_sizes(old.shape, view.shape):
        raise ShapeError(
            f"a value of shape {show_shape(lift(value, view).shape)} cannot be written into shape {show_shape(view.shape)}",
            cause=ShapeError.WRITTEN,
        )
    return where(selector, new, old)


__all__ = ["Masked", "aligned", "chosen", "selects_unknown"]
