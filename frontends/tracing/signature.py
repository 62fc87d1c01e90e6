"""What two calls of a traced function must share to use the same graph."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dtypes import as_dtype
from graphc.frontends.array.core import is_scalar
from graphc.frontends.dispatch import Array, is_placed, place
from graphc.frontends.grad_mode import mode
from graphc.frontends.placement import CPU
from graphc.frontends.pytree import TreeDef
from graphc.frontends.spec import Spec


class Static:
    """An argument that the graph depends on: compared by value where it is a plain value, by identity otherwise."""

    __slots__ = ("_hash", "_parts", "_reference", "_strong")

    def __init__(self, value: Any) -> None:
        self._strong = value
        self._parts: tuple[Static, ...] | None = None  # a tuple's elements: (1,) == (True,), but the graphs may differ
        self._reference: Any = None
        if isinstance(value, (str, bytes, bool, int, float, complex, enum.Enum, type(None), frozenset, range)):
            self._hash = hash((type(value), value))
            return
        if isinstance(value, tuple):
            self._parts = tuple([Static(v) for v in value])
            self._hash = hash((type(value), self._parts))
            return
        self._hash = id(value)
        try:
            self._reference = weakref.ref(value)
            self._strong = None
        except TypeError:
            pass

    @property
    def value(self) -> Any:
        return self._strong if self._reference is None else self._reference()

    @property
    def by_identity(self) -> bool:
        """Whether it is equal to nothing but itself."""
        return self._reference is not None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return NotImplemented
        if self._parts is not None or other._parts is not None:
            return self._parts == other._parts and type(self._strong) is type(other._strong)
        mine, theirs = self.value, other.value
        if self._reference is not None or other._reference is not None:
            return mine is theirs and mine is not None
        return type(mine) is type(theirs) and (mine is theirs or mine == theirs)

    def __repr__(self) -> str:
        return repr(self.value)


def is_dynamic(leaf: Any) -> bool:
    """Whether ``leaf`` becomes an input of the graph: arrays, specs, Python floats and ints (bools are static)."""
    return isinstance(leaf, (Array, np.ndarray, np.generic, Spec)) or (is_scalar(leaf) and not isinstance(leaf, bool))


def describe_leaf(leaf: Any) -> Any:
    """The part of a signature that one leaf contributes: a :class:`Static`, the class of a Python number, or for an array its
    dtype, rank, whether it is weak and requires a gradient, and its device. Sizes are not part of it."""
    if isinstance(leaf, Static):
        return leaf
    if isinstance(leaf, Array):
        type_ = leaf.type
        return (type_.dtype, len(type_.shape), leaf.weak, leaf.requires_grad, leaf.device)  # type: ignore[attr-defined]
    if isinstance(leaf, Spec):
        return (leaf.type, leaf.weak, leaf.requires_grad)
    if isinstance(leaf, (np.ndarray, np.generic)):
        return (as_dtype(leaf.dtype), leaf.ndim, False, False, CPU)
    if is_scalar(leaf) and not isinstance(leaf, bool):
        return type(leaf)
    return Static(leaf)


class Signature(NamedTuple):
    """What calls have in common that may share a program: ``tree``, the structure of the arguments; ``parts``, what
    :func:`describe_leaf` says of each leaf; ``groups`` of leaves that share memory, and ``views``, how they do and their
    shapes, where one is a view; the gradient mode; ``shapes``, where they are fixed; ``device``, the default one where no
    argument says where to run."""

    tree: TreeDef
    parts: tuple[Any, ...]
    groups: tuple[tuple[int, ...], ...]
    views: tuple[tuple[int, Any, Any], ...]
    grad_enabled: bool
    shapes: tuple[Any, ...] | None
    device: str = ""


def signature(tree: TreeDef, leaves: Sequence[Any], *, fixed_shapes: bool = False) -> Signature:
    """The signature of a call."""
    groups = shared_memory(leaves)
    views: tuple[tuple[int, Any, Any], ...] = ()
    if groups:
        chains = [(p, getattr(leaves[p], "_chain", ()), leaves[p].shape) for group in groups for p in group]
        views = tuple(chains) if any(chain for _, chain, _ in chains) else ()
    return Signature(
        tree,
        tuple([describe_leaf(leaf) for leaf in leaves]),
        tuple(map(tuple, groups)),
        views,
        mode.enabled,
        leaf_shapes(leaves) if fixed_shapes else None,
        default_device(leaves),
    )


def default_device(leaves: Sequence[Any]) -> str:
    """The default device, where it matters: where it is not the CPU, and no argument is a tensor."""
    if not is_placed() or any(isinstance(leaf, Array) for leaf in leaves):
        return ""
    name: str = place().name  # type: ignore[attr-defined]
    return "" if name == "cpu" else name


def leaf_shapes(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """The shape of each leaf; None for what is not an array."""
    return tuple([leaf.shape if isinstance(leaf, (Array, np.ndarray, np.generic)) else None for leaf in leaves])


def shared_memory(leaves: Sequence[Any]) -> list[list[int]]:
    """Groups of positions whose arrays are one object, or tensors of one memory; only groups of two and more."""
    groups: dict[int, list[int]] = {}
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, (Array, np.ndarray)):
            storage = getattr(leaf, "_storage", None)
            groups.setdefault(id(leaf if storage is None else storage), []).append(position)
    return [group for group in groups.values() if len(group) > 1]
