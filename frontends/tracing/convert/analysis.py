"""Which names statements bind and read, and which names are read later (liveness).

Conservative where the exact answer would need more than the text: names that a nested function uses are always live, and what
a ``try`` reads is live all through it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Names:
    """The names that code binds and reads in its own scope.

    ``captured``: those that functions within it mention, which read them at any later time; ``shared``: those that functions
    within it bind (``nonlocal``); ``declared``: those that are not local here (``global`` and ``nonlocal``).
    """

    def __init__(self, nodes: Iterable[ast.AST] = ()) -> None:
        self.bound: set[str] = set()
        self.read: set[str] = set()
        self.captured: set[str] = set()
        self.shared: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.calls = False
        for node in nodes:
            self._visit(node)

    @property
    def declared(self) -> set[str]:
        return self.globals | self.nonlocals

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            (self.read if isinstance(node.ctx, ast.Load) else self.bound).add(node.id)
            return
        if isinstance(node, _SCOPES):
            self._visit_function(node)
            return
        if isinstance(node, _COMPREHENSIONS):
            self._visit_comprehension(node)
            return
        if isinstance(node, ast.ClassDef):
            self.bound.add(node.name)
            inner = Names([*node.decorator_list, *node.bases, *node.keywords, *node.body])
            self.read |= inner.read
            self.captured |= inner.captured
            self.shared |= inner.shared
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names} - {"*"}
        elif isinstance(node, ast.Global):
            self.globals |= set(node.names)
        elif isinstance(node, ast.Nonlocal):
            self.nonlocals |= set(node.names)
        elif isinstance(node, ast.Call):
            self.calls = True
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.read.add(node.target.id)
        else:
            name = getattr(node, "name", None) or getattr(node, "rest", None)
            if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping)) and name:
                self.bound.add(name)
        for child in ast.iter_child_nodes(node):
            self._visit(child)

    def _visit_function(self, node: FunctionNode | ast.Lambda) -> None:
        outside: list[ast.AST] = [*node.args.defaults, *[d for d in node.args.kw_defaults if d is not None]]
        if not isinstance(node, ast.Lambda):
            self.bound.add(node.name)
            outside += node.decorator_list
        for child in outside:
            self._visit(child)
        body: Sequence[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else node.body
        inner = Names(body)
        mentioned = (inner.read | inner.nonlocals | inner.captured) - inner.globals
        self.read |= mentioned
        self.captured |= mentioned
        self.shared |= (inner.bound & inner.nonlocals) | inner.shared

    def _visit_comprehension(self, node: ast.AST) -> None:
        inner = Names(ast.iter_child_nodes(node))
        targets = {t.id for c in ast.walk(node) if isinstance(c, ast.comprehension)
                   for t in ast.walk(c.target) if isinstance(t, ast.Name)}  # fmt: skip
        self.read |= inner.read
        self.bound |= inner.bound - targets
        self.captured |= inner.captured
        self.shared |= inner.shared
        self.calls |= inner.calls


def arguments_of(node: FunctionNode | ast.Lambda) -> list[str]:
    """The names of the parameters."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *[a for a in (args.vararg, args.kwarg) if a is not None]]
    return [a.arg for a in every]


def blocks_of(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks of statements directly within a statement."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list):
            yield block
    for field in ("handlers", "cases"):
        for part in getattr(node, field, ()):
            yield part.body


class Liveness:
    """For each statement of a function (in which no jumps are left): the names that may be read after it.

    ``goes_on`` has the conditions of loops under which there is another step.
    """

    def __init__(self, body: Sequence[ast.stmt], always: set[str], goes_on: Mapping[ast.stmt, ast.expr]) -> None:
        self._goes_on = goes_on
        self.after: dict[ast.stmt, set[str]] = {}
        self.at_head: dict[ast.stmt, set[str]] = {}  # of loops: what a step may read that the one before made
        self._always = always
        self._block(body, set(always))

    def _block(self, block: Sequence[ast.stmt], live: set[str]) -> set[str]:
        for statement in reversed(block):
            self.after[statement] = set(live)
            live = self._before(statement, live)
        return live

    def _before(self, node: ast.stmt, live: set[str]) -> set[str]:
        if isinstance(node, ast.If):
            return _reads(node.test) | self._block(node.body, live) | self._block(node.orelse, live)
        if isinstance(node, (ast.While, ast.For, ast.AsyncFor)):
            return self._loop(node, live)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            items = Names(node.items)
            return items.read | (self._block(node.body, live) - items.bound) | self._always
        if isinstance(node, (ast.Try, ast.Match)) or type(node).__name__ == "TryStar":
            inside = live | Names([node]).read
            for block in blocks_of(node):
                self._block(block, inside)
            return inside
        names = Names([node])
        if isinstance(node, (ast.Return, ast.Raise)):
            return names.read | self._always
        killed = set() if isinstance(node, ast.AugAssign) else names.bound
        return names.read | (live - killed) | self._always

    def _loop(self, node: ast.While | ast.For | ast.AsyncFor, live: set[str]) -> set[str]:
        after = self._block(node.orelse, live)
        is_while = isinstance(node, ast.While)
        test = _reads(node.test) if isinstance(node, ast.While) else set()
        test |= _reads(self._goes_on[node]) if node in self._goes_on else set()
        targets = set() if isinstance(node, ast.While) else Names([node.target]).bound
        head = after | test
        for _ in range(2):  # what a step needs only grows, and all of it is known after one round
            head = after | test | (self._block(node.body, head) - targets)
        self.at_head[node] = head
        return head if is_while else head | _reads(node.iter)  # type: ignore[union-attr]


def _reads(node: ast.AST) -> set[str]:
    return Names([node]).read
