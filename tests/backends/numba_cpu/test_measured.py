"""Choices by measurement: what decides, and what is kept."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graphc.backends.numba_cpu import measured
from graphc.backends.numba_cpu.measured import FEWEST, Times, compare, remembered
from graphc.runtime.disk_cache import CHOICE, DiskCache, Entry


class Clock:
    """Time that passes only where a run says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, *seconds: float) -> Callable[[], None]:
        """A run that takes ``seconds`` one after the other, and then the last of them."""
        rest: Iterator[float] = iter(seconds)

        def passing() -> None:
            self.now += next(rest, seconds[-1])

        return passing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(measured._process, "known", {})
    return tmp_path / "kernels"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured._process, "known", {})


def never() -> Times:
    raise AssertionError("it is measured again")


def test_the_least_of_several_counts() -> None:
    clock = Clock()
    times = compare(clock.run(9, 9, 3, 9), clock.run(9, 8, 8, 2, 8), clock)
    assert times == Times(3, 2) and times.prefers_rival


def test_ours_is_preferred_where_both_are_about_equal() -> None:
    clock = Clock()
    assert not compare(clock.run(1.0), clock.run(0.96), clock).prefers_rival
    assert compare(clock.run(1.0), clock.run(0.94), clock).prefers_rival


def test_the_rival_must_be_better_twice() -> None:
    clock = Clock()
    lucky = clock.run(*[1.0] * FEWEST, 0.5, *[1.0] * measured.MOST * 3)
    assert not compare(clock.run(1.0), lucky, clock).prefers_rival


def test_it_is_measured_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered("a product", ("a", "b"), lambda: Times(2.0, 1.0)) == Times(2.0, 1.0)
    assert remembered("a product", ("a", "b"), never) == Times(2.0, 1.0)
    forget(monkeypatch)  # another process
    assert remembered("a product", ("a", "b"), never) == Times(2.0, 1.0)
    assert remembered("another", ("ab", ""), lambda: Times(1.0, 2.0)) == Times(1.0, 2.0)
    files = list(folder.glob(f"{CHOICE}*"))
    assert len(files) == 2
    kept = {file.entry.fields["name"]: file.entry for file in DiskCache(folder, 1 << 30).entries() if file.entry is not None}
    assert kept["a product"].fields == {"name": "a product", "chosen": "blas", "ours": "2.0", "blas": "1.0"}
    assert kept["another"].fields["chosen"] == "ours"


@pytest.mark.parametrize("damage", [b"", b"graphc-kernel 1\nnothing of the kind"])
def test_what_is_damaged_is_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    remembered("a product", ("a",), lambda: Times(2.0, 1.0))
    (file,) = folder.glob(f"{CHOICE}*")
    file.write_bytes(damage)
    forget(monkeypatch)
    assert remembered("a product", ("a",), lambda: Times(3.0, 4.0)) == Times(3.0, 4.0)
    forget(monkeypatch)
    assert remembered("a product", ("a",), never) == Times(3.0, 4.0)


@pytest.mark.parametrize("fields", [{}, {"ours": "1.0"}, {"ours": "fast", "blas": "slow"}])
def test_an_entry_of_another_kind(folder: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]) -> None:
    remembered("a product", ("a",), lambda: Times(2.0, 1.0))
    (file,) = folder.glob(f"{CHOICE}*")
    DiskCache(folder, 1 << 30).store(file.name.removesuffix(".kernel"), Entry({"name": "x", **fields}, b""))
    forget(monkeypatch)
    assert remembered("a product", ("a",), lambda: Times(3.0, 4.0)) == Times(3.0, 4.0)


def test_without_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    assert remembered("a product", ("a",), lambda: Times(2.0, 1.0)) == Times(2.0, 1.0)
    assert remembered("a product", ("a",), never) == Times(2.0, 1.0)
    assert not folder.exists()


def test_threads_measure_one_after_the_other(folder: Path) -> None:
    running: list[int] = []
    most: list[int] = []

    def measure() -> Times:
        running.append(1)
        most.append(len(running))
        running.pop()
        return Times(1.0, 2.0)

    threads = [threading.Thread(target=remembered, args=("a", ("same",), measure)) for _ in range(4)]
    threads += [threading.Thread(target=remembered, args=("a", (f"other {n}",), measure)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
