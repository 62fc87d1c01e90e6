"""Kernel text → native function: from this process's own table, else from the disk, else compiled.

What compiles, Numba and all that is written in its terms, is loaded only when something must be compiled: a process whose
kernels are all on disk never imports it. Code is loaded in one way, by :mod:`.loader`, whether it was compiled just now or
by another process.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from time import perf_counter
from typing import Final, NamedTuple, Protocol, cast

from graphc.backends.numba_cpu.compile_pool import FEWEST, Request, compile_ahead, compile_elsewhere
from graphc.backends.numba_cpu.fingerprint import kernel_key
from graphc.backends.numba_cpu.loader import LoadError, load_object
from graphc.backends.numba_cpu.object_file import undefined_symbols
from graphc.backends.numba_cpu.signature import ctypes_type
from graphc.runtime.background import in_background
from graphc.runtime.compile_log import COMPILED, DISK, MEMORY, note_kernel
from graphc.runtime.disk_cache import Entry, disk_cache

_PACKAGE: Final = "graphc.backends.numba_cpu"


class ModuleNames(NamedTuple):
    """What the constant ``NAMES`` of a module of this package holds, which is imported when something is compiled."""

    module: str

    def load(self) -> Mapping[str, object]:
        names: Mapping[str, object] = import_module(f"{_PACKAGE}.{self.module}").NAMES
        return names


Names = Mapping[str, object] | ModuleNames


class NativeCode(Protocol):
    """What the adapter makes of a kernel."""

    symbol: str

    def object_code(self) -> bytes: ...

    def is_movable(self) -> bool: ...

    def address(self) -> int: ...

    def llvm(self) -> str: ...

    def asm(self) -> str: ...


@dataclass(frozen=True, eq=False)
class CompiledKernel:
    """A native kernel. Calling it releases the GIL and returns Numba's status (0 is success).

    `call` is the same as calling the kernel, without the Python frame: pass pointers as plain integers.
    """

    name: str
    source: str
    signature: tuple[str, ...]
    address: int
    call: Callable[..., int] = field(repr=False)
    _code: Callable[[], NativeCode] = field(repr=False)

    def __call__(self, *args: float) -> int:
        return self.call(*args)

    def llvm(self) -> str:
        """The optimized LLVM IR. A kernel that came from the disk is compiled for it."""
        return self._code().llvm()

    def asm(self) -> str:
        """The native assembly. A kernel that came from the disk is compiled for it."""
        return self._code().asm()

    def object_code(self) -> bytes:
        """The relocatable object file that holds `symbol`; loadable by llvmlite alone."""
        return self._code().object_code()

    @property
    def symbol(self) -> str:
        """The name of the function in the object file."""
        return self._code().symbol

    def external_symbols(self) -> frozenset[str]:
        """Names of the functions outside this kernel that its code may call."""
        return undefined_symbols(self.object_code())


class _Key(NamedTuple):
    source: str
    name: str
    signature: tuple[str, ...]
    fast_math: bool


class _Process:
    """The kernels of this process, and the lock that its threads compile and load under.

    A fork waits for a compilation to end, else the child would inherit locks and compiler state that nobody owns.
    """

    def __init__(self) -> None:
        self.kernels: dict[_Key, CompiledKernel] = {}
        self.compiled = 0  # how often something was compiled
        self.ordered: set[_Key] = set()  # what this process let another one compile, and has not loaded yet
        self.news: dict[_Key, tuple[str, float]] = {}  # origin and seconds of what no log has been told of
        self.lock = threading.RLock()

    def before_fork(self) -> None:
        self.lock.acquire()

    def after_fork_in_parent(self) -> None:
        self.lock.release()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()

    def before_exit(self) -> None:
        """Wait for what another thread compiles, and let it begin with nothing else: LLVM is not to be torn down under it."""
        self.lock.acquire(timeout=_LONGEST)


_LONGEST: Final = 30.0  # seconds that a kernel may take at the end of the process

_process: Final = _Process()
atexit.register(_process.before_exit)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_process.before_fork,
        after_in_parent=_process.after_fork_in_parent,
        after_in_child=_process.after_fork_in_child,
    )


def compile_kernel(
    source: str, name: str, signature: Sequence[str], *, filename: str, fast_math: bool = False, namespace: Names
) -> CompiledKernel:
    """The function `name` defined by the Python text `source`, as native code.

    `signature` has one entry an argument, such as `("f32*", "f32*", "i64")`. Distinct pointers must not overlap.
    `namespace` holds the globals the text may use; a given name must always mean the same thing, since the same source,
    signature and flags are compiled only once in a process. Kernels whose globals are `ModuleNames` are kept on disk for
    other processes; what any other mapping means, no other process knows. Threads may compile at once: one lock
    serializes them.

    Raises `BackendError` when the text is not valid Python or Numba cannot compile it.

    >>> source = "def double(x, n):\\n    for i in range(n):\\n        x[i] = x[i] + x[i]\\n"
    >>> kernel = compile_kernel(source, "double", ("f64*", "i64"), filename="<double>", namespace={})
    >>> data = (ctypes.c_double * 2)(1.0, 2.5)
    >>> kernel(ctypes.addressof(data), 2), list(data)
    (0, [2.0, 5.0])
    """
    key = _Key(source, name, tuple(signature), fast_math)
    kernel = _process.kernels.get(key) or _make(key, filename, namespace)
    note_kernel(name, *_process.news.pop(key, (MEMORY, 0.0)))
    return kernel


def _make(key: _Key, filename: str, namespace: Names) -> CompiledKernel:
    if in_background() and isinstance(namespace, ModuleNames):
        compile_several([Request(key.source, key.name, key.signature, filename, key.fast_math, namespace.module)])
    with _process.lock:
        kernel = _process.kernels.get(key)
        if kernel is None:
            start = perf_counter()
            compiled = _process.compiled
            kernel = _obtain(key, filename, namespace)
            is_new = _process.compiled > compiled or key in _process.ordered
            _process.ordered.discard(key)
            _process.news[key] = (COMPILED if is_new else DISK, perf_counter() - start)
            _process.kernels[key] = kernel
    return kernel


def compile_several(requests: Sequence[Request]) -> None:
    """Compile those of ``requests`` that are neither in this process nor on disk, beside other processes where that pays."""
    cache = disk_cache()
    if cache is None:
        return
    missing: list[Request] = []
    for request in dict.fromkeys(requests):
        source, name, signature, _, fast_math, module = request
        if _Key(source, name, signature, fast_math) not in _process.kernels:
            key = kernel_key(source, name, signature, fast_math, module)
            if key is not None and not cache.path(key).exists():
                missing.append(request)
    if in_background() or len(missing) >= FEWEST:
        _process.ordered.update(_Key(*request[:3], request.fast_math) for request in missing)
    if in_background():
        compile_elsewhere(missing)
    elif len(missing) >= FEWEST:
        compile_ahead(missing, _compile_request)


def _compile_request(request: Request) -> None:
    source, name, signature, filename, fast_math, module = request
    key = _Key(source, name, signature, fast_math)
    if key not in _process.kernels:
        _make(key, filename, ModuleNames(module))


def _obtain(key: _Key, filename: str, namespace: Names) -> CompiledKernel:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *map(ctypes_type, key.signature))

    @functools.cache
    def code() -> NativeCode:
        with _process.lock:
            return _compile(key, filename, namespace)

    address = _kept_address(key, namespace.module, code) if isinstance(namespace, ModuleNames) else None
    if address is None:
        address = code().address()
    # Kernels return nothing and raise nothing, so the two slots are never read: all kernels may share one.
    slot = ctypes.addressof(_unread_slot)
    call = functools.partial(prototype(address), slot, slot)
    return CompiledKernel(key.name, key.source, key.signature, address, call, code)


_unread_slot = (ctypes.c_int64 * 2)()


def _compile(key: _Key, filename: str, namespace: Names) -> NativeCode:
    _process.compiled += 1
    names = namespace.load() if isinstance(namespace, ModuleNames) else namespace
    adapter = import_module(f"{_PACKAGE}.adapter")
    return cast(
        NativeCode, adapter.compile_native(key.source, key.name, key.signature, filename, key.fast_math, names)
    )


def _kept_address(key: _Key, module: str, code: Callable[[], NativeCode]) -> int | None:
    """The address of the kernel's code from the disk, or compiled and then kept there; None where it cannot be kept."""
    cache = disk_cache()
    name = kernel_key(key.source, key.name, key.signature, key.fast_math, module) if cache is not None else None
    if cache is None or name is None:
        return None
    entry = cache.load(name)
    if entry is not None:
        try:
            return load_object(entry.payload, entry.fields["symbol"], undefined_symbols(entry.payload))
        except (KeyError, ValueError, LoadError):
            pass  # written by a version of ours that was wrong; what follows replaces it
    native = code()
    if not native.is_movable():
        return None
    payload = native.object_code()
    try:
        address = load_object(payload, native.symbol, undefined_symbols(payload))
    except (ValueError, LoadError):
        return None
    fields = {"name": key.name, "symbol": native.symbol, "signature": ",".join(key.signature)}
    cache.store(name, Entry(fields, payload))
    return address
