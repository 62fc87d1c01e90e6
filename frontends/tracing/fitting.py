"""Whether the sizes of a call are among those that a program is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.dims import Dim, evaluate_dim
from graphc.ir.graph import Guard
from graphc.ops.core import RELATIONS


def bind_sizes(declared: Sequence[Sequence[Dim]], shapes: Sequence[Sequence[int]]) -> dict[str, int] | None:
    """The values of the symbols in ``declared``, whose dimensions are ints and bare symbols; None where ``shapes`` differ."""
    bindings: dict[str, int] = {}
    for dims, shape in zip(declared, shapes, strict=True):
        if len(dims) != len(shape):
            return None
        for dim, size in zip(dims, shape, strict=True):
            if dim != size and (isinstance(dim, int) or bindings.setdefault(str(dim), size) != size):
                return None
    return bindings


def violated_guard(guards: Sequence[Guard], sizes: Mapping[str, int]) -> Guard | None:
    """The first of ``guards`` that ``sizes`` do not satisfy."""
    for guard in guards:
        if not RELATIONS[guard.relation](evaluate_dim(guard.lhs, sizes), evaluate_dim(guard.rhs, sizes)):
            return guard
    return None
