"""Structural ops on a GPU: generators of kernel text, by the name of the primitive that they lower."""

from __future__ import annotations

from typing import Final

from graphc.backends.numba_cuda.source import DeviceLowering

LOWERINGS: Final[dict[str, DeviceLowering]] = {}
