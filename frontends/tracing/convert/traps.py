"""Side effects that a trace would do once and never again: found where converted code does them, never by patching anything.

What a function does to objects that outlive the call is kept in a list of *suspects*: containers that grew, attributes that
were set to traced arrays. When the trace is done, those that somebody else still holds are errors, at the line that did it;
what the function made for itself is gone by then. Within a branch or a loop body, which is traced once whatever a run does,
the objects that were there before are known, and changing one is an error at once.
"""

from __future__ import annotations

import collections
import dis
import functools
import gc
import keyword
import operator
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.errors import Cause, SideEffectError
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.pytree import flatten
from graphc.frontends.tracer import Tracer
from graphc.locations import Location, current_location

_GROWS = frozenset(("append", "appendleft", "extend", "extendleft", "insert", "update", "setdefault", "add", "+=", "|="))
_OF_LIST = ("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse")
_OF_DICT = ("update", "setdefault", "pop", "popitem", "clear")
#: Containers, with their methods that change them.
_CHANGES: Final[dict[type, tuple[str, ...]]] = {
    list: _OF_LIST, dict: _OF_DICT, collections.defaultdict: _OF_DICT,
    collections.OrderedDict: (*_OF_DICT, "move_to_end"), collections.Counter: (*_OF_DICT, "subtract"),
    set: ("add", "update", "remove", "discard", "pop", "clear", "difference_update", "intersection_update",
          "symmetric_difference_update"),
    collections.deque: (*_OF_LIST, "appendleft", "extendleft", "popleft", "rotate"),
}  # fmt: skip
_PLAIN = (bool, int, float, str)
_NOTHING: Final = object()
_MOST_OBJECTS = 2000


class _Suspect(NamedTuple):
    """An object that tracing changed, and what to say if it outlives the trace and (``holds``) has a traced array then."""

    target: Any
    message: str
    hint: str
    location: Location
    holds: Callable[[Any], Any] | None = None
    cause: Cause | None = None

    def is_wrong(self) -> bool:
        """Whether the object, which outlives the trace, is what it must not be then."""
        return self.holds is None or _holds_tracer(self.holds(self.target))


_RETURN_IT = "return the values, as further results or stacked by gc.scan"
_SAME_LENGTH = (
    "how many elements there are cannot depend on arrays: append what an `if` chose after it, and in a loop write into an "
    "array that was made before, out[i] = …, or stack by gc.scan"
)
_CARRY_IT = "let a local variable carry the value, and set it after the branch or loop: v = {0}; if …: v = …; {0} = v"
_RETURN_ARRAY = "return the array and store it outside, or update a tensor in place (self.state[...] = value)"
_COUNT_OUTSIDE = "do it outside of the traced function, or pass the value in and return the new one"
_CHANGE_OUTSIDE = "change it outside of the traced function, or change a copy: list(...), dict(...), set(...)"
_INSIDE, _TRACED = "the traced function", "a branch or loop that is traced"


