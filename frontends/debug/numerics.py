"""``gc.check_numerics()``: which op made the first NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import ArgumentError, NumericsError
from graphc.frontends.debug.summary import summarize_array
from graphc.frontends.dispatch import observers
from graphc.ir.primitive import Primitive
from graphc.locations import Location
from graphc.ops.inspection import inspecting

#: Ops that hand on what they are given or that hold a graph whose ops are looked at themselves.
_NOT_A_SOURCE: Final = frozenset(("constant", "call", "cond", "while_loop", "scan"))

_ADVICE: Final = MappingProxyType({
    "exp": "subtract the largest value first, as gc.softmax and gc.logsumexp do",
    "log": "keep its operand above 0: gc.clip(x, 1e-12, None), or gc.log_softmax for the log of a softmax",
    "div": "keep its divisor away from 0: x / (y + eps), or gc.where on the divisor itself, not on the quotient",
    "sqrt": "keep its operand from 0 (where its gradient is infinite) and below: gc.sqrt(x + eps)",
    "rsqrt": "keep its operand above 0: gc.rsqrt(x + eps)",
    "pow": "keep its base above 0, or its exponent an integer",
    "sub": "infinities or numbers near the largest meet here: see where they come from",
    "convert_element_type": "the values are too large for the dtype: scale them, or keep float32 here",
})  # fmt: skip

_OF_GRADIENT: Final = "the slope is infinite there: add a small number to what sqrt, log, norm or a quotient is taken of"


@contextmanager
def check_numerics(*, nan: bool = True, infinity: bool = True) -> Iterator[None]:
    """Within the block, the first op that makes a NaN or an infinity raises NumericsError.

    The error names the op, the user's line, whether that line or its gradient was computed, and the range of each operand.
    An op *makes* one if none of its operands has one: a mask of ``-inf`` is not found, nor what comes in with the inputs.
    Eager ops, jitted functions, ``backward()`` and Sessions of this thread run node by node in the block, with NumPy: that is
    slow, and results may differ from those of compiled code by rounding. ``nan``, ``infinity``: which of them to look for.

    >>> with gc.check_numerics():
    ...     gc.log(gc.tensor([1.0, 2.0]))
    Tensor([0.       , 0.6931472])
    """
    if not (nan or infinity):
        raise ArgumentError("check_numerics: with nan=False and infinity=False there is nothing to look for")

    def inspect(op: Primitive, operands: Sequence[Any], results: Sequence[Any], location: Location) -> None:
        if op.name in _NOT_A_SOURCE:
            return
        for found, wanted, name in ((np.isnan, nan, "NaN"), (np.isinf, infinity, "infinity")):
            if not wanted:
                continue
            made = [found(_as_float(r)) for r in results]
            if any(m.any() for m in made) and not any(found(_as_float(x)).any() for x in operands):
                raise _error(op, operands, made, name, location)

    observers.append(inspect)
    try:
        with inspecting(inspect):
            yield
    finally:
        observers.remove(inspect)


def _as_float(array: Any) -> Any:
    """``array`` as something that NumPy can look for NaNs in: integers have none."""
    array = np.asarray(array)
    if not as_dtype(array.dtype).is_inexact:
        return np.zeros((), np.float32)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _error(op: Primitive, operands: Sequence[Any], made: Sequence[Any], name: str, location: Location) -> NumericsError:
    first = next(m for m in made if m.any())
    count, where = int(first.sum()), ", ".join(str(int(i)) for i in np.argwhere(first)[0])
    plural = {"NaN": "NaNs", "infinity": "infinities"}[name] if count > 1 else name
    lines = [f"{op.name} made {count if count > 1 else 'a' if name == 'NaN' else 'an'} {plural}"
             + (f" of {first.size} elements, first at [{where}]" if first.ndim else "")]  # fmt: skip
    lines += [f"  operand {i}: {summarize_array(x)}" for i, x in enumerate(operands)]
    lines.append("  in the backward pass, in the gradient of the line below" if location.is_gradient
                 else "  in the forward pass")  # fmt: skip
    hint = _OF_GRADIENT if location.is_gradient and op.name == "div" else _ADVICE.get(op.name)
    return NumericsError("\n".join(lines), hint=hint, location=location if location.line else None)
