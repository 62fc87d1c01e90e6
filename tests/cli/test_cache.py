"""`graphc cache`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from graphc.backends.numba_cpu.kernels import ModuleNames, compile_kernel
from graphc.cli.cache import in_bytes
from graphc.runtime.disk_cache import CHOICE, DiskCache, Entry
from tests.cli.conftest import Cli


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiskCache:
    """An empty cache, which the command uses."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    return DiskCache(tmp_path / "cache" / "kernels", 1 << 30)


@pytest.fixture
def filled(cache: DiskCache) -> DiskCache:
    """A cache with two kernels, ``first`` used after ``second``."""
    for number, name in enumerate(("first", "second")):
        cache.store(name * 4, Entry({"name": name, "symbol": "f", "signature": "i64*,i64"}, b"x" * 1000 * number))
        used = 1_700_000_000 - 100 * number
        os.utime(cache.path(name * 4), (used, used))
    return cache


def damage(cache: DiskCache) -> Path:
    path = cache.path("second" * 4)
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path, (1_700_000_000 - 100,) * 2)
    return path


def test_list(cli: Cli, filled: DiskCache) -> None:
    result = cli("cache", "list")
    first, second = (filled.path(name * 4).stat().st_size for name in ("first", "second"))
    assert (result.code, result.err) == (0, "")
    head, *rows = result.out.splitlines()
    assert head == f"{filled.folder}: 2 kernels, {in_bytes(first + second)} of at most 1.0 GiB"
    assert [row.split()[0] for row in rows] == ["first", "second"]
    assert [row.split()[-1] for row in rows] == ["firstfirstfi", "secondsecond"]
    assert "2023-11-1" in rows[0]


def test_list_as_json(cli: Cli, filled: DiskCache) -> None:
    report = json.loads(cli("cache", "list", "--json").out)
    assert (report["folder"], report["limit"]) == (str(filled.folder), 1 << 30)
    assert report["bytes"] == sum(kernel["bytes"] for kernel in report["kernels"])
    assert report["kernels"][0] == {
        "key": "first" * 4,
        "bytes": filled.path("first" * 4).stat().st_size,
        "used": 1_700_000_000,
        "name": "first",
        "symbol": "f",
        "signature": "i64*,i64",
        "damage": None,
    }


def test_list_of_nothing(cli: Cli, cache: DiskCache) -> None:
    assert cli("cache", "list") == (0, f"{cache.folder}: 0 kernels, 0 bytes of at most 1.0 GiB\n", "")
    assert not cache.folder.exists()


def test_list_shows_what_is_damaged(cli: Cli, filled: DiskCache) -> None:
    damage(filled)
    assert "damaged: its checksum is wrong" in cli("cache", "list").out


def test_list_shows_compiled_kernels(cli: Cli, cache: DiskCache) -> None:
    text = f"def mine(x):\n    x[0] = 7  # {cache.folder}\n"
    kernel = compile_kernel(text, "mine", ("i64*",), filename="<mine>", namespace=ModuleNames("kernel_names"))
    x = np.zeros(1, np.int64)
    assert (kernel(x.ctypes.data), x[0]) == (0, 7)
    (row,) = json.loads(cli("cache", "list", "--json").out)["kernels"]
    assert (row["name"], row["signature"]) == ("mine", "i64*")


def test_clear(cli: Cli, filled: DiskCache) -> None:
    _, size = filled.size()
    result = cli("cache", "clear")
    assert result == (0, f"removed 2 kernels from {filled.folder}, which frees {in_bytes(size)}\n", "")
    assert os.listdir(filled.folder) == []
    assert json.loads(cli("cache", "clear", "--json").out) == {
        "folder": str(filled.folder), "removed": 0, "freed": 0, "left": 0
    }  # fmt: skip


