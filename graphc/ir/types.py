"""The type of a value: a dtype and a shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc.dtypes import DType
from graphc.errors import ShapeError
from graphc.ir.dims import Dim, DimExpr, evaluate_dim, product, solve, substitute, symbols_of

Shape = tuple[Dim, ...]


class TensorType:
    """``dtype`` and ``shape``; a dimension is an int or a :class:`~graphc.ir.dims.DimExpr`. Written ``f32[batch, 784]``.

    >>> TensorType(float32, (symbol("batch"), 784))
    f32[batch, 784]
    """

    __slots__ = ("_hash", "dtype", "shape")

    def __init__(self, dtype: DType, shape: Iterable[Dim] = ()) -> None:
        self.dtype = dtype
        self.shape: Shape = tuple(shape)
        for dim in self.shape:
            if isinstance(dim, int) and dim < 0:
                raise ShapeError(f"a shape cannot have the negative size {dim}: {self.shape}", cause=ShapeError.SIZE)
        self._hash = hash((dtype.name, self.shape))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def is_concrete(self) -> bool:
        """Whether every dimension is an int."""
        return not any(isinstance(d, DimExpr) for d in self.shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        return TensorType(self.dtype, shape)

    def substitute(self, bindings: Mapping[str, Dim]) -> TensorType:
        """The type with symbolic sizes replaced."""
        if self.is_concrete:
            return self
        return TensorType(self.dtype, (substitute(d, bindings) for d in self.shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorType) and self.dtype is other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"{self.dtype.short}[{', '.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple[object, ...]:
        return (TensorType, (self.dtype, self.shape))


Bindings = dict[str, int]


def bind_shape(type_: TensorType, shape: Sequence[int], bindings: Bindings, what: str) -> None:
    """Match a concrete ``shape`` with ``type_``, adding the sizes it determines to ``bindings``.

    A dimension that is a bare name binds it; any other is left to :func:`solve_sizes` and :func:`check_shape`. ``what``
    names the value in the ShapeError.
    """
    if len(shape) != type_.ndim:
        raise ShapeError(
            f"{what} has {len(shape)} dimensions, shape {tuple(shape)}, but {type_} was declared", cause=ShapeError.DIMENSIONS
        )
    for axis, (dim, size) in enumerate(zip(type_.shape, shape, strict=True)):
        if isinstance(dim, DimExpr):
            name = next(iter(dim.symbols()))
            if str(dim) == name and bindings.setdefault(name, size) != size:
                raise ShapeError(
                    f"{what} has size {size} in dimension {axis}, but the size {name!r} is {bindings[name]} already",
                    cause=ShapeError.GUARD,
                )
        elif dim != size:
            raise ShapeError(
                f"{what} has shape {tuple(shape)}, but {type_} was declared: dimension {axis} must be {dim}",
                cause=ShapeError.DECLARED,
            )


def solve_sizes(
    types: Sequence[TensorType], shapes: Sequence[Sequence[Dim]], bindings: dict[str, Any], names: Sequence[str]
) -> None:
    """Add to ``bindings`` the sizes that no dimension is by itself, as n in ``f32[2*n]``, where one is linear in just that one.

    ``shapes`` are those given for ``types``, of equal ranks, and ``names`` what the values are called in the ShapeError for
    an equation that no size solves. What stays unbound is an error of :func:`check_shape`.
    """
    pairs = [
        (dim, size, f"{name} has size {size} in dimension {axis}")
        for type_, shape, name in zip(types, shapes, names, strict=True)
        if not type_.is_concrete
        for axis, (dim, size) in enumerate(zip(type_.shape, shape, strict=True))
        if isinstance(dim, DimExpr) and any(symbol not in bindings for symbol in dim.symbols())
    ]
    solved = True
    while solved:
        solved = False
        for dim, size, what in pairs:
            found = solve(dim, size, bindings)
            if found is not None:
                symbol, value = found
                if value is None:
                    raise ShapeError(f"{what}, but no size {symbol!r} makes {dim} that", cause=ShapeError.GUARD)
                bindings[symbol] = value
                solved = True


def check_shape(type_: TensorType, shape: Sequence[int], bindings: Bindings, what: str) -> None:
    """Check the dimensions of ``type_`` that are expressions against ``shape``, all names being bound."""
    for axis, (dim, size) in enumerate(zip(type_.shape, shape, strict=True)):
        if isinstance(dim, DimExpr) and evaluate_dim(dim, bindings) != size:
            raise ShapeError(
                f"{what} has size {size} in dimension {axis}, but {dim} = {evaluate_dim(dim, bindings)}", cause=ShapeError.GUARD
            )


def symbols_in(types: Iterable[TensorType]) -> list[str]:
    """The distinct names of symbolic sizes in ``types``, in order of first appearance."""
    seen: dict[str, None] = {}
    for type_ in types:
        seen.update(dict.fromkeys(symbols_of(type_.shape)))
    return list(seen)


