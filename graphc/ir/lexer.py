"""Tokens of the text form, and the cursor that the readers share.

A token is its text: what it is shows in its first character. ``%name`` is a value, unless the ``%`` follows a word or
``)`` directly: then it is the remainder operator (``n%2``). A ``#`` starts a comment that ends with the line.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterable

from graphc.errors import GraphcError, ParseError
from graphc.locations import Location, TextLocation, excerpt_around

_TOKEN = re.compile(
    r"""
      "[^"\\\n]*(?:\\.[^"\\\n]*)*"                          # string
    | (?<![\w)])%[\w.]+                                     # value
    | @[\w.]+                                               # name of a graph
    | [0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\w*            # number; a wrong one is taken whole, for the message
    | [^\W\d]\w*                                            # word
    | // | -> | == | != | <=
    | \#[^\n]*
    | \S
    """,
    re.VERBOSE,
)
_FLOAT = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INT = re.compile(r"[0-9]+")
_WORD = re.compile(r"[^\W\d]\w*")

MAX_DEPTH = 64
MAX_DIGITS = 40


class Cursor:
    """A place in a list of tokens. ``token`` is the current one, ``""`` at the end.

    ``filename`` None means that the text is a spec inside the user's program: errors then show it in their message, and
    the user's line as their location. Otherwise they point into the text.
    """

    __slots__ = ("_newlines", "_starts", "depth", "filename", "index", "text", "token", "tokens")

    token: str
    tokens: list[str]

    def __init__(self, text: str, filename: str | None = None) -> None:
        self.text = text
        self.filename = filename
        self._starts = [m.start() for m in _TOKEN.finditer(text) if text[m.start()] != "#"]
        self.tokens = [token for token in _TOKEN.findall(text) if token[0] != "#"]
        self.tokens.append("")
        self._starts.append(len(text.rstrip()))
        self._newlines = [m.start() for m in re.finditer("\n", text)]
        self.index = 0
        self.token = self.tokens[0]
        self.depth = 0

    def advance(self) -> str:
        """Step over the current token and give it. At the end it stays there."""
        token = self.token
        if token:
            self.index += 1
            self.token = self.tokens[self.index]
        return token

    def next_token(self) -> str:
        """The token after the current one."""
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)]

    def accept(self, token: str) -> bool:
        """Step over ``token`` if it is the current one, and say whether it was."""
        if self.token != token:
            return False
        self.advance()
        return True

    def expect(self, token: str, *, hint: str | None = None) -> None:
        """Step over ``token``; raises ParseError where another one stands."""
        if self.token != token:
            raise self.expected(f"{token!r}", hint=hint)
        self.index += 1
        self.token = self.tokens[self.index]

    def expect_end(self) -> None:
        if self.token:
            raise self.expected("the end of the text")

    def word(self, what: str) -> str:
        """Step over a word and give it; ``what`` says what it stands for."""
        if not _WORD.fullmatch(self.token):
            raise self.expected(what)
        return self.advance()

    def at_number(self) -> bool:
        return self.token[:1] in "0123456789" and self.token != ""

    def at_float(self) -> bool:
        """Whether the current token is a number with a fraction or an exponent."""
        return self.at_number() and _INT.fullmatch(self.token) is None and _FLOAT.fullmatch(self.token) is not None

    def integer(self, what: str) -> int:
        """Step over a non-negative integer and give it."""
        token = self.token
        if _INT.fullmatch(token) is None:
            raise self.error(f"{shortened(token)} is not an integer") if self.at_number() else self.expected(what)
        if len(token) > MAX_DIGITS:
            raise self.error(f"an integer of {len(token)} digits is too large", hint=f"at most {MAX_DIGITS} digits")
        self.advance()
        return int(token)

    def descend(self) -> None:
        """Enter a nested construct; the caller lowers ``depth`` when it is over."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep", hint="give the inner parts names of their own")

    def line_and_column(self, index: int) -> tuple[int, int]:
        """Where token ``index`` starts, both counted from 1."""
        start = self._starts[index]
        line = bisect_right(self._newlines, start - 1)
        return line + 1, start - (self._newlines[line - 1] + 1 if line else 0) + 1

    def location(self, index: int) -> Location | None:
        """Where token ``index`` is in the file; None for a spec."""
        if self.filename is None:
            return None
        return Location(self.filename, *self.line_and_column(index))

    def expected(self, what: str, *, hint: str | None = None) -> ParseError:
        """The error that something else stands where ``what`` should."""
        if not self.token:
            found = "the text ends"
        elif self.token == '"':
            return self.error("this string is not closed on its line", hint='end it with ", and write a newline as \\n')
        else:
            found = f"found {shortened(self.token)}"
        return self.error(f"expected {what}, {found}", hint=hint)

    def error(self, message: str, *, at: int | None = None, hint: str | None = None) -> ParseError:
        """A ParseError that points to token ``at`` (by default the current one)."""
        index = self.index if at is None else at
        line, column = self.line_and_column(index)
        start = self._newlines[line - 2] + 1 if line > 1 else 0
        end = self._newlines[line - 1] if line <= len(self._newlines) else len(self.text)
        text = self.text[start:end]
        if self.filename is not None:
            return ParseError(message, hint=hint, location=TextLocation(self.filename, line, column, text))
        excerpt, caret = excerpt_around(text, column - 1)
        return ParseError(f"{message}\n    {excerpt}\n    {' ' * caret}^", hint=hint)

    def wrapped(self, error: Exception, *, at: int, doing: str) -> ParseError:
        """What another part of graphc said about the text, as a ParseError that points into it."""
        if isinstance(error, GraphcError):
            return self.error(error.message, at=at, hint=error.hint)
        return self.error(f"{doing}: {type(error).__name__}: {error}", at=at)


def close_to(word: str, known: Iterable[str]) -> str | None:
    """A hint with the words that ``word`` may have been meant to be, or None."""
    matches = difflib.get_close_matches(word, list(known), n=3)
    return f"did you mean {' or '.join(matches)}?" if matches else None


def counted(results: int) -> str:
    """``results`` with the noun, for messages."""
    return "1 result" if results == 1 else f"{results} results"


def shortened(token: str) -> str:
    """``token`` in quotes for a message, cut down where it is long."""
    return repr(token) if len(token) <= 40 else repr(token[:37]) + "…"
