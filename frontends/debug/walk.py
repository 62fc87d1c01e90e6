"""``f.step(*args)``: a graph run node by node, each node with its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError
from graphc.frontends.debug.summary import summarize_array
from graphc.ir.graph import Graph, Node
from graphc.ir.printer import node_lines
from graphc.locations import Location
from graphc.ops.core import Place, walk_graph
from graphc.passes.inline import Inline


class Step(NamedTuple):
    """One node that ran: ``number`` (from 0), the ``node`` and its ``text``, its ``operands`` and ``results`` as arrays.

    ``within``: the branches and bodies that it ran in, outermost first; empty unless the walk went into an op.
    """

    number: int
    node: Node
    operands: tuple[np.ndarray, ...]
    results: tuple[np.ndarray, ...]
    text: str
    within: tuple[Place, ...] = ()

    @property
    def iteration(self) -> int | None:
        """Which iteration of the innermost loop that the walk went into, from 0; None outside of loops."""
        return next((place.run.iteration for place in reversed(self.within) if place.run.iteration is not None), None)

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
        if self.within:
            lines.insert(0, f"in {', '.join(map(_describe, self.within))}:")
        lines += [f"     = {summarize_array(result)}" for result in self.results]
        if self.location.line:
            source = self.location.source_line.strip()
            of = "gradient of " if self.location.is_gradient else ""
            lines.append(f"     {of}{self.location.filename}:{self.location.line}" + (f"  {source}" if source else ""))
        return "\n".join(lines)


def _describe(place: Place) -> str:
    iteration = "" if place.run.iteration is None else f", iteration {place.run.iteration}"
    return f"{place.run.part} of {place.op.name}{iteration}"


class Walk(Iterator[Step]):
    """An iterator of the :class:`Step` of each node, in order; nothing runs before its turn.

    A ``cond``, ``while_loop``, ``scan`` and the like is one step, unless :meth:`into` goes into it. ``results`` are the outputs
    of the graph, once the walk is over.
    """

    def __init__(self, graph: Graph, arrays: Sequence[Any]) -> None:
        self.graph = Inline().run(graph)
        self.results: list[Any] | None = None
        self._lines: dict[Graph, Mapping[Node, str]] = {}
        self._enters: Callable[[Node], bool] = _never
        self._walker = walk_graph(self.graph, arrays, self._is_entered)
        self._number = 0
        self._within: tuple[Place, ...] = ()

    def __next__(self) -> Step:
        try:
            node, operands, results, within = next(self._walker)
        except StopIteration as end:
            if self.results is None:
                self.results = end.value
            raise
        graph = within[-1].run.region if within else self.graph
        if graph not in self._lines:
            self._lines[graph] = node_lines(graph)
        arrays, made = tuple(map(np.asarray, operands)), tuple(map(np.asarray, results))
        step = Step(self._number, node, arrays, made, self._lines[graph][node], within)
        self._number += 1
        self._within = within
        return step

    def until(self, what: str | int | Callable[[Step], bool], *, inside: bool = False) -> Step:
        """Go on to the next step that is of the primitive or line ``what``, or for which ``what(step)`` holds.

        With ``inside`` the steps of branches taken and of loop bodies are looked at too, all on the way.
        Raises ArgumentError where there is none: the walk is over then.

        >>> walk = f.step(x)
        >>> step = walk.until("exp")
        >>> step = walk.until(lambda step: not np.isfinite(step.results[0]).all(), inside=True)
        """
        with self._entering(_always if inside else _never):
            for step in self:
                if what(step) if callable(what) else what in (step.op, step.location.line):
                    return step
        raise self._no_step(f"step {getattr(what, '__name__', repr(what))}")

    def into(self, what: str | int | None = None) -> Step:
        """Go on to the next op that runs a branch or a body (only ``what``, its name or line, if given) and into it.

        Returns the first step inside. From there the walk goes through the branch that is taken, or the body of each iteration
        in turn (``step.iteration``), and comes out with the op's own step, which has its results; ops in it are one step each
        until ``into`` is called again. Where nothing is to be run in it, its own step is returned.
        Raises ArgumentError where there is no such op: the walk is over then.

        >>> walk = f.step(x)
        >>> step = walk.into("scan")
        >>> step = walk.until(lambda step: step.iteration == 3)
        """
        entered: list[Node] = []

        def enters(node: Node) -> bool:
            is_it = not entered and (what is None or what in (node.op.name, node.location.line))
            if is_it:
                entered.append(node)
            return is_it

        with self._entering(enters):
            for step in self:
                if entered:
                    return step
        raise self._no_step("op with a branch or body" if what is None else f"op {what!r} with a branch or body")

    def out(self) -> Step:
        """Finish the op that the walk went into last and return its own step. Raises ArgumentError where it is in none."""
        depth = len(self._within)
        if not depth:
            raise ArgumentError(
                f"the walk through {self.graph.name} is not inside of an op", hint="walk.into() goes into the next one"
            )
        return self.until(lambda step: len(step.within) < depth)

    def _is_entered(self, node: Node) -> bool:
        return self._enters(node)

    @contextmanager
    def _entering(self, enters: Callable[[Node], bool]) -> Iterator[None]:
        """Within the ``with``, the walk goes into the nodes for which ``enters`` holds."""
        self._enters = enters
        try:
            yield
        finally:
            self._enters = _never

    def _no_step(self, what: str) -> ArgumentError:
        return ArgumentError(
            f"{self.graph.name} has no {what} after this one",
            hint="a walk goes forward only: start another with f.step(...)",
        )


def _never(_: Node) -> bool:
    return False


def _always(_: Node) -> bool:
    return True
