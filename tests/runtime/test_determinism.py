"""One setting for results that repeat bit for bit."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from graphc.errors import ArgumentError
from graphc.runtime.determinism import deterministic, is_deterministic
from graphc.runtime.threads import get_num_threads, set_num_threads

pytestmark = pytest.mark.usefixtures("as_it_was")


@pytest.fixture
def as_it_was() -> Iterator[None]:
    with deterministic(is_deterministic()):
        yield


def test_for_a_block() -> None:
    deterministic(False)
    with deterministic():
        assert is_deterministic()
        with deterministic(False):
            assert not is_deterministic()
        assert is_deterministic()
    assert not is_deterministic()


def test_for_the_rest_of_the_process() -> None:
    deterministic()
    assert is_deterministic()
    deterministic(False)
    assert not is_deterministic()


def test_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), deterministic():
        1 / 0  # noqa: B018
    assert not is_deterministic()


def test_threads_are_another_setting() -> None:
    before = get_num_threads()
    with deterministic():
        set_num_threads(before + 1)
        assert is_deterministic() and get_num_threads() == before + 1
        set_num_threads(before)


def test_neither_true_nor_false() -> None:
    with pytest.raises(ArgumentError, match="deterministic takes True or False, not 1"):
        deterministic(1)  # type: ignore[arg-type]


def in_environment(code: str, value: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "GRAPHC_DETERMINISTIC": value}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("value", "printed"), [("1", "True"), ("0", "False")])
def test_from_the_environment(value: str, printed: str) -> None:
    code = "import graphc; print(graphc.is_deterministic())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GRAPHC_DETERMINISTIC": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == printed


def test_another_value_in_the_environment() -> None:
    done = in_environment("import graphc; graphc.is_deterministic()", "yes")
    assert "GRAPHC_DETERMINISTIC is 'yes'" in done.stderr and "fix: set it to 0 or 1" in done.stderr
