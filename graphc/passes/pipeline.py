"""Passes in order, for each target.

>>> optimized = pipeline("cpu").run(graph)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from time import perf_counter
from types import MappingProxyType

from graphc.errors import ArgumentError
from graphc.ir.allocation import collection_paused
from graphc.ir.graph import Graph
from graphc.ir.verifier import verify as verify_graph
from graphc.passes.base import Pass
from graphc.passes.canonicalize import Canonicalize, DropStopGradient
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.decompose import Decompose
from graphc.passes.hoist import Hoist
from graphc.passes.inline import Inline
from graphc.passes.merge_regions import MergeRegions
from graphc.passes.simplify_regions import SimplifyRegions
from graphc.passes.trace import PassRecord, PassTrace
from graphc.rewrite.driver import Firing

# What compiles wants the smallest graph in canonical form.
OPTIMIZE: tuple[Pass, ...] = (
    Inline(),  # first: everything after sees through calls
    DropStopGradient(),  # a graph that is compiled is not differentiated any more
    MergeRegions(),  # before rules that look at uses make loops that are equal look different
    Canonicalize(),  # folds and merges on the way
    SimplifyRegions(),  # literals may have become known
    Hoist(),  # looks for products, in canonical form
    Canonicalize(again=True),  # of regions that are new, and what came out of them
    Dce(),  # folding may have made checks true
    Cse(),  # dropping checks and guards makes nothing equal, but stays cheap, and holds without canonicalize too
)

# The oracle runs the graph as it was written: a bug of a pass must not reach it.
PIPELINES = MappingProxyType({"cpu": OPTIMIZE, "cuda": (Inline(), Decompose(), *OPTIMIZE[1:]), "reference": ()})


@dataclass(frozen=True)
class Pipeline:
    """``passes`` in order. ``name`` says for what."""

    name: str
    passes: tuple[Pass, ...]

    def run(self, graph: Graph, *, trace: PassTrace | None = None, verify: bool | None = None) -> Graph:
        """``graph`` through all passes; ``trace`` collects what they did.

        ``verify`` checks the graph before and after each pass and raises VerifyError naming the pass; None (the
        default) does so where the environment sets ``GRAPHC_VERIFY=1``.
        """
        checked = os.environ.get("GRAPHC_VERIFY", "") not in ("", "0") if verify is None else verify
        if checked:
            verify_graph(graph, when=f"before {self.name}")
        with collection_paused():
            return self._run(graph, trace, checked)

    def _run(self, graph: Graph, trace: PassTrace | None, checked: bool) -> Graph:
        for each in self.passes:
            if not each.applies(graph):
                continue
            firings: list[Firing] = []
            before = len(graph.nodes()) if trace is not None else 0
            start = perf_counter()
            graph = each.run(graph, firings.append if trace is not None else None)
            seconds = perf_counter() - start
            if checked:
                verify_graph(graph, when=f"after {each.name}")
            if trace is not None:
                trace.records.append(PassRecord(each.name, before, len(graph.nodes()), seconds, tuple(firings)))
        return graph

    def __str__(self) -> str:
        return ",".join(describe(each) for each in self.passes)


def pipeline(target: str, *, fast_math: bool = False) -> Pipeline:
    """The passes for ``target``. ``fast_math`` is handed to the passes that have such an option.

    Raises ArgumentError for an unknown target.
    """
    name = target.partition(":")[0]  # "cuda:sm_90" is for a certain machine
    if name not in PIPELINES:
        raise ArgumentError(
            f"there is no pipeline for {target!r}", hint=f"targets: {', '.join(sorted(PIPELINES))}", cause=ArgumentError.CHOICE
        )
    return Pipeline(target, with_options(PIPELINES[name], fast_math=fast_math))


def with_options(passes: Sequence[Pass], **options: object) -> tuple[Pass, ...]:
    """``passes`` with ``options`` set on those that have a field of that name."""
    changed: list[Pass] = []
    for each in passes:
        own = {f.name: options[f.name] for f in fields(each) if f.name in options}
        changed.append(replace(each, **own) if own else each)
    return tuple(changed)


def describe(each: Pass) -> str:
    """A pass as :func:`graphc.passes.registry.parse_pipeline` reads it: ``canonicalize{fast_math=true}``."""
    options = [
        f"{f.name}={str(value).lower() if isinstance(value, bool) else value}"
        for f in fields(each)
        if (value := getattr(each, f.name)) != f.default
    ]
    return each.name + (f"{{{','.join(options)}}}" if options else "")
