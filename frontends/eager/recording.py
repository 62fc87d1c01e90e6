"""What eager execution remembers: one light record an op, enough to build the graph that was run.

A record keeps no arrays but the residuals that its primitive's VJP rule declares, so everything else is freed as usual.
Inputs of a recording, which no recorded op made, are :class:`Leaf` objects.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.frontends.eager.prepared import PreparedOp, prepare
from graphc.frontends.grad_mode import mode
from graphc.ir.dims import Dim
from graphc.ir.graph import Node, Value
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location, current_location

if TYPE_CHECKING:
    from graphc.frontends.eager.tensor import Tensor
    from graphc.frontends.storage import Version


_BROADCAST = get_primitive("broadcast_in_dim")


class _Recorders(threading.local):
    def __init__(self) -> None:
        self.active: list[Any] = []


recorders = _Recorders()


class Saved(NamedTuple):
    """A residual: the memory, and the write count it had when it was saved."""

    array: Any
    version: Version
    count: int  # type: ignore[assignment]  # hides tuple.count


class Leaf:
    """An input of a recording: a tensor that no recorded op made.

    ``requires_grad``: whether gradients are accumulated into ``tensor`` (held weakly: a tensor nobody can reach needs none).
    ``array``: the contents of a constant. ``origin``: the recorded value of a parameter that was updated under ``no_grad``:
    gradients end here, ``gc.record()`` goes on.
    """

    __slots__ = ("__weakref__", "array", "location", "origin", "requires_grad", "tensor_ref", "types")

    def __init__(
        self,
        type_: TensorType,
        tensor: Tensor | None,
        requires_grad: bool,
        location: Location,
        array: Any = None,
        origin: Reference | None = None,
    ) -> None:
        self.types = (type_,)
        self.tensor_ref = None if tensor is None else weakref.ref(tensor)
        self.requires_grad = requires_grad
        self.location = location
        self.array = array
        self.origin = origin

    @property
    def tensor(self) -> Tensor | None:
        return None if self.tensor_ref is None else self.tensor_ref()


class Record:
    """One op that was executed: what its IR node will be, and the residuals saved for its gradient."""

    __slots__ = (
        "__dict__", "__weakref__", "attributes", "freed", "inputs", "location", "op", "requires_grad", "saved_operands",
        "saved_results", "types",
    )  # fmt: skip

    # What few records have; the others have no dictionary.
    title: str | None = None
    retained: dict[int, weakref.ref[Tensor]] | None = None  # results whose .grad is wanted
    hooks: dict[int, dict[int, Any]] | None = None  # result → handle → function

    def __init__(
        self,
        op: Primitive,
        attributes: dict[str, Any],
        inputs: tuple[Reference | TensorType, ...],
        types: tuple[TensorType, ...],
        requires_grad: bool,
        location: Location,
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.inputs = inputs  # a bare type: an operand that needs no gradient and that nobody asked to record
        self.types = types
        self.requires_grad = requires_grad
        self.location = location
        self.saved_operands: tuple[tuple[int, Saved], ...] = ()
        self.saved_results: tuple[tuple[int, Saved], ...] = ()
        self.freed = False
        for recorder in recorders.active:
            recorder.records.append(self)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.title or self.op.name


class Reference(NamedTuple):
    """A recorded value: result ``index`` of ``source``."""

    source: Record | Leaf
    index: int  # type: ignore[assignment]  # hides tuple.index

    @property
    def type(self) -> TensorType:
        return self.source.types[self.index]

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.source.types[self.index].shape

    @property
    def requires_grad(self) -> bool:
        return self.source.requires_grad


def is_tracked(x: Any) -> bool:
    """Whether gradients may want to know of the tensor ``x``. (A storage without a value has no history.)"""
    storage = x._storage
    return x._reference is not None or (storage is not None and storage.value is not None)


def broadcast_reference(
    reference: Reference, attributes: dict[str, Any], type_: TensorType, flows: bool, location: Location
) -> Reference:
    """``reference`` repeated to ``type_``, as the IR has it for what NumPy's elementwise functions do by themselves."""
    return Reference(Record(_BROADCAST, attributes, (reference,), (type_,), flows, location), 0)


def emit_reference(op: str, *operands: Reference, **attributes: Any) -> Reference:
    """Record an op that is not executed, its bytes being there already: how views and writes are remembered."""
    prepared = prepare(get_primitive(op), tuple([r.type for r in operands]), attributes)
    if op == "constant":
        return Reference(Leaf(prepared.types[0], None, False, current_location(), prepared.attributes["value"]), 0)
    needs_gradient = op != "stop_gradient" and mode.enabled and any(r.requires_grad for r in operands)
    record = Record(prepared.op, prepared.attributes, tuple(operands), prepared.types, needs_gradient, current_location())
    if needs_gradient:
        _save_metadata_residuals(record, prepared, operands)
    return Reference(record, 0)


def _save_metadata_residuals(record: Record, prepared: PreparedOp, operands: Sequence[Reference]) -> None:
    """Keep the index operands that the gradient of a view or a write reads: they are constants or made from constants."""
    wanted = prepared.residuals([r.requires_grad for r in operands]).operands
    saved = []
    for position in wanted:
        if not operands[position].type.dtype.is_inexact:
            saved.append((position, Saved(evaluate_reference(operands[position]), UNWRITTEN, 0)))
    record.saved_operands = tuple(saved)


class _NeverWritten:
    count = 0


UNWRITTEN: Any = _NeverWritten()


def evaluate_reference(reference: Reference) -> Any:
    """The value of a recorded expression of constants (indices of views and writes)."""
    source = reference.source
    if isinstance(source, Leaf):
        return source.array
    operands = [evaluate_reference(r) for r in source.inputs if isinstance(r, Reference)]
    result = source.op.evaluate(*operands, **source.attributes)
    return np.asarray(result[reference.index] if isinstance(result, tuple) else result)


def ordered_sources(roots: Sequence[Reference], *, only_gradients: bool) -> list[Record | Leaf]:
    """The records and leaves that ``roots`` need, operands first.

    With ``only_gradients`` those that require a gradient, gradients ending at leaves; else everything, through the origins
    of leaves.
    """
    order: list[Record | Leaf] = []
    done: set[int] = set()
    for root in roots:
        source = root.source
        if id(source) in done or (only_gradients and not source.requires_grad):
            continue
        done.add(id(source))
        stack: list[tuple[Record | Leaf, Iterator[Any]]] = [(source, iter(_operands(source, only_gradients)))]
        while stack:
            source, operands = stack[-1]
            for reference in operands:
                if type(reference) is not Reference:  # the bare type of an operand
                    continue
                operand = reference.source
                if id(operand) not in done and (operand.requires_grad or not only_gradients):
                    done.add(id(operand))
                    stack.append((operand, iter(_operands(operand, only_gradients))))
                    break
            else:
                order.append(source)
                stack.pop()
    return order


def _operands(source: Record | Leaf, only_gradients: bool) -> Sequence[Any]:
    if type(source) is Record:
        return source.inputs
    assert isinstance(source, Leaf)
    return () if only_gradients or source.origin is None else (source.origin,)


def record_to_node(record: Record, inputs: tuple[Value, ...]) -> Node:
    """The IR node that the record stands for."""
    return Node(record.op, inputs, record.attributes, record.types, record.location)
