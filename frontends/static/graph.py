"""The static graph: built once by array functions, then run by a Session, TensorFlow 1.x's way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

from graphc.errors import (
    ArgumentError,
    ConcretizationError,
    FinalizedGraphError,
    InPlaceError,
    StaticGraphError,
    WrongGraphError,
)
from graphc.frontends.dispatch import Array, note_symbolic, tracing
from graphc.frontends.static.lowering import Assignment, lower
from graphc.frontends.static.naming import Names
from graphc.frontends.static.tensor import Element, Operation, Placeholder, StaticTensor, defaults
from graphc.frontends.storage import Storage
from graphc.frontends.symbolic import GraphContext
from graphc.frontends.tracer import CONDITION, Tracer
from graphc.ir.builder import Builder
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph as IRGraph
from graphc.ir.graph import Guard, Node, Value, held_graphs
from graphc.ir.primitive import Primitive, get_primitive
from graphc.ir.types import TensorType
from graphc.locations import Location
from graphc.passes.differentiate import gradient_builder


class _NamingBuilder(Builder):
    """Gives every node a unique name, and remembers what depends on it: guards on sizes, control dependencies."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name, differentiate=gradient_builder(graph.name).differentiate)
        self._graph = graph
        self._pending: list[Guard] = []

    def parameter(self, type_: TensorType, name: str = "", location: Location | None = None) -> Value:
        self._graph.check_open()
        return super().parameter(type_, name, location)

    def constant(self, value: Any, dtype: Any = None) -> Value:
        self._graph.check_open()
        return super().constant(value, dtype)

    def emit(self, op: Primitive | str, *operands: Value, name: str = "", **attributes: Any) -> tuple[Value, ...]:
        graph = self._graph
        graph.check_open()
        primitive = get_primitive(op) if isinstance(op, str) else op
        unique = graph.names.unique(name or primitive.name)
        results = super().emit(primitive, *operands, name=unique, **attributes)
        node = results[0].node if results else self.effects[-1]
        graph.add_node(unique, node)
        if primitive.name == "random_bits":
            graph.counters.add(operands[1])
        if self._pending:
            graph.guards_of[node] = tuple(self._pending)
            self._pending.clear()
        return results

    def guard(self, relation: str, lhs: Dim, rhs: Dim) -> None:
        # A run of a part of the graph must not be held to what another part asks of the sizes: the guard belongs to the
        # node that is made next, for which the sizes were compared.
        if lhs != rhs:
            super().guard(relation, lhs, rhs)
            self._pending.append(Guard(relation, lhs, rhs, self._where()))


class Writes(NamedTuple):
    """The values that shared memory took while the graph was built: at first, then after each write."""

    storage: Storage
    versions: list[Value]


