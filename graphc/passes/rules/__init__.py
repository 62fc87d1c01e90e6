"""The rules of the canonicalize pass, one family a module. :data:`ALL` is all of them, in the order they are tried."""

from __future__ import annotations

from graphc.passes.rules.arithmetic import ARITHMETIC
from graphc.passes.rules.bitwise import BITWISE
from graphc.passes.rules.choice import CHOICE
from graphc.passes.rules.comparison import COMPARISON
from graphc.passes.rules.functions import FUNCTIONS
from graphc.passes.rules.movement import MOVEMENT
from graphc.passes.rules.reduction import REDUCTION
from graphc.passes.rules.slicing import SLICING
from graphc.rewrite.pattern import Rule, RuleList

# Identities come before the rules that push ops through broadcasts, so that less is moved.
FAMILIES: tuple[RuleList, ...] = (ARITHMETIC, FUNCTIONS, BITWISE, COMPARISON, CHOICE, SLICING, REDUCTION, MOVEMENT)
ALL: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in family)
