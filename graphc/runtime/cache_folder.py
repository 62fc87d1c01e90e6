"""Where compiled kernels are kept between processes, how much room they may take, and whether the folder can be trusted."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from graphc.errors import ArgumentError

SWITCH: Final = "GRAPHC_CACHE"
FOLDER: Final = "GRAPHC_CACHE_DIR"
SIZE: Final = "GRAPHC_CACHE_SIZE"

DEFAULT_LIMIT: Final = 1 << 30
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SWITCHES: Final = {"": True, "on": True, "1": True, "off": False, "0": False}
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CacheWarning(UserWarning):
    """Compiled kernels are not kept, though they were meant to be."""


class CacheSettings(NamedTuple):
    """``folder``: where entries lie, None where there is no place for them; ``limit``: bytes that they may take."""

    folder: Path | None
    limit: int
    enabled: bool


def cache_settings() -> CacheSettings:
    """What the environment asks for: GRAPHC_CACHE (``on`` or ``off``), GRAPHC_CACHE_DIR and GRAPHC_CACHE_SIZE.

    The size is bytes, or a number with K, M or G. Without a folder, entries lie where the platform keeps caches:
    ``$XDG_CACHE_HOME/graphc`` or ``~/.cache/graphc``, ``~/Library/Caches/graphc`` on macOS, ``%LOCALAPPDATA%\\graphc`` on
    Windows. Raises ArgumentError for any other value.
    """
    switch = os.environ.get(SWITCH, "")
    if switch.lower() not in _SWITCHES:
        raise ArgumentError(f"{SWITCH} is {switch!r}", hint="set it to on or off", cause=ArgumentError.SETTING)
    given = os.environ.get(FOLDER)
    root = Path(given).absolute() if given else _platform_folder()
    return CacheSettings(root and root / "kernels", _limit(), _SWITCHES[switch.lower()])


def _limit() -> int:
    text = os.environ.get(SIZE, "").strip().upper()
    if not text:
        return DEFAULT_LIMIT
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "")
    if not number.isdecimal() or not number.isascii():
        raise ArgumentError(
            f"{SIZE} is {text!r}", hint="set it to a number of bytes, such as 500000000 or 512M", cause=ArgumentError.SETTING
        )
    return int(number) * _UNITS[unit]


def _platform_folder() -> Path | None:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local, "graphc") if local else None
    given = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform != "darwin" and os.path.isabs(given):
        return Path(given, "graphc")
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user that the system does not know
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "graphc"


def make_folder(folder: Path) -> None:
    """Create ``folder`` for this user alone, and its parents as usual; nothing if it is there. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)


def distrust(status: os.stat_result) -> str | None:
    """Why code from a folder or file with ``status`` must not be run, or None: somebody else could have written it."""
    if not hasattr(os, "geteuid"):  # Windows, where a profile's folders have access lists of their own
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if status.st_mode & _OTHERS_WRITE:
        return "other users may write to it"
    return None


def check_folder(folder: Path) -> str | None:
    """Why ``folder`` cannot be used, or None. A folder that is missing can: it is made when it is needed."""
    try:
        status = os.stat(folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link"
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    return distrust(status)


def can_write(folder: Path) -> bool:
    """Whether this user may write to ``folder``, or where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def warn_of_folder(folder: Path, reason: str) -> None:
    """Say that ``folder`` is not used. Never raises, whatever the filters for warnings say."""
    with suppress(CacheWarning):
        warnings.warn(
            f"graphc does not keep compiled kernels in {folder}: {reason}. Name another folder in {FOLDER}, or set "
            f"{SWITCH}=off",
            CacheWarning,
            stacklevel=2,
        )
