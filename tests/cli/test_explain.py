"""`graphc explain`."""

import json
from pathlib import Path

import pytest

from graphc.cli.explain import ErrorCode, error_codes
from tests.cli.conftest import Cli

PAGES = Path(__file__).resolve().parents[2] / "docs" / "errors"
CODES = error_codes()
#: What nobody meets without a GPU. The tests of the simulator raise them.
ON_A_GPU = {"MixedDeviceError", "OutOfMemoryError"}


def test_every_code_has_one_meaning_and_one_page() -> None:
    codes = [entry.code for entry in CODES]
    assert len(set(codes)) == len(codes)
    assert sorted(path.stem for path in PAGES.glob("GC*.md")) == codes


@pytest.mark.parametrize("entry", CODES, ids=lambda entry: entry.code)
def test_every_page_has_a_wrong_and_a_mended_example(cli: Cli, entry: ErrorCode) -> None:
    """tests/docs runs both: the wrong one must raise this very code."""
    page = (PAGES / f"{entry.code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {entry.code} {entry.name}\n")
    comment = "no-run" if entry.name in ON_A_GPU else f"raises: {entry.cls.__name__} {entry.code}"
    assert f"## Wrong\n\n<!-- {comment} -->\n```python\n" in page
    assert "## Mended\n\n```python\n" in page
    assert f"[{entry.code}]({entry.code}.md) | `{entry.name}`" in (PAGES / "README.md").read_text(encoding="utf-8")
    assert cli("explain", entry.code).out == page


def test_the_name_of_the_class_and_small_letters_do_too(cli: Cli) -> None:
    assert cli("explain", "shapeerror").out == cli("explain", "gc101").out
    assert cli("explain", "shapeerror.broadcast").out == cli("explain", "gc111").out


def test_without_a_code_all_are_listed(cli: Cli) -> None:
    lines = cli("explain").out.splitlines()
    assert len(lines) == len(CODES)
    width = max(len(entry.name) for entry in CODES)
    assert lines[0] == f"GC101  {'ShapeError':<{width}}  Shapes that do not fit together."
    data = json.loads(cli("explain", "--json").out)
    assert data[0] == {"code": "GC101", "class": "ShapeError", "cause": "", "meaning": "Shapes that do not fit together."}
    assert {"code": "GC111", "class": "ShapeError", "cause": "BROADCAST", "meaning": "Shapes that do not broadcast."} in data


def test_json_of_one(cli: Cli) -> None:
    data = json.loads(cli("explain", "GC302", "--json").out)
    assert (data["code"], data["class"]) == ("GC302", "ConcretizationError")
    assert data["page"].startswith("# GC302")


def test_an_unknown_code(cli: Cli) -> None:
    result = cli("explain", "GC999")
    assert result.code == 2
    assert "there is no error 'GC999'\n  fix: graphc explain lists all" in result.err
