"""What ``f.explain()`` gives: the traces of a function, as objects, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.frontends.tracing.causes import Cause, show_guard
from graphc.frontends.tracing.tiers import TierRecord
from graphc.locations import Location
from graphc.runtime.compile_log import COMPILED, DISK, MEMORY, CompileLog

if TYPE_CHECKING:
    from graphc.frontends.tracing.families import Family
    from graphc.frontends.tracing.program import TracedProgram

_ORIGINS = {COMPILED: "compiled", DISK: "from disk", MEMORY: "in memory"}


@dataclass(frozen=True)
class TraceGuard:
    """A condition that a trace holds under, and the line that made it one."""

    condition: str
    location: Location


@dataclass(frozen=True)
class Trace:
    """One trace: ``causes``; ``inputs``, the name and type of each; ``guards``; ``note``, why sizes that vary are fixed, where
    they are; ``log``, what compiling took, which is empty until the first run; ``tier``, how a trace of ``jit(tier="auto")``
    went over to compiled code."""

    number: int
    causes: tuple[Cause, ...]
    inputs: tuple[tuple[str, str], ...]
    guards: tuple[TraceGuard, ...]
    note: str = ""
    nodes: int = 0
    log: CompileLog = field(default_factory=CompileLog, compare=False)
    tier: TierRecord | None = field(default=None, compare=False)

    @classmethod
    def of(cls, number: int, causes: Sequence[Cause], program: TracedProgram, family: Family) -> Trace:
        """The record of a trace that made ``program``."""
        symbols = program.symbols
        guards = [TraceGuard(f"{family.labels[g.leaf]} == {g.value!r}", g.location) for g in program.guards]
        guards += [TraceGuard(show_guard(guard, symbols.labels), guard.location) for guard in symbols.guards]
        inputs = program.describe_inputs(family.labels)
        return cls(number, tuple(causes), inputs, tuple(guards), family.fixed, program.size, program.log, program.tier_record)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        kernels = tuple(self.log.kernels)  # another thread may be compiling
        return {
            "number": self.number,
            "causes": [cause.to_dict() for cause in self.causes],
            "inputs": [{"name": name, "type": type_} for name, type_ in self.inputs],
            "guards": [{"condition": g.condition, "location": str(g.location)} for g in self.guards],
            "note": self.note or None,
            "nodes": self.nodes,
            "phases": dict(self.log.phases),
            "kernels": [kernel._asdict() for kernel in kernels],
            "cache_hits": {origin: sum(kernel.origin == origin for kernel in kernels) for origin in (MEMORY, DISK)},
            "copies": [copied.to_dict() for copied in tuple(self.log.copies)],
            "tier": None if self.tier is None else self.tier.to_dict(),
        }

    def __str__(self) -> str:
        lines: list[str] = []
        for cause in self.causes:
            lines.append(f"  also {cause.summary}" if lines else f"trace {self.number}: {cause.summary}")
            if cause.location.line:
                lines += [f"    {line}" for line in f"needed at {cause.location.render()}".splitlines()]
        lines += [f"  avoid: {advice}" for advice in dict.fromkeys(c.advice for c in self.causes if c.advice)]
        lines.append("  inputs: " + (", ".join(f"{name} {type_}" for name, type_ in self.inputs) or "none"))
        if self.note:
            lines.append(f"  sizes are fixed: {self.note}")
        if self.guards:
            lines.append("  guards:")
            for guard in self.guards:
                source = guard.location.source_line.strip() if guard.location.line else ""
                place = f"{guard.location.filename}:{guard.location.line}" if guard.location.line else "unknown line"
                lines.append(f"    {guard.condition}   {place}" + (f": {source}" if source else ""))
        lines.append("  phases: " + ", ".join(f"{name} {1000 * s:.1f} ms" for name, s in dict(self.log.phases).items()))
        lines.append("  kernels: " + self._kernels())
        for copied in tuple(self.log.copies):
            lines.append(f"  not in place: {copied.render()}")
        if self.tier is not None:
            lines.append(f"  tier: {self.tier}")
        return "\n".join(lines)

    def _kernels(self) -> str:
        kernels = tuple(self.log.kernels)
        if not kernels:
            return "none" if "kernels" in self.log.phases else "not compiled yet"
        origins = Counter(kernel.origin for kernel in kernels)
        counts = ", ".join(f"{origins[origin]} {text}" for origin, text in _ORIGINS.items() if origins[origin])
        return f"{len(kernels)} ({counts}): " + ", ".join(kernel.name for kernel in kernels)


@dataclass(frozen=True)
class Explanation:
    """The traces of the function ``name``; ``count`` of them, of which the latest thousand are here."""

    name: str
    count: int
    traces: tuple[Trace, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what :meth:`to_json` writes."""
        return {"name": self.name, "trace_count": self.count, "traces": [trace.to_dict() for trace in self.traces]}

    def to_json(self, *, indent: int | None = 2) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def __str__(self) -> str:
        head = f"{self.name}: {self.count} trace{'' if self.count == 1 else 's'}"
        return "\n".join([head, *map(str, self.traces)])

    def __repr__(self) -> str:
        return str(self)
