"""The one module that touches Numba's internals: Python source text in, a native function's address out.

Numba's public `njit` wraps every function in Python argument parsing, a dispatcher and reference counting, none of
which a generated kernel wants. `compile_kernel` goes through `numba.core.compiler.compile_extra` instead, which
yields the bare native function. What is relied on:

* `compile_extra(typing_context, target_context, func, args, return_type, flags, locals)`;
* the `Flags` fields `nrt`, `no_cpython_wrapper`, `no_cfunc_wrapper`, `noalias`, `error_model`, `fastmath`;
* a dispatcher's `_compiler._customize_flags`, through which the inner functions of kernels get `noalias`;
* the library's `get_pointer_to_function`, `get_llvm_str`, `get_asm_str` and `serialize_using_object_code`;
* the calling convention `int32 f(return slot, exception slot, arguments...)`, where 0 means success.

Each has a test of its own, so an incompatible Numba release is found by name.
"""

import ctypes
import functools
import linecache
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Final, cast

import numba
from numba.core import types

from graphc.errors import BackendError

try:
    from numba.core import compiler, cpu
    from numba.core.registry import cpu_target
except ImportError as error:
    raise BackendError(
        f"numba {numba.__version__} lacks the compiler internals graphc lowers through ({error}); "
        "install a supported version: pip install 'numba>=0.68'"
    ) from error

_FLAG_FIELDS: Final = ("nrt", "no_cpython_wrapper", "no_cfunc_wrapper", "noalias", "error_model", "fastmath")
_LIBRARY_METHODS: Final = ("get_pointer_to_function", "get_llvm_str", "get_asm_str", "serialize_using_object_code")

DEFAULT_FASTMATH: Final = frozenset({"contract"})
RELAXED_FASTMATH: Final = frozenset({"contract", "nsz", "arcp", "afn", "reassoc"})
"""What `fast_math=True` adds. Never `nnan` or `ninf`: under those, tests for NaN fold to false."""

_SCALARS: Final[Mapping[str, tuple[types.Type, Any]]] = {
    "f32": (types.float32, ctypes.c_float),
    "f64": (types.float64, ctypes.c_double),
    "i8": (types.int8, ctypes.c_int8),
    "i16": (types.int16, ctypes.c_int16),
    "i32": (types.int32, ctypes.c_int32),
    "i64": (types.int64, ctypes.c_int64),
    "u8": (types.uint8, ctypes.c_uint8),
    "u16": (types.uint16, ctypes.c_uint16),
    "u32": (types.uint32, ctypes.c_uint32),
    "u64": (types.uint64, ctypes.c_uint64),
    "bool": (types.uint8, ctypes.c_uint8),
    "f16": (types.uint16, ctypes.c_uint16),
    "bf16": (types.uint16, ctypes.c_uint16),
}


def numba_type(entry: str) -> types.Type:
    """The Numba type of one signature entry: `"f32*"` is a pointer to float32, `"i64"` an int64.

    `bool` is stored as uint8, `f16` and `bf16` as their 16 bits in a uint16. Raises `BackendError` for any other name.
    """
    scalar = _SCALARS.get(entry.removesuffix("*"))
    if scalar is None:
        raise BackendError(
            f"unknown kernel argument type {entry!r}; known are {', '.join(_SCALARS)}, '*' for a pointer"
        )
    return cast(Any, types).CPointer(scalar[0]) if entry.endswith("*") else scalar[0]


def _ctypes_type(entry: str) -> Any:
    return ctypes.c_void_p if entry.endswith("*") else _SCALARS[entry][1]


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
    _library: Any = field(repr=False)
    symbol: str = field(repr=False)

    def __call__(self, *args: float) -> int:
        return self.call(*args)

    def llvm(self) -> str:
        """The optimized LLVM IR."""
        return cast(str, self._library.get_llvm_str())

    def asm(self) -> str:
        """The native assembly."""
        return cast(str, self._library.get_asm_str())

    def object_code(self) -> bytes:
        """The relocatable object file that holds `symbol`; loadable by llvmlite alone."""
        code = self._library.serialize_using_object_code()[2][0]
        return cast(bytes, code)

    def external_symbols(self) -> frozenset[str]:
        """Names of the functions outside this kernel that its code may call (LLVM's own intrinsics left out)."""
        declared = re.findall(r'^declare [^@]*@"?([^"(\s]+)"?\(', self.llvm(), flags=re.MULTILINE)
        return frozenset(name for name in declared if not name.startswith("llvm."))


@dataclass(frozen=True)
class _Key:
    source: str
    name: str
    signature: tuple[str, ...]
    fastmath: frozenset[str]


class _Process:
    """What this process has compiled, and the lock that its threads compile under.

    A fork waits for a compilation to end, else the child would inherit locks and compiler state that nobody owns.
    """

    def __init__(self) -> None:
        self.kernels: dict[_Key, CompiledKernel] = {}
        self.lock = threading.RLock()

    def before_fork(self) -> None:
        self.lock.acquire()

    def after_fork_in_parent(self) -> None:
        self.lock.release()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()


_process: Final = _Process()

os.register_at_fork(
    before=_process.before_fork,
    after_in_parent=_process.after_fork_in_parent,
    after_in_child=_process.after_fork_in_child,
)


