"""libm functions called by their C names: the only symbols outside itself that a kernel may refer to.

Used for float64 functions that have no polynomial of their own here; :data:`.loader.LIBM_SYMBOLS` has them. The calls are
declared free of side effects, so LLVM may hoist them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from .intrinsics import declare, define_fixed


def _libm(symbol: str, twin: Callable[..., Any]) -> Any:
    def emit(builder: Any, result: Any, *operands: Any) -> Any:
        function = declare(builder, symbol, result, operands)
        function.attributes.add("readnone")
        function.attributes.add("nounwind")
        return builder.call(function, operands)

    arguments = (types.float64,) * twin.__code__.co_argcount
    return define_fixed(f"libm_{symbol}", types.float64, arguments, emit, twin)


def _pow(x: Any, y: Any) -> Any:
    """C's pow: x to the power y."""
    with np.errstate(all="ignore"):
        return np.float64(np.float_power(x, y))


libm_pow = _libm("pow", _pow)