class Graph(GraphContext):
    """A graph of placeholders, Variables and the tensors computed from them.

    ``with graph:`` (or ``with graph.as_default():``) makes it the graph to which array functions, ``placeholder`` and
    ``Variable`` add. Operators on its tensors add to it anywhere.

    >>> graph = gc.Graph()
    >>> with graph:
    ...     x = gc.placeholder("f32[n]", name="x")
    ...     y = gc.exp(x)
    >>> with gc.Session(graph) as session:
    ...     session.run(y, {x: [0.0]})
    array([1.], dtype=float32)
    """

    array_class = StaticTensor

    def __init__(self, name: str = "graph") -> None:
        super().__init__(name)
        self.builder = _NamingBuilder(self)
        self.names = Names()
        self.placeholders: list[Placeholder] = []
        self.variables: list[Any] = []  # of Variable, in the order in which they were made
        self.assignments: dict[Node, Assignment] = {}
        self.dependencies: dict[Node, tuple[Element, ...]] = {}
        self.guards_of: dict[Node, tuple[Guard, ...]] = {}
        self.writes: dict[int, Writes] = {}  # by id of the storage
        self.counters: set[Value] = set()  # values that random draws read as their position in a stream
        self.variable_of: dict[int, Any] = {}  # by id of the storage
        self.state_version = 0  # changes with what a run does apart from what it is asked for
        self.plans: OrderedDict[Any, Any] = OrderedDict()
        self.finalized = False
        self._elements: dict[str, Any] = {}
        self._serials: dict[Node, int] = {}
        self._constant_names: dict[Node, str] = {}
        self._sizes: set[str] = set()
        self._controls: list[tuple[Element, ...]] = []
        self._entered: list[AbstractContextManager[Graph]] = []

    # The graph that is built now

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Within the block, this is the graph that everything is added to, in this thread."""
        defaults.graphs.append(self)
        try:
            with tracing(self):
                yield self
        finally:
            defaults.graphs.pop()

    def __enter__(self) -> Graph:
        manager = self.as_default()
        manager.__enter__()
        self._entered.append(manager)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._entered.pop().__exit__(*exception)

    def finalize(self) -> None:
        """Make the graph read-only: adding to it raises FinalizedGraphError. A loop that grows the graph is found this way."""
        self.finalized = True

    def check_open(self, operands: Sequence[Any] = ()) -> None:
        if self.finalized:
            raise FinalizedGraphError(
                f"{self.name} is finalized: nothing can be added to it",
                hint="build the whole graph before finalize(), outside of the training loop",
            )

    # Names

    def name_scope(self, name: str) -> AbstractContextManager[str]:
        """Within the block, names in this graph begin with ``name/``."""
        return self.names.nested(name)

    def register(self, name: str, element: Any) -> str:
        """Give ``element`` a unique name like ``name``."""
        self.check_open()
        unique = self.names.unique(name)
        self._elements[unique] = element
        return unique

    def add_node(self, name: str, node: Node) -> None:
        """Called for each new node."""
        self._elements[name] = node
        self._serials[node] = len(self._serials)
        if self._controls:
            self.dependencies[node] = self.control_inputs()
        if node.op.effect or any(held.effects for held in held_graphs(node.attributes)):
            self.state_version += 1

    def serial(self, value: Value) -> int:
        """A number that grows in the order in which the graph was built."""
        return self._serials.get(value.node, -1)

    def name_of(self, value: Value) -> str:
        """The name of a value; literals get one when they are first asked."""
        node = value.node
        name = node.name or self._constant_names.get(node)
        if name is None:
            name = self.names.unique(node.op.name)
            self._elements[name] = node
            self._constant_names[node] = name
        return f"{name}:{value.index}" if value.index else name

    def get_tensor_by_name(self, name: str) -> StaticTensor:
        """The tensor called ``name`` (``"loss"`` or ``"loss:0"``). Raises StaticGraphError where there is none."""
        element = self.get_element_by_name(name)
        if isinstance(element, Operation):
            raise StaticGraphError(
                f"{name!r} is an operation, which has no value",
                hint="use get_operation_by_name()",
                cause=StaticGraphError.UNKNOWN_FETCH,
            )
        return element  # type: ignore[no-any-return]

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation called ``name``. Raises StaticGraphError where there is none."""
        element = self.get_element_by_name(name)
        if not isinstance(element, Operation):
            raise StaticGraphError(
                f"{name!r} is a tensor", hint="use get_tensor_by_name()", cause=StaticGraphError.UNKNOWN_FETCH
            )
        return element

    def get_element_by_name(self, name: str) -> Any:
        """The tensor or operation called ``name``."""
        base, _, index = name.partition(":")
        element = self._elements.get(base)
        number = int(index) if index.isdecimal() else 0 if not index else -1
        count = len(element.types) if isinstance(element, Node) else 1
        if element is None or not 0 <= number < count:
            close = get_close_matches(base, self._elements, n=3)
            raise StaticGraphError(
                f"{self.name} has no element called {name!r}",
                hint=f"there is {', '.join(map(repr, close))}" if close else "graph.names_of_elements() lists them",
                cause=StaticGraphError.UNKNOWN_FETCH,
            )
        if isinstance(element, Node):
            return StaticTensor(self, Value(element, number))
        return element

    def names_of_elements(self) -> list[str]:
        """The names of all tensors and operations, in the order in which they were made."""
        return list(self._elements)

    def new_size(self, wanted: str) -> str:
        """A name for an unknown size that no other size in the graph has."""
        name, number = wanted, 0
        while name in self._sizes:
            number += 1
            name = f"{wanted}_{number}"
        self._sizes.add(name)
        return name

    # Inputs and state

    def add_placeholder(self, type_: TensorType, name: str, location: Location) -> Placeholder:
        """A new placeholder; ``name`` is unique already."""
        tensor = Placeholder(self, self.builder.parameter(type_, name, location))
        self._sizes.update(s for d in type_.shape if not isinstance(d, int) for s in d.symbols())
        self._own(name, tensor)
        self.placeholders.append(tensor)
        note_symbolic(self)
        return tensor

    def add_variable(self, variable: Any) -> None:
        """Called by each new Variable."""
        self._own(variable.name, variable)
        self.variables.append(variable)
        self.variable_of[id(variable._storage)] = variable

    def _own(self, name: str, tensor: Any) -> None:
        self._elements[name] = tensor
        self._serials[tensor.parameter.node] = len(self._serials)

    def add_assignment(self, assignment: Assignment, tensor: Any) -> None:
        """Called by each new assign; ``tensor`` stands for the new value."""
        node = assignment.result.node
        self.assignments[node] = assignment
        self._elements[node.name] = tensor

    def write(self, x: Any, value: Any) -> None:
        storage: Storage = x._storage
        variable = self.variable_of.get(id(storage))
        if variable is not None:
            raise InPlaceError(
                f"the Variable {variable.name!r} is changed in place, "
                "but in a static graph an update is an op that a run fetches",
                hint=f"use gc.assign({variable.name}, value) or assign_add, and fetch what it returns",
                cause=InPlaceError.STATIC,
            )
        before = storage.value
        super().write(x, value)
        self.writes.setdefault(id(storage), Writes(storage, [before])).versions.append(storage.value)
        self.state_version += 1

    # Control dependencies

    def control_inputs(self) -> tuple[Element, ...]:
        """What everything made now waits for."""
        return tuple(element for group in self._controls for element in group)

    @contextmanager
    def control_dependencies(self, elements: Sequence[Any] | None) -> Iterator[None]:
        """Whatever needs an op made in the block also runs ``elements``; None suspends the enclosing blocks."""
        saved = self._controls
        added = [] if elements is None else [*saved, tuple(self.element_of(e) for e in elements)]
        self._controls = added
        try:
            yield
        finally:
            self._controls = saved

    def element_of(self, value: Any) -> Element:
        """What a run does for ``value`` (a tensor, a Variable, an operation, or the name of one).

        Raises WrongGraphError for an element of another graph, StaticGraphError for anything else.
        """
        if isinstance(value, str):
            value = self.get_element_by_name(value)
        if isinstance(value, Operation):
            if value.graph is not self:
                raise self._wrong_graph(f"the operation {value.name!r}", value.graph)
            return value
        if isinstance(value, Tracer):
            if value.context is not self:
                self.foreign(value)
            return value.element if isinstance(value, StaticTensor) else value.value
        hint = "array functions on placeholders and Variables give elements of the graph"
        if isinstance(value, Array):
            hint = "this is an eager tensor, whose value is at hand: use tensor.numpy()"
        raise StaticGraphError(
            f"{_short(value)} is not a tensor, Variable or operation of {self.name}",
            hint=hint,
            cause=StaticGraphError.UNKNOWN_FETCH,
        )

    # What array functions ask of a context

    def describe(self) -> str:
        return "static"

    def concretize(self, array: Any, what: str) -> NoReturn:
        name = f"the static tensor {array.name!r}" if isinstance(array, StaticTensor) else "a static tensor"
        raise ConcretizationError(
            f"{what} needs the value of {name} ({array.type}), which only a run can know",
            hint="fetch it with session.run(tensor, feed_dict), or choose within the graph: gc.where(condition, a, b)",
            cause=ConcretizationError.CONDITION if what == CONDITION else None,
        )

    def foreign(self, tracer: Tracer) -> NoReturn:
        if isinstance(tracer, StaticTensor):
            raise self._wrong_graph(f"the tensor {tracer.name!r} ({tracer.type})", tracer.context)
        super().foreign(tracer)

    def _wrong_graph(self, what: str, other: Graph) -> WrongGraphError:
        return WrongGraphError(
            f"{what} belongs to the graph {other.name}, and was used with {self.name}"
            if other.name != self.name
            else f"{what} belongs to another graph",
            hint="build everything that works together under one `with graph:`, and run it in a Session(graph) of its own",
        )

    # The graph as IR

    def to_ir(self, fetches: Sequence[Any], feeds: Sequence[Any] | None = None, variables: Sequence[Any] = ()) -> IRGraph:
        """The part of the graph that ``fetches`` need, as a function.

        Parameters: the feeds, in the order given (None: the placeholders needed, in the order made), Variables (``variables``
        in the order given, then the other needed ones in the order made), captured tensors. Outputs: the fetches that have
        values, the new values of Variables that are assigned, in the order of their parameters, then of captured tensors that
        are written; the alias table pairs each new value with its parameter. Raises FeedError where a placeholder is missing.
        """
        given = None if feeds is None else [self.feed_key(f) for f in feeds]
        return lower(self, [self.element_of(f) for f in fetches], given, [v.parameter for v in variables]).ir

    def feed_key(self, value: Any) -> Value:
        """The value that feeding ``value`` replaces."""
        element = self.element_of(value)
        if isinstance(element, Operation):
            raise ArgumentError(f"the operation {element.name!r} has no value, so it cannot be fed")
        return value.parameter if isinstance(value, Placeholder) else element

    def __repr__(self) -> str:
        counts = f"{len(self.placeholders)} placeholders, {len(self.variables)} Variables, {len(self._serials)} nodes"
        return f"<Graph {self.name!r}: {counts}>"


def _short(value: Any) -> str:
    text = f"{value!r} ({type(value).__name__})"
    return text if len(text) <= 80 else text[:77] + "..."


def get_default_graph() -> Graph:
    """The graph of the innermost ``with graph:`` (or ``with Session(graph):``) block; else this thread's own, made at need."""
    if defaults.graphs:
        return defaults.graphs[-1]
    if defaults.own_graph is None:
        defaults.own_graph = Graph("default")
    return defaults.own_graph


def reset_default_graph() -> None:
    """Begin anew: this thread's default graph is an empty one from now on. Raises StaticGraphError within a ``with`` block."""
    if defaults.graphs:
        raise StaticGraphError(
            "reset_default_graph() within a `with graph:` or `with Session():` block", hint="leave the block first"
        )
    defaults.own_graph = None
