"""The arrays that a failed call was given, for its error message: what they are called, their types, where they were made.

Nothing is noted while ops run. When an error is raised, the frame of graphc that the user's code called has its arguments
still; arrays among them are what the user calls operands. Where an array was made is known of what is in a graph or in the
recording. Of any other, the user's variable that holds it is looked up, and the one line that assigns to it.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

from graphc.locations import Location, current_frame, is_internal_code

_MOST: Final = 6
_MOST_INNER: Final = 4
_DEEPEST: Final = 3
#: What stands between converted code and what the user wrote: it passes calls on, and its arguments are the user's conditions.
_BETWEEN: Final = "graphc.frontends.tracing.convert."
_VARARGS, _VARKEYWORDS = 0x04, 0x08
_STORES: Final = frozenset({"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"})


class Operand:
    """An array in an error message: ``text`` is its name, dtype and shape; ``location`` where it was made, if that is known.

    ``assigned``: ``location`` is of the line that gives the variable its value.
    """

    __slots__ = ("_location", "_store", "text")

    def __init__(self, text: str, location: Location | None = None, store: tuple[CodeType, str] | None = None) -> None:
        self.text = text
        self._location = location
        self._store = store

    @property
    def location(self) -> Location | None:
        if self._location is None and self._store is not None:
            self._location = _only_assignment(*self._store)
        location = self._location
        return location if location is not None and location.line else None

    @property
    def assigned(self) -> bool:
        return self._store is not None

    def render(self, failed: Location) -> str:
        """``x: float32, shape (3,), made at model.py:4``; the line is left out where it is that of ``failed``."""
        location = self.location
        if location is None or (location.filename, location.line) == (failed.filename, failed.line):
            return self.text
        verb = "assigned" if self.assigned else "made"
        return f"{self.text}, {verb} at {location.filename}:{location.line}"

    def __repr__(self) -> str:
        return f"Operand({self.text!r}, {self.location})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operand):
            return NotImplemented
        return (self.text, self.location, self.assigned) == (other.text, other.location, other.assigned)

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.text, self.location, self.assigned))


def _rebuild(text: str, location: Location | None, assigned: bool) -> Operand:
    operand = Operand(text, location)
    if assigned:
        operand._store = (_rebuild.__code__, "")  # found already
    return operand


def describe_type(dtype: Any, shape: Any) -> str:
    """``float32, shape (2, 3)``."""
    sizes = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    return f"{dtype}, shape ({sizes})"


def operands_of_call(depth: int = 1) -> tuple[Operand, ...]:
    """The arrays that the user's innermost frame gave to the function of graphc's that it called."""
    frame: FrameType | None = sys._getframe(depth)
    called: list[FrameType] = []
    users = current_frame(depth + 1)
    while frame is not None and frame is not users:
        called.append(frame)
        frame = frame.f_back
    if frame is None:
        return ()
    given: dict[int, tuple[str, Any]] = {}
    for inner in called[: -_MOST_INNER - 1 : -1]:
        if str(inner.f_globals.get("__name__")).startswith(_BETWEEN):
            continue
        for name, value in _arrays_of(inner):
            given.setdefault(id(value), (name, value))
        if given:
            break
    found: list[Operand] = []
    for count, (name, value) in enumerate(given.values(), 1):
        if count <= _MOST:
            operand = _describe(name or str(count), value, frame)
            if operand is not None:
                found.append(operand)
    if len(given) > _MOST:
        found.append(Operand(f"and {len(given) - _MOST} more"))
    return tuple(found)


def _arrays_of(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The arrays among the arguments of ``frame``, and in lists, tuples and dicts among them."""
    code, values = frame.f_code, frame.f_locals
    given = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[: given + bool(code.co_flags & _VARARGS) + bool(code.co_flags & _VARKEYWORDS)]
    is_method = names[:1] == ("self",)  # whose operands are better counted than called self and other
    for place, name in enumerate(names):
        value = values.get(name)
        if _is_array(value):
            yield "" if place >= given or is_method else name, value
        elif place >= given and isinstance(value, dict):
            for key, item in value.items():
                yield from [(key, item)] if _is_array(item) else _arrays_in(item, key)
        elif place >= given and isinstance(value, tuple):
            for count, item in enumerate(value, 1):
                yield from [("", item)] if _is_array(item) else _arrays_in(item, f"argument {count}")
        else:
            yield from _arrays_in(value, "" if is_method else name)


def _arrays_in(value: Any, name: str, depth: int = _DEEPEST) -> Iterator[tuple[str, Any]]:
    """The arrays in nested lists, tuples and dicts, called by their keys; those of a list that is an argument are counted."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = list(enumerate(value))
    else:
        return
    is_counted = depth == _DEEPEST and not isinstance(value, dict)
    for key, item in pairs:
        if _is_array(item):
            yield "" if is_counted else f"{name}[{key!r}]", item
        elif depth:
            yield from _arrays_in(item, f"{name}[{key!r}]", depth - 1)


def _is_array(value: Any) -> bool:
    kind = type(value)
    return hasattr(kind, "made_at") or (kind.__module__ == "numpy" and kind.__name__ == "ndarray")


def _describe(name: str, value: Any, frame: FrameType) -> Operand | None:
    try:
        text = describe_type(value.dtype, value.shape)
        location: Location | None = value.made_at() if hasattr(value, "made_at") else None
    except Exception:  # an array that is not usable any more: its own error is being raised
        return None
    label, store = _variable_of(value, frame)
    return Operand(f"{label or name}: {text}", location, None if location is not None else store)


def _variable_of(value: Any, frame: FrameType | None) -> tuple[str, tuple[CodeType, str] | None]:
    """What the user calls ``value``, and the code and the name of the variable that it was assigned to."""
    label = ""
    while frame is not None:
        code = frame.f_code
        if not is_internal_code(code):
            parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            for name, held in list(frame.f_locals.items()):
                if held is value and name.isidentifier() and not name.startswith("__"):
                    label = label or name
                    if name not in parameters:
                        return label, (code, name)
            label = label or next((name for name in code.co_names if frame.f_globals.get(name) is value), "")
        frame = frame.f_back
    return label, None


def _only_assignment(code: CodeType, name: str) -> Location | None:
    """The line of ``code`` that assigns to ``name``; None where there are several or none."""
    lines = {
        instruction.positions.lineno
        for instruction in dis.get_instructions(code)
        if name in _stored_by(instruction) and instruction.positions is not None
    }
    if len(lines) != 1:
        return None
    line = lines.pop()
    return Location(code.co_filename, line, 0, code.co_qualname) if line else None


def _stored_by(instruction: dis.Instruction) -> tuple[str, ...]:
    names = instruction.argval
    if instruction.opname in _STORES:
        return (names,)
    if instruction.opname == "STORE_FAST_STORE_FAST":  # Python 3.13 joins instructions
        return tuple(names)
    return tuple(names[:1]) if instruction.opname == "STORE_FAST_LOAD_FAST" else ()
