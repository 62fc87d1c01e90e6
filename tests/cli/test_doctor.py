"""`graphc doctor`."""

import json
import os
from pathlib import Path

import pytest

from graphc.cli import doctor
from graphc.runtime.disk_cache import DiskCache, Entry, cache_statistics
from graphc.version import __version__
from tests.cli.conftest import Cli


def test_text(cli: Cli) -> None:
    result = cli("doctor")
    assert result.code == 0, result.out
    rows = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert rows["graphc"] == __version__
    assert rows["cache"].startswith(os.path.join(os.environ["GRAPHC_CACHE_DIR"], "kernels"))
    assert rows["check"] == "a kernel was compiled and agrees with the reference"
    assert {"python", "numpy", "numba", "llvmlite", "ml_dtypes", "processor", "threads", "blas", "cuda"} <= set(rows)


def test_json(cli: Cli) -> None:
    result = cli("doctor", "--json")
    assert result.code == 0
    report = json.loads(result.out)
    assert report["versions"]["graphc"] == __version__
    assert report["check"]["passed"] is True
    assert 0 <= report["check"]["error"] < 1e-6
    assert report["threads"]["usable"] >= 1
    assert report["processor"]["features"] == sorted(report["processor"]["features"])


def test_a_broken_installation_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ImportError("no compiler here")

    monkeypatch.setattr(doctor, "compile_graph", broken)
    result = cli("doctor")
    assert result.code == 1
    assert "failed: ImportError: no compiler here" in result.out


def test_the_kernel_is_compiled_not_loaded(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    before = cache_statistics()
    assert cli("doctor").code == 0
    assert cache_statistics() == before
    assert not (tmp_path / "cache").exists()
    assert "GRAPHC_CACHE" not in os.environ


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHC_CACHE_SIZE", "1M")
    DiskCache(tmp_path / "kernels", 1 << 20).store("key", Entry({"name": "map"}, bytes(2000)))
    report = doctor._cache()
    size = (tmp_path / "kernels" / "key.kernel").stat().st_size
    assert {name: report[name] for name in report if name != "summary"} == {
        "enabled": True, "folder": str(tmp_path / "kernels"), "kernels": 1, "bytes": size, "limit": 1 << 20
    }  # fmt: skip
    assert report["summary"] == f"{tmp_path / 'kernels'}: 1 kernel, 2.0 KiB of at most 1.0 MiB"
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    assert doctor._cache()["enabled"] is False
    assert doctor._cache()["summary"].startswith(f"off (GRAPHC_CACHE); {tmp_path / 'kernels'}: 1 kernel")


def test_a_cache_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels").write_text("")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    report = doctor._cache()
    assert (report["enabled"], report["summary"]) == (False, f"{tmp_path / 'kernels'}: not used: it is not a folder")
    monkeypatch.setenv("GRAPHC_CACHE_SIZE", "some")
    report = doctor._cache()
    assert (report["enabled"], report["summary"]) == (False, "not used: GRAPHC_CACHE_SIZE is 'SOME'")
