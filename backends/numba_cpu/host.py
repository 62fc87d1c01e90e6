"""The processor that kernels are compiled for, as Numba chooses it, found out without importing Numba."""

from __future__ import annotations

import functools
import os
import platform
from typing import Final

import llvmlite.binding as llvm

#: Processors whose AVX Numba leaves alone: it is slow on the first, and the last is what some virtual machines pretend to be.
_WITHOUT_AVX: Final = frozenset({"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"})

IS_ARM: Final = platform.machine().lower() in ("aarch64", "arm64")


@functools.cache
def cpu_name() -> str:
    """LLVM's name of the processor; NUMBA_CPU_NAME, where that is set."""
    return os.environ.get("NUMBA_CPU_NAME") or str(llvm.get_host_cpu_name())


@functools.cache
def cpu_features() -> str:
    """LLVM's features, as in ``"+avx2,-avx512f"``; NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX are heeded."""
    given = os.environ.get("NUMBA_CPU_FEATURES")
    if given is not None or cpu_name().lower() == "generic":
        return given or ""
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return ""
    if not _uses_avx():
        for name in features:
            if name.startswith("avx"):
                features[name] = False
    return str(features.flatten())


def _uses_avx() -> bool:
    try:
        return int(os.environ["NUMBA_ENABLE_AVX"]) != 0
    except (KeyError, ValueError):
        return cpu_name() not in _WITHOUT_AVX


def has_feature(feature: str) -> bool:
    """Whether kernels are compiled for a CPU with the given LLVM feature, such as ``"f16c"``."""
    return f"+{feature}" in cpu_features().split(",")
