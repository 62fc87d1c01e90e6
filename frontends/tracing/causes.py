"""Why a call could not use a program that was there: what differs, in the user's terms, and how to avoid it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.frontends.sizes import show_size
from graphc.frontends.tracing.signature import Signature, Static
from graphc.ir.graph import Guard
from graphc.locations import UNKNOWN, Location


@dataclass(frozen=True)
class Cause:
    """One difference: ``argument``'s ``field`` was ``old`` and is ``new``. ``location``: the line that made it matter, where
    one did. ``advice``: how to avoid the retrace. ``kind`` says which of the causes it is."""

    kind: str
    argument: str = ""
    field: str = ""
    old: str = ""
    new: str = ""
    advice: str = ""
    location: Location = UNKNOWN

    @property
    def summary(self) -> str:
        """One line: ``x: dtype float32 → float64``."""
        if not self.field:
            return self.kind
        return f"{self.argument}: {self.field} {self.old} → {self.new}"

    def __str__(self) -> str:
        text = self.summary
        if self.location.line:
            text += "\n  " + f"needed at {self.location.render()}".replace("\n", "\n  ")
        if self.advice:
            text += f"\n  avoid: {self.advice}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """The fields, with the location as text."""
        fields = ("kind", "argument", "field", "old", "new", "advice")
        return {name: getattr(self, name) for name in fields} | {"location": str(self.location) if self.location.line else None}


FIRST = Cause("first call")
CLEARED = Cause("first call after clear_cache()")
OTHER = Cause("another kind of call")
FORGOTTEN = Cause(
    "the program for this call was forgotten: a function keeps a bounded number",
    advice="let sizes and values vary at run time, or split the function into several",
)


def differences(old: Signature, new: Signature, old_labels: Sequence[str], labels: Sequence[str]) -> list[Cause]:
    """What sets the call of signature ``new`` apart from one of ``old``."""
    if old.tree != new.tree:
        return [_structure(old_labels, labels)]
    causes: list[Cause] = []
    for label, before, now in zip(labels, old.parts, new.parts, strict=True):
        causes += _leaf(label, before, now)
    if old.groups != new.groups:
        causes.append(
            Cause(
                "aliasing", "arguments", "shared memory", _groups(old.groups, labels), _groups(new.groups, labels),
                "pass copies, or the same array each time",
            )
        )  # fmt: skip
    elif old.views != new.views:
        names = ", ".join(dict.fromkeys(labels[position] for position, _, _ in new.views or old.views))
        causes.append(
            Cause("view", names, "views of one memory", _shapes(old.views), _shapes(new.views), "pass copies, or views alike")
        )
    if old.grad_enabled != new.grad_enabled:
        causes.append(
            Cause(
                "gradient mode", "gradient mode", "gradients are", _on(old.grad_enabled), _on(new.grad_enabled),
                "call it always, or never, within `with gc.no_grad():`",
            )
        )  # fmt: skip
    if old.device != new.device:
        causes.append(
            Cause(
                "device", "default device", "device", old.device or "cpu", new.device or "cpu",
                "call it with one default device, or pass tensors, which say where to run",
            )
        )  # fmt: skip
    if old.shapes is not None and new.shapes is not None and len(old.shapes) == len(new.shapes):
        for label, before, now in zip(labels, old.shapes, new.shapes, strict=True):
            if before is not None and now is not None and len(before) == len(now):
                causes += [
                    size_cause(label, axis, a, b, "leave static_shapes=True out: then the size may vary")
                    for axis, (a, b) in enumerate(zip(before, now, strict=True))
                    if a != b
                ]
    return causes


def size_cause(label: str, axis: int, old: int, new: int | str, advice: str) -> Cause:
    """A size that is fixed in the program."""
    return Cause("size", f"{label}.shape[{axis}]", "size", str(old), str(new), advice)


def guard_cause(guard: Guard, old: Mapping[str, int], new: Mapping[str, int], labels: Mapping[str, str]) -> Cause:
    """A guard that the sizes ``new`` violate."""
    return Cause(
        "guard",
        show_guard(guard, labels),
        "held for",
        _values(guard, old, labels),
        _values(guard, new, labels),
        "make the code independent of the size there, or call it with sizes that satisfy the guard",
        guard.location,
    )


def show_guard(guard: Guard, labels: Mapping[str, str]) -> str:
    """``x.shape[0] == y.shape[0]``."""
    return f"{show_size(guard.lhs, labels)} {guard.relation} {show_size(guard.rhs, labels)}"


def _values(guard: Guard, sizes: Mapping[str, int], labels: Mapping[str, str]) -> str:
    names = dict.fromkeys(name for dim in (guard.lhs, guard.rhs) if not isinstance(dim, int) for name in dim.symbols())
    return ", ".join(f"{labels.get(name, name)} = {sizes.get(name, '?')}" for name in names)


def _structure(old: Sequence[str], new: Sequence[str]) -> Cause:
    gone = [label for label in old if label not in new]
    come = [label for label in new if label not in old]
    return Cause(
        "structure",
        "arguments",
        "structure",
        ", ".join(gone or old) or "none",
        ", ".join(come or new) or "none",
        "pass containers of one type, length and keys",
    )


def _leaf(label: str, old: Any, new: Any) -> list[Cause]:
    if old == new:
        return []
    if isinstance(old, Static) and isinstance(new, Static):
        by_identity = old.by_identity or new.by_identity
        return [
            Cause(
                "static value", label, "value", _short(old), _short(new),
                "pass the same object each time: objects are compared by identity" if by_identity
                else "values of this type are part of the graph; pass an array or a number if it may vary at run time",
            )
        ]  # fmt: skip
    if not (isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new) == 5):
        return [Cause("class", label, "class", _class(old), _class(new), "pass values of one class each time")]
    causes: list[Cause] = []
    if old[0] is not new[0]:
        advice = f'convert it before the call: {label}.astype("{old[0].name}")'
        causes.append(Cause("dtype", label, "dtype", old[0].name, new[0].name, advice))
    if old[1] != new[1]:
        causes.append(Cause("rank", label, "rank", str(old[1]), str(new[1]), "reshape it to one number of dimensions"))
    if old[2] != new[2]:
        causes.append(
            Cause(
                "weak type", label, "weak dtype", _yes(old[2]), _yes(new[2]),
                "results of arithmetic on Python numbers alone are weak; make the array with gc.tensor(value, dtype=...)",
            )
        )  # fmt: skip
    if old[3] != new[3]:
        causes.append(
            Cause("requires_grad", label, "requires_grad", str(old[3]), str(new[3]), f"detach it: {label}.detach()")
        )
    if old[4] != new[4]:
        advice = f'move it before the call: {label}.to("{old[4]}")'
        causes.append(Cause("device", label, "device", str(old[4]), str(new[4]), advice))
    return causes


def _class(part: Any) -> str:
    if isinstance(part, Static):
        return type(part.value).__name__
    return part.__name__ if isinstance(part, type) else "array"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _groups(groups: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    return "; ".join(" and ".join(labels[position] for position in group) for group in groups) or "none"


def _shapes(views: Sequence[tuple[int, Any, Any]]) -> str:
    return ", ".join(str(tuple(shape)) for _, _, shape in views) or "none"


def _on(enabled: bool) -> str:
    return "on" if enabled else "off"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"

