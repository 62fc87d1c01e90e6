"""Patterns that read like the algebra they match, and the rules made of them.

>>> x, y = Var("x"), Var("y")
>>> rules = RuleList("example")
>>> @rules.rule(x - x, exact=integers)
... def sub_itself(b: Builder, x: Value) -> Value:
...     "x - x → 0"
...     return b.zeros_like(x)

A pattern is a tree of :class:`Var` (any value; a name that repeats must be the same value), :class:`Literal` (a
constant of that value in every element, seen through ``broadcast_in_dim``), :class:`Const` (any constant) and
:class:`Op` (an application, made by :func:`op` or by Python's operators). Operands of commutative ops match in either
order: each such order is made a pattern of its own when the rule is defined, so that matching itself never
backtracks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import EllipsisType
from typing import Any

import numpy as np

from graphc.ir.graph import Node, Value
from graphc.ir.types import TensorType

COMMUTATIVE = frozenset(
    {"add", "mul", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor", "eq", "ne"}
)  # fmt: skip
CONSTANT_OPS = frozenset({"constant", "broadcast_in_dim"})

TypePredicate = Callable[[TensorType], bool]
Environment = dict[str, Value]
CountUses = Callable[[Value], int]
Number = bool | int | float
Replacement = Value | Sequence[Value] | None


def always(type_: TensorType) -> bool:
    """Any type; as ``exact``: the rule gives the same bits whatever the values."""
    return True


def never(type_: TensorType) -> bool:
    """No type; as ``exact``: the rule is for fast_math alone."""
    return False


def integers(type_: TensorType) -> bool:
    """Integers and bools: no rounding, no NaN, one zero."""
    return not type_.dtype.is_inexact


def integral(type_: TensorType) -> bool:
    """Integers, without bool."""
    return bool(type_.dtype.is_integer)


def unsigned(type_: TensorType) -> bool:
    """Unsigned integers."""
    return type_.dtype.kind == "uint"


def floats(type_: TensorType) -> bool:
    """Floating-point numbers."""
    return bool(type_.dtype.is_floating)


def bools(type_: TensorType) -> bool:
    """Truth values."""
    return bool(type_.dtype.is_bool)


class Pattern:
    """Base of the patterns; Python's operators on it make :class:`Op` patterns."""

    def match(self, value: Value, env: Environment, uses: CountUses) -> bool:
        """Whether ``value`` fits; names are bound in ``env`` on the way (also where it finally does not fit)."""
        raise NotImplementedError

    def variants(self) -> list[Pattern]:
        """The pattern in every order of the operands of commutative ops."""
        return [self]

    def names(self) -> set[str]:
        """The names that a match binds."""
        return set()

    def accepts_op(self, name: str) -> bool:
        """Whether a value made by the primitive ``name`` can fit at all."""
        return True

    def __add__(self, other: Operand) -> Op:
        return op("add", self, other)

    def __radd__(self, other: Operand) -> Op:
        return op("add", other, self)

    def __sub__(self, other: Operand) -> Op:
        return op("sub", self, other)

    def __rsub__(self, other: Operand) -> Op:
        return op("sub", other, self)

    def __mul__(self, other: Operand) -> Op:
        return op("mul", self, other)

    def __rmul__(self, other: Operand) -> Op:
        return op("mul", other, self)

    def __truediv__(self, other: Operand) -> Op:
        return op("div", self, other)

    def __rtruediv__(self, other: Operand) -> Op:
        return op("div", other, self)

    def __floordiv__(self, other: Operand) -> Op:
        return op("floor_divide", self, other)

    def __rfloordiv__(self, other: Operand) -> Op:
        return op("floor_divide", other, self)

    def __mod__(self, other: Operand) -> Op:
        return op("remainder", self, other)

    def __rmod__(self, other: Operand) -> Op:
        return op("remainder", other, self)

    def __pow__(self, other: Operand) -> Op:
        return op("pow", self, other)

    def __and__(self, other: Operand) -> Op:
        return op("bitwise_and", self, other)

    def __or__(self, other: Operand) -> Op:
        return op("bitwise_or", self, other)

    def __xor__(self, other: Operand) -> Op:
        return op("bitwise_xor", self, other)

    def __lshift__(self, other: Operand) -> Op:
        return op("shift_left", self, other)

    def __rlshift__(self, other: Operand) -> Op:
        return op("shift_left", other, self)

    def __rshift__(self, other: Operand) -> Op:
        return op("shift_right", self, other)

    def __rrshift__(self, other: Operand) -> Op:
        return op("shift_right", other, self)

    def __neg__(self) -> Op:
        return op("neg", self)

    def __invert__(self) -> Op:
        return op("bitwise_not", self)


Operand = Pattern | bool | int | float


