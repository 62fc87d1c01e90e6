"""Python's builtins that ask whether something is true, or what it is, in converted code: with the answer of traced arrays."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from graphc.errors import ControlFlowError
from graphc.frontends.array.creation import zeros_like
from graphc.frontends.array.elementwise import equal, logical_not
from graphc.frontends.array.reduction import all as all_over
from graphc.frontends.array.reduction import any as any_over
from graphc.frontends.array.reduction import max as max_over
from graphc.frontends.array.reduction import min as min_over
from graphc.frontends.dispatch import Array, eager_context
from graphc.frontends.sizes import Size
from graphc.frontends.tracer import Tracer
from graphc.frontends.tracing.convert.branches import choose
from graphc.frontends.tracing.convert.conditions import and_, not_, or_
from graphc.frontends.tracing.convert.predicate import context_for, predicate

_SKIPPED: Final = object()


def _any(items: Any, /) -> Any:
    if context_for(items) is not None and len(items.shape) == 1:
        return any_over(items)
    result: Any = False
    for item in items:
        if _is_decided(item, "`any`") and item:
            return True
        result = or_(result, (True, lambda item=item: _truth(item, "`any`")))  # type: ignore[misc]
    return result


def _all(items: Any, /) -> Any:
    if context_for(items) is not None and len(items.shape) == 1:
        return all_over(items)
    result: Any = True
    for item in items:
        if _is_decided(item, "`all`") and not item:
            return False
        result = and_(result, (True, lambda item=item: _truth(item, "`all`")))  # type: ignore[misc]
    return result


def _is_decided(item: Any, what: str) -> bool:
    return predicate(item, what) is None


def _truth(item: Any, what: str) -> Any:
    test = predicate(item, what)
    return bool(item) if test is None else test


def _bool(value: Any = False, /) -> Any:
    return _truth(value, "bool()")


def _max(*values: Any, **options: Any) -> Any:
    return _best(builtins.max, max_over, lambda new, best: new > best, values, options)


def _min(*values: Any, **options: Any) -> Any:
    return _best(builtins.min, min_over, lambda new, best: new < best, values, options)


def _best(
    plain: Callable[..., Any], over: Callable[[Any], Any], is_better: Callable[[Any, Any], Any], values: Any, options: Any
) -> Any:
    """The largest or smallest as Python finds it: a later one is better only if it compares so."""
    items = values
    if len(values) == 1:
        whole = values[0]
        if context_for(whole) is not None and len(whole.shape) == 1 and not isinstance(whole.shape[0], int) and not options:
            return over(whole)
        items = tuple(whole)
    key = options.get("key")
    keys = items if key is None else [key(item) for item in items]
    if not any(context_for(k) is not None for k in keys) or set(options) - {"key", "default"}:
        return plain(items, **options) if len(values) == 1 else plain(*values, **options)
    best, best_key = items[0], keys[0]
    for item, its_key in zip(items[1:], keys[1:], strict=True):
        better = predicate(is_better(its_key, best_key), f"{plain.__name__}()")
        best = choose(better, lambda item=item: item, lambda best=best: best, f"the value of {plain.__name__}()")  # type: ignore[misc]
        best_key = best if key is None else choose(
            better, lambda k=its_key: k, lambda k=best_key: k, f"the key of {plain.__name__}()"  # type: ignore[misc]
        )  # fmt: skip
    return best


def _sorted(items: Iterable[Any], /, **options: Any) -> Any:
    found = list(items)
    if any(context_for(item) is not None for item in found) and "key" not in options:
        raise ControlFlowError(
            "sorted() compares traced arrays, and their order is known only at run time",
            hint="sort in the graph: gc.sort(gc.stack(values))",
        )
    return sorted(found, **options)


def _len(value: Any, /) -> Any:
    if isinstance(value, Tracer) and value.shape:
        size = value.shape[0]  # where it may differ from call to call, len() would need its number
        sizes = value.context.sizes
        return size if sizes is None else sizes.shown((size,))[0]
    return len(value)


def _isinstance(value: Any, classes: Any, /) -> bool:
    """As in an eager run, where a traced array is a Tensor, a number that was passed as an argument is one, a size an int."""
    if isinstance(value, Size):
        return isinstance(0, classes)
    if isinstance(value, Tracer):
        if value.weak and value._concrete is not Tracer.NO_VALUE:
            return isinstance(value._concrete, classes) or isinstance(value, classes)
        return isinstance(value, classes) or isinstance(eager_context().lift(0), classes)
    return isinstance(value, classes)


_REPLACED: Final[dict[Any, Callable[..., Any]]] = {
    builtins.any: _any, builtins.all: _all, builtins.bool: _bool, builtins.max: _max, builtins.min: _min,
    builtins.sorted: _sorted, builtins.isinstance: _isinstance, builtins.len: _len,
}  # fmt: skip


def replaced(function: Any) -> Callable[..., Any] | None:
    """What to call instead of a builtin that decides by values; None for all others."""
    return _REPLACED.get(function)


def contains(item: Any, container: Any) -> Any:
    """``item in container``."""
    if isinstance(container, (list, tuple, set, frozenset)) and (
        context_for(item) is not None or any(context_for(other) is not None for other in container)
    ):
        return _any(True if other is item else _is_equal(item, other) for other in container)
    if context_for(container) is not None or (isinstance(container, Array) and context_for(item) is not None):
        return any_over(equal(container, item))
    return item in container


def _is_equal(one: Any, other: Any) -> Any:
    return equal(one, other) if isinstance(one, Array) and isinstance(other, Array) else one == other


def excludes(item: Any, container: Any) -> Any:
    """``item not in container``."""
    return not_(contains(item, container))


def keep(test: Any) -> bool:
    """The ``if`` of a comprehension, which decides how many elements there are: only Python can."""
    if predicate(test, "the `if` of a comprehension") is not None:
        raise ControlFlowError(
            "the `if` of a comprehension is on a traced array, so how many elements there are would be known only at run time",
            hint="choose a value for each element, [v if v > 0 else 0.0 for v in x], or write sum(…), any(…) or all(…) of it, "
            "or select by a mask: gc.masked_select(x, mask, size=…)",
        )
    return bool(test)


def element(function: Any, test: Any, value: Callable[[], Any]) -> Any:
    """An element of ``function(value for … if test)``; where ``test`` is traced one that changes nothing unless it holds."""
    condition = None
    if function in (builtins.sum, builtins.any, builtins.all):
        condition = predicate(test, "the `if` of a comprehension")
    if condition is None:
        return value() if keep(test) else _SKIPPED
    if function is builtins.any:
        return and_(condition, (False, lambda: _truth(value(), "`any`")))
    if function is builtins.all:
        return or_(logical_not(condition), (False, lambda: _truth(value(), "`all`")))
    return choose(condition, value, lambda: zeros_like(value()), "the element of sum()")


def elements(items: Iterable[Any]) -> Iterator[Any]:
    """Those of ``items`` that :func:`element` did not leave out."""
    return (item for item in items if item is not _SKIPPED)


__all__ = ["contains", "element", "elements", "excludes", "keep", "replaced"]
