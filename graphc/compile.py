"""Graph + target name → something that runs."""

from __future__ import annotations

from graphc.ir.graph import Graph
from graphc.runtime.targets import Compiled, load_backend


def compile_graph(graph: Graph, target: str = "cpu", *, optimize: bool = True, fast_math: bool = False) -> Compiled:
    """``graph`` made to run on ``target``: "cpu" (Numba) or "reference" (NumPy, node by node).

    >>> double = compile_graph(graph)
    >>> (y,) = double(np.arange(3, dtype="float32"))
    """
    return load_backend(target).compile(graph, fast_math=fast_math)
