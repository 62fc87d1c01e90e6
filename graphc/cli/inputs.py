"""What ``--input`` says: types, Python values, and nested structures of them.

f32[batch, 784]    [f32[784, 128], f32[128]]    {"w": f32[3], "b": f32[]}    0.1    name=true
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from graphc.errors import ArgumentError
from graphc.frontends.spec import Spec
from graphc.ir.lexer import Cursor
from graphc.ir.literals import read_number, read_string
from graphc.ir.spec import read_type
from graphc.locations import UNKNOWN

_WORDS: Final[dict[str, Any]] = {"true": True, "True": True, "false": False, "False": False, "none": None, "None": None}
_CLOSING: Final = {"[": "]", "(": ")", "{": "}"}
_WHAT: Final = "an input"


def parse_inputs(texts: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments, with a Spec for each type. Raises ParseError with a caret under the place."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for text in texts:
        cursor = Cursor(text)
        name = ""
        if cursor.next_token() == "=":
            name = cursor.word("the name of an argument")
            cursor.expect("=")
        value = _read(cursor)
        cursor.expect_end()
        if not name:
            if keywords:
                raise ArgumentError(
                    f"--input {text!r} has no name, but follows one that has", location=UNKNOWN, cause=ArgumentError.COMMAND
                )
            positional.append(value)
        elif name in keywords:
            raise ArgumentError(f"--input {name}=… is given twice", location=UNKNOWN, cause=ArgumentError.COMMAND)
        else:
            keywords[name] = value
    return positional, keywords


def _read(cursor: Cursor) -> Any:
    token = cursor.token
    if token in _CLOSING:
        return _read_structure(cursor, token)
    if token in _WORDS:
        cursor.advance()
        return _WORDS[token]
    if token.startswith('"'):
        return read_string(cursor, _WHAT)
    if cursor.at_number() or token in ("+", "-", "inf", "nan"):
        return read_number(cursor)
    return Spec(read_type(cursor))


def _read_structure(cursor: Cursor, opening: str) -> Any:
    cursor.descend()
    cursor.advance()
    closing = _CLOSING[opening]
    items: list[Any] = []
    while cursor.token != closing:
        if opening == "{":
            key = read_string(cursor, "a key in double quotes") if cursor.token[:1] == '"' else cursor.word("a key")
            cursor.expect(":", hint='write {"key": f32[3]}')
            items.append((key, _read(cursor)))
        else:
            items.append(_read(cursor))
        if not cursor.accept(","):
            break
    cursor.expect(closing)
    cursor.depth -= 1
    if opening == "{":
        return dict(items)
    return tuple(items) if opening == "(" else items
