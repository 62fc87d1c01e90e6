"""Algebraic simplification to one form per concept.

The forms:

* A literal that repeats one number is ``broadcast_in_dim(constant scalar)``.
* Literals are the right operands of commutative ops and of comparisons (``c < x`` is ``x > c``).
* Subtracting a literal is adding its negative; dividing by a power of two is multiplying; ``x ** 2`` is ``x * x``.
* ``x + -y`` is ``x - y``; a sign goes into a literal factor, and else to the outside of products and quotients.
* Of nested complements none is left where a comparison or De Morgan's laws absorb it. A select has no negated
  predicate, and is no select where ``&`` or ``|`` of bools says it.
* Integers are divided by powers of two with shifts and masks.
* Of adjacent ops of one kind (reshape, transpose, broadcast, reverse, slice, pad, concatenate, convert, reduce) one
  is left.
* An op that only adds, removes or moves axes of size 1 is a reshape, except that scalar literals are broadcast.
* Transposes, slices, reversals and elementwise ops act on the small operand of a broadcast, so that the broadcast
  comes last.
* Transposes of operands and results are absorbed by ``dot_general``; reductions come before transposes.
* Integer comparisons are not negated; ``x != x`` of floats is ``is_nan``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.graph import Graph, Value
from graphc.passes import rules
from graphc.passes.base import Pass, has_regions
from graphc.passes.fold import FOLDING
from graphc.rewrite.driver import Record, RuleSet, rewrite
from graphc.rewrite.pattern import RuleList, Var, op


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Applies every rule of :mod:`graphc.passes.rules`, folds literals and merges equal nodes, until nothing changes.

    Keeps every bit of every result, with two exceptions: the order of summation inside ``dot_general`` is nobody's
    promise, and ``x ** 2`` and ``x ** -1`` become correctly rounded. With ``fast_math``, rules that change rounding,
    NaNs, infinities or the sign of zero are used as well. With ``again`` it is for graphs with control flow only, which passes
    for that have changed since the first time.
    """

    name: ClassVar[str] = "canonicalize"
    fast_math: bool = False
    again: bool = False

    def applies(self, graph: Graph) -> bool:
        return not self.again or has_regions(graph)

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        return rewrite(graph, _FAST if self.fast_math else _EXACT, record)


_RULES = (*FOLDING, *rules.ALL)
_EXACT = RuleSet(_RULES)
_FAST = RuleSet(_RULES, fast_math=True)

GRADIENT_MARKS = RuleList("gradient marks")


@GRADIENT_MARKS.rule(op("stop_gradient", Var("x")))
def stop_gradient_is_identity(x: Value) -> Value:
    """stop_gradient(x) → x"""
    return x


@dataclass(frozen=True)
class DropStopGradient(Pass):
    """Removes ``stop_gradient``, which means nothing once differentiation is done.

    Not for graphs that may still be differentiated.
    """

    name: ClassVar[str] = "drop-stop-gradient"

    def transform(self, graph: Graph, record: Record | None) -> Graph:
        return rewrite(graph, _MARKS, record)


_MARKS = RuleSet(GRADIENT_MARKS)
