"""What ``graphc doctor`` says about CUDA: driver, devices, toolkit, and what does not fit together. Loads no compiler."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

#: What compiles for CUDA, in the order in which it is missed.
PACKAGES: Final = ("numba-cuda", "cuda-core", "cuda-bindings", "nvidia-cuda-nvcc", "nvidia-nvjitlink", "nvidia-cuda-nvdisasm")
#: Without these, code can be made but not shown as SASS.
_OPTIONAL: Final = ("nvidia-cuda-nvdisasm",)
_INSTALL: Final = "pip install 'graphc[cuda]'"
_MAJOR: Final = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
_MINOR: Final = 76
_OLDEST: Final = (7, 5)  # what the toolkit of CUDA 13 compiles for
#: Generations of GPUs that there is code for: the major numbers of compute capabilities.
GENERATIONS: Final = (7, 8, 9, 10, 12)
#: Why cuInit fails, by its code, and what mends it.
_REFUSALS: Final = {
    34: ("the library found is the toolkit's stand-in for the driver", "take the toolkit's stubs out of LD_LIBRARY_PATH"),
    100: ("it finds no GPU", "look at nvidia-smi, and at CUDA_VISIBLE_DEVICES"),
    803: ("the driver was updated, and its older part still runs", "restart the machine"),
    804: ("the driver's compatibility package is for other GPUs", "remove the package cuda-compat, or update the driver"),
    999: ("its part in the kernel does not answer", "look at nvidia-smi; after an update or sleep, restart the machine"),
}


@dataclass(frozen=True)
class Device:
    """A GPU as the driver sees it; ``memory`` in bytes, 0 where that is not known."""

    name: str
    capability: tuple[int, int]
    memory: int = 0


@dataclass(frozen=True)
class Driver:
    """The newest CUDA that the driver knows, and its GPUs. ``error``: why it cannot be used, as the code that it gave."""

    version: tuple[int, int]
    devices: tuple[Device, ...]
    error: int = 0


def cuda_report() -> dict[str, Any]:
    """Everything about CUDA, as JSON data."""
    driver, packages = find_driver(), installed_packages()
    summary, hint = diagnose(driver, packages)
    return {
        "driver": None if driver is None else ".".join(map(str, driver.version)),
        "devices": [
            {"name": device.name, "capability": ".".join(map(str, device.capability)), "memory": device.memory}
            for device in (driver.devices if driver is not None else ())
        ],
        "toolkit": None if packages["nvidia-nvjitlink"] is None else _short(packages["nvidia-nvjitlink"]),
        "packages": packages,
        "summary": summary,
        "hint": hint,
    }


def installed_packages() -> dict[str, str | None]:
    """The version of each package that CUDA needs; None where it is not installed."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def find_driver() -> Driver | None:
    """NVIDIA's driver, asked through its own library; None where there is none."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return ask_driver(library)


def ask_driver(library: Any) -> Driver:
    """What a driver's library says about itself."""
    number = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(number))
    version = (number.value // 1000, number.value % 1000 // 10)
    error = int(library.cuInit(0))
    if error:
        return Driver(version, (), error)
    count = ctypes.c_int(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    devices: list[Device] = []
    for ordinal in range(count.value):
        handle, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
        name = ctypes.create_string_buffer(256)
        library.cuDeviceGet(ctypes.byref(handle), ordinal)
        library.cuDeviceGetName(name, len(name), handle)
        library.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle)
        library.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle)
        memory = ctypes.c_size_t(0)
        library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
        devices.append(Device(name.value.decode(errors="replace"), (major.value, minor.value), memory.value))
    return Driver(version, tuple(devices))


def diagnose(driver: Driver | None, packages: Mapping[str, str | None]) -> tuple[str, str | None]:
    """One sentence about what works and what does not, and the command that mends it, if there is one."""
    missing = [name for name in PACKAGES if packages.get(name) is None and name not in _OPTIONAL]
    toolkit = packages.get("nvidia-nvjitlink")
    compiles = f"kernels compile, with the toolkit of CUDA {_short(toolkit)}" if toolkit is not None and not missing else ""
    if driver is None:
        if missing:
            return f"no NVIDIA driver, and {_list(missing)} not installed, so nothing can be compiled or run", _INSTALL
        return f"{compiles}; there is no NVIDIA driver, so they run in the simulator only", None
    cuda = ".".join(map(str, driver.version))
    if driver.error:
        why, mend = _REFUSALS.get(driver.error, ("", "look at nvidia-smi"))
        reason = f"{why} (cuInit gave {driver.error})" if why else f"cuInit gave {driver.error}"
        return f"the NVIDIA driver (CUDA {cuda}) cannot be used: {reason}", mend
    names = ", ".join(f"{d.name} (sm_{d.capability[0]}{d.capability[1]})" for d in driver.devices) or "no GPU"
    found = f"driver of CUDA {cuda}, {names}"
    if missing:
        return f"{found}; {_list(missing)} not installed, so nothing can be compiled", _INSTALL
    if int(_short(toolkit).partition(".")[0]) > driver.version[0]:
        return (
            f"{found}; the driver is older than the toolkit of CUDA {_short(toolkit)}, whose code it does not load",
            f"update the driver, or pip install 'numba-cuda[cu{driver.version[0]}]'",
        )
    old = [d.name for d in driver.devices if d.capability < _OLDEST]
    if old:
        return f"{found}; {', '.join(old)}: older than sm_75, which is the oldest that graphc compiles for", None
    new = [d.name for d in driver.devices if d.capability[0] not in GENERATIONS]
    if new:
        known = ", ".join(f"{major}.x" for major in GENERATIONS)
        return f"{found}; {', '.join(new)}: graphc has code for compute capabilities {known} only", "pip install -U graphc"
    return f"{found}; {compiles}", None


def device_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each GPU, and one for what compiles for them."""
    rows = [
        (f"cuda:{number}", f"{d['name']}, compute capability {d['capability']}, {d['memory'] / 2**30:.1f} GiB")
        for number, d in enumerate(report["devices"])
    ]
    versions = [f"{name} {version}" for name, version in report["packages"].items() if version is not None]
    return [*rows, ("toolkit", ", ".join(versions) or "not installed")]


def _short(version: str | None) -> str:
    return ".".join((version or "0").split(".")[:2])


def _list(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
