"""The elements of a static graph: tensors, placeholders and operations."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphc.errors import StaticGraphError
from graphc.frontends.tracer import Tracer
from graphc.ir.graph import Value
from graphc.locations import current_location

if TYPE_CHECKING:
    from graphc.frontends.static.graph import Graph
    from graphc.frontends.static.session import Session


class _Defaults(threading.local):
    """What this thread's ``with`` blocks chose."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.own_graph: Graph | None = None
        self.sessions: list[Session] = []


defaults = _Defaults()


def default_session(what: str) -> Session:
    """The Session of the innermost ``with`` block. Raises StaticGraphError, which names ``what`` needs it, outside of any."""
    if not defaults.sessions:
        raise StaticGraphError(
            f"{what} needs a Session, and none is the default here",
            hint="call it within `with gc.Session() as session:`, or pass session=",
            cause=StaticGraphError.NO_SESSION,
        )
    return defaults.sessions[-1]


class StaticTensor(Tracer):
    """A tensor of a static graph: it has a name and a type, and a value in each :meth:`Session.run` that needs it."""

    __slots__ = ()
    context: Graph

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.context

    @property
    def name(self) -> str:
        """Its unique name in the graph; results after the first of an op with several end in ``:1``, ``:2``, …"""
        return self.context.name_of(self.element)

    @property
    def element(self) -> Value:
        """The IR value that a fetch or a feed of this tensor means."""
        return self.value

    def eval(self, feed_dict: Mapping[Any, Any] | None = None, session: Session | None = None) -> Any:
        """``session.run(self, feed_dict)``, in the default Session unless one is given."""
        return (session or default_session("eval()")).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.type}>"


class Placeholder(StaticTensor):
    """An input of the graph, given at each run by ``feed_dict``. Made by :func:`placeholder`."""

    __slots__ = ("parameter",)

    def __init__(self, context: Graph, parameter: Value) -> None:
        super().__init__(context, parameter)
        self.parameter = parameter

    @property
    def name(self) -> str:
        return self.parameter.node.name


class Operation:
    """Something that a run does without giving a value: a group of assigns, an initializer. Fetching it gives None."""

    def __init__(self, graph: Graph, name: str, requires: tuple[Element, ...]) -> None:
        self.graph = graph
        self.name = graph.register(name, self)
        self.requires = (*requires, *graph.control_inputs())
        self.location = current_location()

    def run(self, feed_dict: Mapping[Any, Any] | None = None, session: Session | None = None) -> None:
        """Run it, in the default Session unless one is given."""
        (session or default_session("run()")).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<Operation {self.name!r}>"


Element = Value | Operation  # what a run can be asked for
