"""Recording an op that ran outside of the general way, for a gradient that may want it.

What a record of an op on operands of given dtypes and shapes consists of is looked up by these alone; what is left is a few
attributes of one object. Only for results that nobody else watches: recorders of whole programs see the general way.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import numpy as np

from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.eager.recording import Record, Reference, Saved
from graphc.ir.primitive import Primitive, Residuals, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import UNKNOWN, Location

_BROADCAST: Final = get_primitive("broadcast_in_dim")
_MOST: Final = 1024  # kinds of operands that are known to a recorder; then all are forgotten


def binary_recorder(op: Primitive) -> Callable[[Any, Any, Any, Any], None]:
    """``record(x, y, result, frame)``: records ``result`` of ``op`` on two tensors; ``frame`` is the user's."""
    known: dict[Any, tuple[PreparedOp, tuple[Residuals, ...]]] = {}

    def record(x: Any, y: Any, result: Any, frame: Any) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        of_y = y._reference if y._storage is None else y.reference()
        needs = (2 if of_x is not None and of_x.source.requires_grad else 0) + (
            1 if of_y is not None and of_y.source.requires_grad else 0
        )
        if not needs:
            return
        array = x._array
        key = (array.dtype, array.shape, y._array.shape)
        try:
            prepared, readers = known[key]
        except KeyError:
            prepared = prepare(op, (x.type, y.type), {})
            if not prepared.is_inexact:
                return
            if len(known) >= _MOST:
                known.clear()
            readers = tuple([prepared.residuals((n > 1, n % 2 == 1)) for n in range(4)])
            known[key] = prepared, readers
        types = prepared.operand_types
        location = UNKNOWN if frame is None else Location.of_frame(frame)
        if prepared.broadcasts:
            of_x, of_y = (
                r if r is None or b is None else _repeated(r, b, t, location)
                for r, b, t in zip((of_x, of_y), prepared.broadcasts, types, strict=True)
            )
        inputs = (types[0] if of_x is None else of_x, types[1] if of_y is None else of_y)
        record = Record(op, prepared.attributes, inputs, prepared.types, True, location)
        result._type = prepared.types[0]
        result._reference = Reference(record, 0)
        operands, results = readers[needs]
        if operands:
            saved = [(i, (y if i else x).saved()) for i in operands]
            if prepared.broadcasts:
                shape: Any = types[0].shape
                saved = [
                    (i, s if prepared.broadcasts[i] is None else Saved(repeat(s.array, shape), s.version, s.count))
                    for i, s in saved
                ]
            record.saved_operands = tuple(saved)
        if results:
            record.saved_results = ((0, result.saved()),)

    return record


def _repeated(reference: Reference, attributes: dict[str, Any], type_: TensorType, location: Location) -> Reference:
    """``reference`` broadcast to ``type_``, as the IR needs it."""
    return Reference(Record(_BROADCAST, attributes, (reference,), (type_,), reference.source.requires_grad, location), 0)


def repeat(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``np.broadcast_to``, which takes longer than a small array's arithmetic."""
    if array.dtype.kind == "V" or not array.flags.c_contiguous:  # bfloat16 is not in the buffer protocol
        return np.broadcast_to(array, shape)
    added = len(shape) - array.ndim
    strides = tuple([0 if i < added or array.shape[i - added] != n else array.strides[i - added] for i, n in enumerate(shape)])
    return np.ndarray(shape, array.dtype, array, 0, strides)


def unary_recorder(op: Primitive) -> Callable[..., None]:
    """``record(x, result, frame)``: records ``result`` of ``op`` on one tensor; a reduction's also takes its ``axes``."""
    known: dict[Any, tuple[PreparedOp, Residuals]] = {}

    def record(x: Any, result: Any, frame: FrameType | None, axes: tuple[int, ...] | None = None) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        if of_x is None or not of_x.source.requires_grad:
            return
        array = x._array
        key = (array.dtype, array.shape, axes)
        try:
            prepared, readers = known[key]
        except KeyError:
            prepared = prepare(op, (x.type,), {} if axes is None else {"axes": axes})
            if not prepared.is_inexact:
                return
            if len(known) >= _MOST:
                known.clear()
            readers = prepared.residuals((True,))
            known[key] = prepared, readers
        types = prepared.types
        record = Record(op, prepared.attributes, (of_x,), types, True, UNKNOWN if frame is None else Location.of_frame(frame))
        result._type = types[0]
        result._reference = Reference(record, 0)
        if readers.operands:
            record.saved_operands = ((0, x.saved()),)
        if readers.results:
            record.saved_results = ((0, result.saved()),)

    return record
