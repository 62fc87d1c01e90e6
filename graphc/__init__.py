"""graphc: a dual-mode graph compiler for NumPy-style programs and deep learning.

Use it as ``import graphc as gc``. The public names are listed in `_EXPORTS` and loaded on first use (PEP 562), so that
importing graphc stays cheap: neither Numba nor NumPy is loaded until something needs it.
"""

from importlib import import_module
from typing import Final

from graphc.version import __version__

# Public name -> the module that defines it. Where the module's own last name is the public name, the module is meant.
_EXPORTS: Final[dict[str, str]] = {}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_EXPORTS[name])
    value: object = module if _EXPORTS[name].endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
