"""A traced function before it runs: its graph, and what each stage of the compiler makes of it."""

from __future__ import annotations

from typing import Any

from graphc.compile import compile_graph
from graphc.ir.graph import Graph


class Lowered:
    """What ``f.lower(*args)`` gives: ``graph`` as traced, ``as_text()``, and ``compile()`` to the executable."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def as_text(self) -> str:
        """The traced graph in text form."""
        return str(self.graph)

    def compile(self, target: str = "cpu") -> Any:
        """The executable for ``target``: call it on NumPy arrays, one for each parameter."""
        return compile_graph(self.graph, target)

    def __repr__(self) -> str:
        return f"<Lowered {self.graph!r}>"
