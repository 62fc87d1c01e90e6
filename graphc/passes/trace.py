"""What a pipeline did: passes, sizes, times and the rules that fired."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from graphc.rewrite.driver import Firing


@dataclass(frozen=True)
class PassRecord:
    """One run of one pass: nodes before and after, seconds, and each firing in order."""

    name: str
    before: int
    after: int
    seconds: float
    firings: tuple[Firing, ...] = ()

    @property
    def by_rule(self) -> dict[str, int]:
        """How often each rule fired: most often first, then by name."""
        counts = Counter(firing.rule for firing in self.firings)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass
class PassTrace:
    """Collects a :class:`PassRecord` for each pass of a pipeline's run, for ``graphc dump --trace-passes``.

    Text and JSON depend on the graph alone, but for the seconds, which can be left out.
    """

    records: list[PassRecord] = field(default_factory=list)

    def render(self, *, seconds: bool = True, firings: bool = False) -> str:
        """A table of the passes, below each pass its rules; ``firings`` lists each firing with its line instead."""
        rows = [("pass", "nodes", "seconds")]
        below: list[list[str]] = [[]]
        for record in self.records:
            rows.append((record.name, f"{record.before} → {record.after}", f"{record.seconds:.4f}"))
            if firings:
                below.append([f"    {firing}" for firing in record.firings])
            else:
                below.append([f"    {count:>6} × {rule}" for rule, count in record.by_rule.items()])
        shown = [row if seconds else row[:2] for row in rows]
        widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
        lines: list[str] = []
        for row, details in zip(shown, below, strict=True):
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            lines.extend(details)
        return "\n".join(lines)

    def to_json(self, *, seconds: bool = True) -> str:
        """The same as JSON: a list with an object a pass."""
        return json.dumps([_as_dict(record, seconds) for record in self.records], indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return self.render()


def _as_dict(record: PassRecord, seconds: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"pass": record.name, "nodes_before": record.before, "nodes_after": record.after}
    if seconds:
        result["seconds"] = record.seconds
    result["rules"] = record.by_rule
    result["firings"] = [
        {"rule": f.rule, "op": f.op, "file": f.location.filename, "line": f.location.line, "column": f.location.column}
        for f in record.firings
    ]
    return result
