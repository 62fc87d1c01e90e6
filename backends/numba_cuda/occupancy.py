"""How many warps of a kernel fit on a multiprocessor, from the limits in NVIDIA's CUDA C++ Programming Guide, "Technical
Specifications per Compute Capability" (https://docs.nvidia.com/cuda/cuda-c-programming-guide/)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from graphc.errors import BackendError
from graphc.locations import UNKNOWN

_REGISTERS: Final = 65536
_REGISTER_UNIT: Final = 256
_SHARED_UNIT: Final = 128


@dataclass(frozen=True)
class Architecture:
    """Limits of a multiprocessor: warps, blocks, bytes of shared memory, and those that each block takes for itself."""

    name: str
    warps: int
    blocks: int
    shared: int
    reserved: int = 1024

    @property
    def capability(self) -> tuple[int, int]:
        number = int(self.name.removeprefix("sm_"))
        return number // 10, number % 10


ARCHITECTURES: Final = {
    each.name: each
    for each in (
        Architecture("sm_75", 32, 16, 64 << 10, reserved=0),
        Architecture("sm_80", 64, 32, 164 << 10),
        Architecture("sm_86", 48, 16, 100 << 10),
        Architecture("sm_87", 48, 16, 164 << 10),
        Architecture("sm_89", 48, 24, 100 << 10),
        Architecture("sm_90", 64, 32, 228 << 10),
        Architecture("sm_100", 64, 32, 228 << 10),
        Architecture("sm_120", 48, 24, 100 << 10),
    )
}


def architecture(name: str) -> Architecture:
    """The architecture called ``name``; raises BackendError, naming those there are, for any other."""
    found = ARCHITECTURES.get(name)
    if found is None:
        raise BackendError(
            f"there is no CUDA architecture {name!r} that graphc compiles for",
            hint=f"use one of {', '.join(f'cuda:{each}' for each in ARCHITECTURES)}",
            location=UNKNOWN,
        )
    return found


def occupancy(architecture: Architecture, threads: int, registers: int, shared: int) -> tuple[float, str]:
    """The share of a multiprocessor's warps that blocks of a kernel can fill, and what limits it.

    >>> occupancy(ARCHITECTURES["sm_90"], threads=256, registers=40, shared=0)
    (0.75, 'registers')
    """
    warps = math.ceil(threads / 32)
    a_warp = math.ceil(max(1, registers) * 32 / _REGISTER_UNIT) * _REGISTER_UNIT
    used = math.ceil(shared / _SHARED_UNIT) * _SHARED_UNIT + architecture.reserved
    limits = {
        "warps": architecture.warps // warps,
        "blocks": architecture.blocks,
        "registers": _REGISTERS // a_warp // warps,
        "shared memory": architecture.shared // used if used else architecture.blocks,
    }
    what = min(limits, key=lambda name: limits[name])
    return limits[what] * warps / architecture.warps, what
