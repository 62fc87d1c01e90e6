"""The programs for calls of one signature, and which sizes of their arguments vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphc.frontends.tracing.causes import Cause, size_cause
from graphc.frontends.tracing.context import Varying
from graphc.frontends.tracing.declared import argument_of
from graphc.frontends.tracing.program import TracedProgram
from graphc.frontends.tracing.signature import Signature, leaf_shapes

_FROM_NOW_ON = ", and any from now on"
_SHARED = "arguments of which one is a view of another keep their sizes; pass copies"


class Family:
    """Programs whose calls differ in sizes, values and captured arrays only; the one used last comes first.

    A size that was seen to differ once is a symbol in programs that are traced later. ``fixed`` says why sizes may not be
    symbols here; it is empty where they may.
    """

    def __init__(self, key: Signature, leaves: Sequence[Any], labels: Sequence[str], declared: Mapping[int, Mapping[int, str]]):
        self.key = key
        self.labels = tuple(labels)
        self.programs: list[TracedProgram] = []
        self.fixed = "static_shapes=True" if key.shapes is not None else _SHARED if key.views else ""
        self._is_untraceable = False
        self._first = leaf_shapes(leaves)
        self.varying: dict[int, dict[int, str]] = {} if self.fixed else {p: dict(axes) for p, axes in declared.items()}

    def find(self, leaves: Sequence[Any]) -> tuple[TracedProgram, list[Any]] | None:
        """The program for a call with these leaves, and the object behind each of its inputs."""
        for place, program in enumerate(self.programs):
            sources = program.match(leaves)
            if sources is not None:
                if place:
                    self.programs.insert(0, self.programs.pop(place))
                return program, sources
        return None

    def causes(self, leaves: Sequence[Any]) -> list[Cause]:
        """Why no program is for a call with these leaves. Sizes that differ from the first call's vary from now on."""
        causes = self._newly_varying(leaves)
        if causes:
            return causes
        return self.programs[0].why_not(leaves, self.labels, self._advice)

    @property
    def _advice(self) -> str:
        return f"call it with few sizes, or mend what is in the way: {self.fixed}" if self._is_untraceable else self.fixed

    def fix(self, obstacle: str) -> None:
        """Sizes are not symbols from now on, because tracing with some failed."""
        self._is_untraceable = True
        self.fixed = f"it cannot be traced with sizes that vary: {obstacle}"

    def settled(self, causes: Sequence[Cause]) -> list[Cause]:
        """``causes``, of which those that are sizes may have turned out not to vary."""
        if not self._is_untraceable:
            return list(causes)
        return [
            replace(c, new=c.new.removesuffix(_FROM_NOW_ON), advice=self._advice) if c.kind == "size" else c for c in causes
        ]

    def _newly_varying(self, leaves: Sequence[Any]) -> list[Cause]:
        found: list[tuple[str, int, int, int]] = []
        if self.fixed:
            return []
        for position, (old, new) in enumerate(zip(self._first, leaf_shapes(leaves), strict=True)):
            if old is None or new is None:
                continue
            for axis, (before, now) in enumerate(zip(old, new, strict=True)):
                axes = self.varying.setdefault(position, {})
                if before != now and axis not in axes:
                    axes[axis] = ""
                    found.append((self.labels[position], axis, before, now))
        advice = _declaration([(label, axis) for label, axis, _, _ in found])
        return [
            size_cause(label, axis, before, f"{now}{_FROM_NOW_ON}", advice) for label, axis, before, now in found
        ]

    def symbolic(self) -> tuple[Varying, list[Any]]:
        """What the next trace makes symbols, and the captured objects that are meant, to be kept alive until then."""
        if self.fixed:
            return Varying(), []
        found: dict[int, tuple[Any, set[int]]] = {}
        for program in self.programs:
            for key, (source, axes) in program.captured_sizes().items():
                found.setdefault(key, (source, set()))[1].update(axes)
        return Varying(self.varying, {key: axes for key, (_, axes) in found.items()}), [source for source, _ in found.values()]


def _declaration(varying: Sequence[tuple[str, int]]) -> str:
    """How to say from the start that these axes of these leaves vary."""
    arguments: dict[str, dict[int, None]] = {}
    for label, axis in varying:
        arguments.setdefault(argument_of(label), {})[axis] = None
    parts = [
        f'"{name}": {next(iter(axes)) if len(axes) == 1 else tuple(sorted(axes))}' for name, axes in arguments.items()
    ]
    return f"declare it from the start: gc.jit(f, dynamic={{{', '.join(parts)}}})"
