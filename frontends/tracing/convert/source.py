"""From a function to its converted form: finding the source, deciding whether to convert, compiling with the same names around.

What is compiled is only code. The function made of it has the globals, the closure cells and the defaults of the original, so
the two share all their state.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import os
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from graphc.frontends.tracing.convert.analysis import FunctionNode
from graphc.frontends.tracing.convert.transform import OPERATORS, convert_function, yields
from graphc.locations import is_internal_code

_INSTALLED = tuple(
    {os.path.realpath(path) + os.sep for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))}
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_STORES = (
    "CALL", "CONTAINS_OP", "STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_SUBSCR", "BUILD_LIST",
    "BUILD_SET", "BUILD_MAP",
)  # fmt: skip
_OPCODES = frozenset(
    [*dis.hasjrel, *dis.hasjabs, *[code for name, code in dis.opmap.items() if name.startswith(_STORES)]]
)
#: ``co_flags`` of generators and coroutines.
GENERATES = 0x20 | 0x80 | 0x100 | 0x200


class _Found(NamedTuple):
    """A function in a source file, and the class that it is a method of."""

    node: FunctionNode
    cls: str | None


def convert(function: Callable[..., Any], operators: Any) -> Callable[..., Any]:
    """``function`` with its control flow converted to calls of ``operators``; itself where there is nothing to convert, or
    it is not the user's, or its source is not to be had."""
    if not isinstance(function, types.FunctionType):
        return function
    code = function.__code__
    new = _converted_code(code, code.co_filename)
    if new is None:
        return function
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    cells[OPERATORS] = types.CellType(operators)
    closure = tuple([cells[name] for name in new.co_freevars])
    made = types.FunctionType(new, function.__globals__, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__qualname__ = function.__qualname__
    made.__module__ = function.__module__
    made.__doc__ = function.__doc__
    made.__dict__.update(function.__dict__)
    made.__annotations__ = function.__annotations__
    return made


def is_users(code: types.CodeType) -> bool:
    """Whether code is the user's own: not graphc's, the standard library's or an installed package's."""
    return _is_users_file(code.co_filename) and not is_internal_code(code)


@functools.lru_cache(maxsize=4096)
def _is_users_file(filename: str) -> bool:
    path = os.path.realpath(filename)
    return not any(part in path for part in _PACKAGES) and not path.startswith(_INSTALLED)


def is_convertible(code: types.CodeType) -> bool:
    """Whether the source of ``code`` is there to be converted, which a lambda's is not by itself."""
    return _converted_code(code, code.co_filename) is not None or OPERATORS in code.co_freevars


@functools.lru_cache(maxsize=4096)
def _converted_code(code: types.CodeType, filename: str) -> types.CodeType | None:
    """The converted form of ``code``; ``filename`` is part of the key, since equal code may come from two files."""
    if OPERATORS in code.co_freevars or code.co_flags & GENERATES or not is_users(code) or not _has_to(code):
        return None
    found = _find(code)
    if found is None or yields(found.node):
        return None
    node = deepcopy(found.node)
    convert_function(node)
    inside: list[ast.stmt] = [node]
    if found.cls is not None:  # for the names that begin with two underscores
        inside = [ast.ClassDef(**_class(found.cls, node))]
    named = {found.cls or node.name} - set(code.co_freevars)  # what the factory defines, the function finds where it was
    outside: list[ast.stmt] = [ast.Global(sorted(named))] if named else []
    factory = _function("graphc_factory", [*code.co_freevars, OPERATORS], [*outside, *inside])
    tree = ast.fix_missing_locations(ast.Module([factory], []))
    compiled = compile(tree, filename, "exec", dont_inherit=True, flags=code.co_flags & _FUTURES)
    for inner in _codes(compiled):
        if inner.co_name == code.co_name and inner.co_flags & 0x2:  # not a class
            return _renamed(inner, code.co_name, code.co_qualname)
    return None


#: Of `from __future__ import …`, which changes how code is compiled.
_FUTURES = 0x1000000  # annotations


def _has_to(code: types.CodeType) -> bool:
    """Whether there is something in ``code`` that conversion is about: a jump, a call, a store into an object."""
    return any(op in _OPCODES for op in code.co_code[::2]) or any(
        _has_to(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of the function within the factory (and the class), and of those within these, from outside in."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield inner
            yield from _codes(inner)


def _renamed(code: types.CodeType, name: str, qualname: str) -> types.CodeType:
    """``code`` under the name that tracebacks and locations show, also for the parts that conversion made functions of."""
    inner: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            is_part = constant.co_name.startswith(OPERATORS)
            its_qualname = f"{qualname}.<locals>.{constant.co_name}"
            inner.append(_renamed(constant, *((name, qualname) if is_part else (constant.co_name, its_qualname))))
        else:
            inner.append(constant)
    return code.replace(co_consts=tuple(inner), co_name=name, co_qualname=qualname)


def _find(code: types.CodeType) -> _Found | None:
    """The definition that ``code`` was compiled from."""
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return None
    found = _definitions(code.co_filename, "".join(lines)).get((code.co_firstlineno, code.co_name))
    if found is None:
        found = _parse_block(lines, code)
    if found is None or _parameters(found.node) != code.co_varnames[: _parameter_count(code)]:  # the file has changed since
        return None
    return found


@functools.lru_cache(maxsize=64)
def _definitions(filename: str, text: str) -> dict[tuple[int, str], _Found]:
    """The functions of a file, by first line (that of the first decorator) and name."""
    try:
        tree = ast.parse(text, filename)
    except (SyntaxError, ValueError):  # a page of which only blocks are code
        return {}
    found: dict[tuple[int, str], _Found] = {}
    pending: list[tuple[ast.AST, str | None]] = [(tree, None)]
    while pending:
        node, cls = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[min([node.lineno, *[d.lineno for d in node.decorator_list]]), node.name] = _Found(node, cls)
        inner = node.name if isinstance(node, ast.ClassDef) else cls
        pending += [(child, inner) for child in ast.iter_child_nodes(node)]
    return found


def _parse_block(lines: Sequence[str], code: types.CodeType) -> _Found | None:
    """The definition at ``code``'s first line of a file that as a whole is not Python."""
    first = code.co_firstlineno - 1
    if first >= len(lines):
        return None
    indent = len(lines[first]) - len(lines[first].lstrip())
    ends = [
        end for end in range(first + 1, len(lines) + 1)
        if end == len(lines) or (lines[end].strip() and len(lines[end]) - len(lines[end].lstrip()) <= indent)
    ]  # fmt: skip
    for end in ends:
        try:
            tree = ast.parse(textwrap.dedent("".join(lines[first:end])))
        except SyntaxError:
            continue
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
                ast.increment_lineno(node, first)
                _indent(node, indent)
                return _Found(node, None)
    return None


def _indent(node: ast.AST, columns: int) -> None:
    for inner in ast.walk(node):
        if hasattr(inner, "col_offset"):
            inner.col_offset += columns
            inner.end_col_offset += columns  # type: ignore[attr-defined]


def _parameter_count(code: types.CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)


def _parameters(node: FunctionNode) -> tuple[str, ...]:
    """The names of the parameters in the order of a frame's variables."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *[a for a in (args.vararg, args.kwarg) if a is not None]]
    return tuple([a.arg for a in every])


def _function(name: str, parameters: Sequence[str], body: list[ast.stmt]) -> ast.FunctionDef:
    arguments = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
    made: dict[str, Any] = {"name": name, "args": arguments, "body": body, "decorator_list": [], "returns": None}
    if "type_params" in ast.FunctionDef._fields:
        made["type_params"] = []
    return ast.FunctionDef(**made)


def _class(name: str, node: FunctionNode) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "bases": [], "keywords": [], "body": [node], "decorator_list": []}
    if "type_params" in ast.ClassDef._fields:
        made["type_params"] = []
    return made
