"""Functions made of many ops, as one op: traced once for each kind of operands, run by NumPy, recorded as one call.

``cross_entropy`` is some twenty ops. On small tensors each of them costs more to dispatch and to record than to compute.
So when operands of a kind come again, the function is traced into a graph, simplified (which keeps every bit), and its
nodes are evaluated one after the other, without tensors in between: the values are those of the ops one by one. A
recording has one ``call`` of the graph as traced, with copies of the operands, so that no write can spoil its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc.dtypes import DType
from graphc.frontends.dispatch import Array, observers, tracing
from graphc.frontends.eager.execute import SLOW_IN_NUMPY, THRESHOLD, execute, kernels_are_chosen
from graphc.frontends.eager.tensor import Tensor
from graphc.frontends.grad_mode import set_grad_enabled
from graphc.frontends.storage import VIEW_OPS
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import Tracer
from graphc.ir.dims import product
from graphc.ir.graph import Graph, Node, Value
from graphc.ops.elementwise import Elementwise
from graphc.ops.quiet import quietly
from graphc.passes.pipeline import pipeline

MOST_ELEMENTS: Final = 1 << 14  # of all operands: above it, the arithmetic is what takes the time
_MOST_PROGRAMS: Final = 256  # of each function; then all are forgotten
_MET: Final = "met once"
_OP_BY_OP: Final = "op by op"
_PLAIN: Final = (bool, int, float, str, type(None), DType)


class Program:
    """One traced graph, and the Python function that evaluates it on NumPy arrays.

    Its text has a line a node, ``relu`` for example::

        def run(v0):
            v2 = f2(v0, v1)
            v3 = f3(v2, v1, v0)
            return [v3]
    """

    def __init__(self, graph: Graph, weak: Sequence[bool], is_one: bool) -> None:
        self.graph = graph
        self.attributes = {"graph": graph}
        self.types = graph.output_types
        self.is_inexact = any(t.dtype.is_inexact for t in self.types)
        self.weak = tuple(weak)
        self.is_one = is_one  # whether the function gave an array, not a sequence of them
        simple = pipeline("cpu").run(graph)
        names: dict[Value, str] = {p: f"v{i}" for i, p in enumerate(simple.parameters)}
        nodes = _needed(simple)
        repeated = _read_whole(nodes, simple.outputs)
        namespace: dict[str, Any] = {}
        lines = [f"def run({', '.join(names.values())}):"]
        for node in nodes:
            names.update({value: f"v{len(names) + i}" for i, value in enumerate(node.results)})
            lines += _statement(node, names, namespace, node.results[0] in repeated)
        outputs = [names[o] + (".copy()" if _shares_memory(o) else "") for o in simple.outputs]
        lines.append(f"    return [{', '.join(outputs)}]")
        exec("\n".join(lines), namespace)  # a loop over the nodes would take longer than small arrays do
        self._run: Callable[..., list[Any]] = namespace["run"]

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs; they share memory with nothing else."""
        return quietly(self._run, *arrays)


def _statement(node: Node, names: Mapping[Value, str], namespace: dict[str, Any], is_whole: bool) -> list[str]:
    """The line that computes the results of ``node``; a constant is put into the ``namespace`` instead."""
    operands = _read(node)
    results = [names[v] for v in node.results]
    if node.op.name == "constant" or (not operands and len(results) == 1):
        namespace[results[0]] = node.op.evaluate(**node.attributes)
        return []
    function, attributes = _function(node), node.attributes
    if node.op.name == "broadcast_in_dim" and not is_whole:
        function, attributes = np.reshape, {"shape": _unit_shape(node)}
    number = results[0][1:]
    namespace[f"f{number}"] = function
    arguments = [names[v] for v in operands]
    if attributes:
        namespace[f"a{number}"] = attributes
        arguments.append(f"**a{number}")
    return [f"    {', '.join(results)} = f{number}({', '.join(arguments)})"]


