"""The one module that touches Numba's internals: Python source text in, a native function's address out.

Numba's public `njit` wraps every function in Python argument parsing, a dispatcher and reference counting, none of
which a generated kernel wants. `compile_kernel` goes through `numba.core.compiler.compile_extra` instead, which
yields the bare native function. What is relied on:

* `compile_extra(typing_context, target_context, func, args, return_type, flags, locals)`;
* the `Flags` fields `nrt`, `no_cpython_wrapper`, `no_cfunc_wrapper`, `noalias`, `error_model`, `fastmath`;
* a dispatcher's `_compiler._customize_flags`, through which the inner functions of kernels get `noalias`;
* the library's `get_pointer_to_function`, `get_llvm_str`, `get_asm_str`, `_get_compiled_object` and
  `has_dynamic_globals`;
* a compiler's `state.library`, which `_LinkedCompiler` sets, and what that library overrides: `codegen.set_env`,
  `_finalize_final_module` (of which `_finalize_dynamic_globals` and `_finalized` remain) and `get_pointer_to_function`;
* the calling convention `int32 f(return slot, exception slot, arguments...)`, where 0 means success.

Each has a test of its own, so an incompatible Numba release is found by name. :mod:`.kernels` loads this module when a
kernel must be compiled, and not before: it is what imports Numba.
"""

import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Final, cast

import numba
from numba.core import types

from graphc.backends.numba_cpu.signature import scalar
from graphc.errors import BackendError

try:
    from numba.core import codegen, compiler, cpu
    from numba.core.registry import cpu_target
except ImportError as error:
    raise BackendError(
        f"numba {numba.__version__} lacks the compiler internals graphc lowers through ({error}); "
        "install a supported version: pip install 'numba>=0.68'",
        cause=BackendError.MISSING,
    ) from error

_FLAG_FIELDS: Final = ("nrt", "no_cpython_wrapper", "no_cfunc_wrapper", "noalias", "error_model", "fastmath")
_LIBRARY_METHODS: Final = (
    "get_pointer_to_function", "get_llvm_str", "get_asm_str", "_get_compiled_object", "has_dynamic_globals",
    "_finalize_final_module", "_finalize_dynamic_globals",
)  # fmt: skip

DEFAULT_FASTMATH: Final = frozenset({"contract"})
RELAXED_FASTMATH: Final = frozenset({"contract", "nsz", "arcp", "afn", "reassoc"})
"""What `fast_math=True` adds. Never `nnan` or `ninf`: under those, tests for NaN fold to false."""


def numba_type(entry: str) -> types.Type:
    """The Numba type of one entry of a signature; raises `BackendError` for what no kernel may have."""
    found = getattr(types, scalar(entry)[0])
    return cast(types.Type, cast(Any, types).CPointer(found) if entry.endswith("*") else found)


@dataclass(frozen=True, eq=False)
class NumbaCode:
    """A function that Numba compiled. Its texts and its object file are made when they are asked for."""

    symbol: str
    _library: Any = field(repr=False)

    def address(self) -> int:
        """Where Numba itself has loaded the function."""
        return cast(int, self._library.get_pointer_to_function(self.symbol))

    def llvm(self) -> str:
        """The optimized LLVM IR."""
        return cast(str, self._library.get_llvm_str())

    def asm(self) -> str:
        """The native assembly."""
        return cast(str, self._library.get_asm_str())

    def object_code(self) -> bytes:
        """The relocatable object file that holds `symbol`."""
        return cast(bytes, self._library._get_compiled_object())

    def is_movable(self) -> bool:
        """Whether another process could use the code: no address of this one is in it."""
        return not self._library.has_dynamic_globals


def check_numba() -> None:
    """Raise `BackendError`, naming what is missing, when this Numba lacks an internal that kernels need."""
    library = codegen.JITCodeLibrary
    missing = [f"Flags.{name}" for name in _FLAG_FIELDS if not hasattr(compiler.Flags, name)]
    missing += [f"JITCodeLibrary.{name}" for name in _LIBRARY_METHODS if not hasattr(library, name)]
    missing += [name for name in ("compile_extra",) if not hasattr(compiler, name)]
    if missing:
        raise BackendError(
            f"numba {numba.__version__} lacks {', '.join(missing)}, which graphc compiles kernels through; "
            "install a supported version: pip install 'numba>=0.68'",
            cause=BackendError.MISSING,
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


class _NoEnvironment:
    """In place of a code generator: nothing holds the environment that Numba gives a function to raise errors with."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _LinkedLibrary(codegen.JITCodeLibrary):
    """The code of a function that only other compiled functions call: optimized, but never made into machine code.

    It is linked into each caller, whose machine code has all of it. Numba would make machine code of it all the same,
    which takes a seventh of the time, and leaves the code that is linked in a worse form.
    """

    codegen = _NoEnvironment()

    def _finalize_final_module(self) -> None:
        cast(Any, self)._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0


class _LinkedCompiler(compiler.Compiler):
    def __init__(self, *arguments: Any) -> None:
        cast(Any, super()).__init__(*arguments)
        self.state.library = cast(Any, _LinkedLibrary)(self.state.targetctx.codegen(), "graphc linked function")


def linked(function: Callable[..., Any], **options: Any) -> Any:
    """Compile ``function``, with ``options`` of Numba's, for kernels to call. Python must not call it."""
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **options}
    return numba.njit(pipeline_class=_LinkedCompiler, **options)(function)


def noalias(function: Callable[..., Any]) -> Any:
    """Compile ``function`` for a kernel to call, with LLVM's ``noalias``: its pointer parameters never overlap.

    Numba has the flag, but no public option for it; so the dispatcher's compiler is told to set it.
    """
    dispatcher = linked(function, fastmath=set(DEFAULT_FASTMATH), _nrt=False)
    compiler_of_function = dispatcher._compiler
    customize = compiler_of_function._customize_flags

    def customize_flags(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = True
        return flags

    compiler_of_function._customize_flags = customize_flags
    return dispatcher


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


def compile_native(
    source: str, name: str, signature: Sequence[str], filename: str, fast_math: bool, namespace: Mapping[str, object]
) -> NumbaCode:
    """Compile the function `name` that the Python text `source` defines; `namespace` holds the globals it may use.

    Raises `BackendError` when the text is not valid Python or Numba cannot compile it. Not for two threads at once.
    """
    function = load_function(source, name, filename, namespace)
    argument_types = tuple(numba_type(entry) for entry in signature)
    try:
        result = cast(Any, compiler).compile_extra(
            cpu_target.typing_context,
            cpu_target.target_context,
            function,
            argument_types,
            types.void,
            make_flags(RELAXED_FASTMATH if fast_math else DEFAULT_FASTMATH),
            {},
        )
    except numba.core.errors.NumbaError as error:
        raise BackendError(f"numba cannot compile kernel {name!r} for ({', '.join(signature)}): {error}") from error
    return NumbaCode(result.fndesc.llvm_func_name, result.library)
