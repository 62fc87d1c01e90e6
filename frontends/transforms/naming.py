"""What messages of transforms call functions and their arguments."""

from __future__ import annotations

from typing import Any

from graphc.frontends.pytree import TreeDef
from graphc.frontends.tracing.arguments import labels, names_of_arguments


def function_name(function: Any) -> str:
    """The name of a function, or the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))


def argument_paths(function: Any, tree: TreeDef) -> list[str]:
    """What user code calls each leaf of the arguments (args, kwargs) whose structure is ``tree``: ``x``, ``params['w']``."""
    return labels(names_of_arguments(function), tree, unnamed="argument ")
