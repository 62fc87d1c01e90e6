"""From Python statements to calls of :mod:`operators`: the ``ast`` transformation.

A control statement becomes functions of its parts, which share the names of the function around them (``nonlocal``), and a call
of the operator with these and its *state*: the names that it binds, with a function that reads and one that sets them::

    if x.sum() > 0:               def graphc_if_1():
        y = x                         nonlocal y
    else:                             y = x
        y = -x                    …
                                  graphc_.if_(x.sum() > 0, graphc_if_1, graphc_else_1, graphc_.State(("y",), 1, …))

Everything keeps the line and column of what it was made from.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.frontends.tracing.convert.analysis import FunctionNode, Liveness, Names, arguments_of
from graphc.frontends.tracing.convert.jumps import RETURN_VALUE, lower_jumps
from graphc.frontends.tracing.convert.nodes import at, load, store
from graphc.frontends.tracing.convert.patterns import lower_matches

#: What converted code calls the operators. A parameter of the factory that holds it, so it hides no global of the user's.
OPERATORS = "graphc_"
#: These look at the frame that calls them.
_SEES_FRAME = frozenset(("locals", "globals", "vars", "dir", "eval", "exec", "super"))
#: What sums up elements, so that one can stand for none.
_FOLDS = frozenset(("sum", "any", "all"))
_SIDE_BY_SIDE = frozenset(("enumerate", "zip", "reversed"))
#: What changes a container in place, and expressions that make one.
_IN_PLACE = {ast.Add: "+=", ast.BitOr: "|=", ast.Sub: "-=", ast.BitAnd: "&=", ast.BitXor: "^="}
_DISPLAYS = (ast.List, ast.ListComp, ast.Tuple, ast.Set, ast.SetComp, ast.Dict, ast.DictComp, ast.GeneratorExp)
_NO_CONVERSION = (ast.Yield, ast.YieldFrom, ast.Await)


def convert_function(node: FunctionNode) -> None:
    """Convert a function in place; its decorators, annotations and defaults are taken off, since only its code is used."""
    node.decorator_list = []
    node.returns = None
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    for argument in [*every, *[a for a in (node.args.vararg, node.args.kwarg) if a is not None]]:
        argument.annotation = None
    node.args.defaults = [ast.Constant(None) for _ in node.args.defaults]
    node.args.kw_defaults = [None if d is None else ast.Constant(None) for d in node.args.kw_defaults]
    ast.fix_missing_locations(node)
    _convert_body(node)


def _convert_body(node: FunctionNode) -> None:
    node.body = lower_matches(node.body)
    goes_on = lower_jumps(node)
    names = Names(node.body)
    always = names.captured | names.declared
    transformer = _Transformer(Liveness(node.body, always, goes_on), names, goes_on, arguments_of(node))
    body = transformer.block(node.body)
    local = names.bound - names.declared - set(arguments_of(node))
    if transformer.has_statements and local:  # so that `nonlocal` finds the names here
        never = ast.If(ast.Constant(False), [ast.Assign([store(name) for name in sorted(local)], ast.Constant(None))], [])
        body.insert(0, at(never, node.body[0] if node.body else node))
    node.body = body


class _Transformer(ast.NodeTransformer):
    """Converts the body of one function."""

    def __init__(self, liveness: Liveness, names: Names, goes_on: dict[ast.stmt, ast.expr], arguments: Sequence[str]) -> None:
        self.has_statements = False
        self._live = liveness
        self._names = names
        self._goes_on = goes_on
        self._arguments = arguments
        self._count = 0
        self._branch_of = 0  # the `if` whose branch is being visited; 0 within a `try` or a loop

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            new = self.visit(statement)
            result += new if isinstance(new, list) else [new]
        return result

    # Statements

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        number = self._next()
        bound = self._bound([*node.body, *node.orelse])
        state = self._state(node, number, bound, self._live.after[node], [*node.body, *node.orelse])
        with self._within(number):
            body = self._part(f"graphc_if_{number}", node.body, bound, node)
            orelse = self._part(f"graphc_else_{number}", node.orelse, bound, node)
        test = self.visit(node.test)
        return [*state, body, orelse, self._operate("if_", node, test, load(body.name), load(orelse.name), self._of(number))]

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        number = self._next()
        inside: list[ast.AST] = [node.test, *node.body]
        bound = self._bound(inside)
        state = self._state(node, number, bound, self._live.after[node] | self._live.at_head[node], node.body)
        test = self._test(f"graphc_test_{number}", node.test, bound, node)
        with self._within(0):
            body = self._part(f"graphc_body_{number}", node.body, bound, node)
        return [*state, test, body, self._operate("while_", node, load(test.name), load(body.name), self._of(number))]

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        number = self._next()
        bound = self._bound([node.target, *node.body])
        state = self._state(node, number, bound, self._live.after[node] | self._live.at_head[node], node.body)
        item = f"graphc_item_{number}"
        take = at(ast.Assign([node.target], load(item)), node.target)
        with self._within(0):
            body = self._part(f"graphc_body_{number}", node.body, bound, node, item, [self.visit(take)])
        goes_on: ast.expr = ast.Constant(None)
        functions = [body]
        if node in self._goes_on:
            functions.append(self._test(f"graphc_test_{number}", self._goes_on[node], bound, node))
            goes_on = load(functions[-1].name)
        over = self._over(node.iter) or self.visit(node.iter)
        target = node.target.id if isinstance(node.target, ast.Name) else ""
        targets = _tuple([target] if target and target not in Names(node.body).bound else [])
        call = self._operate("for_", node, over, load(body.name), goes_on, self._of(number), targets)
        return [*state, *functions, call]

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        self.generic_visit(node)
        if self._branch_of and node.exc is not None:
            node.exc = _call("raised", node.exc, self._of(self._branch_of), _lambda(node.exc))
        return node

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        with self._within(0 if node.handlers else self._branch_of):
            node.body = self.block(node.body)
        for handler in node.handlers:
            handler.body = self.block(handler.body)
        node.orelse, node.finalbody = self.block(node.orelse), self.block(node.finalbody)
        return node

    @contextmanager
    def _within(self, branch_of: int) -> Iterator[None]:
        """Within the ``with``, statements of a branch of that ``if`` are visited; 0: of something else."""
        self._branch_of, outer = branch_of, self._branch_of
        try:
            yield
        finally:
            self._branch_of = outer

    def _over(self, node: ast.expr) -> ast.expr | None:
        """What a loop goes over: ``range(…)``, whose bounds may be arrays, or ``enumerate``, ``zip`` and ``reversed``."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            return None
        if node.func.id == "range" and not any(isinstance(a, ast.Starred) for a in node.args):
            return _call("range_", node, node.func, *[self.visit(a) for a in node.args])
        if node.func.id not in _SIDE_BY_SIDE:
            return None
        made = _call("side_by_side", node, node.func, *[self._over(a) or self.visit(a) for a in node.args])
        made.keywords = [self.visit(k) for k in node.keywords]
        return made

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message: ast.expr = ast.Constant(None) if node.msg is None else _lambda(self.visit(node.msg))
        node.test = _call("assert_", node.test, self.visit(node.test), message)
        node.msg = None if node.msg is None else self.visit(node.msg)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        node.value = self.visit(node.value)
        node.targets = [self._target(self.visit(target)) for target in node.targets]
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        name = _IN_PLACE.get(type(node.op))
        if isinstance(node.target, ast.Name) and name is not None and isinstance(node.value, _DISPLAYS):
            node.value = _call("extended", node.target, load(node.target.id), ast.Constant(name), node.value)
        node.target = self._target(node.target, is_update=True)
        return node

    def visit_Delete(self, node: ast.Delete) -> ast.stmt:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                target.value = _call("removed", target.value, target.value)
        return node

    def _target(self, node: Any, *, is_update: bool = False) -> Any:
        """A target of an assignment, with a look at the object that it changes."""
        if isinstance(node, ast.Attribute):
            name = ast.Constant(node.attr)
            node.value = _call("attribute", node.value, node.value, name, ast.Constant(is_update))
        elif isinstance(node, ast.Subscript):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            has_index = not any(isinstance(part, (ast.Slice, ast.Starred)) for part in parts)
            node.value = _call("item", node.value, node.value, ast.Constant(is_update), ast.Constant(has_index))
            if has_index:
                node.slice = _call("index", node, node.slice)
        elif isinstance(node, (ast.Tuple, ast.List)):
            node.elts = [self._target(element) for element in node.elts]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if not isinstance(node.target, ast.Name):
            self.generic_visit(node)
            return node
        if node.value is None:  # without the annotation, which a shared name cannot have
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        if not yields(node):
            _convert_body(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node  # its methods are converted when they are called

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        node.body = self.visit(node.body)
        return node

    # Expressions

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        if _binds(node):
            return node
        operator = "and_" if isinstance(node.op, ast.And) else "or_"
        plain = [_is_plain(value) for value in node.values]
        first, *rest = [self.visit(value) for value in node.values]
        return _call(operator, node, first, *[_pair(p, value) for p, value in zip(plain[1:], rest, strict=True)])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        node.operand = self.visit(node.operand)
        return _call("not_", node, node.operand) if isinstance(node.op, ast.Not) else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if _binds(node):
            return node
        return _call("if_exp", node, self.visit(node.test), _lambda(self.visit(node.body)), _lambda(self.visit(node.orelse)))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if len(node.ops) == 1 or _binds(node):
            self.generic_visit(node)
            return _compared(node)
        steps: list[ast.expr] = []
        for op, operand in zip(node.ops, node.comparators, strict=True):
            compare = _compared(at(ast.Compare(load("graphc_a"), [op], [load("graphc_b")]), node))
            arguments = ast.arguments([], [ast.arg("graphc_a"), ast.arg("graphc_b")], None, [], [], None, [])
            steps.append(ast.Tuple([_lambda(self.visit(operand)), ast.Lambda(arguments, compare)], ast.Load()))
        return _call("compare", node, self.visit(node.left), *steps)

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.ifs = [_call("keep", test, test) for test in node.ifs]
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        _fold_condition(node)
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == OPERATORS:
            self.generic_visit(node)
            return node
        if isinstance(node.func, ast.Name) and node.func.id in _SEES_FRAME:
            if node.func.id == "super" and not node.args and self._arguments:
                node.args = [at(load("__class__"), node), at(load(self._arguments[0]), node)]
            return node
        self.generic_visit(node)
        node.func = _call("call", node.func, node.func)
        return node

    # The parts that statements become

    def _next(self) -> int:
        self.has_statements = True
        self._count += 1
        return self._count

    def _bound(self, nodes: Sequence[ast.AST]) -> list[str]:
        names = Names(nodes)
        return sorted(names.bound | (self._names.shared if names.calls else set()))

    def _part(
        self, name: str, block: Sequence[ast.stmt], bound: Sequence[str], where: ast.stmt, argument: str = "",
        before: Sequence[ast.stmt] = (),
    ) -> ast.FunctionDef:  # fmt: skip
        body = [*before, *self.block(block)] or [at(ast.Pass(), where)]
        return self._function(name, [argument] if argument else [], [*self._declarations(bound, where), *body], where)

    def _test(self, name: str, test: ast.expr, bound: Sequence[str], where: ast.stmt) -> ast.FunctionDef:
        walrus = sorted(Names([test]).bound & set(bound))
        returned = at(ast.Return(self.visit(test)), test)
        return self._function(name, [], [*self._declarations(walrus, where), returned], where)

    def _state(
        self, node: ast.stmt, number: int, bound: Sequence[str], live: set[str], body: Sequence[ast.stmt]
    ) -> list[ast.stmt]:
        kept = [name for name in bound if name in live]
        names = [*kept, *[name for name in bound if name not in live]]
        values: list[ast.expr] = [_call("read", node, _lambda(load(name)), ast.Constant(name)) for name in names]
        get = self._function(f"graphc_get_{number}", [], [at(ast.Return(ast.Tuple(values, ast.Load())), node)], node)
        setting: list[ast.stmt] = self._declarations(names, node)
        for place, name in enumerate(names):
            value = ast.Subscript(load("graphc_values"), ast.Constant(place), ast.Load())
            setting.append(ast.Assign([store(name)], value))
            undefined = ast.Attribute(load(OPERATORS), "Undefined", ast.Load())
            is_undefined = ast.Call(load("isinstance"), [load(name), undefined], [])
            setting.append(ast.If(is_undefined, [ast.Delete([ast.Name(name, ast.Del())])], []))
        set_ = self._function(f"graphc_set_{number}", ["graphc_values"], setting or [ast.Pass()], node)
        in_place = _tuple(sorted(set(kept) & _only_augmented(body)))
        captured = _tuple(sorted(set(kept) & self._names.captured))
        arguments = [_tuple(names), ast.Constant(len(kept)), in_place, captured, load(get.name), load(set_.name)]
        made = ast.Assign([store(f"graphc_state_{number}")], _call("State", node, *arguments))
        return [get, set_, at(made, node)]

    def _of(self, number: int) -> ast.expr:
        return load(f"graphc_state_{number}")

    def _declarations(self, names: Sequence[str], where: ast.stmt) -> list[ast.stmt]:
        outside = [name for name in names if name in self._names.globals]
        own = [name for name in names if name not in self._names.globals]
        result: list[ast.stmt] = [at(ast.Global(outside), where)] if outside else []
        return [*result, at(ast.Nonlocal(own), where)] if own else result

    def _function(self, name: str, parameters: Sequence[str], body: list[ast.stmt], where: ast.stmt) -> ast.FunctionDef:
        arguments = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
        made: dict[str, Any] = {"name": name, "args": arguments, "body": body, "decorator_list": [], "returns": None}
        if "type_params" in ast.FunctionDef._fields:  # from Python 3.12
            made["type_params"] = []
        return at(ast.FunctionDef(**made), where)

    def _operate(self, operator: str, where: ast.stmt, *arguments: ast.expr) -> ast.stmt:
        call = _call(operator, where, *arguments)
        test: ast.AST = getattr(where, "test", getattr(where, "iter", where))
        ast.copy_location(call, test)
        ast.copy_location(call.func, test)
        return at(ast.Expr(call), where)


def yields(node: FunctionNode) -> bool:
    """Whether a function is a generator or a coroutine."""
    return isinstance(node, ast.AsyncFunctionDef) or any(_has(statement, _NO_CONVERSION) for statement in node.body)


def _has(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> bool:
    """Whether a node of one of ``kinds`` is in the scope of ``node``."""
    if isinstance(node, kinds):
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
        return False
    return any(_has(child, kinds) for child in ast.iter_child_nodes(node))


def _compared(node: ast.Compare) -> ast.expr:
    """A comparison of two; ``in`` and ``not in`` as calls."""
    if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        operator = "contains" if isinstance(node.ops[0], ast.In) else "excludes"
        return _call(operator, node, node.left, node.comparators[0])
    return node


def _fold_condition(node: ast.Call) -> None:
    """Let ``sum(value for … if test)``, and ``any`` and ``all`` of it, decide about each element instead of their number."""
    if not (isinstance(node.func, ast.Name) and node.func.id in _FOLDS and node.args and not _binds(node)):
        return
    over = node.args[0]
    if not isinstance(over, (ast.GeneratorExp, ast.ListComp)) or not over.generators[-1].ifs:
        return
    tests, over.generators[-1].ifs = over.generators[-1].ifs, []
    test = tests[0] if len(tests) == 1 else at(ast.BoolOp(ast.And(), tests), tests[0])
    over.elt = _call("element", over.elt, node.func, test, _lambda(over.elt))
    node.args[0] = _call("elements", over, over)


def _binds(node: ast.expr) -> bool:
    """Whether an expression binds a name: it cannot move into a function of its own then, and stays Python's."""
    return _has(node, (ast.NamedExpr, *_NO_CONVERSION))


def _is_plain(node: ast.expr) -> bool:
    """Whether an expression can be evaluated though Python would not get to it: it calls, indexes and divides nothing."""
    plain = (ast.Name, ast.Constant, ast.Compare, ast.UnaryOp, ast.Attribute, ast.expr_context, ast.operator, ast.unaryop,
             ast.cmpop, ast.BoolOp, ast.boolop)  # fmt: skip
    return all(
        isinstance(inner, plain) or (isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Add, ast.Sub, ast.Mult)))
        for inner in ast.walk(node)
    )


def _only_augmented(body: Sequence[ast.stmt]) -> set[str]:
    """The names that ``body`` binds by ``x += …`` alone: where these are arrays, they stay the same objects."""
    augmented: set[str] = set()
    other: set[str] = set()
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            augmented.add(node.target.id)
            pending.append(node.value)
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            other.add(node.id)
        pending += ast.iter_child_nodes(node)
    return augmented - other


def _pair(is_plain: bool, value: ast.expr) -> ast.expr:
    return ast.Tuple([ast.Constant(is_plain), _lambda(value)], ast.Load())


def _lambda(value: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), value)


def _call(operator: str, where: ast.AST, *arguments: ast.expr) -> ast.Call:
    return at(ast.Call(ast.Attribute(load(OPERATORS), operator, ast.Load()), list(arguments), []), where)


def _tuple(names: Sequence[str]) -> ast.expr:
    return ast.Tuple([ast.Constant(name) for name in names], ast.Load())


__all__ = ["OPERATORS", "RETURN_VALUE", "convert_function", "yields"]