def check_numba() -> None:
    """Raise `BackendError`, naming what is missing, when this Numba lacks an internal that kernels need."""
    from numba.core.codegen import JITCodeLibrary

    missing = [f"Flags.{name}" for name in _FLAG_FIELDS if not hasattr(compiler.Flags, name)]
    missing += [f"JITCodeLibrary.{name}" for name in _LIBRARY_METHODS if not hasattr(JITCodeLibrary, name)]
    missing += [name for name in ("compile_extra",) if not hasattr(compiler, name)]
    if missing:
        raise BackendError(
            f"numba {numba.__version__} lacks {', '.join(missing)}, which graphc compiles kernels through; "
            "install a supported version: pip install 'numba>=0.68'"
        )


check_numba()


def make_flags(fastmath: frozenset[str]) -> Any:
    """Numba's compiler flags for a kernel: no reference counting, no wrappers, no aliasing, IEEE division."""
    flags: Any = cast(Any, compiler).Flags()
    flags.nrt = False
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.noalias = True
    flags.error_model = "numpy"
    flags.fastmath = cast(Any, cpu).FastMathOptions(set(fastmath))
    return flags


def noalias(function: Callable[..., Any]) -> Any:
    """Compile ``function`` for a kernel to call, with LLVM's ``noalias``: its pointer parameters never overlap.

    Numba has the flag, but no public option for it; so the dispatcher's compiler is told to set it.
    """
    options: dict[str, Any] = {
        "fastmath": set(DEFAULT_FASTMATH), "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
        "_nrt": False,
    }  # fmt: skip
    dispatcher: Any = numba.njit(**options)(function)
    compiler_of_function = dispatcher._compiler
    customize = compiler_of_function._customize_flags

    def customize_flags(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = True
        return flags

    compiler_of_function._customize_flags = customize_flags
    return dispatcher


def target_has_feature(feature: str) -> bool:
    """Whether kernels are compiled for a CPU with the given LLVM feature, such as `"f16c"`."""
    return f"+{feature}" in cpu_target.target_context.codegen()._tm_features.split(",")


def load_function(source: str, name: str, filename: str, namespace: Mapping[str, object]) -> FunctionType:
    """Execute `source` and return its function `name`; tracebacks and messages show the text under `filename`."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope: dict[str, Any] = dict(namespace)
    try:
        exec(compile(source, filename, "exec"), scope)
    except SyntaxError as error:
        raise BackendError(f"the generated source of kernel {name!r} is not valid Python: {error}") from error
    function = scope.get(name)
    if not isinstance(function, FunctionType):
        raise BackendError(f"the generated source in {filename} defines no function {name!r}")
    return function


def compile_kernel(
    source: str,
    name: str,
    signature: Sequence[str],
    *,
    filename: str,
    fast_math: bool = False,
    namespace: Mapping[str, object],
) -> CompiledKernel:
    """Compile the function `name` defined by the Python text `source` to native code.

    `signature` has one entry an argument, such as `("f32*", "f32*", "i64")`. Distinct pointers must not overlap.
    `namespace` holds the globals the text may use; a given name must always mean the same thing, since the same source,
    signature and flags are compiled only once in a process. Threads may compile at once: one lock serializes them.

    Raises `BackendError` when the text is not valid Python or Numba cannot compile it.

    >>> source = "def double(x, n):\\n    for i in range(n):\\n        x[i] = x[i] + x[i]\\n"
    >>> kernel = compile_kernel(source, "double", ("f64*", "i64"), filename="<double>", namespace={})
    >>> data = (ctypes.c_double * 2)(1.0, 2.5)
    >>> kernel(ctypes.addressof(data), 2), list(data)
    (0, [2.0, 5.0])
    """
    fastmath = RELAXED_FASTMATH if fast_math else DEFAULT_FASTMATH
    key = _Key(source, name, tuple(signature), fastmath)
    kernel = _process.kernels.get(key)
    if kernel is not None:
        return kernel
    with _process.lock:
        kernel = _process.kernels.get(key)
        if kernel is None:
            kernel = _compile(key, load_function(source, name, filename, namespace))
            _process.kernels[key] = kernel
    return kernel


def _compile(key: _Key, function: FunctionType) -> CompiledKernel:
    argument_types = tuple(numba_type(entry) for entry in key.signature)
    try:
        result = cast(Any, compiler).compile_extra(
            cpu_target.typing_context,
            cpu_target.target_context,
            function,
            argument_types,
            types.void,
            make_flags(key.fastmath),
            {},
        )
    except numba.core.errors.NumbaError as error:
        raise BackendError(
            f"numba cannot compile kernel {key.name!r} for ({', '.join(key.signature)}): {error}"
        ) from error
    library = result.library
    symbol = result.fndesc.llvm_func_name
    address = library.get_pointer_to_function(symbol)
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *(_ctypes_type(entry) for entry in key.signature)
    )
    # Kernels return nothing and raise nothing, so the two slots are never read: all kernels may share one.
    slot = ctypes.addressof(_unread_slot)
    call = functools.partial(prototype(address), slot, slot)
    return CompiledKernel(key.name, key.source, key.signature, address, call, library, symbol)


_unread_slot = (ctypes.c_int64 * 2)()
