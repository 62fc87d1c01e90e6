"""The BLAS that NumPy brought into the process: where its matrix products begin, and who it is.

A product through NumPy would leave the native loop and take the GIL. So the function of the C interface is looked up in the
libraries that NumPy's extension module depends on; where the platform's linker does not look there, no BLAS is known.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

#: How builds of OpenBLAS, MKL, BLIS and Accelerate call their functions, with the width of their integers.
_FORMS: Final = (
    ("scipy_cblas_{}64_", 64), ("cblas_{}64_", 64), ("cblas_{}_64", 64), ("cblas_{}$NEWLAPACK$ILP64", 64), ("cblas_{}", 32)
)  # fmt: skip
_FUNCTIONS: Final[Mapping[str, str]] = {"f32": "sgemm", "f64": "dgemm"}
_NAMED: Final = ("scipy_openblas_get_config64_", "openblas_get_config64_", "scipy_openblas_get_config", "openblas_get_config")
_COUNTED: Final = (
    "scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "scipy_openblas_get_num_threads",
    "openblas_get_num_threads", "mkl_get_max_threads", "MKL_Get_Max_Threads", "bli_thread_get_num_threads",
)  # fmt: skip


@dataclass(frozen=True)
class Blas:
    """``addresses``: dtype → its product of matrices, whose integers have ``bits``. ``name`` says which library it is."""

    name: str
    bits: int
    addresses: Mapping[str, int]
    _count: Any

    @property
    def threads(self) -> int | None:
        """How many threads it may use now; None where it does not say."""
        return None if self._count is None else int(self._count())


@functools.cache
def find_blas() -> Blas | None:
    """The BLAS in this process, or None where there is none that can be called."""
    try:
        library = ctypes.CDLL(str(import_module("numpy._core._multiarray_umath").__file__))
    except (ImportError, OSError):
        return None
    for form, bits in _FORMS:
        addresses = {short: _address(library, form.format(name)) for short, name in _FUNCTIONS.items()}
        found = {short: address for short, address in addresses.items() if address is not None}
        if len(found) == len(addresses):
            return Blas(f"{_name(library)} {form.format('gemm')}", bits, found, _function(library, _COUNTED, ctypes.c_int))
    return None


def _address(library: Any, name: str) -> int | None:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError:
        return None


def _function(library: Any, names: tuple[str, ...], result: Any) -> Any:
    for name in names:
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype, function.argtypes = result, ()
            return function
    return None


def _name(library: Any) -> str:
    describe = _function(library, _NAMED, ctypes.c_char_p)
    if describe is not None:
        return " ".join(describe().decode("ascii", "replace").split())
    built: Any = import_module("numpy").show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{built.get('name', 'BLAS')} {built.get('version', '')}".strip()
