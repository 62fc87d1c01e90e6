"""``gc.cuda``: what GPUs there are, and their memory. Nothing of CUDA is loaded before one of these functions needs it."""

from __future__ import annotations

from typing import Any

from graphc.errors import BackendError, DeviceError
from graphc.runtime import devices
from graphc.runtime.devices import Device, canonical_name, find_device


def is_available() -> bool:
    """Whether tensors can be made on a GPU: there is a driver, a GPU that it knows, and the packages that graphc needs.

    >>> device = "cuda" if gc.cuda.is_available() else "cpu"
    """
    return device_count() > 0


def device_count() -> int:
    """How many GPUs can be used: one where there are any, as graphc uses the first, else none."""
    return devices.device_count("cuda")


def current_device() -> int:
    """The number of the GPU that ``"cuda"`` stands for."""
    return 0


def get_device_name(device: Any = None) -> str:
    """What its manufacturer calls a GPU. Raises DeviceError where it is not there."""
    return _find(device).hardware


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU, (9, 0) for an H100; (0, 0) in the simulator. Raises DeviceError where there is none."""
    return _find(device).capability


def synchronize(device: Any = None) -> None:
    """Wait until all work on a GPU is done. Raises what failed in it, and DeviceError where there is no such GPU."""
    _find(device).synchronize()


def memory_stats(device: Any = None) -> dict[str, int]:
    """Bytes and counts of the allocator of a GPU, since the program began: ``allocated_bytes`` in use by tensors and programs,
    ``reserved_bytes`` that the driver gave, the peaks of both, and how often what was done."""
    return _find(device).memory_stats()


def memory_allocated(device: Any = None) -> int:
    """The bytes on a GPU that tensors and programs use now."""
    return memory_stats(device)["allocated_bytes"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that were in use at once, since the beginning or :func:`reset_peak_memory_stats`."""
    return memory_stats(device)["peak_allocated_bytes"]


def memory_reserved(device: Any = None) -> int:
    """The bytes that the driver gave: those in use, and those kept for later."""
    return memory_stats(device)["reserved_bytes"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Peaks start again from what is there now."""
    _find(device).reset_peak_memory_stats()


def empty_cache() -> None:
    """Give memory that is kept for later back to the driver, for other programs; nothing where there is no GPU."""
    try:
        found = _find(None)
    except (DeviceError, BackendError):
        return
    found.empty_cache()


def _find(device: Any) -> Device:
    if device is None:
        return find_device("cuda")
    if isinstance(device, int):
        return find_device(f"cuda:{device}")
    name = canonical_name(device)
    if not name.startswith("cuda"):
        raise DeviceError(f"{name} is no GPU", hint='gc.cuda takes "cuda", "cuda:0" or 0')
    return find_device(name)
