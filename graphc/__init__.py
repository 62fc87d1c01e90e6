"""graphc: a dual-mode graph compiler for NumPy-style programs and deep learning.

Use it as ``import graphc as gc``. The public names are listed in `_EXPORTS` and loaded on first use (PEP 562), so that
importing graphc stays cheap: Numba and SciPy are not loaded until something needs them.
"""

from importlib import import_module
from typing import Final

__version__: Final = "0.1.0"

# Public name -> the module that defines it. An entry whose module ends in the name itself is that submodule.
_EXPORTS: Final[dict[str, str]] = {}

__all__ = ["__version__", *sorted(_EXPORTS)]  # noqa: PLE0604 - names come from the table above


def __getattr__(name: str) -> object:
    module_name = _EXPORTS.get(name)
    if module_name is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)
    module = import_module(module_name)
    value: object = module if module_name.rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
