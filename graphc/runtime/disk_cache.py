"""Compiled code in files: one entry a file, private to the user, checked when it is read, replaced in one step.

An entry is bytes under a key, with a few short fields that describe it::

    graphc-kernel 1            the format and its version
    b0f2…                      digest of the key and of everything that follows
    name=map_exp               fields, a line each
    …
                               an empty line, then the bytes

Nothing here raises for what is wrong with the disk: an entry that cannot be read is a miss, one that cannot be written is
not kept. Processes need no locks. A file appears whole under its name or not at all, two that write one key write the
same, and a reader has all of a file or, where another process evicted it, nothing.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from graphc.runtime.cache_folder import cache_settings, check_folder, distrust, make_folder, warn_of_folder

MAGIC: Final = b"graphc-kernel 1\n"
SUFFIX: Final = ".kernel"
CHOICE: Final = "choice-"
"""What the keys of entries begin with that are no kernels: which of two ways of computing something was faster."""
_UNFINISHED: Final = ".unfinished-"
_DIGEST: Final = 64  # hexadecimal digits

TOUCH_AFTER: Final = 3600.0
"""Seconds after which a use of an entry is written down, in its time of modification; the order of eviction."""
ABANDONED_AFTER: Final = 3600.0
"""Seconds after which an unfinished file is one of a process that died."""
KEPT_SHARE: Final = 0.9  # of the limit is kept when entries are evicted, so that the next store need not evict again
STORES_BETWEEN_SCANS: Final = 256  # other processes store too


_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Entry(NamedTuple):
    """What is stored under a key."""

    fields: Mapping[str, str]
    payload: bytes


class EntryFile(NamedTuple):
    """A file of the cache. ``entry`` is None, and ``damage`` says why, where it cannot be used."""

    path: Path
    size: int
    used: float
    entry: Entry | None
    damage: str | None


class CacheStatistics(NamedTuple):
    """What this process had from the disk: entries found, not found, written, not written for an error, and evicted."""

    hits: int = 0
    misses: int = 0
    stores: int = 0
    failures: int = 0
    evictions: int = 0


def _digest(key: str, rest: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + b"\n" + rest, digest_size=_DIGEST // 2).hexdigest().encode()


def pack(key: str, entry: Entry) -> bytes:
    """The contents of the file of ``entry``."""
    lines = [f"{name}={value}" for name, value in entry.fields.items()]
    assert all("\n" not in line for line in lines) and all("=" not in name for name in entry.fields)
    rest = "\n".join([*lines, "", ""]).encode() + entry.payload
    return MAGIC + _digest(key, rest) + b"\n" + rest


def unpack(key: str, data: bytes) -> Entry:
    """The entry in ``data``; raises ValueError, saying what is wrong, unless it is a whole entry for ``key``."""
    if not data.startswith(MAGIC):
        raise ValueError("it is of another format or version")
    start = len(MAGIC) + _DIGEST + 1
    rest = data[start:]
    if data[len(MAGIC) : start] != _digest(key, rest) + b"\n":
        raise ValueError("its checksum is wrong")
    head, separator, payload = rest.partition(b"\n\n")
    if not separator:
        raise ValueError("its fields do not end")
    return Entry(dict(line.split("=", 1) for line in head.decode().split("\n")), payload)


class DiskCache:
    """The entries in ``folder``, which take about ``limit`` bytes at most: those not used for longest go first.

    Safe to use from several threads, and beside other processes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._bytes: int | None = None
        """What the entries take, as far as this process knows."""
        self._stores = 0
        self._usable: bool | None = None

    def path(self, key: str) -> Path:
        return self.folder / (key + SUFFIX)

    def load(self, key: str) -> Entry | None:
        """The entry under ``key``; None if there is none that can be trusted."""
        entry = self._load(key) if self._may_use() else None
        _count("misses" if entry is None else "hits")
        return entry

    def _load(self, key: str) -> Entry | None:
        path = self.path(key)
        try:
            data, status = _read(path)
            entry = unpack(key, data)
        except (OSError, ValueError):
            return None
        now = time.time()
        if not 0 <= now - status.st_mtime < TOUCH_AFTER:
            with suppress(OSError):
                os.utime(path, (now, now))
        return entry

    def store(self, key: str, entry: Entry) -> bool:
        """Keep ``entry`` under ``key``, in place of what was there; False where the disk does not allow it."""
        if not self._may_use():
            return False
        data = pack(key, entry)
        try:
            try:
                self._write(key, data)
            except FileNotFoundError:
                make_folder(self.folder)
                if not self._may_use(again=True):
                    return False
                self._write(key, data)
        except OSError:
            _count("failures")
            return False
        _count("stores")
        self._bound(len(data))
        return True

    def _write(self, key: str, data: bytes) -> None:
        name = self.folder / f"{_UNFINISHED}{os.getpid()}-{os.urandom(8).hex()}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode=0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, self.path(key))
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise

    def _may_use(self, *, again: bool = False) -> bool:
        if self._usable is None or again:
            reason = check_folder(self.folder)
            self._usable = reason is None
            if reason is not None:
                warn_of_folder(self.folder, reason)
        return self._usable

    def _bound(self, added: int) -> None:
        """Evict if, after ``added`` bytes more, the entries take more than the limit."""
        self._stores += 1
        if self._bytes is None or self._stores % STORES_BETWEEN_SCANS == 0:
            self._bytes = sum(size for _, size, _ in self._files())
        else:
            self._bytes += added
        if self._bytes > self.limit:
            self._evict()

    def _evict(self) -> None:
        files = sorted(self._files(), key=lambda file: file[2])
        total = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if total <= self.limit * KEPT_SHARE:
                break
            if _unlink(path):
                _count("evictions")
            total -= size
        self._bytes = total
        self._remove_abandoned()

    def _files(self) -> list[tuple[Path, int, float]]:
        """Path, size and time of last use of each entry."""
        found: list[tuple[Path, int, float]] = []
        with suppress(OSError), os.scandir(self.folder) as items:
            for item in items:
                if item.name.endswith(SUFFIX) and not item.name.startswith("."):
                    with suppress(OSError):  # another process evicted it
                        status = item.stat(follow_symlinks=False)
                        found.append((Path(item.path), status.st_size, status.st_mtime))
        return found

    def _remove_abandoned(self, older_than: float = ABANDONED_AFTER) -> None:
        with suppress(OSError), os.scandir(self.folder) as items:
            for item in items:
                if item.name.startswith(_UNFINISHED):
                    with suppress(OSError):
                        if time.time() - item.stat(follow_symlinks=False).st_mtime >= older_than:
                            os.unlink(item.path)

    def choices(self) -> int:
        """How many entries are no kernels but choices between two."""
        return sum(path.name.startswith(CHOICE) for path, _, _ in self._files())

    def size(self) -> tuple[int, int]:
        """How many entries there are, and how many bytes they take."""
        files = self._files()
        return len(files), sum(size for _, size, _ in files)

    def entries(self) -> Iterator[EntryFile]:
        """All entries, read and checked, those used last first. Raises nothing for those that are damaged."""
        for path, size, used in sorted(self._files(), key=lambda file: (-file[2], file[0])):
            try:
                data, _ = _read(path)
                entry, damage = unpack(path.name.removesuffix(SUFFIX), data), None
            except FileNotFoundError:
                continue
            except OSError as error:
                entry, damage = None, error.strerror or str(error)
            except ValueError as error:
                entry, damage = None, str(error)
            yield EntryFile(path, size, used, entry, damage)

    def remove(self, file: EntryFile) -> bool:
        """Delete the file of an entry; False where that fails."""
        return _unlink(file.path)

    def clear(self) -> tuple[int, int]:
        """Delete all entries, and what died processes left; how many there were that could be, and their bytes."""
        count = freed = 0
        for path, size, _ in self._files():
            if _unlink(path):
                count, freed = count + 1, freed + size
        self._remove_abandoned(older_than=60.0)
        self._bytes = None
        return count, freed


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """The contents of a file that only this user (or root) could have written; raises ValueError for any other."""
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        reason = distrust(status)
        if reason is not None:
            raise ValueError(reason)
        return file.read(), status


