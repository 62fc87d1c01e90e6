"""`graphc opt`: text in, chosen passes, text out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.ir import parse, structurally_equal
from graphc.passes.pipeline import pipeline
from tests.cli.conftest import LOSS, Cli
from tests.conftest import Golden


def test_chosen_passes(cli: Cli, golden: Golden) -> None:
    result = cli("opt", "loss.gir", "--passes", "canonicalize,dce", "--trace-passes")
    assert result.code == 0, result.err
    golden("golden/opt.txt", result.out)


def test_no_pass_changes_nothing(cli: Cli) -> None:
    result = cli("opt", "loss.gir", "--passes", "")
    assert structurally_equal(parse(result.out), parse(LOSS))


def test_the_passes_of_a_target_by_default(cli: Cli) -> None:
    expected = pipeline("cpu").run(parse(LOSS))
    assert structurally_equal(parse(cli("opt", "loss.gir").out), expected)
    assert structurally_equal(parse(cli("opt", "loss.gir", "--target", "reference").out), parse(LOSS))


def test_formats_and_files(cli: Cli, folder: Path) -> None:
    data = json.loads(cli("opt", "loss.gir", "--passes", "cse", "--format", "json").out)
    assert data["name"] == "loss"
    traced = json.loads(cli("opt", "loss.gir", "--passes", "cse", "--format", "json", "--trace-passes").out)
    assert [record["pass"] for record in traced["passes"]] == ["cse"]
    assert traced["result"] == data
    assert cli("opt", "loss.gir", "--passes", "cse", "--format", "dot").out.startswith("digraph")
    assert cli("opt", "loss.gir", "--passes", "cse", "-o", "loss.gir").out == ""
    assert (folder / "loss.gir").read_text(encoding="utf-8") == cli("opt", "loss.gir", "--passes", "cse").out


def test_a_pipe() -> None:
    command = [sys.executable, "-m", "graphc.cli.main"]
    dumped = subprocess.run([*command, "dump", "loss.gir"], capture_output=True, check=True, timeout=60)
    piped = subprocess.run(
        [*command, "opt", "-", "--passes", "canonicalize"], input=dumped.stdout, capture_output=True, check=True, timeout=60
    )
    assert b"mul(%x, %wide)" in piped.stdout
    assert b"%ones" not in piped.stdout


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("canonicalise", "there is no pass called 'canonicalise'\n  fix: did you mean 'canonicalize'?"),
        ("cse,", "a pass must follow the last comma"),
        ("canonicalize{fast=true}", "has no option 'fast'"),
        ("canonicalize{fast_math=maybe}", "must be true or false, not 'maybe'"),
        ("cse dce", "malformed pipeline at column 5"),
    ],
)
def test_bad_passes(cli: Cli, passes: str, message: str) -> None:
    result = cli("opt", "loss.gir", "--passes", passes)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_only_text_files(cli: Cli) -> None:
    result = cli("opt", "model.py:loss")
    assert result.code == 2
    assert "model.py:loss is not a .gir file" in result.err


def test_passes_and_target_exclude_each_other(cli: Cli) -> None:
    result = cli("opt", "loss.gir", "--passes", "cse", "--target", "reference")
    assert result.code == 2
    assert "not allowed with argument" in result.err