class Watch:
    """What is watched while one function is traced."""

    def __init__(self) -> None:
        self._suspects: list[_Suspect] = []
        self._arguments: dict[int, Any] = {}
        self._outside: list[dict[int, Any]] = []
        self.targets: list[tuple[Any, bool]] = []  # of which an element is about to be set, at the index that is evaluated now

    def arguments(self, arguments: Any) -> None:
        """The function's arguments, in which containers are copies of the caller's."""
        self._arguments = _containers(arguments)

    def changes(self, container: Any, how: str) -> None:
        """A container gets more elements, or fewer, or others, by the method or operator ``how``."""
        kind = type(container).__name__
        verb, hint = ("grows", _RETURN_IT) if how in _GROWS else ("is changed", _CHANGE_OUTSIDE)
        how = f".{how}" if how.isidentifier() and not keyword.iskeyword(how) else how
        message = f"a {kind} made outside of {{}} {verb} here ({how}), which happens once, while tracing"
        self._check_region(container, message, _SAME_LENGTH)
        if id(container) in self._arguments:
            raise SideEffectError(message.format(_INSIDE), hint=f"{hint}; the caller's {kind} is another one")
        self._suspects.append(_Suspect(container, message.format(_INSIDE), hint, current_location()))

    def sets_attribute(self, target: Any, name: str) -> None:
        """An attribute is about to be set."""
        kind = type(target).__name__
        message = f"the attribute `{name}` of a {kind} made outside of {{}} is set here, which happens once, while tracing"
        self._check_region(target, message, _CARRY_IT.format(f"x.{name}"), SideEffectError.ATTRIBUTE)
        where = f"the attribute `{name}` of a {kind} made outside of {_INSIDE}"
        held = f"a traced array is stored in {where}, and has no value there"
        old = getattr(target, name, None)
        if isinstance(old, _PLAIN):  # one that a run may find changed, and will not change itself
            again = message.format(_INSIDE)
            self._suspects.append(
                _Suspect(
                    target,
                    again,
                    _COUNT_OUTSIDE,
                    current_location(),
                    lambda t: _Changed(old, getattr(t, name, None)),
                    SideEffectError.ATTRIBUTE,
                )
            )
        self._suspects.append(
            _Suspect(
                target, held, _RETURN_ARRAY, current_location(), lambda t: getattr(t, name, None), SideEffectError.ATTRIBUTE
            )
        )

    def sets_item(self, target: Any, key: Any = _NOTHING, is_update: bool = False) -> None:
        """An element of a list or dict is about to be set; ``is_update``: by ``+=`` and the like."""
        message = f"an element of a {type(target).__name__} made outside of {{}} is set here, which happens once, while tracing"
        self._check_region(target, message, _CARRY_IT.format("x[key]"))
        if id(target) in self._arguments:
            raise SideEffectError(message.format(_INSIDE), hint="return the value: the caller's container is another one")
        held = "a traced array is stored in a " + type(target).__name__ + f" made outside of {_INSIDE}, and has no value there"
        old = _element(target, key)
        if isinstance(old, _PLAIN) or (is_update and old is _NOTHING and key is not _NOTHING):  # a run may find it changed
            again = message.format(_INSIDE)
            self._suspects.append(
                _Suspect(target, again, _COUNT_OUTSIDE, current_location(), lambda t: _Changed(old, _element(t, key)))
            )
        self._suspects.append(_Suspect(target, held, _RETURN_IT, current_location(), lambda t: t))

    def calls(self, function: types.FunctionType) -> None:
        """A function of the user's is about to be traced: the outer variables that it binds are looked at in the end."""
        for name, is_global, line in _stores(function.__code__):
            location = Location(function.__code__.co_filename, line, 0, function.__code__.co_qualname)
            where = "the global variable" if is_global else "a variable of the function around,"
            message = f"a traced array is stored in {where} `{name}`, and has no value there"
            if is_global:
                get = operator.methodcaller("get", name)
                held = _Suspect(function.__globals__, message, _RETURN_ARRAY, location, get, SideEffectError.ATTRIBUTE)
            else:
                cell = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))[name]
                held = _Suspect(cell, message, _RETURN_ARRAY, location, _contents, SideEffectError.ATTRIBUTE)
            self._suspects.append(held)

    def _check_region(self, target: Any, message: str, hint: str, cause: Cause | None = None) -> None:
        for objects in reversed(self._outside):
            if id(target) in objects:
                raise SideEffectError(message.format(_TRACED), hint=hint, cause=cause)

    @property
    def is_in_region(self) -> bool:
        """Whether a branch or body is being traced."""
        return bool(self._outside)

    @contextmanager
    def region(self, block: Callable[..., Any]) -> Iterator[None]:
        """Within the ``with``, ``block`` is traced as a branch or body."""
        self._outside.append(_reachable(block))
        try:
            yield
        finally:
            self._outside.pop()

    def finish(self) -> None:
        """The function and its frames are gone. Raises SideEffectError for a change that somebody may still see."""
        self._arguments.clear()
        self.targets.clear()
        pending, self._suspects = self._suspects, []
        _drop_gone(pending)
        if any(suspect.is_wrong() for suspect in pending):
            gc.collect()  # what is held by a cycle only is gone too
            _drop_gone(pending)
        for suspect in reversed(pending):
            if suspect.is_wrong():
                raise SideEffectError(suspect.message, hint=suspect.hint, location=suspect.location, cause=suspect.cause)


def _drop_gone(suspects: list[_Suspect]) -> None:
    """Take those out that nothing else holds, and then what only these held."""
    while True:
        own = collections.Counter([id(suspect.target) for suspect in suspects])
        gone = {id(s.target) for s in suspects if sys.getrefcount(s.target) <= 1 + own[id(s.target)]}
        if not gone:
            return
        suspects[:] = [suspect for suspect in suspects if id(suspect.target) not in gone]


