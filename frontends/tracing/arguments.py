"""The parameters of a traced function, and what the user calls the leaves of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from graphc.errors import ArgumentError
from graphc.frontends.arguments import as_ints
from graphc.frontends.pytree import paths


def parameters_of(function: Any) -> list[inspect.Parameter]:
    """The parameters of ``function``; none where Python does not know them."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def names_of_parameters(function: Any) -> list[str]:
    """Their names."""
    return [p.name for p in parameters_of(function)]


def static_positions(function: Any, numbers: Sequence[int], names: Sequence[str]) -> frozenset[int]:
    """Where the arguments of ``static_argnums`` and ``static_argnames`` are. Raises ArgumentError for an unknown name."""
    numbers = as_ints(numbers, "jit: static_argnums")
    parameters = names_of_parameters(function)
    unknown = [n for n in names if parameters and n not in parameters and "kwargs" not in parameters]
    if unknown:
        raise ArgumentError(
            f"static_argnames: the function has no parameter {unknown[0]!r}; it has {parameters}", cause=ArgumentError.PARAMETER
        )
    count = len(parameters)
    positions = {n + count if n < 0 else n for n in numbers}
    return frozenset(positions | {i for i, p in enumerate(parameters) if p in names})


def check_donated(
    function: Any, donated: Collection[str | int], static: Collection[int], static_names: Collection[str]
) -> None:
    """Raise ArgumentError for a donated argument that the function does not have, or that is static."""
    names = names_of_parameters(function)
    kinds = [p.kind for p in parameters_of(function)]
    for argument in donated:
        if isinstance(argument, str):
            if names and argument not in names and inspect.Parameter.VAR_KEYWORD not in kinds:
                raise ArgumentError(
                    f"donate: the function has no parameter {argument!r}; it has {names}", cause=ArgumentError.PARAMETER
                )
            is_static = argument in static_names
        else:
            is_there = -len(names) <= argument < len(names)
            if names and not is_there and inspect.Parameter.VAR_POSITIONAL not in kinds:
                raise ArgumentError(
                    f"donate: there is no argument {argument}; the function has {names}", cause=ArgumentError.PARAMETER
                )
            is_static = (argument + len(names) if argument < 0 else argument) in static
        if is_static:
            raise ArgumentError(
                f"donate: the argument {argument!r} is static, so it has no memory to give", cause=ArgumentError.PARAMETER
            )


def donated_leaves(function: Any, tree: Any, donated: Collection[str | int]) -> dict[int, str]:
    """The leaves of donated arguments, by position, with their names."""
    names = names_of_parameters(function)
    args, kwargs = tree.children
    wanted = {place + len(names) if isinstance(place, int) and place < 0 else place for place in donated}
    leaf_names = labels(names_of_arguments(function), tree)
    given = [(names[index] if index < len(names) else "", index, child) for index, child in enumerate(args.children)]
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        given.append((key, names.index(key) if key in names else -1, child))
    found: dict[int, str] = {}
    first = 0
    for name, index, child in given:
        if name in wanted or index in wanted:
            found.update((leaf, leaf_names[leaf]) for leaf in range(first, first + child.leaves))
        first += child.leaves
    return found


def names_of_arguments(function: Any) -> list[str]:
    """The names that positional arguments can have."""
    return [p.name for p in parameters_of(function) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def labels(names: Sequence[str], tree: Any, unnamed: str = "arg") -> list[str]:
    """What the user calls each leaf of the arguments, whose positional ones have ``names``: ``x``, ``params['w']``.

    Those beyond ``names`` are called ``unnamed`` and their position.
    """
    args, kwargs = tree.children
    result: list[str] = []
    for index, child in enumerate(args.children):
        result += paths(child, names[index] if index < len(names) else f"{unnamed}{index}")
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        result += paths(child, str(key))
    return result


def identifier(path: str) -> str:
    """A path as one word: ``params_w``."""
    cleaned = "".join(c if c.isalnum() else "_" for c in path)
    while "__" in cleaned:
        cleaned = cleaned.replace("__", "_")
    return cleaned.strip("_") or "x"
