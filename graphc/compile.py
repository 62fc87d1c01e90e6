"""Graph + target name → something that runs."""

from __future__ import annotations

import graphc.ops  # noqa: F401 - fills the registry of primitives
from graphc.errors import ArgumentTypeError
from graphc.ir.graph import Graph
from graphc.passes.inline import Inline
from graphc.passes.pipeline import Pipeline
from graphc.passes.pipeline import pipeline as default_pipeline
from graphc.passes.trace import PassTrace
from graphc.runtime.compile_log import phase
from graphc.runtime.program import NOTHING, Permissions
from graphc.runtime.targets import Compiled, load_backend

_UNOPTIMIZED = Pipeline("unoptimized", (Inline(),))


def compile_graph(
    graph: Graph,
    target: str = "cpu",
    *,
    optimize: bool = True,
    fast_math: bool = False,
    pipeline: Pipeline | None = None,
    trace: PassTrace | None = None,
    permissions: Permissions = NOTHING,
) -> Compiled:
    """``graph`` made to run on ``target``: "cpu" (Numba) or "reference" (NumPy, node by node).

    ``optimize=False`` lowers the graph as it is, with calls inlined. ``pipeline`` replaces the passes that ``target``
    has by default; ``trace`` collects what they did. ``fast_math`` allows changes that alter rounding, NaN or
    infinities. ``permissions``: what may be done to the memory of the inputs; only "cpu" makes use of it.

    Raises BackendError for an unknown target or what the target cannot do.

    >>> double = compile_graph(graph)
    >>> (y,) = double(np.arange(3, dtype="float32"))
    """
    if not isinstance(graph, Graph):
        raise ArgumentTypeError(
            f"compile_graph takes a graph, not {type(graph).__name__}",
            hint="gc.jit(f).graph(*arguments) gives that of a function",
        )
    backend = load_backend(target)
    if pipeline is None:
        pipeline = default_pipeline(target, fast_math=fast_math) if optimize else _UNOPTIMIZED
    with phase("passes"):
        optimized = pipeline.run(graph, trace=trace)
    if permissions == NOTHING or target != "cpu":
        return backend.compile(optimized, fast_math=fast_math)
    return backend.compile(optimized, fast_math=fast_math, permissions=permissions)
