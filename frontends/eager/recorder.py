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
from graphc.frontends.eager.recording import Record, Reference, Saved, broadcast_reference
from graphc.ir.primitive import Primitive
from graphc.locations import UNKNOWN, Location

_MOST: Final = 1024  # kinds of operands that are known to a recorder; then all are forgotten

_new: Final = object.__new__
_tuple: Final = tuple.__new__  # of a NamedTuple, at half the price of its class


def binary_recorder(op: Primitive, **attributes: Any) -> Callable[[Any, Any, Any, Any], None]:
    """``record(x, y, result, frame)``: records ``result`` of ``op`` on two tensors; ``frame`` is the user's."""
    known: dict[Any, _Kind] = {}

    def record(x: Any, y: Any, result: Any, frame: FrameType | None) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        of_y = y._reference if y._storage is None else y.reference()
        needs_x, needs_y = of_x is not None and of_x[0].requires_grad, of_y is not None and of_y[0].requires_grad
        array = x._array
        key = (array.dtype, array.shape, y._array.shape, needs_x, needs_y)
        try:
            kind = known[key]
        except KeyError:
            if not (needs_x or needs_y):
                return
            kind = _Kind(prepare(op, (x.type, y.type), attributes), (needs_x, needs_y))
            if len(known) >= _MOST:
                known.clear()
            known[key] = kind
        if not kind.is_inexact:
            return
        types = kind.operand_types
        record = new_record(op, kind.attributes, (), kind.types, frame)
        broadcasts = kind.prepared.broadcasts
        if broadcasts:
            of_x, of_y = (
                r if r is None or b is None else broadcast_reference(r, b, t, r.source.requires_grad, record.location)
                for r, b, t in zip((of_x, of_y), broadcasts, types, strict=True)
            )
        record.inputs = (types[0] if of_x is None else of_x, types[1] if of_y is None else of_y)
        result._type = kind.type
        result._reference = _tuple(Reference, (record, 0))
        if kind.saves_result:
            save_residuals(record, kind.prepared, (x, y), (result,), (needs_x, needs_y))
        elif kind.saves_x:
            first = (0, _saved(x))
            record.saved_operands = (first, (1, _saved(y))) if kind.saves_y else (first,)
        elif kind.saves_y:
            record.saved_operands = ((1, _saved(y)),)

    return record


def unary_recorder(op: Primitive) -> Callable[..., None]:
    """``record(x, result, frame)``: records ``result`` of ``op`` on one tensor; a reduction's also takes its ``axes``."""
    known: dict[Any, _Kind] = {}

    def record(x: Any, result: Any, frame: FrameType | None, axes: tuple[int, ...] | None = None) -> None:
        of_x = x._reference if x._storage is None else x.reference()
        if of_x is None or not of_x[0].requires_grad:
            return
        array = x._array
        key = (array.dtype, array.shape, axes)
        try:
            kind = known[key]
        except KeyError:
            kind = _Kind(prepare(op, (x.type,), {} if axes is None else {"axes": axes}), (True,))
            if len(known) >= _MOST:
                known.clear()
            known[key] = kind
        if not kind.is_inexact:
            return
        record = new_record(op, kind.attributes, (of_x,), kind.types, frame)
        result._type = kind.type
        result._reference = _tuple(Reference, (record, 0))
        if kind.saves_x:
            record.saved_operands = ((0, _saved(x)),)
        if kind.saves_result:
            record.saved_results = ((0, _saved(result)),)

    return record


def new_record(
    op: Primitive, attributes: dict[str, Any], inputs: tuple[Any, ...], types: tuple[Any, ...], frame: FrameType | None
) -> Record:
    """A record of an op that needs a gradient, with nothing saved yet; no recorder is told of it."""
    record = _new(Record)
    record.op = op
    record.attributes = attributes
    record.inputs = inputs
    record.types = types
    record.requires_grad = True
    if frame is None:
        record.location = UNKNOWN
    else:  # Location.of_frame, without the call
        record.location = location = _new(Location)
        location._code = frame.f_code
        location._lasti = frame.f_lasti
    record.freed = False
    record.saved_operands = record.saved_results = ()
    return record


class _Kind:
    """What records of one op on operands alike have in common."""

    __slots__ = (
        "attributes", "is_inexact", "operand_types", "prepared", "saves_result", "saves_x", "saves_y", "type", "types",
    )  # fmt: skip

    def __init__(self, prepared: PreparedOp, needed: tuple[bool, ...]) -> None:
        of_operands, of_results = prepared.residuals(needed)
        self.prepared = prepared
        self.attributes = prepared.attributes
        self.is_inexact = prepared.is_inexact
        self.operand_types = prepared.operand_types
        self.types = prepared.types
        self.type = prepared.types[0]
        self.saves_x, self.saves_y = 0 in of_operands, 1 in of_operands
        self.saves_result = bool(of_results)


def _saved(x: Any) -> Any:
    storage = x._storage
    version = (x.storage() if storage is None else storage).version
    return _tuple(Saved, (x._array, version, version.count))
