"""Device names ("cuda", "cuda:0") → devices, which backends provide: memory, copies, and what is known of the hardware."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from graphc.errors import BackendError, DeviceError
from graphc.runtime.device_buffer import DeviceBuffer
from graphc.runtime.targets import TARGETS

#: Kinds of devices that have memory of their own. The module of ``graphc.backends`` for the target of that name has
#: ``device_count()`` and ``device(index)``.
KINDS = ("cuda",)


class Device(Protocol):
    """What has memory of its own, in which executables for ``target`` run. All work is in order."""

    name: str  # "cuda:0"
    target: str  # what graphs are compiled for to run there

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceBuffer:
        """New memory, row by row, with any contents. Raises DeviceError where there is not enough."""

    def upload(self, array: np.ndarray) -> DeviceBuffer:
        """A copy of ``array``, which may be changed at once."""

    def download(self, buffer: DeviceBuffer) -> np.ndarray:
        """A new ndarray with the contents of a contiguous ``buffer``; waits for what it depends on."""

    def copy(self, source: DeviceBuffer, target: DeviceBuffer) -> None:
        """Write the elements of ``source`` into ``target``, of the same shape and dtype; either may be any view. The two
        must not overlap in part."""

    def wrap(self, address: int, nbytes: int, owner: Any) -> Any:
        """A handle for memory that somebody else allocated; ``owner`` is kept for as long as it is used."""

    def address(self, memory: Any) -> int:
        """Where the memory of a handle begins."""

    @property
    def stream(self) -> int:
        """The stream that work is queued on, as ``__cuda_array_interface__`` names it."""

    def wait_for(self, stream: int) -> None:
        """Wait for the work on another library's stream, by the number that the CUDA array interface has for it."""

    def synchronize(self) -> None:
        """Wait until all work is done, and raise what failed in it."""

    @property
    def hardware(self) -> str:
        """What the manufacturer calls it."""

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability."""

    def memory_stats(self) -> dict[str, int]:
        """Bytes and counts of the allocator: at least ``allocated_bytes``, ``peak_allocated_bytes`` and ``reserved_bytes``."""

    def reset_peak_memory_stats(self) -> None:
        """Peaks start again from what is there now."""

    def empty_cache(self) -> None:
        """Give back memory that is kept for later allocations."""


def canonical_name(name: Any) -> str:
    """The full name of a device: "cpu", "cuda:0". Raises DeviceError for anything else.

    >>> canonical_name("cuda")
    'cuda:0'
    """
    text = str(name)
    kind, colon, index = text.partition(":")
    if text == "cpu":
        return text
    if kind in KINDS and (not colon or index.isdecimal()):
        return f"{kind}:{int(index or 0)}"
    known = ", ".join(["cpu", *KINDS])
    raise DeviceError(f"there is no device {text!r}", hint=f'known devices: {known}; for example device="cuda"')


def find_device(name: Any) -> Device:
    """The device called ``name``. Raises DeviceError where it or its driver is not there, BackendError where packages that it
    needs are not installed."""
    full = canonical_name(name)
    kind, _, index = full.partition(":")
    if kind not in KINDS:
        raise DeviceError(f"{full} has no memory of its own", hint=f"known devices: {', '.join(KINDS)}")
    found: Device | None = _found.get(full)
    if found is None:
        module: Any = importlib.import_module(f"graphc.backends.{TARGETS[kind]}")
        found = _found[full] = module.device(int(index))
    return found


_found: dict[str, Device] = {}


def device_count(kind: str) -> int:
    """How many devices of the kind can be used: 0 where there is no driver, or a package is missing."""
    try:
        module: Any = importlib.import_module(f"graphc.backends.{TARGETS[kind]}")
        return int(module.device_count())
    except (BackendError, DeviceError):
        return 0


def as_host(values: Sequence[Any]) -> list[Any]:
    """``values`` with buffers of devices copied to the host."""
    return [value.numpy() if type(value) is DeviceBuffer else value for value in values]
