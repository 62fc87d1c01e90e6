"""A graph at a stage of its compilation: as traced, optimized, differentiated, or as the code that was made of it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.cli.comparison import explain_diff
from graphc.errors import ArgumentError, BackendError, GradientError
from graphc.ir.graph import Graph
from graphc.ir.primitive import get_primitive
from graphc.ir.printer import value_names
from graphc.locations import UNKNOWN
from graphc.passes.differentiate import backpropagate, gradient_builder
from graphc.passes.pipeline import Pipeline, pipeline
from graphc.passes.trace import PassTrace
from graphc.runtime.targets import TARGETS, load_backend, split_target

GRAPH_STAGES: Final = ("traced", "optimized", "gradient")
CODE_STAGES: Final = ("kernels", "plan", "source", "llvm", "asm", "ptx", "sass", "resources")
STAGES: Final = GRAPH_STAGES + CODE_STAGES


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what happens to a graph on its way to a stage."""
    group = parser.add_argument_group("compilation")
    add_target_choice(group, "for what to compile")
    group.add_argument(
        "--gradient",
        action="store_true",
        help="go on with the value and gradients of the (summed) first output, at any stage; `--stage gradient` is "
        "`--gradient --stage optimized`",
    )
    group.add_argument("--wrt", metavar="NAMES", help="only for these parameters: names or positions, with commas")
    group.add_argument("--fast-math", action="store_true", help="allow changes that alter rounding, NaN or infinities")


def add_target_choice(parser: argparse._ActionsContainer, what: str) -> None:
    """The option ``--target``; ``what`` is done with it."""
    targets = f"{', '.join(TARGETS)}, or cuda:sm_90 and the like, which needs no GPU"
    parser.add_argument("--target", type=_target, metavar="TARGET", default="cpu", help=f"{what} (default: cpu): {targets}")


def _target(text: str) -> str:
    try:
        split_target(text)
    except BackendError as error:
        raise argparse.ArgumentTypeError(f"{error.message} ({error.hint})") from None
    return text


@dataclass(frozen=True)
class Lowering:
    """How to get from a traced graph to a stage."""

    target: str = "cpu"
    gradient: bool = False
    wrt: str | None = None
    fast_math: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Lowering:
        """What the options of :func:`add_stage_options` say."""
        return cls(arguments.target, arguments.gradient, arguments.wrt, arguments.fast_math)

    def at(self, graph: Graph, stage: str, *, trace: Trace | None = None) -> Graph | Mapping[str, str]:
        """``graph`` at ``stage``: a graph, or for a stage of code the text of each kernel by name."""
        differentiated = self.gradient or stage == "gradient"
        if self.wrt is not None and not differentiated:
            raise ArgumentError(
                "--wrt is about gradients",
                hint="add --stage gradient or --gradient",
                location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            )
        if differentiated:
            graph = value_and_gradients(graph, self.wrt)
        if stage == "traced":
            return graph
        graph = run_passes(graph, pipeline(self.target, fast_math=self.fast_math), trace)
        return graph if stage in GRAPH_STAGES else self._code(graph, stage)

    def _code(self, graph: Graph, stage: str) -> Mapping[str, str]:
        compiled: Any = load_backend(self.target).compile(graph, fast_math=self.fast_math)
        stages = compiled.stages()
        if stage not in stages:
            own = [each for each in CODE_STAGES if each in stages]
            why = "" if own else "makes no code, so it "
            raise ArgumentError(
                f"the target {self.target} {why}has no stage {stage!r}",
                hint=f"its stages: {', '.join((*GRAPH_STAGES, *own))}",
                location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            )
        if stage in ("kernels", "plan"):
            return {graph.name: stages[stage]}
        texts: dict[str, str] = {}
        for kernel in compiled.kernels():
            text = kernel.text(stage)
            name, number = kernel.name, 1
            while texts.setdefault(name, text) != text:  # another kernel of that name
                number += 1
                name = f"{kernel.name}_{number}"
        return texts


