"""Object code → address of a function, through LLVM's linker alone; Numba is not needed.

Each object is a library of its own, so that symbols of the same name in two objects, which two processes may have
compiled, are told apart. What an object may want from outside is the C library's functions in `KNOWN_SYMBOLS`.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any, Final

import llvmlite.binding as llvm

_ROUNDING: Final = ("floor", "ceil", "trunc", "roundeven", "fma")
LIBM_SYMBOLS: Final = frozenset({"pow", "fmod", "fmodf", *_ROUNDING, *(f"{name}f" for name in _ROUNDING)})
"""``pow`` is called by name; the others are what LLVM calls for instructions that a CPU lacks."""

KNOWN_SYMBOLS: Final = LIBM_SYMBOLS | {"memcpy", "memmove", "memset"}

_C_LIBRARIES: Final = (None, "libm.so.6", "ucrtbase")  # None: what the process has loaded already


class LoadError(Exception):
    """The object cannot be loaded here."""


def load_object(code: bytes, symbol: str, wanted: frozenset[str]) -> int:
    """The address of ``symbol`` in the object ``code``, which wants the symbols ``wanted``. It stays loaded for ever.

    Raises LoadError where it wants what this process lacks, does not have ``symbol``, or is not an object of this machine.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(symbol)
    for name in sorted(wanted):
        builder.import_symbol(name, _known_address(name))
    with _linker.lock:
        _linker.count += 1
        try:
            library = builder.link(_linker.jit(), f"kernel {_linker.count}")
            address = int(library[symbol])
        except (RuntimeError, KeyError) as error:
            raise LoadError(f"{symbol} cannot be loaded: {error}") from error
        _linker.libraries.append(library)
    return address


class _Linker:
    def __init__(self) -> None:
        self.count = 0
        self.libraries: list[Any] = []  # one that is collected is unloaded
        self.lock = threading.RLock()

    @functools.cache  # noqa: B019 - there is one
    def jit(self) -> Any:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        return llvm.create_lljit_compiler(target.create_target_machine(jit=True), suppress_errors=True)


_linker: Final = _Linker()


@functools.cache
def _known_address(name: str) -> int:
    if name not in KNOWN_SYMBOLS:
        raise LoadError(f"{name} is not among the functions that a kernel may call")
    for library in _c_libraries():
        function = getattr(library, name, None)
        address = ctypes.cast(function, ctypes.c_void_p).value if function is not None else None
        if address:
            return address
    raise LoadError(f"this process has no {name}")


def _c_libraries() -> Iterator[ctypes.CDLL]:
    for name in _C_LIBRARIES:
        try:
            yield ctypes.CDLL(name)
        except (OSError, TypeError):  # Windows takes no None
            continue
