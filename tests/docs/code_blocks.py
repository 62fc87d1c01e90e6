"""Reads the fenced code blocks of a Markdown file and runs them as a reader would, from top to bottom.

`python` blocks share one namespace; one that starts with `>>>` is run as a doctest, output included. In `console`
blocks the lines `$ graphc …` and `$ python …` are run (other commands are not), and the lines below each, if any, are
compared with what it prints; `...` there stands for anything. An HTML comment above a block changes what is expected:

    <!-- no-run -->               the block is for reading only
    <!-- raises: ErrorName -->    the python block must end in this exception
    <!-- raises: Name GC111 -->   and its code must be this one
    <!-- fails -->                the commands must exit non-zero; their stderr is compared too
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>```+|~~~+) *(?P<language>[\w+-]*)")
COMMENT: Final = re.compile(r"^\s*<!--\s*(?P<text>.*?)\s*-->\s*$")
PYTHON: Final = {"python", "py", "pycon"}
TIMEOUT_SECONDS: Final = 300


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of its first line of code."""

    language: str
    text: str
    line: int
    comment: str = ""

    @property
    def runs(self) -> bool:
        return self.comment != "no-run" and self.language in {*PYTHON, "console"}


def read_blocks(markdown: str) -> list[Block]:
    blocks: list[Block] = []
    lines = markdown.splitlines()
    comment, i = "", 0
    while i < len(lines):
        if opening := FENCE.match(lines[i]):
            start, indent = i + 1, len(opening["indent"])
            i = start
            while i < len(lines) and not _closes(lines[i], opening["ticks"]):
                i += 1
            if i == len(lines):
                raise ValueError(f"the code block that starts in line {start} is never closed")
            text = "\n".join(line[min(indent, len(line) - len(line.lstrip())) :] for line in lines[start:i])
            blocks.append(Block(opening["language"], text + "\n", start + 1, comment))
            comment = ""
        elif found := COMMENT.match(lines[i]):
            comment = found["text"]
        elif lines[i].strip():
            comment = ""
        i += 1
    return blocks


def _closes(line: str, ticks: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(ticks) and stripped == ticks[0] * len(stripped)


def run_file(path: Path) -> int:
    """Runs all blocks of a Markdown file in the current folder and returns how many there were."""
    module = ModuleType("graphc_docs_example")
    sys.modules[module.__name__] = module
    blocks = [block for block in read_blocks(path.read_text(encoding="utf-8")) if block.runs]
    try:
        for block in blocks:
            if block.language == "console":
                run_console(block, path)
            elif block.text.lstrip().startswith(">>>"):
                run_doctest(block, path, module)
            else:
                run_python(block, path, module)
    finally:
        del sys.modules[module.__name__]
    return len(blocks)


def run_python(block: Block, path: Path, module: ModuleType) -> None:
    # Empty lines in front keep the line numbers of the Markdown file in tracebacks and in graphc's own locations.
    code = compile("\n" * (block.line - 1) + block.text, str(path), "exec", dont_inherit=True)
    expected = block.comment.removeprefix("raises:").strip() if block.comment.startswith("raises:") else ""
    name, _, error_code = expected.partition(" ")
    try:
        exec(code, module.__dict__)
    except Exception as error:
        if name not in [kind.__name__ for kind in type(error).__mro__]:
            raise
        got = getattr(error, "code", "")
        assert not error_code or error_code == got, f"{path}:{block.line}: raises {got}, not {error_code}:\n{error}"
    else:
        assert not expected, f"{path}:{block.line}: the block should raise {expected}, but it ran to its end"


def run_doctest(block: Block, path: Path, module: ModuleType) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, {}, path.name, str(path), block.line - 1)
    test.globs = module.__dict__
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)


def read_commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    commands: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        elif commands:
            command, output = commands[-1]
            if command.endswith("\\") and not output:
                commands[-1] = (f"{command[:-1]}{line.removeprefix('> ').strip()}", "")
            else:
                commands[-1] = (command, f"{output}{line.rstrip()}\n")
    return [(command, output.strip("\n") + "\n" if output.strip() else "") for command, output in commands]


def is_ours(command: str) -> bool:
    """Whether the command's program is graphc or python; variable settings may stand before it."""
    words = shlex.split(command)
    programs = [word for word in words if not re.match(r"^\w+=", word)]
    return bool(programs) and programs[0] in {"graphc", "python"}


def run_console(block: Block, path: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
        "NO_COLOR": "1",
        "GRAPHC_CACHE_DIR": str(Path.cwd() / ".cache"),  # a page may clear it
    }
    for command, want in read_commands(block.text):
        if not is_ours(command):
            continue
        done = subprocess.run(
            command,
            shell=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        place = f"{path}:{block.line}: `{command}`"
        if block.comment == "fails":
            got = done.stdout + done.stderr
            assert done.returncode != 0, f"{place} should fail, but it printed\n{got}"
        else:
            got = done.stdout
            assert done.returncode == 0, f"{place} exited with {done.returncode}\n{got}{done.stderr}"
        got = "\n".join(line.rstrip() for line in got.strip("\n").splitlines()) + "\n"
        same = not want or doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
        assert same, f"{place} printed\n{got}instead of\n{want}"