def _unlink(path: Path) -> bool:
    try:
        os.unlink(path)
    except OSError:  # it is gone, or open elsewhere (Windows)
        return False
    return True


class _Process:
    """The counts of this process, and its view of each folder."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.caches: dict[tuple[Path, int], DiskCache] = {}
        self.lock = threading.Lock()

    def renew_lock(self) -> None:
        self.lock = threading.Lock()


_process: Final = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew_lock)


def _count(what: str) -> None:
    with _process.lock:
        _process.counts[what] = _process.counts.get(what, 0) + 1


def cache_statistics() -> CacheStatistics:
    """What this process, and those it was forked from, had from the cache on disk so far.

    >>> before = cache_statistics()
    >>> executable = compile_graph(graph)
    >>> cache_statistics().misses - before.misses  # kernels that had to be compiled
    0
    """
    with _process.lock:
        return CacheStatistics(**_process.counts)


def disk_cache() -> DiskCache | None:
    """The cache that the environment names; None where it is off or there is no place for it.

    Raises ArgumentError for values that :func:`graphc.runtime.cache_folder.cache_settings` does not know.
    """
    settings = cache_settings()
    if not settings.enabled or settings.folder is None:
        return None
    key = (settings.folder, settings.limit)
    with _process.lock:
        if key not in _process.caches:
            _process.caches[key] = DiskCache(*key)
        return _process.caches[key]
