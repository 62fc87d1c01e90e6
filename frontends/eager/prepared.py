"""What an op on operands of given types is: complete attributes, result types, residuals. Worked out once, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.ir.builder import complete_attributes
from graphc.ir.primitive import ALL, Primitive, Residuals
from graphc.ir.types import TensorType

_MOST: Final = 4096  # of them are kept; then all are forgotten
_known: dict[Any, PreparedOp] = {}


class PreparedOp:
    """``op`` on operands of ``operand_types``: those given, brought to one shape where an elementwise op repeats them.

    ``broadcasts``: for each operand the attributes of the broadcast_in_dim that the IR needs for it, or None; empty where
    no operand needs one.
    """

    __slots__ = ("_residuals", "attributes", "broadcasts", "is_inexact", "op", "operand_types", "types")

    def __init__(self, op: Primitive, types: tuple[TensorType, ...], attributes: dict[str, Any]) -> None:
        self.op = op
        self.attributes = complete_attributes(op, attributes)
        self.broadcasts: tuple[dict[str, Any] | None, ...] = ()
        if op.elementwise and any(t.shape != types[0].shape for t in types[1:]):
            shape: Any = np.broadcast_shapes(*[t.shape for t in types])
            self.broadcasts = tuple([None if t.shape == shape else _repeated(t, shape) for t in types])
            types = tuple([t.with_shape(shape) for t in types])
        self.operand_types = types
        self.types = op.infer(types, **self.attributes)
        self.is_inexact = any(t.dtype.is_inexact for t in self.types)
        self._residuals: dict[tuple[bool, ...], Residuals] = {}

    def residuals(self, needed: Sequence[bool]) -> Residuals:
        """The positions of the operands and results that the gradients ``needed`` read."""
        key = tuple(needed)
        known = self._residuals.get(key)
        if known is None:
            wanted = self.op.residuals_for(self.operand_types, key)
            known = self._residuals[key] = expand_residuals(wanted, len(key), len(self.types))
        return known


def prepare(op: Primitive, types: tuple[TensorType, ...], attributes: dict[str, Any]) -> PreparedOp:
    """:class:`PreparedOp` for operands of ``types``. Raises what the op's type rule raises."""
    key = (op, types, *attributes.items())
    try:
        return _known[key]
    except KeyError:
        prepared = PreparedOp(op, types, attributes)
    except TypeError:  # an attribute that is a list or an array
        return PreparedOp(op, types, attributes)
    if len(_known) >= _MOST:
        _known.clear()
    _known[key] = prepared
    return prepared


def expand_residuals(residuals: Residuals, operands: int, results: int) -> Residuals:
    """ALL replaced by the positions it stands for."""
    return Residuals(
        tuple(range(operands)) if ALL in residuals.operands else residuals.operands,
        tuple(range(results)) if ALL in residuals.results else residuals.results,
    )


def _repeated(type_: TensorType, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": shape, "dims": tuple(range(len(shape) - len(type_.shape), len(shape)))}
