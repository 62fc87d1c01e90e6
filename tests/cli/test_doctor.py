"""`graphc doctor`."""

import json

import pytest

from graphc.cli import doctor
from graphc.version import __version__
from tests.cli.conftest import Cli


def test_text(cli: Cli) -> None:
    result = cli("doctor")
    assert result.code == 0, result.out
    rows = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert rows["graphc"] == __version__
    assert rows["cache"].startswith("in-process only")
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


@pytest.mark.parametrize(
    ("devices", "compiler", "summary", "hint"),
    [
        (None, False, "not available: there is no NVIDIA driver", None),
        (1, False, "1 device, numba-cuda is missing", "pip install 'graphc[cuda]'"),
        (2, True, "2 devices, numba-cuda is installed", None),
    ],
)
def test_cuda(monkeypatch: pytest.MonkeyPatch, devices: int | None, compiler: bool, summary: str, hint: str | None) -> None:
    monkeypatch.setattr(doctor, "_cuda_devices", lambda: devices)
    monkeypatch.setattr(doctor, "find_spec", lambda name: object() if compiler else None)
    monkeypatch.setattr(doctor, "TARGETS", {"cpu": "", "cuda": ""})
    found = doctor._cuda()
    assert (found["summary"], found["hint"]) == (summary, hint)
    monkeypatch.setattr(doctor, "TARGETS", {"cpu": "", "reference": ""})
    without = doctor._cuda()
    assert without["summary"] == f"{summary}; graphc {__version__} compiles for cpu, reference only"
