"""Under which key a kernel is kept on disk: everything that its code depends on, digested.

Two kernels have one key only if the same text would be compiled to the same code. What a text means depends on the
functions that it may call, so the sources of this package are in the key, whole; on Numba and LLVM, so their versions are;
on the processor; and on the settings of Numba. A change of any of them is a miss.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from graphc.backends.numba_cpu.host import cpu_features, cpu_name
from graphc.version import __version__

PACKAGE: Final = Path(__file__).resolve().parent

#: Settings of Numba's that do not change what is compiled.
HARMLESS: Final = frozenset({"NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY"})
NUMBA_SETTINGS: Final = Path(".numba_config.yaml")  # which Numba reads in the folder that a process starts in


def kernel_key(source: str, name: str, signature: Sequence[str], fast_math: bool, namespace: str) -> str | None:
    """The key of a kernel whose globals are those of the module ``namespace``; None where no key would be right."""
    environment = environment_digest()
    if environment is None:
        return None
    return digest([environment, namespace, name, ",".join(signature), f"fast_math={fast_math}", source])


def digest(parts: Iterable[str]) -> str:
    """A digest of ``parts`` that tells where one ends and the next begins."""
    hashed = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode()
        hashed.update(b"%d:" % len(data))
        hashed.update(data)
    return hashed.hexdigest()


@functools.cache
def environment_digest() -> str | None:
    """A digest of everything but the kernel; None where something cannot be found out."""
    parts = environment()
    return None if parts is None else digest(f"{name}={value}" for name, value in parts.items())


def environment() -> dict[str, str] | None:
    """What code depends on besides its text, by name."""
    numba, sources = numba_version(), sources_digest(PACKAGE)
    if numba is None or sources is None:
        return None
    try:
        settings = NUMBA_SETTINGS.read_text("utf-8") if NUMBA_SETTINGS.exists() else ""
    except (OSError, UnicodeDecodeError):
        return None
    variables = {n: v for n, v in os.environ.items() if n.startswith("NUMBA_") and n not in HARMLESS}
    return {
        "graphc": __version__,
        "sources": sources,
        "numba": numba,
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
        "python": f"{sys.implementation.cache_tag} {sys.abiflags if hasattr(sys, 'abiflags') else ''}",
        "triple": str(llvm.get_process_triple()),
        "processor": cpu_name(),
        "features": cpu_features(),
        "variables": repr(sorted(variables.items())),
        "settings": settings,
    }


def numba_version() -> str | None:
    """What tells Numba's releases apart, without importing Numba: its ``_version.py``."""
    spec = importlib.util.find_spec("numba")  # finds without importing
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        try:
            return Path(location, "_version.py").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return None


def sources_digest(folder: Path) -> str | None:
    """A digest of all Python files in and under ``folder``; None where there are none, as in an archive."""
    hashed = hashlib.blake2b(digest_size=20)
    files = sorted(folder.rglob("*.py"))
    try:
        for file in files:
            data = file.read_bytes()
            hashed.update(f"{file.relative_to(folder).as_posix()}:{len(data)}:".encode())
            hashed.update(data)
    except OSError:
        return None
    return hashed.hexdigest() if files else None