@dataclass(frozen=True, eq=False)
class Var(Pattern):
    """Any value whose type satisfies ``where``; every occurrence of ``name`` must be the same value."""

    name: str
    where: TypePredicate = always

    def match(self, value: Value, env: Environment, uses: CountUses) -> bool:
        bound = env.get(self.name)
        if bound is not None:
            return bound == value
        if not self.where(value.type):
            return False
        env[self.name] = value
        return True

    def names(self) -> set[str]:
        return {self.name}

    def __str__(self) -> str:
        return self.name if self.where is always else f"{self.name}: {self.where.__name__}"


@dataclass(frozen=True, eq=False)
class Const(Pattern):
    """Any constant, or a constant that is broadcast, bound to ``name``."""

    name: str
    where: TypePredicate = always

    def match(self, value: Value, env: Environment, uses: CountUses) -> bool:
        if constant_of(value) is None or not self.where(value.type):
            return False
        bound = env.setdefault(self.name, value)
        return bound == value

    def names(self) -> set[str]:
        return {self.name}

    def accepts_op(self, name: str) -> bool:
        return name in CONSTANT_OPS

    def __str__(self) -> str:
        return f"{self.name}!" if self.where is always else f"{self.name}!: {self.where.__name__}"


@dataclass(frozen=True, eq=False)
class Literal(Pattern):
    """A constant with ``value`` in every element. The sign of a zero counts; 0 and 1 are not False and True."""

    value: Number

    def match(self, value: Value, env: Environment, uses: CountUses) -> bool:
        scalar = splat_of(value)
        if scalar is None or bool(value.dtype.is_bool) is not isinstance(self.value, bool):
            return False
        if scalar != self.value:
            return False
        return bool(scalar) or not value.dtype.is_floating or _negative(float(scalar)) is _negative(float(self.value))

    def accepts_op(self, name: str) -> bool:
        return name in CONSTANT_OPS

    def __str__(self) -> str:
        return str(self.value)


def _negative(number: float) -> bool:
    return math.copysign(1.0, number) < 0


@dataclass(frozen=True, eq=False)
class Op(Pattern):
    """An application of one of ``primitives`` (None: of any) with one result.

    ``operands``: their patterns; None takes any number, all of which must match ``each`` (None: anything) by
    themselves. ``attributes``: name → the value wanted, or a predicate on it. ``label``: binds the result to a name.
    ``one_use``: nothing else may read the result. ``in_order``: the operands of a commutative op match as they are
    written only.
    """

    primitives: tuple[str, ...] | None
    operands: tuple[Pattern, ...] | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    one_use: bool = False
    in_order: bool = False
    each: Pattern | None = None

    def as_(self, label: str) -> Op:
        """The same pattern, its result bound to the name ``label``."""
        return replace(self, label=label)

    def once(self) -> Op:
        """The same pattern, matching only a value that has no other reader."""
        return replace(self, one_use=True)

    def ordered(self) -> Op:
        """The same pattern, without trying the operands in the other order."""
        return replace(self, in_order=True)

    def of(self, each: Pattern) -> Op:
        """The same pattern, each of its operands matching ``each``, without binding names."""
        return replace(self, each=each)

    def match(self, value: Value, env: Environment, uses: CountUses) -> bool:
        node = value.node
        if len(node.types) != 1 or not self.match_node(node, env, uses):
            return False
        if self.one_use and uses(value) > 1:
            return False
        if self.label:
            return env.setdefault(self.label, value) == value
        return True

    def match_node(self, node: Node, env: Environment, uses: CountUses) -> bool:
        """:meth:`match` for the whole node, whatever the number of its results."""
        if self.primitives is not None and node.op.name not in self.primitives:
            return False
        if self.operands is not None:
            if len(self.operands) != len(node.inputs):
                return False
            for pattern, operand in zip(self.operands, node.inputs, strict=True):
                if not pattern.match(operand, env, uses):
                    return False
        if self.each is not None and not all(self.each.match(operand, {}, uses) for operand in node.inputs):
            return False
        for name, wanted in self.attributes.items():
            value = node.attributes[name]
            if not (wanted(value) if callable(wanted) else value == wanted):
                return False
        return True

    def variants(self) -> list[Pattern]:
        if self.operands is None:
            return [self]
        orders = [self.operands]
        if not self.in_order and self.primitives is not None and COMMUTATIVE.issuperset(self.primitives):
            orders.append(self.operands[::-1])
        found: dict[str, Pattern] = {}
        for order in orders:
            for operands in product(*(operand.variants() for operand in order)):
                variant = replace(self, operands=operands)
                found.setdefault(str(variant), variant)
        return list(found.values())

    def names(self) -> set[str]:
        inner = set[str]().union(*(operand.names() for operand in self.operands or ()))
        return inner | {self.label} if self.label else inner

    def accepts_op(self, name: str) -> bool:
        return self.primitives is None or name in self.primitives

    def accepts(self, node: Node) -> bool:
        """Whether the primitives of ``node`` and of its operands allow a match; depends on their names and
        number only.
        """
        if not self.accepts_op(node.op.name):
            return False
        if self.operands is None:
            return self.each is None or all(self.each.accepts_op(value.node.op.name) for value in node.inputs)
        return len(self.operands) == len(node.inputs) and all(
            pattern.accepts_op(value.node.op.name) for pattern, value in zip(self.operands, node.inputs, strict=True)
        )

    def __str__(self) -> str:
        name = "any" if self.primitives is None else "|".join(self.primitives)
        operands = "..." if self.operands is None else ", ".join(map(str, self.operands))
        attributes = f"{{{', '.join(self.attributes)}}}" if self.attributes else ""
        return f"{name}({operands}){attributes}" + (f" as {self.label}" if self.label else "")


