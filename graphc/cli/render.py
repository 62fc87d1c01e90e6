"""How commands print: graphs as text, JSON or DOT; colors only on a terminal; files in one piece or not at all."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final, TextIO

from graphc.errors import FileError
from graphc.ir.dot import to_dot
from graphc.ir.graph import Graph
from graphc.ir.json_form import to_json
from graphc.ir.printer import print_graph
from graphc.locations import UNKNOWN

_PIECE: Final = 16_384

FORMATS: Final = ("text", "json", "dot")

_GREEN, _RED, _CYAN, _BOLD, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


def add_output_options(parser: argparse.ArgumentParser, *, formats: bool = True, color: bool = True) -> None:
    """The options that say how and where a command prints."""
    group = parser.add_argument_group("output")
    if formats:
        group.add_argument("--format", choices=FORMATS, default="text", help="text (default), json, or dot (Graphviz)")
        group.add_argument("--locations", action="store_true", help="add the user's line to each node")
    if color:
        group.add_argument(
            "--color", choices=("auto", "always", "never"), default="auto", help="auto (default): on a terminal only"
        )
    group.add_argument("-o", "--output", metavar="FILE", help="write to FILE, in one piece or not at all")


def use_color(choice: str, stream: TextIO | None = None) -> bool:
    """Whether to color: "always", "never", or "auto": on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if choice != "auto":
        return choice == "always"
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wants_color(arguments: argparse.Namespace) -> bool:
    """Whether the command's result is to be colored."""
    return not (arguments.output and arguments.color == "auto") and use_color(arguments.color)


def render_graph(graph: Graph, format_: str = "text", *, locations: bool = False, color: bool = False) -> str:
    """``graph`` in one of :data:`FORMATS`, ending in a newline."""
    if format_ == "json":
        return to_json_text(to_json(graph, locations=locations))
    if format_ == "dot":
        return to_dot(graph)
    return print_graph(graph, locations=locations, color=color) + "\n"


def to_json_text(data: object) -> str:
    """``data`` as indented JSON."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def color_diff(lines: list[str]) -> list[str]:
    """The lines of a unified diff, colored."""
    return [_diff_color(line) + line + _RESET if _diff_color(line) else line for line in lines]


def _diff_color(line: str) -> str:
    if line.startswith(("---", "+++")):
        return _BOLD
    return {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line[:1], "")


def write_result(text: str, path: str | None) -> None:
    """Print ``text``, or write it to the file ``path``."""
    if path is None:
        # In pieces: unbuffered streams (PYTHONUNBUFFERED) drop what a pipe did not take of one write, and the error with it.
        for start in range(0, len(text), _PIECE):
            sys.stdout.write(text[start : start + _PIECE])
    else:
        write_file(path, text.encode("utf-8", "surrogatepass"))


def write_file(path: str, data: bytes) -> None:
    """Write ``data`` to ``path``: the file holds either what it held before or all of ``data``. Raises FileError."""
    file = Path(os.path.realpath(path))
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        if file.exists() and not file.is_file():  # a device or a pipe
            file.write_bytes(data)
            return
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if file.exists():
                temporary.chmod(file.stat().st_mode & 0o777)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}", location=UNKNOWN) from None
