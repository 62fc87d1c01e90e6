"""``f.verify(*args)``: every level of optimization against the reference, and where the first difference comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.compile import compile_graph
from graphc.dtypes import as_dtype
from graphc.frontends.debug.agreement import differing
from graphc.ir.graph import Graph, Node, Value
from graphc.ir.printer import node_lines
from graphc.locations import Location
from graphc.ops.core import evaluate_graph, walk_graph
from graphc.passes.base import Pass
from graphc.passes.inline import Inline
from graphc.passes.pipeline import Pipeline, pipeline
from graphc.rewrite.driver import Firing

#: Relative difference that two correct computations may show, by dtype; 0 for integers and bools.
_TOLERANCE: Final = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}


_NOTHING: Final = Pipeline("as it is", ())


class Difference(NamedTuple):
    """Results that differ: ``what`` (which output or node, how much), and what is to blame for it as far as it was found."""

    what: str
    culprit: str
    location: Location | None = None

    def __str__(self) -> str:
        text = f"{self.what}\n  {self.culprit}"
        return text + f"\n  at {self.location.render()}" if self.location is not None and self.location.line else text


class Level(NamedTuple):
    """One level of optimization: its ``name``, and how it differs from the reference (None: it does not)."""

    name: str
    difference: Difference | None


class Verification(NamedTuple):
    """What :meth:`verify` found: a :class:`Level` for each that was compared, up to the first that differs."""

    name: str
    levels: tuple[Level, ...]

    @property
    def agrees(self) -> bool:
        """Whether every level gave what the reference gives."""
        return all(level.difference is None for level in self.levels)

    @property
    def difference(self) -> Difference | None:
        """The first difference."""
        return next((level.difference for level in self.levels if level.difference is not None), None)

    def __str__(self) -> str:
        lines = [f"{self.name}: " + ("all levels agree with the reference" if self.agrees else "results differ")]
        width = max((len(level.name) for level in self.levels), default=0)
        for level in self.levels:
            lines.append(f"  {level.name:<{width}}  {'agrees' if level.difference is None else 'DIFFERS'}")
        if self.difference is not None:
            lines += str(self.difference).splitlines()
        return "\n".join(lines)


def verify_levels(
    graph: Graph,
    arrays: Sequence[Any],
    *,
    target: str = "cpu",
    passes: Pipeline | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> Verification:
    """Run ``graph`` on ``arrays`` with each level of optimization and compare with the reference interpreter.

    Levels: the graph after each pass of ``passes`` (by default those of ``target``), run by the interpreter; then compiled for
    ``target`` without and with those passes. At the first level that differs, the difference is traced: to the rule that
    made it, by running the pass with fewer and fewer firings, or to the node whose code gives something else than NumPy.
    Floats may differ by ``atol + rtol * |x|``, with a default by dtype that allows for another order of summation.
    """
    near = _Comparison(rtol, atol)
    arrays = [np.asarray(array) for array in arrays]
    order = passes if passes is not None else pipeline(target)
    expected = evaluate_graph(graph, arrays)
    levels: list[Level] = []
    current = graph
    for each in order.passes:
        if not each.applies(current):
            continue
        after = each.run(current)
        found = near.first_difference(evaluate_graph(after, arrays), expected)
        difference = None
        if found is not None:
            culprit, location = _blame_rule(each, current, lambda g: _differs(near, g, arrays, expected))
            difference = Difference(found, culprit, location)
        levels.append(Level(f"pass {each.name}", difference))
        if difference is not None:
            return Verification(graph.name, tuple(levels))
        current = after
    for name, prepared in ((f"{target}, no passes", Inline().run(graph)), (f"{target}, all passes", current)):
        run = compile_graph(prepared, target, pipeline=_NOTHING)
        found = near.first_difference(run(*arrays), expected)
        difference = None
        if found is not None:
            culprit, location = _blame_node(prepared, arrays, target, near)
            difference = Difference(found, culprit, location)
        levels.append(Level(name, difference))
        if difference is not None:
            break
    return Verification(graph.name, tuple(levels))


class _Comparison:
    def __init__(self, rtol: float | None, atol: float | None) -> None:
        self.rtol = rtol
        self.atol = atol

    def first_difference(self, actual: Sequence[Any], expected: Sequence[Any], what: str = "output") -> str | None:
        """A sentence about the first array of ``actual`` that is not near that of ``expected``."""
        for number, (mine, theirs) in enumerate(zip(actual, expected, strict=True)):
            wrong = self._wrong(np.asarray(mine), np.asarray(theirs))
            if wrong is not None and wrong.any():
                where = tuple(int(i) for i in np.argwhere(wrong)[0])
                place = f" at [{', '.join(map(str, where))}]" if where else ""
                return (
                    f"{what} {number} differs in {int(wrong.sum())} of {wrong.size} elements, first{place}: "
                    f"{np.asarray(mine)[where]!s} instead of {np.asarray(theirs)[where]!s}"
                )
            if wrong is None:
                return f"{what} {number} has type {_type(mine)} instead of {_type(theirs)}"
        return None

    def _wrong(self, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray | None:
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return None
        tolerance = _TOLERANCE.get(as_dtype(mine.dtype).name, 0.0)
        wide = theirs.astype(np.float64)
        scale = float(np.abs(wide).max(initial=0.0, where=np.isfinite(wide)))
        rtol = tolerance if self.rtol is None else self.rtol
        atol = tolerance * scale if self.atol is None else self.atol
        return differing(mine, theirs, rtol, atol)


def _type(array: Any) -> str:
    array = np.asarray(array)
    return f"{as_dtype(array.dtype).short}{list(array.shape)}"


def _differs(near: _Comparison, graph: Graph, arrays: Sequence[Any], expected: Sequence[Any]) -> bool:
    return near.first_difference(evaluate_graph(graph, arrays), expected) is not None


def _blame_rule(each: Pass, graph: Graph, differs: Callable[[Graph], bool]) -> tuple[str, Location | None]:
    """The firing of ``each`` on ``graph`` without which the results would still be right."""
    firings: list[Firing] = []
    each.run(graph, firings.append)
    if not firings or differs(_with_firings(each, graph, 0)):
        return f"the pass {each.name} changes the results", None
    low, high = 0, len(firings)  # with `low` firings the results are right, with `high` wrong
    while high - low > 1:
        middle = (low + high) // 2
        if differs(_with_firings(each, graph, middle)):
            high = middle
        else:
            low = middle
    firing = firings[high - 1]
    text = f"the rule {firing.rule} of {each.name} changes the results (firing {high} of {len(firings)}, on {firing.op})"
    return text, firing.location


def _with_firings(each: Pass, graph: Graph, count: int) -> Graph:
    """What ``each`` makes of ``graph`` with its first ``count`` firings only."""
    left = count

    def allow(_: Firing) -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    return each.run(graph, allow)


def _blame_node(
    graph: Graph, arrays: Sequence[Any], target: str, near: _Comparison
) -> tuple[str, Location | None]:
    """The first node of ``graph`` whose compiled code gives something else than NumPy.

    First all values are outputs of one program. Where that hides the difference, because what was fused is not any more, the
    graph is cut off after a node, for fewer and fewer nodes.
    """
    walker = walk_graph(graph, arrays)
    expected: dict[Node, Sequence[Any]] = {step.node: step.results for step in walker if step.results}
    nodes = [node for node in expected if node.op.name != "constant"]
    lines = node_lines(graph)
    values = [value for node in nodes for value in node.results]
    found = _run(graph, values, arrays, target)
    position = 0
    for node in nodes:
        mine = found[position : position + len(node.results)]
        position += len(node.results)
        what = near.first_difference(mine, expected[node], "result")
        if what is not None:
            return f"first in {lines[node]}, where {what}", node.location
    low, high = 0, len(nodes)
    while high - low > 1:
        middle = (low + high) // 2
        node = nodes[middle - 1]
        if near.first_difference(_run(graph, node.results, arrays, target), expected[node]) is None:
            low = middle
        else:
            high = middle
    node = nodes[high - 1]
    return f"in the kernel that computes {lines[node]}; node by node the values are right", node.location


def _run(graph: Graph, values: Sequence[Value], arrays: Sequence[Any], target: str) -> list[Any]:
    """``values`` of ``graph``, compiled as the only outputs."""
    part = graph.replace(outputs=values, aliases={})
    results: list[Any] = compile_graph(part, target, pipeline=_NOTHING)(*arrays)
    return results
