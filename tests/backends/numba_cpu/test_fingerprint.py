"""The key of a kernel on disk: what is in it."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from graphc.backends.numba_cpu import fingerprint
from graphc.backends.numba_cpu.fingerprint import PACKAGE, digest, environment, kernel_key, numba_version, sources_digest


def test_the_key_tells_every_part_of_a_kernel() -> None:
    kernels = [
        ("def f(x): pass", "f", ("i64",), False, "kernel_names"),
        ("def f(x): pass ", "f", ("i64",), False, "kernel_names"),
        ("def f(x): pass", "g", ("i64",), False, "kernel_names"),
        ("def f(x): pass", "f", ("i64", "i64"), False, "kernel_names"),
        ("def f(x): pass", "f", ("i64",), True, "kernel_names"),
        ("def f(x): pass", "f", ("i64",), False, "walker_names"),
    ]
    keys = {kernel_key(*kernel) for kernel in kernels}
    assert len(keys) == len(kernels)
    assert all(key is not None and len(key) == 40 for key in keys)
    assert kernel_key(*kernels[0]) in keys


def test_a_digest_tells_where_parts_end() -> None:
    assert len({digest(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"], [])}) == 6


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "import sys\n"
        "from graphc.backends.numba_cpu.fingerprint import environment_digest\n"
        "print(environment_digest(), 'numba' in sys.modules)\n"
    )
    for seed in ("1", "2"):
        variables = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == [fingerprint.environment_digest(), "False"]


def test_the_version_of_numba_is_found_without_it() -> None:
    found = numba_version()
    assert found is not None and numba.__version__ == importlib.metadata.version("numba")
    assert numba.__version__ in found


def test_every_source_counts(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "inner" / "b.py").write_text("y = 1\n")
    found = [sources_digest(tmp_path)]
    (tmp_path / "inner" / "b.py").write_text("y = 2\n")
    found.append(sources_digest(tmp_path))
    (tmp_path / "inner" / "b.py").rename(tmp_path / "b.py")
    found.append(sources_digest(tmp_path))
    (tmp_path / "c.py").write_text("")
    found.append(sources_digest(tmp_path))
    assert len(set(found)) == 4
    (tmp_path / "notes.txt").write_text("")
    assert sources_digest(tmp_path) == found[-1]
    assert sources_digest(tmp_path / "missing") is None


def test_the_sources_are_those_of_the_backend() -> None:
    assert (PACKAGE / "kernel_names.py").exists() and (PACKAGE / "gemm" / "tiles.py").exists()


def test_settings_of_numbas_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = environment()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert environment() == before
    monkeypatch.setenv("NUMBA_OPT", "1")
    after = environment()
    assert before is not None and after is not None
    assert {name for name in after if after[name] != before[name]} == {"variables"}
    (tmp_path / ".numba_config.yaml").write_text("opt: 1\n")
    changed = environment()
    assert changed is not None and changed["settings"] != after["settings"]


def test_without_sources_or_numba_there_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    assert environment() is None
    fingerprint.environment_digest.cache_clear()
    assert kernel_key("", "f", (), False, "kernel_names") is None
    fingerprint.environment_digest.cache_clear()
    monkeypatch.undo()
    monkeypatch.setattr(fingerprint, "numba_version", lambda: None)
    assert environment() is None
