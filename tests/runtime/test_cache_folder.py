"""Where kernels are kept, and which folders are refused."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from graphc.errors import ArgumentError
from graphc.runtime.cache_folder import (
    DEFAULT_LIMIT,
    CacheWarning,
    cache_settings,
    can_write,
    check_folder,
    make_folder,
    warn_of_folder,
)

VARIABLES = ("GRAPHC_CACHE", "GRAPHC_CACHE_DIR", "GRAPHC_CACHE_SIZE", "XDG_CACHE_HOME", "LOCALAPPDATA")
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has access lists instead")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_folder_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "here"))
    settings = cache_settings()
    assert (settings.folder, settings.limit, settings.enabled) == (tmp_path / "here" / "kernels", DEFAULT_LIMIT, True)


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "~/.cache/graphc/kernels"),
        ("linux", {"XDG_CACHE_HOME": "/var/caches"}, "/var/caches/graphc/kernels"),
        ("linux", {"XDG_CACHE_HOME": "relative/is/ignored"}, "~/.cache/graphc/kernels"),
        ("darwin", {"XDG_CACHE_HOME": "/var/caches"}, "~/Library/Caches/graphc/kernels"),
        ("win32", {"LOCALAPPDATA": "/Local"}, "/Local/graphc/kernels"),
    ],
)
def test_the_folder_of_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variables: dict[str, str], folder: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_settings().folder == Path(folder.replace("~", str(tmp_path)))


def test_no_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(cls: Any) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(nobody))
    assert cache_settings().folder is None


@pytest.mark.parametrize(
    ("text", "enabled"), [("", True), ("on", True), ("1", True), ("off", False), ("OFF", False), ("0", False)]
)
def test_the_switch(monkeypatch: pytest.MonkeyPatch, text: str, enabled: bool) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", text)
    assert cache_settings().enabled is enabled


@pytest.mark.parametrize(
    ("text", "limit"), [("", DEFAULT_LIMIT), ("0", 0), ("1000", 1000), ("64k", 65536), ("3M", 3 << 20), (" 2G ", 2 << 30)]
)
def test_the_size(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_SIZE", text)
    assert cache_settings().limit == limit


@pytest.mark.parametrize(
    ("name", "text"),
    [("GRAPHC_CACHE", "no"), ("GRAPHC_CACHE_SIZE", "big"), ("GRAPHC_CACHE_SIZE", "-1"), ("GRAPHC_CACHE_SIZE", "1.5G")],
)
def test_other_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ArgumentError, match=name):
        cache_settings()


@POSIX
def test_a_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "kernels"
    before = os.umask(0)
    try:
        make_folder(folder)
        make_folder(folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert check_folder(folder) is None


@POSIX
@pytest.mark.parametrize(("mode", "is_private"), [(0o755, True), (0o775, False), (0o702, False)])
def test_folders_that_others_may_write_to_are_refused(tmp_path: Path, mode: int, is_private: bool) -> None:
    tmp_path.chmod(mode)
    assert check_folder(tmp_path) == (None if is_private else "other users may write to it")


@POSIX
def test_a_folder_of_another_user_is_refused_and_one_of_root_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert check_folder(tmp_path) == (None if owner == 0 else "it belongs to another user")
    status = os.stat(tmp_path)
    foreign = os.stat_result([*status[:4], owner + 2, *status[5:]])
    monkeypatch.setattr(os, "stat", lambda *arguments, **options: foreign)
    assert check_folder(tmp_path) == "it belongs to another user"


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert check_folder(file) == "it is not a folder"
    assert check_folder(file / "below") == "Not a directory"
    assert check_folder(tmp_path / "missing") is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert check_folder(tmp_path / "link") == "it is a link"


def test_whether_a_folder_could_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(os, "access", lambda path, mode: bool(asked.append(path)))
    assert not can_write(tmp_path / "a" / "b")
    assert asked == [tmp_path]


def test_the_warning_says_what_to_do_and_never_raises(tmp_path: Path) -> None:
    with pytest.warns(CacheWarning, match=r"it is odd\. Name another folder in GRAPHC_CACHE_DIR, or set GRAPHC_CACHE=off"):
        warn_of_folder(tmp_path, "it is odd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_folder(tmp_path, "it is odd")
