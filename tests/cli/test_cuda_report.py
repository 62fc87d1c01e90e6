"""What `graphc doctor` says about CUDA, for every machine that there may be."""

import ctypes
from typing import Any

import pytest

from graphc.cli import cuda_report as report
from graphc.cli.cuda_report import PACKAGES, Device, Driver, ask_driver, diagnose

ALL = dict.fromkeys(PACKAGES, "13.5.37")
H100 = Device("NVIDIA H100", (9, 0))


FOUND = "driver of CUDA 13.0, NVIDIA H100 (sm_90)"
COMPILES = "kernels compile, with the toolkit of CUDA 13.5"
INSTALL = "pip install 'graphc[cuda]'"


@pytest.mark.parametrize(
    ("driver", "packages", "summary", "hint"),
    [
        (None, ALL, f"{COMPILES}; there is no NVIDIA driver, so they run in the simulator only", None),
        (
            None,
            {**ALL, "numba-cuda": None},
            "no NVIDIA driver, and numba-cuda is not installed, so nothing can be compiled or run",
            INSTALL,
        ),
        (
            Driver((13, 0), (H100,)),
            {"numba-cuda": "0.30.4", "cuda-core": "1.2.2", "cuda-bindings": "13.4"},
            f"{FOUND}; nvidia-cuda-nvcc, nvidia-nvjitlink are not installed, so nothing can be compiled",
            INSTALL,
        ),
        (Driver((13, 0), (H100,)), ALL, f"{FOUND}; {COMPILES}", None),
        (Driver((13, 0), (H100,)), {**ALL, "nvidia-cuda-nvdisasm": None}, f"{FOUND}; {COMPILES}", None),
        (
            Driver((12, 4), (H100,)),
            ALL,
            "driver of CUDA 12.4, NVIDIA H100 (sm_90); the driver is older than the toolkit of CUDA 13.5, whose code it does "
            "not load",
            "update the driver, or pip install 'numba-cuda[cu12]'",
        ),
        (Driver((13, 0), (), 999), ALL, "the NVIDIA driver (CUDA 13.0) cannot be used: cuInit gave 999", "look at nvidia-smi"),
        (Driver((13, 0), ()), ALL, f"driver of CUDA 13.0, no GPU; {COMPILES}", None),
        (
            Driver((13, 0), (Device("GTX 1080", (6, 1)),)),
            ALL,
            "driver of CUDA 13.0, GTX 1080 (sm_61); GTX 1080: older than sm_75, which is the oldest that graphc compiles for",
            None,
        ),
    ],
)
def test_the_diagnosis(driver: Driver | None, packages: dict[str, str | None], summary: str, hint: str | None) -> None:
    assert diagnose(driver, packages) == (summary, hint)


class Library:
    """A driver's library with one GPU."""

    def __init__(self, error: int = 0) -> None:
        self.error = error

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13010
        return 0

    def cuInit(self, flags: int) -> int:
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, handle: Any, ordinal: int) -> int:
        return 0

    def cuDeviceGetName(self, name: Any, size: int, handle: ctypes.c_int) -> int:
        name.value = b"NVIDIA H100"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, handle: ctypes.c_int) -> int:
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0


def test_a_driver_is_asked_for_its_devices() -> None:
    assert ask_driver(Library()) == Driver((13, 1), (H100,))
    assert ask_driver(Library(error=100)) == Driver((13, 1), (), 100)


def test_the_report_is_json_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_driver", lambda: Driver((13, 0), (H100,)))
    monkeypatch.setattr(report, "installed_packages", lambda: dict(ALL))
    found = report.cuda_report()
    assert found["driver"] == "13.0"
    assert found["devices"] == [{"name": "NVIDIA H100", "capability": "9.0"}]
    assert found["packages"] == ALL


def test_packages_that_are_not_there_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "numba-cuda":
            return "0.30.4"
        raise report.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(report.metadata, "version", version)
    found = report.installed_packages()
    assert found["numba-cuda"] == "0.30.4"
    assert found["cuda-core"] is None


def test_without_a_library_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(report.ctypes, "CDLL", refuse)
    assert report.find_driver() is None
