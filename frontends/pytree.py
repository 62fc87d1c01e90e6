"""Nested structures of arrays: lists, tuples, named tuples, dicts, dataclasses, and types registered by the user.

Dataclasses need no registration, and every leaf has a path that error messages can name; that is why this is not a dependency.

>>> leaves, tree = flatten({"w": 1, "b": [2, 3]})
>>> unflatten(tree, [10 * leaf for leaf in leaves])
{'w': 10, 'b': [20, 30]}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, ArgumentTypeError


class TreeDef(NamedTuple):
    """The structure of a nested value without its leaves; hashable, equal for equal structures. A leaf has ``kind`` None."""

    kind: Any
    keys: tuple[Any, ...]
    children: tuple[TreeDef, ...]

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return 1 if self.kind is None else sum(child.leaves for child in self.children)


LEAF = TreeDef(None, (), ())

Flatten = Callable[[Any], tuple[Sequence[Any], Any]]
Unflatten = Callable[[Any, Sequence[Any]], Any]
_registered: dict[type, tuple[Flatten, Unflatten]] = {}


def register_pytree(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make instances of ``cls`` structures: ``flatten(x) -> (children, hashable)``, ``unflatten(hashable, children) -> x``."""
    _registered[cls] = (flatten, unflatten)


def _children(value: Any) -> tuple[Any, tuple[Any, ...], Sequence[Any]] | None:
    """(kind, keys, children) of a structure; None for a leaf."""
    cls = type(value)
    if cls in (list, tuple):
        return cls, tuple(range(len(value))), value
    if cls in _registered:
        children, meta = _registered[cls][0](value)
        return cls, (meta,), list(children)
    if isinstance(value, dict):
        keys = tuple(value)
        return cls, keys, [value[k] for k in keys]
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return cls, tuple(cls._fields), value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in dataclasses.fields(value))
        return cls, names, [getattr(value, n) for n in names]
    return None


def flatten(value: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of ``value`` in order, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(value, leaves, [])


def _flatten(value: Any, leaves: list[Any], above: list[int]) -> TreeDef:
    found = _children(value)
    if found is None:
        leaves.append(value)
        return LEAF
    if id(value) in above:
        raise ArgumentError(
            f"a {type(value).__name__} contains itself, so it is not a tree of arrays", cause=ArgumentError.STRUCTURE
        )
    kind, keys, children = found
    above.append(id(value))
    result = TreeDef(kind, keys, tuple([_flatten(child, leaves, above) for child in children]))
    above.pop()
    return result


def unflatten(tree: TreeDef, leaves: Iterable[Any]) -> Any:
    """The structure ``tree`` with new leaves."""
    return _unflatten(tree, iter(leaves))


def _unflatten(tree: TreeDef, leaves: Any) -> Any:
    kind = tree.kind
    if kind is None:
        return next(leaves)
    children = [_unflatten(child, leaves) for child in tree.children]
    if kind is list:
        return children
    if kind is tuple:
        return tuple(children)
    if kind in _registered:
        return _registered[kind][1](tree.keys[0], children)
    if issubclass(kind, dict):
        items = zip(tree.keys, children, strict=True)
        return dict(items) if kind is dict else _rebuilt_dict(kind, items)
    if issubclass(kind, tuple):
        return kind(*children)
    instance = object.__new__(kind)
    for name, child in zip(tree.keys, children, strict=True):
        object.__setattr__(instance, name, child)
    return instance


def _rebuilt_dict(kind: Any, items: Iterable[tuple[Any, Any]]) -> Any:
    result = kind()
    result.update(items)
    return result


def paths(tree: TreeDef, prefix: str = "") -> list[str]:
    """How user code would reach each leaf: ``['w']``, ``[0].bias``, …"""
    if tree.kind is None:
        return [prefix]
    result: list[str] = []
    named = not (tree.kind in (list, tuple) or tree.kind in _registered or issubclass(tree.kind, dict))
    keys = range(len(tree.children)) if tree.kind in _registered else tree.keys
    for key, child in zip(keys, tree.children, strict=True):
        result += paths(child, f"{prefix}.{key}" if named else f"{prefix}[{key!r}]")
    return result


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """``function`` applied to corresponding leaves. Raises ArgumentError where the structures differ."""
    if not callable(function):
        raise ArgumentTypeError(f"tree_map: a function is needed, not {type(function).__name__}", cause=ArgumentError.FUNCTION)
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        more, its_structure = flatten(other)
        if its_structure != structure:
            raise ArgumentError(
                "tree_map: the structures differ",
                hint="all trees must have the same nesting and keys",
                cause=ArgumentError.STRUCTURE,
            )
        columns.append(more)
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])
