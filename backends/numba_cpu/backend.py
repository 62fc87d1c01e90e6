"""Graph → executable on the CPU: plan, emit, compile with Numba, put together a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.loops.source import KernelSource, Lowering
from graphc.runtime.compile_log import phase
from graphc.runtime.executable import Executable
from graphc.runtime.program import NOTHING, NativeKernel, Permissions

from .assembly import Assembly
from .compile_pool import Request
from .emit_epilogue import SIGNATURE as EPILOGUE_SIGNATURE
from .gemm.attention import ATTENTION
from .gemm.convolution import lower_conv_general
from .gemm.lowering import lower_dot_general
from .kernels import ModuleNames, compile_kernel, compile_several
from .library import BLAS, LIBRARY
from .structural import LOWERINGS as STRUCTURAL

SIGNATURE: Final = ("i64*", "i64*", "i64", "i64", "i64*")

NAMESPACE: Final = ModuleNames("kernel_names")
"""What the text of a kernel may name."""

LOWERINGS: Final[dict[str, Lowering]] = {
    **STRUCTURAL,
    "dot_general": lower_dot_general,
    "conv_general": lower_conv_general,
    **ATTENTION,
}
"""Primitive name → lowering, of every op that is not elementwise."""


def compile(
    graph: Graph, *, fast_math: bool = False, blas: bool | None = None, permissions: Permissions = NOTHING
) -> Executable:
    """An executable of ``graph``. Kernels with the same text are compiled once, and kept on disk. ``permissions``: what it
    may do to the memory of its inputs (see :meth:`Executable.permitted`).

    ``blas``: matrix products run through NumPy, and so on the BLAS that it was built with (True), or on kernels of our own
    (False). None leaves it to the variable GRAPHC_MATMUL: ``blas``, ``own``, or ``measured`` (the default), by which large
    products run on our kernels or on BLAS, called from the tape, whichever is faster (see :mod:`.product_choice`).

    Raises BackendError for an op that this backend has no lowering for.
    """
    chosen = _chosen_products() if blas is None else "blas" if blas else "own"
    library = {**LIBRARY, **BLAS} if chosen == "blas" else LIBRARY
    with phase("plan"):
        assembly = Assembly(graph, _Compiler(fast_math), LOWERINGS, library, measures=chosen == "measured")
    return Executable(graph, assembly.program(permissions), assembly.program)


def _chosen_products() -> str:
    chosen = os.environ.get("GRAPHC_MATMUL", "measured")
    if chosen not in ("blas", "own", "measured"):
        raise ArgumentError(f"GRAPHC_MATMUL is {chosen!r}", hint="set it to measured, own or blas", cause=ArgumentError.SETTING)
    return chosen


def _request(source: KernelSource, fast_math: bool, signature: tuple[str, ...] = SIGNATURE) -> Request:
    return Request(
        source.source, source.name, signature, f"<graphc kernel {source.name}>", fast_math, NAMESPACE.module
    )


def native_kernel(
    source: KernelSource, *, fast_math: bool = False, shown: str | None = None, signature: tuple[str, ...] = SIGNATURE
) -> NativeKernel:
    """Compile one kernel. ``shown`` is the text that dumps show, with comments that the compiled one lacks."""
    text, name, signature, filename, fast_math, _ = _request(source, fast_math, signature)
    compiled = compile_kernel(text, name, signature, filename=filename, fast_math=fast_math, namespace=NAMESPACE)
    texts: dict[str, Callable[[], str]] = {
        "source": lambda: shown or source.source,
        "llvm": compiled.llvm,
        "asm": compiled.asm,
    }
    return NativeKernel(
        source.name, compiled.call, compiled.address, source.sizes, source.extent, lambda stage: texts[stage]()
    )


class _Compiler:
    """Compiles the kernels of one graph."""

    def __init__(self, fast_math: bool) -> None:
        self.fast_math = fast_math

    def prepare(self, sources: Sequence[KernelSource], epilogues: Sequence[KernelSource] = ()) -> None:
        requests = [_request(source, self.fast_math) for source in sources]
        requests += [_request(source, self.fast_math, EPILOGUE_SIGNATURE) for source in epilogues]
        compile_several(requests)

    def epilogue(self, source: KernelSource, shown: str) -> NativeKernel:
        return native_kernel(source, fast_math=self.fast_math, shown=shown, signature=EPILOGUE_SIGNATURE)

    def kernel(self, source: KernelSource, shown: str | None = None) -> NativeKernel:
        return native_kernel(source, fast_math=self.fast_math, shown=shown)
