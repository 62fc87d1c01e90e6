"""What passes did, for ``--trace-passes``: as comments above the result, or as JSON beside it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from graphc.cli.stages import Trace


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """The options about what passes did."""
    group = parser.add_argument_group("passes")
    group.add_argument(
        "--trace-passes", action="store_true", help="say for each pass how the size changed and which rules fired"
    )
    group.add_argument("--trace-firings", action="store_true", help="the same, with the line of each firing")
    group.add_argument("--trace-diff", action="store_true", help="the same, with what each pass changed in the text")
    group.add_argument("--times", action="store_true", help="the same, with seconds (which differ from run to run)")


def wants_trace(arguments: argparse.Namespace) -> bool:
    """Whether some option asks for it."""
    return bool(arguments.trace_passes or arguments.trace_firings or arguments.trace_diff or arguments.times)


def trace_text(trace: Trace, arguments: argparse.Namespace, prefix: str) -> str:
    """The trace as comment lines that start with ``prefix``, with an empty line below."""
    lines = trace.records.render(seconds=arguments.times, firings=arguments.trace_firings).splitlines()
    if arguments.trace_diff:
        for diff in filter(None, trace.diffs()):
            lines += ["", *diff.splitlines()]
    return "".join(f"{prefix}{line}".rstrip() + "\n" for line in lines) + "\n"


def trace_data(trace: Trace, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The trace as JSON data, an object a pass."""
    records: list[dict[str, Any]] = json.loads(trace.records.to_json(seconds=arguments.times))
    for record, diff in zip(records, trace.diffs() if arguments.trace_diff else [], strict=False):
        record["diff"] = diff.splitlines()
    if not arguments.trace_firings:
        for record in records:
            del record["firings"]
    return records
