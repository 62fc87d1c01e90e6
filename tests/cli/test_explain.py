"""`graphc explain`."""

import json
from pathlib import Path

import pytest

from graphc.cli.explain import error_classes
from tests.cli.conftest import Cli

PAGES = Path(__file__).resolve().parents[2] / "docs" / "errors"
CLASSES = error_classes()
#: What nobody meets without a GPU. The tests of the simulator raise them.
ON_A_GPU = {"MixedDeviceError", "OutOfMemoryError"}


def test_every_code_is_one_class_with_one_page() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert sorted(path.stem for path in PAGES.glob("GC*.md")) == sorted(codes)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_page_has_a_wrong_and_a_mended_example(cli: Cli, cls: type) -> None:
    page = (PAGES / f"{cls.code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {cls.code} {cls.__name__}\n")
    comment = "no-run" if cls.__name__ in ON_A_GPU else f"raises: {cls.__name__}"
    assert f"## Wrong\n\n<!-- {comment} -->\n```python\n" in page
    assert "## Mended\n\n```python\n" in page
    assert f"[{cls.code}]({cls.code}.md) | `{cls.__name__}`" in (PAGES / "README.md").read_text(encoding="utf-8")
    assert cli("explain", cls.code).out == page


def test_the_name_of_the_class_and_small_letters_do_too(cli: Cli) -> None:
    assert cli("explain", "shapeerror").out == cli("explain", "gc101").out


def test_without_a_code_all_are_listed(cli: Cli) -> None:
    lines = cli("explain").out.splitlines()
    assert len(lines) == len(CLASSES)
    assert lines[0] == "GC101  ShapeError                  Shapes that do not fit together."
    data = json.loads(cli("explain", "--json").out)
    assert data[0] == {"code": "GC101", "class": "ShapeError", "meaning": "Shapes that do not fit together."}


def test_json_of_one(cli: Cli) -> None:
    data = json.loads(cli("explain", "GC302", "--json").out)
    assert (data["code"], data["class"]) == ("GC302", "ConcretizationError")
    assert data["page"].startswith("# GC302")


def test_an_unknown_code(cli: Cli) -> None:
    result = cli("explain", "GC999")
    assert result.code == 2
    assert "there is no error 'GC999'\n  fix: graphc explain lists all" in result.err
