"""What `graphc doctor` says about CUDA, for every machine that there may be."""

import ctypes
from typing import Any

import pytest

from graphc.cli import cuda_report as report
from graphc.cli.cuda_report import PACKAGES, Device, Driver, ask_driver, diagnose
from graphc.errors import BackendError

ALL = dict.fromkeys(PACKAGES, "13.5.37")
H100 = Device("NVIDIA H100", (9, 0), 80 << 30)


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
        (Driver((13, 0), (), 2), ALL, "the NVIDIA driver (CUDA 13.0) cannot be used: cuInit gave 2", "look at nvidia-smi"),
        (
            Driver((13, 0), (), 803),
            ALL,
            "the NVIDIA driver (CUDA 13.0) cannot be used: the driver was updated, and its older part still runs "
            "(cuInit gave 803)",
            "restart the machine",
        ),
        (
            Driver((14, 0), (Device("NVIDIA X", (13, 0)),)),
            ALL,
            "driver of CUDA 14.0, NVIDIA X (sm_130); NVIDIA X: graphc has code for compute capabilities 7.x, 8.x, 9.x, 10.x, "
            "12.x only",
            "pip install -U graphc",
        ),
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

    def cuDeviceTotalMem_v2(self, memory: Any, handle: ctypes.c_int) -> int:
        memory._obj.value = 80 << 30
        return 0


def test_a_driver_is_asked_for_its_devices() -> None:
    assert ask_driver(Library()) == Driver((13, 1), (H100,))
    assert ask_driver(Library(error=100)) == Driver((13, 1), (), 100)


def test_the_report_is_json_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_driver", lambda: Driver((13, 0), (H100,)))
    monkeypatch.setattr(report, "installed_packages", lambda: dict(ALL))
    found = report.cuda_report()
    assert found["driver"] == "13.0"
    assert found["devices"] == [{"name": "NVIDIA H100", "capability": "9.0", "memory": 80 << 30}]
    assert found["toolkit"] == "13.5"
    assert found["packages"] == ALL
    rows = dict(report.device_rows(found))
    assert rows["cuda:0"] == "NVIDIA H100, compute capability 9.0, 80.0 GiB"
    assert "nvidia-nvjitlink 13.5.37" in rows["toolkit"]


def test_the_generations_are_those_that_there_is_code_for() -> None:
    occupancy = pytest.importorskip("graphc.backends.numba_cuda.occupancy", exc_type=BackendError)
    assert {each.capability[0] for each in occupancy.ARCHITECTURES.values()} == set(report.GENERATIONS)


def test_a_machine_without_packages_says_so() -> None:
    assert report.device_rows({"devices": [], "packages": dict.fromkeys(PACKAGES)}) == [("toolkit", "not installed")]


def test_a_report_without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_driver", lambda: None)
    monkeypatch.setattr(report, "installed_packages", lambda: dict.fromkeys(PACKAGES))
    assert report.cuda_report()["toolkit"] is None


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
