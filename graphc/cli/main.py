"""The ``graphc`` command: finds the subcommand, runs it, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from graphc.errors import GraphcError
from graphc.locations import current_location
from graphc.operands import Operand
from graphc.version import __version__

#: Command → its module, with ``configure(parser)`` and ``run(arguments)``, and one line about it. Only the module of
#: the command that is run gets loaded.
COMMANDS: Final = {
    "dump": ("graphc.cli.dump", "show the graph of a function, script or file at a stage of its compilation"),
    "opt": ("graphc.cli.opt", "run chosen passes over the text of a graph"),
    "run": ("graphc.cli.run", "run a graph on arrays from .npy or .npz files"),
    "diff": ("graphc.cli.diff", "compare two graphs, or two stages of one"),
    "cache": ("graphc.cli.cache", "list, clear or verify the kernels that are kept on disk"),
    "explain": ("graphc.cli.explain", "say what an error code means, with a wrong and a mended example"),
    "doctor": ("graphc.cli.doctor", "report versions, processor, threads, BLAS and CUDA, and try a kernel"),
}

OK, DIFFERENT, FAILED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

_DESCRIPTION: Final = "Look into graphc's graphs: how they are traced, optimized, differentiated and compiled."
_EPILOG: Final = """\
examples:
  graphc dump model.py:loss --input "f32[batch, 784]" --input "f32[784, 10]"
  graphc dump model.py:loss --input "f32[3]" --stage gradient
  graphc dump model.gir --stage source
  graphc opt model.gir --passes "canonicalize,cse"
  graphc run model.gir inputs.npz -o outputs.npz
  graphc diff model.gir --stages traced optimized

exit codes:
  0  all went well; for diff: the graphs are equal
  1  diff: they differ; doctor, run --check, cache verify: a check failed
  2  a wrong command line or any other error

GRAPHC_TRACEBACK=full shows where in graphc an error was raised. `graphc COMMAND --help` tells more."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"graphc: error: {message}\n  fix: see `{self.prog} --help`\n")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of the whole command line, with the options of ``command``."""
    parser = _Parser(
        prog="graphc",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"graphc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        if name == command:
            import_module(module).configure(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (by default the process's own) and give its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    caller = current_location().filename
    try:
        code = _run(words)
        sys.stdout.flush()
    except GraphcError as error:
        if os.environ.get("GRAPHC_TRACEBACK") == "full":
            raise
        sys.stderr.write(f"graphc: error: {_describe(error, caller)}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("graphc: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not be written, with an error, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception:
        if os.environ.get("GRAPHC_TRACEBACK") == "full":
            raise
        traceback.print_exc()
        sys.stderr.write("graphc: internal error: this is a bug in graphc; please report it with the lines above\n")
        return FAILED
    return code


def _run(words: list[str]) -> int:
    script_arguments: list[str] = []
    if "--" in words:
        split = words.index("--")
        words, script_arguments = words[:split], words[split + 1 :]
    command = next((word for word in words if not word.startswith("-")), None)
    arguments = build_parser(command).parse_args(words)
    arguments.script_arguments = script_arguments
    code: int = import_module(COMMANDS[arguments.command][0]).run(arguments)
    return code


def _describe(error: GraphcError, caller: str) -> str:
    """The message of ``error``; the line that called this program is not the user's."""
    error.operands = tuple(
        [Operand(o.text) if o.location is not None and o.location.filename == caller else o for o in error.operands]
    )
    if error.location.filename != caller:
        return str(error)
    return error.render(location=False)


if __name__ == "__main__":
    sys.exit(main())