def op(primitives: str | tuple[str, ...] | None, *operands: Operand | EllipsisType, **attributes: Any) -> Op:
    """The pattern of an application: ``op("transpose", x)``, ``op(("lt", "gt"), x, y)``, ``op("concatenate", ...)``."""
    names = (primitives,) if isinstance(primitives, str) else primitives
    if Ellipsis in operands:
        return Op(names, None, attributes)
    return Op(names, tuple(_pattern(operand) for operand in operands), attributes)


def _pattern(operand: Operand | EllipsisType) -> Pattern:
    if isinstance(operand, EllipsisType):
        raise TypeError("... must be the only operand of a pattern")
    return operand if isinstance(operand, Pattern) else Literal(operand)


def constant_of(value: Value) -> np.ndarray | None:
    """The literal array that ``value`` is, or is a broadcast of; None for anything else."""
    node = value.node
    if node.op.name == "broadcast_in_dim":
        node = node.inputs[0].node
    return node.attributes["value"] if node.op.name == "constant" else None


def splat_of(value: Value) -> Any:
    """The NumPy scalar that every element of ``value`` is known to be, from a scalar literal; None where it is
    not known.
    """
    array = constant_of(value)
    return array[()] if array is not None and array.shape == () else None


Action = Callable[..., Replacement]
Condition = Callable[..., bool]


@dataclass(frozen=True, eq=False)
class Rule:
    """``pattern`` → what ``action`` builds. Made by :meth:`RuleList.rule`.

    ``exact`` tells for which types of the first operand the rule keeps every bit; for others it is only used under
    fast_math. ``action`` and ``when`` are called with the bound values that their parameters name; the names ``b`` and
    ``root`` give the builder and the node being replaced.
    """

    name: str
    summary: str
    patterns: tuple[Op, ...]
    action: Action
    parameters: tuple[str, ...]
    exact: TypePredicate = always
    when: Condition | None = None
    when_parameters: tuple[str, ...] = ()

    @property
    def needs_fast_math(self) -> bool:
        """Whether some types are rewritten under fast_math alone."""
        return self.exact is not always

    def primitives(self) -> set[str]:
        """The primitives named anywhere in the pattern."""
        found: set[str] = set()
        stack: list[Pattern] = list(self.patterns)
        while stack:
            pattern = stack.pop()
            if isinstance(pattern, Op):
                found.update(pattern.primitives or ())
                stack.extend(pattern.operands or ())
        return found

    def is_exact_for(self, node: Node) -> bool:
        """Whether the rule keeps every bit on ``node``."""
        return self.exact(node.inputs[0].type if node.inputs else node.types[0])

    def __str__(self) -> str:
        return f"{self.name}: {self.summary}"


class RuleList:
    """The rules of one family, in the order they are tried. ``@rules.rule(pattern)`` adds the function below it."""

    def __init__(self, family: str) -> None:
        self.family = family
        self._rules: dict[str, Rule] = {}

    def rule(
        self, pattern: Op, *, exact: TypePredicate = always, when: Condition | None = None
    ) -> Callable[[Action], Rule]:
        """Decorator: make the function, whose docstring is ``pattern → replacement``, a rule of this list.

        Raises TypeError for a second rule of that name, a missing docstring, or a parameter that the pattern does not
        bind.
        """
        known = pattern.names() | {"b", "root"}

        def define(action: Action) -> Rule:
            name = action.__name__
            if name in self._rules:
                raise TypeError(f"two rules of {self.family} are named {name!r}")
            if not action.__doc__:
                raise TypeError(f"rule {name} has no docstring; say what it does: x + 0 → x")
            variants = tuple(v for v in pattern.variants() if isinstance(v, Op))
            made = Rule(
                name, action.__doc__.strip(), variants, action, _parameters(action, known),
                exact, when, _parameters(when, known) if when is not None else (),
            )  # fmt: skip
            self._rules[name] = made
            return made

        return define

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def __len__(self) -> int:
        return len(self._rules)

    def __repr__(self) -> str:
        return f"<RuleList {self.family}: {len(self)} rules>"


def _parameters(function: Any, known: set[str]) -> tuple[str, ...]:
    code = function.__code__  # inspect.signature takes 30 µs, and there are hundreds of rules
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TypeError(f"{function.__name__} takes {unknown[0]!r}, which its pattern does not bind ({sorted(known)})")
    return names