class Composed:
    """``function`` of tensors and plain Python values, which gives an array or a flat sequence of arrays."""

    def __init__(self, function: Callable[..., Any], most_elements: int | None = MOST_ELEMENTS) -> None:
        """``most_elements``: of all operands together; None for any number, where nothing is recorded."""
        self.function = function
        self.most_elements = most_elements
        self.programs: dict[Any, Any] = {}  # _MET, _OP_BY_OP or a Program

    def program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[Tensor]] | None:
        """The program for a call with these arguments, and the tensors among them; None where it goes op by op."""
        if observers or kernels_are_chosen():
            return None
        tensors: list[Tensor] = []
        key: list[Any] = []
        elements = 0
        for value in (*args, *kwargs.values()) if kwargs else args:
            if type(value) is Tensor:
                tensors.append(value)
                array = value._array
                elements += array.size
                key.append((array.dtype, array.shape, value.weak))
            elif isinstance(value, _PLAIN):
                key.append(_identity(value))
            elif type(value) is tuple and all(type(v) in _PLAIN for v in value):
                key.append(tuple([_identity(v) for v in value]))
            else:
                return None
        if not tensors or (self.most_elements is not None and elements > self.most_elements):
            return None
        known = (*key, *kwargs) if kwargs else tuple(key)
        found = self.programs.get(known)
        if type(found) is Program:
            return found, tensors
        if found is None:  # what comes once is not worth a trace: a slope or a length that is always another
            if len(self.programs) >= _MOST_PROGRAMS:
                self.programs.clear()
            self.programs[known] = _MET
        elif found is _MET:
            program = self._trace(args, kwargs)
            self.programs[known] = _OP_BY_OP if program is None else program
            return None if program is None else (program, tensors)
        return None

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program | None:
        context = GraphContext(getattr(self.function, "__name__", "composed"))
        inputs: dict[int, Tracer] = {}

        def traced(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            tracer = inputs[len(inputs)] = Tracer(context, context.builder.parameter(value.type))
            tracer.weak = value.weak
            tracer._requires_grad = value.dtype.is_inexact
            return tracer

        try:
            with tracing(context), set_grad_enabled(True):
                result = self.function(*[traced(v) for v in args], **{k: traced(v) for k, v in kwargs.items()})
                results: list[Any] = [result] if isinstance(result, Array) else list(result)
                if not all(_stands_alone(r, inputs.values()) for r in results):
                    return None
                graph = context.builder.finish([r.value for r in results])
        finally:
            context.close()
        if context.captured or context.specialized or graph.guards or graph.effects:
            return None
        return Program(graph, [r.weak for r in results], isinstance(result, Array))


def _identity(value: Any) -> tuple[Any, ...]:
    """What differs for plain values that are not the same, though they may be equal: 1 and True, 0.0 and -0.0."""
    return (float, value, math.copysign(1.0, value)) if type(value) is float else (type(value), value)


def _stands_alone(result: Any, inputs: Iterable[Tracer]) -> bool:
    """Whether ``result`` is a new array: not an argument, a view of one, or a view that cannot be written."""
    if not isinstance(result, Tracer):
        return False
    if any(result._storage is tracer._storage or tracer._storage.written for tracer in inputs):
        return False
    return not any(step.op == "broadcast_in_dim" for step in result._chain)


def _function(node: Node) -> Callable[..., Any]:
    op = node.op
    if op.name in SLOW_IN_NUMPY and max((product(v.type.shape) for v in node.inputs), default=0) >= THRESHOLD:
        return lambda *arrays, **attributes: execute(op, arrays, attributes)[0]
    if isinstance(op, Elementwise) and node.types[0].shape:  # of scalars, ufuncs give no arrays
        ufunc = op.ufunc(node.inputs[0].dtype)
        if ufunc is not None:
            return ufunc
        if op.name == "select":
            return np.where
    return op.evaluate


def _read(node: Node) -> tuple[Value, ...]:
    """The operands that evaluation reads: an elementwise op in NumPy repeats them itself along leading axes."""
    if not node.op.elementwise:
        return node.inputs
    sources = [_unrepeated(v) for v in node.inputs]
    shapes: list[Any] = [v.type.shape for v in sources]
    return tuple(sources) if np.broadcast_shapes(*shapes) == node.types[0].shape else node.inputs


def _unrepeated(value: Value) -> Value:
    node = value.node
    if node.op.name != "broadcast_in_dim":
        return value
    rank, (x,) = len(node.attributes["shape"]), node.inputs
    trailing = tuple(range(rank - x.type.ndim, rank))
    return x if node.attributes["dims"] == trailing else value


def _read_whole(nodes: Sequence[Node], outputs: Sequence[Value]) -> set[Value]:
    """The repeated arrays that evaluation needs as such. The readers of all others are elementwise ops, which repeat them."""
    whole = set(outputs)
    for node in nodes:
        operands = _read(node)
        if not node.op.elementwise or not any(
            v.type.shape == node.types[0].shape and v.node.op.name != "broadcast_in_dim" for v in operands
        ):
            whole.update(operands)
    return whole


def _unit_shape(node: Node) -> tuple[int, ...]:
    """The shape of what a broadcast_in_dim repeats, with axes of size 1 where it does."""
    shape: list[Any] = [1] * len(node.attributes["shape"])
    for axis, dim in enumerate(node.attributes["dims"]):
        shape[dim] = node.inputs[0].type.shape[axis]
    return tuple(shape)


def _needed(graph: Graph) -> list[Node]:
    """The nodes that evaluation reads, operands first."""
    needed = {o.node for o in graph.outputs}
    order = [node for node in graph.nodes() if node.op.name != "parameter"]
    for node in reversed(order):
        if node in needed:
            needed.update(v.node for v in _read(node))
    return [node for node in order if node in needed]


def _shares_memory(output: Value) -> bool:
    """Whether evaluation may give ``output`` as a part of an operand or a constant."""
    node = output.node
    while node.op.name in VIEW_OPS or node.op.name == "convert_element_type":
        node = node.inputs[0].node
    return node.op.name in ("parameter", "constant")


