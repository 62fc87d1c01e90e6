"""``graphc diff``: whether two graphs, or two stages of one, are structurally equal, and where they differ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphc.cli.comparison import diff_texts, explain_diff
from graphc.cli.render import add_output_options, color_diff, to_json_text, wants_color, write_result
from graphc.cli.stages import STAGES, Lowering, add_stage_options
from graphc.cli.targets import TARGET_HELP, Request, add_target_options, is_in_file, resolve
from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.ir.structure import first_difference, structural_hash
from graphc.locations import UNKNOWN

_DESCRIPTION: Final = """\
Compare two graphs, or one at two stages. Graphs are equal if their structure is: names, locations and what symbolic
sizes are called do not count. Code (stages kernels, source, llvm, asm) is compared as text.

Exits with 0 if they are equal, 1 if they differ, 2 for an error."""

_EPILOG: Final = """\
examples:
  graphc diff eager.gir jit.gir
  graphc diff model.py:old model.py:new --input "f32[n]" --stage optimized
  graphc diff model.gir --stages traced optimized"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc diff``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("a", metavar="A", help=TARGET_HELP)
    parser.add_argument("b", metavar="B", nargs="?", help="the same; left out with --stages")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stage", choices=STAGES, default="traced", help="at which stage to compare (default: traced)")
    which.add_argument("--stages", choices=STAGES, nargs=2, metavar=("STAGE", "STAGE"), help="one stage for each side")
    add_target_options(parser)
    parser.add_argument("--input-b", action="append", metavar="SPEC", help="what B is traced with, where that is not --input")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing; the exit code says it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_stage_options(parser)
    add_output_options(parser, formats=False)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: what it is called and what it is."""

    name: str
    content: Graph | Mapping[str, str]

    @property
    def text(self) -> str:
        """The code, where it is code."""
        assert not isinstance(self.content, Graph)
        return "\n\n\n".join(text.strip("\n") for text in self.content.values()) + "\n"

    def describe(self) -> dict[str, Any]:
        """What JSON says about it."""
        if not isinstance(self.content, Graph):
            return {"name": self.name}
        return {"name": self.name, "nodes": len(self.content.nodes()), "sha256": structural_hash(self.content)}


@dataclass(frozen=True)
class Difference:
    """How two sides compare: ``first`` is the first difference in structure, None where there is none."""

    equal: bool
    first: str | None
    lines: list[str]


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc diff``."""
    a, b = _sides(arguments)
    found = compare(a, b)
    if arguments.json:
        text = to_json_text(
            {
                "equal": found.equal,
                "a": a.describe(),
                "b": b.describe(),
                "first_difference": found.first,
                "diff": found.lines,
            }
        )
    else:
        text = _report(a, b, found, wants_color(arguments))
    if not arguments.quiet or arguments.output:
        write_result(text, arguments.output)
    return 0 if found.equal else 1


def _sides(arguments: argparse.Namespace) -> tuple[Side, Side]:
    if (arguments.b is None) != (arguments.stages is not None):
        if arguments.b is None:
            raise ArgumentError(
                "what is it to be compared with?", hint="give a second target, or --stages A B", location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            )
        stage_a, stage_b = arguments.stages
    elif arguments.stages is not None:
        stage_a, stage_b = arguments.stages
    else:
        stage_a = stage_b = arguments.stage
    lowering = Lowering.of(arguments)
    fetches, script = tuple(arguments.fetch), tuple(arguments.script_arguments)
    targets = (arguments.a,) if arguments.b is None else (arguments.a, arguments.b)
    inputs = (arguments.input, arguments.input if arguments.input_b is None else arguments.input_b)
    # The options about functions and static graphs are for the side that is one, if the other is not.
    general = not any(map(is_in_file, targets))
    graphs = [
        resolve(
            Request(target, tuple(specs), fetches, script)
            if general or is_in_file(target)
            else Request(target, script_arguments=script)
        )
        for target, specs in zip(targets, inputs, strict=False)
    ]
    graph_a, graph_b = graphs[0], graphs[-1]
    name_b = arguments.a if arguments.b is None else arguments.b
    with_stage = stage_a != stage_b or arguments.a == name_b
    return (
        Side(f"{arguments.a} ({stage_a})" if with_stage else arguments.a, lowering.at(graph_a, stage_a)),
        Side(f"{name_b} ({stage_b})" if with_stage else name_b, lowering.at(graph_b, stage_b)),
    )


def compare(a: Side, b: Side) -> Difference:
    """How ``a`` and ``b`` differ. Raises ArgumentError where one is a graph and the other is code."""
    if isinstance(a.content, Graph) and isinstance(b.content, Graph):
        first = first_difference(a.content, b.content)
        lines = [] if first is None else explain_diff(a.content, b.content, a.name, b.name)
        return Difference(first is None, first, lines)
    if isinstance(a.content, Graph) or isinstance(b.content, Graph):
        raise ArgumentError(
            "a graph cannot be compared with code",
            hint="choose two alike stages",
            location=UNKNOWN,
            cause=ArgumentError.COMMAND,
        )
    lines = diff_texts(a.text, b.text, a.name, b.name)
    return Difference(not lines, None, lines)


def _report(a: Side, b: Side, found: Difference, color: bool) -> str:
    if found.equal:
        if isinstance(a.content, Graph):
            return f"equal: {_counted(len(a.content.nodes()))}, sha256 {structural_hash(a.content)[:16]}\n"
        return "equal\n"
    lines = color_diff(found.lines) if color else list(found.lines)
    if found.first is not None:
        lines += ["", "first difference: " + found.first.replace("\n", "\n  ")]
    return "\n".join(lines).lstrip("\n") + "\n"


def _counted(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"
