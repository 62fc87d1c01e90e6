"""Taking ``break``, ``continue`` and early ``return`` out: what follows a jump goes into ``else`` or under a flag.

Where an ``if`` always jumps on one side, the rest of the block moves to its other side: ``if c: return a`` followed by
``return b`` becomes ``if c: … else: …``, which as a traced branch needs no flag and has a value on both sides. Elsewhere a jump
sets a flag, and the rest of each block that it leaves runs if the flag is not set.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

from graphc.frontends.tracing.convert.analysis import FunctionNode, blocks_of
from graphc.frontends.tracing.convert.nodes import at, load, store

RETURN_VALUE = "graphc_return"
RETURNED = "graphc_returned"
#: How the names of flags begin.
FLAGS = (RETURNED, "graphc_broken_", "graphc_continued_")
_LOOPS = (ast.While, ast.For, ast.AsyncFor)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_JUMPS = (ast.Return, ast.Break, ast.Continue)


class _Loop(NamedTuple):
    """The flags of the loop that a block is in."""

    broken: str
    continued: str


def lower_jumps(function: FunctionNode) -> dict[ast.stmt, ast.expr]:
    """Rewrite the body of ``function`` without jumps, but for a ``return`` at its end.

    The result says of each loop that can be left early under which condition its next step is made; a ``while`` has it in its
    test already.
    """
    lowering = _Lowering()
    body = function.body
    if any(isinstance(s, ast.Return) for statement in body[:-1] for s in _own_statements(statement)) or (
        body and not isinstance(body[-1], ast.Return) and "return" in _jumps_out(body[-1])
    ):
        if not _always_jumps(body):
            body = [*body, at(ast.Return(ast.Constant(None)), body[-1])]
        lowering.returns = True
        new = lowering.block(body, None)
        new.append(at(ast.Return(load(RETURN_VALUE)), body[-1]))
        if RETURNED in lowering.flags_read:
            new.insert(0, _assign(RETURNED, False, body[0]))
    else:
        ends = body[-1:] if isinstance(body[-1], ast.Return) else []
        new = lowering.block(body[: len(body) - len(ends)], None) + ends
    function.body = new
    return lowering.goes_on


class _Lowering:
    def __init__(self) -> None:
        self.returns = False
        self.flags_read: set[str] = set()
        self.goes_on: dict[ast.stmt, ast.expr] = {}
        self._count = 0

    def block(self, statements: Sequence[ast.stmt], loop: _Loop | None) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for place, statement in enumerate(statements):
            rest = list(statements[place + 1 :])
            if isinstance(statement, _JUMPS):
                return done + self._jump(statement, loop)
            jumps = _jumps_out(statement)
            if isinstance(statement, ast.If) and _always_jumps(statement.body):
                statement.orelse = [*statement.orelse, *rest]
                return done + self._statement(statement, loop)
            if isinstance(statement, ast.If) and _always_jumps(statement.orelse):
                statement.body = [*statement.body, *rest]
                return done + self._statement(statement, loop)
            done += self._statement(statement, loop)
            if jumps and rest:
                return [*done, self._unless(self._flags(jumps, loop), rest, loop)]
        return done

    def _statement(self, statement: ast.stmt, loop: _Loop | None) -> list[ast.stmt]:
        if isinstance(statement, _LOOPS):
            return self._loop(statement, loop)
        if isinstance(statement, _SCOPES):
            return [statement]
        in_body = _jumps_in(getattr(statement, "body", []))
        if isinstance(statement, ast.Try) and statement.orelse and in_body:
            jumped = self._flags(in_body, loop)
            statement.orelse = [self._unless(jumped, statement.orelse, loop)]
            statement.body = self.block(statement.body, loop)
            for handler in statement.handlers:
                handler.body = self.block(handler.body, loop) or [at(ast.Pass(), handler)]
            statement.finalbody = self.block(statement.finalbody, loop)
            return [statement]
        for block in blocks_of(statement):
            if block:
                block[:] = self.block(block, loop) or [at(ast.Pass(), block[0])]
        return [statement]

    def _loop(self, statement: ast.While | ast.For | ast.AsyncFor, outer: _Loop | None) -> list[ast.stmt]:
        self._count += 1
        loop = _Loop(f"graphc_broken_{self._count}", f"graphc_continued_{self._count}")
        jumps = _jumps_in(statement.body)
        result: list[ast.stmt] = []
        orelse = statement.orelse
        statement.orelse = []
        statement.body = self.block(statement.body, loop)
        if loop.continued in self.flags_read:
            statement.body.insert(0, _assign(loop.continued, False, statement.body[0]))
        leaving = self._flags(jumps - {"continue"}, loop)
        if leaving:
            goes_on = at(_negation(leaving), statement)
            self.goes_on[statement] = goes_on
            if isinstance(statement, ast.While) and isinstance(statement.test, ast.Constant) and statement.test.value:
                statement.test = deepcopy(goes_on)
            elif isinstance(statement, ast.While):
                statement.test = ast.copy_location(ast.BoolOp(ast.And(), [deepcopy(goes_on), statement.test]), statement.test)
        if loop.broken in self.flags_read:
            result.append(_assign(loop.broken, False, statement))
        result.append(statement)
        if orelse:
            result += [self._unless(leaving, orelse, outer)] if leaving else self.block(orelse, outer)
        return result

    def _jump(self, statement: ast.stmt, loop: _Loop | None) -> list[ast.stmt]:
        if isinstance(statement, ast.Return):
            value = statement.value or ast.copy_location(ast.Constant(None), statement)
            assign = ast.copy_location(ast.Assign([store(RETURN_VALUE)], value), statement)
            return [ast.fix_missing_locations(assign), _assign(RETURNED, True, statement)]
        assert loop is not None
        return [_assign(loop.broken if isinstance(statement, ast.Break) else loop.continued, True, statement)]

    def _flags(self, jumps: set[str], loop: _Loop | None) -> list[str]:
        names = [RETURNED] if "return" in jumps else []
        if loop is not None:
            names += [loop.broken] if "break" in jumps else []
            names += [loop.continued] if "continue" in jumps else []
        self.flags_read |= set(names)
        return names

    def _unless(self, flags: list[str], rest: list[ast.stmt], loop: _Loop | None) -> ast.stmt:
        return at(ast.If(_negation(flags), self.block(rest, loop) or [ast.Pass()], []), rest[0])


def _own_statements(statement: ast.stmt) -> list[ast.stmt]:
    """``statement`` and those within it, but not those of functions and classes."""
    found = [statement]
    if not isinstance(statement, _SCOPES):
        for block in blocks_of(statement):
            for inner in block:
                found += _own_statements(inner)
    return found


def _jumps_in(block: Sequence[ast.stmt]) -> set[str]:
    return {jump for statement in block for jump in _jumps_out(statement)}


def _jumps_out(statement: ast.stmt) -> set[str]:
    """The kinds of jumps by which ``statement`` may be left."""
    if isinstance(statement, ast.Return):
        return {"return"}
    if isinstance(statement, ast.Break):
        return {"break"}
    if isinstance(statement, ast.Continue):
        return {"continue"}
    if isinstance(statement, _SCOPES):
        return set()
    if isinstance(statement, _LOOPS):
        return (_jumps_in(statement.body) & {"return"}) | _jumps_in(statement.orelse)
    return {jump for block in blocks_of(statement) for jump in _jumps_in(block)}


def _always_jumps(block: Sequence[ast.stmt]) -> bool:
    return any(_is_left(statement) for statement in block)


def _is_left(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        return _always_jumps(statement.body) and _always_jumps(statement.orelse)
    if isinstance(statement, ast.While) and isinstance(statement.test, ast.Constant) and statement.test.value:
        return "break" not in _jumps_in(statement.body)
    return isinstance(statement, (*_JUMPS, ast.Raise))


def _negation(flags: list[str]) -> ast.expr:
    loads: list[ast.expr] = [load(flag) for flag in flags]
    return ast.UnaryOp(ast.Not(), loads[0] if len(loads) == 1 else ast.BoolOp(ast.Or(), loads))


def _assign(name: str, value: bool, where: ast.AST) -> ast.stmt:
    return at(ast.Assign([store(name)], ast.Constant(value)), where)