@dataclass
class Trace:
    """What the passes did: the records of :class:`PassTrace` and the graph after each pass."""

    records: PassTrace
    graphs: list[Graph]

    def diffs(self) -> list[str]:
        """For each pass, what it changed in the graph's text, as a unified diff."""
        texts: list[str] = []
        for record, before, after in zip(self.records.records, self.graphs, self.graphs[1:], strict=False):
            lines = [] if before is after else explain_diff(before, after, "before", f"after {record.name}")
            texts.append("\n".join(lines))
        return texts


def new_trace() -> Trace:
    return Trace(PassTrace(), [])


def run_passes(graph: Graph, passes: Pipeline, trace: Trace | None = None) -> Graph:
    """``graph`` through ``passes``, verified before and after each."""
    if trace is None:
        return passes.run(graph, verify=True)
    trace.graphs.append(graph)
    for each in passes.passes:
        if not each.applies(graph):
            continue
        graph = Pipeline(passes.name, (each,)).run(graph, trace=trace.records, verify=True)
        trace.graphs.append(graph)
    return graph


def value_and_gradients(graph: Graph, wrt: str | None = None) -> Graph:
    """The first output of ``graph``, summed if it is no scalar, and its gradients for the floating parameters, or those
    that ``wrt`` names; zeros for what it does not depend on.

    Raises GradientError where the output or a named parameter is not floating, ArgumentError for an unknown name.
    """
    if not graph.outputs:
        raise GradientError(f"{graph.name} has no output to differentiate", location=UNKNOWN, cause=GradientError.NOT_FLOATING)
    output = graph.outputs[0]
    if not output.dtype.is_inexact:
        raise GradientError(
            f"output 0 of {graph.name} has type {output.type}, and only floating values have gradients",
            hint="make the first output the value to differentiate",
            location=output.node.location,
            cause=GradientError.NOT_FLOATING,
        )
    targets = [graph.parameters[i] for i in _positions(graph, wrt)]
    b = gradient_builder(f"{graph.name}_gradient")
    b.parameters, b.effects, b.guards = list(graph.parameters), list(graph.effects), list(graph.guards)
    with b.at(output.node.location):
        value = output
        if output.shape:
            value = b.emit_one(get_primitive("reduce_sum"), output, axes=tuple(range(output.ndim)))
        seed = b.full_like(value, 1)
    flows = backpropagate(b, [(value, seed)], targets)
    gradients = []
    for target, flow in zip(targets, flows, strict=True):
        with b.at(target.node.location):
            gradients.append(b.zeros_like(target) if flow is None else flow)
    return b.finish([value, *gradients])


def _positions(graph: Graph, wrt: str | None) -> list[int]:
    if wrt is None:
        floating = [i for i, p in enumerate(graph.parameters) if p.dtype.is_inexact]
        if not floating:
            raise GradientError(
                f"{graph.name} has no floating parameter to differentiate by",
                location=UNKNOWN,
                cause=GradientError.NOT_FLOATING,
            )
        return floating
    names = parameter_names(graph)
    positions: list[int] = []
    for word in filter(None, (part.strip().removeprefix("%") for part in wrt.split(","))):
        if word in names:
            position = names.index(word)
        elif word.isdecimal() and int(word) < len(names):
            position = int(word)
        else:
            close = difflib.get_close_matches(word, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its parameters: {', '.join(names) or 'none'}"
            raise ArgumentError(
                f"{graph.name} has no parameter {word!r}", hint=hint, location=UNKNOWN, cause=ArgumentError.COMMAND
            )
        parameter = graph.parameters[position]
        if not parameter.dtype.is_inexact:
            raise GradientError(
                f"{graph.name}: parameter {word} has type {parameter.type}, and only floating values have gradients",
                hint="leave it out of --wrt",
                location=parameter.node.location,
                cause=GradientError.NOT_FLOATING,
            )
        positions.append(position)
    return positions


def parameter_names(graph: Graph) -> Sequence[str]:
    """What the text calls the parameters, without ``%``."""
    names = value_names(graph)
    return [names[p].removeprefix("%") for p in graph.parameters]
