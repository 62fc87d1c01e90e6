"""`graphc doctor`."""

import json
import os
from pathlib import Path

import pytest

from graphc.backends.numba_cpu import blas
from graphc.backends.numba_cpu.blas import Blas
from graphc.cli import doctor
from graphc.runtime.determinism import deterministic
from graphc.runtime.disk_cache import CHOICE, DiskCache, Entry, cache_statistics
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


def test_who_computes_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("GRAPHC_MATMUL", raising=False)
    monkeypatch.setattr(blas, "find_blas", lambda: Blas("a library", 64, {}, None))
    fields = {"name": "product f32 (2, 3) @ (3, 4)", "chosen": "ours", "ours": "0.001", "blas": "0.0015"}
    DiskCache(tmp_path / "kernels", 1 << 30).store(f"{CHOICE}a", Entry(fields, b""))
    report = doctor._products()
    assert report["choices"] == [fields]
    assert report["summary"] == (
        "our kernels or a library, by measurement: 1 chosen\n  product f32 (2, 3) @ (3, 4): ours, 1 ms (blas 1.5 ms)"
    )
    with deterministic():
        assert doctor._products()["summary"].startswith("our kernels, as results have to repeat")
    monkeypatch.setenv("GRAPHC_MATMUL", "own")
    assert doctor._products()["summary"] == "own (GRAPHC_MATMUL)"
    monkeypatch.delenv("GRAPHC_MATMUL")
    monkeypatch.setattr(blas, "find_blas", lambda: None)
    assert doctor._products()["summary"] == "our kernels, as no BLAS can be called"
