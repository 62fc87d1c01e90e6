"""What converted code calls, under one name."""

import sys

from graphc.frontends.tracing.convert.branches import if_
from graphc.frontends.tracing.convert.calls import SourceConverter, call
from graphc.frontends.tracing.convert.conditions import and_, assert_, compare, if_exp, not_, or_
from graphc.frontends.tracing.convert.loops import for_, range_, while_
from graphc.frontends.tracing.convert.state import State, Undefined, read
from graphc.frontends.tracing.convert.traps import attribute, item

__all__ = [
    "State", "Undefined", "and_", "assert_", "attribute", "call", "compare", "for_", "if_", "if_exp", "item", "new_converter",
    "not_", "or_", "range_", "read", "while_",
]  # fmt: skip


def new_converter() -> SourceConverter:
    """What converts functions to call this module, for one trace."""
    return SourceConverter(sys.modules[__name__])
