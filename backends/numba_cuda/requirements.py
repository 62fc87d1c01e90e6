"""What the CUDA backend needs that may be missing, and the command that mends it. Nothing here imports what it looks for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from graphc.errors import BackendError

INSTALL: Final = "pip install 'graphc[cuda]'"


def missing() -> str | None:
    """The first package that is not installed, with what it is for; None where all are."""
    for module, what in (
        ("numba_cuda", "numba-cuda, which makes PTX of kernels"),
        ("cuda.core", "cuda-core, which links PTX to machine code"),
        ("cuda.bindings", "cuda-bindings, which talks to the driver"),
    ):
        if not is_there(module):
            return what
    return None


def is_there(module: str) -> bool:
    """Whether ``module`` could be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def require_packages() -> None:
    """Raise BackendError, with the command that installs it, where a package is not there."""
    what = missing()
    if what is not None:
        raise BackendError(
            f"the target cuda needs {what}, and it is not installed", hint=INSTALL, cause=BackendError.MISSING
        )
