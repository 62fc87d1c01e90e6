"""What messages of transforms call functions and their arguments."""

from __future__ import annotations

import inspect
from typing import Any

from graphc.frontends.pytree import TreeDef, paths


def function_name(function: Any) -> str:
    """The name of a function, or the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))


def argument_paths(function: Any, tree: TreeDef) -> list[str]:
    """What user code calls each leaf of the arguments (args, kwargs) whose structure is ``tree``: ``x``, ``params['w']``."""
    args, kwargs = tree.children
    try:
        positional = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    except (TypeError, ValueError):
        positional = []
    names = [p.name for p in positional if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    result: list[str] = []
    for index, child in enumerate(args.children):
        result += paths(child, names[index] if index < len(names) else f"argument {index}")
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        result += paths(child, str(key))
    return result
