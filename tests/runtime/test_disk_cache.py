"""Entries on disk: what is read back, what is a miss, what is evicted, and who else is there."""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphc.runtime import disk_cache as module
from graphc.runtime.cache_folder import CacheWarning
from graphc.runtime.disk_cache import MAGIC, DiskCache, Entry, cache_statistics, disk_cache, pack, unpack

ENTRY = Entry({"name": "map_exp", "symbol": "f=g"}, b"code\n\nwith \x00 bytes")
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has access lists instead")


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "folder" / "kernels", 1 << 20)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    counted: dict[str, int] = {}
    monkeypatch.setattr(module._process, "counts", counted)
    return counted


def files(cache: DiskCache) -> list[str]:
    return sorted(os.listdir(cache.folder))


def test_what_is_stored_is_loaded(cache: DiskCache, counts: dict[str, int]) -> None:
    assert cache.load("key") is None
    assert cache.store("key", ENTRY)
    assert cache.load("key") == ENTRY
    assert cache.load("other") is None
    assert counts == {"misses": 2, "stores": 1, "hits": 1}
    assert (cache_statistics().hits, cache_statistics().misses, cache_statistics().failures) == (1, 2, 0)
    assert files(cache) == ["key.kernel"]


def test_an_entry_is_replaced(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    other = Entry({"name": "map_log"}, b"")
    cache.store("key", other)
    assert cache.load("key") == other
    assert cache.size() == (1, len(pack("key", other)))


@POSIX
def test_files_are_private(cache: DiskCache) -> None:
    before = os.umask(0)
    try:
        cache.store("key", ENTRY)
    finally:
        os.umask(before)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert cache.path("key").stat().st_mode & 0o777 == 0o600


# What is wrong with an entry makes it a miss.


def test_every_bit_is_checked(cache: DiskCache) -> None:
    whole = pack("key", ENTRY)
    assert unpack("key", whole) == ENTRY
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match=r"checksum|version"):
            unpack("key", bytes(damaged))


def test_a_part_of_an_entry_is_a_miss(cache: DiskCache) -> None:
    whole = pack("key", ENTRY)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"checksum|version"):
            unpack("key", whole[:length])
    with pytest.raises(ValueError, match="checksum"):
        unpack("key", whole + b"\n")


def test_fields_must_end(cache: DiskCache) -> None:
    rest = b"name=x\nsymbol=y"
    with pytest.raises(ValueError, match="its fields do not end"):
        unpack("key", MAGIC + module._digest("key", rest) + b"\n" + rest)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"not ours",
        pack("key", ENTRY)[:-1],
        pack("key", ENTRY).replace(b"code", b"cope"),
        pack("key", ENTRY).replace(b"kernel 1", b"kernel 2", 1),
        pack("another key", ENTRY),
    ],
    ids=["empty", "foreign", "truncated", "damaged", "of another version", "under another key"],
)
def test_files_that_are_not_whole_are_misses_and_replaced(cache: DiskCache, contents: bytes) -> None:
    cache.store("key", ENTRY)
    cache.path("key").write_bytes(contents)
    assert cache.load("key") is None
    (listed,) = cache.entries()
    assert listed.entry is None and listed.damage is not None
    cache.store("key", ENTRY)
    assert cache.load("key") == ENTRY
    (listed,) = cache.entries()
    assert listed.entry == ENTRY and listed.damage is None


