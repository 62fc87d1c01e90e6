"""What two calls of a traced function must share to use the same graph."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.frontends.array.core import is_scalar
from graphc.frontends.dispatch import Array
from graphc.frontends.grad_mode import mode
from graphc.frontends.pytree import TreeDef
from graphc.frontends.spec import Spec
from graphc.ir.types import TensorType


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
    """The part of a signature that one leaf contributes."""
    if isinstance(leaf, Static):
        return leaf
    if isinstance(leaf, (Array, Spec)):
        return (leaf.type, leaf.weak, leaf.requires_grad)  # type: ignore[union-attr]
    if isinstance(leaf, (np.ndarray, np.generic)):
        return (TensorType(as_dtype(leaf.dtype), leaf.shape), False, False)
    if is_scalar(leaf) and not isinstance(leaf, bool):
        return type(leaf)
    return Static(leaf)


def signature(tree: TreeDef, leaves: Sequence[Any]) -> Any:
    """The signature of a call: structure, types, static values, which arguments share memory and how, the gradient mode."""
    groups = shared_memory(leaves)
    views = tuple([(position, getattr(leaves[position], "_chain", ())) for group in groups for position in group])
    parts = tuple([describe_leaf(leaf) for leaf in leaves])
    return (tree, parts, tuple(map(tuple, groups)), views, mode.enabled)


def shared_memory(leaves: Sequence[Any]) -> list[list[int]]:
    """Groups of positions whose arrays are one object, or tensors of one memory; only groups of two and more."""
    groups: dict[int, list[int]] = {}
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, (Array, np.ndarray)):
            storage = getattr(leaf, "_storage", None)
            groups.setdefault(id(leaf if storage is None else storage), []).append(position)
    return [group for group in groups.values() if len(group) > 1]
