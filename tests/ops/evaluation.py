"""Applying one primitive to NumPy arrays, through a graph, as users' programs do."""

from typing import Any

import numpy as np

import graphc.ops  # noqa: F401
from graphc.ir.builder import Builder
from graphc.ops.core import evaluate_graph
from tests.op_record import type_of


def apply(name: str, *arrays: Any, **attributes: Any) -> Any:
    """The result of primitive `name` on `arrays`; a tuple where it has several. Checks the inferred types."""
    operands = [np.asarray(a) for a in arrays]
    b = Builder()
    results = b.emit(name, *[b.parameter(type_of(a)) for a in operands], **attributes)
    values = evaluate_graph(b.finish(results), operands)
    for value, result in zip(values, results, strict=True):
        assert isinstance(value, np.ndarray)
        assert type_of(value) == result.type
    return values[0] if len(values) == 1 else tuple(values)
