"""Intel's TBB, which divides a range among threads: idle ones take work from busy ones, and none spins at a barrier.

Numba has the loop over TBB in a compiled module of its own, ``tbbpool``. It is loaded by its file, without importing Numba.
The library that it needs is in a wheel that pip unpacks where the loader does not look, so that is loaded before.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Final

_MODULE: Final = "tbbpool"
_LIBRARIES: Final = ("libtbb.so.12", "tbb12.dll", "libtbb.so")


@functools.cache
def parallel_for_address() -> int:
    """The address of ``parallel_for(function, arguments, counts, steps, data, 0, 1, threads)``; 0 where there is no TBB.

    It calls ``function(arguments, counts, steps, data)`` on parts of the range [0, counts[0]), ``arguments[0]`` being
    where the part begins and ``counts[0]`` its length (with 0 in ``arguments[0]`` and 1 in ``steps[0]``).
    """
    library, module = _library_file(), _module_file()
    if library is None or module is None:
        return 0
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        spec = importlib.util.spec_from_file_location(_MODULE, module)
        if spec is None or spec.loader is None:
            return 0
        pool: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pool)
        _kept.append(pool)
    except (OSError, ImportError):
        return 0
    return int(getattr(pool, "parallel_for", 0))


_kept: Final[list[Any]] = []  # a module that is collected unloads its threads


def _library_file() -> Path | None:
    """TBB's library: beside the folder of packages, where its wheel puts it, else where the wheel's own list says."""
    for package in _numba_folders():
        packages, _, library, prefix = package.parents[:4]
        for folder in (library, prefix / "lib", library / "Library" / "bin", packages / "lib"):
            for name in _LIBRARIES:
                if (folder / name).exists():
                    return folder / name
    return _listed_library_file()


def _listed_library_file() -> Path | None:
    """TBB's library, from the list of files of the installed distribution."""
    metadata = import_module("importlib.metadata")  # takes 12 ms, so only where it is needed
    try:
        files = metadata.files("tbb") or ()
    except metadata.PackageNotFoundError:
        return None
    found = {file.name: Path(os.path.realpath(str(file.locate()))) for file in files if file.name in _LIBRARIES}
    return next((found[name] for name in _LIBRARIES if name in found and found[name].exists()), None)


def _module_file() -> Path | None:
    for folder in _numba_folders():
        for file in sorted((folder / "np" / "ufunc").glob(f"{_MODULE}.*")):
            return file
    return None


def _numba_folders() -> list[Path]:
    spec = importlib.util.find_spec("numba")  # finds without importing
    return [Path(os.path.abspath(folder)) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
