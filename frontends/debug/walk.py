"""``f.step(*args)``: a graph run node by node, each node with its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError
from graphc.frontends.debug.summary import summarize_array
from graphc.ir.graph import Graph, Node
from graphc.ir.printer import node_lines
from graphc.locations import Location
from graphc.ops.core import walk_graph
from graphc.passes.inline import Inline


class Step(NamedTuple):
    """One node that ran: ``number`` (from 0), the ``node`` and its ``text``, its ``operands`` and ``results`` as arrays."""

    number: int
    node: Node
    operands: tuple[np.ndarray, ...]
    results: tuple[np.ndarray, ...]
    text: str

    @property
    def op(self) -> str:
        """The name of the primitive."""
        return self.node.op.name

    @property
    def location(self) -> Location:
        """The user's line."""
        return self.node.location

    def __str__(self) -> str:
        lines = [f"{self.number}: {self.text}"]
        lines += [f"     = {summarize_array(result)}" for result in self.results]
        if self.location.line:
            source = self.location.source_line.strip()
            of = "gradient of " if self.location.is_gradient else ""
            lines.append(f"     {of}{self.location.filename}:{self.location.line}" + (f"  {source}" if source else ""))
        return "\n".join(lines)


class Walk(Iterator[Step]):
    """An iterator of the :class:`Step` of each node, in order; nothing runs before its turn.

    ``results`` are the outputs of the graph, once the walk is over.
    """

    def __init__(self, graph: Graph, arrays: Sequence[Any]) -> None:
        self.graph = Inline().run(graph)
        self.results: list[Any] | None = None
        self._lines = node_lines(self.graph)
        self._walker = walk_graph(self.graph, arrays)
        self._number = 0

    def __next__(self) -> Step:
        try:
            node, operands, results = next(self._walker)
        except StopIteration as end:
            if self.results is None:
                self.results = end.value
            raise
        step = Step(
            self._number, node, tuple(map(np.asarray, operands)), tuple(map(np.asarray, results)), self._lines[node]
        )
        self._number += 1
        return step

    def until(self, what: str | int | Callable[[Step], bool]) -> Step:
        """Go on to the next step that is of the primitive or line ``what``, or for which ``what(step)`` holds.

        Raises ArgumentError where there is none: the walk is over then.

        >>> walk = f.step(x)
        >>> step = walk.until("exp")
        >>> step = walk.until(lambda step: not np.isfinite(step.results[0]).all())
        """
        for step in self:
            if what(step) if callable(what) else what in (step.op, step.location.line):
                return step
        raise ArgumentError(
            f"{self.graph.name} has no step {getattr(what, '__name__', repr(what))} after this one",
            hint="a walk goes forward only: start another with f.step(...)",
        )
