"""Where in the user's program a thing was made.

A :class:`Location` is taken on hot paths, so it only keeps the code object and the instruction offset; file, line,
column and source text are resolved when somebody looks. Frames that belong to graphc itself are skipped, so a location
always names a line that the user wrote.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import os
import sys
from importlib.util import find_spec
from types import CodeType, FrameType
from typing import Any, ClassVar

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# An editable install maps graphc.frontends and graphc.backends to these siblings of the package.
_INTERNAL = (_PACKAGE, os.path.join(_ROOT, "frontends") + os.sep, os.path.join(_ROOT, "backends") + os.sep)
# The code of with blocks that generators make, the imports of backends, and NumPy, whose functions call graphc's.
_numpy = find_spec("numpy")  # not imported: that takes longer than all of graphc
_NUMPY = os.path.dirname(str(_numpy.origin)) + os.sep if _numpy is not None else contextlib.__file__
_BETWEEN = (contextlib.__file__, importlib.__file__, _NUMPY)
_passed_over: dict[str, bool] = {}
_is_internal: dict[str, bool] = {}  # by file; code objects of two files can be equal


class Location:
    """A place in source code: ``filename``, ``line`` (from 1), ``column`` (from 1; 0 = unknown) and ``function``."""

    __slots__ = ("_code", "_column", "_filename", "_function", "_lasti", "_line")

    #: Whether what was made is part of the gradient of the line.
    is_gradient: ClassVar[bool] = False

    def __init__(self, filename: str, line: int, column: int = 0, function: str = "") -> None:
        self._code: CodeType | None = None
        self._lasti = 0
        self._filename, self._line, self._column, self._function = filename, line, column, function

    @classmethod
    def of_frame(cls, frame: FrameType) -> Location:
        """The place that ``frame`` is executing now, resolved lazily."""
        self = cls.__new__(cls)
        self._code = frame.f_code
        self._lasti = frame.f_lasti
        return self

    def of_gradient(self) -> Location:
        """The same place, for what differentiation makes of it."""
        if type(self) is not Location:
            return self
        other = GradientLocation.__new__(GradientLocation)
        other._code, other._lasti = self._code, self._lasti
        if self._code is None:
            other._filename, other._line, other._column = self._filename, self._line, self._column
            other._function = self._function
        return other

    def _resolve(self) -> None:
        code = self._code
        if code is None:
            return
        line, column = code.co_firstlineno, 0
        for index, (start, _, start_column, _) in enumerate(code.co_positions()):
            if index == self._lasti // 2:
                line = start or line
                if start_column is not None:  # in bytes of the UTF-8 text
                    text = linecache.getline(code.co_filename, line).encode()
                    column = len(text[:start_column].decode(errors="ignore")) + 1 if text else start_column + 1
                break
        self._filename, self._line, self._column = code.co_filename, line, column
        self._function = code.co_qualname
        self._code = None

    @property
    def filename(self) -> str:
        self._resolve()
        return self._filename

    @property
    def line(self) -> int:
        self._resolve()
        return self._line

    @property
    def column(self) -> int:
        self._resolve()
        return self._column

    @property
    def function(self) -> str:
        self._resolve()
        return self._function

    @property
    def source_line(self) -> str:
        """The text of the line, without its newline; empty where the source is not to be had."""
        return linecache.getline(self.filename, self.line).rstrip("\n")

    def render(self) -> str:
        """``file.py:12`` and, where the source is at hand, the line with a caret under the column."""
        head = f"{self.filename}:{self.line}" + (f", in {self.function}" if self.function else "")
        text = self.source_line
        if not text.strip():
            return head
        stripped = text.lstrip()
        caret = self.column - 1 - (len(text) - len(stripped))
        excerpt, caret = excerpt_around(stripped.rstrip(), caret)
        rendered = f"{head}\n    {excerpt}"
        if self.column and caret >= 0:
            rendered += f"\n    {' ' * caret}^"
        return rendered

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        return f"Location({self})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Location):
            return NotImplemented
        return (self.filename, self.line, self.column) == (other.filename, other.line, other.column)

    def __hash__(self) -> int:
        return hash((self.filename, self.line, self.column))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.filename, self.line, self.column, self.function))


class GradientLocation(Location):
    """The line whose gradient something is part of; see :meth:`Location.of_gradient`."""

    __slots__ = ()

    is_gradient: ClassVar[bool] = True


class TextLocation(Location):
    """A place in a text that need not be a file: it carries the line it points into."""

    __slots__ = ("_text",)

    def __init__(self, filename: str, line: int, column: int, text: str) -> None:
        super().__init__(filename, line, column)
        self._text = text

    @property
    def source_line(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return (TextLocation, (self.filename, self.line, self.column, self._text))


_EXCERPT = 120


def excerpt_around(text: str, caret: int) -> tuple[str, int]:
    """``text`` with tabs as spaces, where it is long cut down around ``caret``, and the caret's new place."""
    text = text.replace("\t", " ")
    if len(text) <= _EXCERPT:
        return text, caret
    start = max(0, min(caret - _EXCERPT // 2, len(text) - _EXCERPT))
    head, tail = "…" if start else "", "…" if start + _EXCERPT < len(text) else ""
    return head + text[start : start + _EXCERPT] + tail, caret - start + len(head)


UNKNOWN = Location("<unknown>", 0)


def is_internal_code(code: CodeType) -> bool:
    """Whether ``code`` belongs to graphc (and so is never shown as the user's line)."""
    filename = code.co_filename
    known = _is_internal.get(filename)
    if known is None:
        known = _is_internal[filename] = filename.startswith((*_INTERNAL, "<frozen"))
    return known


def _is_passed_over(code: CodeType) -> bool:
    """Whether ``code`` is never the user's line: graphc's, or what may stand between graphc and the user."""
    known = _passed_over[code.co_filename] = is_internal_code(code) or code.co_filename.startswith(_BETWEEN)
    return known


def current_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame of the user's, or None where every caller is graphc's own."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        passed_over = _passed_over.get(code.co_filename)
        if passed_over is None:
            passed_over = _is_passed_over(code)
        if not passed_over:
            break
        frame = frame.f_back
    return frame


def current_location(depth: int = 1) -> Location:
    """The user's line that is executing now; :data:`UNKNOWN` where there is none."""
    frame = current_frame(depth + 1)
    return UNKNOWN if frame is None else Location.of_frame(frame)
