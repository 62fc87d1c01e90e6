"""What a program needs of memory, known before it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.dims import evaluate_dim
from graphc.ir.types import Bindings, TensorType
from graphc.runtime.arena import Lifetime, plan_arena
from graphc.runtime.program import Program
from graphc.runtime.storage import Storage, Temporary


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes for one set of sizes. Results that are in the memory of parameters count as parameters.

    ``separate`` is what the temporaries would take if each had memory of its own.
    """

    parameters: int
    literals: int
    temporaries: int
    results: int
    separate: int

    @property
    def peak(self) -> int:
        """What a call has in use at most: all of it, since results exist from its beginning."""
        return self.parameters + self.literals + self.temporaries + self.results

    def describe(self) -> str:
        """A line for each part."""
        rows = [
            ("parameters", self.parameters, ""),
            ("constants", self.literals, ""),
            ("temporaries", self.temporaries, f" ({_bytes(self.separate)} without reuse)" if self.separate else ""),
            ("results", self.results, ""),
            ("peak", self.peak, ""),
        ]
        return "\n".join(f"{name:<12}{_bytes(size):>14}{note}" for name, size, note in rows)


def plan_memory(program: Program, storage: Storage, bindings: Bindings) -> MemoryPlan:
    """The plan of ``program`` with the sizes ``bindings``."""
    arena = plan_arena(lifetimes_of(storage.temporaries, bindings))
    return MemoryPlan(
        parameters=_total([program.slots[slot] for slot in program.parameters], bindings),
        literals=sum(array.nbytes for array in program.literals.values()),
        temporaries=arena.size,
        results=_total([program.slots[slot] for slot in storage.results], bindings)
        + _total(
            [
                program.slots[slot]
                for output, slot in enumerate(program.outputs)
                if storage.outputs[output] is None and output not in storage.in_place
            ],
            bindings,
        ),
        separate=sum(lifetime.size for lifetime in lifetimes_of(storage.temporaries, bindings)),
    )


def lifetimes_of(temporaries: Sequence[Temporary], bindings: Bindings) -> list[Lifetime]:
    """The temporaries with their sizes in bytes."""
    return [Lifetime(nbytes(t.type, bindings), t.first, t.last) for t in temporaries]


def nbytes(type_: TensorType, bindings: Bindings) -> int:
    return math.prod(evaluate_dim(dim, bindings) for dim in type_.shape) * type_.dtype.numpy.itemsize


def _total(types: Sequence[TensorType], bindings: Bindings) -> int:
    return sum(nbytes(type_, bindings) for type_ in types)


def _bytes(count: int) -> str:
    return f"{count:,} B"
