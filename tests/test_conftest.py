"""The golden fixture, run by an inner pytest."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

INNER = """
def test_text(golden):
    golden("golden/out.txt", {text!r})
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text(encoding="utf-8"))
    return pytester


def test_a_missing_golden_file_fails(inner: pytest.Pytester) -> None:
    inner.makepyfile(INNER.format(text="a"))
    result = inner.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no golden file*"])


def test_update_then_compare_then_differ(inner: pytest.Pytester) -> None:
    inner.makepyfile(INNER.format(text="a\nb"))
    inner.runpytest_subprocess("--update-golden").assert_outcomes(passed=1)
    assert (inner.path / "golden" / "out.txt").read_text(encoding="utf-8") == "a\nb\n"
    inner.runpytest_subprocess().assert_outcomes(passed=1)
    inner.makepyfile(INNER.format(text="a\nc"))
    result = inner.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-b", "+c"])
