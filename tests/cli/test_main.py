"""The command line as a whole: help, versions, exit codes, how errors are shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.cli import dump, render
from graphc.cli.main import COMMANDS, main
from graphc.errors import ArgumentError, FileError
from graphc.version import __version__
from tests.cli.conftest import Cli
from tests.conftest import Golden


def test_help(cli: Cli, golden: Golden) -> None:
    result = cli("--help")
    assert result.code == 0
    golden("golden/help.txt", result.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(cli: Cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: graphc {command} ")
    if command != "doctor":
        assert f"\n  graphc {command} " in result.out  # an example


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"graphc {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dmup"], "invalid choice: 'dmup'"),
        (["dump"], "the following arguments are required: TARGET"),
        (["dump", "loss.gir", "--stagee", "traced"], "unrecognized arguments: --stagee traced"),
        (["dump", "loss.gir", "--stage", "tracd"], "invalid choice: 'tracd'"),
    ],
)
def test_wrong_command_lines(cli: Cli, words: list[str], message: str) -> None:
    result = cli(*words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err


def test_the_full_traceback_where_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_TRACEBACK", "full")
    with pytest.raises(ArgumentError):
        cli("dump", "loss.txt")


def test_an_interrupt(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(dump, "run", interrupted)
    assert cli("dump", "loss.gir") == (130, "", "graphc: interrupted\n")


def test_a_bug_is_no_difference(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(dump, "run", broken)
    result = cli("dump", "loss.gir")
    assert (result.code, result.out) == (2, "")
    assert "ZeroDivisionError: oops\ngraphc: internal error: this is a bug in graphc" in result.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away(folder: Path, unbuffered: str) -> None:
    nodes = [f"  %{i}: f32[] = exp(%{i - 1})" for i in range(1, 5000)]
    text = "\n".join(["graph @f(%x: f32[]) -> (f32[]) {", "  %0: f32[] = exp(%x)", *nodes, "  return %4999", "}"])
    (folder / "long.gir").write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc.cli.main", "dump", "long.gir"],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), error) == (141, b"")


def test_the_installed_command() -> None:
    command = Path(sys.executable).parent / "graphc"
    done = subprocess.run([command, "dump", "none.gir"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    error, code = done.stderr.splitlines()
    assert error == "graphc: error: cannot read none.gir: No such file or directory"
    assert code == "  code: GC701 (graphc explain GC701)"


def test_help_loads_no_command() -> None:
    code = "import sys; from graphc.cli.main import build_parser; build_parser(None); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


def test_main_reads_the_command_line_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["graphc", "opt", "loss.gir", "--passes", "cse"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("graph @loss")


# Files.


def test_files_are_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "out.gir"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o640)
    render.write_file(str(file), b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o640)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(FileError, match="No space left on device"):
        render.write_file(str(file), b"newer")
    assert file.read_bytes() == b"new"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_links_stay_links_and_devices_are_written_to(folder: Path) -> None:
    (folder / "target").write_text("old", encoding="utf-8")
    (folder / "link").symlink_to("target")
    render.write_file("link", b"new")
    assert (folder / "link").is_symlink()
    assert (folder / "target").read_bytes() == b"new"
    render.write_file("/dev/null", b"gone")
    assert not Path("/dev/null").is_file()
