"""``gc.record()``: the graph that eager code made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.frontends.dispatch import observers
from graphc.frontends.eager.recording import Leaf, Record, Reference, ordered_sources, record_to_node, recorders
from graphc.frontends.pytree import flatten
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.primitive import get_primitive
from graphc.locations import current_location
from graphc.runtime.devices import as_host


class Recorder:
    """Records every eager op of this thread within its ``with`` block; :meth:`graph` gives them as a graph.

    >>> with gc.record() as rec:
    ...     loss = model(x)
    >>> print(rec.graph(outputs=[loss]))
    """

    def __init__(self, name: str = "recorded") -> None:
        self.name = name
        self.records: list[Record] = []

    def __enter__(self) -> Recorder:
        recorders.active.append(self)
        observers.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        recorders.active.remove(self)
        observers.remove(self)

    def graph(self, outputs: Any = None, inputs: Any = None) -> Graph:
        """The recorded graph from ``inputs`` to ``outputs``, nested structures of tensors.

        Without ``outputs``: every recorded result that no other op consumed. Without ``inputs``: the tensors that were read, in
        the order of first use. Given inputs stand for the values they had when recording began, and outputs for those they
        have now, so a tensor that was updated in place can be both. Raises ArgumentError for an output that was not recorded.
        """
        roots = self._unconsumed() if outputs is None else [self._reference(t) for t in flatten(outputs)[0]]
        order = ordered_sources(roots, only_gradients=False)
        leaves = [s for s in order if isinstance(s, Leaf) and s.array is None and s.origin is None]
        nodes: dict[int, Value] = {}
        parameters: list[Value] = []
        wanted = None if inputs is None else flatten(inputs)[0]
        for leaf in _arranged(leaves, wanted):
            value = Value(Node(get_primitive("parameter"), (), {}, leaf.types, leaf.location), 0)
            nodes[id(leaf)] = value
            parameters.append(value)
        values: dict[Reference, Value] = {}
        for source in order:
            if isinstance(source, Leaf):
                values[Reference(source, 0)] = self._leaf_value(source, nodes, values)
                continue
            operands = tuple([values[r] for r in source.inputs if isinstance(r, Reference)])
            node = record_to_node(source, operands)
            for index, result in enumerate(node.results):
                values[Reference(source, index)] = result
        return Graph(parameters, [values[r] for r in roots], aliases=_updated(outputs, inputs), name=self.name)

    def _leaf_value(self, leaf: Leaf, nodes: dict[int, Value], values: dict[Reference, Value]) -> Value:
        if leaf.origin is not None:
            return values[leaf.origin]
        known = nodes.get(id(leaf))
        if known is not None:
            return known
        (array,) = [np.array(found) for found in as_host([leaf.array])]
        array.setflags(write=False)
        constant = get_primitive("constant")
        return Value(Node(constant, (), {"value": array}, leaf.types, leaf.location), 0)

    def _reference(self, tensor: Any) -> Reference:
        reference = tensor.reference() if hasattr(tensor, "reference") else None
        if reference is None:
            raise ArgumentError(
                f"{type(tensor).__name__} {getattr(tensor, 'type', tensor)!r} was not made or read while recording",
                hint="compute it within the `with gc.record():` block",
            )
        found: Reference = reference
        return found

    def _unconsumed(self) -> list[Reference]:
        consumed = {id(r.source) for record in self.records for r in record.inputs if isinstance(r, Reference)}
        return [
            Reference(record, i) for record in self.records if id(record) not in consumed for i in range(len(record.types))
        ]


def _updated(outputs: Any, inputs: Any) -> dict[int, int]:
    """Outputs that are inputs updated in place: output position → input position."""
    if outputs is None or inputs is None:
        return {}
    positions = {id(t): i for i, t in enumerate(flatten(inputs)[0])}
    return {o: positions[id(t)] for o, t in enumerate(flatten(outputs)[0]) if id(t) in positions}


def _arranged(leaves: Sequence[Leaf], wanted: Sequence[Any] | None) -> list[Leaf]:
    """``leaves`` in the order of the tensors in ``wanted``, one for each (a tensor nobody read gets a new leaf)."""
    if wanted is None:
        return list(leaves)
    by_tensor = {id(leaf.tensor): leaf for leaf in leaves if leaf.tensor is not None}
    result: list[Leaf] = []
    for tensor in wanted:
        known = by_tensor.pop(id(tensor), None)
        result.append(Leaf(tensor.type, tensor, False, current_location()) if known is None else known)
    missing = [leaf for leaf in leaves if leaf not in result]
    if missing:
        raise ArgumentError(
            f"the recorded code read a tensor of type {missing[0].types[0]} that is not among the inputs",
            hint="add it to inputs",
            location=missing[0].location,
        )
    return result


def record(name: str = "recorded") -> Recorder:
    """A context manager that records eager ops; see :class:`Recorder`."""
    return Recorder(name)
