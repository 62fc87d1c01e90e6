"""Every example in README.md and docs/ runs and prints what it says. The rules are in `code_blocks.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.docs.code_blocks import read_blocks, read_commands, run_file

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGES: Final = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.exists()]

Run = Callable[[str], int]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A reader is in the repository's root; a folder of links keeps what the examples write out of it.
    for name in ("examples", "docs", "benchmarks", "tests"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    run_file(page)


# The runner itself.


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run_text(markdown: str) -> int:
        page = tmp_path / "page.md"
        page.write_text(markdown, encoding="utf-8")
        return run_file(page)

    return run_text


def fenced(language: str, *lines: str, above: str = "") -> str:
    return "\n".join([above, f"```{language}", *lines, "```", ""])


def test_blocks_are_read_with_line_comment_and_indent() -> None:
    text = "# Title\n\n<!-- no-run -->\n\n```python\na\n```\ntext\n\n* item\n\n"
    text += "  ````python\n  if x:\n      ```\n  ````\n"
    first, second = read_blocks(text)
    assert (first.language, first.text, first.line, first.comment) == ("python", "a\n", 6, "no-run")
    assert (second.text, second.line, second.comment) == ("if x:\n    ```\n", 13, "")


def test_an_open_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="starts in line 2 is never closed"):
        read_blocks("text\n```python\nx = 1\n")


def test_blocks_of_a_page_share_one_namespace(run: Run) -> None:
    assert run(fenced("python", "x = 1") + fenced("text", "x = (") + fenced("python", "assert x == 1")) == 2


def test_a_block_that_raises_fails_the_page_at_its_line(run: Run) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run("one\ntwo\n" + fenced("python", "y = 2", "y / 0"))
    assert caught.traceback[-1].lineno + 1 == 6
    assert str(caught.traceback[-1].path).endswith("page.md")


def test_comments_above_a_block(run: Run) -> None:
    assert run(fenced("python", "1 / 0", above="<!-- no-run -->")) == 0
    assert run(fenced("python", "1 / 0", above="<!-- raises: ZeroDivisionError -->")) == 1
    assert run(fenced("python", "1 / 0", above="<!-- raises: ArithmeticError -->")) == 1
    with pytest.raises(ZeroDivisionError):
        run(fenced("python", "1 / 0", above="<!-- raises: KeyError -->"))
    with pytest.raises(AssertionError, match="should raise KeyError"):
        run(fenced("python", "pass", above="<!-- raises: KeyError -->"))


def test_doctest_blocks_compare_output(run: Run) -> None:
    page = fenced("python", "x = 20") + fenced("python", ">>> x + 1", "21", ">>> print('a b c')", "a ... c")
    assert run(page) == 2
    with pytest.raises(AssertionError, match="Expected"):
        run(page.replace("21", "22"))


def test_commands_are_read_with_their_output() -> None:
    text = "$ graphc dump \\\n>   x.gir\nline 1\n\nline 2\n$ python -V\n"
    assert read_commands(text) == [("graphc dump x.gir", "line 1\n\nline 2\n"), ("python -V", "")]


def test_console_blocks_run_and_compare(run: Run) -> None:
    program = "$ python -c 'print(\"one two three\")'"
    assert run(fenced("console", program)) == 1
    assert run(fenced("console", program, "one ... three")) == 1
    with_setting = "$ X=5 python -c 'import os; print(os.environ[\"X\"])'"
    assert run(fenced("console", "$ no-such-program", "anything", with_setting, "5")) == 1
    with pytest.raises(AssertionError, match="instead of"):
        run(fenced("console", program, "one four"))


def test_a_command_must_exit_with_zero_unless_it_fails_on_purpose(run: Run) -> None:
    program = "$ python -c 'import sys; sys.exit(\"bad input\")'"
    with pytest.raises(AssertionError, match="exited with 1"):
        run(fenced("console", program))
    assert run(fenced("console", program, "bad input", above="<!-- fails -->")) == 1
    with pytest.raises(AssertionError, match="should fail"):
        run(fenced("console", "$ python -c 'pass'", above="<!-- fails -->"))
