"""The results as a table, JSON and a picture."""

from __future__ import annotations

import json
import math
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .limits import Limits
from .workloads import Workload

OURS = "graphc"


def spread(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return (values[0],) * 3
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high


@dataclass
class Row:
    """One workload: seconds of every call by contender, and what went wrong with others."""

    workload: Workload
    limit: float  # milliseconds
    seconds: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def best(self, library: str) -> float | None:
        """Median milliseconds of ``library``, at whichever number of threads is better."""
        medians = [spread(s)[1] * 1e3 for name, s in self.seconds.items() if name.split("@")[0] == library]
        return min(medians, default=None)

    def peers(self) -> dict[str, float]:
        """Library → median milliseconds, but ours."""
        libraries = {name.split("@")[0] for name in self.seconds} - {OURS}
        return {library: value for library in sorted(libraries) if (value := self.best(library)) is not None}


def _text(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds < 0.01:
        return f"{milliseconds * 1e3:.2f} µs"
    return f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"


def table(rows: list[Row], libraries: list[str]) -> None:
    """Print medians, the ratio best peer : graphc (above 1: graphc is ahead), and how far from the limit it is."""
    out = Table(title="medians; each library at its better number of threads")
    out.add_column("workload")
    for name in [OURS, *libraries]:
        out.add_column(name, justify="right")
    for name in ("peer ÷ graphc", "limit", "goal"):
        out.add_column(name, justify="right")
    ratios: list[float] = []
    for row in rows:
        ours, peers = row.best(OURS), row.peers()
        ratio = min(peers.values()) / ours if ours and peers else None
        if ratio:
            ratios.append(ratio)
        goal = row.workload.goal
        met = "" if goal is None or ours is None else " ✓" if ours <= goal else " ✗"
        out.add_row(
            row.workload.title, _text(ours), *[_text(row.best(name)) for name in libraries],
            "–" if ratio is None else f"{ratio:.2f}",
            _text(row.limit) if row.limit else "–",
            "–" if goal is None else _text(goal) + met,
        )  # fmt: skip
    console = Console(width=None if Console().is_terminal else 200)
    console.print(out)
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        console.print(f"best peer ÷ graphc: {mean:.2f} in the geometric mean of {len(ratios)} workloads")
    for row in rows:
        for name, problem in row.problems.items():
            console.print(f"[yellow]{row.workload.name}, {name}: {problem}", highlight=False)


def as_json(rows: list[Row], limits: Limits, versions: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "system": platform.platform()},
        "versions": versions | {"python": platform.python_version()},
        "limits": asdict(limits),
        "workloads": {
            row.workload.name: {
                "title": row.workload.title, "limit_ms": row.limit, "goal_ms": row.workload.goal,
                "first_call_s": row.first, "problems": row.problems,
                "ms": {n: dict(zip(("low", "median", "high"), (1e3 * v for v in spread(s)), strict=True)) | {"calls": len(s)}
                       for n, s in row.seconds.items()},
            } for row in rows
        },
    }  # fmt: skip


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON, and beside it the picture if matplotlib is there."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def plot(path: Path, rows: list[Row]) -> None:
    """Bars: how many times as long as graphc each library takes, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.best(OURS) and row.peers()]
    libraries = sorted({name for row in shown for name in row.peers()})
    figure, axes = pyplot.subplots(figsize=(10, 0.5 * len(shown) + 1.5), layout="constrained")
    height = 0.8 / max(1, len(libraries))
    for n, library in enumerate(libraries):
        bars = [(y + n * height, row) for y, row in enumerate(shown) if library in row.peers()]
        beyond = [row.peers()[library] / (row.best(OURS) or 1) - 1 for _, row in bars]
        axes.barh([y for y, _ in bars], beyond, height, left=1, label=library)
    axes.axvline(1, color="black")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(shown))], [row.workload.title for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("time ÷ graphc's time (right of the line: graphc is faster)")
    axes.legend()
    figure.savefig(path, dpi=120)
