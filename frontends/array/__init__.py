"""The array functions: broadcasting, promotion and NumPy's names, written once for every mode.

The public ones are listed in ``names.PUBLIC`` and loaded on first use (PEP 562), as ``import graphc`` reads that table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from graphc.frontends.array.names import PUBLIC

__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)
