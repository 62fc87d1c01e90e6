"""Passes by name, and pipelines written as text: ``inline,canonicalize{fast_math=true},dce``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from graphc.errors import ParseError
from graphc.passes.base import Pass
from graphc.passes.canonicalize import Canonicalize, DropStopGradient
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.decompose import Decompose
from graphc.passes.fold import Fold
from graphc.passes.hoist import Hoist
from graphc.passes.inline import Inline
from graphc.passes.merge_regions import MergeRegions
from graphc.passes.simplify_regions import SimplifyRegions
from graphc.passes.vectorize import Vectorize

PASSES = MappingProxyType(
    {
        cls.name: cls
        for cls in (
            Inline, DropStopGradient, MergeRegions, Canonicalize, SimplifyRegions, Hoist, Fold, Cse, Dce, Decompose,
            Vectorize,
        )
    }
)  # fmt: skip

_PASS = re.compile(r"\s*(?P<name>[\w-]+)\s*(?:\{(?P<options>[^{}]*)\})?\s*")
_TRUTH = {"true": True, "false": False}


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """The passes that ``text`` names, in order, separated by commas; options in braces, ``name{option=value,…}``.

    Raises ParseError for malformed text, an unknown pass or option (with the closest names), or a bad value.
    """
    passes: list[Pass] = []
    position = 0
    while position < len(text):
        found = _PASS.match(text, position)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            at = position if found is None else found.end()
            raise ParseError(
                f"malformed pipeline at column {at + 1}: {text[at:]!r}",
                hint="write: inline,canonicalize{fast_math=true}",
            )
        passes.append(_make(found["name"], found["options"] or ""))
        position = found.end() + 1
        if position == len(text):
            raise ParseError(f"a pass must follow the last comma of the pipeline {text!r}")
    return tuple(passes)


def _make(name: str, text: str) -> Pass:
    cls = PASSES.get(name)
    if cls is None:
        raise ParseError(f"there is no pass called {name!r}", hint=_closest(name, PASSES))
    known = {f.name: f for f in fields(cls)}
    options: dict[str, Any] = {}
    for item in filter(str.strip, text.split(",")):
        option, equals, value = (part.strip() for part in item.partition("="))
        if option not in known:
            raise ParseError(f"the pass {name} has no option {option!r}", hint=_closest(option, known))
        if option in options:
            raise ParseError(f"the option {option!r} of the pass {name} is given twice")
        if not equals:
            raise ParseError(f"the option {option!r} of the pass {name} needs a value", hint=f"write {option}=true")
        options[option] = _value(name, option, value, known[option].default)
    return cls(**options)


def _value(name: str, option: str, text: str, default: object) -> Any:
    """``text`` as a value of the type that ``default`` has."""
    if isinstance(default, bool):
        if text in _TRUTH:
            return _TRUTH[text]
        raise ParseError(f"{name}{{{option}}} must be true or false, not {text!r}")
    try:
        return type(default)(text)  # type: ignore[call-arg]
    except ValueError:
        raise ParseError(f"{name}{{{option}}} must be of type {type(default).__name__}, not {text!r}") from None


def _closest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "it has no options"
