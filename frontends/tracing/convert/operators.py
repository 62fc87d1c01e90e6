"""What converted code calls, under one name."""

import sys
from typing import Final

from graphc.frontends.tracing.convert.branches import if_
from graphc.frontends.tracing.convert.calls import SourceConverter, call
from graphc.frontends.tracing.convert.conditions import and_, assert_, compare, if_exp, not_, or_
from graphc.frontends.tracing.convert.loops import for_, range_, while_
from graphc.frontends.tracing.convert.state import State, Undefined, read

__all__ = [
    "CONVERTER", "State", "Undefined", "and_", "assert_", "call", "compare", "for_", "if_", "if_exp", "not_", "or_", "range_",
    "read", "while_",
]  # fmt: skip

#: Converts functions to call this module.
CONVERTER: Final = SourceConverter(sys.modules[__name__])
