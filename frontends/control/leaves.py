"""The leaves of what branches give and loops carry: which are arrays, of what types, and what to say where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from graphc.dtypes import DType, result_dtype
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.frontends.array.core import is_scalar
from graphc.frontends.dispatch import Array
from graphc.frontends.pytree import TreeDef
from graphc.ir.dims import DimExpr
from graphc.ir.types import TensorType


def is_array(leaf: Any) -> bool:
    """Whether a leaf is or becomes an array; all else (None, strings, objects) is static."""
    return isinstance(leaf, (Array, np.ndarray, np.generic, DimExpr)) or is_scalar(leaf)


def check_structure(what: str, first: tuple[str, TreeDef], other: tuple[str, TreeDef]) -> None:
    """Raise ArgumentError where two results are not nested alike; both are shown."""
    if first[1] != other[1]:
        raise ArgumentError(
            f"{what}: the structures differ: {first[0]} has {show_tree(first[1])}, {other[0]} has {show_tree(other[1])}",
            hint="both must return the same nesting of lists, tuples, dicts and objects",
            cause=ArgumentError.STRUCTURE,
        )


def check_static(what: str, path: str, one: Any, other: Any) -> None:
    """Raise ArgumentError unless a leaf that is no array is the same on both sides."""
    if is_array(one) or is_array(other) or not (one is other or (type(one) is type(other) and bool(one == other))):
        raise ArgumentError(
            f"{what}: {path or 'the result'} is {one!r} in one case and {other!r} in the other",
            hint="what is not an array must be the same in every case; return arrays where it varies",
            cause=ArgumentError.STRUCTURE,
        )


def common_dtype(dtypes: Sequence[tuple[DType, bool]]) -> DType | None:
    """The dtype that all of (dtype, weak) can have: that of the strong ones, if Python scalars fit it. None: there is none."""
    strong = {dtype for dtype, weak in dtypes if not weak}
    if len(strong) > 1:
        return None
    found = result_dtype(dtypes)[0]
    return found if not strong or found in strong else None


def raise_different(
    what: str, path: str, first: tuple[str, TensorType], other: tuple[str, TensorType], hint: str | None = None
) -> NoReturn:
    """DTypeError or ShapeError for a leaf that has two types."""
    message = f"{what}: {path or 'the value'} has type {first[1]} {first[0]}, and {other[1]} {other[0]}"
    if first[1].shape != other[1].shape:
        raise ShapeError(
            message, hint=hint or "make both of one shape, for example with gc.broadcast_to or gc.full", cause=ShapeError.REGION
        )
    raise DTypeError(message, hint=hint or f"convert one of them: .astype({str(other[1].dtype)!r})", cause=DTypeError.REGION)


def show_tree(tree: TreeDef) -> str:
    """A structure with its leaves as stars: ``{'w': *, 'b': (*, *)}``."""
    if tree.kind is None:
        return "*"
    children = [show_tree(child) for child in tree.children]
    if tree.kind is list:
        return f"[{', '.join(children)}]"
    if tree.kind is tuple:
        return f"({', '.join(children)}{',' if len(children) == 1 else ''})"
    if tree.kind is dict:
        return "{" + ", ".join(f"{key!r}: {child}" for key, child in zip(tree.keys, children, strict=True)) + "}"
    return f"{tree.kind.__name__}({', '.join(children)})"
