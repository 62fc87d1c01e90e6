"""``graphc dump``: the graph of a target at a stage of its compilation."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from graphc.cli.render import add_output_options, render_graph, to_json_text, wants_color, write_result
from graphc.cli.stages import CODE_STAGES, STAGES, Lowering, add_stage_options, new_trace
from graphc.cli.targets import TARGET_HELP, Request, add_target_options, resolve
from graphc.cli.tracing import add_trace_options, trace_data, trace_text, wants_trace
from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.ir.json_form import to_json
from graphc.locations import UNKNOWN

_DESCRIPTION: Final = """\
Show the graph of TARGET at a stage of its compilation.

stages:
  traced     as it was written or recorded
  optimized  after the passes for --target
  gradient   the value and gradients of the (summed) first output, optimized
  kernels    the loops that the optimized graph was grouped into, and why
  plan       the instructions, what is in whose memory, and how many bytes a call needs
  source     the Python source of the kernels, as it is handed to Numba
  llvm, asm  what Numba and LLVM made of it
  ptx, sass  what numba-cuda and NVIDIA's assembler made of it, for the target cuda:sm_90 and the like; no GPU is needed
  resources  the registers, shared memory, occupancy and bytes of each kernel there"""

_EPILOG: Final = """\
examples:
  graphc dump model.py:loss --input "f32[batch, 784]" --input "f32[784, 10]"
  graphc dump model.py:loss --input '{"w": f32[3], "b": f32[]}' --stage gradient --wrt w
  graphc dump train.py -- --epochs 1
  graphc dump model.gir --stage optimized --trace-passes
  graphc dump model.gir --target cuda:sm_90 --stage resources
  graphc dump model.gir --format dot | dot -Tsvg -o model.svg

A script runs as with python, under gc.record(); what comes after -- are its arguments. What user code prints goes to
standard error."""

_COMMENT: Final = {"llvm": "; ", "ptx": "// ", "sass": "// "}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc dump``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("target_text", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("--stage", choices=STAGES, default="traced", help="see above (default: traced)")
    add_trace_options(parser)
    add_target_options(parser)
    add_stage_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc dump``."""
    stage: str = arguments.stage
    lowering = Lowering.of(arguments)
    trace = new_trace() if wants_trace(arguments) else None
    if trace is not None and stage == "traced":
        raise ArgumentError(
            "the stage traced is before all passes", hint="add --stage optimized", location=UNKNOWN, cause=ArgumentError.COMMAND
        )
    if arguments.format == "dot" and stage in CODE_STAGES:
        raise ArgumentError(
            f"the stage {stage} is code, which has no dot form", hint="try json", location=UNKNOWN, cause=ArgumentError.COMMAND
        )
    request = Request(arguments.target_text, tuple(arguments.input), tuple(arguments.fetch), tuple(arguments.script_arguments))
    result = lowering.at(resolve(request), stage, trace=trace)
    if arguments.format == "json":
        data = _data(result, stage, arguments)
        text = to_json_text(data if trace is None else {"passes": trace_data(trace, arguments), "result": data})
    else:
        text = _text(result, stage, arguments)
        if trace is not None:
            prefix = "// " if arguments.format == "dot" else _COMMENT.get(stage, "# ")
            text = trace_text(trace, arguments, prefix) + text
    write_result(text, arguments.output)
    return 0


def _text(result: Graph | Mapping[str, str], stage: str, arguments: argparse.Namespace) -> str:
    if isinstance(result, Graph):
        return render_graph(result, arguments.format, locations=arguments.locations, color=wants_color(arguments))
    return "\n\n\n".join(dict.fromkeys(text.strip("\n") for text in result.values())) + "\n"


def _data(result: Graph | Mapping[str, str], stage: str, arguments: argparse.Namespace) -> dict[str, Any]:
    if isinstance(result, Graph):
        return to_json(result, locations=arguments.locations)
    kernels = [{"name": name, "text": text} for name, text in result.items()]
    return {"format": "graphc-code", "version": 1, "stage": stage, "target": arguments.target, "kernels": kernels}