@functools.lru_cache(maxsize=4096)
def _stores(code: types.CodeType) -> list[tuple[str, bool, int]]:
    """The variables outside of a function that it binds: name, whether it is global, the first line."""
    found: dict[tuple[str, bool], int] = {}
    pending = [code]
    while pending:
        inner = pending.pop()
        pending += [c for c in inner.co_consts if isinstance(c, types.CodeType)]
        for step in dis.get_instructions(inner):
            is_global = step.opname == "STORE_GLOBAL"
            is_free = step.argval in code.co_freevars and step.argval in inner.co_freevars
            if is_global or (step.opname == "STORE_DEREF" and is_free):
                found.setdefault((step.argval, is_global), (step.positions.lineno if step.positions else None) or 0)
    return [(name, is_global, line) for (name, is_global), line in found.items()]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _element(container: Any, key: Any) -> Any:
    """``container[key]`` if there is one, without making it; else ``_NOTHING``."""
    if key is _NOTHING or isinstance(key, Array):
        return _NOTHING
    try:
        return dict.get(container, key, _NOTHING) if isinstance(container, dict) else container[key]
    except (LookupError, TypeError):
        return _NOTHING


class _Changed(NamedTuple):
    """What a plain attribute or element was before it was set, and what it is now."""

    old: Any
    new: Any


def _holds_tracer(value: Any) -> bool:
    if isinstance(value, _Changed):
        return isinstance(value.new, _PLAIN) and value.old != value.new
    return any(isinstance(leaf, Tracer) for leaf in flatten(value)[0])


def _containers(value: Any) -> dict[int, Any]:
    """The lists, dicts and sets in nested arguments, by id."""
    found: dict[int, Any] = {}
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (list, dict, set)) and id(item) not in found:
            found[id(item)] = item
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
    return found


def _reachable(block: Callable[..., Any]) -> dict[int, Any]:
    """The containers and objects that the variables of ``block`` lead to."""
    found: dict[int, Any] = {}
    pending: list[Any] = []
    for cell in getattr(block, "__closure__", None) or ():
        try:
            pending.append(cell.cell_contents)
        except ValueError:  # no value yet
            continue
    while pending and len(found) < _MOST_OBJECTS:
        item = pending.pop()
        if id(item) in found or isinstance(item, (Array, np.ndarray, type, types.ModuleType, str, bytes, int, float)):
            continue
        if isinstance(item, (list, tuple, set, frozenset)):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, types.FunctionType) or not hasattr(item, "__dict__"):
            continue
        else:
            pending += vars(item).values()
        found[id(item)] = item
    return found


def watch_of(context: Any) -> Watch | None:
    """Who watches the trace that ``context`` belongs to."""
    return getattr(getattr(context, "converter", None), "watch", None)


@contextmanager
def outside(block: Callable[..., Any]) -> Iterator[None]:
    """Within the ``with``, ``block`` is traced as a branch or body: what its variables lead to now was made outside of it."""
    watch = watch_of(active_trace())
    if watch is None:
        yield
    else:
        with watch.region(block):
            yield


def attribute(target: Any, name: str, is_update: bool) -> Any:
    """The object of which converted code sets an attribute; ``is_update``: by ``+=`` and the like."""
    watch = watch_of(active_trace())
    is_in_place = is_update and isinstance(getattr(target, name, None), Array)
    if watch is not None and not is_in_place and not isinstance(target, (Array, type, types.ModuleType)):
        old = getattr(target, name, None) if is_update else None
        if type(old) in _CHANGES:
            watch.changes(old, "+=")
        watch.sets_attribute(target, name)
    return target


def item(target: Any, is_update: bool, has_index: bool) -> Any:
    """The object of which converted code sets an element, the index of which goes through :func:`index` next, or a slice."""
    watch = watch_of(active_trace())
    if watch is None:
        return target
    if has_index:
        watch.targets.append((target, is_update))
    elif type(target) in _CHANGES:
        watch.sets_item(target)
    return target


def index(key: Any) -> Any:
    """The index at which an element of what :func:`item` was given is set."""
    watch = watch_of(active_trace())
    if watch is not None and watch.targets:
        target, is_update = watch.targets.pop()
        if type(target) in _CHANGES:
            old = _element(target, key) if is_update else None
            if type(old) in _CHANGES:
                watch.changes(old, "+=")
            watch.sets_item(target, key, is_update)
    return key


def removed(target: Any) -> Any:
    """The object of which converted code deletes an element."""
    watch = watch_of(active_trace())
    if watch is not None and type(target) in _CHANGES:
        watch.changes(target, "del")
    return target


def extended(target: Any, operator: str, value: Any) -> Any:
    """``value``, by which converted code is about to extend ``target`` with ``+=`` or another such operator."""
    watch = watch_of(active_trace())
    if watch is not None and type(target) in _CHANGES:
        watch.changes(target, operator)
    return value


def changes(function: Any) -> bool:
    """Whether ``function`` is a method of a container that changes it."""
    return getattr(function, "__name__", None) in _CHANGES.get(type(getattr(function, "__self__", None)), ())
