"""A graph run by :func:`graphc.ops.core.evaluate_graph`, under the same contract as a compiled executable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir.graph import Graph
from graphc.ops.core import evaluate_graph


class Interpreter:
    """``Interpreter(graph)(*arrays)`` gives a list of new arrays, one an output, that share no memory."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, *arrays: Any) -> list[np.ndarray]:
        types = self.graph.parameter_types
        if len(arrays) != len(types):
            raise ArgumentError(
                f"{self.graph.name} takes {len(types)} inputs, {len(arrays)} were given", cause=ArgumentError.COUNT
            )
        inputs = [np.asarray(array) for array in arrays]
        for number, (parameter, array) in enumerate(zip(self.graph.parameters, inputs, strict=True)):
            if array.dtype != parameter.dtype.numpy:
                name = parameter.node.name or f"input {number}"
                raise DTypeError(
                    f"{name} has dtype {array.dtype}, but {parameter.type} was declared", cause=DTypeError.DECLARED
                )
        return [np.array(result, order="C") for result in evaluate_graph(self.graph, inputs)]

    def stages(self) -> Mapping[str, str]:
        """An interpreter lowers nothing: no stages."""
        return {}


def compile(graph: Graph, *, fast_math: bool = False) -> Interpreter:
    """``graph`` as it is; ``fast_math`` changes nothing here."""
    return Interpreter(graph)