@POSIX
def test_files_that_others_could_have_written_are_misses(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("key", ENTRY)
    cache.path("key").chmod(0o620)
    assert cache.load("key") is None
    assert [file.damage for file in cache.entries()] == ["other users may write to it"]
    cache.path("key").chmod(0o600)
    os.replace(cache.path("key"), cache.folder / "elsewhere")
    cache.path("key").symlink_to("elsewhere")
    assert cache.load("key") is None
    cache.store("key", ENTRY)
    assert cache.load("key") == ENTRY and not cache.path("key").is_symlink()


def test_an_entry_that_cannot_be_read_is_a_miss(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    cache.path("key").unlink()
    cache.path("key").mkdir()
    assert cache.load("key") is None
    assert not cache.store("key", ENTRY)


# Folders that cannot be used fail no program.


def test_a_folder_that_cannot_be_made(tmp_path: Path, counts: dict[str, int]) -> None:
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file" / "kernels", 1 << 20)
    with pytest.warns(CacheWarning, match="Not a directory"):
        assert cache.load("key") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cache.store("key", ENTRY)
    assert counts == {"misses": 1}


@pytest.mark.parametrize("number", [13, 28, 30])  # permission denied, no space left, read-only file system
def test_a_disk_that_takes_nothing(
    cache: DiskCache, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    cache.store("old", ENTRY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", refuse)
        assert not cache.store("key", ENTRY)
    assert cache.load("old") == ENTRY
    assert files(cache) == ["old.kernel"]
    assert counts == {"stores": 1, "failures": 1, "hits": 1}


def test_nothing_is_left_of_a_file_that_could_not_be_finished(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("old", ENTRY)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not cache.store("key", ENTRY)
    assert files(cache) == ["old.kernel"]


def test_a_folder_that_goes_away_is_made_again(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    cache.clear()
    cache.folder.rmdir()
    assert cache.load("key") is None
    assert cache.store("key", ENTRY)
    assert cache.load("key") == ENTRY


@POSIX
def test_a_folder_that_others_may_write_to_is_not_used(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    cache.folder.chmod(0o770)
    again = DiskCache(cache.folder, cache.limit)
    with pytest.warns(CacheWarning, match="other users may write to it"):
        assert again.load("key") is None
    assert not again.store("other", ENTRY)
    assert files(cache) == ["key.kernel"]


# Room.


def age(cache: DiskCache, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(cache.path(key), (then, then))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, counts: dict[str, int]) -> None:
    size = len(pack("0", ENTRY))
    cache = DiskCache(tmp_path / "kernels", 10 * size)
    for number in range(10):
        cache.store(str(number), ENTRY)
        age(cache, str(number), 100_000 - number)
    assert len(files(cache)) == 10
    assert cache.load("0") == ENTRY  # now it is the one used last
    cache.store("x", ENTRY)
    assert files(cache) == [f"{name}.kernel" for name in ("0", "3", "4", "5", "6", "7", "8", "9", "x")]
    assert counts["evictions"] == 2


def test_a_use_is_written_down_once_an_hour(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    age(cache, "key", 600)
    before = cache.path("key").stat().st_mtime_ns
    cache.load("key")
    assert cache.path("key").stat().st_mtime_ns == before
    age(cache, "key", 7200)
    cache.load("key")
    assert time.time() - cache.path("key").stat().st_mtime < 600


def test_the_room_that_other_processes_take_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(pack("0", ENTRY))
    monkeypatch.setattr(module, "STORES_BETWEEN_SCANS", 4)
    ours, theirs = (DiskCache(tmp_path / "kernels", 10 * size) for _ in range(2))
    ours.store("a", ENTRY)
    for number in range(9):
        theirs.store(str(number), ENTRY)
        age(ours, str(number), 1000)
    for key in ("b", "c", "d"):
        ours.store(key, ENTRY)
    assert len(files(ours)) == 9


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "kernels", 0)
    assert cache.store("key", ENTRY)
    assert files(cache) == []


def test_what_died_processes_left_is_removed(cache: DiskCache) -> None:
    cache.store("key", ENTRY)
    for name, seconds in (("old", 7200), ("new", 10)):
        file = cache.folder / f".unfinished-{name}"
        file.write_bytes(b"half")
        os.utime(file, (time.time() - seconds,) * 2)
    cache._evict()
    assert files(cache) == [".unfinished-new", "key.kernel"]
    assert cache.clear() == (1, len(pack("key", ENTRY)))
    assert files(cache) == [".unfinished-new"]


def test_clearing_what_is_not_there(cache: DiskCache) -> None:
    assert cache.clear() == (0, 0)
    assert list(cache.entries()) == []
    assert cache.size() == (0, 0)


def test_entries_are_listed_by_their_last_use(cache: DiskCache) -> None:
    for number, key in enumerate(("a", "b", "c")):
        cache.store(key, Entry({"name": key}, b"x" * number))
        age(cache, key, 100 * number if number else 1000)
    assert [file.entry and file.entry.fields["name"] for file in cache.entries()] == ["b", "c", "a"]


# Others.


def test_threads(cache: DiskCache) -> None:
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait()
        for step in range(40):
            key = str((number + step) % 10)
            found = cache.load(key)
            if found is not None and found != Entry({"name": key}, key.encode() * 100):
                return False
            cache.store(key, Entry({"name": key}, key.encode() * 100))
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(files(cache)) == 10


def _race(folder: Path, number: int, results: "multiprocessing.Queue[bool]") -> None:
    """Load and store entries, with so little room that all processes evict all the time."""
    cache = DiskCache(folder, 3000)
    right = True
    for step in range(150):
        key = str((number * 7 + step) % 12)
        expected = Entry({"name": key}, key.encode() * 200)
        right &= cache.load(key) in (None, expected)
        right &= cache.store(key, expected)
    results.put(right)


def test_processes_that_store_and_evict_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bool] = context.Queue()
    processes = [context.Process(target=_race, args=(tmp_path / "kernels", number, results)) for number in range(4)]
    for process in processes:
        process.start()
    assert all(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    cache = DiskCache(tmp_path / "kernels", 3000)
    assert all(file.damage is None for file in cache.entries())
    assert not [name for name in files(cache) if name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_its_own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    with module._process.lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            cache = disk_cache()
            os._exit(0 if cache is not None and cache.store("key", ENTRY) and cache.load("key") == ENTRY else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    yield monkeypatch


def test_the_cache_that_the_environment_names(variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = disk_cache()
    assert cache is not None and cache.folder == tmp_path / "kernels" and cache is disk_cache()
    variables.setenv("GRAPHC_CACHE_SIZE", "1K")
    smaller = disk_cache()
    assert smaller is not None and smaller.limit == 1024
    variables.setenv("GRAPHC_CACHE", "off")
    assert disk_cache() is None
