"""The names that a control statement binds, as what a traced branch or loop gives and takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ControlFlowError
from graphc.frontends.array.core import is_scalar, scalar_dtype
from graphc.frontends.control.leaves import common_dtype, is_array, show_tree
from graphc.frontends.dispatch import Array, active_trace
from graphc.frontends.effects import assert_
from graphc.frontends.pytree import flatten, paths
from graphc.frontends.tracing.convert.jumps import FLAGS, RETURN_VALUE
from graphc.ir.types import TensorType


class Undefined:
    """What stands for a name that has no value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Undefined)

    def __hash__(self) -> int:
        return hash(Undefined)

    def __repr__(self) -> str:
        return "undefined"


def read(get: Callable[[], Any], name: str) -> Any:
    """The value of a name, or :class:`Undefined`."""
    try:
        return get()
    except NameError:
        return Undefined(name)


class State:
    """The names that a statement binds: the first ``kept`` are read later on, the others by the statement alone.

    ``in_place``: those that it binds by ``x += …`` only, which leaves an array the object that it was. ``captured``: those that
    functions mention, and which may so be read later or not.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        kept: int,
        in_place: tuple[str, ...],
        captured: tuple[str, ...],
        get: Callable[[], tuple[Any, ...]],
        set_: Callable[[Sequence[Any]], None],
    ) -> None:
        self.names = names[:kept]
        self.flags = {place: name for place, name in enumerate(names) if name.startswith(FLAGS)}
        self.in_place = frozenset(in_place)
        self.captured = frozenset(captured)
        self.get = get
        self.set = set_
        self.is_traced = False  # a branch of this `if` is being traced

    def values(self) -> tuple[Any, ...]:
        """The present values of the names that are kept."""
        return self.get()[: len(self.names)]

    def jump(self) -> str:
        """The flag that says that the code run last was left by a jump, so what follows it does not run; else empty."""
        values = self.get()
        return next((name for place, name in self.flags.items() if values[place] is True), "")


class Left(BaseException):
    """A branch that is traced ends by raising: at run time there is nothing after it."""


def raised(state: State, exception: Callable[[], Any]) -> Any:
    """The exception of a ``raise`` in a branch of an ``if``. Where the branch is traced, a run that takes it raises."""
    if not state.is_traced:
        return exception()
    error = exception()
    name = error.__name__ if isinstance(error, type) else type(error).__name__
    text = "" if isinstance(error, type) else str(error)
    assert_(False, f"{name}: {text}" if text else name)
    raise Left


def shown(name: str) -> str:
    """How messages call a variable; what is no name of a variable stands for itself."""
    if name == RETURN_VALUE:
        return "the returned value"
    return f"`{name}`" if name.isidentifier() else name


def describe(value: Any) -> str:
    """A value in an error message: its type where it is an array, else itself."""
    if isinstance(value, Undefined):
        return "no value"
    if isinstance(value, Array):
        return str(value.type)
    if is_array(value) and not is_scalar(value):
        return f"{getattr(value, 'dtype', '')}{list(getattr(value, 'shape', ()))}"
    return "None" if value is None else f"{value!r} (Python {type(value).__name__})"


def leaf_type(leaf: Any) -> tuple[TensorType, bool]:
    """Type and weakness of a leaf that is or becomes an array."""
    if is_scalar(leaf):
        return TensorType(scalar_dtype(leaf), ()), True
    if isinstance(leaf, Array):
        return leaf.type, leaf.weak
    context: Any = active_trace()
    lifted = context.lift(leaf)
    return lifted.type, lifted.weak


def check_alike(name: str, first: tuple[str, Any], other: tuple[str, Any]) -> None:
    """Raise ControlFlowError unless the two values can be one variable: the same structure, shapes and dtypes, or, where they
    are no arrays, equal. Each comes with the words that say when it holds."""
    leaves, tree = flatten(first[1])
    others, its_tree = flatten(other[1])
    if tree != its_tree:
        structures = [show_tree(t) if t.kind is not None else describe(v) for t, v in ((tree, first[1]), (its_tree, other[1]))]
        _raise(name, (first[0], structures[0]), (other[0], structures[1]), "give it the same structure of arrays on both sides")
    for path, one, two in zip(paths(tree, ""), leaves, others, strict=True):
        where = shown(name) if not path else f"{shown(name)[:-1]}{path}`" if shown(name).endswith("`") else shown(name) + path
        if is_array(one) and is_array(two):
            mine, theirs = leaf_type(one), leaf_type(two)
            pairs = ((first[0], describe(one)), (other[0], describe(two)))
            if mine[0].shape != theirs[0].shape:
                _raise(where, *pairs, "give it one shape, for example with gc.broadcast_to or gc.full", is_shown=True)
            if common_dtype([(mine[0].dtype, mine[1]), (theirs[0].dtype, theirs[1])]) is None:
                _raise(where, *pairs, f"convert one of them: .astype({theirs[0].dtype.name!r})", is_shown=True)
        elif is_array(one) or is_array(two) or not _same(one, two):
            hint = "what is not an array cannot depend on one: use arrays, or decide by a Python value"
            if one is None or two is None:
                hint = "give it an array on both sides" + (
                    "; a function that returns an array on one path returns one on every path" if name == RETURN_VALUE else ""
                )
            _raise(where, (first[0], describe(one)), (other[0], describe(two)), hint, is_shown=True)


def _same(one: Any, two: Any) -> bool:
    return one is two or (type(one) is type(two) and bool(one == two))


def _raise(name: str, first: tuple[str, str], other: tuple[str, str], hint: str, *, is_shown: bool = False) -> None:
    where = name if is_shown else shown(name)
    raise ControlFlowError(f"{where} is {first[1]} {first[0]}, and {other[1]} {other[0]}", hint=hint)


def raise_undefined(name: str, message: str, hint: str) -> None:
    """Raise ControlFlowError for a name that would have no value on one path."""
    raise ControlFlowError(f"{shown(name)} {message}", hint=hint, cause=ControlFlowError.UNDEFINED)
