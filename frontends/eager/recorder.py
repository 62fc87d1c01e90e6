"""Recording an op that ran outside of the general way, for a gradient that may want it.

What a record of an op on operands of given dtypes and shapes consists of is looked up by these alone; what is left is a few
attributes of one object. Only for results that nobody else watches: recorders of whole programs see the general way.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from graphc.frontends.eager.autograd import save_residuals
from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.eager.recording import Record, Reference, broadcast_reference
from graphc.ir.primitive import Primitive
from graphc.locations import UNKNOWN, Location

_MOST: Final = 1024  # kinds of operands that are known to a recorder; then all are forgotten


def binary_recorder(op: Primitive) -> Callable[[Any, Any, Any, Any], None]:
    """``record(x, y, result, frame)``: records ``result`` of ``op`` on two tensors; ``frame`` is the user's."""
    known: dict[Any, PreparedOp] = {}

    def record(x: Any, y: Any, result: Any, frame: FrameType | None) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        of_y = y._reference if y._storage is None else y.reference()
        needed = (of_x is not None and of_x.source.requires_grad, of_y is not None and of_y.source.requires_grad)
        if True not in needed:
            return
        array = x._array
        key = (array.dtype, array.shape, y._array.shape)
        try:
            prepared = known[key]
        except KeyError:
            prepared = prepare(op, (x.type, y.type), {})
            if len(known) >= _MOST:
                known.clear()
            known[key] = prepared
        if not prepared.is_inexact:
            return
        types = prepared.operand_types
        location = UNKNOWN if frame is None else Location.of_frame(frame)
        if prepared.broadcasts:
            of_x, of_y = (
                r if r is None or b is None else broadcast_reference(r, b, t, r.source.requires_grad, location)
                for r, b, t in zip((of_x, of_y), prepared.broadcasts, types, strict=True)
            )
        inputs = (types[0] if of_x is None else of_x, types[1] if of_y is None else of_y)
        record = Record(op, prepared.attributes, inputs, prepared.types, True, location)
        result._type = prepared.types[0]
        result._reference = Reference(record, 0)
        save_residuals(record, prepared, (x, y), (result,), needed)

    return record


def unary_recorder(op: Primitive) -> Callable[..., None]:
    """``record(x, result, frame)``: records ``result`` of ``op`` on one tensor; a reduction's also takes its ``axes``."""
    known: dict[Any, PreparedOp] = {}

    def record(x: Any, result: Any, frame: FrameType | None, axes: tuple[int, ...] | None = None) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        if of_x is None or not of_x.source.requires_grad:
            return
        array = x._array
        key = (array.dtype, array.shape, axes)
        try:
            prepared = known[key]
        except KeyError:
            prepared = prepare(op, (x.type,), {} if axes is None else {"axes": axes})
            if len(known) >= _MOST:
                known.clear()
            known[key] = prepared
        if not prepared.is_inexact:
            return
        types = prepared.types
        record = Record(op, prepared.attributes, (of_x,), types, True, UNKNOWN if frame is None else Location.of_frame(frame))
        result._type = types[0]
        result._reference = Reference(record, 0)
        save_residuals(record, prepared, (x,), (result,), (True,))

    return record