def test_clear_says_what_stays(cli: Cli, filled: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    result = cli("cache", "clear")
    assert (result.code, result.out.splitlines()[1]) == (1, "2 kernels could not be removed")


def test_verify(cli: Cli, filled: DiskCache) -> None:
    assert cli("cache", "verify") == (0, f"checked 2 kernels in {filled.folder}: all are whole\n", "")
    path = damage(filled)
    result = cli("cache", "verify")
    assert result.code == 1
    assert result.out.splitlines() == [
        f"{path}: its checksum is wrong",
        f"checked 2 kernels in {filled.folder}: 1 is damaged",
        "  they do no harm, and are replaced when they are next needed; --remove deletes them now",
    ]
    report = json.loads(cli("cache", "verify", "--json").out)
    assert (report["checked"], len(report["damaged"])) == (2, 1)
    assert (report["damaged"][0]["key"], report["damaged"][0]["removed"]) == ("second" * 4, False)


def test_verify_removes_what_is_damaged(cli: Cli, filled: DiskCache) -> None:
    path = damage(filled)
    result = cli("cache", "verify", "--remove")
    assert result.code == 1
    assert result.out.splitlines()[0] == f"{path}: its checksum is wrong (removed)"
    assert not path.exists()
    assert cli("cache", "verify").code == 0


def test_an_output_file(cli: Cli, filled: DiskCache, tmp_path: Path) -> None:
    assert cli("cache", "verify", "-o", "report.txt") == (0, "", "")
    assert (tmp_path / "report.txt").read_text("utf-8").startswith("checked 2 kernels")


def test_a_folder_that_is_not_used(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels").write_text("")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    result = cli("cache", "clear")
    assert (result.code, result.out) == (2, "")
    error, fix, _ = result.err.splitlines()
    assert error == f"graphc: error: {tmp_path / 'kernels'} is not used: it is not a folder"
    assert fix == "  fix: name another folder in GRAPHC_CACHE_DIR"


def test_the_action_is_needed(cli: Cli) -> None:
    result = cli("cache")
    assert (result.code, result.out) == (2, "")
    assert "the following arguments are required: ACTION" in result.err
    result = cli("cache", "empty")
    assert "invalid choice: 'empty'" in result.err


@pytest.mark.parametrize("action", ["list", "clear", "verify"])
def test_help_of_actions(cli: Cli, action: str) -> None:
    result = cli("cache", action, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: graphc cache {action} ")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert in_bytes(size) == text


@pytest.fixture
def chosen(filled: DiskCache) -> DiskCache:
    """The cache with a choice between two ways of computing something."""
    fields = {"name": "product f32 (2, 3) @ (3, 4)", "chosen": "blas", "ours": "0.002", "blas": "0.0015"}
    filled.store(CHOICE + "abcdefabcdefabc", Entry(fields, b""))
    return filled


def test_choices_are_listed_with_both_times(cli: Cli, chosen: DiskCache) -> None:
    head, first, *_ = cli("cache", "list").out.splitlines()
    assert head.startswith(f"{chosen.folder}: 2 kernels and 1 choice, ")
    assert first.startswith("product f32 (2, 3) @ (3, 4): blas, 1.5 ms (ours 2 ms)  ") and first.endswith("abcdefabcdef")
    report = json.loads(cli("cache", "list", "--json").out)
    assert len(report["kernels"]) == 2 and [choice["chosen"] for choice in report["choices"]] == ["blas"]


def test_choices_are_verified_and_cleared(cli: Cli, chosen: DiskCache) -> None:
    path = chosen.path(CHOICE + "abcdefabcdefabc")
    assert cli("cache", "verify").out == f"checked 2 kernels and 1 choice in {chosen.folder}: all are whole\n"
    path.write_bytes(path.read_bytes()[:-1])
    result = cli("cache", "verify")
    assert result.code == 1 and f"{path}: its " in result.out
    assert cli("cache", "clear").out.startswith("removed 2 kernels and 1 choice from ")


def test_a_choice_of_another_version_has_a_name_at_least(cli: Cli, filled: DiskCache) -> None:
    filled.store(CHOICE + "abc", Entry({"name": "something", "chosen": "neither"}, b""))
    assert cli("cache", "list").out.splitlines()[1].startswith("something  ")
