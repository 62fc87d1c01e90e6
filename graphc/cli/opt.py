"""``graphc opt``: chosen passes over the text of a graph."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import Final

from graphc.cli.render import add_output_options, render_graph, to_json_text, wants_color, write_result
from graphc.cli.stages import new_trace, run_passes
from graphc.cli.targets import Request, resolve
from graphc.cli.tracing import add_trace_options, trace_data, trace_text, wants_trace
from graphc.errors import ArgumentError
from graphc.ir.json_form import to_json
from graphc.locations import UNKNOWN
from graphc.passes.pipeline import PIPELINES, Pipeline, pipeline
from graphc.passes.registry import PASSES, parse_pipeline

_DESCRIPTION: Final = """\
Run passes over a graph in text form, in the order given, and print the result. The graph is verified before and after
each pass."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc opt``."""
    parser.description, parser.epilog = _DESCRIPTION, _epilog()
    parser.add_argument("file", metavar="FILE.gir", help="the text of a graph; - for standard input")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--passes", metavar="PASSES", help='such as "canonicalize,cse"; default: all those for --target')
    which.add_argument("--target", choices=tuple(PIPELINES), default="cpu", help="whose passes to run (default: cpu)")
    add_trace_options(parser)
    add_output_options(parser)


def _epilog() -> str:
    lines = ["passes:"]
    width = max(map(len, PASSES))
    for name, cls in PASSES.items():
        lines += textwrap.wrap(
            _first_sentence(cls.__doc__ or ""),
            width=100,
            initial_indent=f"  {name.ljust(width)}  ",
            subsequent_indent=" " * (width + 4),
        )
    lines += ["", *(f"for {target}: {str(pipeline(target)) or 'none'}" for target in PIPELINES)]
    lines += ["", "examples:", '  graphc opt model.gir --passes "inline,canonicalize{fast_math=true},dce"']
    lines += ['  graphc dump model.py:f --input "f32[3]" | graphc opt - --passes cse --trace-diff']
    return "\n".join(lines)


def _first_sentence(docstring: str) -> str:
    """The first sentence, without the markup for names."""
    plain = re.sub(r"(?::\w+:)?`+([^`]*)`+", r"\1", " ".join(docstring.split()))
    return plain.partition(". ")[0]


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc opt``."""
    if arguments.file != "-" and not arguments.file.endswith(".gir"):
        raise ArgumentError(
            f"{arguments.file} is not a .gir file", hint="graphc dump writes one: -o model.gir", location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )
    if arguments.passes is None:
        passes = pipeline(arguments.target)
    else:
        passes = Pipeline("passes", parse_pipeline(arguments.passes))
    trace = new_trace() if wants_trace(arguments) else None
    graph = run_passes(resolve(Request(arguments.file)), passes, trace)
    if arguments.format == "json":
        data = to_json(graph, locations=arguments.locations)
        text = to_json_text(data if trace is None else {"passes": trace_data(trace, arguments), "result": data})
    else:
        text = render_graph(graph, arguments.format, locations=arguments.locations, color=wants_color(arguments))
        if trace is not None:
            text = trace_text(trace, arguments, "// " if arguments.format == "dot" else "# ") + text
    write_result(text, arguments.output)
    return 0
