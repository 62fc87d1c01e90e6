"""What converted code calls, under one name."""

import sys

from graphc.frontends.tracing.convert.branches import if_
from graphc.frontends.tracing.convert.calls import SourceConverter, call
from graphc.frontends.tracing.convert.conditions import and_, assert_, compare, if_exp, not_, or_
from graphc.frontends.tracing.convert.loops import for_, while_
from graphc.frontends.tracing.convert.python_builtins import contains, element, elements, excludes, keep
from graphc.frontends.tracing.convert.rows import range_, side_by_side
from graphc.frontends.tracing.convert.state import State, Undefined, raised, read
from graphc.frontends.tracing.convert.traps import attribute, extended, index, item, removed

__all__ = [
    "State", "Undefined", "and_", "assert_", "attribute", "call", "compare", "contains", "element", "elements", "excludes",
    "extended", "for_", "if_", "if_exp", "index", "item", "keep", "new_converter", "not_", "or_", "raised", "range_",
    "read", "removed", "side_by_side", "while_",
]  # fmt: skip


def new_converter() -> SourceConverter:
    """What converts functions to call this module, for one trace."""
    return SourceConverter(sys.modules[__name__])
