"""PTX and cubins on disk, in the cache that the CPU's kernels are in: a product takes seconds to compile.

The key digests what code depends on: the text, its types and limits, the architecture, and what the CPU's kernels depend on
(`numba_cpu.fingerprint`: versions, settings, the sources of the scalar functions), with this package's sources and the versions
of what makes CUDA's code. It is coarse on purpose, as there.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from graphc.backends.numba_cpu.fingerprint import digest, environment, sources_digest
from graphc.runtime.disk_cache import Entry, disk_cache

from .adapter import Usage
from .source import DeviceSource

_MAKERS: Final = ("numba-cuda", "cuda-core", "cuda-bindings", "nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-nvjitlink")


def code_key(source: DeviceSource, architecture: str) -> str | None:
    """The key of a kernel's code; None where no key would be right."""
    surroundings = _environment_digest()
    if surroundings is None:
        return None
    parameters = ",".join(f"{p.short}{'[]' if p.is_array else '*'}" for p in source.parameters)
    limits = f"{source.threads},{source.resident},{len(source.sizes)},{source.checks}"
    return digest(["cuda", surroundings, architecture, source.name, parameters, limits, source.source])


@cache
def _environment_digest() -> str | None:
    known, sources = environment(), sources_digest(Path(__file__).resolve().parent)
    if known is None or sources is None:
        return None
    versions = {name: _version(name) for name in _MAKERS}
    return digest([f"{name}={value}" for name, value in (known | versions).items()] + [sources])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # other wheels have other names, and whatever came by other ways has none
        return ""


def load_code(key: str) -> tuple[str, bytes, Usage] | None:
    """PTX, cubin and use of a kernel from the disk; None where they are not there or damaged."""
    disk = disk_cache()
    entry = disk.load(key) if disk is not None else None
    if entry is None:
        return None
    try:
        numbers = {name: int(entry.fields[name]) for name in ("ptx", "registers", "spills", "stack", "shared")}
        length = numbers.pop("ptx")
        return entry.payload[:length].decode(), entry.payload[length:], Usage(**numbers)
    except (KeyError, ValueError):
        return None


def store_code(key: str, source: DeviceSource, architecture: str, ptx: str, cubin: bytes, usage: Usage) -> None:
    """Keep a kernel's code on disk, where that is wanted and possible."""
    disk = disk_cache()
    if disk is None:
        return
    text = ptx.encode()
    fields = {
        "name": source.name, "architecture": architecture, "ptx": str(len(text)), "registers": str(usage.registers),
        "spills": str(usage.spills), "stack": str(usage.stack), "shared": str(usage.shared),
    }  # fmt: skip
    disk.store(key, Entry(fields, text + cubin))
