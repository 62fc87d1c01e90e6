"""``match`` as ``if``: each case is tried where the ones before it were not taken.

A pattern that compares with values becomes ``==`` and ``is``, so that the subject may be an array; one that takes the subject
apart stays Python's, in a ``match`` of its own that only says whether it fits::

    match n:                          subject = n
        case 1 | 2:                   if subject == 1 or subject == 2:
            y = x                         y = x
        case (a, b) if a > b:         else:
            y = a                         match subject:
                                              case (a, b): fits = True
                                              case _: fits = False
                                          if fits and a > b: …
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from graphc.frontends.tracing.convert.nodes import at, load, store


def lower_matches(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """``body`` without ``match`` statements."""
    return _Lowering().block(body)


class _Lowering(ast.NodeTransformer):
    def __init__(self) -> None:
        self._count = 0

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            new = self.visit(statement)
            result += new if isinstance(new, list) else [new]
        return result

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node  # converted by itself

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node

    def visit_Match(self, node: ast.Match) -> list[ast.stmt]:
        self._count += 1
        subject = f"graphc_subject_{self._count}"
        taken = at(ast.Assign([store(subject)], node.subject), node.subject)
        return [taken, *self._cases(node.cases, subject)]

    def _cases(self, cases: Sequence[ast.match_case], subject: str) -> list[ast.stmt]:
        if not cases:
            return []
        case, *others = cases
        before, test = self._fits(case.pattern, subject)
        if case.guard is not None:
            test = case.guard if test is None else ast.BoolOp(ast.And(), [test, case.guard])
        body = self.block(case.body)
        if test is None:
            return [*before, *body]
        return [*before, at(ast.If(test, body, self._cases(others, subject)), case.pattern)]

    def _fits(self, pattern: ast.pattern, subject: str) -> tuple[list[ast.stmt], ast.expr | None]:
        """What to do first, and the expression that says whether ``pattern`` fits; None where it always does."""
        test = _comparison(pattern, subject)
        if test is not None:
            return [], test
        if isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _comparison(pattern.pattern, subject) is not None):
            named = [] if pattern.name is None else [at(ast.Assign([store(pattern.name)], load(subject)), pattern)]
            return [*named], None if pattern.pattern is None else _comparison(pattern.pattern, subject)
        self._count += 1
        fits = f"graphc_fits_{self._count}"
        yes, no = (at(ast.Assign([store(fits)], ast.Constant(value)), pattern) for value in (True, False))
        tried = ast.Match(load(subject), [ast.match_case(pattern, None, [yes])])
        return [no, at(tried, pattern)], at(load(fits), pattern)


def _comparison(pattern: ast.pattern, subject: str) -> ast.expr | None:
    """The comparison that a pattern of values is; None for any other pattern."""
    if isinstance(pattern, ast.MatchValue):
        return at(ast.Compare(load(subject), [ast.Eq()], [pattern.value]), pattern)
    if isinstance(pattern, ast.MatchSingleton):
        return at(ast.Compare(load(subject), [ast.Is()], [ast.Constant(pattern.value)]), pattern)
    if isinstance(pattern, ast.MatchOr):
        tests = [_comparison(inner, subject) for inner in pattern.patterns]
        found = [test for test in tests if test is not None]
        return at(ast.BoolOp(ast.Or(), list(found)), pattern) if len(found) == len(tests) else None
    return None


__all__ = ["lower_matches"]
