"""``and``, ``or``, ``not``, chained comparisons, conditional expressions and ``assert`` in converted code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.frontends.array.elementwise import logical_and, logical_not, logical_or
from graphc.frontends.dispatch import bind_all
from graphc.frontends.tracing.convert.branches import choose
from graphc.frontends.tracing.convert.predicate import context_for, predicate

Thunk = Callable[[], Any]


def and_(value: Any, *rest: tuple[bool, Thunk]) -> Any:
    """``value and …``: the operands are thunks; a plain one may be evaluated though ``value`` is false."""
    for is_plain, thunk in rest:
        test = predicate(value, "`and`")
        if test is not None:
            value = _both(test, value, is_plain, thunk)
        elif value:
            value = thunk()
        else:
            return value
    return value


def or_(value: Any, *rest: tuple[bool, Thunk]) -> Any:
    """``value or …``."""
    for is_plain, thunk in rest:
        test = predicate(value, "`or`")
        if test is not None:
            value = _either(test, value, is_plain, thunk)
        elif not value:
            value = thunk()
        else:
            return value
    return value


def _both(test: Any, value: Any, is_plain: bool, thunk: Thunk) -> Any:
    if is_plain:
        other = thunk()
        if _is_truth(value) and _is_truth(other):
            return logical_and(test, other)
        return choose(test, lambda: other, lambda: value, "the value of `and`")
    return choose(test, thunk, lambda: False if _is_truth(value) else value, "the value of `and`")


def _either(test: Any, value: Any, is_plain: bool, thunk: Thunk) -> Any:
    if is_plain:
        other = thunk()
        if _is_truth(value) and _is_truth(other):
            return logical_or(test, other)
        return choose(test, lambda: value, lambda: other, "the value of `or`")
    return choose(test, lambda: True if _is_truth(value) else value, thunk, "the value of `or`")


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or (context_for(value) is not None and value.dtype.is_bool and value.shape == ())


def not_(value: Any) -> Any:
    """``not value``."""
    test = predicate(value, "`not`")
    return not value if test is None else logical_not(test)


def compare(left: Any, *steps: tuple[Thunk, Callable[[Any, Any], Any]]) -> Any:
    """``a < b < c``: each operand once, and none after a comparison that is false in Python."""
    result: Any = True
    for thunk, op in steps:
        right = thunk()
        result = and_(result, (True, lambda left=left, right=right, op=op: op(left, right)))  # type: ignore[misc]
        if context_for(result) is None and not result:
            return result
        left = right
    return result


def if_exp(test: Any, body: Thunk, orelse: Thunk) -> Any:
    """``body if test else orelse``."""
    condition = predicate(test, "a conditional expression")
    if condition is None:
        return body() if test else orelse()
    return choose(condition, body, orelse, "the value of the conditional expression")


def assert_(test: Any, message: Thunk | None) -> Any:
    """The condition of an ``assert``; one on an array becomes a check at run time, and is true here."""
    condition = predicate(test, "`assert`")
    if condition is None:
        return test
    text = "assertion failed" if message is None else f"assertion failed: {message()}"
    bind_all("check", condition, message=text)
    return True
